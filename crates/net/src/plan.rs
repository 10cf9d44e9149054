//! What has to be done to make networks and endpoints real, as data. Pure: the executor is
//! `apply.rs`, the rules are `nft`'s.
//!
//! ```text
//!            host                                    │  container
//!  ┌───────────────────────┐   veth pair, made whole │ ┌──────────────────────┐
//!  │ bridge docker0 .0.1   ├── vethXXXXXXX ══════════╪═╡ eth0  address, route │
//!  └───────────────────────┘   port of the bridge    │ └──────────────────────┘
//! ```

use crate::bridge::BridgeOptions;
use crate::netlink::Mode;
use crate::remote::Joined;
use crate::sublink::SublinkOptions;
use crate::sysctl::Sysctl;
use model::NetworkId;
use model::network::{Cidr, Endpoint, NetworkSpec};
use std::net::IpAddr;

/// One act on the links of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetOp {
    /// Create a bridge. Undone by deleting it.
    Bridge { name: String, mac: [u8; 6], mtu: u32 },
    /// Mark a link as ours.
    Alias { link: String, alias: String },
    /// Change a kernel setting of the namespace.
    Set(Sysctl),
    /// Give a link an address.
    Address { link: String, cidr: Cidr },
    /// Set a link up.
    Up { link: String },
    /// Create a pair with one end in the container. Undone by deleting it.
    Veth { host: String, peer: String, mac: [u8; 6], mtu: u32 },
    /// Create a link under another, in the container.
    Sublink { parent: String, peer: String, mode: Mode, mac: Option<[u8; 6]>, mtu: Option<u32> },
    /// Move a link into the container.
    Move { link: String, peer: String },
    /// Give a link a hardware address.
    Mac { link: String, mac: [u8; 6] },
    /// Send what goes to a block out by a link.
    Route { link: String, to: Cidr, via: Option<IpAddr> },
    /// Send what goes elsewhere out by a link, without a gateway.
    DeviceRoute { link: String, v4: bool },
    /// Plug a link into a bridge and set it up.
    Port { link: String, bridge: String, hairpin: bool, isolated: bool, ipv6: bool, alias: String },
    /// Send what goes elsewhere this way.
    DefaultRoute { link: String, gateway: IpAddr },
    /// Wait until the kernel has put a link into service.
    Settle { link: String },
    /// The same for the other end, left on the host, of the pair whose end was moved to `peer`, and
    /// for the bridge it may be a port of.
    SettleFar { peer: String },
}

/// What has to be done on each side, in this order. Undone in reverse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkPlan {
    /// In the daemon's namespace.
    pub host: Vec<NetOp>,
    /// In the container's.
    pub inside: Vec<NetOp>,
    /// In the daemon's again.
    pub after: Vec<NetOp>,
}

/// What the plan of a bridge depends on besides its specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BridgeFacts {
    /// The interface exists, ours or made by the administrator.
    pub exists: bool,
    /// It is ours: made by us, removed by us.
    pub ours: bool,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
}

/// Prefix of the alias of our bridges; the network's id follows.
pub(crate) const NETWORK_ALIAS: &str = "estiba network ";
/// Prefix of the alias of our links to containers; the endpoint's id follows.
pub(crate) const ENDPOINT_ALIAS: &str = "estiba endpoint ";

/// The alias that marks a network's bridge.
pub(crate) fn network_alias(id: &NetworkId) -> String {
    format!("{NETWORK_ALIAS}{id}")
}

