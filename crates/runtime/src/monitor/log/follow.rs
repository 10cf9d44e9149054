//! Waits for a log to grow, for a stop, or for a time. It reads no log.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// How often the files are looked at where the kernel cannot tell of their changes (the user's
/// inotify instances are used up).
const LOOK_EVERY_NS: i64 = 100_000_000;

/// Tells a reader that follows that there will be no more. Clones tell the same reader.
#[derive(Debug, Clone)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// A stop that nobody has given.
    ///
    /// # Errors
    /// What eventfd(2) reports.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Whether it was given.
    pub fn is_given(&self) -> bool {
        is_readable(&self.0)
    }

    /// Gives it. The reader comes to its end once it has read what is in the files now.
    pub fn stop(&self) {
        // Only a full counter could refuse, and that says the same.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// What a following reader waits with.
#[derive(Debug)]
pub(super) struct Follow {
    changes: Option<OwnedFd>,
    stop: Option<Stop>,
}

impl Follow {
    /// Watches the directory of `path`: one watch sees the file change, go and come.
    pub(super) fn new(path: &Path, stop: Option<Stop>) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let changes =
            inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE;
        let changes = match changes {
            None => None,
            Some(changes) => match inotify::add_watch(&changes, directory, events) {
                Ok(_) => Some(changes),
                Err(Errno::NOSPC | Errno::NOMEM) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self { changes, stop })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| is_readable(&stop.0))
    }

    /// Waits until something may have changed. False when the time `until_ns` has come.
    pub(super) fn wait(&mut self, until_ns: Option<i64>) -> io::Result<bool> {
        let left = until_ns.map(|until| until.saturating_sub(now_ns()));
        if left.is_some_and(|left| left <= 0) {
            return Ok(false);
        }
        let look = if self.changes.is_none() { Some(LOOK_EVERY_NS) } else { None };
        let timeout = left
            .into_iter()
            .chain(look)
            .min()
            .map(|ns| Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 });
        let stop = self.stop.as_ref().map(|stop| stop.0.as_fd());
        let fds = self.changes.as_ref().map(AsFd::as_fd).into_iter().chain(stop);
        let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(changes) = &self.changes {
            // Which change it was does not matter.
            let mut events = [0; 4096];
            while rustix::io::read(changes, &mut events).is_ok_and(|length| length > 0) {}
        }
        Ok(true)
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
}

fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
