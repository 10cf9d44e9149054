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

/// Unmaps the pages of the process's own program. They come back from the page cache as they are
/// used, so this is for just before a long wait: inlined into the waiting function, and without a
/// detour through libc, nearly nothing is used behind it.
#[inline]
pub fn forget_program() {
    unsafe extern "C" {
        // Linker symbols: where the program's image begins and where its code ends.
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let start = (&raw const __executable_start).cast_mut();
    let length = (&raw const etext).addr().saturating_sub(start.addr()) / page * page;
    // SAFETY: from the image's beginning to the end of its code there are only private file
    // mappings that are never written (what the loader relocates lies behind), so their pages can
    // be dropped at any time and read again the same.
    let _ = unsafe { rustix::mm::madvise(start.cast(), length, rustix::mm::Advice::LinuxDontNeed) };
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

    #[test]
    fn a_trimmed_process_goes_on() {
        let kept = vec![7_u8; 1 << 20];
        trim_memory();
        forget_program();
        assert!(kept.iter().all(|&byte| byte == 7));
        assert_eq!(format!("{:?}", Some(1.5)), "Some(1.5)");
    }
}
