//! Asking the world's resolvers, from the daemon's own network namespace.

use super::message::{Query, is_final};
use crate::files::nameservers;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a server may be silent before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(150);
/// How long one server may take altogether.
const PATIENCE: Duration = Duration::from_secs(4);
/// How old the knowledge of the host's resolv.conf may be.
const FRESH: Duration = Duration::from_millis(500);
/// Servers asked per question: as many as glibc asks.
const SERVERS_MAX: usize = 3;
const PORT: u16 = 53;

/// The host's resolvers, as its resolv.conf names them now.
#[derive(Debug)]
pub(super) struct HostResolvers {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    checked: Option<Instant>,
    modified: Option<SystemTime>,
    servers: Vec<IpAddr>,
}

impl HostResolvers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// The servers in force, read again when the file changed.
    pub(super) fn servers(&self) -> Vec<IpAddr> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.checked.is_none_or(|at| at.elapsed() > FRESH) {
            known.checked = Some(Instant::now());
            let modified = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
            if modified.is_none() || modified != known.modified {
                known.modified = modified;
                let text = std::fs::read_to_string(&self.path).unwrap_or_default();
                known.servers = nameservers(&text);
            }
        }
        known.servers.clone()
    }
}

/// The first answer that settles the question; failing that, the last that any server gave.
pub(super) async fn ask(query: &Query<'_>, servers: &[IpAddr], udp: bool) -> Option<Vec<u8>> {
    let mut running = tokio::task::JoinSet::new();
    let mut waiting = servers.iter().take(SERVERS_MAX);
    let mut last = None;
    loop {
        let next = waiting.next();
        if let Some(server) = next {
            let request = Request::new(query, *server, udp)?;
            running.spawn(request.run());
        }
        let answer = if next.is_some() && waiting.len() > 0 {
            timeout(HEAD_START, running.join_next()).await
        } else {
            Ok(running.join_next().await)
        };
        match answer {
            // Silent so far: the next one gets its chance, too.
            Err(_) => {}
            Ok(None) if waiting.len() == 0 => break,
            Ok(None) => {}
            Ok(Some(Ok(Some((id, answer))))) if query.is_answered_by(&answer, id) => {
                if is_final(&answer) {
                    return Some(query.with_own_id(answer));
                }
                last = Some(answer);
            }
            Ok(Some(_)) => {}
        }
    }
    last.map(|answer| query.with_own_id(answer))
}

/// One question to one server, under an id and from a port of its own.
struct Request {
    id: u16,
    bytes: Vec<u8>,
    server: SocketAddr,
    udp: bool,
}

impl Request {
    fn new(query: &Query<'_>, server: IpAddr, udp: bool) -> Option<Self> {
        let mut id = [0; 2];
        getrandom::fill(&mut id).ok()?;
        let id = u16::from_be_bytes(id);
        let server = SocketAddr::new(server, PORT);
        Some(Self { id, bytes: query.with_id(id), server, udp })
    }

    async fn run(self) -> Option<(u16, Vec<u8>)> {
        let exchange =
            async { if self.udp { self.over_udp().await } else { self.over_tcp().await } };
        let answer = timeout(PATIENCE, exchange).await.ok()?.ok()?;
        Some((self.id, answer))
    }

    async fn over_udp(&self) -> std::io::Result<Vec<u8>> {
        let any = match self.server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(self.server).await?;
        socket.send(&self.bytes).await?;
        let mut buffer = vec![0; 4096];
        loop {
            let len = socket.recv(&mut buffer).await?;
            // Anything else on this port is not for us.
            if buffer.get(..2) == Some(&self.id.to_be_bytes()[..]) {
                buffer.truncate(len);
                return Ok(buffer);
            }
        }
    }

    async fn over_tcp(&self) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.server).await?;
        write_framed(&mut stream, &self.bytes).await?;
        read_framed(&mut stream).await
    }
}

/// Writes a message with its two-byte length (RFC 1035 4.2.2).
pub(super) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let len = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let framed = [&len.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

/// Reads a message with its two-byte length.
pub(super) async fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut message = vec![0; usize::from(len)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
