//! The running program, on a mount that nobody can write through.
//!
//! A process that enters a container is seen there by `/proc/PID/exe`, and so is the file that it
//! was executed from (CVE-2019-5736). A sealed copy in memory ([`crate::memfd`]) costs a copy of
//! the program for each container. The same file on a read-only mount of its own costs nothing:
//! whoever opens it by way of the process opens it through that mount. The mount is in no mount
//! namespace, and once the descriptor that made it is closed in none at all, so that its
//! attributes cannot be changed and it cannot be cloned (`do_mount_setattr` and `may_copy_tree` in
//! the kernel's `fs/namespace.c`); the process keeps it.

use crate::mount::{MountAttr, attr};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};

/// The first word of a program that was executed from its view.
pub const OUT_OF_REACH: &str = "estiba-runtime: out of reach";

/// What the view is.
pub(crate) static VIEW: MountAttr = MountAttr {
    set: attr::RDONLY | attr::NOSUID | attr::NODEV,
    clear: 0,
    propagation: libc::MS_PRIVATE,
    userns: 0,
};

/// Opens the running program on a read-only mount that is attached nowhere.
///
/// # Errors
/// As open_tree(2) and mount_setattr(2): it takes the right to mount.
pub fn read_only_view() -> rustix::io::Result<OwnedFd> {
    use rustix::mount::OpenTreeFlags;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let view = rustix::mount::open_tree(rustix::fs::CWD, c"/proc/self/exe", flags)?;
    crate::mount::set(view.as_fd(), c"", libc::AT_EMPTY_PATH, &VIEW)?;
    Ok(view)
}

/// Whether the running program was executed from what [`read_only_view`] opens. A root that is
/// read-only looks the same, so whoever asks knows that it was.
///
/// # Errors
/// As open(2) on `/proc/self/exe`.
pub fn is_read_only_view() -> rustix::io::Result<bool> {
    let exe = rustix::fs::open(c"/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fstatvfs(&exe)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}
