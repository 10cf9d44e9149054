//! The running program, shown through a file system that nobody can write to.
//!
//! A process that enters a container is seen there by `/proc/PID/exe`, and so is the file that it
//! was executed from (CVE-2019-5736). A sealed copy in memory ([`crate::memfd`]) costs a copy of
//! the program for each container; an overlay of nothing but lower layers shows the program's own
//! pages, and has no layer to write to, whatever becomes of its mount's attributes.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What statfs(2) says of overlayfs.
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

/// What lies below the program's directory and is never looked into: any other file system that is
/// there anyway.
const OTHER_LAYER: &std::ffi::CStr = c"/sys";

/// Opens the running program in an overlay of its directory, on a mount that is attached nowhere.
///
/// # Errors
/// As the calls of the new mount interface: it takes the right to mount, and a kernel that takes
/// layers by descriptor (since 6.13). `EXDEV` if the directory has another program by now.
pub fn read_only_view() -> rustix::io::Result<OwnedFd> {
    let path = rustix::fs::readlink(c"/proc/self/exe", Vec::new())?;
    let path = Path::new(OsStr::from_bytes(path.as_bytes()));
    let (dir, name) = path.parent().zip(path.file_name()).ok_or(Errno::NOENT)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    let other = rustix::fs::open(OTHER_LAYER, flags, Mode::empty())?;
    let view = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_fd(&view, c"lowerdir+", &dir)?;
    // Overlayfs wants two layers where there is none to write to.
    rustix::mount::fsconfig_set_fd(&view, c"lowerdir+", &other)?;
    rustix::mount::fsconfig_create(&view)?;
    let attrs = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    let view = rustix::mount::fsmount(&view, FsMountFlags::FSMOUNT_CLOEXEC, attrs)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let program = rustix::fs::openat(&view, name, flags, Mode::empty())?;
    let own = rustix::fs::stat(c"/proc/self/exe")?;
    let shown = rustix::fs::fstat(&program)?;
    match (own.st_ino, own.st_size, own.st_mtime) == (shown.st_ino, shown.st_size, shown.st_mtime) {
        true => Ok(program),
        false => Err(Errno::XDEV),
    }
}

/// Whether the running program was executed from what [`read_only_view`] opens. A root that is a
/// read-only overlay itself looks the same, so whoever asks knows that it was.
///
/// # Errors
/// As open(2) on `/proc/self/exe`.
pub fn is_read_only_view() -> rustix::io::Result<bool> {
    let exe = rustix::fs::open(c"/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let read_only = rustix::fs::fstatvfs(&exe)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(read_only && rustix::fs::fstatfs(&exe)?.f_type == OVERLAYFS_MAGIC)
}
