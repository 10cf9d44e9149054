//! Endpoints: containers joining and leaving networks, and their published ports.

use crate::apply::{self, Executor};
use crate::error::{Error, Result};
use crate::netlink::{self, Socket};
use crate::netns::within;
use crate::nft::{Publication, can_translate};
use crate::plan::{self, EndpointFacts, endpoint_mac};
use crate::ports::{Wanted, binding};
use crate::service::{Known, Net, Network};
use crate::sysctl;
use model::error::Denied;
use model::network::{DriverKind, Endpoint, EndpointDraft, PortBinding};
use model::{ContainerId, NetworkId};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::BorrowedFd;

/// A request to join a container to a network.
#[derive(Clone, Copy, Debug)]
pub struct Attach<'a> {
    /// The network; made or restored before.
    pub network: &'a NetworkId,
    /// The container.
    pub container: &'a ContainerId,
    /// Its name, answered by DNS.
    pub container_name: &'a str,
    /// Its network namespace (`/proc/PID/ns/net` or a bound file).
    pub netns: BorrowedFd<'a>,
    /// What was asked.
    pub draft: &'a EndpointDraft,
    /// N of `ethN` in the container.
    pub index: u32,
    /// The default route goes through this network (replacing another's).
    pub default_route: bool,
}

/// What a restarted daemon knows of one endpoint of a running container.
#[derive(Clone, Copy, Debug)]
pub struct Adopt<'a> {
    /// As returned by [`Net::attach`].
    pub endpoint: &'a Endpoint,
    /// As returned by [`Net::publish`].
    pub ports: &'a [PortBinding],
}

impl Net {
    /// Joins a container's namespace to a network. Undone completely on failure. On `host` and
    /// `none` networks nothing is made and the endpoint has neither address nor interface.
    pub fn attach(&self, ask: &Attach<'_>) -> Result<Endpoint> {
        let network = self.network(ask.network)?;
        let mut endpoint = draw_endpoint(ask, &network)?;
        self.register(&endpoint)?;
        if network.spec.driver == DriverKind::Bridge
            && let Err(error) = self.lease(&mut endpoint, &network, ask)
        {
            self.forget(&endpoint);
            return Err(error);
        }
        if let Err(error) = self.connect(&endpoint, &network, ask) {
            self.forget(&endpoint);
            return Err(error);
        }
        self.dns.learn(&endpoint, &network);
        Ok(endpoint)
    }

    /// Notes the endpoint, so that its network cannot be deleted under it any more.
    fn register(&self, endpoint: &Endpoint) -> Result<()> {
        let mut state = self.lock();
        if !state.networks.contains_key(&endpoint.network) {
            return Err(Error::NoSuchNetwork(endpoint.network.to_string()));
        }
        let known = Known { network: endpoint.network, container: endpoint.container };
        state.endpoints.insert(endpoint.id.clone(), known);
        Ok(())
    }

    pub(crate) fn network(&self, id: &NetworkId) -> Result<Network> {
        let found = self.lock().networks.get(id).cloned();
        found.ok_or_else(|| Error::NoSuchNetwork(id.to_string()))
    }

    /// Gives the endpoint its addresses.
    fn lease(&self, endpoint: &mut Endpoint, network: &Network, ask: &Attach<'_>) -> Result<()> {
        check_draft(ask.draft, network)?;
        let spec = &network.spec;
        let whose = (&spec.id, spec.name.as_str());
        let mut state = self.lock();
        endpoint.ipv4 = state.ipam.lease(whose, true, ask.draft.ipv4.map(IpAddr::V4))?;
        let v6 = ask.draft.ipv6.map(IpAddr::V6);
        if spec.enable_ipv6 || v6.is_some() {
            endpoint.ipv6 = state.ipam.lease(whose, false, v6)?;
        }
        drop(state);
        let of = |addr: IpAddr| {
            let pool = spec.pools.iter().find(|p| p.subnet.contains(addr));
            pool.and_then(|p| p.gateway).filter(|_| !spec.internal)
        };
        if let Some(IpAddr::V4(gateway)) = endpoint.ipv4.and_then(|c| of(c.addr)) {
            endpoint.gateway = Some(gateway);
        }
        if let Some(IpAddr::V6(gateway)) = endpoint.ipv6.and_then(|c| of(c.addr)) {
            endpoint.gateway6 = Some(gateway);
        }
        let addr = endpoint.ipv4.or(endpoint.ipv6).map(|cidr| cidr.addr);
        endpoint.mac = ask.draft.mac.or(addr.map(endpoint_mac));
        Ok(())
    }

