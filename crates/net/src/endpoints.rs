//! Endpoints: containers joining and leaving networks.

use crate::apply::{self, Executor};
use crate::endpoint_options::{self, interface_name};
use crate::error::{Error, Result};
use crate::netlink::{self, Batch, Socket};
use crate::netns::within;
use crate::networks::{GATEWAY_V4, GATEWAY_V6};
use crate::nft::{Claim, Element};
use crate::plan::{self, EndpointFacts, endpoint_mac};
use crate::remote::{has_remote_ipam, sandbox, told};
use crate::service::{Known, Net, Network};
use crate::sysctl;
use model::error::Denied;
use model::network::{DriverKind, Endpoint, EndpointDraft, Pool, PortBinding};
use model::{ContainerId, NetworkId};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

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
    /// Names of interfaces that the container has already, or will have.
    pub taken: &'a [String],
    /// The default routes that go through this network, replacing another's: IPv4's, IPv6's.
    pub ways: [bool; 2],
    /// Whether the container has IPv6 at all: without, it gets no address of it.
    pub ipv6: bool,
}

/// What a restarted daemon knows of one endpoint of a running container.
#[derive(Clone, Copy, Debug)]
pub struct Adopt<'a> {
    /// As returned by [`Net::attach`].
    pub endpoint: &'a Endpoint,
    /// The endpoint behind ports of IPv6's addresses, where it is another.
    pub six: Option<&'a Endpoint>,
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
        if has_links(&network)
            && let Err(error) = self.lease(&mut endpoint, &network, ask)
        {
            self.forget(&endpoint);
            return Err(error);
        }
        sys::failpoint::hit("net.endpoint.leased");
        let connected = match &network.spec.driver {
            DriverKind::Plugin(driver) => self.join_plugin(&mut endpoint, (driver, &network), ask),
            _ => self.connect(&endpoint, &network, ask),
        };
        if let Err(error) = connected {
            self.forget(&endpoint);
            return Err(error);
        }
        sys::failpoint::hit("net.endpoint.connected");
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
        if has_remote_ipam(&spec.ipam_driver) {
            self.request_addresses(spec, endpoint)?;
        } else {
            let mut state = self.lock();
            endpoint.ipv4 = state.ipam.lease(whose, true, ask.draft.ipv4.map(IpAddr::V4))?;
            let v6 = ask.draft.ipv6.map(IpAddr::V6);
            if ask.ipv6 && (spec.enable_ipv6 || v6.is_some()) {
                endpoint.ipv6 = state.ipam.lease(whose, false, v6)?;
            }
        }
        let of = |addr: IpAddr| {
            let pool = spec.pools.iter().find(|p| p.subnet.contains(addr));
            let known = !spec.internal && network.options.has_gateway(addr.is_ipv4());
            let name = if addr.is_ipv4() { GATEWAY_V4 } else { GATEWAY_V6 };
            let asked = pool.and_then(|p| p.reserved.get(name).copied());
            asked.or(pool.and_then(|p| p.gateway)).filter(|_| known)
        };
        if let Some(IpAddr::V4(gateway)) = endpoint.ipv4.and_then(|c| of(c.addr)) {
            endpoint.gateway = Some(gateway);
        }
        if let Some(IpAddr::V6(gateway)) = endpoint.ipv6.and_then(|c| of(c.addr)) {
            endpoint.gateway6 = Some(gateway);
        }
        let addr = endpoint.ipv4.or(endpoint.ipv6).map(|cidr| cidr.addr);
        endpoint.mac = ask.draft.mac.or(addr.map(endpoint_mac));
        if network.sublink.as_ref().is_some_and(|sublink| !sublink.has_mac()) {
            endpoint.mac = None;
        }
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
            ipv6: sysctl::has_ipv6(),
            ways: ask.ways,
            sublink: network.sublink.as_ref(),
        };
        let plan = plan::endpoint(endpoint, facts);
        if plan.host.is_empty() {
            return Ok(());
        }
        // Before the link is: it never speaks unheard.
        let claim = claim(endpoint, network);
        if let Some(firewall) = self.firewall() {
            firewall.change(claim.clone(), &[])?;
        }
        sys::failpoint::hit("net.endpoint.claimed");
        // Of others' addresses neighbours may remember others' hardware addresses.
        let foreseen = ask.draft.mac.is_none() && network.sublink.is_none();
        let announce = network.options.announce && !foreseen;
        let made = self.make_links(endpoint, (ask, announce), &plan);
        if let (Err(_), Some(firewall)) = (&made, self.firewall()) {
            firewall.change(Vec::new(), &claim)?;
        }
        made
    }

    fn make_links(
        &self,
        endpoint: &Endpoint,
        (ask, announce): (&Attach<'_>, bool),
        plan: &plan::NetworkPlan,
    ) -> Result<()> {
        let name = endpoint.interface.as_deref().unwrap_or_default();
        let own = endpoint_options::sysctls(ask.draft, name)?;
        let settings = plan::inside_settings(endpoint.ipv6.is_some(), announce);
        let mut inside = within(ask.netns, || {
            settings.iter().try_for_each(sysctl::Sysctl::apply)?;
            Socket::open(netlink::Family::Route, 0)
        })?;
        let mut outside = Socket::open(netlink::Family::Route, 0)?;
        let mut host = Executor::new(&mut outside, Some(ask.netns));
        host.apply(&plan.host)?;
        sys::failpoint::hit("net.endpoint.linked");
        let made = Executor::new(&mut inside, None).apply(&plan.inside);
        sys::failpoint::hit("net.endpoint.inside");
        let made = made.and_then(|()| match own.is_empty() {
            true => Ok(()),
            false => within(ask.netns, || own.iter().try_for_each(sysctl::Sysctl::apply)),
        });
        let made = made.and_then(|()| host.apply(&plan.after));
        if made.is_err() {
            host.undo();
            if let (None, Some(link)) = (&endpoint.host_interface, &endpoint.interface) {
                let _ = apply::delete_link(&mut inside, link);
            }
        }
        made
    }

    /// Sets up the loopback of a namespace that joins no network.
    pub fn loopback(&self, netns: BorrowedFd<'_>) -> Result<()> {
        let mut socket = within(netns, || Socket::open(netlink::Family::Route, 0))?;
        let mut batch = Batch::new();
        netlink::set_up(&mut batch, "lo");
        socket.transact(batch)
    }

    /// Takes the link of an endpoint out of a namespace that goes on, where none of its ends is on
    /// the host. Before [`Net::detach`]; nothing for bridges.
    pub fn withdraw(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
        let Some(link) = &endpoint.interface else { return Ok(()) };
        let driver = self.network(&endpoint.network)?.spec.driver;
        let mut socket = within(netns, || Socket::open(netlink::Family::Route, 0))?;
        match (&endpoint.host_interface, driver) {
            (None, _) => apply::delete_link(&mut socket, link),
            // The plugin gets its link back as it gave it.
            (Some(home), DriverKind::Plugin(_)) => {
                let host =
                    sys::netns::open(Path::new("/proc/thread-self/ns/net")).map_err(Error::from)?;
                let Some(found) = netlink::link_by_name(&mut socket, link)? else { return Ok(()) };
                let mut batch = Batch::new();
                netlink::set_down(&mut batch, link);
                netlink::move_link(&mut batch, found.index, (home, host.as_fd()));
                socket.transact(batch)
            }
            _ => Ok(()),
        }
    }

    /// Lets a plugin make the link.
    fn join_plugin(
        &self,
        endpoint: &mut Endpoint,
        (driver, network): (&str, &Network),
        ask: &Attach<'_>,
    ) -> Result<()> {
        let remote = self.remote()?;
        remote.create_endpoint(driver, &network.spec, endpoint)?;
        let joined = remote.join(driver, endpoint, &sandbox(ask.netns));
        let made = joined.map_err(Error::from).and_then(|joined| {
            let prefix = Some(joined.prefix.as_str()).filter(|prefix| !prefix.is_empty());
            let name = interface_name(ask.draft, prefix.unwrap_or("eth"), ask.taken)?;
            endpoint.host_interface.clone_from(&joined.link);
            endpoint.interface = joined.link.is_some().then(|| name.clone());
            for gateway in &joined.gateways {
                match gateway {
                    IpAddr::V4(gateway) => endpoint.gateway = Some(*gateway),
                    IpAddr::V6(gateway) => endpoint.gateway6 = Some(*gateway),
                }
            }
            let plan = plan::plugin_endpoint(endpoint, (&joined, &name), ask.ways);
            self.make_links(endpoint, (ask, false), &plan)
        });
        if made.is_err() {
            told(remote.leave(driver, endpoint));
            told(remote.delete_endpoint(driver, endpoint));
        }
        made
    }

    fn leave_plugin(&self, endpoint: &Endpoint, driver: &str) -> Result<()> {
        let remote = self.remote()?;
        told(remote.leave(driver, endpoint));
        told(remote.delete_endpoint(driver, endpoint));
        Ok(())
    }

    /// Removes link, lease, names and published ports of an endpoint. Idempotent; works when the
    /// container's namespace is already gone.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<()> {
        let unpublished = self.unpublish(endpoint);
        sys::failpoint::hit("net.endpoint.unpublished");
        let known = self.lock().endpoints.contains_key(&endpoint.id);
        let driver = self.network(&endpoint.network).map(|network| network.spec.driver);
        let unlinked = match (&endpoint.host_interface, driver) {
            (_, Ok(DriverKind::Plugin(driver))) if known => self.leave_plugin(endpoint, &driver),
            (Some(link), _) if known => self.removals.remove(link),
            _ => Ok(()),
        };
        sys::failpoint::hit("net.endpoint.unlinked");
        // The address is free once nothing answers for it.
        unlinked?;
        let network = self.network(&endpoint.network);
        let links = self.replace_links(endpoint, Vec::new());
        let unclaimed = match (self.firewall(), network) {
            (Some(firewall), Ok(network)) => {
                firewall.change(Vec::new(), &[claim(endpoint, &network), links].concat())
            }
            _ => Ok(()),
        };
        sys::failpoint::hit("net.endpoint.unclaimed");
        self.forget(endpoint);
        unpublished.and(unclaimed)
    }

    /// Drops lease and names.
    fn forget(&self, endpoint: &Endpoint) {
        let mut state = self.lock();
        let known = state.endpoints.remove(&endpoint.id).is_some();
        let remote = state.networks.get(&endpoint.network).map(|network| network.spec.clone());
        let remote = remote.filter(|spec| known && has_remote_ipam(&spec.ipam_driver));
        if known && remote.is_none() {
            for cidr in [endpoint.ipv4, endpoint.ipv6].into_iter().flatten() {
                state.ipam.release(&endpoint.network, cidr.addr);
            }
        }
        let gone = !state.endpoints.values().any(|e| e.container == endpoint.container);
        drop(state);
        if let Some(spec) = remote {
            self.release_addresses(&spec, endpoint);
        }
        self.dns.unlearn(endpoint);
        if gone {
            self.stop_dns(&endpoint.container);
        }
    }

    /// Makes `endpoint` the container's way out for these families, IPv4 and IPv6 (after the one
    /// that was it left).
    pub fn route_through(
        &self,
        endpoint: &Endpoint,
        ways: [bool; 2],
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let sublink = self.network(&endpoint.network)?.sublink;
        let by_device = sublink.is_some_and(|sublink| sublink.routes_by_device());
        let mut socket = within(netns, || Socket::open(netlink::Family::Route, 0))?;
        Executor::new(&mut socket, None).apply(&plan::routes(endpoint, by_device, ways))
    }

    /// For which families containers on the network get a default route: IPv4, IPv6.
    pub fn leads_out(&self, id: &NetworkId) -> [bool; 2] {
        let Ok(network) = self.network(id) else { return [false; 2] };
        let spec = &network.spec;
        if spec.internal || !has_links(&network) {
            return [false; 2];
        }
        if matches!(spec.driver, DriverKind::Plugin(_)) {
            // Only the plugin knows; what it does not give is not laid.
            return [spec.enable_ipv4(), spec.enable_ipv6];
        }
        let by_device = network.sublink.as_ref().is_some_and(|it| it.routes_by_device());
        [true, false].map(|v4| {
            let leads = |pool: &Pool| {
                pool.gateway.is_some() && network.options.has_gateway(v4) || by_device
            };
            spec.pools.iter().any(|pool| pool.subnet.addr.is_ipv4() == v4 && leads(pool))
        })
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
        let leased = [endpoint.ipv4, endpoint.ipv6].into_iter().flatten();
        for cidr in leased.filter(|_| !has_remote_ipam(&network.spec.ipam_driver)) {
            state.ipam.lease(whose, cidr.addr.is_ipv4(), Some(cidr.addr))?;
        }
        let known = Known { network: endpoint.network, container: endpoint.container };
        state.endpoints.insert(endpoint.id.clone(), known);
        drop(state);
        self.dns.learn(endpoint, &network);
        if let Some(firewall) = self.firewall() {
            firewall.change(claim(endpoint, &network), &[])?;
        }
        sys::failpoint::hit("net.endpoint.adopted");
        self.adopt_ports((endpoint, ask.six), ask.ports)
    }
}

