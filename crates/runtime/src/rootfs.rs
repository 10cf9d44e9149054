//! File systems made by the parent: detached mounts that the child only attaches, so that nothing
//! is ever seen in the host's mount namespace.
//!
//! Layers and bind sources are id-mapped clones of what lies on the host; the file systems of the
//! runtime's own belong to the container's root from the beginning.

mod bind;
mod dev;
mod overlay;
mod owner;

use crate::error::LaunchError;
use crate::init::message::{Message, Tag};
use crate::launch::{Ids, Launch, Rootfs};
use crate::plan::step::{FsMount, MadeIn, Param, Supply};
use overlay::Writes;
use rustix::fs::{CWD, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::mount::{MountChange, Propagation, attr};

/// Whom the parent makes file systems for.
#[derive(Debug)]
pub(crate) struct Supplier<'a> {
    pub(crate) launch: &'a Launch,
    /// The container's user namespace and the host's ids of its root, if it has one.
    pub(crate) mapped: Option<Mapped>,
    /// The container's first process.
    pub(crate) pid: i32,
    /// Namespaces of process ids are joined from here.
    pub(crate) pid_namespace: Option<OwnedFd>,
    /// What was not possible and does not matter enough to fail.
    pub(crate) warnings: Vec<String>,
    /// Detached mounts that have served. Closing one waits for a grace period of RCU
    /// (`namespace_unlock`), so that is left until nobody waits for what was made of them.
    pub(crate) spent: Vec<OwnedFd>,
}

/// A user namespace with the host's ids of its root.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) userns: OwnedFd,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) maps: crate::plan::Maps,
}

impl Supplier<'_> {
    /// Makes all of `supplies`, in order.
    pub(crate) fn make_all(&mut self, supplies: &[Supply]) -> Result<Vec<OwnedFd>, LaunchError> {
        let mut made: Vec<OwnedFd> = Vec::with_capacity(supplies.len());
        for supply in supplies {
            let root = made.first().map(OwnedFd::as_fd);
            let next = self.make(supply, root)?;
            made.push(next);
        }
        Ok(made)
    }

    fn make(
        &mut self,
        supply: &Supply,
        root: Option<BorrowedFd<'_>>,
    ) -> Result<OwnedFd, LaunchError> {
        match supply {
            Supply::Root => self.root(),
            Supply::Masks => {
                dev::masks(self.context()).map_err(|e| LaunchError::at("make masks", e))
            }
            Supply::Bind(bind) => self.bind(bind),
            Supply::Image { lower, beneath } => self.image(lower, beneath.as_deref()),
            Supply::Fs { fs, made_in } => self.fs_in(fs, *made_in),
            Supply::Dev(dev) => self.dev(dev),
            Supply::Device(node) => dev::of_host(node),
            Supply::Tree { fs, dirs, links } => self.tree(fs, dirs, links),
            Supply::CopyUp { fs, from } => self.copy_up(fs, root, from),
        }
    }

    /// The SELinux label of the file systems that are made for the container, if they have one.
    fn context(&self) -> Option<&str> {
        let linux = self.launch.spec.linux.as_ref()?;
        Some(linux.mount_label.as_str()).filter(|label| !label.is_empty())
    }

    fn root(&mut self) -> Result<OwnedFd, LaunchError> {
        match &self.launch.rootfs {
            Rootfs::Overlay { lower, upper, work, volatile, .. } => {
                if *volatile {
                    overlay::forget_volatile(work).map_err(|errno| {
                        LaunchError::at(format!("empty directory {}", work.display()), errno)
                    })?;
                }
                self.overlay(lower, Some(Writes { upper, work, volatile: *volatile }))
            }
            Rootfs::Directory(path) => self.directory(path),
        }
    }

    fn directory(&mut self, path: &Path) -> Result<OwnedFd, LaunchError> {
        let failed = |errno| {
            LaunchError::at(format!("clone the root file system {}", path.display()), errno)
        };
        let mount = clone_tree(CWD, path, true).map_err(failed)?;
        let private = MountChange {
            propagation: Some(Propagation::Private),
            recursive: true,
            ..MountChange::default()
        };
        sys::mount::change(mount.as_fd(), &private).map_err(failed)?;
        if let (Some(mapped), Ids::Container) = (&self.mapped, self.launch.ids) {
            map_ids(mount.as_fd(), mapped, true).map_err(failed)?;
        }
        Ok(mount)
    }

    /// Runs `act` as the container's root: what it makes belongs to it.
    fn as_root<T>(&self, act: impl FnOnce() -> T) -> Result<T, LaunchError> {
        match &self.mapped {
            Some(mapped) => sys::cred::with_fs_ids(mapped.uid, mapped.gid, act)
                .map_err(|errno| LaunchError::at("take the ids of the container's root", errno)),
            None => Ok(act()),
        }
    }

    /// A file system that shows a namespace of the container which its root does not rule.
    fn fs_in(&self, fs: &FsMount, made_in: MadeIn) -> Result<OwnedFd, LaunchError> {
        let what = fs.kind.to_string_lossy();
        let failed = |errno| LaunchError::at(format!("make file system {what}"), errno);
        let (kind, name) = match (made_in, &self.pid_namespace) {
            (MadeIn::Net, _) => (sys::clone::ns::NET, "net"),
            (MadeIn::Ipc, _) => (sys::clone::ns::IPC, "ipc"),
            (MadeIn::Pid, Some(namespace)) => {
                return proc_of(namespace.as_fd(), fs).map_err(failed);
            }
            (MadeIn::Pid, None) | (MadeIn::Anywhere, _) => return make_fs(fs).map_err(failed),
        };
        let file = format!("/proc/{}/ns/{name}", self.pid);
        let namespace = sys::netns::open(Path::new(&file)).map_err(|error| failed(error.errno))?;
        if !sys::userns::is_first() {
            // The way back may lead into a namespace of the machine's: a child goes.
            return made_by_child(|| {
                sys::mount::setns(namespace.as_fd(), kind)?;
                make_fs(fs)
            })
            .map_err(failed);
        }
        let _inside = sys::netns::enter_kind(namespace.as_fd(), kind, name)
            .map_err(|error| failed(error.errno))?;
        make_fs(fs).map_err(failed)
    }
}

