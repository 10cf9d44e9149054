//! Which host ports are published, and the sockets that keep other programs off them. Never
//! translates anything: that is `nft`.

use crate::error::{Error, Result};
use crate::nft::Publication;
use model::network::{PortBinding, PortSpec, Protocol};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// Host ports that sockets of ours hold at once. Beyond, a port is only tried: a socket costs
/// some four kilobytes and a descriptor, and ranges have thousands of ports.
const HELD_MAX: usize = 1024;
/// Ports of one request that are held; more than this is a range.
const HELD_PER_REQUEST: usize = 256;
/// Docker's fallback when the kernel does not say which ports are ephemeral.
const EPHEMERAL: (u16, u16) = (49_153, 65_535);

/// Every published port of the host.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// By protocol and port: who publishes it, on which address.
    taken: BTreeMap<PortSpec, Vec<Taken>>,
    held: usize,
    next_ephemeral: u16,
}

#[derive(Debug)]
struct Taken {
    publication: Publication,
    endpoint: String,
    /// Keeps other programs from binding the port.
    socket: Option<OwnedFd>,
}

/// A port asked for, with its host address decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The host's address.
    pub host: IpAddr,
    /// First and last host port to choose from; `None` for an ephemeral one.
    pub host_ports: Option<(u16, u16)>,
    /// The container's address.
    pub addr: IpAddr,
    /// The container's port.
    pub container: PortSpec,
}

impl Ports {
    /// Takes all of the ports for an endpoint, or none.
    pub(crate) fn take(&mut self, endpoint: &str, wanted: &[Wanted]) -> Result<Vec<Publication>> {
        let mut done = Vec::with_capacity(wanted.len());
        for (n, want) in wanted.iter().enumerate() {
            let hold = n < HELD_PER_REQUEST;
            match self.take_one(endpoint, want, hold) {
                Ok(publication) => done.push(publication),
                Err(error) => {
                    self.give_back(&done);
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Takes a port that an earlier daemon published, whoever holds it now.
    pub(crate) fn adopt(&mut self, endpoint: &str, publication: Publication) {
        let socket = reserve(publication.host, publication.port).ok().flatten();
        self.insert(endpoint, publication, socket);
    }

    /// Frees ports.
    pub(crate) fn give_back(&mut self, ports: &[Publication]) {
        for port in ports {
            let Some(taken) = self.taken.get_mut(&port.port) else { continue };
            let before = taken.iter().filter(|t| t.socket.is_some()).count();
            taken.retain(|t| t.publication != *port);
            self.held -= before - taken.iter().filter(|t| t.socket.is_some()).count();
            if taken.is_empty() {
                self.taken.remove(&port.port);
            }
        }
    }

    /// Everything an endpoint publishes.
    pub(crate) fn of(&self, endpoint: &str) -> Vec<Publication> {
        let all = self.taken.values().flatten();
        all.filter(|t| t.endpoint == endpoint).map(|t| t.publication).collect()
    }

    fn take_one(&mut self, endpoint: &str, want: &Wanted, hold: bool) -> Result<Publication> {
        let (candidates, single) = match want.host_ports {
            Some((first, last)) => ((first..=last).collect(), first == last),
            None => (self.ephemeral_candidates(), false),
        };
        let mut refused = None;
        for port in candidates {
            let publication = Publication {
                host: want.host,
                port: PortSpec { port, protocol: want.container.protocol },
                addr: want.addr,
                target: want.container.port,
            };
            match self.try_take(&publication) {
                Ok(socket) => {
                    if want.host_ports.is_none() {
                        self.next_ephemeral = port.wrapping_add(1);
                    }
                    let socket = socket.filter(|_| hold && self.held < HELD_MAX);
                    self.insert(endpoint, publication, socket);
                    return Ok(publication);
                }
                Err(error) if single => return Err(error),
                Err(error) => refused = Some(error),
            }
        }
        match (want.host_ports, refused) {
            (Some(_), Some(error)) => Err(error),
            _ => Err(Error::PortsExhausted(SocketAddr::new(want.host, 0).ip().to_string())),
        }
    }

    /// The ephemeral ports, beginning after the last one given.
    fn ephemeral_candidates(&self) -> Vec<u16> {
        let (first, last) = ephemeral_range();
        let start =
            if (first..=last).contains(&self.next_ephemeral) { self.next_ephemeral } else { first };
        (start..=last).chain(first..start).collect()
    }

    fn try_take(&self, port: &Publication) -> Result<Option<OwnedFd>> {
        let collides = |t: &Taken| {
            let (a, b) = (t.publication.host, port.host);
            a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
        };
        if self.taken.get(&port.port).is_some_and(|taken| taken.iter().any(collides)) {
            let host = SocketAddr::new(port.host, port.port.port);
            return Err(Error::PortAllocated(host.to_string()));
        }
        reserve(port.host, port.port).map_err(|errno| {
            let host = SocketAddr::new(port.host, port.port.port);
            let target = SocketAddr::new(port.addr, port.target);
            let protocol = port.port.protocol.name();
            Error::PortInUse {
                binding: format!("{host}:{target}/{protocol}"),
                source: errno.into(),
            }
        })
    }

    fn insert(&mut self, endpoint: &str, publication: Publication, socket: Option<OwnedFd>) {
        self.held += usize::from(socket.is_some());
        let taken = Taken { publication, endpoint: endpoint.to_owned(), socket };
        self.taken.entry(publication.port).or_default().push(taken);
    }
}

/// The binding in force that shows a publication.
pub(crate) fn binding(publication: &Publication) -> PortBinding {
    let port = publication.port;
    PortBinding {
        container: PortSpec { port: publication.target, protocol: port.protocol },
        host_ip: Some(publication.host),
        host_ports: Some((port.port, port.port)),
    }
}

fn ephemeral_range() -> (u16, u16) {
    let text = crate::sysctl::read("ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|n| n.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => EPHEMERAL,
    }
}

/// Binds the port without listening. `None` where the kernel has no such protocol's sockets.
///
/// `SO_REUSEADDR` is on only while binding, so that connections of a former owner that still
/// linger do not count; afterwards it is off, so that nobody can share the port.
fn reserve(host: IpAddr, port: PortSpec) -> std::result::Result<Option<OwnedFd>, Errno> {
    let kind = match port.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
        Protocol::Sctp => return Ok(None),
    };
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if port.protocol == Protocol::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    } else {
        // Nothing ever reads it: no room for datagrams.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    if host.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(host, port.port))?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok(Some(socket))
}
