//! Networks, for those who ask about them or join containers to them.

use crate::actor::{Answer, DEFAULT_NETWORK, Order, answered};
use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::{EngineError, EventBus, Result, clock, random, record};
use model::event::{Event, EventKind};
use model::network::{
    Cidr, EndpointDraft, NetworkDraft, NetworkMode, NetworkSpec, NetworkView, Pool, PoolDraft,
};
use model::policy::OWNER_LABEL;
use model::spec::ContainerSpec;
use model::{Denied, ErrorKind, NetworkId};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;
use tokio::sync::oneshot;

/// Names of the networks that always are.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// Networks. Cheap to clone.
#[derive(Clone)]
pub struct Networks {
    pub(crate) node: Arc<Node>,
}

impl Networks {
    /// Makes a network; returns a warning too, usually empty.
    pub async fn create(&self, draft: NetworkDraft) -> Result<(NetworkId, String)> {
        check_name(&draft.name)?;
        let draft = self.node.networks.configured(draft)?;
        if matches!(draft.driver.as_str(), "host" | "null") {
            let driver = &draft.driver;
            return Err(forbidden(format!("only one instance of \"{driver}\" network is allowed")));
        }
        let id = NetworkId::from_bytes(random::id_bytes()?);
        let node = Arc::clone(&self.node);
        let spec = blocking(move || {
            let spec = node.net.resolve(&draft, id, clock::now())?;
            // The name is free, and stays reserved by being in the table.
            if let Err(error) = node.networks.insert_new(spec.clone()) {
                let _ = node.net.delete_network(&id);
                return Err(error);
            }
            store::failpoint::hit("engine.network.resolved");
            let made = record::save_network(node.store.records(), &spec)
                .and_then(|()| Ok(node.net.create_network(&spec)?));
            if let Err(error) = made {
                node.networks.remove(&id);
                let _ = record::forget_network(node.store.records(), &id);
                let _ = node.net.delete_network(&id);
                return Err(error);
            }
            Ok(spec)
        })
        .await?;
        store::failpoint::hit("engine.network.created");
        emit(&self.node, "create", &spec);
        // It was asked for, or the host's routes have changed since it was chosen.
        let node = Arc::clone(&self.node);
        let overlaps = blocking(move || Ok(node.net.overlapping_routes(&spec)?)).await;
        Ok((id, overlaps.unwrap_or_default().join("; ")))
    }

    /// Every network; never waits.
    pub fn list(&self) -> Vec<NetworkView> {
        let all: Vec<NetworkSpec> = self.node.networks.read().values().cloned().collect();
        all.into_iter().map(|spec| self.with_endpoints(spec)).collect()
    }

    /// One network; never waits.
    pub fn view(&self, query: &str) -> Result<NetworkView> {
        Ok(self.with_endpoints(self.node.networks.find(query)?))
    }

    /// Removes it.
    pub async fn remove(&self, query: &str) -> Result<()> {
        let spec = self.node.networks.find(query)?;
        if PREDEFINED.contains(&spec.name.as_str()) {
            return Err(forbidden(format!(
                "{} is a pre-defined network and cannot be removed",
                spec.name
            )));
        }
        let view = self.with_endpoints(spec.clone());
        if let Some((container, endpoint)) = view.endpoints.first() {
            return Err(forbidden(format!(
                "error while removing network: network {} has active endpoints (name:{:?} \
                 id:{:?})",
                spec.name,
                container,
                endpoint.id.get(..12).unwrap_or_default()
            )));
        }
        let user = self.node.networks.read().values().any(|other| other.config_from == spec.name);
        if spec.config_only && user {
            return Err(forbidden(format!("configuration network {:?} is in use", spec.name)));
        }
        // Endpoints of containers that just ended may still be being given back.
        self.node.teardowns.idle().await;
        let (node, id) = (Arc::clone(&self.node), spec.id);
        blocking(move || {
            node.net.delete_network(&id)?;
            store::failpoint::hit("engine.network.deleted");
            record::forget_network(node.store.records(), &id)?;
            node.networks.remove(&id);
            Ok(())
        })
        .await?;
        store::failpoint::hit("engine.network.forgotten");
        emit(&self.node, "destroy", &spec);
        Ok(())
    }

