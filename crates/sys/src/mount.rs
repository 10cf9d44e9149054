//! The parts of the mount API that rustix does not have: mount_setattr(2) and setns(2) by pidfd.

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd};
use std::ffi::CStr;
use std::mem::size_of;

/// Mount attributes, as mount_setattr(2) names them; combine with `|`.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-user-id.
    pub const NOSUID: u64 = 0x2;
    /// No device nodes.
    pub const NODEV: u64 = 0x4;
    /// No execution.
    pub const NOEXEC: u64 = 0x8;
    /// All bits of the access time setting.
    pub const ATIME_MASK: u64 = 0x70;
    /// Access times are relative.
    pub const RELATIME: u64 = 0;
    /// Access times are not updated.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Directories' access times are not updated.
    pub const NODIRATIME: u64 = 0x80;
    /// Ids are mapped.
    pub const IDMAP: u64 = 0x0010_0000;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// Propagation of a mount, mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// Only towards this mount.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    fn flag(self) -> u64 {
        match self {
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// One change of a mount or a tree of mounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct MountChange<'fd> {
    /// Attributes to set, see [`attr`].
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// Propagation to set.
    pub propagation: Option<Propagation>,
    /// User namespace whose map the mount's ids go through; needs [`attr::IDMAP`] in `set`.
    pub userns: Option<BorrowedFd<'fd>>,
    /// Also everything mounted below.
    pub recursive: bool,
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns: u64,
}

/// Changes the mount that `mount` is open on, mount_setattr(2). Does not allocate.
///
/// # Errors
/// As mount_setattr(2): `EINVAL` when the file system cannot be mapped, `EPERM` when the change
/// would unlock what a more privileged namespace locked.
pub fn change(mount: BorrowedFd<'_>, change: &MountChange<'_>) -> rustix::io::Result<()> {
    change_at(mount, c"", change)
}

/// As [`change`], of the mount at `path` relative to `dir`; an empty path means `dir` itself.
///
/// # Errors
/// As [`change`].
pub fn change_at(
    dir: BorrowedFd<'_>,
    path: &CStr,
    change: &MountChange<'_>,
) -> rustix::io::Result<()> {
    let attr = MountAttr {
        set: change.set,
        clear: change.clear,
        propagation: change.propagation.map_or(0, Propagation::flag),
        userns: change.userns.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if change.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    set(dir, path, flags, &attr)
}

/// mount_setattr(2) itself.
pub(crate) fn set(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    attr: &MountAttr,
) -> rustix::io::Result<()> {
    // SAFETY: path and structure outlive the call, and the size is the structure's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// Moves the calling thread into namespaces, setns(2). `of` is a namespace file (`which` is its
/// kind, or 0 for any) or a pidfd (`which` says which ones, see [`crate::clone::ns`]).
///
/// # Errors
/// As setns(2).
pub fn setns(of: BorrowedFd<'_>, which: u64) -> rustix::io::Result<()> {
    let which = libc::c_int::try_from(which).map_err(|_| rustix::io::Errno::INVAL)?;
    // SAFETY: takes two integers; a thread's own view changes, no memory.
    let result = unsafe { libc::setns(of.as_raw_fd(), which) };
    check(result.into()).map(drop)
}

/// Leaves the shared namespaces of `which` for new ones, unshare(2).
///
/// # Errors
/// As unshare(2).
pub fn unshare(which: u64) -> rustix::io::Result<()> {
    let which = libc::c_int::try_from(which).map_err(|_| rustix::io::Errno::INVAL)?;
    // SAFETY: takes one integer. Of the flags with an effect on memory safety, CLONE_FILES and
    // CLONE_VM, the first is only used by single-threaded callers and the second has none.
    let result = unsafe { libc::unshare(which) };
    check(result.into()).map(drop)
}
