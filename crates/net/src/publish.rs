//! Published ports of endpoints: on which addresses of the host, by which way, for whom.

use crate::error::{Error, Result};
use crate::nft::{Element, Gateway, Publication, Way, can_translate};
use crate::options::PublishPolicy;
use crate::ports::{HELD_PER_REQUEST, Owner, Side, Wanted, binding};
use crate::round;
use crate::service::{Net, Network};
use crate::sysctl;
use model::error::Denied;
use model::network::{DriverKind, Endpoint, PortBinding, PortSpec, Protocol};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

impl Net {
    /// Publishes ports of an endpoint: all or none. Returns the bindings in force, one host port
    /// each (`host_ports` = `Some((p, p))`, `host_ip` = `Some`; no host port where the network is
    /// routed to). On internal networks nothing is published, as in Docker.
    pub fn publish(&self, endpoint: &Endpoint, ask: &[PortBinding]) -> Result<Vec<PortBinding>> {
        self.publish_over(endpoint, None, ask)
    }

    /// [`Net::publish`] where the host's IPv6 addresses lead to another endpoint, `six`. All of it
    /// is the first one's: it is taken back there.
    pub fn publish_over(
        &self,
        endpoint: &Endpoint,
        six: Option<&Endpoint>,
        ask: &[PortBinding],
    ) -> Result<Vec<PortBinding>> {
        let place = self.place(endpoint, six)?;
        if ask.is_empty() || !place.first.publishes() {
            return Ok(Vec::new());
        }
        // Relays of a range would be as many sockets.
        let relays = ask.len() <= HELD_PER_REQUEST;
        let mut wanted = Vec::with_capacity(ask.len());
        for port in ask {
            wanted.push(place.wanted(port, relays)?);
        }
        let taken = self.lock().ports.take(&owner(endpoint), &wanted)?;
        let Some(firewall) = self.firewall() else {
            return Ok(taken.iter().map(binding).collect());
        };
        let guarded = taken.iter().any(|port| port.way == Way::Guarded);
        let laid = match guarded {
            true => round::lay().and_then(|link| firewall.go_round_by(link)),
            false => Ok(()),
        };
        sys::failpoint::hit("net.port.taken");
        let _steady = self.publishing();
        let elements = self.elements(&taken, self.options().direct_routing);
        if let Err(error) = laid.and_then(|()| firewall.change(elements, &[])) {
            self.lock().ports.give_back(&taken);
            return Err(error);
        }
        sys::failpoint::hit("net.port.laid");
        firewall.forget_flows(&taken)?;
        let bindings = taken.iter().map(binding).collect();
        if !relays {
            // What a range of thousands was asked, computed and told with is not needed again.
            drop((wanted, taken));
            sys::resident::trim_memory();
        }
        Ok(bindings)
    }

    fn place<'a>(&self, endpoint: &'a Endpoint, six: Option<&'a Endpoint>) -> Result<Place<'a>> {
        let home = |endpoint: &'a Endpoint| {
            Ok::<_, Error>(Home { endpoint, network: self.network(&endpoint.network)? })
        };
        let six = six.map(home).transpose()?.filter(Home::publishes);
        Ok(Place { first: home(endpoint)?, six, firewall: self.firewall().is_some() })
    }

    /// Whether an endpoint has ports published.
    pub fn publishes(&self, endpoint: &Endpoint) -> bool {
        self.lock().ports.has(&endpoint.id)
    }

    /// Takes back every port of an endpoint. Idempotent.
    pub fn unpublish(&self, endpoint: &Endpoint) -> Result<()> {
        let taken = self.lock().ports.of(&endpoint.id);
        self.take_back(&taken, &[])
    }

    /// Takes back those ports of an endpoint that are in force as `bindings` say, and ends the
    /// connections through them. Idempotent.
    pub fn unpublish_some(&self, endpoint: &Endpoint, bindings: &[PortBinding]) -> Result<()> {
        let all = self.lock().ports.of(&endpoint.id);
        let (taken, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|port| bindings.contains(&binding(port)));
        self.take_back(&taken, &rest)?;
        match self.firewall() {
            Some(firewall) if !taken.is_empty() => firewall.end_connections(&taken),
            _ => Ok(()),
        }
    }

    /// What the firewall knows of published ports; `direct`: also at the containers' own addresses.
    pub(crate) fn elements(&self, ports: &[Publication], direct: bool) -> Vec<Element> {
        let mut elements = Publication::elements(ports, direct);
        let state = self.lock();
        for network in state.networks.values().filter(|it| !it.options.trusted.is_empty()) {
            let pools = &network.spec.pools;
            let here = |port: &&Publication| pools.iter().any(|it| it.subnet.contains(port.addr));
            for port in ports.iter().filter(|port| port.is_open()).filter(here) {
                elements.extend(network.options.trusted.iter().map(|link| port.trusted(link)));
            }
        }
        elements
    }

    /// Takes ports back; some elements may still be needed by the rest of the endpoint's.
    fn take_back(&self, taken: &[Publication], rest: &[Publication]) -> Result<()> {
        let Some(firewall) = self.firewall().filter(|_| !taken.is_empty()) else {
            self.lock().ports.give_back(taken);
            return Ok(());
        };
        let _steady = self.publishing();
        let direct = self.options().direct_routing;
        let kept: BTreeSet<Element> = self.elements(rest, direct).into_iter().collect();
        let mut elements = self.elements(taken, direct);
        elements.retain(|element| !kept.contains(element));
        firewall.change(Vec::new(), &elements)?;
        sys::failpoint::hit("net.port.taken-back");
        self.lock().ports.give_back(taken);
        firewall.forget_flows(taken)
    }

    /// Takes over what a former daemon published.
    pub(crate) fn adopt_ports(
        &self,
        (endpoint, six): (&Endpoint, Option<&Endpoint>),
        bindings: &[PortBinding],
    ) -> Result<()> {
        let place = self.place(endpoint, six)?;
        let ports: Vec<Publication> =
            bindings.iter().filter_map(|port| place.in_force(port)).collect();
        let owner = owner(endpoint);
        ports.iter().for_each(|port| self.lock().ports.adopt(&owner, *port));
        let Some(firewall) = self.firewall() else { return Ok(()) };
        if ports.iter().any(|port| port.way == Way::Guarded) {
            firewall.go_round_by(round::lay()?)?;
        }
        firewall.change(self.elements(&ports, self.options().direct_routing), &[])
    }
}