/// Makes a file system for the host, mounted nowhere yet: what `mount -t KIND -o WORDS DEVICE`
/// would mount.
///
/// # Errors
/// What cannot be said in C, and whatever the kernel refuses.
pub fn file_system(kind: &str, device: &str, words: &[String]) -> Result<OwnedFd, LaunchError> {
    let fs = crate::plan::of_host(kind, device, words)?;
    make_fs(&fs).map_err(|errno| LaunchError::at(format!("make file system {kind}"), errno))
}

/// Makes a file system and mounts it, detached. Does not allocate: the child does it too.
pub(crate) fn make_fs(fs: &FsMount) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(fs.kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    let is_attribute = |param: &&Param| param.key.to_bytes().starts_with(b"security.");
    for param in fs.params.iter().filter(|param| !is_attribute(param)) {
        match &param.value {
            Some(value) => {
                rustix::mount::fsconfig_set_string(&context, param.key.as_c_str(), value.as_c_str())
            }
            None => rustix::mount::fsconfig_set_flag(&context, param.key.as_c_str()),
        }?;
    }
    rustix::mount::fsconfig_create(&context)?;
    // All attributes that there are fit; the mask keeps the id map, which is not one of fsmount.
    let attrs = u32::try_from(fs.attrs & !attr::IDMAP).map_err(|_| Errno::INVAL)?;
    let attrs = MountAttrFlags::from_bits_retain(attrs);
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attrs)?;
    for attribute in fs.params.iter().filter(is_attribute) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, c".", flags, Mode::empty())?;
        let value = attribute.value.as_deref().unwrap_or(c"").to_bytes_with_nul();
        rustix::fs::fsetxattr(&root, attribute.key.as_c_str(), value, XattrFlags::empty())?;
    }
    Ok(mount)
}

/// A detached copy of the mount (or tree of mounts) at a path of the host, from `dir` on;
/// `dir` itself when `path` is empty.
fn clone_tree(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(dir, path, flags)
}

/// Lets the ids of a detached mount go through the map of the container's user namespace. Where
/// that maps every id to itself, as for an ordinary user's containers, there is nothing to map:
/// the kernel would refuse it to all but the machine's root.
fn map_ids(mount: BorrowedFd<'_>, mapped: &Mapped, recursive: bool) -> Result<(), Errno> {
    if mapped.maps.is_identity() {
        return Ok(());
    }
    map_by(mount, mapped.userns.as_fd(), recursive)
}

/// Lets the ids of a detached mount go through the map of a user namespace.
fn map_by(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    let change =
        MountChange { set: attr::IDMAP, userns: Some(userns), recursive, ..MountChange::default() };
    sys::mount::change(mount, &change)
}

/// A procfs of a pid namespace that the caller is not in: made by a process that is.
fn proc_of(namespace: BorrowedFd<'_>, fs: &FsMount) -> Result<OwnedFd, Errno> {
    if !sys::userns::is_first() {
        // There is no way back: a child goes.
        return made_by_child(|| {
            sys::mount::setns(namespace, sys::clone::ns::PID)?;
            made_by_child(|| make_fs(fs))
        });
    }
    let inside = sys::netns::enter_kind(namespace, sys::clone::ns::PID, "pid");
    let _inside = inside.map_err(|error| error.errno)?;
    made_by_child(|| make_fs(fs))
}

/// Lets a short-lived child make something and takes it over.
fn made_by_child(make: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = sys::socket::message_pair()?;
    let child = sys::clone::clone3(0, || {
        let sent = match make() {
            Ok(fd) => Message::of(Tag::Supplies).send(theirs.as_fd(), &[fd.as_fd()]),
            Err(errno) => Message { errno: errno.raw_os_error(), ..Message::of(Tag::Failed) }
                .send(theirs.as_fd(), &[]),
        };
        i32::from(sent.is_err())
    })?;
    let mut made = None;
    let message = Message::receive(ours.as_fd(), |fd| made = Some(fd));
    let _ = sys::Pidfd::from(child.pidfd).wait();
    match message? {
        Some(message) if message.tag == Tag::Failed => Err(Errno::from_raw_os_error(message.errno)),
        _ => made.ok_or(Errno::IO),
    }
}
