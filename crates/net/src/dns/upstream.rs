//! Asking the world's resolvers: the host's from the daemon's own network namespace, a container's
//! own ones from its. One that is silent is asked last until it is heard again.

use super::inside::Inside;
use super::message::{ANSWER_MAX, Query, SentOn, is_final};
use crate::files::nameservers;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a server may be silent before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(150);
/// After this long a datagram, or its answer, is taken for lost, and sent once more.
pub(super) const RESEND: Duration = Duration::from_secs(1);
/// How long one server may take altogether.
const PATIENCE: Duration = Duration::from_secs(4);
/// How old the knowledge of the host's resolv.conf may be.
const FRESH: Duration = Duration::from_millis(500);
/// Servers asked per question: as many as glibc asks.
const SERVERS_MAX: usize = 3;
pub(super) const PORT: u16 = 53;

/// How long one that was silent is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// The host's resolvers, as its resolv.conf names them now.
#[derive(Debug)]
pub(super) struct HostResolvers {
    known: Mutex<Known>,
    silent: Arc<Silent>,
}

#[derive(Debug, Default)]
struct Known {
    path: PathBuf,
    checked: Option<Instant>,
    modified: Option<SystemTime>,
    servers: Vec<IpAddr>,
}

impl HostResolvers {
    pub(super) fn new(path: PathBuf) -> Self {
        let known = Known { path, ..Known::default() };
        Self { known: Mutex::new(known), silent: Arc::default() }
    }

    /// They are named in another file from now on.
    pub(super) fn follow(&self, path: PathBuf) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.path != path {
            *known = Known { path, ..Known::default() };
        }
    }

    /// The servers in force, read again when the file changed.
    pub(super) fn servers(&self) -> Servers {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.checked.is_none_or(|at| at.elapsed() > FRESH) {
            known.checked = Some(Instant::now());
            let modified = std::fs::metadata(&known.path).and_then(|m| m.modified()).ok();
            if modified.is_none() || modified != known.modified {
                known.modified = modified;
                let text = std::fs::read_to_string(&known.path).unwrap_or_default();
                known.servers = nameservers(&text);
            }
        }
        let silent = Arc::clone(&self.silent);
        Servers { addresses: known.servers.clone(), place: Place::Host, silent }
    }
}

/// Where questions are asked from.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The namespace of this process.
    Host,
    /// The container's.
    Container(Arc<Inside>),
}

/// Whom to ask, and from where.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    addresses: Vec<IpAddr>,
    place: Place,
    silent: Arc<Silent>,
}

impl Servers {
    pub(super) fn new(addresses: Vec<IpAddr>, place: Place) -> Self {
        Self { addresses, place, silent: Arc::default() }
    }

    /// Whether questions go no further than the container itself could go.
    pub(super) fn are_inside(&self) -> bool {
        matches!(self.place, Place::Container(_))
    }

    /// The first answer that settles the question; failing that, the last that any server gave.
    pub(super) async fn ask(&self, query: &Query<'_>, udp: bool) -> Option<Vec<u8>> {
        let request = |server| Request { question: query.sent_on(), server, udp };
        let (order, due) = self.silent.order(&self.addresses);
        for server in due {
            self.look_again(request(server));
        }
        let mut waiting = order.into_iter();
        let mut running = tokio::task::JoinSet::new();
        // Those who have not answered, the longest asked first.
        let mut asked = Vec::new();
        let mut last = None;
        loop {
            let next = waiting.next();
            if let Some(server) = next {
                asked.push(server);
                running.spawn(request(server).run(self.place.clone()));
            }
            let answer = if next.is_some() && waiting.len() > 0 {
                timeout(HEAD_START, running.join_next()).await
            } else {
                Ok(running.join_next().await)
            };
            let (server, answer) = match answer {
                // Silent so far: the next one gets its chance, too.
                Err(_) => continue,
                Ok(None) if waiting.len() == 0 => break,
                Ok(None | Some(Err(_))) => continue,
                Ok(Some(Ok(heard))) => heard,
            };
            let answer = answer.filter(|(id, answer)| query.is_answered_by(answer, *id));
            if let Some((_, answer)) = &answer
                && is_final(answer)
            {
                self.silent.note(asked.into_iter().take_while(|it| *it != server));
                return Some(query.with_own_id(answer.clone()));
            }
            asked.retain(|it| *it != server);
            last = answer.map(|(_, answer)| answer).or(last);
        }
        last.map(|answer| query.with_own_id(answer))
    }