    /// Joins a container to it, at once when the container runs.
    pub async fn connect(&self, query: &str, container: &str, draft: EndpointDraft) -> Result<()> {
        let begun = Instant::now();
        let network = Box::new(self.node.networks.find(query)?);
        self.order(container, |answer| Order::Connect { network, draft: Box::new(draft), answer })
            .await?;
        self.node.metrics.note(Timed::NetworkConnect, begun);
        Ok(())
    }

    /// Takes a container from it.
    pub async fn disconnect(&self, query: &str, container: &str) -> Result<()> {
        let network = Box::new(self.node.networks.find(query)?);
        self.order(container, |answer| Order::Disconnect { network, answer }).await
    }

    async fn order(&self, container: &str, order: impl FnOnce(Answer<()>) -> Order) -> Result<()> {
        let handle = self.node.registry.find(container)?;
        let (answer, outcome) = oneshot::channel();
        handle.send(order(answer)).await?;
        answered(container, outcome).await
    }

    /// Removes networks that no container is on and that `keep` does not name; returns names.
    pub async fn prune(&self, keep: &(dyn Fn(&NetworkView) -> bool + Sync)) -> Result<Vec<String>> {
        let wanted: Vec<String> = self
            .list()
            .into_iter()
            .filter(|view| !PREDEFINED.contains(&view.spec.name.as_str()) && !keep(view))
            .filter(|view| !self.is_used(&view.spec))
            .map(|view| view.spec.name)
            .collect();
        let mut removed = Vec::new();
        for name in wanted {
            if self.remove(&name).await.is_ok() {
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Whether a container is on it, or will be when it starts.
    fn is_used(&self, network: &NetworkSpec) -> bool {
        let all = self.node.registry.all();
        all.iter().any(|handle| handle.view().endpoints.iter().any(|it| it.network == network.id))
    }

    /// The ways in to every running container, with its name and the network's; never waits.
    pub fn exposure(&self) -> Vec<(String, String, net::Exposure)> {
        let mut ways = Vec::new();
        for handle in self.node.registry.all() {
            let view = handle.view();
            for endpoint in view.endpoints.iter().filter(|_| view.phase.run().is_some()) {
                // A network without published ports has no ways in.
                let here = self.node.net.exposure(endpoint).unwrap_or_default();
                let named = |way| (view.name.to_string(), endpoint.network_name.clone(), way);
                ways.extend(here.into_iter().map(named));
            }
        }
        ways
    }

    fn with_endpoints(&self, spec: NetworkSpec) -> NetworkView {
        let mut endpoints = Vec::new();
        for handle in self.node.registry.all() {
            let view = handle.view();
            if view.phase.run().is_none() {
                continue;
            }
            let here = view.endpoints.iter().filter(|endpoint| endpoint.network == spec.id);
            endpoints.extend(here.map(|endpoint| (view.name.to_string(), endpoint.clone())));
        }
        NetworkView { spec, endpoints }
    }
}

fn forbidden(message: String) -> EngineError {
    Denied { kind: ErrorKind::Forbidden, message }.into()
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(EngineError::invalid("invalid network name: cannot be empty or whitespace"));
    }
    if PREDEFINED.contains(&name) || name == "default" {
        return Err(forbidden(format!("operation is not permitted on predefined {name} network")));
    }
    // Docker takes any text, spaces included; what would break a path or a terminal is refused.
    let fine = |c: char| !c.is_control() && c != '/';
    if !name.chars().all(fine) || name.len() > model::id::MAX_NAME_LEN {
        return Err(EngineError::invalid(format!(
            "invalid network name {name:?}: slashes and control characters are not allowed"
        )));
    }
    Ok(())
}

fn emit(node: &Node, action: &str, spec: &NetworkSpec) {
    node.emit(EventKind::Network, action, spec.id.to_string(), attributes(spec));
}

/// What every event of a network says of it.
fn attributes(spec: &NetworkSpec) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::from([
        ("name".to_owned(), spec.name.clone()),
        ("type".to_owned(), spec.driver.name().to_owned()),
    ]);
    let owner = spec.labels.get(OWNER_LABEL);
    attributes.extend(owner.map(|owner| (OWNER_LABEL.to_owned(), owner.clone())));
    attributes
}

/// Routes of the host that overlap a network, as events of that network.
#[derive(Debug)]
pub(crate) struct OverlapEvents(pub(crate) EventBus);

impl net::RouteNews for OverlapEvents {
    fn overlap(&self, network: &NetworkSpec, subnet: Cidr, (route, interface): (Cidr, &str)) {
        let mut attributes = attributes(network);
        let further = [
            ("subnet", subnet.to_string()),
            ("route", route.to_string()),
            ("interface", interface.to_owned()),
        ];
        attributes.extend(further.map(|(name, value)| (name.to_owned(), value)));
        self.0.emit(Event {
            time: clock::now(),
            kind: EventKind::Network,
            action: "overlap".to_owned(),
            actor: network.id.to_string(),
            attributes,
        });
    }
}

/// Every network there is. Reading never waits for work.
#[derive(Debug, Default)]
pub(crate) struct NetworkTable {
    networks: RwLock<BTreeMap<NetworkId, NetworkSpec>>,
    /// Held while containers join the default network that they have found in the table (shared),
    /// or while it becomes another (alone). No other network is ever replaced.
    joining: RwLock<()>,
}

impl NetworkTable {
    /// Every network.
    pub(crate) fn all(&self) -> Vec<NetworkSpec> {
        self.read().values().cloned().collect()
    }

