//! What the processes say to each other: one JSON document a message. Everything an extractor says
//! may come from an attacker, so reading a message decides nothing and bounds everything.

use crate::error::{Error, Result};
use crate::tar::extract::Extracted;
use crate::tar::limits::MAX_PATH_BYTES;
use model::Denied;
use rustix::io::Errno;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of the longest message: a path, each byte as a number of up to three digits and a comma.
const MAX_MESSAGE_BYTES: usize = 4 * MAX_PATH_BYTES + 8192;
/// Descriptors that come with an order.
const MAX_ORDER_FDS: usize = 3;
/// Characters of an error's text that are passed on.
const MAX_TEXT: usize = 4096;

/// What a process is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// Gives plain bytes. Descriptors: the talk, what to read, where to write.
    Decompress,
    /// Unpacks a layer. Descriptors: the talk, the plain tar, the layer's directory.
    Layer {
        /// Whether the archive must say where it ends.
        marked: bool,
    },
    /// Extracts into a tree. Descriptors: the talk, the plain tar, the tree's root.
    Tree(Tree),
}

/// How to extract into a tree; see [`crate::tar::extract::Rules`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    pub(super) base: Vec<u8>,
    pub(super) keep_kinds: bool,
    pub(super) root: bool,
    pub(super) owner: Option<(u32, u32)>,
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// Make a device node at this path.
    Node { path: Vec<u8>, block: bool, mode: u32, major: u32, minor: u32 },
    /// Mark the directory at this path as opaque.
    Opaque { path: Vec<u8> },
    /// It is done.
    Done { entries: u64, bytes: u64, root: Option<(u32, u32, u32)>, peak_kib: u64 },
    /// It failed.
    Failed { why: Failure, peak_kib: u64 },
}

/// An [`Error`] on its way from one process to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    Denied(String),
    Bad(String),
    Full(String),
    Io(String, Option<i32>, String),
    Damaged(String),
}

/// The answer to a request: 0 or an error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer(pub(super) i32);

impl Answer {
    pub(super) fn of(done: rustix::io::Result<()>) -> Self {
        Self(done.err().map_or(0, Errno::raw_os_error))
    }

    pub(super) fn into_result(self) -> rustix::io::Result<()> {
        if self.0 == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(self.0)) }
    }
}

impl Said {
    pub(super) fn done(extracted: &Extracted) -> Self {
        let Extracted { entries, bytes, root } = *extracted;
        Self::Done { entries, bytes, root, peak_kib: sys::sandbox::peak_kib() }
    }

    pub(super) fn failed(error: Error) -> Self {
        Self::Failed { why: error.into(), peak_kib: sys::sandbox::peak_kib() }
    }

    /// What it says of its memory at its end.
    pub(super) fn peak_kib(&self) -> u64 {
        match self {
            Self::Done { peak_kib, .. } | Self::Failed { peak_kib, .. } => *peak_kib,
            Self::Node { .. } | Self::Opaque { .. } => 0,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            // All that an extractor refuses is the archive's or the asker's fault.
            Error::Denied(denied) => Self::Denied(denied.message),
            Error::BadContent(why) => Self::Bad(why),
            mismatch @ Error::DigestMismatch { .. } => Self::Bad(mismatch.to_string()),
            Error::Full { act } => Self::Full(act),
            Error::Io { act, source } => Self::Io(act, source.raw_os_error(), source.to_string()),
            Error::Damaged(why) => Self::Damaged(why),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(why) => Denied::invalid(shown(why)).into(),
            Failure::Bad(why) => Self::bad(shown(why)),
            Failure::Full(act) => Self::Full { act: shown(act) },
            Failure::Io(act, Some(errno), _) => {
                Self::io(shown(act), io::Error::from_raw_os_error(errno))
            }
            Failure::Io(act, None, why) => Self::io(shown(act), io::Error::other(shown(why))),
            Failure::Damaged(why) => Self::Damaged(shown(why)),
        }
    }
}

/// A text of theirs as it may stand in a message of ours.
fn shown(text: String) -> String {
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Sends a message.
pub(super) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    fds: &[std::os::fd::BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(Errno::MSGSIZE);
    }
    sys::socket::send_with_fds(socket.as_fd(), &bytes, fds).map(drop)
}

/// Receives a message; nothing at the end. Descriptors beyond those of an order are closed.
pub(super) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut bytes = vec![0u8; MAX_MESSAGE_BYTES];
    let mut fds = Vec::new();
    let take = |fd| {
        if fds.len() < MAX_ORDER_FDS {
            fds.push(fd);
        }
    };
    let len = sys::socket::recv_with_fds(socket.as_fd(), &mut bytes, take)?;
    if len == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..len]).map_err(|_| Errno::PROTO)?;
    Ok(Some((message, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_fits_a_message() {
        let (ours, theirs) = sys::socket::message_pair().unwrap();
        let said = Said::Opaque { path: vec![255; MAX_PATH_BYTES] };
        send(&ours, &said, &[]).unwrap();
        assert_eq!(receive::<Said>(&theirs).unwrap().unwrap().0, said);
        let said = Said::Opaque { path: vec![255; 2 * MAX_PATH_BYTES] };
        assert_eq!(send(&ours, &said, &[]), Err(Errno::MSGSIZE));
        sys::socket::send_with_fds(ours.as_fd(), b"{\"Opaque\":1}", &[]).unwrap();
        assert_eq!(receive::<Said>(&theirs).unwrap_err(), Errno::PROTO);
        drop(ours);
        assert!(receive::<Said>(&theirs).unwrap().is_none());
    }

    #[test]
    fn errors_arrive_as_they_were_and_cannot_write_to_a_terminal() {
        let full = Error::io("write x", io::Error::from_raw_os_error(28));
        let full = Error::from(Failure::from(full));
        assert!(matches!(&full, Error::Full { act } if act == "write x"));
        let denied: Error = Denied::invalid("cannot").into();
        assert_eq!(Error::from(Failure::from(denied)).to_string(), "cannot");
        let bad = Error::from(Failure::Bad("\x1b]0;pwned\x07\n".into())).to_string();
        assert_eq!(bad, "?]0;pwned??");
        let io = Error::io("read x", io::Error::from_raw_os_error(5));
        let text = io.to_string();
        assert_eq!(Error::from(Failure::from(io)).to_string(), text);
    }
}
