//! The resolver of one container: sockets inside its namespace, tasks in the resolver's process.

use super::message::{Code, Query, parse};
use super::names::Verdict;
use super::order::Post;
use super::station::Station;
use super::upstream::{self, read_framed, write_framed};
use crate::error::{Error, Result};
use crate::netns::within;
use model::ContainerId;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Where containers find their resolver.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);
/// Questions of one container that may be waiting for the world at once (law C7).
const IN_FLIGHT_MAX: usize = 256;
/// TCP connections of one container at once.
const CONNECTIONS_MAX: usize = 32;
/// How long a TCP client may think between questions.
const IDLE: Duration = Duration::from_secs(10);
/// Longest query over UDP, bytes.
const QUERY_MAX: usize = 4096;
const BACKLOG: i32 = 32;

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
    /// Servers of its own; empty for the host's.
    servers: Vec<IpAddr>,
    in_flight: Semaphore,
}

impl Server {
    /// Begins to answer on copies of the container's sockets. Must be called within a tokio
    /// runtime.
    pub(super) fn start(
        station: Arc<Station>,
        post: &Post,
        (datagrams, streams): (&OwnedFd, &OwnedFd),
    ) -> std::io::Result<Self> {
        let udp = UdpSocket::from_std(datagrams.try_clone()?.into())?;
        let tcp = TcpListener::from_std(streams.try_clone()?.into())?;
        let in_flight = Semaphore::new(IN_FLIGHT_MAX);
        let (container, servers) = (post.container, post.servers.clone());
        let client = Arc::new(Client { station, container, servers, in_flight });
        let datagrams = tokio::spawn(serve_udp(Arc::clone(&client), Arc::new(udp)));
        let streams = tokio::spawn(serve_tcp(client, tcp));
        Ok(Self { tasks: [datagrams.abort_handle(), streams.abort_handle()] })
    }

    /// Ends the tasks; they close their sockets.
    pub(super) fn stop(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Opens a container's sockets for datagrams and streams, inside its namespace.
pub(super) fn open_inside(netns: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
    within(netns, || {
        let open = || Ok((open(SocketType::DGRAM)?, open(SocketType::STREAM)?));
        open().map_err(|errno: rustix::io::Errno| {
            Error::io("open the container's resolver at 127.0.0.11:53")(errno.into())
        })
    })
}

/// A bound socket. `SO_REUSEADDR` lets a DNS server in the container bind every address as well:
/// the kernel prefers ours for 127.0.0.11.
fn open(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &ADDRESS)?;
    if kind == SocketType::STREAM {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
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
            Verdict::Forward => {
                let (client, socket) = (Arc::clone(&client), Arc::clone(&socket));
                let bytes = bytes.to_vec();
                tokio::spawn(async move {
                    if let Ok(query) = parse(&bytes) {
                        let _ = socket.send_to(&client.forward(&query, true).await, from).await;
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
                Verdict::Forward => client.forward(&query, false).await,
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

    /// Asks the world. SERVFAIL only says that we could not find out: never that there is no
    /// such name.
    async fn forward(&self, query: &Query<'_>, udp: bool) -> Vec<u8> {
        let failed = || query.answer(Code::ServFail, &[], udp);
        let Ok(_permit) = self.in_flight.try_acquire() else { return failed() };
        let servers = match self.servers.as_slice() {
            [] => self.station.host.servers(),
            own => own.to_vec(),
        };
        upstream::ask(query, &servers, udp).await.unwrap_or_else(failed)
    }
}
