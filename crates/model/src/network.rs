//! Networks, endpoints and published ports, as asked and as they are. This module never talks to
//! the kernel.

use crate::error::Denied;
use crate::id::{ContainerId, NetworkId};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network a container starts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The daemon's default bridge, named `bridge`.
    #[default]
    Default,
    /// No network but loopback.
    None,
    /// The host's own.
    Host,
    /// Another container's, by name or id.
    Container(String),
    /// A network by name or id (`bridge` included when named).
    Named(String),
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Parses a name in any case; empty means TCP.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        match text.to_ascii_lowercase().as_str() {
            "" | "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Denied::invalid(format!("invalid proto: {text}"))),
        }
    }
}

/// A port of a container, `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSpec {
    /// 1..=65535.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A published port. Asked: `host_port` is a range, empty for ephemeral. In force: a single port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortBinding {
    /// The container's side.
    pub container: PortSpec,
    /// The host address; `None` for every address (v4 and v6).
    pub host_ip: Option<IpAddr>,
    /// First and last host port to choose from; `None` for an ephemeral one.
    pub host_ports: Option<(u16, u16)>,
}

/// A network as asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkDraft {
    /// Its name.
    pub name: String,
    /// Driver name; empty for `bridge`.
    pub driver: String,
    /// Refuse when the name is taken (always done; only shown back).
    pub check_duplicate: bool,
    /// No way out.
    pub internal: bool,
    /// Standalone containers may join a cluster network.
    pub attachable: bool,
    /// Routing mesh network.
    pub ingress: bool,
    /// Nothing but a configuration that other networks are made from.
    pub config_only: bool,
    /// The network whose configuration this one takes; empty for its own.
    pub config_from: String,
    /// IPv4 wanted; `None` for yes.
    pub enable_ipv4: Option<bool>,
    /// IPv6 wanted; `None` when a subnet of it is asked for.
    pub enable_ipv6: Option<bool>,
    /// Address management driver; empty for `default`.
    pub ipam_driver: String,
    /// Its options.
    pub ipam_options: BTreeMap<String, String>,
    /// Address pools.
    pub pools: Vec<PoolDraft>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One address pool as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolDraft {
    /// CIDR; `None` to choose.
    pub subnet: Option<Cidr>,
    /// Part of the subnet that containers get addresses from.
    pub range: Option<Cidr>,
    /// The gateway's address; `None` for the first.
    pub gateway: Option<IpAddr>,
    /// Addresses kept free, by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

/// An address block in CIDR notation; host bits may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// Any address of the block.
    pub addr: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl Default for Cidr {
    fn default() -> Self {
        Self { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 }
    }
}

impl Cidr {
    /// Parses `address/prefix`.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        let invalid = || Denied::invalid(format!("invalid CIDR address: {text}"));
        let (addr, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let addr: IpAddr = addr.parse().map_err(|_| invalid())?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        if prefix > if addr.is_ipv4() { 32 } else { 128 } {
            return Err(invalid());
        }
        Ok(Self { addr, prefix })
    }

    /// The block with its host bits cleared.
    pub fn network(self) -> Self {
        let addr = match self.addr {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
            }
        };
        Self { addr, prefix: self.prefix }
    }

    /// Whether `addr` lies in the block.
    pub fn contains(self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4()
            && Self { addr, prefix: self.prefix }.network() == self.network()
    }

    /// Whether the blocks share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.addr) && other.prefix >= self.prefix
            || other.contains(self.addr) && self.prefix >= other.prefix
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// A network as it is: pools chosen, driver known.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSpec {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its driver.
    pub driver: DriverKind,
    /// No way out.
    pub internal: bool,
    /// Only shown back until there is a cluster.
    pub attachable: bool,
    /// Nothing but a configuration that other networks are made from: no container can join.
    pub config_only: bool,
    /// The network whose configuration it took; empty for its own.
    pub config_from: String,
    /// IPv6 is on.
    pub enable_ipv6: bool,
    /// The pools in force (empty for host and none); as asked for in a configuration.
    pub pools: Vec<Pool>,
    /// Driver options as asked.
    pub options: BTreeMap<String, String>,
    /// Address management driver; empty for the node's own.
    pub ipam_driver: String,
    /// Address management options as asked.
    pub ipam_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Interface name of the bridge (bridge driver), e.g. `docker0`, `br-0123456789ab`.
    pub bridge: Option<String>,
}

impl NetworkSpec {
    /// Whether containers get addresses of IPv4: everywhere but where the pools are of IPv6 alone.
    pub fn enable_ipv4(&self) -> bool {
        self.pools.is_empty() || self.pools.iter().any(|pool| pool.subnet.addr.is_ipv4())
    }
}

