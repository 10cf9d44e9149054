//! Receiving signals through a descriptor, signalfd(2).

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Number of the signal.
    pub signal: i32,
    /// Process that sent it, or the child that changed.
    pub pid: i32,
}

/// Blocks every signal that can be blocked, for the calling thread and those it will make, and
/// returns a descriptor that is readable when one is pending. Nonblocking and close-on-exec.
///
/// # Errors
/// As signalfd(2).
pub fn all() -> rustix::io::Result<OwnedFd> {
    // SAFETY: `set` is initialised by sigfillset before anything reads it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        receive(&set)
    }
}

/// As [`all`], for these signals only.
///
/// # Errors
/// As signalfd(2); `EINVAL` for a number that is no signal.
pub fn of(signals: &[i32]) -> rustix::io::Result<OwnedFd> {
    // SAFETY: `set` is initialised by sigemptyset before anything reads it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            check(libc::sigaddset(&raw mut set, *signal).into())?;
        }
        receive(&set)
    }
}

fn receive(set: &libc::sigset_t) -> rustix::io::Result<OwnedFd> {
    // SAFETY: the set outlives both calls; the old mask is not asked for; the new descriptor is
    // known to nobody else.
    unsafe {
        check(libc::sigprocmask(libc::SIG_BLOCK, set, std::ptr::null_mut()).into())?;
        let fd = libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd.into())?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Takes one pending signal from a descriptor made here; nothing when there is none.
///
/// # Errors
/// As read(2).
pub fn take(signals: BorrowedFd<'_>) -> rustix::io::Result<Option<Received>> {
    // SAFETY: the structure consists of integers, for which all-zero is a value; read(2) writes
    // at most its size.
    let (info, count) = unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let count = libc::read(signals.as_raw_fd(), (&raw mut info).cast(), size);
        (info, count)
    };
    match check(count as libc::c_long) {
        Ok(_) => Ok(Some(Received {
            signal: info.ssi_signo.cast_signed(),
            pid: info.ssi_pid.cast_signed(),
        })),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}
