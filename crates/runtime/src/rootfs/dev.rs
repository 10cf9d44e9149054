//! Small file systems of the runtime's own: `/dev`, masks, the directory of control groups, and
//! tmpfs that begin as copies. Made before any content of the image can be reached (law A4).

use super::{Supplier, make_fs};
use crate::error::LaunchError;
use crate::init::{MASK_DIR, MASK_FILE};
use crate::plan::step::{Dev, FsMount, Node, NodeKind, Param};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::mount::{MountChange, attr};

impl Supplier<'_> {
    pub(super) fn dev(&self, dev: &Dev) -> Result<OwnedFd, LaunchError> {
        let failed = |errno| LaunchError::at("make /dev", errno);
        let mount = self.as_root(|| -> Result<OwnedFd, Errno> {
            let mount = make_fs(&self.translated(&dev.fs))?;
            populate(mount.as_fd(), &dev.dirs, &dev.links)?;
            if dev.console {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                rustix::fs::openat(&mount, c"console", flags, Mode::from_raw_mode(0o600))?;
            }
            Ok(mount)
        })?;
        let mount = mount.map_err(failed)?;
        let nodes = self.as_root(|| {
            let failed =
                |node: &Node, errno| LaunchError::at(format!("make /dev/{}", node.name), errno);
            let make = |node| self.node(mount.as_fd(), node).map_err(|errno| failed(node, errno));
            dev.nodes.iter().try_for_each(make)
        })?;
        nodes.map(|()| mount)
    }

    fn node(&self, dev: BorrowedFd<'_>, node: &Node) -> Result<(), Errno> {
        let (kind, device) = match node.kind {
            NodeKind::Char(major, minor) => {
                (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
            }
            NodeKind::Block(major, minor) => {
                (FileType::BlockDevice, rustix::fs::makedev(major, minor))
            }
            NodeKind::Fifo => (FileType::Fifo, 0),
            NodeKind::Stub => (FileType::RegularFile, 0),
        };
        let mode = Mode::from_raw_mode(node.mode);
        rustix::fs::mknodat(dev, node.name.as_str(), kind, mode, device)?;
        // The mask of the process took bits away.
        rustix::fs::chmodat(dev, node.name.as_str(), mode, AtFlags::empty())?;
        if (node.uid, node.gid) == (0, 0) {
            return Ok(());
        }
        let uid = self.host_id(node.uid, |maps, id| maps.host_uid(id))?;
        let gid = self.host_id(node.gid, |maps, id| maps.host_gid(id))?;
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(dev, node.name.as_str(), owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn host_id(
        &self,
        id: u32,
        map: impl Fn(&crate::plan::Maps, u32) -> Option<u32>,
    ) -> Result<u32, Errno> {
        match &self.mapped {
            Some(mapped) => map(&mapped.maps, id).ok_or(Errno::OVERFLOW),
            None => Ok(id),
        }
    }

    /// The same file system with the ids among its options as the host has them: it is made in
    /// the host's user namespace.
    fn translated(&self, fs: &FsMount) -> FsMount {
        let Some(mapped) = &self.mapped else { return fs.clone() };
        let translate = |param: &Param| {
            let id = || param.value.as_ref()?.to_str().ok()?.parse().ok();
            let host = match param.key.to_bytes() {
                b"uid" => id().and_then(|id| mapped.maps.host_uid(id)),
                b"gid" => id().and_then(|id| mapped.maps.host_gid(id)),
                _ => None,
            };
            let value = host.and_then(|id| CString::new(id.to_string()).ok());
            Param { key: param.key.clone(), value: value.or_else(|| param.value.clone()) }
        };
        FsMount { params: fs.params.iter().map(translate).collect(), ..fs.clone() }
    }

    pub(super) fn tree(
        &self,
        fs: &FsMount,
        dirs: &[String],
        links: &[(String, String)],
    ) -> Result<OwnedFd, LaunchError> {
        let failed = |errno| LaunchError::at("make a tmpfs", errno);
        let writable = FsMount { attrs: fs.attrs & !attr::RDONLY, ..self.translated(fs) };
        let mount = self.as_root(|| -> Result<OwnedFd, Errno> {
            let mount = make_fs(&writable)?;
            populate(mount.as_fd(), dirs, links)?;
            Ok(mount)
        })?;
        let mount = mount.map_err(failed)?;
        set_attrs(mount.as_fd(), fs.attrs & attr::RDONLY).map_err(failed)?;
        Ok(mount)
    }

    pub(super) fn copy_up(
        &self,
        fs: &FsMount,
        root: Option<BorrowedFd<'_>>,
        from: &Path,
    ) -> Result<OwnedFd, LaunchError> {
        let failed = |errno| LaunchError::at(format!("copy {} to a tmpfs", from.display()), errno);
        let writable = FsMount { attrs: fs.attrs & !attr::RDONLY, ..self.translated(fs) };
        let mount = self.as_root(|| make_fs(&writable))?.map_err(failed)?;
        let root = root.ok_or_else(|| failed(Errno::BADF))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match sys::root::open_in(root, from, flags, Mode::empty()) {
            Ok(source) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let top = rustix::fs::openat(&mount, c".", flags, Mode::empty());
                let top = top.map_err(failed)?;
                copy_directory(source.as_fd(), top.as_fd(), 0).map_err(failed)?;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        set_attrs(mount.as_fd(), fs.attrs & attr::RDONLY).map_err(failed)?;
        Ok(mount)
    }
}

/// The host's own node of these numbers, as a mount: under its name, or where udev(7) keeps a link
/// to every device. What is found is looked at, and nothing else is handed over (law A4).
pub(super) fn of_host(node: &Node) -> Result<OwnedFd, LaunchError> {
    let name = &node.name;
    let (kind, by_number, (major, minor)) = match node.kind {
        NodeKind::Char(major, minor) => (FileType::CharacterDevice, "char", (major, minor)),
        NodeKind::Block(major, minor) => (FileType::BlockDevice, "block", (major, minor)),
        NodeKind::Fifo | NodeKind::Stub => {
            return Err(LaunchError::runtime(format!("/dev/{name} is no device")));
        }
    };
    for path in [format!("/dev/{name}"), format!("/dev/{by_number}/{major}:{minor}")] {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let Ok(found) = rustix::fs::open(path.as_str(), flags, Mode::empty()) else { continue };
        let failed = |errno| LaunchError::at(format!("bind device {path}"), errno);
        let stat = rustix::fs::fstat(&found).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) == kind
            && stat.st_rdev == rustix::fs::makedev(major, minor)
        {
            return super::clone_tree(found.as_fd(), Path::new(""), false).map_err(failed);
        }
    }
    Err(LaunchError::invalid(format!(
        "device /dev/{name} ({by_number} {major}:{minor}) is not in the host's /dev, and only the \
         machine's root can make it"
    )))
}

/// The masks belong to nobody inside: an empty file and an empty directory, read-only. `context`:
/// their SELinux label.
pub(super) fn masks(context: Option<&str>) -> Result<OwnedFd, Errno> {
    let attrs = attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOATIME;
    let mut params = vec![Param { key: c"mode".into(), value: Some(c"755".into()) }];
    if let Some(label) = context {
        let label = CString::new(label).map_err(|_| Errno::INVAL)?;
        params.push(Param { key: c"context".into(), value: Some(label) });
    }
    let mount = make_fs(&FsMount { kind: c"tmpfs".into(), params, attrs })?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&mount, MASK_FILE, flags, Mode::from_raw_mode(0o444))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))?;
    // A file that is open for writing keeps its mount writable.
    drop(file);
    rustix::fs::mkdirat(&mount, MASK_DIR, Mode::from_raw_mode(0o555))?;
    set_attrs(mount.as_fd(), attr::RDONLY)?;
    Ok(mount)
}

