//! The daemon's side of a monitor: starting one, talking to one.
//!
//! Everything here works on plain fds and blocks only where it says so, so that an async caller
//! can drive [`Connection::try_recv`] from its own readiness loop. It knows nothing of containers.

use super::frame::{self, FrameError, Outbox, Receiver};
use super::protocol::{Message, MessageFrame, Request, SOCKET_NAME};
use crate::launch::Launch;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Serialize;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Why talking to a monitor failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no monitor at that state directory, or it does not answer.
    #[error("connect to the monitor in {}: {source}", state_dir.display())]
    Connect {
        /// Where its socket was looked for.
        state_dir: PathBuf,
        /// `NotFound` and `ConnectionRefused` mean that the monitor is gone: read `exit.json`.
        source: io::Error,
    },
    /// The runtime's program could not be started.
    #[error("start a monitor: {0}")]
    Spawn(#[source] io::Error),
    /// The connection broke in the middle of a frame, or the peer talks nonsense.
    #[error("talk to the monitor: {0}")]
    Frame(#[from] FrameError),
}

/// One connection to one monitor.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    receiver: Receiver,
    last_id: u64,
}

impl Connection {
    /// Takes over a connected stream socket, blocking or not.
    #[must_use]
    pub fn from_fd(socket: OwnedFd) -> Self {
        Self { socket, receiver: Receiver::default(), last_id: 0 }
    }

    /// Connects to the monitor whose path socket is in `state_dir`, however long that path is.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when nobody listens there.
    pub fn connect(state_dir: &Path) -> Result<Self, ClientError> {
        dial(state_dir)
            .map(Self::from_fd)
            .map_err(|e| ClientError::Connect { state_dir: state_dir.into(), source: e.into() })
    }

    /// Sends a request with its fds and returns the id that the reply will carry. Blocks for as
    /// long as the monitor does not read, also when the socket is non-blocking; requests are
    /// small and monitors do not dawdle.
    ///
    /// # Errors
    /// [`ClientError::Frame`] when the connection is broken.
    pub fn send(&mut self, request: &Request, fds: &[BorrowedFd]) -> Result<u64, ClientError> {
        self.last_id += 1;
        let frame = Ask { id: self.last_id, request };
        let mut outbox = Outbox::default();
        outbox.push(&frame, fds)?;
        outbox.flush_blocking(self.socket.as_fd())?;
        Ok(self.last_id)
    }

    /// The next message and the fds that came with it; waits for it. `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Frame`] when the connection is broken or the peer talks nonsense.
    pub fn recv(&mut self) -> Result<Option<(Message, Vec<OwnedFd>)>, ClientError> {
        loop {
            match self.try_recv()? {
                Received::Message(message, fds) => return Ok(Some((message, fds))),
                Received::End => return Ok(None),
                Received::WouldBlock => frame::wait_readable(self.socket.as_fd())?,
            }
        }
    }

    /// Like [`Connection::recv`] without waiting, whether the socket is non-blocking or not.
    ///
    /// # Errors
    /// As [`Connection::recv`].
    pub fn try_recv(&mut self) -> Result<Received, ClientError> {
        Ok(match self.receiver.receive(self.socket.as_fd())? {
            frame::Received::Frame(body, fds) => {
                let frame: MessageFrame =
                    serde_json::from_slice(&body).map_err(FrameError::from)?;
                Received::Message(frame.into(), fds)
            }
            frame::Received::End => Received::End,
            frame::Received::WouldBlock => Received::WouldBlock,
        })
    }

    /// Gives the socket up, for instance to another process.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

/// [`super::protocol::RequestFrame`] without owning the request.
#[derive(Serialize)]
struct Ask<'a> {
    id: u64,
    request: &'a Request,
}

/// Result of [`Connection::try_recv`].
#[derive(Debug)]
pub enum Received {
    /// A message and the fds that came with it.
    Message(Message, Vec<OwnedFd>),
    /// The monitor closed the connection.
    End,
    /// Nothing complete has arrived.
    WouldBlock,
}

/// Starts a monitor that creates the container of `launch`, from the program in `runtime_exe` (a
/// sealed memfd, or any executable file). The first message on the connection tells what came of
/// it. Returns the monitor's process id too: it is the caller's child to reap.
///
/// # Errors
/// [`ClientError::Spawn`] when no process can be made.
pub fn spawn(runtime_exe: BorrowedFd, launch: &Launch) -> Result<(Connection, i32), ClientError> {
    Standby::spawn(runtime_exe)?.launch(launch)
}

/// A monitor that has been started and waits for its launch order. It ends by itself when this is
/// dropped, or when the process that holds it ends. It is the caller's child to reap.
#[derive(Debug)]
pub struct Standby {
    control: OwnedFd,
    order: OwnedFd,
    pid: i32,
}

impl Standby {
    /// Starts one, from the program in `runtime_exe`.
    ///
    /// # Errors
    /// [`ClientError::Spawn`] when no process can be made.
    pub fn spawn(runtime_exe: BorrowedFd) -> Result<Self, ClientError> {
        Self::with(|control, order| {
            sys::spawn::Spawn::new(runtime_exe, &[c"estiba-runtime", c"monitor"])
                .fd(control, super::CONTROL_FD)
                .fd(order, super::LAUNCH_FD)
                .spawn()
        })
    }

    /// One that `start` makes a process of, with a control connection and the reading end of its
    /// order.
    pub(super) fn with(
        start: impl FnOnce(BorrowedFd<'_>, BorrowedFd<'_>) -> io::Result<i32>,
    ) -> Result<Self, ClientError> {
        let make = || -> io::Result<Self> {
            let (control, theirs) = rustix::net::socketpair(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            // Nobody else has the writing end: its end is the order's, and that of whoever gives
            // it.
            let (taken, order) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            let pid = start(theirs.as_fd(), taken.as_fd())?;
            Ok(Self { control, order, pid })
        };
        make().map_err(ClientError::Spawn)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Gives it its order, as [`spawn`] does. The process must ignore `SIGPIPE`.
    ///
    /// # Errors
    /// [`ClientError::Spawn`] when it is not there any more: it has begun nothing.
    pub fn launch(self, launch: &Launch) -> Result<(Connection, i32), ClientError> {
        let give = || -> io::Result<()> {
            let body = serde_json::to_vec(launch)?;
            let mut rest = body.as_slice();
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(&self.order, rest))?;
                rest = &rest[written..];
            }
            Ok(())
        };
        give().map_err(ClientError::Spawn)?;
        Ok((Connection::from_fd(self.control), self.pid))
    }
}

fn dial(state_dir: &Path) -> rustix::io::Result<OwnedFd> {
    let directory = rustix::fs::open(
        state_dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&socket, &socket_address(&directory)?)?;
    Ok(socket)
}

/// Address of the path socket in a state directory, which may be deeper than a socket address
/// can spell.
pub(super) fn socket_address(directory: &OwnedFd) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd()))
}
