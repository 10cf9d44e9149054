//! One process that the monitor is the parent of: the container's init or an exec'd one.
//!
//! ```text
//!  runs ──pidfd readable──▶ reaped ──outputs at their end, or DRAIN later──▶ finished
//! ```

use super::log::Stream;
use super::protocol::{Exit, ProcessId};
use super::queue::Queue;
use super::stdio::Ends;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::{Ended, Pidfd};

/// How long output is waited for after the process has ended: somebody else may hold its pipe.
const DRAIN: Duration = Duration::from_secs(2);

/// Input that may wait for the process before its clients are not read any more.
const MAX_INPUT_BYTES: usize = 64 * 1024;

/// A child and its streams.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    /// Distinguishes two execs that had the same id one after the other.
    pub(super) serial: u64,
    pub(super) pid: i32,
    pub(super) pidfd: Pidfd,
    pub(super) terminal: bool,
    /// The first client whose input ends takes the process's input with it.
    pub(super) stdin_once: bool,
    pub(super) ends: Ends,
    pub(super) exit: Option<Exit>,
    input: Queue,
    close_stdin: bool,
    drain_until: Option<Instant>,
}

/// What became of reading output.
pub(super) enum Output {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// There will be no more.
    End,
}

impl Process {
    pub(super) fn new(id: ProcessId, serial: u64, pid: i32, pidfd: Pidfd, ends: Ends) -> Self {
        Self {
            id,
            serial,
            pid,
            pidfd,
            terminal: false,
            stdin_once: false,
            ends,
            exit: None,
            input: Queue::default(),
            close_stdin: false,
            drain_until: None,
        }
    }

    /// Reads from one of the outputs.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Output {
        let end = self.ends.output(stream);
        let Some(fd) = end else {
            return Output::End;
        };
        match rustix::io::read(fd, buffer) {
            Ok(length @ 1..) => Output::Bytes(length),
            Err(Errno::AGAIN | Errno::INTR) => Output::Nothing,
            // EIO is how a terminal's master says that nobody has the other side open.
            Ok(0) | Err(_) => {
                *end = None;
                Output::End
            }
        }
    }

    /// Whether clients should be read from.
    pub(super) fn has_room(&self) -> bool {
        self.input.len() < MAX_INPUT_BYTES
    }

    /// The stdin to wait for, while input waits.
    pub(super) fn blocked_stdin(&self) -> Option<BorrowedFd<'_>> {
        if self.input.is_empty() { None } else { self.ends.stdin.as_ref().map(AsFd::as_fd) }
    }

    /// Writes input, now or when the process reads.
    pub(super) fn send_input(&mut self, bytes: &[u8]) {
        if !self.close_stdin && self.ends.stdin.is_some() {
            self.input.push(bytes);
            self.flush_input();
        }
    }

    /// Writes what input waits, and closes stdin if that was asked for or nobody reads it.
    pub(super) fn flush_input(&mut self) {
        let Some(stdin) = &self.ends.stdin else {
            return;
        };
        let broken = self.input.flush(stdin.as_fd()).is_err();
        if broken || (self.close_stdin && self.input.is_empty()) {
            self.ends.stdin = None;
        }
    }

    /// Closes stdin behind the input that waits. A terminal stays open: it has no end of input.
    pub(super) fn close_stdin(&mut self) {
        if !self.terminal {
            self.close_stdin = true;
            self.flush_input();
        }
    }

    /// The process has been reaped.
    pub(super) fn ended(&mut self, ended: Ended, finished_at_ns: i64) {
        self.exit = Some(Exit {
            code: ended.code(),
            signal: match ended {
                Ended::Killed(signal) => Some(signal),
                Ended::Exited(_) => None,
            },
            oom_killed: false,
            finished_at_ns,
            started_at_ns: None,
        });
        self.ends.stdin = None;
        self.input = Queue::default();
        self.drain_by(Instant::now() + DRAIN);
    }

    /// Sets the time after which [`Process::is_finished`] waits for nothing.
    pub(super) fn drain_by(&mut self, deadline: Instant) {
        self.drain_until.get_or_insert(deadline);
    }

    /// Nothing is waited for any more.
    pub(super) fn settle(&mut self) {
        self.ends = Ends::default();
        self.drain_until = None;
    }

    /// When [`Process::is_finished`] changes by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.drain_until
    }

    /// Whether the process is dead and its output read.
    pub(super) fn is_finished(&self, now: Instant) -> bool {
        let drained = self.ends.stdout.is_none() && self.ends.stderr.is_none();
        let late = self.drain_until.is_some_and(|deadline| deadline <= now);
        self.exit.is_some() && (drained || late)
    }
}
