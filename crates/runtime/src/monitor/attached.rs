//! One attached client: a stream socket that gets a process's output and gives it input. What the
//! client is, and who it belongs to, is not known here.
//!
//! ```text
//!  open ──finish()──▶ closing ──queue empty──▶ half-closed ──its end, or LINGER──▶ gone
//! ```
//! The half-closed socket is read to its end before it is closed: closing a socket with unread
//! input resets the connection, and the client would lose what it has not read yet.

use super::detach::DetachKeys;
use super::log::Stream;
use super::protocol::AttachOptions;
use super::queue::Queue;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Output that may wait for a client before its process is not read any more; Docker's own
/// number.
const MAX_QUEUED_BYTES: usize = 1 << 20;

/// What a dead process has left in its pipes must reach the log even past a client that does not
/// read: for it the limit is higher.
const MAX_QUEUED_AT_END_BYTES: usize = 2 << 20;

/// How long a client of a finished process may take to read what is left.
const FLUSH: Duration = Duration::from_secs(30);

/// How long a half-closed client is waited for.
const LINGER: Duration = Duration::from_secs(1);

/// Length of Docker's frame header.
const HEADER_BYTES: usize = 8;

/// An attached client.
#[derive(Debug)]
pub(super) struct Attached {
    /// [`super::process::Process::serial`] of the process.
    pub(super) serial: u64,
    socket: OwnedFd,
    stdout: bool,
    stderr: bool,
    framed: bool,
    input: Input,
    output: Queue,
    state: State,
}

#[derive(Debug)]
enum Input {
    /// Goes to the process.
    Open(Option<DetachKeys>),
    /// Is not wanted, or has ended.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closing { until: Instant },
    HalfClosed { until: Instant },
    Gone,
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing now.
    Nothing,
    /// Input for the process.
    Input(Vec<u8>),
    /// Input up to the detach keys.
    Detach(Vec<u8>),
    /// The end of its input.
    End,
}

impl Attached {
    /// Takes a client. `terminal` tells whether the process has one.
    pub(super) fn new(
        socket: OwnedFd,
        serial: u64,
        options: &AttachOptions,
        terminal: bool,
    ) -> rustix::io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let keys = terminal.then(|| DetachKeys::new(options.detach_keys.clone())).flatten();
        Ok(Self {
            serial,
            socket,
            stdout: options.stdout,
            stderr: options.stderr,
            framed: options.framed,
            input: if options.stdin { Input::Open(keys) } else { Input::Closed },
            output: Queue::default(),
            state: State::Open,
        })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// What to wait for. `None`: nothing, not even an error, until something else happens.
    pub(super) fn interest(&self, process_has_room: bool) -> Option<PollFlags> {
        let mut interest = PollFlags::empty();
        if !self.output.is_empty() {
            interest |= PollFlags::OUT;
        }
        let reading = match (&self.state, &self.input) {
            (State::Gone, _) => return None,
            (State::HalfClosed { .. }, _) => true,
            (_, Input::Open(_)) if !process_has_room => {
                // The client may have closed with input unread; poll would say so again and again.
                return (!interest.is_empty()).then_some(interest);
            }
            (_, Input::Open(_)) => true,
            (_, Input::Closed) => false,
        };
        if reading {
            interest |= PollFlags::IN;
        }
        Some(interest)
    }

    /// Whether the process's output may be read as far as this client is concerned.
    pub(super) fn has_room(&self, stream: Stream, process_is_dead: bool) -> bool {
        let limit = if process_is_dead { MAX_QUEUED_AT_END_BYTES } else { MAX_QUEUED_BYTES };
        !self.wants(stream) || self.output.len() < limit
    }

    fn wants(&self, stream: Stream) -> bool {
        let subscribed = match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        subscribed && self.state == State::Open
    }

    /// Sends output, now or when the client reads.
    pub(super) fn send_output(&mut self, stream: Stream, bytes: &[u8]) {
        if !self.wants(stream) {
            return;
        }
        let header = match u32::try_from(bytes.len()) {
            Ok(length) if self.framed => {
                let number = if stream == Stream::Stdout { 1 } else { 2 };
                let [a, b, c, d] = length.to_be_bytes();
                [number, 0, 0, 0, a, b, c, d]
            }
            _ => [0; HEADER_BYTES],
        };
        let header = if self.framed { &header[..] } else { &[] };
        self.send([header, bytes]);
    }

    /// Sends bytes that are no output.
    pub(super) fn send_preamble(&mut self, bytes: &[u8]) {
        self.send([&[], bytes]);
    }

    fn send(&mut self, parts: [&[u8]; 2]) {
        if self.output.send(self.socket.as_fd(), parts).is_err() {
            self.lose_output();
        }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        if self.output.flush(self.socket.as_fd()).is_err() {
            self.lose_output();
        }
    }

    /// The client does not read any more. What it has sent may still be unread here.
    pub(super) fn lose_output(&mut self) {
        self.output = Queue::default();
        (self.stdout, self.stderr) = (false, false);
        if matches!(self.input, Input::Closed) || self.state != State::Open {
            self.state = State::Gone;
        }
    }

    /// Reads what the client has sent.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Sent {
        let input = match rustix::io::read(&self.socket, &mut *buffer) {
            Ok(length @ 1..) => &buffer[..length],
            Err(Errno::AGAIN | Errno::INTR) => return Sent::Nothing,
            Ok(0) | Err(_) if self.state == State::Open => return self.input_ended(),
            Ok(0) | Err(_) => {
                self.state = State::Gone;
                return Sent::Nothing;
            }
        };
        self.accept(input)
    }

    /// Takes input that was read from the client, here or by somebody before.
    pub(super) fn accept(&mut self, input: &[u8]) -> Sent {
        match (&mut self.input, self.state) {
            (Input::Open(None), State::Open) => Sent::Input(input.to_vec()),
            (Input::Open(Some(keys)), State::Open) => {
                let mut passed = Vec::with_capacity(input.len());
                if keys.filter(input, &mut passed) {
                    Sent::Detach(passed)
                } else {
                    Sent::Input(passed)
                }
            }
            _ => Sent::Nothing,
        }
    }

    fn input_ended(&mut self) -> Sent {
        match std::mem::replace(&mut self.input, Input::Closed) {
            Input::Open(_) => Sent::End,
            Input::Closed => {
                self.state = State::Gone;
                Sent::Nothing
            }
        }
    }

    /// There will be no more output for this client.
    pub(super) fn finish(&mut self, now: Instant) {
        if self.state == State::Open {
            self.state = State::Closing { until: now + FLUSH };
            self.input = Input::Closed;
            self.advance(now);
        }
    }

    /// Moves on if the time or an empty queue allows it.
    pub(super) fn advance(&mut self, now: Instant) {
        match self.state {
            State::Closing { .. } if self.output.is_empty() => {
                let shut = rustix::net::shutdown(&self.socket, Shutdown::Write);
                self.state = match shut {
                    Ok(()) => State::HalfClosed { until: now + LINGER },
                    Err(_) => State::Gone,
                };
            }
            State::Closing { until } | State::HalfClosed { until } if until <= now => {
                self.state = State::Gone;
            }
            _ => {}
        }
    }

    /// When [`Attached::advance`] does something by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closing { until } | State::HalfClosed { until } => Some(until),
            State::Open | State::Gone => None,
        }
    }
}
