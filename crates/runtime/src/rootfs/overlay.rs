//! Layers under overlayfs. The ids on disk are the container's; overlayfs acts as the container's
//! root on id-mapped clones of the layers.
//!
//! Newer kernels (6.13) take layers as descriptors. Older ones want paths, which a detached mount
//! does not have: there a child makes the mount in a mount namespace of its own and hands it over.

use super::{Mapped, Supplier, clone_tree, made_by_child, make_fs, map_ids};
use crate::error::LaunchError;
use crate::launch::Ids;
use crate::plan::step::FsMount;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
};
use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::mount::{MountChange, Propagation, attr};

/// Most layers that overlayfs takes, `OVL_MAX_STACK`.
const MAX_LAYERS: usize = 500;

/// What a writable layer may hold is plain: the store reads it to copy, compare and commit, and
/// does not follow redirects or look for data in the layers below. Some kernels default otherwise.
const PLAIN: [(&str, Option<&str>); 3] =
    [("redirect_dir", Some("off")), ("metacopy", Some("off")), ("index", Some("off"))];
/// The same outside of the first user namespace: overlayfs' own attributes are then the owner's,
/// and neither redirects nor files without their data are possible.
const PLAIN_FOR_USERS: [(&str, Option<&str>); 2] = [("userxattr", None), ("index", Some("off"))];

fn plain() -> &'static [(&'static str, Option<&'static str>)] {
    if sys::userns::is_first() { &PLAIN } else { &PLAIN_FOR_USERS }
}

/// The layers, opened.
struct Layers {
    lower: Vec<OwnedFd>,
    /// Nothing can be written without.
    above: Option<Above>,
    /// The SELinux label of all files in it, whatever theirs in the layers are.
    context: Option<String>,
}

/// Where what is written goes.
#[derive(Clone, Copy)]
pub(super) struct Writes<'a> {
    pub(super) upper: &'a Path,
    pub(super) work: &'a Path,
    /// Nothing is ever synced: not when a program asks for it, and above all not the whole file
    /// system below when the overlay is unmounted, which the end of its container would wait for.
    pub(super) volatile: bool,
}

/// What takes the writes.
struct Above {
    volatile: bool,
    upper: OwnedFd,
    work: OwnedFd,
    /// Where `upper` and `work` are reached from, by name.
    writable: OwnedFd,
    upper_name: PathBuf,
    work_name: PathBuf,
}

impl Supplier<'_> {
    pub(super) fn overlay(
        &mut self,
        lower: &[PathBuf],
        above: Option<Writes<'_>>,
    ) -> Result<OwnedFd, LaunchError> {
        if lower.is_empty() || lower.len() > MAX_LAYERS {
            let count = lower.len();
            return Err(LaunchError::invalid(format!("an overlay of {count} layers")));
        }
        let layers = self.layers(lower, above)?;
        let failed = |errno| match &layers.context {
            Some(label) => LaunchError::at(format!("mount the overlay labelled {label:?}"), errno),
            None => LaunchError::at("mount the overlay", errno),
        };
        let made = match self.as_root(|| by_descriptor(&layers))? {
            Err(Errno::INVAL | Errno::BADF | Errno::OPNOTSUPP) => {
                let state_dir = &self.launch.state_dir;
                self.as_root(|| made_by_child(|| by_path(&layers, state_dir)))?
            }
            made => made,
        };
        self.spent.extend(layers.lower.into_iter().chain(layers.above.map(|it| it.writable)));
        made.map_err(failed)
    }

    /// The content of an image, read-only: its layers on top of each other.
    pub(super) fn image(
        &mut self,
        lower: &[PathBuf],
        beneath: Option<&Path>,
    ) -> Result<OwnedFd, LaunchError> {
        let failed = |errno| LaunchError::at("mount an image", errno);
        let mapped = self.mapped.as_ref().filter(|_| self.launch.ids == Ids::Container);
        // What a label is given to must be a file system of the container's own.
        let whole = match lower {
            [only] if self.context().is_none() => layer(only, mapped).map_err(failed)?,
            all => self.overlay(all, None)?,
        };
        let readonly = MountChange {
            set: attr::RDONLY | attr::NODEV | attr::NOSUID,
            ..MountChange::default()
        };
        sys::mount::change(whole.as_fd(), &readonly).map_err(failed)?;
        let Some(path) = beneath else { return Ok(whole) };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mode = Mode::empty();
        let found = sys::root::open_how(whole.as_fd(), path, OFlags::PATH, mode, resolve);
        let shown = path.display();
        let found = found.map_err(|errno| match errno {
            Errno::XDEV | Errno::LOOP => LaunchError::invalid(format!(
                "subpath {shown} leads out of an image: path concatenation escapes the base \
                 directory"
            )),
            errno => LaunchError::at(format!("cannot access path {shown} in an image"), errno),
        })?;
        clone_tree(found.as_fd(), Path::new(""), false).map_err(failed)
    }

    fn layers(&self, lower: &[PathBuf], above: Option<Writes<'_>>) -> Result<Layers, LaunchError> {
        let mapped = self.mapped.as_ref().filter(|_| self.launch.ids == Ids::Container);
        let open = |path: &Path| {
            layer(path, mapped)
                .map_err(|errno| LaunchError::at(format!("open layer {}", path.display()), errno))
        };
        let mut lower = lower.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
        let context = self.context().map(str::to_owned);
        let Some(Writes { upper, work, volatile }) = above else {
            if lower.len() == 1 {
                // overlayfs wants at least two.
                let empty = FsMount { kind: c"tmpfs".into(), params: Vec::new(), attrs: 0 };
                let empty = make_fs(&empty);
                lower.push(empty.map_err(|errno| LaunchError::at("make an empty layer", errno))?);
            }
            return Ok(Layers { lower, above: None, context });
        };
        // Both must be reached through one mount.
        let above = common(upper, work);
        let writable = open(&above)?;
        let below = |path: &Path| -> Result<(PathBuf, OwnedFd), LaunchError> {
            let name = path.strip_prefix(&above).unwrap_or(path).to_owned();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&writable, &name, flags, Mode::empty())
                .map(|fd| (name, fd))
                .map_err(|errno| LaunchError::at(format!("open layer {}", path.display()), errno))
        };
        let (upper_name, upper) = below(upper)?;
        let (work_name, work) = below(work)?;
        let above = Above { volatile, upper, work, writable, upper_name, work_name };
        Ok(Layers { lower, above: Some(above), context })
    }
}