/// The plan that makes a bridge network real, given what is there already.
pub(crate) fn bridge(
    spec: &NetworkSpec,
    options: &BridgeOptions,
    facts: &BridgeFacts,
) -> NetworkPlan {
    let Some(name) = spec.bridge.clone() else { return NetworkPlan::default() };
    let mut host = Vec::new();
    if !facts.exists {
        host.push(NetOp::Bridge {
            name: name.clone(),
            mac: bridge_mac(&spec.id),
            mtu: options.mtu,
        });
    }
    if !facts.exists || facts.ours {
        host.push(NetOp::Alias { link: name.clone(), alias: network_alias(&spec.id) });
    }
    let v6_off = if spec.enable_ipv6 { "0" } else { "1" };
    host.push(NetOp::Set(Sysctl::optional(format!("ipv6/conf/{name}/disable_ipv6"), v6_off)));
    if spec.enable_ipv6 {
        // Addresses are handed out by us: nobody has to be asked whether they are free, which
        // would keep the link from its neighbours for a second or two.
        for (setting, value) in [("accept_ra", "0"), ("accept_dad", "0"), ("dad_transmits", "0")] {
            host.push(NetOp::Set(Sysctl::new(format!("ipv6/conf/{name}/{setting}"), value)));
        }
        host.push(NetOp::Set(Sysctl::new("ipv6/conf/all/forwarding", "1")));
    }
    if !spec.internal {
        // Lets 127.0.0.1:port reach a container; `nft::rules` keeps others out.
        host.push(NetOp::Set(Sysctl::new(format!("ipv4/conf/{name}/route_localnet"), "1")));
    }
    if !options.icc {
        // Ports that are kept from each other meet at the host, whose rules know who is linked
        // (RFC 3069; arp_fwd_pvlan in the kernel). At once: there is nobody else to answer.
        host.push(NetOp::Set(Sysctl::new(format!("ipv4/neigh/{name}/proxy_delay"), "0")));
        host.push(NetOp::Set(Sysctl::new(format!("ipv4/conf/{name}/proxy_arp_pvlan"), "1")));
    }
    for pool in &spec.pools {
        let Some(addr) = pool.gateway.filter(|addr| options.has_gateway(addr.is_ipv4())) else {
            continue;
        };
        let cidr = Cidr { addr, prefix: pool.subnet.prefix };
        let held = |own: &Cidr| own.addr == addr && own.prefix != cidr.prefix;
        if addr.is_ipv6() && facts.addresses.iter().any(held) {
            // The kernel has an IPv6 address once, whatever its prefix is: what the new one adds is
            // a route.
            host.push(NetOp::Route { link: name.clone(), to: pool.subnet, via: None });
        } else if !facts.addresses.contains(&cidr) {
            host.push(NetOp::Address { link: name.clone(), cidr });
        }
    }
    host.push(NetOp::Up { link: name });
    NetworkPlan { host, ..NetworkPlan::default() }
}

/// What the plan of an endpoint depends on besides itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointFacts<'a> {
    /// Its network.
    pub spec: &'a NetworkSpec,
    /// The network's options.
    pub options: &'a BridgeOptions,
    /// br_netfilter translates bridged frames: they may have to leave as they came.
    pub bridged_translation: bool,
    /// The kernel has IPv6.
    pub ipv6: bool,
    /// The default routes that go through this endpoint: IPv4's, IPv6's.
    pub ways: [bool; 2],
    /// Options of a network of links under another.
    pub sublink: Option<&'a SublinkOptions>,
}

/// The plan that joins a container to a network.
pub(crate) fn endpoint(endpoint: &Endpoint, facts: EndpointFacts<'_>) -> NetworkPlan {
    match (facts.sublink, &endpoint.interface) {
        (Some(options), Some(peer)) => sublink_endpoint(endpoint, (options, peer), facts),
        _ => bridge_endpoint(endpoint, facts),
    }
}

/// What is done in the container once the link is there.
fn inside(endpoint: &Endpoint, peer: &str) -> Vec<NetOp> {
    let local = endpoint.draft.link_local.iter().map(|addr| {
        let prefix = if addr.is_ipv4() { 16 } else { 64 };
        Cidr { addr: *addr, prefix }
    });
    let peer = peer.to_owned();
    let given = [endpoint.ipv4, endpoint.ipv6].into_iter().flatten();
    let addresses = given.chain(local).map(|cidr| NetOp::Address { link: peer.clone(), cidr });
    let mut inside: Vec<NetOp> = addresses.collect();
    inside.extend([NetOp::Up { link: "lo".to_owned() }, NetOp::Up { link: peer.clone() }]);
    if endpoint.ipv6.is_some() {
        // IPv6 begins when the link is in service; IPv4 does not care.
        inside.push(NetOp::Settle { link: peer });
    }
    inside
}

