//! Gives files, links and nodes the attributes an entry asks for, through file descriptors only:
//! a name is never looked at twice, so a process that swaps it meanwhile gains nothing. This module
//! never resolves a path with more than one component.

use super::{Entry, Kind, Time};
use rustix::fs::XattrFlags;
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The name of one of overlayfs' own attributes: what only the machine's root may set, and, in any
/// other user namespace, where layers are mounted with `userxattr`, what the owner may.
pub(crate) fn overlay_xattr(name: &str) -> String {
    let class = if sys::userns::is_first() { "trusted" } else { "user" };
    format!("{class}.overlay.{name}")
}

/// Who owns what an archive creates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// Owner instead of the archive's.
    pub(crate) fixed: Option<(u32, u32)>,
    /// Added to every id.
    pub(crate) shift: (u32, u32),
}

impl Ownership {
    /// The ids to set on disk.
    pub(crate) fn of(self, uid: u32, gid: u32) -> (Uid, Gid) {
        let (uid, gid) = self.fixed.unwrap_or((uid, gid));
        let add = |id: u32, shift: u32| id.checked_add(shift).unwrap_or(u32::MAX - 1);
        (Uid::from_raw(add(uid, self.shift.0)), Gid::from_raw(add(gid, self.shift.1)))
    }
}

/// Makes what needs neither content nor privileges: link, fifo, directory.
pub(crate) fn make(parent: impl AsFd, name: &CStr, entry: &Entry) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(entry.mode & 0o7777);
    match entry.kind {
        Kind::Dir => fs::mkdirat(&parent, name, Mode::RWXU),
        Kind::Symlink => fs::symlinkat(OsStr::from_bytes(&entry.link), &parent, name),
        Kind::Fifo => fs::mknodat(&parent, name, FileType::Fifo, mode, 0),
        Kind::File | Kind::HardLink | Kind::CharDevice | Kind::BlockDevice => Err(Errno::INVAL),
    }
}

/// Owner, attributes, mode and time of an open file or directory. The order matters: a change of
/// owner clears setuid bits and capabilities.
pub(crate) fn finish_open(
    file: impl AsFd,
    entry: &Entry,
    owner: Ownership,
) -> rustix::io::Result<()> {
    let (uid, gid) = owner.of(entry.uid, entry.gid);
    fs::fchown(&file, Some(uid), Some(gid))?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_kept_xattr(name)) {
        match fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
    fs::futimens(&file, &timestamps(entry.mtime))
}

/// The same for what cannot be opened: links, devices, fifos.
pub(crate) fn finish_node(
    parent: impl AsFd,
    name: &CStr,
    entry: &Entry,
    owner: Ownership,
) -> rustix::io::Result<()> {
    let node = open(parent, name)?;
    let (uid, gid) = owner.of(entry.uid, entry.gid);
    fs::chownat(&node, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    set_mode(&node, entry.mode)?;
    fs::utimensat(&node, c"", &timestamps(entry.mtime), AtFlags::EMPTY_PATH)
}

/// A name directly below `parent`, to name exactly this inode.
pub(crate) fn open(parent: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Sets the mode of what is open by `O_PATH`; of links it cannot be set.
pub(crate) fn set_mode(node: &OwnedFd, mode: u32) -> rustix::io::Result<()> {
    let stat = fs::fstat(node)?;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if is_link || stat.st_mode & 0o7777 == mode {
        return Ok(());
    }
    match sys::sandbox::chmod(node, mode) {
        // The kernel's own link names exactly this inode, whatever happens to the name. In a
        // process without /proc this is an error: only for set-id bits on a fifo or a device.
        Err(Errno::NOSYS) => {
            let link = format!("/proc/self/fd/{}", node.as_raw_fd());
            fs::chmodat(CWD, link, Mode::from_raw_mode(mode), AtFlags::empty())
        }
        done => done,
    }
}

/// Whether an attribute of an archive is set on disk. `trusted.overlay.*` and `user.overlay.*`
/// would steer overlayfs, security labels are the host's business.
pub(crate) fn is_kept_xattr(name: &str) -> bool {
    match name {
        "security.capability" | "system.posix_acl_access" | "system.posix_acl_default" => true,
        _ => name.starts_with("user.") && !name.starts_with("user.overlay."),
    }
}

/// Access and modification time, both the archive's.
pub(crate) fn timestamps(time: Time) -> Timestamps {
    let spec = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: spec, last_modification: spec }
}