/// Lets a root that was volatile before be mounted again: overlayfs marks it, and refuses what is
/// marked, for after a power cut it cannot be trusted. Those that are do not outlive one.
pub(super) fn forget_volatile(work: &Path) -> Result<(), Errno> {
    use rustix::fs::{AtFlags, unlinkat};
    let mark = work.join("work/incompat/volatile");
    match unlinkat(CWD, mark.join("dirty"), AtFlags::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        removed => removed?,
    }
    unlinkat(CWD, &mark, AtFlags::REMOVEDIR)?;
    unlinkat(CWD, work.join("work/incompat"), AtFlags::REMOVEDIR)
}

fn layer(path: &Path, mapped: Option<&Mapped>) -> Result<OwnedFd, Errno> {
    // A clone also where no ids are mapped: the way of older kernels attaches it in a mount
    // namespace that knows no mount of this one.
    let mount = clone_tree(rustix::fs::CWD, path, false)?;
    if let Some(mapped) = mapped {
        map_ids(mount.as_fd(), mapped, false)?;
    }
    Ok(mount)
}

fn common(a: &Path, b: &Path) -> PathBuf {
    let shared = a.components().zip(b.components()).take_while(|(a, b)| a == b);
    shared.map(|(part, _)| part).collect()
}

fn by_descriptor(layers: &Layers) -> Result<OwnedFd, Errno> {
    use rustix::mount::{fsconfig_set_fd, fsconfig_set_string};
    let overlay = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, c"source", c"overlay")?;
    for lower in &layers.lower {
        fsconfig_set_fd(&overlay, c"lowerdir+", lower)?;
    }
    if let Some(above) = &layers.above {
        fsconfig_set_fd(&overlay, c"upperdir", &above.upper)?;
        fsconfig_set_fd(&overlay, c"workdir", &above.work)?;
        if above.volatile {
            rustix::mount::fsconfig_set_flag(&overlay, c"volatile")?;
        }
    }
    if let Some(label) = &layers.context {
        fsconfig_set_string(&overlay, c"context", label.as_str())?;
    }
    for (option, value) in plain() {
        match value {
            Some(value) => fsconfig_set_string(&overlay, *option, *value)?,
            None => rustix::mount::fsconfig_set_flag(&overlay, *option)?,
        }
    }
    rustix::mount::fsconfig_create(&overlay)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    rustix::mount::fsmount(&overlay, flags, MountAttrFlags::empty())
}

/// In a child: mounts the layers on a tmpfs that covers `place`, where nobody else sees it, and
/// the overlay from their names, which are short and relative so that all fit the one page that
/// mount(2) takes.
fn by_path(layers: &Layers, place: &Path) -> Result<OwnedFd, Errno> {
    sys::mount::unshare(sys::clone::ns::MOUNT)?;
    let private = MountChange {
        propagation: Some(Propagation::Private),
        recursive: true,
        ..MountChange::default()
    };
    sys::mount::change_at(CWD, c"/", &private)?;
    rustix::mount::mount(c"layers", place, c"tmpfs", MountFlags::empty(), c"mode=700")?;
    rustix::process::chdir(place)?;
    let mut names = String::new();
    for (number, lower) in layers.lower.iter().enumerate() {
        let name = number.to_string();
        attach(lower, &name)?;
        let _ = write!(names, "{}{name}", if number == 0 { "" } else { ":" });
    }
    rustix::fs::mkdir("m", Mode::from_raw_mode(0o700))?;
    let mut options = format!("lowerdir={names}");
    if let Some(above) = &layers.above {
        attach(&above.writable, "w")?;
        let (upper, work) = (above.upper_name.display(), above.work_name.display());
        let volatile = if above.volatile { ",volatile" } else { "" };
        let _ = write!(options, ",upperdir=w/{upper},workdir=w/{work}{volatile}");
    }
    for (option, value) in plain() {
        let _ = match value {
            Some(value) => write!(options, ",{option}={value}"),
            None => write!(options, ",{option}"),
        };
    }
    if let Some(label) = &layers.context {
        // The categories of a label have a comma between them.
        let _ = write!(options, ",context=\"{label}\"");
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(c"overlay", "m", c"overlay", MountFlags::empty(), options.as_c_str())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, "m", flags)
}

/// Mounts a layer at a new directory.
fn attach(layer: &OwnedFd, name: &str) -> Result<(), Errno> {
    rustix::fs::mkdir(name, Mode::from_raw_mode(0o700))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(layer, c"", CWD, name, flags)
}

#[cfg(test)]
mod tests;
