//! What a small process that stays for long does to itself at its start, and while it is idle.
//! This module knows nothing of what such a process is for.

use rustix::fd::{FromRawFd, OwnedFd};
use std::io;

/// Ignores the given signals. Children inherit that across exec until somebody resets it.
///
/// # Errors
/// `EINVAL` for a number that is no signal, or one that cannot be ignored.
pub fn ignore_signals(signals: &[i32]) -> io::Result<()> {
    for &signal in signals {
        // SAFETY: SIG_IGN runs no code of ours.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Takes over a descriptor that this process was started with, and makes it close-on-exec.
/// To be called once for each number, before the process opens anything.
///
/// # Errors
/// `EBADF` when it was not given.
pub fn inherited_fd(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on any number is sound; it fails with EBADF when nothing is open there.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, came with the process and by the contract above belongs to
    // nobody in it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Moves into a mount namespace of its own that still follows what the host unmounts, so that
/// the process neither shows its mounts nor keeps the host's busy.
///
/// # Errors
/// What unshare(2) and mount(2) report.
pub fn own_mount_namespace() -> rustix::io::Result<()> {
    // SAFETY: a new mount namespace changes no memory and no descriptors.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS)? };
    rustix::mount::mount_change(
        c"/",
        rustix::mount::MountPropagationFlags::DOWNSTREAM
            | rustix::mount::MountPropagationFlags::REC,
    )
}

/// Gives freed memory back to the kernel.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes any padding and keeps live allocations as they are.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_was_not_given_is_an_error() {
        assert_eq!(inherited_fd(9999).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn kill_cannot_be_ignored() {
        assert!(ignore_signals(&[libc::SIGKILL]).is_err());
    }
}