    /// Makes the links.
    fn connect(&self, endpoint: &Endpoint, network: &Network, ask: &Attach<'_>) -> Result<()> {
        let bridged_translation =
            sysctl::read("bridge/bridge-nf-call-iptables").as_deref() == Some("1");
        let facts = EndpointFacts {
            spec: &network.spec,
            options: &network.options,
            bridged_translation,
            default_route: ask.default_route,
        };
        let plan = plan::endpoint(endpoint, facts);
        if plan.host.is_empty() {
            return Ok(());
        }
        let settings = plan::inside_settings(endpoint.ipv6.is_some());
        let mut inside = within(ask.netns, || {
            settings.iter().try_for_each(sysctl::Sysctl::apply)?;
            Socket::open(netlink::Family::Route, 0)
        })?;
        let mut outside = Socket::open(netlink::Family::Route, 0)?;
        let mut host = Executor::new(&mut outside, Some(ask.netns));
        host.apply(&plan.host)?;
        let made = Executor::new(&mut inside, None).apply(&plan.inside);
        let made = made.and_then(|()| host.apply(&plan.after));
        if made.is_err() {
            host.undo();
        }
        made
    }

    /// Removes link, lease, names and published ports of an endpoint. Idempotent; works when the
    /// container's namespace is already gone.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<()> {
        let unpublished = self.unpublish(endpoint);
        let unlinked = match &endpoint.host_interface {
            Some(link) if self.lock().endpoints.contains_key(&endpoint.id) => {
                Socket::open(netlink::Family::Route, 0)
                    .and_then(|mut socket| apply::delete_link(&mut socket, link))
            }
            _ => Ok(()),
        };
        // The address is free once nothing answers for it.
        unlinked?;
        self.forget(endpoint);
        unpublished
    }

    /// Drops lease and names.
    fn forget(&self, endpoint: &Endpoint) {
        let mut state = self.lock();
        if state.endpoints.remove(&endpoint.id).is_some() {
            for cidr in [endpoint.ipv4, endpoint.ipv6].into_iter().flatten() {
                state.ipam.release(&endpoint.network, cidr.addr);
            }
        }
        let gone = !state.endpoints.values().any(|e| e.container == endpoint.container);
        drop(state);
        self.dns.unlearn(endpoint);
        if gone {
            self.stop_dns(&endpoint.container);
        }
    }

    /// Makes `endpoint` the container's way out (after its former default network was
    /// disconnected).
    pub fn route_through(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
        let mut socket = within(netns, || Socket::open(netlink::Family::Route, 0))?;
        Executor::new(&mut socket, None).apply(&plan::routes(endpoint))
    }

    /// Publishes ports of an endpoint: all or none. Returns the bindings in force, one host port
    /// each (`host_ports` = `Some((p, p))`, `host_ip` = `Some`). On internal networks nothing is
    /// published, as in Docker.
    pub fn publish(&self, endpoint: &Endpoint, ask: &[PortBinding]) -> Result<Vec<PortBinding>> {
        let network = self.network(&endpoint.network)?;
        if ask.is_empty() || network.spec.internal {
            return Ok(Vec::new());
        }
        let Some(firewall) = self.firewall() else {
            let message = "ports cannot be published: the daemon's firewall rules are turned off";
            return Err(Denied::unsupported(message).into());
        };
        let mut wanted = Vec::with_capacity(ask.len());
        for port in ask {
            wanted.extend(host_sides(port, endpoint, &network)?);
        }
        let taken = self.lock().ports.take(&endpoint.id, &wanted)?;
        let elements = Publication::elements(&taken);
        if let Err(error) = firewall.change(elements, &[]) {
            self.lock().ports.give_back(&taken);
            return Err(error);
        }
        firewall.forget_flows(&taken)?;
        Ok(taken.iter().map(binding).collect())
    }

    /// Whether an endpoint has ports published.
    pub fn publishes(&self, endpoint: &Endpoint) -> bool {
        !self.lock().ports.of(&endpoint.id).is_empty()
    }

    /// Takes back every port of an endpoint. Idempotent.
    pub fn unpublish(&self, endpoint: &Endpoint) -> Result<()> {
        let taken = self.lock().ports.of(&endpoint.id);
        let Some(firewall) = self.firewall().filter(|_| !taken.is_empty()) else { return Ok(()) };
        let elements = Publication::elements(&taken);
        firewall.change(Vec::new(), &elements)?;
        self.lock().ports.give_back(&taken);
        firewall.forget_flows(&taken)
    }

    /// Replaces the names that DNS answers for an endpoint (after a container rename).
    pub fn rename(&self, endpoint: &mut Endpoint, container_name: &str) -> Result<()> {
        let network = self.network(&endpoint.network)?;
        endpoint.dns_names = dns_names(container_name, &endpoint.container, &endpoint.draft);
        self.dns.unlearn(endpoint);
        self.dns.learn(endpoint, &network);
        Ok(())
    }

    /// Takes a running container's endpoint over after a daemon restart: lease, names, ports.
    pub fn adopt(&self, ask: &Adopt<'_>) -> Result<()> {
        let endpoint = ask.endpoint;
        let network = self.network(&endpoint.network)?;
        let mut state = self.lock();
        let whose = (&endpoint.network, network.spec.name.as_str());
        for cidr in [endpoint.ipv4, endpoint.ipv6].into_iter().flatten() {
            state.ipam.lease(whose, cidr.addr.is_ipv4(), Some(cidr.addr))?;
        }
        let known = Known { network: endpoint.network, container: endpoint.container };
        state.endpoints.insert(endpoint.id.clone(), known);
        let ports: Vec<Publication> =
            ask.ports.iter().filter_map(|port| in_force(port, endpoint)).collect();
        for port in &ports {
            state.ports.adopt(&endpoint.id, *port);
        }
        drop(state);
        let elements = Publication::elements(&ports);
        self.dns.learn(endpoint, &network);
        self.firewall().map_or(Ok(()), |firewall| firewall.change(elements, &[]))
    }
}

