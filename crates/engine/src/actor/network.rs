//! A container's endpoints: made between the birth of its namespaces and its program, remade when
//! it is connected or disconnected, given back when it ends.

use super::ways::{Landing, as_in_force, candidate, ways};
use super::{Actor, links};
use crate::link::Link;
use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::{EngineError, Result, etc, random};
use model::error::HasKind;
use model::event::EventKind;
use model::network::{DriverKind, Endpoint, EndpointDraft, NetworkMode, NetworkSpec, PortBinding};
use model::policy::OWNER_LABEL;
use model::spec::ContainerSpec;
use model::{ContainerId, ContainerName};
use net::{Attach, DnsSettings};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;

/// Name of the network that containers are on when they ask for none.
pub(crate) const DEFAULT_NETWORK: &str = "bridge";

/// The addresses that `host-gateway` stands for.
pub(crate) fn gateways_of_host(node: &Node) -> Vec<IpAddr> {
    let live = node.live();
    if !live.options.host_gateways.is_empty() {
        return live.options.host_gateways.clone();
    }
    let Ok(bridge) = node.networks.find(DEFAULT_NETWORK) else { return Vec::new() };
    let of = |v4| bridge.pools.iter().find_map(|pool| pool.gateway.filter(|it| it.is_ipv4() == v4));
    [of(true), of(false)].into_iter().flatten().collect()
}

/// Whether names are answered by the engine's resolver: on every network but the default one.
pub(super) fn embedded_dns(node: &Node, spec: &ContainerSpec) -> bool {
    node.networks.planned(spec).iter().any(|(network, _)| is_users(network))
}

fn is_users(network: &NetworkSpec) -> bool {
    let own = matches!(network.driver, DriverKind::Host | DriverKind::Null);
    !own && network.name != DEFAULT_NETWORK
}

/// What came of joining networks.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) ports: Vec<PortBinding>,
}

/// A request to join networks, complete, so that it can be carried out on another thread.
struct Join {
    node: Arc<Node>,
    id: ContainerId,
    name: ContainerName,
    spec: ContainerSpec,
    links: Vec<String>,
    netns: OwnedFd,
    monitor: Option<i32>,
}

/// Opens the network namespace of a process.
pub(super) fn netns_of(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(&path)
        .map(OwnedFd::from)
        .map_err(|source| EngineError::io(format!("open {path}"), source))
}

/// Networks being joined on another thread.
pub(super) struct Joining {
    work: JoinHandle<Result<Joined>>,
    /// The same once more, when something is being given back that it may need.
    again: Option<Join>,
}

impl Actor {
    /// Begins to join the networks it was asked to be on, publish its ports, and write down its
    /// names; nothing when the networks are another container's.
    pub(super) fn begin_to_join(&self, netns: OwnedFd) -> Result<Option<Joining>> {
        let spec = &self.definition.spec;
        if matches!(spec.network, NetworkMode::Container(_)) {
            return Ok(None);
        }
        let copied = |source| EngineError::io("keep a network namespace", source);
        let monitor = self.link.as_ref().and_then(Link::monitor);
        let join = |netns| Join {
            monitor,
            node: Arc::clone(&self.node),
            id: self.definition.id,
            name: self.definition.name.clone(),
            spec: spec.clone(),
            links: self.definition.draft.host.links.clone(),
            netns,
        };
        let again = match self.node.teardowns.busy() {
            true => Some(join(netns.try_clone().map_err(copied)?)),
            false => None,
        };
        let first = join(netns);
        let work = tokio::task::spawn_blocking(move || first.carry_out());
        Ok(Some(Joining { work, again }))
    }

    /// What came of it. Undone completely on failure.
    pub(super) async fn joined(&self, joining: Joining) -> Result<Joined> {
        let abandoned = |error| EngineError::Internal(format!("joining was abandoned: {error}"));
        let outcome = joining.work.await.map_err(abandoned)?;
        let joined = match (outcome, joining.again) {
            // What is missing may be just being given back.
            (Err(EngineError::Net(_)), Some(again)) => {
                self.node.teardowns.idle().await;
                blocking(move || again.carry_out()).await?
            }
            (outcome, _) => outcome?,
        };
        for endpoint in &joined.endpoints {
            self.emit_network("connect", endpoint);
        }
        Ok(joined)
    }

