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

/// Has all threads that begin from now on share so many heaps, mallopt(3). Otherwise there are up
/// to eight for each processor.
pub fn share_heaps(count: u16) {
    // SAFETY: it says only where later allocations come from.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, count.into()) };
}

/// Gives freed memory back to the kernel.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes any padding and keeps live allocations as they are.
    unsafe { libc::malloc_trim(0) };
}

/// Gives back the pages of the calling thread's stack that deeper calls have used before.
pub fn trim_stack() {
    let Some(lowest) = lowest_of_stack() else {
        return;
    };
    let page = rustix::param::page_size();
    let here = (&raw const page).addr();
    // What lies below the frames of this function and of the calls it makes is nobody's; two
    // pages are far more than those frames and the red zone.
    let end = (here / page).saturating_sub(2) * page;
    let start = lowest.max(end.saturating_sub(MAX_STACK_TRIM_BYTES));
    let start = start.next_multiple_of(page);
    if start < end {
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range lies within this thread's stack, below everything that is in use. Of
        // the main thread's it may not be mapped yet, which is an error of no consequence.
        let _ = unsafe {
            rustix::mm::madvise(start, end - start.addr(), rustix::mm::Advice::LinuxDontNeed)
        };
    }
}

/// More than any call here uses.
const MAX_STACK_TRIM_BYTES: usize = 1 << 20;

/// Lowest address that belongs to the calling thread's stack.
fn lowest_of_stack() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::uninit();
    let mut lowest = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the attributes are initialised by pthread_getattr_np before they are read and
    // destroyed once; the two results are written to live variables.
    let result = unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let result =
            libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result
    };
    (result == 0).then_some(lowest.addr())
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
        trim_stack();
        trim_memory();
        forget_program();
        assert!(kept.iter().all(|&byte| byte == 7));
        assert_eq!(format!("{:?}", Some(1.5)), "Some(1.5)");
    }
}
