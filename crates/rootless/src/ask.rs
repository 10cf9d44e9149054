//! What daemon and keeper say to each other: one JSON document a message, over a socket that keeps
//! messages apart, descriptors beside it.

use crate::Protocol;
use crate::error::{Error, Result};
use crate::ids::Line;
use crate::way_out::WayOut;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// No message is longer, bytes: a map has 340 lines at most.
const MESSAGE_MAX: usize = 64 << 10;

/// What a new keeper is told first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// Where it listens, and keeps its files.
    pub(crate) dir: PathBuf,
    pub(crate) uid_map: Vec<Line>,
    pub(crate) gid_map: Vec<Line>,
    pub(crate) newuidmap: PathBuf,
    pub(crate) newgidmap: PathBuf,
    pub(crate) way_out: WayOut,
    /// What resolv.conf says in the namespaces.
    pub(crate) resolv_conf: Option<String>,
}

/// What a daemon asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// The namespaces: user, network, mount.
    Enter,
    /// Open a port of the host.
    Open { protocol: Protocol, host: SocketAddr, target: SocketAddr },
    /// Close one.
    Close { protocol: Protocol, host: SocketAddr },
    /// Close all but these.
    Settle { open: Vec<(Protocol, SocketAddr)> },
    /// A listening socket of the host's, to be served by who asks.
    Listen { host: SocketAddr },
}

/// What the keeper answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It is done; descriptors may come along.
    Done,
    /// The kernel refused.
    Refused { errno: i32 },
    /// Something else is wrong.
    Failed { why: String },
}

/// Sends one message.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    sys::socket::send_with_fds(socket.as_fd(), &bytes, fds).map(drop)
}

/// Receives one message; `None` at the end.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> rustix::io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut fds = Vec::new();
    let length = sys::socket::recv_with_fds(socket.as_fd(), &mut bytes, |fd| fds.push(fd))?;
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..length]).map_err(|_| Errno::BADMSG)?;
    Ok(Some((message, fds)))
}

/// Asks and waits for the answer.
pub(crate) fn ask(socket: impl AsFd, question: &Ask) -> Result<(Answer, Vec<OwnedFd>)> {
    let failed = || Error::io("ask the keeper of this user's namespaces");
    send(&socket, question, &[]).map_err(failed())?;
    receive(&socket)
        .map_err(failed())?
        .ok_or_else(|| Error::Keeper("the keeper of this user's namespaces has ended".into()))
}