    pub(super) fn emit_network(&self, action: &str, endpoint: &Endpoint) {
        if self.quiet {
            return;
        }
        let network = self.node.networks.by_id(&endpoint.network);
        let driver = network.as_ref().map(|network| network.driver.name().to_owned());
        let mut attributes = BTreeMap::from([
            ("container".to_owned(), self.definition.id.to_string()),
            ("name".to_owned(), endpoint.network_name.clone()),
            ("type".to_owned(), driver.unwrap_or_default()),
        ]);
        // It is the container's owner's news, on a shared network too.
        let labels = [Some(&self.definition.spec.labels), network.as_ref().map(|it| &it.labels)];
        let owner = labels.into_iter().flatten().find_map(|labels| labels.get(OWNER_LABEL));
        attributes.extend(owner.map(|owner| (OWNER_LABEL.to_owned(), owner.clone())));
        self.node.emit(EventKind::Network, action, endpoint.network.to_string(), attributes);
    }

    /// Joins one more network while it runs, or notes it for the next start.
    pub(super) async fn connect(
        &mut self,
        network: &NetworkSpec,
        draft: &EndpointDraft,
    ) -> Result<()> {
        self.check_connect(network)?;
        let Some(run) = self.state.phase.run() else {
            self.plan(network, draft);
            return self.redefine();
        };
        let pid = run.pid;
        let netns = Arc::new(netns_of(pid)?);
        let before = self.landing();
        let endpoint = self.attach_live(network, draft, Arc::clone(&netns)).await?;
        if is_users(network) {
            let (node, id) = (Arc::clone(&self.node), self.definition.id);
            let settings = dns_settings(&self.definition.spec, Some(pid));
            let serve = move || Ok(node.net.serve_dns(&id, netns.as_fd(), &settings)?);
            if let Err(error) = blocking(serve).await {
                self.abandon(endpoint).await;
                return Err(error);
            }
        }
        store::failpoint::hit("engine.connect.attached");
        let spec_before = self.definition.spec.clone();
        self.state.endpoints.push(endpoint.clone());
        self.plan(network, draft);
        if let Err(error) = self.rewrite() {
            self.definition.spec = spec_before;
            self.state.endpoints.pop();
            self.abandon(endpoint).await;
            return Err(error);
        }
        store::failpoint::hit("engine.connect.recorded");
        self.emit_network("connect", &endpoint);
        let moved = self.move_landing(&before).await;
        self.networks_changed().and(moved)
    }

    /// One more network in the namespace of the running container.
    async fn attach_live(
        &self,
        network: &NetworkSpec,
        draft: &EndpointDraft,
        netns: Arc<OwnedFd>,
    ) -> Result<Endpoint> {
        let (node, id) = (Arc::clone(&self.node), self.definition.id);
        let name = self.definition.name.clone();
        let (spec, draft_there) = (network.clone(), draft.clone());
        let taken: Vec<String> =
            self.state.endpoints.iter().filter_map(|it| it.interface.clone()).collect();
        let ipv6 = etc::has_ipv6(&self.definition.spec);
        let ways = self.ways_with(network, draft);
        let attach = Arc::new(move || {
            let _joining = node.networks.joining([&spec]);
            let spec = node.networks.current(&spec)?;
            attach_one(
                &node,
                &Attach {
                    network: &spec.id,
                    container: &id,
                    container_name: name.as_str(),
                    netns: netns.as_fd(),
                    draft: &draft_there,
                    taken: &taken,
                    ways,
                    ipv6,
                },
                &spec,
            )
        });
        let (busy, first) = (self.node.teardowns.busy(), Arc::clone(&attach));
        match blocking(move || first()).await {
            // What is missing may be just being given back.
            Err(EngineError::Net(_)) if busy => {
                self.node.teardowns.idle().await;
                blocking(move || attach()).await
            }
            attached => attached,
        }
    }

    /// Takes back an endpoint that was made for nothing.
    async fn abandon(&self, endpoint: Endpoint) {
        let node = Arc::clone(&self.node);
        // What is left of it goes with the next start of the daemon.
        let _ = blocking(move || Ok(node.net.detach(&endpoint)?)).await;
    }