fn set_attrs(mount: BorrowedFd<'_>, attrs: u64) -> Result<(), Errno> {
    if attrs == 0 {
        return Ok(());
    }
    sys::mount::change(mount, &MountChange { set: attrs, ..MountChange::default() })
}

fn populate(
    mount: BorrowedFd<'_>,
    dirs: &[String],
    links: &[(String, String)],
) -> Result<(), Errno> {
    for dir in dirs {
        rustix::fs::mkdirat(mount, dir.as_str(), Mode::from_raw_mode(0o755))?;
        rustix::fs::chmodat(mount, dir.as_str(), Mode::from_raw_mode(0o755), AtFlags::empty())?;
    }
    for (name, to) in links {
        rustix::fs::symlinkat(to.as_str(), mount, name.as_str())?;
    }
    Ok(())
}

/// Deepest tree that is copied.
const MAX_DEPTH: u32 = 64;

/// Copies directories, files and links with modes and owners; follows nothing.
fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let stat = rustix::fs::fstat(from)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, mode)?;
    for entry in rustix::fs::Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        let mode = Mode::from_raw_mode(stat.st_mode);
        let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
                let inner_from = rustix::fs::openat(from, name, open, Mode::empty())?;
                let inner_to = rustix::fs::openat(to, name, open, Mode::empty())?;
                copy_directory(inner_from.as_fd(), inner_to.as_fd(), depth + 1)?;
            }
            FileType::RegularFile => {
                let source = rustix::fs::openat(from, name, open, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let copy = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
                while rustix::fs::sendfile(&copy, &source, None, 1 << 30)? > 0 {}
                rustix::fs::fchown(&copy, owner.0, owner.1)?;
                rustix::fs::fchmod(&copy, mode)?;
            }
            FileType::Symlink => {
                let content = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(content.as_c_str(), to, name)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(to, name, owner.0, owner.1, flags)?;
            }
            // Devices, pipes and sockets of an image do not begin a life of their own.
            _ => {}
        }
    }
    Ok(())
}