    /// Finds out whether a server is still silent; nobody waits for it.
    fn look_again(&self, request: Request) {
        let (place, silent) = (self.place.clone(), Arc::clone(&self.silent));
        tokio::spawn(async move {
            if let (server, Some(_)) = request.run(place).await {
                silent.lock().remove(&server);
            }
        });
    }
}

/// Servers that others had to answer for, and since when they are left alone.
#[derive(Debug, Default)]
struct Silent(Mutex<HashMap<IpAddr, Instant>>);

impl Silent {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In which order to ask, and who has been left alone long enough to be looked at once more.
    fn order(&self, servers: &[IpAddr]) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let mut known = self.lock();
        let servers = servers.iter().copied().take(SERVERS_MAX);
        let (silent, mut order): (Vec<_>, Vec<_>) = servers.partition(|it| known.contains_key(it));
        let mut due = silent.clone();
        due.retain(|it| known.get(it).is_some_and(|since| since.elapsed() > LEFT_ALONE));
        // By one question, not by all that come meanwhile.
        known.extend(due.iter().map(|server| (*server, Instant::now())));
        order.extend(silent);
        (order, due)
    }

    fn note(&self, servers: impl Iterator<Item = IpAddr>) {
        self.lock().extend(servers.map(|server| (server, Instant::now())));
    }
}

/// One question to one server, under an id and from a port of its own.
struct Request {
    question: SentOn,
    server: IpAddr,
    udp: bool,
}

impl Request {
    /// Whom it was asked; the id under which it was asked, and the answer.
    async fn run(self, place: Place) -> (IpAddr, Option<(u16, Vec<u8>)>) {
        let exchange = async {
            match (place, self.udp) {
                (Place::Host, true) => self.over_udp().await,
                (Place::Host, false) => self.over_tcp().await,
                (Place::Container(inside), true) => {
                    inside.over_udp(self.server, |id| self.question.under(id)).await
                }
                (Place::Container(inside), false) => {
                    let id = draw_id()?;
                    let answer = inside.over_tcp(self.server, &self.question.under(id)).await?;
                    Ok((id, answer))
                }
            }
        };
        let answer = timeout(PATIENCE, exchange).await;
        (self.server, answer.ok().and_then(std::io::Result::ok))
    }

    async fn over_udp(&self) -> std::io::Result<(u16, Vec<u8>)> {
        let any = match self.server {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let id = draw_id()?;
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect((self.server, PORT)).await?;
        let question = self.question.under(id);
        let mut buffer = vec![0; usize::from(ANSWER_MAX)];
        loop {
            socket.send(&question).await?;
            let Ok(received) = timeout(RESEND, receive(&socket, id, &mut buffer)).await else {
                continue;
            };
            buffer.truncate(received?);
            return Ok((id, buffer));
        }
    }

    async fn over_tcp(&self) -> std::io::Result<(u16, Vec<u8>)> {
        let id = draw_id()?;
        let mut stream = TcpStream::connect((self.server, PORT)).await?;
        let answer = exchange_framed(&mut stream, &self.question.under(id)).await?;
        Ok((id, answer))
    }
}

/// The length of an answer under an id. Anything else on this port is not for us.
async fn receive(socket: &UdpSocket, id: u16, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        let len = socket.recv(buffer).await?;
        if buffer.get(..len.min(2)) == Some(&id.to_be_bytes()[..]) {
            return Ok(len);
        }
    }
}

/// An id that nobody can guess.
pub(super) fn draw_id() -> std::io::Result<u16> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(u16::from_be_bytes(id))
}

/// Sends a message over a stream and reads the answer.
pub(super) async fn exchange_framed(
    stream: &mut TcpStream,
    message: &[u8],
) -> std::io::Result<Vec<u8>> {
    write_framed(stream, message).await?;
    read_framed(stream).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_is_asked_last_and_looked_at_again_by_one() {
        let all: Vec<IpAddr> = (1..=4).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let silent = Silent::default();
        assert_eq!(silent.order(&all), (all[..3].to_vec(), Vec::new()), "as many as glibc asks");
        silent.note(all[..1].iter().copied());
        let order = vec![all[1], all[2], all[0]];
        assert_eq!(silent.order(&all), (order.clone(), Vec::new()));
        let long_ago = Instant::now().checked_sub(2 * LEFT_ALONE).unwrap();
        silent.lock().insert(all[0], long_ago);
        assert_eq!(silent.order(&all), (order.clone(), vec![all[0]]));
        assert_eq!(silent.order(&all), (order, Vec::new()));
        silent.lock().remove(&all[0]);
        assert_eq!(silent.order(&all).0, all[..3]);
    }
}