/// What the frames' table knows of an endpoint (law F6).
fn claim(endpoint: &Endpoint, network: &Network) -> Vec<Element> {
    let (Some(link), Some(mac)) = (&endpoint.host_interface, endpoint.mac) else {
        return Vec::new();
    };
    if !network.options.anti_spoofing || network.spec.driver != DriverKind::Bridge {
        return Vec::new();
    }
    let given = [endpoint.ipv4, endpoint.ipv6].into_iter().flatten().map(|cidr| cidr.addr);
    let addresses = given.chain(endpoint.draft.link_local.iter().copied()).collect();
    Claim { link, mac, addresses }.elements()
}

fn draw_endpoint(ask: &Attach<'_>, network: &Network) -> Result<Endpoint> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|e| Error::io("draw an endpoint id")(std::io::Error::other(e.to_string())))?;
    let id = NetworkId::from_bytes(random).to_string();
    let bridged = network.spec.driver == DriverKind::Bridge;
    let linked = has_links(network);
    Ok(Endpoint {
        host_interface: bridged.then(|| format!("veth{}", &id[..7])),
        interface: linked
            .then(|| interface_name(ask.draft, &network.options.interface_prefix, ask.taken))
            .transpose()?,
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

/// Whether containers get an interface of their own on the network.
fn has_links(network: &Network) -> bool {
    !matches!(network.spec.driver, DriverKind::Host | DriverKind::Null)
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
    draft.aliases.iter().try_for_each(|alias| check_alias(alias))?;
    if draft.mac.is_some_and(|mac| mac[0] & 1 == 1 || mac == [0; 6]) {
        return Err(Denied::invalid("the MAC address is not a unicast address"));
    }
    Ok(())
}

/// Refuses what no program could ask for (RFC 1035 2.3.4).
fn check_alias(alias: &str) -> Result<(), Denied> {
    let label = |label: &str| (1..=63).contains(&label.len());
    let text = |c: char| !c.is_control() && !c.is_whitespace();
    if alias.len() <= 253 && alias.split('.').all(label) && alias.chars().all(text) {
        return Ok(());
    }
    Err(Denied::invalid(format!(
        "invalid network alias {alias:?}: a name has at most 253 bytes, in parts of 1 to 63 bytes \
         between dots, without spaces or control characters"
    )))
}
