//! The monitor's loop: waits for everything at once, and moves bytes. What requests mean is in
//! `requests`, what the end of a process means in `ending`.
//!
//! There is no registration of interests that could come to disagree with the state: what is
//! waited for is computed from the state before each wait. The sets are small.

use super::attached::{Attached, Sent};
use super::control::{self, Asked, Control, Listener};
use super::ending::Ending;
use super::log::{LogWriter, Stream};
use super::process::{Output, Process};
use super::protocol::{Event, ExecState, Phase};
use super::sandbox::Sandbox;
use crate::cgroup::OomWatch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much is read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// After this long without anything to do, memory goes back to the kernel. A health check each
/// second finds the program still there.
const IDLE: Duration = Duration::from_secs(2);

/// Most requests of one connection in one turn.
const REQUESTS_PER_TURN: usize = 32;

/// A container's monitor.
pub(super) struct Monitor<S> {
    pub(super) id: String,
    pub(super) state_dir: OwnedFd,
    pub(super) sandbox: S,
    pub(super) phase: Phase,
    pub(super) started_at_ns: Option<i64>,
    pub(super) listener: Option<Listener>,
    pub(super) connections: Vec<Control>,
    /// Init, then the execs that live.
    pub(super) processes: Vec<Process>,
    pub(super) finished_execs: VecDeque<ExecState>,
    pub(super) last_serial: u64,
    pub(super) clients: Vec<Attached>,
    pub(super) log: LogWriter,
    pub(super) oom_watch: Option<OomWatch>,
    /// How many of the kernel's kills have been told.
    pub(super) oom_kills: u64,
    /// The watch has said so; whoever it killed may not be counted yet.
    pub(super) ran_out_of_memory: bool,
    pub(super) ending: Ending,
    buffer: Vec<u8>,
    /// Requests were left for the next turn.
    backlog: bool,
    /// Nothing has happened since memory was given back.
    trimmed: bool,
}

/// Something to wait for; numbers are indexes, valid until the end of the turn.
#[derive(Debug, Clone, Copy)]
enum Source {
    Listener,
    Memory,
    Connection(usize),
    Client(usize),
    Exit(usize),
    Stdin(usize),
    Output(usize, Stream),
}

/// What a monitor is made of.
pub(super) struct Parts<S> {
    pub(super) id: String,
    pub(super) state_dir: OwnedFd,
    pub(super) sandbox: S,
    pub(super) listener: Listener,
    pub(super) init: Process,
    pub(super) log: LogWriter,
}

impl<S: Sandbox> Monitor<S> {
    pub(super) fn new(parts: Parts<S>, control: Control) -> Self {
        Self {
            id: parts.id,
            state_dir: parts.state_dir,
            oom_watch: parts.sandbox.watch_oom(),
            oom_kills: 0,
            ran_out_of_memory: false,
            sandbox: parts.sandbox,
            phase: Phase::Created,
            started_at_ns: None,
            listener: Some(parts.listener),
            connections: vec![control],
            processes: vec![parts.init],
            finished_execs: VecDeque::new(),
            last_serial: 0,
            clients: Vec::new(),
            log: parts.log,
            ending: Ending::default(),
            buffer: Vec::new(),
            backlog: false,
            trimmed: false,
        }
    }

    /// Runs until the container has ended and everybody has been told.
    pub(super) fn run(&mut self) {
        let mut ready = Vec::new();
        while !self.is_over() {
            self.wait(&mut ready);
            self.backlog = false;
            for (source, flags) in ready.drain(..) {
                self.dispatch(source, flags);
            }
            self.sweep();
        }
    }