    /// The default routes that would lead through one more network.
    fn ways_with(&self, network: &NetworkSpec, draft: &EndpointDraft) -> [bool; 2] {
        let mut all: Vec<_> = self.state.endpoints.iter().map(candidate).collect();
        all.push((&network.id, &network.name, draft.gateway_priority));
        let last = all.len() - 1;
        let ipv6 = etc::has_ipv6(&self.definition.spec);
        ways(&self.node, &all, ipv6).map(|at| at == Some(last))
    }

    /// Lets published ports lead where the ways out lead now, if that is elsewhere than `before`.
    async fn move_landing(&mut self, before: &Landing) -> Result<()> {
        let after = self.landing();
        let asked = &self.definition.spec.ports;
        if asked.is_empty() || before.is_same(&after) {
            return Ok(());
        }
        let ports = as_in_force(asked, &std::mem::take(&mut self.state.ports));
        let (node, before) = (Arc::clone(&self.node), before.clone());
        self.state.ports = blocking(move || {
            before.unpublish(&node)?;
            store::failpoint::hit("engine.connect.unpublished");
            after.publish(&node, &ports)
        })
        .await?;
        Ok(())
    }

    /// It is on the network from its next start on.
    fn plan(&mut self, network: &NetworkSpec, draft: &EndpointDraft) {
        let spec = &mut self.definition.spec;
        if spec.network == NetworkMode::None {
            spec.network = NetworkMode::Named(network.name.clone());
        }
        spec.endpoints.insert(network.name.clone(), draft.clone());
    }

    fn check_connect(&self, network: &NetworkSpec) -> Result<()> {
        let spec = &self.definition.spec;
        let on_already = self.node.networks.planned(spec).iter().any(|(it, _)| it.id == network.id);
        if on_already {
            return Err(EngineError::Denied(model::Denied {
                kind: model::ErrorKind::Forbidden,
                message: format!(
                    "endpoint with name {} already exists in network {}",
                    self.definition.name, network.name
                ),
            }));
        }
        let denied = match (&spec.network, &network.driver) {
            (NetworkMode::Host, _) | (_, DriverKind::Host) => {
                "container cannot be disconnected from host network or connected to host network"
            }
            (NetworkMode::Container(_), _) => {
                "container sharing network namespace with another container or host cannot be \
                 connected to any other network"
            }
            // One that has left all its networks may come back; one that asked for none may not.
            (NetworkMode::None, _) if self.definition.draft.host.network != NetworkMode::None => {
                return Ok(());
            }
            (NetworkMode::None, _) | (_, DriverKind::Null) => {
                "container cannot be connected to multiple networks with one of the networks in \
                 private (none) mode"
            }
            _ => return Ok(()),
        };
        Err(EngineError::invalid(denied))
    }

