//! Acting inside another network namespace: on a thread of its own, so that no other code ever
//! finds itself in the wrong one.

use crate::error::Result;
use std::os::fd::BorrowedFd;

/// Runs `act` on a short-lived thread that has entered `netns`. Sockets opened there stay there;
/// `/proc/sys/net` is that namespace's.
pub(crate) fn within<T: Send>(
    netns: BorrowedFd<'_>,
    act: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    sys::netns::run_in(netns, act)?
}