    /// As long as this is kept, each of these networks is the one that the table says. Blocking:
    /// where the default one is among them, it waits for a replacement that is under way. Not to be
    /// asked for twice by one thread.
    pub(crate) fn joining<'a>(
        &self,
        networks: impl IntoIterator<Item = &'a NetworkSpec>,
    ) -> Option<RwLockReadGuard<'_, ()>> {
        let default = networks.into_iter().any(|network| network.name == DEFAULT_NETWORK);
        default.then(|| self.joining.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As long as this is kept, nobody joins the default network. Blocking: it waits for those who
    /// do.
    pub(crate) fn replacing(&self) -> RwLockWriteGuard<'_, ()> {
        self.joining.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A network that somebody found before, or the one that it has become meanwhile.
    pub(crate) fn current(&self, found: &NetworkSpec) -> Result<NetworkSpec> {
        match self.by_id(&found.id) {
            Some(spec) => Ok(spec),
            None => self.find(&found.name),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<NetworkId, NetworkSpec>> {
        self.networks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<NetworkId, NetworkSpec>> {
        self.networks.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a network whose name must be free.
    fn insert_new(&self, spec: NetworkSpec) -> Result<()> {
        let mut networks = self.write();
        if networks.values().any(|known| known.name == spec.name) {
            return Err(EngineError::conflict(format!(
                "network with name {} already exists",
                spec.name
            )));
        }
        networks.insert(spec.id, spec);
        Ok(())
    }

    /// The draft with the configuration of the network that it names, if it names one.
    fn configured(&self, mut draft: NetworkDraft) -> Result<NetworkDraft> {
        if draft.config_only && (draft.internal || draft.attachable || draft.ingress) {
            return Err(forbidden(
                "configuration network can only contain network specific fields. Network operator \
                 fields like [ ingress | internal | attachable | scope ] are not supported."
                    .to_owned(),
            ));
        }
        if draft.config_from.is_empty() {
            return Ok(draft);
        }
        if draft.config_only {
            let why = "a configuration network cannot depend on another configuration network";
            return Err(forbidden(why.to_owned()));
        }
        let own = !draft.pools.is_empty()
            || !matches!(draft.ipam_driver.as_str(), "" | "default")
            || !draft.ipam_options.is_empty()
            || !draft.labels.is_empty()
            || draft.enable_ipv6 == Some(true);
        if own {
            return Err(forbidden(
                "user specified configurations are not supported if the network depends on a \
                 configuration network"
                    .to_owned(),
            ));
        }
        if !draft.options.is_empty() {
            return Err(forbidden(
                "network driver options are not supported if the network depends on a \
                 configuration network"
                    .to_owned(),
            ));
        }
        let networks = self.read();
        let from = networks.values().find(|it| it.config_only && it.name == draft.config_from);
        let Some(from) = from else {
            let name = &draft.config_from;
            return Err(
                Denied::not_found(format!("configuration network {name:?} not found")).into()
            );
        };
        let pool = |pool: &Pool| PoolDraft {
            subnet: Some(pool.subnet),
            range: pool.range,
            gateway: pool.gateway,
            reserved: pool.reserved.clone(),
        };
        draft.pools = from.pools.iter().map(pool).collect();
        draft.enable_ipv6 = Some(from.enable_ipv6);
        draft.ipam_driver.clone_from(&from.ipam_driver);
        draft.ipam_options.clone_from(&from.ipam_options);
        draft.labels.clone_from(&from.labels);
        draft.options.clone_from(&from.options);
        Ok(draft)
    }

    /// Adds a network that is known to be right.
    pub(crate) fn insert(&self, spec: NetworkSpec) {
        self.write().insert(spec.id, spec);
    }

    /// One for another, in one step.
    pub(crate) fn replace(&self, old: &NetworkId, spec: NetworkSpec) {
        let mut networks = self.write();
        networks.remove(old);
        networks.insert(spec.id, spec);
    }

    fn remove(&self, id: &NetworkId) {
        self.write().remove(id);
    }

    /// By id.
    pub(crate) fn by_id(&self, id: &NetworkId) -> Option<NetworkSpec> {
        self.read().get(id).cloned()
    }

    /// By full id, name, or unique prefix of an id, in this order.
    pub(crate) fn find(&self, query: &str) -> Result<NetworkSpec> {
        let networks = self.read();
        if let Some(spec) = NetworkId::parse(query).ok().and_then(|id| networks.get(&id)) {
            return Ok(spec.clone());
        }
        if let Some(spec) = networks.values().find(|spec| spec.name == query) {
            return Ok(spec.clone());
        }
        let by_prefix = |spec: &&NetworkSpec| spec.id.to_string().starts_with(query);
        let mut matching = networks.values().filter(|_| !query.is_empty()).filter(by_prefix);
        match (matching.next(), matching.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(_), Some(_)) => Err(EngineError::invalid(format!(
                "network {query} is ambiguous (2 matches found based on ID prefix)"
            ))),
            (None, _) => Err(EngineError::NoSuchNetwork(query.to_owned())),
        }
    }

    /// The networks a container is on when it starts, the one it names first; those that are not
    /// there are left out.
    pub(crate) fn planned(&self, spec: &ContainerSpec) -> Vec<(NetworkSpec, EndpointDraft)> {
        let all = wanted(spec).into_iter();
        let known = all.filter_map(|(name, draft)| Some((self.find(&name).ok()?, draft)));
        let mut out: Vec<(NetworkSpec, EndpointDraft)> = Vec::new();
        for (network, draft) in known {
            // A network named twice, by id and by name, is one.
            match out.iter_mut().find(|(it, _)| it.id == network.id) {
                Some((_, known)) => known.fill(draft),
                None => out.push((network, draft)),
            }
        }
        out
    }

    /// [`NetworkTable::planned`], or the first that is not there.
    pub(crate) fn planned_or_missing(
        &self,
        spec: &ContainerSpec,
    ) -> Result<Vec<(NetworkSpec, EndpointDraft)>> {
        for (name, _) in wanted(spec) {
            self.find(&name)?;
        }
        Ok(self.planned(spec))
    }

    /// Takes a network out of what a container is on when it starts.
    pub(crate) fn leave(&self, spec: &mut ContainerSpec, network: &NetworkSpec) {
        let means = |name: &str| match self.find(name) {
            Ok(found) => found.id == network.id,
            Err(_) => name == network.name,
        };
        let mode_names = match &spec.network {
            NetworkMode::Default => means(DEFAULT_NETWORK),
            NetworkMode::Named(name) => means(name),
            _ => false,
        };
        spec.endpoints.retain(|name, _| !means(name));
        if mode_names {
            // What it starts on is now the next of its networks, or none.
            spec.network = match spec.endpoints.keys().next() {
                Some(next) => NetworkMode::Named(next.clone()),
                None => NetworkMode::None,
            };
        }
    }
}

/// Names or ids of the networks a container asks for, the one of its mode first.
fn wanted(spec: &ContainerSpec) -> Vec<(String, EndpointDraft)> {
    let first = match &spec.network {
        NetworkMode::Default => DEFAULT_NETWORK,
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Named(name) => name,
        NetworkMode::Container(_) => return Vec::new(),
    };
    let of = |name: &str| spec.endpoints.get(name);
    let draft = of(first).or_else(|| of("default").filter(|_| first == DEFAULT_NETWORK));
    let mut out = vec![(first.to_owned(), draft.cloned().unwrap_or_default())];
    let others = spec.endpoints.iter().filter(|(name, _)| *name != first && *name != "default");
    out.extend(others.map(|(name, draft)| (name.clone(), draft.clone())));
    out
}
