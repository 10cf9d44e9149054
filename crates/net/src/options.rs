//! What the daemon's configuration decides about networks. Values only; never reads a file.

use crate::nft::{ALLOWED, PASSED};
use crate::outside::Outside;
use crate::remote::Remote;
use crate::routes::RouteNews;
use model::network::Cidr;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

/// Daemon-wide choices, named after `dockerd`'s flags where those exist.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the default bridge's interface (`--bridge`); Docker's is `docker0`.
    pub bridge: String,
    /// Address and subnet of the default bridge (`--bip`); `None` takes the first free pool.
    pub bridge_address: Option<Cidr>,
    /// Subnet part the default bridge hands out (`--fixed-cidr`).
    pub fixed_range: Option<Cidr>,
    /// Where containers of the default bridge send what goes elsewhere, when it is not to the
    /// bridge itself (`--default-gateway`).
    pub default_gateway: Option<IpAddr>,
    /// The same for IPv6 (`--default-gateway-v6`).
    pub default_gateway6: Option<IpAddr>,
    /// IPv6 on the default bridge (`--ipv6`).
    pub ipv6: bool,
    /// IPv6 address and subnet of the default bridge (`--bip6`).
    pub bridge_address6: Option<Cidr>,
    /// IPv6 subnet of the default bridge (`--fixed-cidr-v6`).
    pub fixed_range6: Option<Cidr>,
    /// Options of networks that do not say, by driver (`--default-network-opt`).
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Where subnets come from when none is asked for (`--default-address-pool`).
    pub pools: Vec<AddressPool>,
    /// Lay firewall rules (`--iptables`). Off: no isolation, no publishing, no masquerade.
    pub firewall: bool,
    /// Turn IPv4 forwarding on when it is off (`--ip-forward`).
    pub ip_forward: bool,
    /// Where we turned forwarding on, still refuse to route what is not ours (the inverse of
    /// `--ip-forward-no-drop`).
    pub drop_foreign: bool,
    /// Masquerade what leaves bridges (`--ip-masq`).
    pub masquerade: bool,
    /// Containers of the default bridge reach each other (`--icc`).
    pub icc: bool,
    /// Host address for ports published without one (`--ip`).
    pub host_binding: IpAddr,
    /// MTU of bridges and container interfaces, bytes (`--mtu`).
    pub mtu: u32,
    /// Let containers reach 169.254.0.0/16, where clouds keep instance credentials (law F7).
    pub link_local_egress: bool,
    /// Who reaches ports that are published without saying more.
    pub publish_policy: PublishPolicy,
    /// Published ports are reached at the container's own address too, by whoever has a route there
    /// (`--allow-direct-routing`).
    pub direct_routing: bool,
    /// What carries this mark may pass into networks, whatever our rules say; never into internal
    /// ones (`--bridge-accept-fwmark`).
    pub accept_mark: Option<FirewallMark>,
    /// Containers' links speak for their own addresses alone (law F6).
    pub anti_spoofing: bool,
    /// How the administrator's iptables rules are heard (`DOCKER-USER`).
    pub iptables: Iptables,
    /// The socket of the system's bus, by which firewalld is asked.
    pub system_bus: PathBuf,
    /// Drivers outside the daemon.
    pub remote: Option<Arc<dyn Remote>>,
    /// Who opens the host's ports, where they are not this namespace's.
    pub outside: Option<Arc<dyn Outside>>,
    /// Who is told of routes of the host that come later and overlap a network.
    pub route_news: Option<Arc<dyn RouteNews>>,
    /// Where the host's resolvers are named.
    pub resolv_conf: PathBuf,
    /// The directory of the resolver's socket, and leave to start this very program as
    /// `estiba-resolver` (see [`crate::run_resolver`]); `None`: the resolver is a thread, and ends
    /// with the daemon.
    pub resolver: Option<PathBuf>,
    /// Own the rules where the kernel can (6.9): nobody else's flush removes them. Off only to
    /// test the way of older kernels.
    pub own_rules: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bridge: "docker0".to_owned(),
            bridge_address: None,
            fixed_range: None,
            default_gateway: None,
            default_gateway6: None,
            ipv6: false,
            bridge_address6: None,
            fixed_range6: None,
            network_options: BTreeMap::new(),
            pools: AddressPool::docker_defaults(),
            firewall: true,
            ip_forward: true,
            drop_foreign: true,
            masquerade: true,
            icc: true,
            host_binding: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            mtu: 1500,
            link_local_egress: false,
            publish_policy: PublishPolicy::Docker,
            direct_routing: false,
            accept_mark: None,
            anti_spoofing: true,
            iptables: Iptables::default(),
            system_bus: crate::firewalld::system_bus(),
            remote: None,
            outside: None,
            route_news: None,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            resolver: None,
            own_rules: true,
        }
    }
}

/// A mark of packets, as rules of the host's set it, and which of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirewallMark {
    /// The bits.
    pub value: u32,
    /// Which bits are looked at.
    pub mask: u32,
}

impl FirewallMark {
    /// Reads `MARK[/MASK]`, decimal or hexadecimal with `0x`; without a mask every bit counts.
    ///
    /// # Errors
    /// Why it is none, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
        let number = |word: &str| {
            let read = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => word.parse().ok(),
            };
            read.filter(|_| !word.contains('+')).ok_or_else(|| {
                format!("{text:?} is no firewall mark: it is MARK[/MASK], such as 0x1/0x3")
            })
        };
        let (value, mask) = (number(value)?, number(mask)?);
        let ours = PASSED | ALLOWED;
        if value & ours != 0 {
            return Err(format!("{text:?}: the bits {ours:#x} are the engine's own"));
        }
        // Ours are cleared before anybody's mark is looked at.
        let mask = mask & !ours;
        match mask {
            0 => Err(format!("{text:?}: no bit of the mark counts")),
            _ => Ok(Self { value: value & mask, mask }),
        }
    }
}

/// Who reaches a published port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishPolicy {
    /// Whoever reaches the host's address, whatever the host's input rules say: as Docker.
    #[default]
    Docker,
    /// Whom the host's own input rules (ufw, firewalld, nftables, iptables) let in.
    HostFirewall,
    /// The host itself, unless an address is asked for.
    Loopback,
}

impl PublishPolicy {
    /// Reads its name in configuration.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "docker" => Some(Self::Docker),
            "host-firewall" => Some(Self::HostFirewall),
            "loopback" => Some(Self::Loopback),
            _ => None,
        }
    }

    /// Its name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::HostFirewall => "host-firewall",
            Self::Loopback => "loopback",
        }
    }
}

/// The programs that lay iptables rules, so that the administrator's variant is the one used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Iptables {
    /// `iptables-restore` and `ip6tables-restore` where the system has them.
    #[default]
    System,
    /// Exactly these, for IPv4 and IPv6.
    Programs(PathBuf, PathBuf),
    /// Never (a host without iptables).
    Off,
}

/// A block that is cut into subnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The whole block.
    pub base: Cidr,
    /// Prefix length of each subnet cut from it.
    pub size: u8,
}

impl AddressPool {
    /// Docker's own: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in blocks of /20.
    pub fn docker_defaults() -> Vec<Self> {
        let block = |a, b, prefix| Cidr { addr: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), prefix };
        let mut pools: Vec<Self> =
            (17..=31).map(|b| Self { base: block(172, b, 16), size: 16 }).collect();
        pools.push(Self { base: block(192, 168, 16), size: 20 });
        pools
    }
}
