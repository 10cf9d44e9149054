//! What of the firewall changes: elements of sets and maps, computed from networks and published
//! ports. Pure.

use model::network::{PortSpec, Protocol};
use std::net::{IpAddr, Ipv6Addr};

/// The address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    /// `ip`.
    V4,
    /// `ip6`.
    V6,
    /// `bridge`: frames, before they reach any of the others.
    Bridge,
}

impl Family {
    /// The families of addresses.
    pub(crate) const IP: [Self; 2] = [Self::V4, Self::V6];

    /// The family an address belongs to.
    pub(crate) fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `NFPROTO_*` (linux/netfilter.h).
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
            Self::Bridge => 7,
        }
    }

    /// Bytes of an address; of a hardware address in frames.
    pub(crate) fn address_len(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
            Self::Bridge => 6,
        }
    }
}

/// The sets and maps of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Set {
    /// Interfaces of our bridges.
    Bridges,
    /// Bridges whose traffic leaves with the host's address.
    Masqueraded,
    /// Bridges without a way in or out.
    Internal,
    /// Bridges whose containers do not reach each other (`icc=false`).
    Closed,
    /// (address, address, protocol, port): to whom a container of a closed bridge is linked.
    Linked,
    /// (bridge, bridge): how "comes from the interface it goes to" is said in nftables.
    Same,
    /// (address, address) of containers that publish ports: how "to itself" is said in nftables.
    Itself,
    /// Bridges whose containers are reached on every port (`nat-unprotected`).
    Open,
    /// Bridges that are routed to: no translation, and they answer pings.
    Routed,
    /// (address, protocol, port) of containers that are reached there without translation.
    Direct,
    /// The same, behind the interface from which they are reached so.
    Trusted,
    /// Bridge to the address that what leaves it gets.
    Sources,
    /// (host address, protocol, port) to (address, port).
    Published,
    /// (protocol, port) on every host address to (address, port).
    PublishedAny,
    /// (host address, protocol, port) that the host's own input rules decide about.
    Guarded,
    /// (protocol, port) on every host address that the host's own input rules decide about.
    GuardedAny,
    /// Links of containers that may only speak for themselves.
    Links,
    /// (link, hardware address, IPv4 address): for whom a link may speak.
    Speakers,
    /// (link, hardware address, IPv6 address): for whom a link may speak.
    Speakers6,
}

impl Set {
    /// Those of a family's table.
    pub(crate) fn of(family: Family) -> &'static [Self] {
        match family {
            Family::V4 | Family::V6 => &[
                Self::Bridges,
                Self::Masqueraded,
                Self::Internal,
                Self::Closed,
                Self::Linked,
                Self::Same,
                Self::Itself,
                Self::Open,
                Self::Routed,
                Self::Direct,
                Self::Trusted,
                Self::Sources,
                Self::Published,
                Self::PublishedAny,
                Self::Guarded,
                Self::GuardedAny,
            ],
            Family::Bridge => &[Self::Links, Self::Speakers, Self::Speakers6],
        }
    }

    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::Masqueraded => "masqueraded",
            Self::Internal => "internal",
            Self::Closed => "closed",
            Self::Linked => "linked",
            Self::Same => "same",
            Self::Itself => "itself",
            Self::Open => "open",
            Self::Routed => "routed",
            Self::Direct => "direct",
            Self::Trusted => "trusted",
            Self::Sources => "sources",
            Self::Published => "published",
            Self::PublishedAny => "published-any",
            Self::Guarded => "guarded",
            Self::GuardedAny => "guarded-any",
            Self::Links => "links",
            Self::Speakers => "speakers",
            Self::Speakers6 => "speakers6",
        }
    }
}

/// One element of a set or map, as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    /// Which table.
    pub family: Family,
    /// Which set.
    pub set: Set,
    /// The key: its parts, each padded to four bytes.
    pub key: Vec<u8>,
    /// The value, empty for sets.
    pub data: Vec<u8>,
}

/// An element in one piece of memory, of the size that it needs: there may be ten thousand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Packed(Box<[u8]>);

impl Packed {
    /// Bytes of family, set and the key's length.
    const HEAD: usize = 3;