    /// Fills `ready` with what can be done without blocking.
    fn wait(&mut self, ready: &mut Vec<(Source, PollFlags)>) {
        let now = Instant::now();
        let resting = self.trimmed && self.buffer.is_empty();
        let idle = if resting { None } else { Some(now + IDLE) };
        let deadline = self.deadline();
        let wake = if self.backlog { Some(now) } else { deadline.into_iter().chain(idle).min() };
        let timeout = wake.map(|wake| timespec(wake.saturating_duration_since(now)));
        let (sources, mut fds) = self.interests();
        if wake.is_none() {
            sys::resident::forget_program();
        }
        let count = match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => 0,
            // Nothing else can be wrong with these arguments; turning in a tight loop would only
            // make it worse.
            Err(_) => {
                std::thread::sleep(IDLE);
                0
            }
        };
        let results = sources.into_iter().zip(fds.iter().map(PollFd::revents));
        ready.extend(results.filter(|(_, flags)| !flags.is_empty()));
        self.trimmed = count == 0 && (self.trimmed || wake == idle);
        if self.trimmed && idle.is_some() {
            self.release_memory();
        }
    }

    fn interests(&self) -> (Vec<Source>, Vec<PollFd<'_>>) {
        let mut sources = Vec::with_capacity(8);
        let mut fds = Vec::with_capacity(8);
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if let Some(listener) = &self.listener
            && control::has_room(&self.connections)
        {
            add(Source::Listener, listener.as_fd(), PollFlags::IN);
        }
        if let Some(watch) = &self.oom_watch {
            add(Source::Memory, watch.as_fd(), watch.interest());
        }
        for (index, connection) in self.connections.iter().enumerate() {
            add(Source::Connection(index), connection.socket(), connection.interest());
        }
        for (index, process) in self.processes.iter().enumerate() {
            if process.exit.is_none() {
                add(Source::Exit(index), process.pidfd.as_fd(), PollFlags::IN);
            }
            if let Some(stdin) = process.blocked_stdin() {
                add(Source::Stdin(index), stdin, PollFlags::OUT);
            }
            let ends =
                [(Stream::Stdout, &process.ends.stdout), (Stream::Stderr, &process.ends.stderr)];
            for (stream, end) in ends {
                if let Some(end) = end
                    && self.clients_have_room(process, stream)
                {
                    add(Source::Output(index, stream), end.as_fd(), PollFlags::IN);
                }
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            let room = self.process_of(client).is_none_or(Process::has_room);
            if let Some(interest) = client.interest(room) {
                add(Source::Client(index), client.socket(), interest);
            }
        }
        (sources, fds)
    }

    fn dispatch(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Listener => {
                let accepted = self.listener.as_ref().and_then(Listener::accept);
                self.connections.extend(accepted);
            }
            Source::Memory => self.notice_oom(),
            Source::Connection(index) => self.serve(index, flags),
            Source::Exit(index) => self.reap(index),
            Source::Stdin(index) => self.processes[index].flush_input(),
            Source::Output(index, stream) => self.forward_output(index, stream),
            Source::Client(index) => self.serve_client(index, flags),
        }
    }

    fn serve(&mut self, index: usize, flags: PollFlags) {
        if flags.contains(PollFlags::OUT) {
            self.connections[index].flush();
        }
        for _ in 0..REQUESTS_PER_TURN {
            match self.connections[index].receive() {
                Asked::Request(frame, fds) => self.handle(index, frame, fds),
                Asked::Nothing => {
                    if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
                        self.connections[index].lose();
                    }
                    return;
                }
            }
        }
        self.backlog = true;
    }

    /// Reads output once and gives it to the log and to every client that wants it.
    pub(super) fn forward_output(&mut self, index: usize, stream: Stream) {
        let mut buffer = self.take_buffer();
        let process = &mut self.processes[index];
        if let Output::Bytes(length) = process.read(stream, &mut buffer) {
            let output = &buffer[..length];
            if index == 0 {
                self.log.write(stream, output, wall_clock_ns());
            }
            for client in self.clients.iter_mut().filter(|one| one.serial == process.serial) {
                client.send_output(stream, output);
            }
        }
        self.buffer = buffer;
    }

    fn serve_client(&mut self, index: usize, flags: PollFlags) {
        let client = &mut self.clients[index];
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        if flags.contains(PollFlags::IN) {
            let mut buffer = self.take_buffer();
            let sent = self.clients[index].receive(&mut buffer);
            self.buffer = buffer;
            self.take_input(index, sent);
        } else if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            client.lose_output();
        }
    }

    /// Does with a client's input what is due.
    pub(super) fn take_input(&mut self, index: usize, sent: Sent) {
        let serial = self.clients[index].serial;
        let Some(process) = self.processes.iter_mut().find(|one| one.serial == serial) else {
            return;
        };
        let now = Instant::now();
        match sent {
            Sent::Nothing => {}
            Sent::Input(bytes) => process.send_input(&bytes),
            Sent::Detach(bytes) => {
                process.send_input(&bytes);
                let event = Event::Detached { process: process.id.clone() };
                self.clients[index].finish(now);
                self.tell(&event);
            }
            // Where the input was this client's alone, the output goes on to its end; elsewhere
            // the end of a client's input is the end of its attachment, as with Docker.
            Sent::End if process.stdin_once && !process.terminal => process.close_stdin(),
            Sent::End => self.clients[index].finish(now),
        }
    }

    /// Ends what has ended, moves on what waits for a time.
    fn sweep(&mut self) {
        let now = Instant::now();
        self.finish_processes(now);
        for client in &mut self.clients {
            client.advance(now);
        }
        self.clients.retain(|client| !client.is_gone());
        self.connections.retain(|connection| !connection.is_gone());
    }

    pub(super) fn tell(&mut self, event: &Event) {
        for connection in &mut self.connections {
            connection.tell(event);
        }
    }

    pub(super) fn process_of(&self, client: &Attached) -> Option<&Process> {
        self.processes.iter().find(|process| process.serial == client.serial)
    }

    fn clients_have_room(&self, process: &Process, stream: Stream) -> bool {
        let dead = process.exit.is_some();
        let mut clients = self.clients.iter().filter(|one| one.serial == process.serial);
        clients.all(|client| client.has_room(stream, dead))
    }

    /// The next moment at which something happens by itself.
    fn deadline(&self) -> Option<Instant> {
        let processes = self.processes.iter().filter_map(Process::deadline);
        let clients = self.clients.iter().filter_map(Attached::deadline);
        processes.chain(clients).chain(self.ending.deadline()).min()
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER_BYTES, 0);
        buffer
    }

    fn release_memory(&mut self) {
        self.buffer = Vec::new();
        self.log.tend();
        self.log.release_memory();
        sys::resident::trim_stack();
        sys::resident::trim_memory();
    }
}

/// Nanoseconds since 1970.
pub(super) fn wall_clock_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
