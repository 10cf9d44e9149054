//! Being told which files are opened, fanotify(7). Never holds anybody up.

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

/// `struct fanotify_event_metadata`: length, version, reserved, length of this, mask, fd, pid.
const METADATA: usize = 24;

/// A group that is told of every open on the mount that the directory `root` lies on.
///
/// # Errors
/// As fanotify_init(2) and fanotify_mark(2).
pub fn opens_of_mount(root: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_NONBLOCK | libc::FAN_CLOEXEC;
    let of_events = (libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned();
    // SAFETY: the call takes two numbers.
    let group = unsafe { libc::fanotify_init(flags, of_events) };
    check(group.into())?;
    // SAFETY: the kernel has just made this descriptor for us.
    let group = unsafe { OwnedFd::from_raw_fd(group) };
    let add = libc::FAN_MARK_ADD | libc::FAN_MARK_MOUNT;
    let (mask, dot) = (libc::FAN_OPEN, c".");
    // SAFETY: the path is a static string; the descriptors live across the call.
    let marked = unsafe {
        libc::fanotify_mark(group.as_raw_fd(), add, mask, root.as_raw_fd(), dot.as_ptr())
    };
    check(marked.into())?;
    Ok(group)
}

/// The files of the events that are there, at most as many as `buffer` has room for; none when
/// nothing happened.
///
/// # Errors
/// As read(2).
pub fn read(group: BorrowedFd<'_>, buffer: &mut [u8]) -> rustix::io::Result<Vec<OwnedFd>> {
    let count = match rustix::io::read(group, &mut *buffer) {
        Ok(count) => count,
        Err(Errno::AGAIN) => 0,
        Err(errno) => return Err(errno),
    };
    let mut found = Vec::new();
    let mut rest = &buffer[..count];
    while let Some((event, _)) = rest.split_at_checked(METADATA) {
        let length = u32::from_ne_bytes([event[0], event[1], event[2], event[3]]) as usize;
        let fd = i32::from_ne_bytes([event[16], event[17], event[18], event[19]]);
        if fd >= 0 {
            // SAFETY: the kernel opened it for the reader of this event, which we are.
            found.push(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        // An overflow of the queue has no descriptor; a length of zero would never end.
        rest = rest.get(length.max(METADATA)..).unwrap_or_default();
    }
    Ok(found)
}
