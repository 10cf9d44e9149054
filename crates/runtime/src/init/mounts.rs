//! The child's mounts: attaching what was made to what is found in the root. Does not allocate.
//!
//! A mount point is resolved inside the root, once, and everything after works on the descriptor.

use super::Child;
use crate::plan::step::{Slot, Target};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::CStr;
use sys::mount::{MountChange, attr};
use sys::root::{IN_ROOT, open_how};

/// `PROC_SUPER_MAGIC`, statfs(2).
const PROC_MAGIC: i64 = 0x9fa0;

/// Name of the empty file among the masks.
pub(crate) const MASK_FILE: &CStr = c"file";
/// Name of the empty directory among the masks.
pub(crate) const MASK_DIR: &CStr = c"dir";

const BY_FD: MoveMountFlags =
    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH.union(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH);

/// Mounts over `/`. The caller's root stays what it was, below.
pub(super) fn cover(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", CWD, c"/", flags)
}

/// Makes the directory and those above it where they are missing.
pub(super) fn make_dir(root: BorrowedFd<'_>, at: &Target) -> Result<(), Errno> {
    open_or_make(root, at, true).map(drop)
}

impl Child<'_> {
    pub(super) fn attach(&self, mount: Slot, at: &Target) -> Result<(), Errno> {
        let mount = self.slots.at(mount)?;
        let directory = is_directory(mount)?;
        let place = open_or_make(self.slots.at(Slot::ROOT)?, at, directory)?;
        if is_directory(place.as_fd())? != directory {
            return Err(Errno::NOTDIR);
        }
        // A link of the image may lead into what the runtime has mounted; then the mount would
        // cover a piece of procfs that somebody relies on (law A3).
        if !at.no_symlinks && rustix::fs::fstatfs(&place)?.f_type == PROC_MAGIC {
            return Err(Errno::PERM);
        }
        rustix::mount::move_mount(mount, c"", &place, c"", BY_FD)
    }

    pub(super) fn change(&self, at: &Target, change: &MountChange<'_>) -> Result<(), Errno> {
        let root = self.slots.at(Slot::ROOT)?;
        if at.prefixes.is_empty() {
            return sys::mount::change(root, change);
        }
        sys::mount::change(open(root, at)?.as_fd(), change)
    }

    pub(super) fn mask(&self, path: &CStr) -> Result<(), Errno> {
        let Some(place) = self.open_if_there(path)? else { return Ok(()) };
        let name = if is_directory(place.as_fd())? { MASK_DIR } else { MASK_FILE };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mask = rustix::mount::open_tree(self.slots.at(Slot::MASKS)?, name, flags)?;
        rustix::mount::move_mount(&mask, c"", &place, c"", BY_FD)
    }

    pub(super) fn read_only(&self, path: &CStr) -> Result<(), Errno> {
        let Some(place) = self.open_if_there(path)? else { return Ok(()) };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let copy = rustix::mount::open_tree(&place, c"", flags)?;
        let change = MountChange { set: attr::RDONLY, recursive: true, ..MountChange::default() };
        sys::mount::change(copy.as_fd(), &change)?;
        rustix::mount::move_mount(&copy, c"", &place, c"", BY_FD)
    }

    fn open_if_there(&self, path: &CStr) -> Result<Option<OwnedFd>, Errno> {
        let root = self.slots.at(Slot::ROOT)?;
        match open_how(root, path, OFlags::PATH, Mode::empty(), IN_ROOT) {
            Ok(place) => Ok(Some(place)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn pivot(&self) -> Result<(), Errno> {
        rustix::process::fchdir(self.slots.at(Slot::ROOT)?)?;
        // The old root comes to lie over the new one, pivot_root(2) "Notes", and the masks over
        // the old root: both are taken off, the uppermost first.
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    }

    pub(super) fn move_root(&self) -> Result<(), Errno> {
        rustix::process::fchdir(self.slots.at(Slot::ROOT)?)?;
        rustix::process::chroot(c".")?;
        rustix::process::chdir(c"/")
    }
}

fn resolve(at: &Target) -> ResolveFlags {
    if at.no_symlinks { IN_ROOT | ResolveFlags::NO_SYMLINKS } else { IN_ROOT }
}

fn open(root: BorrowedFd<'_>, at: &Target) -> Result<OwnedFd, Errno> {
    open_how(root, at.path.as_c_str(), OFlags::PATH, Mode::empty(), resolve(at))
}

/// Opens the target. Missing directories on the way are made, and at its end a directory or an
/// empty file.
fn open_or_make(root: BorrowedFd<'_>, at: &Target, directory: bool) -> Result<OwnedFd, Errno> {
    match open(root, at) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let last = at.prefixes.len().checked_sub(1).ok_or(Errno::NOENT)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut parent = open_how(root, c"/", flags, Mode::empty(), IN_ROOT)?;
    for (place, (prefix, name)) in at.prefixes.iter().zip(&at.names).enumerate() {
        let wants_directory = place < last || directory;
        match open_how(root, prefix.as_c_str(), OFlags::PATH, Mode::empty(), resolve(at)) {
            Ok(found) => parent = found,
            Err(Errno::NOENT) => {
                make_one(parent.as_fd(), name, wants_directory)?;
                parent =
                    open_how(root, prefix.as_c_str(), OFlags::PATH, Mode::empty(), resolve(at))?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(parent)
}

fn make_one(parent: BorrowedFd<'_>, name: &CStr, directory: bool) -> Result<(), Errno> {
    let made = if directory {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
    } else {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    };
    match made {
        // Somebody who shares the directory was faster, or a dangling link is in the way: then
        // the next look fails.
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode).is_dir())
}
