//! Who can reach the published ports of a container, and by which rule: what the firewall does, in
//! words. Changes nothing.

use crate::error::Result;
use crate::nft::{Gateway, Publication, Way};
use crate::options::FirewallMark;
use crate::service::{Net, Network};
use model::network::{Endpoint, PortSpec};
use std::net::{IpAddr, SocketAddr};

/// One way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The container's port; `None` for every one.
    pub port: Option<PortSpec>,
    /// Where those outside address it.
    pub at: String,
    /// Who reaches it.
    pub who: String,
    /// What lets them, so that an administrator finds it.
    pub rule: String,
}

impl Net {
    /// The ways in to an endpoint, in order of its ports. Rules of `DOCKER-USER` come before any
    /// of them.
    pub fn exposure(&self, endpoint: &Endpoint) -> Result<Vec<Exposure>> {
        let network = self.network(&endpoint.network)?;
        let mut published = self.lock().ports.of(&endpoint.id);
        published.sort_by_key(|it| (it.target, it.port, it.host));
        let mut all: Vec<Exposure> = published.iter().map(of_port).collect();
        let options = self.options();
        let direct = published.iter().filter(|it| options.direct_routing && it.is_open());
        all.extend(direct.map(at_its_address));
        let links = &network.options.trusted;
        let open = published.iter().filter(|it| it.is_open());
        all.extend(open.flat_map(|it| links.iter().map(|link| from_behind(it, link))));
        all.extend(open_addresses(endpoint, &network));
        if let Some(mark) = options.accept_mark {
            all.extend(by_mark(endpoint, &network, mark));
        }
        Ok(all)
    }
}

fn of_port(it: &Publication) -> Exposure {
    let port = PortSpec { port: it.target, ..it.port };
    let host = SocketAddr::new(it.host, it.port.port).to_string();
    let table = if it.addr.is_ipv4() { "ip" } else { "ip6" };
    let (at, who, rule) = match it.way {
        Way::Translated => {
            (host, reach_of(it.host), format!("nft {table} estiba arrive, {}", map(it)))
        }
        Way::Guarded => (
            host,
            format!("{}, as far as its input rules accept", reach_of(it.host)),
            format!("the host's input rules, then nft {table} estiba asked, {}", map(it)),
        ),
        Way::Direct => (
            SocketAddr::new(it.addr, it.target).to_string(),
            format!("whoever has a route to {}", it.addr),
            format!("nft {table} estiba between, @direct"),
        ),
        Way::Relayed => (
            host,
            format!("{}, as far as its input rules accept", reach_of(it.host)),
            "the host's input rules, then a socket of the daemon".to_owned(),
        ),
    };
    Exposure { port: Some(port), at, who, rule }
}

/// A published port at the container's own address (`allow-direct-routing`).
fn at_its_address(it: &Publication) -> Exposure {
    let direct = of_port(&Publication { way: Way::Direct, ..*it });
    Exposure { rule: format!("{} (allow-direct-routing)", direct.rule), ..direct }
}

/// A published port at the container's own address, from one side (`trusted_host_interfaces`).
fn from_behind(it: &Publication, link: &str) -> Exposure {
    let table = if it.addr.is_ipv4() { "ip" } else { "ip6" };
    Exposure {
        who: format!("whoever comes by {link} and has a route to {}", it.addr),
        rule: format!("nft {table} estiba between, @trusted (trusted_host_interfaces)"),
        ..of_port(&Publication { way: Way::Direct, ..*it })
    }
}

/// Every port, for packets that somebody marked (`bridge-accept-fwmark`).
fn by_mark(endpoint: &Endpoint, network: &Network, mark: FirewallMark) -> Vec<Exposure> {
    let addresses = [endpoint.ipv4, endpoint.ipv6].into_iter().flatten().map(|cidr| cidr.addr);
    let exposure = |addr: IpAddr| Exposure {
        port: None,
        at: addr.to_string(),
        who: format!("what carries the mark {:#x}/{:#x}", mark.value, mark.mask),
        rule: format!(
            "nft {} estiba between (bridge-accept-fwmark)",
            if addr.is_ipv4() { "ip" } else { "ip6" }
        ),
    };
    addresses.filter(|_| !network.spec.internal).map(exposure).collect()
}

fn map(it: &Publication) -> String {
    match it.host.is_unspecified() {
        true => format!("@published-any ({} {})", it.port.protocol.name(), it.port.port),
        false => format!("@published ({} {} {})", it.host, it.port.protocol.name(), it.port.port),
    }
}

fn reach_of(host: IpAddr) -> String {
    let family = if host.is_ipv4() { "IPv4" } else { "IPv6" };
    match host {
        any if any.is_unspecified() => format!("whoever reaches this host over {family}"),
        loopback if loopback.is_loopback() => "programs of this host".to_owned(),
        one => format!("whoever reaches {one}"),
    }
}

/// Networks whose containers are reached on every port.
fn open_addresses(endpoint: &Endpoint, network: &Network) -> Vec<Exposure> {
    if network.spec.internal {
        return Vec::new();
    }
    let addresses = [endpoint.ipv4, endpoint.ipv6].into_iter().flatten().map(|cidr| cidr.addr);
    let open =
        addresses.filter(|addr| network.options.gateway(addr.is_ipv4()) == Gateway::Unprotected);
    let exposure = |addr: IpAddr| Exposure {
        port: None,
        at: addr.to_string(),
        who: format!("whoever has a route to {addr}"),
        rule: format!(
            "nft {} estiba between, @open (gateway mode nat-unprotected)",
            if addr.is_ipv4() { "ip" } else { "ip6" }
        ),
    };
    open.map(exposure).collect()
}
