//! Sets disks to work while there is still something to do, so that who waits for them at the end
//! does not wait long.

use rustix::fd::{AsFd, AsRawFd};

/// Bytes of a file that are worth a call of their own.
pub const STEP_BYTES: u64 = 4 << 20;

/// A file grew, in order, from `before` to `now` bytes: begins to write to its disk what is
/// complete in steps, and waits for none of it (sync_file_range(2), `SYNC_FILE_RANGE_WRITE`).
/// Promises nothing: who needs a promise syncs.
pub fn follow(file: impl AsFd, before: u64, now: u64) {
    let step = |at: u64| at - at % STEP_BYTES;
    let (from, to) = (step(before), step(now));
    if from < to {
        let fd = file.as_fd().as_raw_fd();
        let [from, len] = [from, to - from].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        // What the kernel says of the disk is told to whoever syncs.
        // SAFETY: the descriptor is open as long as it is borrowed; the call touches no memory.
        let _ = unsafe { libc::sync_file_range(fd, from, len, libc::SYNC_FILE_RANGE_WRITE) };
    }
}