    /// What all elements of a set begin with.
    pub(crate) fn head(family: Family, set: Set) -> Self {
        Self(Box::new([family.number(), set as u8]))
    }

    /// Packs an element.
    pub(crate) fn of(element: &Element) -> Self {
        // Keys are of some parts of at most 16 bytes.
        let len = u8::try_from(element.key.len()).unwrap_or(u8::MAX);
        let head = [element.family.number(), element.set as u8, len];
        Self([&head[..], &element.key, &element.data].concat().into())
    }

    /// Whether it is of a set.
    pub(crate) fn is_of(&self, family: Family, set: Set) -> bool {
        self.0.starts_with(&[family.number(), set as u8])
    }

    /// The element; `None` for what no element was packed into.
    pub(crate) fn unpack(&self) -> Option<Element> {
        let [number, place, len] = *self.0.first_chunk::<{ Self::HEAD }>()?;
        let all = [Family::V4, Family::V6, Family::Bridge];
        let family = all.into_iter().find(|family| family.number() == number)?;
        let set = Set::of(family).iter().copied().find(|set| *set as u8 == place)?;
        let (key, data) = self.0.get(Self::HEAD..)?.split_at_checked(usize::from(len))?;
        Some(Element { family, set, key: key.to_vec(), data: data.to_vec() })
    }
}

/// How a network's containers and the outside reach each other, per address family (Docker's
/// gateway modes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gateway {
    /// Behind the host's address; in only at published ports.
    #[default]
    Nat,
    /// As `Nat`, yet containers' own addresses are reached on every port.
    Unprotected,
    /// Under their own addresses, in at published ports.
    Routed,
    /// The host has no address in the network.
    Isolated,
}

/// What the firewall knows of one bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    /// The bridge's interface.
    pub bridge: String,
    /// No way out.
    pub internal: bool,
    /// What leaves gets the host's address.
    pub masquerade: bool,
    /// Containers reach each other.
    pub icc: bool,
    /// For IPv4 and IPv6.
    pub gateways: [Gateway; 2],
    /// The address that what leaves gets, of IPv4 and IPv6; the leaving interface's if none.
    pub sources: [Option<IpAddr>; 2],
}

impl Zone {
    /// The network's elements.
    pub(crate) fn elements(&self) -> Vec<Element> {
        let name = interface(&self.bridge);
        let pair = [name, name].concat();
        let mut elements = Vec::new();
        for (family, gateway) in Family::IP.into_iter().zip(self.gateways) {
            let element =
                |set, key: &[u8]| Element { family, set, key: key.to_vec(), data: Vec::new() };
            let mut sets = vec![Set::Bridges];
            match gateway {
                _ if self.internal => sets.push(Set::Internal),
                Gateway::Routed => sets.push(Set::Routed),
                Gateway::Unprotected => sets.push(Set::Open),
                Gateway::Nat | Gateway::Isolated => {}
            }
            if self.masquerade && !self.internal && gateway != Gateway::Routed {
                sets.push(Set::Masqueraded);
                let own = self.sources.iter().flatten().find(|it| Family::of(**it) == family);
                elements.extend(own.map(|source| Element {
                    family,
                    set: Set::Sources,
                    key: name.to_vec(),
                    data: octets(*source),
                }));
            }
            if !self.icc {
                sets.push(Set::Closed);
            }
            elements.extend(sets.into_iter().map(|set| element(set, &name)));
            elements.push(element(Set::Same, &pair));
        }
        elements
    }
}

/// How a published port is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Through the host's address.
    #[default]
    Translated,
    /// Through the host's address, where the host's own input rules accept it.
    Guarded,
    /// At the container's address: it is routed to.
    Direct,
    /// Through a socket of the daemon: the host's address is of a family that the container has
    /// none of, or cannot be translated.
    Relayed,
}

/// A published port as the firewall sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Publication {
    /// The host's address; unspecified for each of its family.
    pub host: IpAddr,
    /// The host's port and protocol; of a `Direct` one the container's.
    pub port: PortSpec,
    /// The container's address, of the same family unless relayed.
    pub addr: IpAddr,
    /// The container's port.
    pub target: u16,
    /// How.
    pub way: Way,
}