/// A link that a plugin made on the host.
pub(crate) fn plugin_endpoint(
    endpoint: &Endpoint,
    (joined, peer): (&Joined, &str),
    ways: [bool; 2],
) -> NetworkPlan {
    let peer = peer.to_owned();
    let mut host = Vec::new();
    // Whether it has a link or not.
    let mut inside_ops = vec![NetOp::Up { link: "lo".to_owned() }];
    let mut after = Vec::new();
    if let Some(link) = &joined.link {
        // The plugin has set its end up while this one was down: it comes into service now.
        after.push(NetOp::SettleFar { peer: peer.clone() });
        host.push(NetOp::Move { link: link.clone(), peer: peer.clone() });
        inside_ops.extend(endpoint.mac.map(|mac| NetOp::Mac { link: peer.clone(), mac }));
        inside_ops.extend(inside(endpoint, &peer));
        let routes = joined.routes.iter();
        inside_ops.extend(routes.map(|(to, via)| NetOp::Route {
            link: peer.clone(),
            to: *to,
            via: *via,
        }));
        let [v4, v6] = ways;
        let gateways = joined.gateways.iter().filter(|it| if it.is_ipv4() { v4 } else { v6 });
        inside_ops.extend(
            gateways.map(|gateway| NetOp::DefaultRoute { link: peer.clone(), gateway: *gateway }),
        );
    }
    NetworkPlan { host, inside: inside_ops, after }
}

/// A link under the network's parent: no end of it is on the host.
fn sublink_endpoint(
    endpoint: &Endpoint,
    (options, peer): (&SublinkOptions, &str),
    facts: EndpointFacts<'_>,
) -> NetworkPlan {
    let link = NetOp::Sublink {
        parent: options.parent.clone(),
        peer: peer.to_owned(),
        mode: options.mode,
        mac: endpoint.mac,
        mtu: facts.spec.options.contains_key(crate::bridge::MTU).then_some(facts.options.mtu),
    };
    let mut inside = inside(endpoint, peer);
    inside.extend(routes(endpoint, options.routes_by_device(), facts.ways));
    NetworkPlan { host: vec![link], inside, after: Vec::new() }
}

fn bridge_endpoint(endpoint: &Endpoint, facts: EndpointFacts<'_>) -> NetworkPlan {
    let (Some(host), Some(peer), Some(bridge), Some(mac)) = (
        endpoint.host_interface.clone(),
        endpoint.interface.clone(),
        facts.spec.bridge.clone(),
        endpoint.mac,
    ) else {
        return NetworkPlan::default();
    };
    let veth = NetOp::Veth { host: host.clone(), peer: peer.clone(), mac, mtu: facts.options.mtu };
    // A link comes up in the kernel's own time, up to a second on a busy host, and until then
    // drops what it should carry. Link before bridge: the one's service makes the other's.
    let after = [&host, &bridge].map(|link| NetOp::Settle { link: link.clone() }).to_vec();
    let port = NetOp::Port {
        link: host,
        bridge,
        hairpin: facts.bridged_translation,
        isolated: !facts.options.icc,
        ipv6: facts.ipv6 && facts.options.has_room_for_ipv6(),
        alias: format!("{ENDPOINT_ALIAS}{}", endpoint.id),
    };
    let mut inside = inside(endpoint, &peer);
    inside.extend(routes(endpoint, false, facts.ways));
    NetworkPlan { host: vec![veth, port], inside, after }
}

