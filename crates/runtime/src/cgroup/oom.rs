//! Noticing that the kernel killed for lack of memory.
//!
//! Source: `cgroup-v1/memory.rst` §9-10 (`cgroup.event_control`), `cgroup-v2.rst`
//! (`memory.events`: "a file modified event", which poll(2) reports as `POLLPRI`).

use rustix::event::{EventfdFlags, PollFlags};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::CgroupError;
use super::file::Dir;
use super::hierarchy::MEMORY;
use super::{Cgroup, Home};

/// A descriptor to be waited for with [`OomWatch::interest`]: the cgroup ran out of memory, or was
/// removed. It says that something happened: [`Cgroup::oom_kills`] says what.
///
/// On v2 it is the file itself. Users have few inotify instances (128 by default), and there is
/// one container per watch.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    /// v1: the kernel signals for as long as the watched file is open.
    watched: Option<OwnedFd>,
}

impl OomWatch {
    /// What poll(2) is to wait for.
    pub fn interest(&self) -> PollFlags {
        if self.watched.is_some() { PollFlags::IN } else { PollFlags::PRI }
    }

    /// Takes what was signalled, so that the next event is signalled again. Never blocks.
    pub fn drain(&self) -> OomSigns {
        let mut bytes = [0u8; 4096];
        let Some(watched) = &self.watched else {
            let gone = rustix::io::pread(&self.fd, &mut bytes, 0).is_err();
            return OomSigns { events: 0, gone };
        };
        let gone = rustix::io::pread(watched, &mut bytes, 0).is_err();
        let mut count = [0; 8];
        // EAGAIN: nothing was signalled.
        let signalled = match rustix::io::read(&self.fd, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        };
        // That it is removed is signalled like the others, a moment later perhaps: then one event
        // too few is told.
        OomSigns { events: signalled.saturating_sub(u64::from(gone)), gone }
    }
}

/// What a watch has seen since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomSigns {
    /// How often the cgroup ran out of memory, at least. Zero on v2, where only the file tells.
    pub events: u64,
    /// The cgroup was removed: there will be no more, and how many were killed in it cannot be
    /// read any more.
    pub gone: bool,
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// How many processes of the cgroup and of those below it were killed for lack of memory.
    /// Zero where no memory controller is: nothing can be known there.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match self.home(MEMORY) {
            None => Ok(0),
            Some(Home::V2(dir)) => field_of(dir, "memory.events"),
            // v1 counts each cgroup alone.
            Some(Home::V1(dir)) => dir
                .subtree()?
                .iter()
                .try_fold(0u64, |sum, dir| Ok(sum + field_of(dir, "memory.oom_control")?)),
        }
    }

    /// A watch on out-of-memory events; `None` where no memory controller is.
    ///
    /// # Errors
    /// [`CgroupError::Watch`].
    pub fn watch_oom(&self) -> Result<Option<OomWatch>, CgroupError> {
        let (dir, file) = match self.home(MEMORY) {
            None => return Ok(None),
            Some(Home::V1(dir)) => (dir, "memory.oom_control"),
            Some(Home::V2(dir)) => (dir, "memory.events"),
        };
        let watch = match file {
            "memory.events" => watch_by_poll(dir, file),
            _ => watch_by_eventfd(dir, file),
        };
        let failed =
            |errno: Errno| CgroupError::Watch { path: dir.path().join(file), source: errno.into() };
        watch.map(Some).map_err(failed)
    }
}

/// `oom_kill <count>`; absent before Linux 4.13.
fn field_of(dir: &Dir, file: &str) -> Result<u64, CgroupError> {
    let content = dir.read_if_there(file)?.unwrap_or_default();
    let count = content.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    Ok(count.unwrap_or(0))
}

fn watch_by_eventfd(dir: &Dir, file: &str) -> Result<OomWatch, Errno> {
    let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let watched = rustix::fs::open(dir.path().join(file), flags, Mode::empty())?;
    let registration = format!("{} {}", fd.as_raw_fd(), watched.as_raw_fd());
    dir.write_raw("cgroup.event_control", &registration)?;
    Ok(OomWatch { fd, watched: Some(watched) })
}

fn watch_by_poll(dir: &Dir, file: &str) -> Result<OomWatch, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir.path().join(file), flags, Mode::empty())?;
    let watch = OomWatch { fd, watched: None };
    // Only what changes after a read is signalled.
    if watch.drain().gone { Err(Errno::NODEV) } else { Ok(watch) }
}