    /// Leaves a network, at once when it runs.
    pub(super) async fn disconnect(&mut self, network: &NetworkSpec) -> Result<()> {
        let on = self
            .node
            .networks
            .planned(&self.definition.spec)
            .iter()
            .any(|(known, _)| known.id == network.id);
        let at = self.state.endpoints.iter().position(|it| it.network == network.id);
        if network.driver == DriverKind::Host {
            return Err(EngineError::invalid(
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if !on && at.is_none() {
            return Err(EngineError::conflict(format!(
                "container {} is not connected to network {}",
                self.definition.id, network.name
            )));
        }
        self.node.networks.leave(&mut self.definition.spec, network);
        // Both at once: from here on it is not on the network, whatever happens to the daemon.
        let before = self.landing();
        self.state.leaving = at.map(|at| self.state.endpoints.remove(at));
        let moved = !before.is_same(&self.landing());
        let kept = if moved { std::mem::take(&mut self.state.ports) } else { Vec::new() };
        self.rewrite()?;
        store::failpoint::hit("engine.disconnect.recorded");
        let finished = self.finish_leaving(moved.then_some((before, kept))).await;
        self.networks_changed().and(finished)
    }

    /// Gives back what was made for an endpoint that the container has left by its records; of a
    /// daemon that was killed on the way, too. `moved`: where published ports led until then, if
    /// they lead elsewhere now, and which they were.
    pub(super) async fn finish_leaving(
        &mut self,
        moved: Option<(Landing, Vec<PortBinding>)>,
    ) -> Result<()> {
        let Some(endpoint) = self.state.leaving.take() else { return Ok(()) };
        let (node, left) = (Arc::clone(&self.node), endpoint.clone());
        let run = self.state.phase.run();
        let (before, kept) = moved.unwrap_or_default();
        let ports = as_in_force(&self.definition.spec.ports, &kept);
        let (published, landing) = (self.state.ports.clone(), self.landing());
        let ways = self.ways_out();
        self.state.ports = blocking(move || {
            before.unpublish(&node)?;
            if left.interface.is_some() {
                if let Some(run) = &run {
                    node.net.withdraw(&left, netns_of(run.pid)?.as_fd())?;
                }
                node.net.detach(&left)?;
            }
            store::failpoint::hit("engine.disconnect.detached");
            // Other networks become the ways out, and where the ports lead.
            let Some(run) = run else { return Ok(Vec::new()) };
            let netns = netns_of(run.pid)?;
            for (family, endpoint) in ways.iter().enumerate() {
                if let Some(endpoint) = endpoint {
                    let way = [family == 0, family == 1];
                    node.net.route_through(endpoint, way, netns.as_fd())?;
                }
            }
            match published.is_empty() {
                true => landing.publish(&node, &ports),
                false => Ok(published),
            }
        })
        .await?;
        store::failpoint::hit("engine.disconnect.left");
        self.emit_network("disconnect", &endpoint);
        Ok(())
    }

    pub(super) fn networks_changed(&mut self) -> Result<()> {
        if self.state.phase.run().is_some() {
            let dir = self.node.container_dir(&self.definition.id);
            let linked = &self.definition.draft.host.links;
            links::open(&self.node, &self.state.endpoints, linked)?;
            let links = links(&self.node, linked);
            let gateways = gateways_of_host(&self.node);
            etc::write_hosts(
                &dir,
                &self.definition.spec,
                &self.state.endpoints,
                &gateways,
                &links,
            )?;
            let embedded = embedded_dns(&self.node, &self.definition.spec);
            let host = self.node.live().options.net.resolv_conf.clone();
            etc::write_resolv_conf(&dir, &self.definition.spec, &host, embedded)?;
        }
        store::failpoint::hit("engine.networks.files");
        crate::record::save_state(self.node.store.records(), &self.definition.id, &self.state)?;
        self.publish();
        Ok(())
    }
}

impl Join {
    fn carry_out(self) -> Result<Joined> {
        let mut joined = Joined::default();
        match self.carry_out_into(&mut joined) {
            Ok(()) => Ok(joined),
            Err(error) => {
                leave(&self.node, &self.id, &joined.endpoints);
                Err(error)
            }
        }
    }

    fn carry_out_into(&self, joined: &mut Joined) -> Result<()> {
        let planned = self.node.networks.planned(&self.spec);
        let _joining = self.node.networks.joining(planned.iter().map(|(network, _)| network));
        let mut planned = self.node.networks.planned_or_missing(&self.spec)?;
        let ipv6 = etc::has_ipv6(&self.spec);
        let candidates: Vec<_> = planned
            .iter()
            .map(|(network, draft)| (&network.id, network.name.as_str(), draft.gateway_priority))
            .collect();
        let out = ways(&self.node, &candidates, ipv6);
        let mut asked: Vec<Option<String>> = planned
            .iter()
            .map(|(_, draft)| net::asked_interface(draft).map(str::to_owned))
            .collect();
        for (at, (network, draft)) in planned.iter_mut().enumerate() {
            self.aliases(draft, network);
            if at == 0 && is_users(network) {
                // Links of old, on a network that has names.
                let new = self.links.iter().filter(|link| !draft.links.contains(link));
                let new: Vec<String> = new.cloned().collect();
                draft.links.extend(new);
            }
            // Names that others have or will have.
            let mut taken = asked.clone();
            taken.remove(at);
            let taken: Vec<String> = taken.into_iter().flatten().collect();
            let endpoint = attach_one(
                &self.node,
                &Attach {
                    network: &network.id,
                    container: &self.id,
                    container_name: self.name.as_str(),
                    netns: self.netns.as_fd(),
                    draft,
                    taken: &taken,
                    ways: out.map(|way| way == Some(at)),
                    ipv6,
                },
                network,
            )?;
            asked[at].clone_from(&endpoint.interface);
            joined.endpoints.push(endpoint);
        }
        joined.ports = self.publish(&joined.endpoints, ipv6)?;
        links::open(&self.node, &joined.endpoints, &self.links)?;
        if planned.iter().any(|(network, _)| is_users(network)) {
            let settings = dns_settings(&self.spec, self.monitor);
            self.node.net.serve_dns(&self.id, self.netns.as_fd(), &settings)?;
        }
        let dir = self.node.container_dir(&self.id);
        let gateways = gateways_of_host(&self.node);
        let links = links(&self.node, &self.links);
        etc::write_hosts(&dir, &self.spec, &joined.endpoints, &gateways, &links)
    }

    fn publish(&self, endpoints: &[Endpoint], ipv6: bool) -> Result<Vec<PortBinding>> {
        if self.spec.ports.is_empty() {
            return Ok(Vec::new());
        }
        let landing = Landing::of(&self.node, endpoints, ipv6);
        landing.publish(&self.node, &self.spec.ports).map_err(|error| {
            let hint = HasKind::hint(&error).map(|hint| format!(" ({hint})")).unwrap_or_default();
            let id = landing.first.map(|endpoint| endpoint.id).unwrap_or_default();
            EngineError::internal(format!(
                "failed to set up container networking: driver failed programming external \
                 connectivity on endpoint {} ({id}): {error}{hint}",
                self.name
            ))
        })
    }

    /// The host name answers too, on networks of the user's.
    fn aliases(&self, draft: &mut EndpointDraft, network: &NetworkSpec) {
        let name = &self.spec.hostname;
        if is_users(network) && !name.is_empty() && !draft.aliases.contains(name) {
            draft.aliases.push(name.clone());
        }
    }
}

/// `lives_with`: the monitor's process, or the container's first.
fn dns_settings(spec: &ContainerSpec, lives_with: Option<i32>) -> DnsSettings {
    DnsSettings { servers: spec.dns.servers.clone(), lives_with }
}

/// Networks without interfaces of their own are endpoints in name only.
fn attach_one(node: &Node, ask: &Attach<'_>, network: &NetworkSpec) -> Result<Endpoint> {
    if !matches!(network.driver, DriverKind::Host | DriverKind::Null) {
        let begun = Instant::now();
        let mut endpoint = node.net.attach(ask)?;
        node.metrics.note(Timed::NetworkAllocate, begun);
        endpoint.network_name.clone_from(&network.name);
        return Ok(endpoint);
    }
    if network.config_only {
        return Err(EngineError::Denied(model::Denied {
            kind: model::ErrorKind::Forbidden,
            message: "cannot create endpoint on configuration-network".to_owned(),
        }));
    }
    if network.driver == DriverKind::Null {
        node.net.loopback(ask.netns)?;
    }
    Ok(Endpoint {
        id: random::hex()?,
        network: network.id,
        network_name: network.name.clone(),
        container: *ask.container,
        draft: ask.draft.clone(),
        ipv4: None,
        ipv6: None,
        gateway: None,
        gateway6: None,
        mac: None,
        dns_names: Vec::new(),
        host_interface: None,
        interface: None,
    })
}

/// Gives endpoints back. What fails is told and left for the sweep at the next start.
pub(super) fn leave(node: &Node, id: &ContainerId, endpoints: &[Endpoint]) {
    node.net.stop_dns(id);
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.interface.is_some()) {
        let begun = Instant::now();
        let left = node.net.detach(endpoint);
        node.metrics.note(Timed::NetworkRelease, begun);
        if let Err(error) = left {
            let network = &endpoint.network_name;
            tracing::warn!(container = %id, %network, %error, "leave network");
        }
    }
}

/// Legacy links: the other's address under the names it is called by.
fn links(node: &Node, links: &[String]) -> Vec<(IpAddr, String)> {
    let resolve = |link: &String| {
        let (other, alias) = links::parts(link);
        let view = node.registry.find(other).ok()?.view();
        let address = view.endpoints.iter().find_map(|endpoint| endpoint.ipv4)?.addr;
        Some([
            (address, alias.to_owned()),
            (address, view.id.short()),
            (address, view.name.to_string()),
        ])
    };
    let mut out: Vec<(IpAddr, String)> = links.iter().filter_map(resolve).flatten().collect();
    out.dedup();
    out
}