/// The default routes through an endpoint, for the families in `ways`: by its gateways, or
/// straight out by its link where whoever has an address answers there (`by_device`).
pub(crate) fn routes(endpoint: &Endpoint, by_device: bool, ways: [bool; 2]) -> Vec<NetOp> {
    let link = endpoint.interface.clone().unwrap_or_default();
    let gateways = [endpoint.gateway.map(IpAddr::V4), endpoint.gateway6.map(IpAddr::V6)];
    let has = [endpoint.ipv4.is_some(), endpoint.ipv6.is_some()];
    let route = |family: usize| match (by_device, gateways[family]) {
        (true, _) if has[family] => {
            Some(NetOp::DeviceRoute { link: link.clone(), v4: family == 0 })
        }
        (false, Some(gateway)) => Some(NetOp::DefaultRoute { link: link.clone(), gateway }),
        _ => None,
    };
    [0, 1].into_iter().filter(|family| ways[*family]).filter_map(route).collect()
}

/// Settings a container's namespace needs before an interface of this endpoint appears in it:
/// IPv6 is off unless asked for, and never configured by what others announce (law F4). With
/// `announce` the kernel tells the neighbours whose an address is when the interface comes up.
pub(crate) fn inside_settings(ipv6: bool, announce: bool) -> Vec<Sysctl> {
    let off = if ipv6 { "0" } else { "1" };
    // Where the host has IPv6 switched off, new namespaces may begin without it, loopback too.
    let lo = ipv6.then(|| Sysctl::optional("ipv6/conf/lo/disable_ipv6", "0"));
    let rest = [
        Sysctl::optional("ipv6/conf/default/disable_ipv6", off),
        Sysctl::optional("ipv6/conf/default/accept_ra", "0"),
        Sysctl::optional("ipv6/conf/default/accept_dad", "0"),
        Sysctl::optional("ipv6/conf/default/dad_transmits", "0"),
    ];
    let told = ["ipv4/conf/default/arp_notify", "ipv6/conf/default/ndisc_notify"];
    let told = told.into_iter().filter(|_| announce).map(|path| Sysctl::optional(path, "1"));
    lo.into_iter().chain(rest).chain(told).collect()
}

/// A hardware address for a bridge: locally administered, fixed by the network's id.
pub(crate) fn bridge_mac(id: &NetworkId) -> [u8; 6] {
    let [a, b, c, d, ..] = *id.as_bytes();
    [0x02, 0x42, a, b, c, d]
}

/// A hardware address for the host's end of a pair, by which it is known as ours before it has an
/// alias: fixed by its name, which is `veth` and seven hexadecimal digits.
pub(crate) fn host_end_mac(link: &str) -> Option<[u8; 6]> {
    let digits = link.strip_prefix("veth").filter(|digits| digits.len() == 7)?;
    let [a, b, c, d] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some([0x06, 0x65, a, b, c, d])
}