impl Publication {
    /// The elements of several, each once. `direct`: those that are reached from outside are so at
    /// the container's address, too.
    pub(crate) fn elements(all: &[Self], direct: bool) -> Vec<Element> {
        let mut elements = Vec::with_capacity(all.len() + 1);
        let mut before = None;
        for it in all {
            it.add_own(&mut elements);
            // Ports of a range are of one address.
            let translated = matches!(it.way, Way::Translated | Way::Guarded);
            if translated && before.replace(it.addr) != Some(it.addr) {
                elements.push(it.itself());
            }
            if direct && it.is_open() {
                elements.push(it.direct());
            }
        }
        elements.sort();
        elements.dedup();
        elements
    }

    /// Whether more than programs of this host reach it, and nobody's input rules are asked.
    pub(crate) fn is_open(&self) -> bool {
        self.way == Way::Translated && !self.host.is_loopback()
    }

    /// Lets it be reached at the container's address.
    fn direct(&self) -> Element {
        let port = PortSpec { port: self.target, ..self.port };
        let key = [octets(self.addr), service(port)].concat();
        Element { family: Family::of(self.addr), set: Set::Direct, key, data: Vec::new() }
    }

    /// Lets it be reached at the container's address from behind one of the host's interfaces.
    pub(crate) fn trusted(&self, link: &str) -> Element {
        let direct = self.direct();
        let key = [&interface(link)[..], &direct.key].concat();
        Element { set: Set::Trusted, key, ..direct }
    }

    fn add_own(&self, elements: &mut Vec<Element>) {
        match self.way {
            Way::Relayed => {}
            Way::Direct => elements.push(self.direct()),
            Way::Translated => elements.push(self.element()),
            Way::Guarded => {
                let element = self.element();
                let set = match element.set {
                    Set::Published => Set::Guarded,
                    _ => Set::GuardedAny,
                };
                let guard = Element { set, data: Vec::new(), ..element.clone() };
                elements.extend([element, guard]);
            }
        }
    }

    fn itself(&self) -> Element {
        let addr = octets(self.addr);
        let key = [addr.clone(), addr].concat();
        Element { family: Family::of(self.addr), set: Set::Itself, key, data: Vec::new() }
    }

    /// The map element that translates it.
    fn element(&self) -> Element {
        let (set, mut key) = match self.host.is_unspecified() {
            true => (Set::PublishedAny, Vec::new()),
            false => (Set::Published, octets(self.host)),
        };
        key.extend(service(self.port));
        let mut data = octets(self.addr);
        data.extend_from_slice(&padded(self.target));
        Element { family: Family::of(self.host), set, key, data }
    }
}

/// Protocol and port as they lie in registers.
fn service(port: PortSpec) -> Vec<u8> {
    [[protocol_number(port.protocol), 0, 0, 0], padded(port.port)].concat()
}

/// Lets a container of a closed bridge reach another's port.
pub(crate) fn linked(from: IpAddr, to: IpAddr, port: PortSpec) -> Element {
    let key = [octets(from), octets(to), service(port)].concat();
    Element { family: Family::of(to), set: Set::Linked, key, data: Vec::new() }
}

/// For whom a container's link may speak (law F6).
#[derive(Clone, Debug)]
pub(crate) struct Claim<'a> {
    /// The link on the host's side.
    pub link: &'a str,
    /// Its peer's hardware address.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Claim<'_> {
    /// What the frames' table has to know.
    pub(crate) fn elements(&self) -> Vec<Element> {
        let link = interface(self.link);
        let element = |set, key| Element { family: Family::Bridge, set, key, data: Vec::new() };
        let mut elements = vec![element(Set::Links, link.to_vec())];
        let mut addresses = self.addresses.clone();
        if addresses.iter().any(IpAddr::is_ipv6) {
            addresses.push(IpAddr::V6(link_local(self.mac)));
        }
        for addr in addresses {
            let set = if addr.is_ipv4() { Set::Speakers } else { Set::Speakers6 };
            let key = [&link[..], &self.mac, &[0, 0], &octets(addr)].concat();
            elements.push(element(set, key));
        }
        elements.sort();
        elements.dedup();
        elements
    }
}