/// Which driver a network has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// Linux bridge on this host.
    Bridge,
    /// The host's own network.
    Host,
    /// Loopback alone.
    Null,
    /// Sub-interface of a host interface with its own MAC.
    Macvlan,
    /// Sub-interface of a host interface sharing its MAC.
    Ipvlan,
    /// Across the cluster's hosts.
    Overlay,
    /// A plugin, by name.
    Plugin(String),
}

impl DriverKind {
    /// The driver's name in Docker.
    pub fn name(&self) -> &str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Overlay => "overlay",
            Self::Plugin(name) => name,
        }
    }
}

/// An address pool in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The block, host bits cleared.
    pub subnet: Cidr,
    /// Part of it that containers get addresses from, if restricted.
    pub range: Option<Cidr>,
    /// The gateway's address.
    pub gateway: Option<IpAddr>,
    /// Addresses kept free, by name.
    pub reserved: BTreeMap<String, IpAddr>,
    /// The address management plugin's id of it; empty for the node's own.
    pub remote: String,
}

/// How a container joins one network, as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointDraft {
    /// Static IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Static IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Link-local addresses.
    pub link_local: Vec<IpAddr>,
    /// MAC address, six bytes.
    pub mac: Option<[u8; 6]>,
    /// Further names on this network.
    pub aliases: Vec<String>,
    /// Legacy links `container:alias`.
    pub links: Vec<String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Which network gives the default gateway: the highest.
    pub gateway_priority: i32,
}

impl EndpointDraft {
    /// Takes what only `other` says of the same network: it may be asked for by name and by id.
    pub fn fill(&mut self, other: Self) {
        self.ipv4 = self.ipv4.or(other.ipv4);
        self.ipv6 = self.ipv6.or(other.ipv6);
        self.mac = self.mac.or(other.mac);
        for (own, theirs) in [(&mut self.aliases, other.aliases), (&mut self.links, other.links)] {
            own.extend(theirs);
            own.dedup();
        }
        self.link_local.extend(other.link_local);
        for (name, value) in other.options {
            self.options.entry(name).or_insert(value);
        }
        if self.gateway_priority == 0 {
            self.gateway_priority = other.gateway_priority;
        }
    }
}

/// A container on a network, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Drawn at random, 64 hex digits (Docker's EndpointID).
    pub id: String,
    /// The network.
    pub network: NetworkId,
    /// The network's name when attached.
    pub network_name: String,
    /// The container.
    pub container: ContainerId,
    /// As asked.
    pub draft: EndpointDraft,
    /// IPv4 address and prefix.
    pub ipv4: Option<Cidr>,
    /// IPv6 address and prefix.
    pub ipv6: Option<Cidr>,
    /// IPv4 gateway.
    pub gateway: Option<Ipv4Addr>,
    /// IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// MAC address.
    pub mac: Option<[u8; 6]>,
    /// Names answered for it by DNS: aliases, container name, short id.
    pub dns_names: Vec<String>,
    /// Interface on the host's side (veth), if any.
    pub host_interface: Option<String>,
    /// Interface in the container, if any.
    pub interface: Option<String>,
}

/// A network for inspection: itself and who is on it.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkView {
    /// The network.
    pub spec: NetworkSpec,
    /// Endpoints of running containers, with the container's name.
    pub endpoints: Vec<(String, Endpoint)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_asked_for_twice_is_asked_for_what_both_say() {
        let mac = Some([2, 0x42, 0xac, 0x11, 0, 0x42]);
        let mut by_id = EndpointDraft { mac, ..EndpointDraft::default() };
        let ipv4 = Some(Ipv4Addr::new(172, 30, 0, 2));
        let aliases = vec!["web".to_owned()];
        by_id.fill(EndpointDraft { ipv4, aliases, ..EndpointDraft::default() });
        assert_eq!((by_id.mac, by_id.ipv4, by_id.aliases.len()), (mac, ipv4, 1));
    }

    #[test]
    fn cidr_arithmetic() {
        let c = |t: &str| Cidr::parse(t).unwrap();
        assert_eq!(c("172.17.3.4/16").network(), c("172.17.0.0/16"));
        assert_eq!(c("10.0.0.1/0").network(), c("0.0.0.0/0"));
        assert_eq!(c("fd00::1/64").network(), c("fd00::/64"));
        assert!(c("172.17.0.0/16").overlaps(c("172.17.200.0/24")));
        assert!(c("172.17.200.0/24").overlaps(c("172.17.0.0/16")));
        assert!(!c("172.17.0.0/16").overlaps(c("172.18.0.0/16")));
        assert!(!c("0.0.0.0/0").contains("fd00::1".parse().unwrap()));
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "fd00::/129", "x/8", "1.2.3/8"] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }
}