/// A container's hardware address, as Docker's: fixed by its address, so that neighbours' caches
/// stay right when the address is given again.
pub(crate) fn endpoint_mac(addr: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match addr {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [a, b, c, d]
        }
    };
    [0x02, 0x42, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use model::network::{DriverKind, EndpointDraft, Pool};
    use model::{ContainerId, Timestamp};
    use std::collections::BTreeMap;

    fn spec(internal: bool, icc: bool) -> NetworkSpec {
        let pool = Pool {
            subnet: Cidr::parse("172.18.0.0/16").unwrap(),
            range: None,
            gateway: "172.18.0.1".parse().ok(),
            reserved: BTreeMap::new(),
            remote: String::new(),
        };
        let icc = (crate::bridge::ICC.to_owned(), icc.to_string());
        NetworkSpec {
            id: NetworkId::from_bytes([7; 32]),
            name: "one".into(),
            created: Timestamp(1),
            driver: DriverKind::Bridge,
            internal,
            attachable: false,
            config_only: false,
            config_from: String::new(),
            enable_ipv6: false,
            pools: vec![pool],
            options: BTreeMap::from([icc]),
            ipam_driver: String::new(),
            ipam_options: BTreeMap::new(),
            labels: BTreeMap::new(),
            bridge: Some("br-1".into()),
        }
    }

    fn options(spec: &NetworkSpec) -> BridgeOptions {
        BridgeOptions::read(&spec.options, &Options::default()).unwrap()
    }

    /// One short line per act.
    fn lines(ops: &[NetOp]) -> Vec<String> {
        ops.iter()
            .map(|op| match op {
                NetOp::Bridge { name, mtu, .. } => format!("bridge {name} {mtu}"),
                NetOp::Alias { link, alias } => format!("alias {link} {}", &alias[..14]),
                NetOp::Set(sysctl) => format!("set {}={}", sysctl.path, sysctl.value),
                NetOp::Address { link, cidr } => format!("address {link} {cidr}"),
                NetOp::Up { link } => format!("up {link}"),
                NetOp::Veth { host, peer, mac, mtu } => {
                    format!("veth {host} {peer} {mac:02x?} {mtu}")
                }
                NetOp::Port { link, bridge, hairpin, isolated, .. } => {
                    format!("port {link} {bridge} hairpin={hairpin} isolated={isolated}")
                }
                NetOp::DefaultRoute { link, gateway } => format!("default {gateway} {link}"),
                NetOp::Settle { link } => format!("settle {link}"),
                NetOp::SettleFar { peer } => format!("settle the other end of {peer}"),
                NetOp::Sublink { parent, peer, .. } => format!("sublink {peer} of {parent}"),
                NetOp::DeviceRoute { link, v4 } => format!("default {link} v4={v4}"),
                NetOp::Move { link, peer } => format!("move {link} {peer}"),
                NetOp::Mac { link, mac } => format!("mac {link} {mac:02x?}"),
                NetOp::Route { link, to, via } => format!("route {to} {via:?} {link}"),
            })
            .collect()
    }

    #[test]
    fn a_bridge_is_made_and_only_then_set_up() {
        let spec = spec(false, true);
        let plan = bridge(&spec, &options(&spec), &BridgeFacts::default());
        assert_eq!(
            lines(&plan.host),
            [
                "bridge br-1 1500",
                "alias br-1 estiba network",
                "set ipv6/conf/br-1/disable_ipv6=1",
                "set ipv4/conf/br-1/route_localnet=1",
                "address br-1 172.18.0.1/16",
                "up br-1",
            ]
        );
    }

    #[test]
    fn what_is_there_is_kept() {
        let spec = spec(true, true);
        let addresses = vec![Cidr::parse("172.18.0.1/16").unwrap()];
        let theirs = BridgeFacts { exists: true, ours: false, addresses };
        let plan = bridge(&spec, &options(&spec), &theirs);
        assert_eq!(lines(&plan.host), ["set ipv6/conf/br-1/disable_ipv6=1", "up br-1"]);
    }

    #[test]
    fn an_endpoint_is_joined_host_side_first() {
        for (icc, bridged_translation) in [(true, false), (false, true)] {
            let spec = spec(false, icc);
            let joined = Endpoint {
                id: "e".repeat(64),
                network: spec.id,
                network_name: "one".into(),
                container: ContainerId::from_bytes([9; 32]),
                draft: EndpointDraft::default(),
                ipv4: Cidr::parse("172.18.0.2/16").ok(),
                ipv6: None,
                gateway: "172.18.0.1".parse().ok(),
                gateway6: None,
                mac: Some(endpoint_mac("172.18.0.2".parse().unwrap())),
                dns_names: Vec::new(),
                host_interface: Some("veth1".into()),
                interface: Some("eth0".into()),
            };
            let options = options(&spec);
            let facts = EndpointFacts {
                spec: &spec,
                options: &options,
                bridged_translation,
                ipv6: true,
                ways: [true, true],
                sublink: None,
            };
            let plan = endpoint(&joined, facts);
            let port = format!("port veth1 br-1 hairpin={bridged_translation} isolated={}", !icc);
            assert_eq!(
                lines(&plan.host),
                ["veth veth1 eth0 [02, 42, ac, 12, 00, 02] 1500", port.as_str()]
            );
            assert_eq!(
                lines(&plan.inside),
                ["address eth0 172.18.0.2/16", "up lo", "up eth0", "default 172.18.0.1 eth0"]
            );
            assert_eq!(lines(&plan.after), ["settle veth1", "settle br-1"]);
        }
    }
}