fn owner(endpoint: &Endpoint) -> Arc<Owner> {
    let container = endpoint.container.short();
    Arc::new(Owner { endpoint: endpoint.id.clone(), container })
}

/// An endpoint and its network.
#[derive(Clone)]
struct Home<'a> {
    endpoint: &'a Endpoint,
    network: Network,
}

impl Home<'_> {
    /// Whether its network publishes ports at all.
    fn publishes(&self) -> bool {
        let spec = &self.network.spec;
        spec.driver == DriverKind::Bridge && !spec.internal
    }
}

/// Where ports are published.
#[derive(Clone)]
struct Place<'a> {
    /// Behind the host's addresses.
    first: Home<'a>,
    /// Behind those of IPv6, where another network leads out over it.
    six: Option<Home<'a>>,
    /// The firewall is ours to change.
    firewall: bool,
}

impl Place<'_> {
    fn home(&self, host: IpAddr) -> &Home<'_> {
        self.six.as_ref().filter(|_| host.is_ipv6()).unwrap_or(&self.first)
    }

    /// On which host addresses a port is published, and where to.
    fn wanted(&self, port: &PortBinding, relays: bool) -> Result<Wanted, Denied> {
        let sides = match port.host_ip {
            Some(host) => vec![self.side(host, port.container)?],
            None => self.default_sides(port.container, relays)?,
        };
        Ok(Wanted { sides, host_ports: port.host_ports, container: port.container })
    }

    /// Without an address a port is published on every one of the host's, of both families.
    fn default_sides(&self, port: PortSpec, relays: bool) -> Result<Vec<Side>, Denied> {
        let options = &self.first.network.options;
        let loopback = options.publish_policy == PublishPolicy::Loopback;
        let host = match options.host_binding {
            any if any.is_unspecified() && loopback => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host,
        };
        if !host.is_unspecified() {
            return Ok(vec![self.side(host, port)?]);
        }
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let v6 = sysctl::has_ipv6();
        let sides = any.into_iter().filter(|host| host.is_ipv4() || v6);
        let sides = sides.filter_map(|host| self.side(host, port).ok());
        let sides: Vec<Side> = sides
            .filter(|side| relays || side.way != Way::Relayed)
            // Behind an address of the other family only where it has no own.
            .filter(|side| side.host.is_ipv6() || side.way != Way::Relayed || !self.firewall)
            .collect();
        match sides.first() {
            Some(_) => Ok(sides),
            None => Err(self.unreachable(any[0], port)),
        }
    }

    fn side(&self, host: IpAddr, port: PortSpec) -> Result<Side, Denied> {
        let Home { endpoint, network } = self.home(host);
        let own = if host.is_ipv4() { endpoint.ipv4 } else { endpoint.ipv6 };
        let other = if host.is_ipv4() { endpoint.ipv6 } else { endpoint.ipv4 };
        let gateway = network.options.gateway(host.is_ipv4());
        let guarded = network.is_guarded() && !host.is_loopback();
        let (addr, way) = match (own, other) {
            (Some(own), _) if gateway == Gateway::Routed => (own, Way::Direct),
            (Some(own), _) if !self.firewall || !can_translate(host) => (own, Way::Relayed),
            (Some(own), _) if guarded => (own, Way::Guarded),
            (Some(own), _) => (own, Way::Translated),
            // What is routed to has no ports at the host.
            (None, Some(_)) if network.options.gateway(host.is_ipv6()) == Gateway::Routed => {
                return Err(self.unreachable(host, port));
            }
            (None, Some(other)) => (other, Way::Relayed),
            (None, None) => return Err(self.unreachable(host, port)),
        };
        if way == Way::Relayed && port.protocol == Protocol::Sctp {
            return Err(self.unreachable(host, port));
        }
        Ok(Side { host, addr: addr.addr, way })
    }

    fn unreachable(&self, host: IpAddr, port: PortSpec) -> Denied {
        Denied::unsupported(format!(
            "cannot publish port {}/{} on {host}: network {} has no address of that family",
            port.port,
            port.protocol.name(),
            self.home(host).endpoint.network_name
        ))
    }

    /// The publication behind a binding in force.
    fn in_force(&self, binding: &PortBinding) -> Option<Publication> {
        let side = self.side(binding.host_ip?, binding.container).ok()?;
        let port = match binding.host_ports {
            Some((port, _)) => port,
            None => binding.container.port,
        };
        let port = PortSpec { port, protocol: binding.container.protocol };
        let target = binding.container.port;
        Some(Publication { host: side.host, port, addr: side.addr, target, way: side.way })
    }
}
