//! Answering system calls in the kernel's place: the listener of a seccomp filter,
//! seccomp_unotify(2). Who is answered what is not known here.

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// `SECCOMP_IOCTL_NOTIF_*`: `_IOWR('!', n, …)` with the sizes of the structures below.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const ID_VALID: libc::c_ulong = 0x4008_2102;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const CONTINUE: u32 = 1;

/// A system call that waits for its answer: `struct seccomp_notif`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Call {
    /// Names the call to the kernel.
    pub id: u64,
    /// The calling thread, as the listener's pid namespace sees it; 0 when it does not.
    pub pid: u32,
    flags: u32,
    /// Number of the call.
    pub number: i32,
    /// `AUDIT_ARCH_*`.
    pub architecture: u32,
    /// Where in the program.
    pub instruction: u64,
    /// The six arguments. What pointers point to may change at any moment.
    pub arguments: [u64; 6],
}

#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const _: () = assert!(size_of::<Call>() == 80 && size_of::<Answer>() == 24);

/// Waits for the next call. Nothing when the caller went away meanwhile, or a signal came.
///
/// # Errors
/// As ioctl(2).
pub fn receive(listener: BorrowedFd<'_>) -> rustix::io::Result<Option<Call>> {
    let mut call = Call::default();
    // SAFETY: the kernel writes a structure of the size that the request names, which this is.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut call) };
    match check(result.into()) {
        Ok(_) => Ok(Some(call)),
        Err(Errno::NOENT | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Lets the kernel do the call. Never an act of protection: its arguments may be others by then.
///
/// # Errors
/// As ioctl(2).
pub fn go_on(listener: BorrowedFd<'_>, call: &Call) -> rustix::io::Result<()> {
    answer(listener, &Answer { id: call.id, value: 0, error: 0, flags: CONTINUE })
}

/// Lets the call fail.
///
/// # Errors
/// As ioctl(2).
pub fn refuse(listener: BorrowedFd<'_>, call: &Call, errno: Errno) -> rustix::io::Result<()> {
    let error = errno.raw_os_error().saturating_neg();
    answer(listener, &Answer { id: call.id, value: 0, error, flags: 0 })
}

fn answer(listener: BorrowedFd<'_>, answer: &Answer) -> rustix::io::Result<()> {
    // SAFETY: the kernel reads a structure of the size that the request names, which this is.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, std::ptr::from_ref(answer)) };
    match check(result.into()) {
        // Whoever asked is gone.
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether the call still waits: what was read about its process by number was about it.
#[must_use]
pub fn still_waits(listener: BorrowedFd<'_>, call: &Call) -> bool {
    // SAFETY: the kernel reads the number that is pointed to.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, &raw const call.id) };
    result == 0
}
