//! How processes, the container and the monitor end.
//!
//! ```text
//!  init reaped ─▶ output drained, execs reaped ─▶ conclude: clients finished, exit.json,
//!  Exited told, cgroup and socket removed ─▶ connections flushed, closed ─▶ clients gone ─▶ over
//! ```

use super::log::Stream;
use super::protocol::{EXIT_NAME, Event, ExecState, Exit, MAX_KEPT_EXECS, Phase, ProcessId};
use super::sandbox::Sandbox;
use super::server::{Monitor, wall_clock_ns};
use crate::cgroup::OomWatch;
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use sys::Ended;

/// How long a daemon may take to read the last news.
const TELL: Duration = Duration::from_secs(2);

/// How far the monitor's own end has come.
#[derive(Debug, Default)]
pub(super) enum Ending {
    /// The container lives, or its output is on its way.
    #[default]
    NotYet,
    /// All that is left is to be read by others.
    Concluded {
        /// When connections are closed even if they are not.
        until: Instant,
    },
}

impl Ending {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::NotYet => None,
            Self::Concluded { until } => Some(*until),
        }
    }
}

impl<S: Sandbox> Monitor<S> {
    /// Whether there is nothing left to do.
    pub(super) fn is_over(&self) -> bool {
        let concluded = matches!(self.ending, Ending::Concluded { .. });
        concluded && self.connections.is_empty() && self.clients.is_empty()
    }

    /// Takes the exit status of a process whose pidfd says that it is dead.
    pub(super) fn reap(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let ended = match process.pidfd.try_wait() {
            Ok(Some(ended)) => ended,
            Ok(None) => return,
            // It was reaped by somebody else, and its status with it.
            Err(_) => Ended::Killed(rustix::process::Signal::KILL.as_raw()),
        };
        process.ended(ended, wall_clock_ns());
        if index == 0 {
            self.init_ended();
        }
    }

    /// The kernel says something about the container's memory; it may be that the cgroup is gone.
    pub(super) fn notice_oom(&mut self) {
        let signs = self.oom_watch.as_ref().map(OomWatch::drain).unwrap_or_default();
        self.ran_out_of_memory |= signs.events > 0;
        let mut kills = self.sandbox.oom_kills();
        if signs.gone {
            self.oom_watch = None;
            // systemd removes a group as soon as it is empty, and the count with it. The kernel
            // says that memory ran out before it kills.
            kills = kills.max(u64::from(self.ran_out_of_memory));
        }
        if kills > self.oom_kills {
            self.oom_kills = kills;
            self.tell(&Event::Oom);
        }
    }

    /// Init is gone without having run its program.
    pub(super) fn init_never_ran(&mut self, exit_code: i32) {
        let init = &mut self.processes[0];
        // Reaped here unless the failed start did it.
        let _ = init.pidfd.try_wait();
        init.ended(Ended::Exited(exit_code), wall_clock_ns());
        self.init_ended();
    }

    fn init_ended(&mut self) {
        self.phase = Phase::Exited;
        // The kernel kills the rest of a pid namespace with its init; in a shared one it is ours
        // to do.
        self.sandbox.kill();
        if let Some(deadline) = self.processes[0].deadline() {
            for exec in &mut self.processes[1..] {
                exec.drain_by(deadline);
            }
        }
    }

    /// Says good-bye to the processes that have finished.
    pub(super) fn finish_processes(&mut self, now: Instant) {
        let mut index = 1;
        while index < self.processes.len() {
            if self.processes[index].is_finished(now) {
                self.finish_exec(index, now);
            } else {
                index += 1;
            }
        }
        if let Ending::NotYet = self.ending {
            let init = &self.processes[0];
            let late = init.deadline().is_some_and(|deadline| deadline <= now);
            if init.is_finished(now) && (self.processes.len() == 1 || late) {
                self.conclude(now);
            }
        }
        if let Ending::Concluded { until } = self.ending {
            self.connections.retain(|one| !one.is_flushed() && now < until);
        }
    }

    fn finish_exec(&mut self, index: usize, now: Instant) {
        self.last_output(index);
        let exec = self.processes.remove(index);
        let serial = exec.serial;
        if let (ProcessId::Exec(exec_id), Some(exit)) = (exec.id, exec.exit) {
            if self.finished_execs.len() == MAX_KEPT_EXECS {
                self.finished_execs.pop_front();
            }
            let exit_kept = Some(exit.clone());
            let state = ExecState { exec_id: exec_id.clone(), pid: exec.pid, exit: exit_kept };
            self.finished_execs.push_back(state);
            // Before its clients see the end: they ask the daemon for the exit code at once.
            self.tell(&Event::ExecExited { exec_id, exit });
        }
        for client in self.clients.iter_mut().filter(|one| one.serial == serial) {
            client.finish(now);
        }
    }

    /// Takes what is in the pipes of a process that is not waited for any longer.
    fn last_output(&mut self, index: usize) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.processes[index].ends.output(stream).is_some() {
                self.forward_output(index, stream);
            }
        }
    }

    /// Ends everything that is the container's. Idempotent.
    pub(super) fn conclude(&mut self, now: Instant) {
        if matches!(self.ending, Ending::Concluded { .. }) {
            return;
        }
        self.ending = Ending::Concluded { until: now + TELL };
        self.last_output(0);
        self.log.finish(wall_clock_ns());
        for client in &mut self.clients {
            client.finish(now);
        }
        // A kill that ended the container may not have been noticed yet; from now on the watch
        // would only tell of the cgroup's removal.
        self.notice_oom();
        self.oom_watch = None;
        let oom_killed = self.oom_kills > 0;
        let started_at_ns = self.started_at_ns;
        let init = &mut self.processes[0];
        init.settle();
        sys::failpoint::hit("runtime.exit.drained");
        if let Some(exit) = &mut init.exit {
            exit.oom_killed = oom_killed;
            exit.started_at_ns = started_at_ns;
            let exit = exit.clone();
            // The news go out even if the file cannot be written.
            let _ = write_exit(self.state_dir.as_fd(), &exit);
            sys::failpoint::hit("runtime.exit.written");
            self.tell(&Event::Exited { exit });
        }
        sys::failpoint::hit("runtime.exit.told");
        self.sandbox.remove();
        sys::failpoint::hit("runtime.exit.removed");
        if let Some(listener) = self.listener.take() {
            listener.unlink();
        }
    }
}

/// Writes `exit.json` so that it is there whole or not at all.
fn write_exit(directory: std::os::fd::BorrowedFd, exit: &Exit) -> std::io::Result<()> {
    let temporary = format!("{EXIT_NAME}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::openat(directory, temporary.as_str(), flags, mode)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), &serde_json::to_vec(exit)?)?;
    sys::failpoint::hit("runtime.exit.begun");
    rustix::fs::renameat(directory, temporary.as_str(), directory, EXIT_NAME)?;
    Ok(())
}
