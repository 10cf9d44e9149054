//! Frames over a stream socket: how messages travel, never what they mean.
//!
//! ```text
//!  ┌──────────── u32 LE ────────────┐
//!  │ fds: high 8 bits │ length: low 24 bits │ body: JSON, `length` bytes
//! ```
//! The fds travel by SCM_RIGHTS with the frame's first byte (unix(7)). The count in the header
//! says which frame they belong to, because one read may end one frame and begin the next.

use super::protocol::{MAX_FRAME_BYTES, MAX_FRAME_FDS};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

const HEADER_BYTES: usize = 4;
const LENGTH_BITS: u32 = 24;
const READ_BYTES: usize = 4096;

/// The kernel's own bound on fds in one message (`SCM_MAX_FD`): a peer may send more than our
/// frames carry, and what is not received is what the kernel closes for us.
const SCM_MAX_FD: usize = 253;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer announced a frame beyond [`MAX_FRAME_BYTES`], or we were about to send one.
    #[error("frame of {0} bytes is over the limit of {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// More fds than [`MAX_FRAME_FDS`], or fds that belong to no frame.
    #[error("{0} file descriptors with one frame, the limit is {MAX_FRAME_FDS}")]
    TooManyFds(usize),
    /// Fewer fds arrived than the header announced.
    #[error("frame lacks {0} of its file descriptors")]
    LostFds(usize),
    /// The connection ended inside a frame.
    #[error("connection ended in the middle of a frame")]
    Truncated,
    /// The body is not the JSON that was expected.
    #[error("frame body: {0}")]
    Body(#[from] serde_json::Error),
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(#[from] Errno),
}

/// A frame's body and its fds.
type Frame = (Vec<u8>, Vec<OwnedFd>);

/// Collects frames from a socket.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

/// What [`Receiver::receive`] found.
#[derive(Debug)]
pub(super) enum Received {
    /// A frame's body and its fds.
    Frame(Vec<u8>, Vec<OwnedFd>),
    /// The peer closed between two frames.
    End,
    /// No complete frame yet.
    WouldBlock,
}

impl Receiver {
    /// The next frame, reading as much as is needed and there without blocking.
    pub(super) fn receive(&mut self, socket: BorrowedFd) -> Result<Received, FrameError> {
        loop {
            if let Some((body, fds)) = self.take_frame()? {
                return Ok(Received::Frame(body, fds));
            }
            match self.fill(socket) {
                Ok(0) if self.bytes.is_empty() => return Ok(Received::End),
                Ok(0) => return Err(FrameError::Truncated),
                Ok(_) | Err(FrameError::Socket(Errno::INTR)) => {}
                Err(FrameError::Socket(Errno::AGAIN)) => return Ok(Received::WouldBlock),
                Err(FrameError::Socket(Errno::CONNRESET)) => return Ok(Received::End),
                Err(error) => return Err(error),
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = u32::from_le_bytes(*header);
        let length = (header & ((1 << LENGTH_BITS) - 1)) as usize;
        let fd_count = (header >> LENGTH_BITS) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong(length));
        }
        if fd_count > MAX_FRAME_FDS {
            return Err(FrameError::TooManyFds(fd_count));
        }
        let end = HEADER_BYTES + length;
        if self.bytes.len() < end {
            return Ok(None);
        }
        if self.fds.len() < fd_count {
            return Err(FrameError::LostFds(fd_count - self.fds.len()));
        }
        let body = self.bytes[HEADER_BYTES..end].to_vec();
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some((body, self.fds.drain(..fd_count).collect())))
    }

    fn fill(&mut self, socket: BorrowedFd) -> Result<usize, FrameError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut chunk = [0; READ_BYTES];
        let received = rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut chunk)],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        // One frame may be waiting for its last bytes while the next one's fds are here.
        if self.fds.len() > 2 * MAX_FRAME_FDS {
            return Err(FrameError::TooManyFds(self.fds.len()));
        }
        self.bytes.extend_from_slice(&chunk[..received.bytes]);
        Ok(received.bytes)
    }
}

/// Frames on their way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Outgoing>,
    queued_bytes: usize,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Outbox {
    /// Appends a frame. The fds are duplicated: the caller's may be closed.
    pub(super) fn push(
        &mut self,
        body: &impl Serialize,
        fds: &[BorrowedFd],
    ) -> Result<(), FrameError> {
        let mut bytes = vec![0; HEADER_BYTES];
        serde_json::to_writer(&mut bytes, body)?;
        let length = bytes.len() - HEADER_BYTES;
        let (Ok(length), Ok(count)) = (u32::try_from(length), u32::try_from(fds.len())) else {
            return Err(FrameError::TooLong(length));
        };
        if length as usize > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong(length as usize));
        }
        if fds.len() > MAX_FRAME_FDS {
            return Err(FrameError::TooManyFds(fds.len()));
        }
        bytes[..HEADER_BYTES].copy_from_slice(&(count << LENGTH_BITS | length).to_le_bytes());
        let fds = fds
            .iter()
            .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 0))
            .collect::<Result<_, _>>()?;
        self.queued_bytes += bytes.len();
        self.frames.push_back(Outgoing { bytes, sent: 0, fds });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes that wait to be sent.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Sends as much as goes without blocking; true when everything went.
    pub(super) fn flush(&mut self, socket: BorrowedFd) -> Result<bool, FrameError> {
        while let Some(frame) = self.frames.front_mut() {
            match send_some(socket, frame) {
                Ok(sent) => {
                    frame.sent += sent;
                    frame.fds.clear();
                    self.queued_bytes -= sent;
                    if frame.sent == frame.bytes.len() {
                        self.frames.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Sends everything, waiting as long as it takes.
    pub(super) fn flush_blocking(&mut self, socket: BorrowedFd) -> Result<(), FrameError> {
        while !self.flush(socket)? {
            wait(socket, PollFlags::OUT)?;
        }
        Ok(())
    }
}

/// Waits until `socket` has something to read.
pub(super) fn wait_readable(socket: BorrowedFd) -> Result<(), FrameError> {
    wait(socket, PollFlags::IN)
}

fn wait(socket: BorrowedFd, what: PollFlags) -> Result<(), FrameError> {
    match rustix::event::poll(&mut [PollFd::from_borrowed_fd(socket, what)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn send_some(socket: BorrowedFd, frame: &Outgoing) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FRAME_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd> = frame.fds.iter().map(std::os::fd::AsFd::as_fd).collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&frame.bytes[frame.sent..])],
        &mut control,
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )
}