fn draw_endpoint(ask: &Attach<'_>, network: &Network) -> Result<Endpoint> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|e| Error::io("draw an endpoint id")(std::io::Error::other(e.to_string())))?;
    let id = NetworkId::from_bytes(random).to_string();
    let bridged = network.spec.driver == DriverKind::Bridge;
    Ok(Endpoint {
        host_interface: bridged.then(|| format!("veth{}", &id[..7])),
        interface: bridged.then(|| format!("eth{}", ask.index)),
        id,
        network: network.spec.id,
        network_name: network.spec.name.clone(),
        container: *ask.container,
        draft: ask.draft.clone(),
        ipv4: None,
        ipv6: None,
        gateway: None,
        gateway6: None,
        mac: None,
        dns_names: dns_names(ask.container_name, ask.container, ask.draft),
    })
}

/// Container name, aliases, short id, each once: Docker's order.
fn dns_names(name: &str, container: &ContainerId, draft: &EndpointDraft) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let all = [name.to_owned()].into_iter().chain(draft.aliases.iter().cloned());
    for name in all.chain([container.short()]) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn check_draft(draft: &EndpointDraft, network: &Network) -> Result<(), Denied> {
    if network.options.is_default && (draft.ipv4.is_some() || draft.ipv6.is_some()) {
        return Err(Denied::invalid(
            "user specified IP address is supported on user defined networks only",
        ));
    }
    if network.options.is_default && !draft.aliases.is_empty() {
        return Err(Denied::invalid(
            "network-scoped aliases are only supported for user-defined networks",
        ));
    }
    if draft.mac.is_some_and(|mac| mac[0] & 1 == 1 || mac == [0; 6]) {
        return Err(Denied::invalid("the MAC address is not a unicast address"));
    }
    Ok(())
}

/// On which host addresses a port is published, and where to.
fn host_sides(
    port: &PortBinding,
    endpoint: &Endpoint,
    network: &Network,
) -> Result<Vec<Wanted>, Denied> {
    let default = network.options.host_binding;
    let mut hosts = vec![port.host_ip.unwrap_or(default)];
    if port.host_ip.is_none() && default.is_unspecified() && endpoint.ipv6.is_some() {
        hosts.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }
    let side = |host: IpAddr| {
        let cidr = if host.is_ipv4() { endpoint.ipv4 } else { endpoint.ipv6 };
        let addr = cidr.map(|c| c.addr).filter(|_| can_translate(host)).ok_or_else(|| {
            Denied::unsupported(format!(
                "cannot publish port {} on {host}: network {} has no address of that family",
                port.container.port, endpoint.network_name
            ))
        })?;
        let wanted = Wanted { host, host_ports: port.host_ports, addr, container: port.container };
        Ok(wanted)
    };
    hosts.into_iter().map(side).collect()
}

/// The publication behind a binding in force.
fn in_force(binding: &PortBinding, endpoint: &Endpoint) -> Option<Publication> {
    let host = binding.host_ip?;
    let (port, _) = binding.host_ports?;
    let cidr = if host.is_ipv4() { endpoint.ipv4 } else { endpoint.ipv6 }?;
    let port = model::network::PortSpec { port, protocol: binding.container.protocol };
    Some(Publication { host, port, addr: cidr.addr, target: binding.container.port })
}
