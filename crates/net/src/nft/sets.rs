//! What of the firewall changes: elements of sets and maps, computed from networks and published
//! ports. Pure.

use model::network::{PortSpec, Protocol};
use std::net::IpAddr;

/// The address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    /// `ip`.
    V4,
    /// `ip6`.
    V6,
}

impl Family {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family an address belongs to.
    pub(crate) fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `NFPROTO_IPV4` or `NFPROTO_IPV6` (linux/netfilter.h).
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Bytes of an address.
    pub(crate) fn address_len(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
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
    /// (bridge, bridge): how "comes from the interface it goes to" is said in nftables.
    Same,
    /// (address, address) of containers that publish ports: how "to itself" is said in nftables.
    Itself,
    /// (host address, protocol, port) to (address, port).
    Published,
    /// (protocol, port) on every host address to (address, port).
    PublishedAny,
}

impl Set {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Bridges,
        Self::Masqueraded,
        Self::Internal,
        Self::Closed,
        Self::Same,
        Self::Itself,
        Self::Published,
        Self::PublishedAny,
    ];

    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::Masqueraded => "masqueraded",
            Self::Internal => "internal",
            Self::Closed => "closed",
            Self::Same => "same",
            Self::Itself => "itself",
            Self::Published => "published",
            Self::PublishedAny => "published-any",
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
}

impl Zone {
    /// The network's elements, the same in both families.
    pub(crate) fn elements(&self) -> Vec<Element> {
        let mut sets = vec![Set::Bridges];
        if self.internal {
            sets.push(Set::Internal);
        } else if self.masquerade {
            sets.push(Set::Masqueraded);
        }
        if !self.icc {
            sets.push(Set::Closed);
        }
        let name = interface(&self.bridge);
        let pair = [name, name].concat();
        let both = |set, key: &[u8]| {
            let key = key.to_vec();
            Family::ALL.map(|family| Element { family, set, key: key.clone(), data: Vec::new() })
        };
        let mut elements: Vec<Element> =
            sets.into_iter().flat_map(|set| both(set, &name)).collect();
        elements.extend(both(Set::Same, &pair));
        elements
    }
}

/// A published port as the firewall sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Publication {
    /// The host's address; unspecified for each of its family.
    pub host: IpAddr,
    /// The host's port and protocol.
    pub port: PortSpec,
    /// The container's address, of the same family.
    pub addr: IpAddr,
    /// The container's port.
    pub target: u16,
}

impl Publication {
    /// The elements of several, each once.
    pub(crate) fn elements(all: &[Self]) -> Vec<Element> {
        let mut elements: Vec<Element> =
            all.iter().flat_map(|p| [p.itself(), p.element()]).collect();
        elements.sort();
        elements.dedup();
        elements
    }

    fn itself(&self) -> Element {
        let addr = octets(self.addr);
        let key = [addr.clone(), addr].concat();
        Element { family: Family::of(self.addr), set: Set::Itself, key, data: Vec::new() }
    }

    /// The map element that translates it.
    fn element(&self) -> Element {
        let mut key = Vec::with_capacity(24);
        let set = if self.host.is_unspecified() {
            Set::PublishedAny
        } else {
            key.extend_from_slice(&octets(self.host));
            Set::Published
        };
        key.extend_from_slice(&[protocol_number(self.port.protocol), 0, 0, 0]);
        key.extend_from_slice(&padded(self.port.port));
        let mut data = octets(self.addr);
        data.extend_from_slice(&padded(self.target));
        Element { family: Family::of(self.host), set, key, data }
    }
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
        let zone = Zone { bridge: "br-1".into(), internal: false, masquerade: true, icc: true };
        assert_eq!(sets_of(&zone), ["bridges", "masqueraded", "same"]);
        let internal = Zone { internal: true, ..zone.clone() };
        assert_eq!(sets_of(&internal), ["bridges", "internal", "same"]);
        let closed = Zone { icc: false, masquerade: false, ..zone };
        assert_eq!(sets_of(&closed), ["bridges", "closed", "same"]);
    }

    #[test]
    fn a_port_lies_in_the_map_as_the_registers_hold_it() {
        let port = PortSpec { port: 8080, protocol: Protocol::Udp };
        let addr = "172.17.0.2".parse().unwrap();
        let any = Publication { host: "0.0.0.0".parse().unwrap(), port, addr, target: 53 };
        assert_eq!(any.element().set, Set::PublishedAny);
        assert_eq!(any.element().key, [17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(any.element().data, [172, 17, 0, 2, 0, 53, 0, 0]);
        let one = Publication { host: "10.0.0.1".parse().unwrap(), ..any };
        assert_eq!(one.element().set, Set::Published);
        assert_eq!(one.element().key, [10, 0, 0, 1, 17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
    }
}
