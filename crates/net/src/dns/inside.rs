//! Asking a container's own servers (`--dns`) from its own namespace: through its links, by its
//! routes, and so never past what its networks allow (law F3). `127.0.0.1` is the container.
//!
//! The daemon opens the sockets there, the resolver's process could not: one of each family for
//! datagrams, by which any number of questions may be under way, and one for streams, used in turn.
//! Knows servers and bytes, and nothing of what is asked.

use super::upstream::{self, PORT, RESEND};
use crate::error::{Error, Result};
use crate::netns::within;
use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect_unspec, socket_with};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How often an id is drawn again that is under way to the same server.
const DRAWS_MAX: usize = 16;

/// A container's sockets towards its own servers.
#[derive(Debug, Default)]
pub(super) struct Inside {
    v4: Sockets,
    v6: Sockets,
}

/// Those of one family.
#[derive(Debug, Default)]
struct Sockets {
    datagrams: Option<Datagrams>,
    streams: Option<tokio::sync::Mutex<OwnedFd>>,
}

/// A socket that many questions share, and the task that hands out their answers.
#[derive(Debug)]
struct Datagrams {
    socket: Arc<UdpSocket>,
    waiting: Arc<Mutex<Waiting>>,
    task: AbortHandle,
}

/// Who waits for an answer, by server and id.
type Waiting = HashMap<(IpAddr, u16), oneshot::Sender<Vec<u8>>>;

/// Opens sockets for these servers inside a namespace; none for a family that the kernel has not.
pub(super) fn open(netns: BorrowedFd<'_>, servers: &[IpAddr]) -> Result<Vec<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let families = [
        (AddressFamily::INET, servers.iter().any(IpAddr::is_ipv4)),
        (AddressFamily::INET6, servers.iter().any(IpAddr::is_ipv6)),
    ];
    let wanted = families
        .into_iter()
        .filter(|(_, wanted)| *wanted)
        .flat_map(|(family, _)| [SocketType::DGRAM, SocketType::STREAM].map(|kind| (family, kind)));
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    within(netns, || {
        let mut opened = Vec::with_capacity(wanted.len());
        for (family, kind) in wanted {
            match socket_with(family, kind, flags, None) {
                Ok(socket) => opened.push(socket),
                Err(Errno::AFNOSUPPORT) => {}
                Err(errno) => {
                    return Err(Error::io("open sockets to the container's servers")(errno.into()));
                }
            }
        }
        Ok(opened)
    })
}

impl Inside {
    /// Takes the sockets among these descriptors, in any order; `None` when there are none. Must be
    /// called within a tokio runtime.
    pub(super) fn of(fds: &[OwnedFd]) -> std::io::Result<Option<Arc<Self>>> {
        let mut inside = Self::default();
        let mut any = false;
        for fd in fds {
            // What is no socket is the process.
            let Ok(kind) = socket_type(fd) else { continue };
            let sockets = match socket_domain(fd)? {
                AddressFamily::INET6 => &mut inside.v6,
                _ => &mut inside.v4,
            };
            let fd = fd.try_clone()?;
            match kind {
                SocketType::DGRAM => sockets.datagrams = Some(Datagrams::start(fd)?),
                _ => sockets.streams = Some(tokio::sync::Mutex::new(fd)),
            }
            any = true;
        }
        Ok(any.then(|| Arc::new(inside)))
    }

    fn towards(&self, server: IpAddr) -> &Sockets {
        if server.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    /// The answer to a datagram that `question` makes of an id, and the id.
    pub(super) async fn over_udp(
        &self,
        server: IpAddr,
        question: impl Fn(u16) -> Vec<u8>,
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let datagrams = self.towards(server).datagrams.as_ref().ok_or(Errno::AFNOSUPPORT)?;
        let (turn, mut answer) = datagrams.expect(server)?;
        let question = question(turn.id);
        loop {
            datagrams.socket.send_to(&question, (server, PORT)).await?;
            if let Ok(answer) = timeout(RESEND, &mut answer).await {
                return Ok((turn.id, answer.map_err(std::io::Error::other)?));
            }
        }
    }

    /// The answer to a message over a stream.
    pub(super) async fn over_tcp(
        &self,
        server: IpAddr,
        message: &[u8],
    ) -> std::io::Result<Vec<u8>> {
        let socket = self.towards(server).streams.as_ref().ok_or(Errno::AFNOSUPPORT)?;
        let socket = socket.lock().await;
        let _done = Unconnected(socket.as_fd());
        let stream = TcpSocket::from_std_stream(socket.try_clone()?.into());
        let mut stream = stream.connect(SocketAddr::new(server, PORT)).await?;
        upstream::exchange_framed(&mut stream, message).await
    }
}

/// Leaves a socket without a peer, so that it can be used again.
struct Unconnected<'a>(BorrowedFd<'a>);

impl Drop for Unconnected<'_> {
    fn drop(&mut self) {
        let _ = connect_unspec(self.0);
    }
}

impl Datagrams {
    fn start(fd: OwnedFd) -> std::io::Result<Self> {
        let socket = Arc::new(UdpSocket::from_std(fd.into())?);
        let waiting = Arc::default();
        let handing_out = hand_out(Arc::clone(&socket), Arc::clone(&waiting));
        let task = tokio::spawn(handing_out).abort_handle();
        Ok(Self { socket, waiting, task })
    }

    /// An id that is not under way to this server, and the answer to come.
    fn expect(&self, server: IpAddr) -> std::io::Result<(Turn<'_>, oneshot::Receiver<Vec<u8>>)> {
        let mut waiting = lock(&self.waiting);
        for _ in 0..DRAWS_MAX {
            let id = upstream::draw_id()?;
            if waiting.contains_key(&(server, id)) {
                continue;
            }
            let (sender, answer) = oneshot::channel();
            waiting.insert((server, id), sender);
            return Ok((Turn { datagrams: self, server, id }, answer));
        }
        Err(Errno::BUSY.into())
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One question under way.
struct Turn<'a> {
    datagrams: &'a Datagrams,
    server: IpAddr,
    id: u16,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.datagrams.waiting);
        waiting.remove(&(self.server, self.id));
        if waiting.is_empty() {
            // The kernel draws another port for the next question: nobody can learn it.
            let _ = connect_unspec(&*self.datagrams.socket);
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hand_out(socket: Arc<UdpSocket>, waiting: Arc<Mutex<Waiting>>) {
    let mut buffer = vec![0; usize::from(super::message::ANSWER_MAX)];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            // A question found nobody (ICMP): which one is not said.
            tokio::task::yield_now().await;
            continue;
        };
        let answer = buffer.get(..len).unwrap_or_default();
        let Some(Ok(id)) = answer.get(..2).map(<[u8; 2]>::try_from) else { continue };
        if from.port() != PORT {
            continue;
        }
        // Anything that nobody waits for is not for us.
        let whose = (from.ip(), u16::from_be_bytes(id));
        if let Some(sender) = lock(&waiting).remove(&whose) {
            let _ = sender.send(answer.to_vec());
        }
    }
}
