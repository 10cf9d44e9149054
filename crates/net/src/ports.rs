//! Which host ports are published, and the sockets that keep other programs off them. Never
//! translates anything: that is `nft`.

use crate::error::{Error, Result};
use crate::holder;
use crate::nft::{Publication, Way};
use crate::outside::{self, Opened, Outside};
use crate::relay::{Relay, Relays};
use crate::taken::Taken;
use model::network::{PortBinding, PortSpec, Protocol};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Host ports that sockets of ours hold at once. Beyond, a port is only tried: a socket costs
/// some four kilobytes and a descriptor, and ranges have thousands of ports.
const HELD_MAX: usize = 1024;
/// Ports of one request that are held; more than this is a range.
pub(crate) const HELD_PER_REQUEST: usize = 256;
/// Docker's fallback when the kernel does not say which ports are ephemeral.
const EPHEMERAL: (u16, u16) = (49_153, 65_535);
const BACKLOG: i32 = 512;

/// Every published port of the host.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    taken: Taken,
    /// What keeps ports ours, of those that something keeps.
    held: BTreeMap<Publication, Held>,
    /// How many of them are sockets that only hold a port.
    sockets: usize,
    next_ephemeral: u16,
    relays: Relays,
    outside: Option<Arc<dyn Outside>>,
}

/// What keeps a port ours; ends when dropped.
#[derive(Debug)]
struct Held {
    /// Keeps other programs from binding the port.
    hold: Hold,
    /// The port of the host, where this namespace is not the host's.
    _outside: Option<Opened>,
}

/// Who publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The endpoint's id.
    pub endpoint: String,
    /// The container's short id, for messages.
    pub container: String,
}

/// A port of this namespace.
#[derive(Debug)]
#[expect(dead_code, reason = "held, never read")]
enum Hold {
    Nothing,
    Socket(OwnedFd),
    Relay(Relay),
}

/// A port asked for, with its host addresses decided.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The sides that share one host port.
    pub sides: Vec<Side>,
    /// First and last host port to choose from; `None` for an ephemeral one.
    pub host_ports: Option<(u16, u16)>,
    /// The container's port.
    pub container: PortSpec,
}

/// One address of the host, and the address of the container behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// The host's address.
    pub host: IpAddr,
    /// The container's address.
    pub addr: IpAddr,
    /// How the one is reached through the other.
    pub way: Way,
}

impl Ports {
    /// None taken yet; each is opened by `outside` too.
    pub(crate) fn through(outside: Option<Arc<dyn Outside>>) -> Self {
        Self { outside, ..Self::default() }
    }

