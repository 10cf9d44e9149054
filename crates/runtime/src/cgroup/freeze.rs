//! Stopping all processes of a cgroup at once, and sending them signals.
//!
//! The v2 freezer is preferred wherever there is a v2 tree, also beside v1: frozen processes can
//! still be killed there, and the kernel says when the freezing is complete.
//!
//! Source: `cgroup-v2.rst` (`cgroup.freeze`, `cgroup.events`, `cgroup.kill`),
//! `cgroup-v1/freezer-subsystem.rst`.

use std::collections::HashSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::error::CgroupError;
use super::file::Dir;
use super::hierarchy::FREEZER;
use super::{Cgroup, Home};

/// How long [`Cgroup::freeze`] waits: a process in uninterruptible sleep cannot be frozen.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a v1 freezer that is still freezing is asked again.
const FREEZE_POLL: Duration = Duration::from_millis(1);

/// How often [`Cgroup::kill_all`] looks again for processes that were forked meanwhile.
const KILL_ROUNDS: usize = 8;

enum Freezer<'a> {
    V1(&'a Dir),
    V2(&'a Dir),
}

impl Cgroup {
    /// Stops every process of the cgroup and of those below it, and waits until they have stopped.
    ///
    /// # Errors
    /// [`CgroupError::FreezeTimeout`] after two seconds; the cgroup is thawed again then.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let frozen = match self.freezer()? {
            Freezer::V1(dir) => freeze_v1(dir),
            Freezer::V2(dir) => freeze_v2(dir),
        }?;
        if frozen {
            return Ok(());
        }
        self.thaw()?;
        let waited_ms = u64::try_from(FREEZE_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        Err(CgroupError::FreezeTimeout { path: self.any_dir()?.path().to_owned(), waited_ms })
    }

    /// Lets the processes go on. Fine when they were not frozen.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        match self.freezer()? {
            Freezer::V1(dir) => dir.write("freezer.state", "THAWED"),
            Freezer::V2(dir) => dir.write("cgroup.freeze", "0"),
        }
    }

    /// Whether the processes have been stopped by [`Cgroup::freeze`].
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        match self.freezer()? {
            Freezer::V1(dir) => Ok(dir.read("freezer.state")?.trim() != "THAWED"),
            Freezer::V2(dir) => Ok(dir.read("cgroup.freeze")?.trim() == "1"),
        }
    }

    /// Sends `signal` to every process of the cgroup and of those below it. SIGKILL goes by
    /// `cgroup.kill` where the kernel has it (5.14, also beside v1), so that no fork escapes, and
    /// reaches frozen processes: a v1 freezer is thawed for it.
    ///
    /// # Errors
    /// [`CgroupError::Signal`] for the first process that could not be signalled; those that have
    /// ended meanwhile are no error.
    pub fn kill_all(&self, signal: Signal) -> Result<(), CgroupError> {
        if signal != Signal::KILL {
            return self.signal_each(signal, 1);
        }
        let killed = match &self.v2 {
            Some(v2) => match v2.dir.write_raw("cgroup.kill", "1") {
                Ok(()) => true,
                Err(Errno::NOENT | Errno::OPNOTSUPP) => false,
                Err(errno) => {
                    let path = v2.dir.path().join("cgroup.kill");
                    let value = "1".to_owned();
                    return Err(CgroupError::Write { path, value, source: errno.into() });
                }
            },
            None => false,
        };
        if !killed {
            self.signal_each(signal, KILL_ROUNDS)?;
        }
        if let Some(Home::V1(dir)) = self.home(FREEZER)
            && dir.read("freezer.state")?.trim() != "THAWED"
        {
            dir.write("freezer.state", "THAWED")?;
        }
        Ok(())
    }

    /// Signals every process once, looking again up to `rounds` times for new ones.
    fn signal_each(&self, signal: Signal, rounds: usize) -> Result<(), CgroupError> {
        let mut done = HashSet::new();
        let mut first_error = Ok(());
        for _ in 0..rounds {
            let mut found_new = false;
            for pid in self.processes()? {
                let Some(target) = Pid::from_raw(pid).filter(|_| done.insert(pid)) else {
                    continue;
                };
                found_new = true;
                match rustix::process::kill_process(target, signal) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => {
                        let path = self.any_dir()?.path().to_owned();
                        let failed = CgroupError::Signal { pid, path, source: errno.into() };
                        first_error = first_error.and(Err(failed));
                    }
                }
            }
            if !found_new {
                break;
            }
        }
        first_error
    }

    fn freezer(&self) -> Result<Freezer<'_>, CgroupError> {
        if let Some(v2) = &self.v2 {
            return Ok(Freezer::V2(&v2.dir));
        }
        match self.home(FREEZER) {
            Some(Home::V1(dir)) => Ok(Freezer::V1(dir)),
            _ => Err(CgroupError::NoController {
                controller: FREEZER,
                limit: "the state frozen".to_owned(),
            }),
        }
    }
}

/// The v1 freezer may stay at FREEZING while a process forks; writing again gets it on.
fn freeze_v1(dir: &Dir) -> Result<bool, CgroupError> {
    let deadline = Instant::now() + FREEZE_TIMEOUT;
    loop {
        dir.write("freezer.state", "FROZEN")?;
        if dir.read("freezer.state")?.trim() == "FROZEN" {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(FREEZE_POLL);
    }
}

/// `cgroup.events` is pollable: it raises POLLPRI when `frozen` changes.
fn freeze_v2(dir: &Dir) -> Result<bool, CgroupError> {
    const FILE: &str = "cgroup.events";
    let path = dir.path().join(FILE);
    let failed = |errno: Errno| CgroupError::Read { path: path.clone(), source: errno.into() };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let events = rustix::fs::open(&path, flags, Mode::empty()).map_err(failed)?;
    dir.write("cgroup.freeze", "1")?;
    let deadline = Instant::now() + FREEZE_TIMEOUT;
    loop {
        let mut content = [0u8; 256];
        let count = rustix::io::pread(&events, &mut content, 0).map_err(failed)?;
        let frozen = content[..count].split(|byte| *byte == b'\n').any(|line| line == b"frozen 1");
        let left = deadline.saturating_duration_since(Instant::now());
        if frozen || left.is_zero() {
            return Ok(frozen);
        }
        wait_for_change(&events, left).map_err(failed)?;
    }
}

fn wait_for_change<'fd>(file: &'fd impl rustix::fd::AsFd, limit: Duration) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let file: BorrowedFd<'fd> = file.as_fd();
    let mut waited = [PollFd::from_borrowed_fd(file, PollFlags::PRI)];
    let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
    rustix::io::retry_on_intr(|| poll(&mut waited, Some(&limit))).map(|_| ())
}
