//! Where a container's default routes and published ports lead: through which of its networks, for
//! each family of addresses. Decides; what is decided is made by `net`.

use super::Actor;
use crate::node::Node;
use crate::{Result, etc};
use model::NetworkId;
use model::network::{Endpoint, PortBinding};
use net::{Lead, ways_out};

/// A network that a container is on, or will be: its id, its name and its priority.
pub(super) type Candidate<'a> = (&'a NetworkId, &'a str, i32);

/// Positions of the networks that lead out over IPv4 and IPv6.
pub(super) fn ways(node: &Node, networks: &[Candidate<'_>], ipv6: bool) -> [Option<usize>; 2] {
    let families = |(id, _, _): &Candidate<'_>| {
        let [v4, v6] = node.net.leads_out(id);
        [v4, v6 && ipv6]
    };
    let lead = |it| Lead { families: families(it), name: it.1, priority: it.2 };
    let leads: Vec<Lead<'_>> = networks.iter().map(lead).collect();
    ways_out(&leads)
}

/// An endpoint as a candidate.
pub(super) fn candidate(endpoint: &Endpoint) -> Candidate<'_> {
    (&endpoint.network, &endpoint.network_name, endpoint.draft.gateway_priority)
}

/// The endpoints that published ports lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct Landing {
    /// Behind the host's addresses; the owner of all that is published.
    pub(super) first: Option<Endpoint>,
    /// Behind those of IPv6, where another network leads out over it.
    pub(super) six: Option<Endpoint>,
}

impl Landing {
    /// Where ports lead by the endpoints there are: the ways out, else the first.
    pub(super) fn of(node: &Node, endpoints: &[Endpoint], ipv6: bool) -> Self {
        let linked: Vec<&Endpoint> = endpoints.iter().filter(|it| it.interface.is_some()).collect();
        let candidates: Vec<Candidate<'_>> = linked.iter().map(|it| candidate(it)).collect();
        let [four, six] = ways(node, &candidates, ipv6);
        let at = |at: usize| linked.get(at).map(|endpoint| (*endpoint).clone());
        Self {
            first: four.or(six).or(Some(0)).and_then(at),
            six: six.filter(|six| four.is_some_and(|four| four != *six)).and_then(at),
        }
    }

    /// Whether ports lead to the same endpoints.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let id = |endpoint: &Option<Endpoint>| endpoint.as_ref().map(|it| it.id.clone());
        (id(&self.first), id(&self.six)) == (id(&other.first), id(&other.six))
    }

    /// Publishes ports there; none where there is nowhere.
    pub(super) fn publish(&self, node: &Node, ports: &[PortBinding]) -> Result<Vec<PortBinding>> {
        match &self.first {
            Some(first) => Ok(node.net.publish_over(first, self.six.as_ref(), ports)?),
            None => Ok(Vec::new()),
        }
    }

    /// Takes everything published back.
    pub(super) fn unpublish(&self, node: &Node) -> Result<()> {
        self.first.as_ref().map_or(Ok(()), |first| Ok(node.net.unpublish(first)?))
    }
}

impl Actor {
    /// Where published ports lead.
    pub(super) fn landing(&self) -> Landing {
        let ipv6 = etc::has_ipv6(&self.definition.spec);
        Landing::of(&self.node, &self.state.endpoints, ipv6)
    }

    /// The endpoints that lead out over IPv4 and IPv6.
    pub(super) fn ways_out(&self) -> [Option<Endpoint>; 2] {
        let endpoints = &self.state.endpoints;
        let candidates: Vec<Candidate<'_>> = endpoints.iter().map(candidate).collect();
        let ways = ways(&self.node, &candidates, etc::has_ipv6(&self.definition.spec));
        ways.map(|at| at.and_then(|at| endpoints.get(at)).cloned())
    }
}

/// What was asked for, at the host's ports that are in force: who knows them shall find the
/// container there.
pub(super) fn as_in_force(asked: &[PortBinding], in_force: &[PortBinding]) -> Vec<PortBinding> {
    let mut used = vec![false; in_force.len()];
    let at_port = |ask: &PortBinding| {
        let fits = |(at, now): (usize, &PortBinding)| {
            let port = now.host_ports?.0;
            let here = ask.host_ip.is_none_or(|ip| now.host_ip == Some(ip));
            let inside = ask.host_ports.is_none_or(|(low, high)| (low..=high).contains(&port));
            (!used[at] && now.container == ask.container && here && inside).then_some((at, port))
        };
        let Some((_, port)) = in_force.iter().enumerate().find_map(fits) else {
            return ask.clone();
        };
        // One of each family.
        for (at, now) in in_force.iter().enumerate() {
            used[at] |= now.container == ask.container && now.host_ports == Some((port, port));
        }
        PortBinding { host_ports: Some((port, port)), ..ask.clone() }
    };
    asked.iter().map(at_port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::network::{PortSpec, Protocol};

    fn port(host_ip: Option<&str>, host_ports: Option<(u16, u16)>, container: u16) -> PortBinding {
        PortBinding {
            container: PortSpec { port: container, protocol: Protocol::Tcp },
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_ports,
        }
    }

    #[test]
    fn ephemeral_ports_stay_where_they_were() {
        let one = |n| Some((n, n));
        let asked = [
            port(None, None, 80),
            port(None, None, 80),
            port(Some("127.0.0.1"), Some((9000, 9010)), 81),
            port(None, one(8080), 82),
            port(None, None, 83),
        ];
        let in_force = [
            port(Some("0.0.0.0"), one(32768), 80),
            port(Some("::"), one(32768), 80),
            port(Some("0.0.0.0"), one(32769), 80),
            port(Some("127.0.0.1"), one(9004), 81),
            port(Some("0.0.0.0"), one(8080), 82),
        ];
        let ports: Vec<_> =
            as_in_force(&asked, &in_force).into_iter().map(|it| it.host_ports).collect();
        assert_eq!(ports, [one(32768), one(32769), one(9004), one(8080), None]);
    }
}
