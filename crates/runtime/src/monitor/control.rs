//! Control connections: the listening socket and the daemons behind it. What they ask for is not
//! understood here.

use super::client::socket_address;
use super::frame::{FrameError, Outbox, Received, Receiver};
use super::protocol::{
    ErrorKind, Event, MAX_CONNECTIONS, Message, MessageFrame, Reply, RequestFrame, SOCKET_NAME,
};
use rustix::event::PollFlags;
use rustix::fs::{AtFlags, Mode};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::Deserialize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Answers that may wait before no more requests are read.
const MAX_ANSWERS_BYTES: usize = 1 << 20;

/// What may wait, events included, before the peer is given up.
const MAX_QUEUED_BYTES: usize = 8 << 20;

/// The path socket in a state directory.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    directory: OwnedFd,
}

impl Listener {
    /// Binds it, replacing what a dead monitor left there. Nobody but its owner can connect, not
    /// even for a moment.
    pub(super) fn bind(directory: OwnedFd) -> rustix::io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // The path gets the mode of the socket's own inode (unix(7), "Pathname socket ownership").
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        let listener = Self { socket, directory };
        listener.unlink();
        rustix::net::bind(&listener.socket, &socket_address(&listener.directory)?)?;
        rustix::net::listen(&listener.socket, 16)?;
        Ok(listener)
    }

    /// The next peer that may talk to us.
    pub(super) fn accept(&self) -> Option<Control> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::accept_with(&self.socket, flags).ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
        (peer.uid.is_root() || peer.uid == rustix::process::geteuid()).then(|| Control::new(socket))
    }

    /// Makes the monitor unreachable for newcomers.
    pub(super) fn unlink(&self) {
        let _ = rustix::fs::unlinkat(&self.directory, SOCKET_NAME, AtFlags::empty());
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Control {
    socket: OwnedFd,
    receiver: Receiver,
    outbox: Outbox,
    gone: bool,
}

/// What a peer has asked.
#[derive(Debug)]
pub(super) enum Asked {
    /// This, with these fds.
    Request(RequestFrame, Vec<OwnedFd>),
    /// Nothing now.
    Nothing,
}

impl Control {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, receiver: Receiver::default(), outbox: Outbox::default(), gone: false }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        if self.may_ask() {
            interest |= PollFlags::IN;
        }
        if !self.outbox.is_empty() {
            interest |= PollFlags::OUT;
        }
        interest
    }

    /// Whether requests are read: not while the answers to the last ones wait.
    fn may_ask(&self) -> bool {
        !self.gone && self.outbox.queued_bytes() < MAX_ANSWERS_BYTES
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// The peer hung up.
    pub(super) fn lose(&mut self) {
        self.gone = true;
    }

    /// The next request, if a complete one is there. A peer that breaks the frames is given up;
    /// one that only asks for nonsense is told so.
    pub(super) fn receive(&mut self) -> Asked {
        if !self.may_ask() {
            return Asked::Nothing;
        }
        match self.receiver.receive(self.socket.as_fd()) {
            Ok(Received::WouldBlock) => Asked::Nothing,
            Ok(Received::Frame(body, fds)) => match serde_json::from_slice(&body) {
                Ok(frame) => Asked::Request(frame, fds),
                Err(error) => {
                    self.refuse(&body, &error);
                    // There may be more behind it.
                    self.receive()
                }
            },
            Ok(Received::End) | Err(_) => {
                self.gone = true;
                Asked::Nothing
            }
        }
    }

    fn refuse(&mut self, body: &[u8], error: &serde_json::Error) {
        #[derive(Deserialize)]
        struct OnlyId {
            id: u64,
        }
        match serde_json::from_slice(body) {
            Ok(OnlyId { id }) => {
                let message = format!("decode request: {error}");
                self.reply(id, Reply::Error { kind: ErrorKind::Invalid, message }, &[]);
            }
            Err(_) => self.gone = true,
        }
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, id: u64, reply: Reply, fds: &[BorrowedFd]) {
        self.send(Message::Reply(id, reply), fds);
    }

    /// Tells news.
    pub(super) fn tell(&mut self, event: &Event) {
        self.send(Message::Event(event.clone()), &[]);
    }

    /// Tells news that come with something.
    pub(super) fn tell_with(&mut self, event: &Event, fds: &[BorrowedFd]) {
        self.send(Message::Event(event.clone()), fds);
    }

    fn send(&mut self, message: Message, fds: &[BorrowedFd]) {
        let pushed = self.outbox.push(&MessageFrame::from(message), fds);
        if pushed.is_err() || self.outbox.queued_bytes() > MAX_QUEUED_BYTES {
            self.gone = true;
        }
        self.flush();
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        if let Err(FrameError::Socket(_)) = self.outbox.flush(self.socket.as_fd()) {
            self.gone = true;
        }
    }
}

/// Whether one more connection is allowed.
pub(super) fn has_room(connections: &[Control]) -> bool {
    connections.len() < MAX_CONNECTIONS
}