/// The address that the kernel gives a link by itself (RFC 4291 appendix A).
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// `IPPROTO_*` (IANA).
pub(crate) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A port as it lies in a register.
fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// An interface name as it lies in registers: 16 bytes (`IFNAMSIZ`), padded with NUL.
pub(crate) fn interface(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (slot, byte) in bytes.iter_mut().zip(name.as_bytes().iter().take(15)) {
        *slot = *byte;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets_of(zone: &Zone) -> Vec<&'static str> {
        let of_v4 = |e: &Element| (e.family == Family::V4).then_some(e.set.name());
        zone.elements().iter().filter_map(of_v4).collect()
    }

    #[test]
    fn a_network_is_in_the_sets_of_its_policy() {
        let zone = Zone {
            bridge: "br-1".into(),
            internal: false,
            masquerade: true,
            icc: true,
            gateways: [Gateway::Nat; 2],
            sources: [None, None],
        };
        assert_eq!(sets_of(&zone), ["bridges", "masqueraded", "same"]);
        let internal = Zone { internal: true, ..zone.clone() };
        assert_eq!(sets_of(&internal), ["bridges", "internal", "same"]);
        let closed = Zone { icc: false, masquerade: false, ..zone.clone() };
        assert_eq!(sets_of(&closed), ["bridges", "closed", "same"]);
        let routed = Zone { gateways: [Gateway::Routed, Gateway::Nat], ..zone.clone() };
        assert_eq!(sets_of(&routed), ["bridges", "routed", "same"]);
        let open = Zone { gateways: [Gateway::Unprotected, Gateway::Nat], ..zone };
        assert_eq!(sets_of(&open), ["bridges", "open", "masqueraded", "same"]);
    }

    #[test]
    fn a_port_lies_in_the_map_as_the_registers_hold_it() {
        let port = PortSpec { port: 8080, protocol: Protocol::Udp };
        let addr = "172.17.0.2".parse().unwrap();
        let host = "0.0.0.0".parse().unwrap();
        let any = Publication { host, port, addr, target: 53, way: Way::Translated };
        assert_eq!(any.element().set, Set::PublishedAny);
        assert_eq!(any.element().key, [17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(any.element().data, [172, 17, 0, 2, 0, 53, 0, 0]);
        let one = Publication { host: "10.0.0.1".parse().unwrap(), ..any };
        assert_eq!(one.element().set, Set::Published);
        assert_eq!(one.element().key, [10, 0, 0, 1, 17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        let sets = |way| {
            let all = Publication::elements(&[Publication { way, ..any }], false);
            all.iter().map(|e| e.set.name()).collect::<Vec<_>>()
        };
        assert_eq!(sets(Way::Guarded), ["itself", "published-any", "guarded-any"]);
        assert_eq!(sets(Way::Direct), ["direct"]);
        assert!(sets(Way::Relayed).is_empty());
    }

    #[test]
    fn what_is_packed_is_unpacked_and_lies_with_its_set() {
        for family in [Family::V4, Family::V6, Family::Bridge] {
            for set in Set::of(family).iter().copied() {
                for (key, data) in [(vec![1; 40], vec![2; 20]), (vec![0xff; 4], Vec::new())] {
                    let element = Element { family, set, key, data };
                    let packed = Packed::of(&element);
                    assert_eq!(packed.unpack(), Some(element));
                    assert!(packed.is_of(family, set) && packed > Packed::head(family, set));
                    let next = Set::of(family).iter().find(|it| **it as u8 > set as u8);
                    assert!(next.is_none_or(|next| packed < Packed::head(family, *next)));
                }
            }
        }
        assert_eq!(Packed::head(Family::V4, Set::Bridges).unpack(), None);
    }

    #[test]
    fn a_link_speaks_for_its_own_addresses_alone() {
        let addresses = vec!["172.17.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let claim = Claim { link: "veth1", mac: [2, 0x42, 172, 17, 0, 2], addresses };
        let elements = claim.elements();
        let sets: Vec<_> = elements.iter().map(|e| e.set.name()).collect();
        assert_eq!(sets, ["links", "speakers", "speakers6", "speakers6"]);
        assert_eq!(elements[1].key[16..], [2, 0x42, 172, 17, 0, 2, 0, 0, 172, 17, 0, 2]);
        assert_eq!(link_local(claim.mac).to_string(), "fe80::42:acff:fe11:2");
    }
}