    /// Takes all of the ports for an endpoint, or none.
    pub(crate) fn take(
        &mut self,
        owner: &Arc<Owner>,
        wanted: &[Wanted],
    ) -> Result<Vec<Publication>> {
        let mut done = Vec::with_capacity(wanted.len());
        for (n, want) in wanted.iter().enumerate() {
            let hold = n < HELD_PER_REQUEST;
            match self.take_one(owner, want, hold) {
                Ok(publications) => done.extend(publications),
                Err(error) => {
                    self.give_back(&done);
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Takes a port that an earlier daemon published, whoever holds it now.
    pub(crate) fn adopt(&mut self, owner: &Arc<Owner>, publication: Publication) {
        let socket = match publication.way {
            Way::Direct => None,
            _ => reserve(&publication).ok().flatten(),
        };
        if let Err(error) = self.insert(owner, publication, socket) {
            tracing::warn!(%error, "a published port is no longer relayed");
        }
    }

    /// Frees ports.
    pub(crate) fn give_back(&mut self, ports: &[Publication]) {
        for port in ports {
            self.taken.remove(port);
            let held = self.held.remove(port);
            let socket = held.is_some_and(|held| matches!(held.hold, Hold::Socket(_)));
            self.sockets -= usize::from(socket);
        }
    }

    /// Everything an endpoint publishes.
    pub(crate) fn of(&self, endpoint: &str) -> Vec<Publication> {
        self.taken.of(endpoint)
    }

    /// Whether an endpoint publishes anything.
    pub(crate) fn has(&self, endpoint: &str) -> bool {
        self.taken.has(endpoint)
    }

    fn take_one(
        &mut self,
        owner: &Arc<Owner>,
        want: &Wanted,
        hold: bool,
    ) -> Result<Vec<Publication>> {
        if want.sides.iter().all(|side| side.way == Way::Direct) {
            return self.take_sides(owner, want, (want.container.port, false));
        }
        let (candidates, single) = match want.host_ports {
            Some((first, last)) => ((first..=last).collect(), first == last),
            None => (self.ephemeral_candidates(), false),
        };
        let mut refused = None;
        for port in candidates {
            match self.take_sides(owner, want, (port, hold)) {
                Ok(publications) => {
                    if want.host_ports.is_none() {
                        self.next_ephemeral = port.wrapping_add(1);
                    }
                    return Ok(publications);
                }
                Err(error) if single => return Err(error),
                Err(error) => refused = Some(error),
            }
        }
        let host = want.sides.first().map(|side| side.host.to_string()).unwrap_or_default();
        match (want.host_ports, refused) {
            (Some(_), Some(error)) => Err(error),
            _ => Err(Error::PortsExhausted(host)),
        }
    }

    /// Takes one host port on every side, or none.
    fn take_sides(
        &mut self,
        owner: &Arc<Owner>,
        want: &Wanted,
        (port, hold): (u16, bool),
    ) -> Result<Vec<Publication>> {
        let mut done = Vec::with_capacity(want.sides.len());
        for side in &want.sides {
            let publication = Publication {
                host: side.host,
                port: PortSpec { port, protocol: want.container.protocol },
                addr: side.addr,
                target: want.container.port,
                way: side.way,
            };
            let taken = self.try_take(&publication).and_then(|socket| {
                let needed = side.way == Way::Relayed || hold && self.sockets < HELD_MAX;
                self.insert(owner, publication, socket.filter(|_| needed))
            });
            if let Err(error) = taken {
                self.give_back(&done);
                return Err(error);
            }
            done.push(publication);
        }
        Ok(done)
    }

    /// The ephemeral ports, beginning after the last one given.
    fn ephemeral_candidates(&self) -> Vec<u16> {
        let (first, last) = ephemeral_range();
        let start =
            if (first..=last).contains(&self.next_ephemeral) { self.next_ephemeral } else { first };
        (start..=last).chain(first..start).collect()
    }

    fn try_take(&self, port: &Publication) -> Result<Option<OwnedFd>> {
        if port.way == Way::Direct {
            return Ok(None);
        }
        let collides = |(other, _): &(Publication, &Owner)| {
            let (a, b) = (other.host, port.host);
            other.way != Way::Direct
                && a.is_ipv4() == b.is_ipv4()
                && (a == b || a.is_unspecified() || b.is_unspecified())
        };
        if let Some((_, owner)) = self.taken.at(port.port).find(collides) {
            let host = SocketAddr::new(port.host, port.port.port).to_string();
            return Err(Error::PortAllocated { host, container: owner.container.clone() });
        }
        reserve(port).map_err(|errno| {
            let host = SocketAddr::new(port.host, port.port.port);
            let target = SocketAddr::new(port.addr, port.target);
            let protocol = port.port.protocol.name();
            Error::PortInUse {
                holder: (errno == Errno::ADDRINUSE).then(|| holder::of(port.port)).flatten(),
                binding: format!("{host}:{target}/{protocol}"),
                source: errno.into(),
            }
        })
    }

    fn insert(
        &mut self,
        owner: &Arc<Owner>,
        publication: Publication,
        socket: Option<OwnedFd>,
    ) -> Result<()> {
        let hold = match (socket, is_carried(&publication)) {
            (None, _) => Hold::Nothing,
            (Some(socket), true) => {
                let target = SocketAddr::new(publication.addr, publication.target);
                let protocol = publication.port.protocol;
                Hold::Relay(self.relays.carry(socket, protocol, target)?)
            }
            (Some(socket), false) => Hold::Socket(socket),
        };
        let outside = self.outside.as_ref().filter(|_| publication.way != Way::Direct);
        let opened = outside.map(|outside| outside::open(outside, &publication)).transpose()?;
        let _outside = opened.flatten();
        self.sockets += usize::from(matches!(hold, Hold::Socket(_)));
        if _outside.is_some() || !matches!(hold, Hold::Nothing) {
            self.held.insert(publication, Held { hold, _outside });
        }
        self.taken.insert(publication, owner);
        Ok(())
    }
}

/// The binding in force that shows a publication.
pub(crate) fn binding(publication: &Publication) -> PortBinding {
    let port = publication.port;
    PortBinding {
        container: PortSpec { port: publication.target, protocol: port.protocol },
        host_ip: Some(publication.host),
        host_ports: (publication.way != Way::Direct).then_some((port.port, port.port)),
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

/// Whether the socket that holds a port also carries it. `::1` and link-local addresses are never
/// translated, so a port on every IPv6 address has a socket for them; the rules take all else away
/// from it.
fn is_carried(publication: &Publication) -> bool {
    let every = publication.host.is_ipv6() && publication.host.is_unspecified();
    match publication.way {
        Way::Relayed => true,
        Way::Translated | Way::Guarded => every && publication.port.protocol != Protocol::Sctp,
        Way::Direct => false,
    }
}

/// Binds the port, and listens only where it is relayed. `None` where the kernel has no such
/// protocol's sockets.
///
/// `SO_REUSEADDR` is on only while binding, so that connections of a former owner that still
/// linger do not count; afterwards it is off, so that nobody can share the port.
fn reserve(publication: &Publication) -> std::result::Result<Option<OwnedFd>, Errno> {
    let (host, port) = (publication.host, publication.port);
    let relayed = is_carried(publication);
    let kind = match port.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
        Protocol::Sctp => return Ok(None),
    };
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if port.protocol == Protocol::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    } else if !relayed {
        // Nothing ever reads it: no room for datagrams.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    if host.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(host, port.port))?;
    if relayed && port.protocol == Protocol::Tcp {
        // Its connections outlive it for a while, and must not keep the next from the port.
        listen(&socket, BACKLOG)?;
    } else {
        sockopt::set_socket_reuseaddr(&socket, false)?;
    }
    Ok(Some(socket))
}
