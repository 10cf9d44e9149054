//! The resolver of one container: sockets inside its namespace, tasks in the resolver's process.

use super::inside::Inside;
use super::message::{Code, Query, parse};
use super::names::Verdict;
use super::order::Post;
use super::station::Station;
use super::upstream::{Place, Servers, read_framed, write_framed};
use crate::error::{Error, Result};
use crate::netns::within;
use crate::nft::lead;
use model::ContainerId;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt,
};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Where containers find their resolver.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PORT: u16 = 53;
/// Questions of one container that the world is asked at once (law C7).
const IN_FLIGHT_MAX: usize = 256;
/// Those and the ones that wait for their turn: what comes while a dead server is found out.
const WAITING_MAX: usize = 4096;
/// How long they wait for it.
const PATIENCE: Duration = Duration::from_secs(4);
/// TCP connections of one container at once.
const CONNECTIONS_MAX: usize = 32;
/// How long a TCP client may think between questions.
const IDLE: Duration = Duration::from_secs(10);
/// Longest query over UDP, bytes.
const QUERY_MAX: usize = 4096;
const BACKLOG: i32 = 32;
/// What may come at once over UDP, in bytes of the kernel's memory: more than a thousand questions.
const BURST: usize = 1 << 20;

/// A container's resolver.
#[derive(Debug)]
pub(super) struct Server {
    tasks: [AbortHandle; 2],
}

/// What the tasks of one container share.
#[derive(Debug)]
struct Client {
    station: Arc<Station>,
    container: ContainerId,
    /// Servers of its own, instead of the host's.
    own: Option<Servers>,
    waiting: Semaphore,
    in_flight: Semaphore,
}

impl Server {
    /// Begins to answer on copies of the container's sockets, and to ask by those that are
    /// `inside`. Must be called within a tokio runtime.
    pub(super) fn start(
        station: Arc<Station>,
        post: &Post,
        (datagrams, streams): (&OwnedFd, &OwnedFd),
        inside: &[OwnedFd],
    ) -> std::io::Result<Self> {
        let udp = UdpSocket::from_std(datagrams.try_clone()?.into())?;
        let tcp = TcpListener::from_std(streams.try_clone()?.into())?;
        let place = Inside::of(inside)?.map_or(Place::Host, Place::Container);
        // To be asked itself is all that the resolver would hear of itself.
        let others = post.servers.iter().copied().filter(|server| *server != ADDRESS);
        let own = (!post.servers.is_empty()).then(|| Servers::new(others.collect(), place));
        let client = Arc::new(Client {
            station,
            container: post.container,
            own,
            waiting: Semaphore::new(WAITING_MAX),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
        });
        let datagrams = tokio::spawn(serve_udp(Arc::clone(&client), Arc::new(udp)));
        let streams = tokio::spawn(serve_tcp(client, tcp));
        Ok(Self { tasks: [datagrams.abort_handle(), streams.abort_handle()] })
    }

    /// Ends the tasks; they close their sockets.
    pub(super) fn stop(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Opens a container's sockets for datagrams and streams, inside its namespace, and leads there
/// what is asked at port 53.
pub(super) fn open_inside(netns: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let opened = |port| {
        let open = || Ok((open(SocketType::DGRAM, port)?, open(SocketType::STREAM, port)?));
        open().map_err(|errno: Errno| {
            Error::io("open the container's resolver at 127.0.0.11")(errno.into())
        })
    };
    within(netns, || {
        let (datagrams, streams) = opened(0)?;
        match lead::to_ports(ADDRESS, (port_of(&datagrams)?, port_of(&streams)?)) {
            Ok(()) => Ok((datagrams, streams)),
            Err(error) => {
                // Then no name server in the container can have it on every address.
                tracing::debug!(%error, "the resolver has port 53 itself");
                opened(PORT)
            }
        }
    })
}

/// A bound socket; 0 for any port. `SO_REUSEADDR` lets a name server in the container bind other
/// addresses as well where the port is 53.
fn open(kind: SocketType, port: u16) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::from((ADDRESS, port)))?;
    match kind {
        SocketType::STREAM => listen(&socket, BACKLOG)?,
        // An ordinary user's daemon has what everybody has.
        _ => drop(sockopt::set_socket_recv_buffer_size_force(&socket, BURST)),
    }
    Ok(socket)
}

fn port_of(socket: &OwnedFd) -> Result<u16> {
    let address = getsockname(socket).and_then(SocketAddrV4::try_from);
    let failed = |errno: Errno| Error::io("read the resolver's port")(errno.into());
    address.map(|address| address.port()).map_err(failed)
}

async fn serve_udp(client: Arc<Client>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; QUERY_MAX];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            // An earlier answer found nobody (ICMP): nothing of ours.
            tokio::task::yield_now().await;
            continue;
        };
        let Some(bytes) = buffer.get(..len) else { continue };
        let query = match parse(bytes) {
            Ok(query) => query,
            Err(Some(refusal)) => {
                let _ = socket.send_to(&refusal, from).await;
                continue;
            }
            Err(None) => continue,
        };
        match client.look_up(&query) {
            Verdict::Answer(code, records) => {
                let _ = socket.send_to(&query.answer(code, &records, true), from).await;
            }
            Verdict::Unknown { leaves } => {
                let (client, socket) = (Arc::clone(&client), Arc::clone(&socket));
                let bytes = bytes.to_vec();
                tokio::spawn(async move {
                    if let Ok(query) = parse(&bytes) {
                        let answer = client.forward(&query, leaves, true).await;
                        let _ = socket.send_to(&answer, from).await;
                    }
                });
            }
        }
    }
}

async fn serve_tcp(client: Arc<Client>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            converse(&client, stream).await;
            drop(permit);
        });
    }
}

/// Answers one TCP connection until it ends, idles or makes no sense.
async fn converse(client: &Client, mut stream: TcpStream) {
    while let Ok(Ok(bytes)) = timeout(IDLE, read_framed(&mut stream)).await {
        let answer = match parse(&bytes) {
            Ok(query) => match client.look_up(&query) {
                Verdict::Answer(code, records) => query.answer(code, &records, false),
                Verdict::Unknown { leaves } => client.forward(&query, leaves, false).await,
            },
            Err(Some(refusal)) => refusal,
            Err(None) => return,
        };
        if write_framed(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}

impl Client {
    fn look_up(&self, query: &Query<'_>) -> Verdict {
        self.station.look_up(&self.container, &query.ask)
    }

    /// Asks somebody else: outside of the container's networks only where a question may leave
    /// them. SERVFAIL only says that we could not find out: never that there is no such name.
    async fn forward(&self, query: &Query<'_>, leaves: bool, udp: bool) -> Vec<u8> {
        let asked = async {
            let servers = match &self.own {
                Some(own) => own.clone(),
                None => self.station.host.servers(),
            };
            if !leaves && !servers.are_inside() {
                return None;
            }
            let _waiting = self.waiting.try_acquire().ok()?;
            let _turn = timeout(PATIENCE, self.in_flight.acquire()).await.ok()?.ok()?;
            servers.ask(query, udp).await
        };
        asked.await.unwrap_or_else(|| query.answer(Code::ServFail, &[], udp))
    }
}
