//! Doing something in another network namespace.

use crate::clone::ns;
use crate::error::SysError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use std::path::Path;

/// Opens a namespace file, as in `/proc/7/ns/net`.
///
/// # Errors
/// As open(2).
pub fn open(path: &Path) -> Result<OwnedFd, SysError> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| SysError::new("open", path.display().to_string(), errno))
}

/// Opens the network namespace of the process `pid`.
///
/// # Errors
/// As open(2).
pub fn of_process(pid: i32) -> Result<OwnedFd, SysError> {
    open(Path::new(&format!("/proc/{pid}/ns/net")))
}

/// Runs `act` on a thread of its own in the network namespace `netns`; sockets made there stay
/// there.
///
/// # Errors
/// As setns(2) and `EAGAIN` when no thread can be made.
pub fn run_in<T: Send>(
    netns: BorrowedFd<'_>,
    act: impl FnOnce() -> T + Send,
) -> Result<T, SysError> {
    let again = |what: &'static str| SysError::new(what, "netns", rustix::io::Errno::AGAIN);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, || {
            crate::mount::setns(netns, ns::NET)
                .map_err(|errno| SysError::new("setns", "network namespace", errno))?;
            Ok(act())
        });
        match thread.map_err(|_| again("pthread_create"))?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Moves the calling thread into `netns` for as long as the returned guard lives.
///
/// # Errors
/// As setns(2).
pub fn enter(netns: BorrowedFd<'_>) -> Result<Entered, SysError> {
    enter_kind(netns, ns::NET, "net")
}

/// As [`enter`], for the namespace kind `which` whose file is called `name` in
/// `/proc/thread-self/ns`. Not for mount and user namespaces.
///
/// # Errors
/// As setns(2).
pub fn enter_kind(
    namespace: BorrowedFd<'_>,
    which: u64,
    name: &'static str,
) -> Result<Entered, SysError> {
    if which == ns::PID && !crate::userns::is_first() {
        // The way back leads into a namespace that only the machine's root may enter.
        return Err(SysError::new("setns", name, rustix::io::Errno::PERM));
    }
    let own = open(&Path::new("/proc/thread-self/ns").join(name))?;
    crate::mount::setns(namespace, which).map_err(|errno| SysError::new("setns", name, errno))?;
    Ok(Entered { own, which })
}

/// The way back from another namespace, taken when dropped.
#[derive(Debug)]
pub struct Entered {
    own: OwnedFd,
    which: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Going home is only refused to who lost the privilege to leave; then every later act
        // would be in the wrong place.
        if crate::mount::setns(self.own.as_fd(), self.which).is_err() {
            std::process::abort();
        }
    }
}
