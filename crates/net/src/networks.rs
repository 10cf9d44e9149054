//! Networks: how a draft becomes a specification, and a specification real.

use crate::apply::{self, Executor};
use crate::bridge::{self, BridgeOptions, check_interface_name};
use crate::default_bridge::Known;
use crate::error::{Error, Result};
use crate::firewalld;
use crate::ipam::default_gateway;
use crate::netlink::{self, Link, Socket};
use crate::options::{AddressPool, Options};
use crate::plan::{self, BridgeFacts, NETWORK_ALIAS};
use crate::remote::{DEFAULT_IPAM, NULL_IPAM, has_remote_ipam};
use crate::service::{Net, Network, State};
use crate::sublink::SublinkOptions;
use crate::sysctl;
use model::error::{Denied, ErrorKind};
use model::network::{Cidr, DriverKind, NetworkDraft, NetworkSpec, Pool, PoolDraft};
use model::{NetworkId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// The reserved address, by name, that containers send what goes elsewhere to.
pub(crate) const GATEWAY_V4: &str = "DefaultGatewayIPv4";
/// The same for IPv6.
pub(crate) const GATEWAY_V6: &str = "DefaultGatewayIPv6";
/// The default bridge's interface where the daemon is told no other. Others are the
/// administrator's.
const DEFAULT_NAME: &str = "docker0";
/// The name that means: no default bridge at all.
const NO_BRIDGE: &str = "none";

impl Net {
    /// What the predefined networks `bridge`, `host` and `none` look like as drafts, given what the
    /// interface of the first has already. Refused where that interface is said to be the
    /// administrator's and is not there.
    pub fn predefined(&self) -> Result<[NetworkDraft; 3]> {
        let options = self.options();
        let draft = |name: &str, driver: &str| NetworkDraft {
            name: name.to_owned(),
            driver: driver.to_owned(),
            ..NetworkDraft::default()
        };
        if options.bridge == NO_BRIDGE {
            return Ok([draft("bridge", "null"), draft("host", "host"), draft("none", "null")]);
        }
        let option = |name: &str, value: String| (name.to_owned(), value);
        let driver_options = BTreeMap::from([
            option(bridge::NAME, options.bridge.clone()),
            option(bridge::DEFAULT_BRIDGE, true.to_string()),
            option(bridge::ICC, options.icc.to_string()),
            option(bridge::MASQUERADE, options.masquerade.to_string()),
            option(bridge::HOST_BINDING, options.host_binding.to_string()),
            option(bridge::MTU, options.mtu.to_string()),
        ]);
        let bridge = NetworkDraft {
            pools: self.default_pools(&options)?,
            enable_ipv6: Some(options.ipv6),
            options: driver_options,
            ..draft("bridge", "bridge")
        };
        Ok([bridge, draft("host", "host"), draft("none", "null")])
    }

    fn default_pools(&self, options: &Options) -> Result<Vec<PoolDraft>> {
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        let link = netlink::link_by_name(&mut socket, &options.bridge)?;
        let administered = options.bridge != DEFAULT_NAME;
        if administered && link.is_none() {
            let name = &options.bridge;
            let message =
                format!("there is no interface {name}, which is to be the default bridge");
            return Err(Denied::invalid(message).into());
        }
        let index = link.map(|link| link.index);
        let addresses = netlink::dump_addresses(&mut socket)?.into_iter();
        let found: Vec<Cidr> =
            addresses.filter(|it| Some(it.index) == index).map(|it| it.cidr).collect();
        let known = |address, range| Known { address, range, found: &found, administered };
        let through = |pool: PoolDraft, name: &str, gateway: Option<IpAddr>| PoolDraft {
            reserved: gateway.map(|gateway| (name.to_owned(), gateway)).into_iter().collect(),
            ..pool
        };
        let v4 = known(options.bridge_address, options.fixed_range).pool(true)?;
        let mut pools = vec![through(v4, GATEWAY_V4, options.default_gateway)];
        if options.ipv6 {
            let v6 = known(options.bridge_address6, options.fixed_range6).pool(false)?;
            let v6 = Some(v6).filter(|pool| pool.subnet.is_some());
            pools.extend(v6.map(|pool| through(pool, GATEWAY_V6, options.default_gateway6)));
        }
        Ok(pools)
    }

    /// Chooses and reserves the pools and the interface name of a network, without touching the
    /// kernel. Record the answer, then call [`Net::create_network`]; or give the reservation back
    /// with [`Net::delete_network`].
    pub fn resolve(
        &self,
        draft: &NetworkDraft,
        id: NetworkId,
        created: Timestamp,
    ) -> Result<NetworkSpec> {
        let driver = match draft.config_only {
            true => DriverKind::Null,
            false => self.driver(&draft.driver)?,
        };
        let draft = &self.with_defaults(draft, &driver)?;
        let enable_ipv6 = draft.enable_ipv6.unwrap_or(false);
        let mut spec = NetworkSpec {
            id,
            name: draft.name.clone(),
            created,
            driver,
            internal: draft.internal,
            attachable: draft.attachable,
            config_only: draft.config_only,
            config_from: draft.config_from.clone(),
            enable_ipv6,
            pools: Vec::new(),
            options: draft.options.clone(),
            ipam_driver: Some(&draft.ipam_driver)
                .filter(|driver| *driver != DEFAULT_IPAM)
                .cloned()
                .unwrap_or_default(),
            ipam_options: draft.ipam_options.clone(),
            labels: draft.labels.clone(),
            bridge: None,
        };
        if spec.config_only {
            spec.pools = draft.pools.iter().map(as_asked).collect::<Result<_, _>>()?;
            return Ok(spec);
        }
        if spec.driver == DriverKind::Bridge {
            let options = BridgeOptions::read(&draft.options, &self.options())?;
            options.check(draft.internal, enable_ipv6)?;
            let name = draft.options.get(bridge::NAME).filter(|name| !name.is_empty());
            let name = name.cloned().unwrap_or_else(|| format!("br-{}", id.short()));
            check_interface_name(&name)?;
            self.lock().check_bridge_free(&name, &id)?;
            spec.pools = self.choose_pools(draft, id, &name)?;
            spec.bridge = Some(name);
        }
        let whose = (&id, draft.internal);
        if let Some(sublink) = SublinkOptions::read(&spec.driver, &draft.options, whose)? {
            spec.pools = self.choose_pools(draft, id, "")?;
            spec.options.extend([sublink.shown()]);
        }
        if matches!(spec.driver, DriverKind::Plugin(_)) {
            spec.pools = self.choose_pools(draft, id, "")?;
        }
        let mut state = self.lock();
        state.borrow_pools(&spec);
        state.ipam.reserve(id, own_pools(&spec))?;
        drop(state);
        Ok(spec)
    }

    /// The options that a network of the bridge driver made of `draft` has.
    pub fn resolved_options(&self, draft: &NetworkDraft) -> BTreeMap<String, String> {
        let resolved = self.with_defaults(draft, &DriverKind::Bridge);
        resolved.map_or_else(|_| draft.options.clone(), |draft| draft.options)
    }

    fn driver(&self, name: &str) -> Result<DriverKind> {
        match driver(name)? {
            DriverKind::Plugin(name) => {
                match self.remote() {
                    Ok(remote) => remote.find_driver(&name)?,
                    Err(_) => {
                        let message = format!("plugin {name:?} not found");
                        return Err(Denied::not_found(message).into());
                    }
                }
                Ok(DriverKind::Plugin(name))
            }
            driver => Ok(driver),
        }
    }

    /// The draft with the daemon's options for networks of its driver, and with what it leaves open
    /// about IPv6 decided: who asks for a subnet asks for the family; who says no gets no subnet of
    /// it, as with Docker.
    fn with_defaults(
        &self,
        draft: &NetworkDraft,
        driver: &DriverKind,
    ) -> Result<NetworkDraft, Denied> {
        let mut draft = draft.clone();
        let options = self.options();
        let defaults = options.network_options.get(driver.name()).into_iter().flatten();
        let ours = draft.options.contains_key(bridge::DEFAULT_BRIDGE);
        // What the request says of a family is not contradicted by an option it did not make.
        let said = |name: &str| match name {
            bridge::ENABLE_IPV4 => draft.enable_ipv4.is_some(),
            bridge::ENABLE_IPV6 => draft.enable_ipv6.is_some(),
            _ => false,
        };
        let defaults: Vec<_> = defaults.filter(|(name, _)| !ours && !said(name)).collect();
        for (name, value) in defaults {
            draft.options.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let is_v6 = |pool: &PoolDraft| pool.subnet.is_some_and(|it| it.addr.is_ipv6());
        let asked = draft.pools.iter().any(is_v6);
        let v4 = draft.enable_ipv4.or(bridge::asked(&draft.options, bridge::ENABLE_IPV4)?);
        let v6 = draft.enable_ipv6.or(bridge::asked(&draft.options, bridge::ENABLE_IPV6)?);
        let v6 = v6.unwrap_or(asked);
        (draft.enable_ipv4, draft.enable_ipv6) = (v4, Some(v6));
        draft.pools.retain(|pool| v6 || !is_v6(pool));
        Ok(draft)
    }

    /// The pools asked for, completed; chosen where nothing was asked.
    fn choose_pools(&self, draft: &NetworkDraft, id: NetworkId, name: &str) -> Result<Vec<Pool>> {
        let options = BridgeOptions::read(&draft.options, &self.options())?;
        let spares = |v4| options.spares_gateway(v4, draft.internal);
        let complete = |asked: &PoolDraft, subnet: Cidr| {
            complete(asked, subnet, spares(subnet.addr.is_ipv4()))
        };
        if draft.ipam_driver == NULL_IPAM {
            return Ok(Vec::new());
        }
        if has_remote_ipam(&draft.ipam_driver) {
            return self.request_pools(&draft.ipam_driver, &draft.pools, &draft.ipam_options);
        }
        let mut pools = Vec::new();
        for asked in &draft.pools {
            if let Some(subnet) = asked.subnet {
                pools.push(complete(asked, checked_subnet(subnet)?)?);
            }
        }
        let free = draft.pools.iter().find(|p| p.subnet.is_none()).cloned().unwrap_or_default();
        let has = |pools: &[Pool], v4| pools.iter().any(|p| p.subnet.addr.is_ipv4() == v4);
        if draft.enable_ipv4.unwrap_or(true) && !has(&pools, true) {
            let host = self.host_blocks(name)?;
            // An administrator's bridge keeps the subnet that it has.
            let subnet = match host.on_bridge {
                Some(cidr) => cidr.network(),
                None => self.lock().ipam.choose(&self.pools(true), &host.others)?,
            };
            let gateway = free.gateway.or(host.on_bridge.map(|cidr| cidr.addr));
            pools.insert(0, complete(&PoolDraft { gateway, ..free }, subnet)?);
        }
        if draft.enable_ipv6.unwrap_or(false) && !has(&pools, false) {
            let from = self.pools(false);
            let subnet = match from.is_empty() {
                true => local_subnet(&id),
                false => {
                    let host = self.host_blocks(name)?;
                    self.lock().ipam.choose(&from, &host.others)?
                }
            };
            pools.push(complete(&PoolDraft::default(), subnet)?);
        }
        Ok(pools)
    }

    /// The address pools of a family.
    fn pools(&self, v4: bool) -> Vec<AddressPool> {
        let all = self.options();
        all.pools.iter().filter(|pool| pool.base.addr.is_ipv4() == v4).copied().collect()
    }

    /// The blocks the host reaches, by addresses and routes, apart from those of the bridge
    /// `name` itself and of our other bridges (which the reservations know).
    fn host_blocks(&self, name: &str) -> Result<HostBlocks> {
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        let links = netlink::dump_links(&mut socket)?;
        let ours: BTreeSet<u32> =
            links.iter().filter(|l| l.alias.starts_with(NETWORK_ALIAS)).map(|l| l.index).collect();
        let foreign_bridge = |l: &&Link| l.name == name && !ours.contains(&l.index);
        let own = links.iter().find(foreign_bridge).map(|l| l.index);
        let addresses = netlink::dump_addresses(&mut socket)?;
        let routes = netlink::dump_routes(&mut socket)?;
        let on_bridge = addresses.iter().find(|a| Some(a.index) == own && a.cidr.addr.is_ipv4());
        let others = addresses.iter().chain(&routes);
        let others = others.filter(|a| !ours.contains(&a.index) && Some(a.index) != own);
        Ok(HostBlocks {
            on_bridge: on_bridge.map(|a| a.cidr),
            others: others.map(|a| a.cidr.network()).collect(),
        })
    }

    /// Makes the network real: bridge, gateway address, rules. Idempotent, so also the way to
    /// restore a network at daemon start.
    pub fn create_network(&self, spec: &NetworkSpec) -> Result<()> {
        self.realise(spec, true)
    }

    /// [`Net::create_network`] for a network that a former daemon made: plugins know it already.
    pub fn restore_network(&self, spec: &NetworkSpec) -> Result<()> {
        self.realise(spec, false)
    }

    fn realise(&self, spec: &NetworkSpec, fresh: bool) -> Result<()> {
        let options = BridgeOptions::read(&spec.options, &self.options())?;
        let sublink = SublinkOptions::read(&spec.driver, &spec.options, (&spec.id, spec.internal))?;
        {
            let mut state = self.lock();
            if let Some(bridge) = &spec.bridge {
                state.check_bridge_free(bridge, &spec.id)?;
            }
            state.ipam.reserve(spec.id, own_pools(spec))?;
            state.borrow_pools(spec);
            let sublink = sublink.clone();
            let network = Network { spec: spec.clone(), options: options.clone(), sublink };
            state.networks.insert(spec.id, network);
        }
        let made = match (&sublink, &spec.driver) {
            (Some(sublink), _) => sublink.lay(spec),
            (None, DriverKind::Plugin(_)) if !fresh => Ok(()),
            (None, DriverKind::Plugin(driver)) => self
                .remote()
                .and_then(|remote| remote.create_network(driver, spec))
                .map_err(Error::from),
            (None, _) => self.make_bridge(spec, &options, fresh),
        };
        if made.is_err() {
            let mut state = self.lock();
            state.networks.remove(&spec.id);
            state.ipam.release_network(&spec.id);
        }
        made
    }

    fn make_bridge(&self, spec: &NetworkSpec, options: &BridgeOptions, fresh: bool) -> Result<()> {
        let Some(name) = &spec.bridge else { return Ok(()) };
        if spec.enable_ipv6 && !sysctl::has_ipv6() {
            return Err(no_ipv6(&spec.name).into());
        }
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        let facts = bridge_facts(&mut socket, spec, (name, self.is_alone()))?;
        // Rules first, link second: nothing passes before it may (law F1).
        let elements = options.zone(spec).map(|zone| zone.elements()).unwrap_or_default();
        if let Some(firewall) = self.firewall() {
            firewall.change(elements.clone(), &[])?;
        }
        sys::failpoint::hit("net.network.ruled");
        if spec.enable_ipv6 {
            sysctl::keep_advertisements()?;
        }
        let plan = plan::bridge(spec, options, &facts);
        let made = Executor::new(&mut socket, None).apply(&plan.host);
        sys::failpoint::hit("net.network.bridged");
        if let (Err(_), Some(firewall)) = (&made, self.firewall()) {
            firewall.change(Vec::new(), &elements)?;
        }
        if made.is_ok() && fresh && self.firewall().is_some() {
            // Our own rules hold without it; what it rejects would be rejected.
            let admitted = firewalld::admit(&self.options().system_bus, std::slice::from_ref(name));
            admitted.inspect_err(|error| tracing::warn!(%error, "firewalld")).ok();
        }
        made
    }

    /// Removes bridge, rules and reservation. Refused while endpoints exist; fine when the
    /// network is already gone.
    pub fn delete_network(&self, id: &NetworkId) -> Result<()> {
        let network = {
            let mut state = self.lock();
            if let Some(network) = state.networks.get(id)
                && state.endpoints.values().any(|e| e.network == *id)
            {
                return Err(Error::InUse { name: network.spec.name.clone() });
            }
            state.networks.remove(id)
        };
        let removed = network.map_or(Ok(()), |network| self.unmake(&network));
        sys::failpoint::hit("net.network.unruled");
        let mut state = self.lock();
        state.ipam.release_network(id);
        let borrowed = state.borrowed.remove(id);
        drop(state);
        if let Some((driver, pools)) = borrowed {
            self.release_pools(&driver, &pools);
        }
        removed
    }

    fn unmake(&self, network: &Network) -> Result<()> {
        let spec = &network.spec;
        match (&network.sublink, &spec.driver) {
            (Some(sublink), _) => sublink.remove(&spec.id),
            (None, DriverKind::Plugin(driver)) => {
                let remote = self.remote();
                remote.and_then(|it| it.delete_network(driver, spec)).map_err(Error::from)
            }
            (None, _) => self.remove_bridge(network),
        }
    }

    fn remove_bridge(&self, network: &Network) -> Result<()> {
        let Some(name) = &network.spec.bridge else { return Ok(()) };
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        let link = netlink::link_by_name(&mut socket, name)?;
        if link.is_some_and(|link| link.alias == plan::network_alias(&network.spec.id)) {
            apply::delete_link(&mut socket, name)?;
        }
        sys::failpoint::hit("net.network.unbridged");
        let (Some(firewall), Some(zone)) = (self.firewall(), network.options.zone(&network.spec))
        else {
            return Ok(());
        };
        let dismissed = firewalld::dismiss(&self.options().system_bus, name);
        dismissed.inspect_err(|error| tracing::warn!(%error, "firewalld")).ok();
        firewall.change(Vec::new(), &zone.elements())
    }
}

impl State {
    /// Notes pools that have to be given back to a plugin.
    fn borrow_pools(&mut self, spec: &NetworkSpec) {
        if has_remote_ipam(&spec.ipam_driver) {
            self.borrowed.insert(spec.id, (spec.ipam_driver.clone(), spec.pools.clone()));
        }
    }
}

/// What the host's own networks occupy.
struct HostBlocks {
    /// The IPv4 address of an administrator's bridge of the name asked for.
    on_bridge: Option<Cidr>,
    /// Everything else.
    others: Vec<Cidr>,
}

fn driver(name: &str) -> Result<DriverKind, Denied> {
    match name {
        "" | "bridge" => Ok(DriverKind::Bridge),
        "host" => Ok(DriverKind::Host),
        "null" => Ok(DriverKind::Null),
        "macvlan" => Ok(DriverKind::Macvlan),
        "ipvlan" => Ok(DriverKind::Ipvlan),
        "overlay" => {
            let message = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker \
                 swarm join\" to connect this node to swarm and try again.";
            Err(Denied { kind: ErrorKind::Unavailable, message: message.to_owned() })
        }
        _ => Ok(DriverKind::Plugin(name.to_owned())),
    }
}

/// A kernel without IPv6, or started with `ipv6.disable=1`.
fn no_ipv6(name: &str) -> Denied {
    Denied::unsupported(format!(
        "network {name} wants IPv6, which this host's kernel does not have: it was built without, \
         or started with ipv6.disable=1"
    ))
}

/// The pools that our own address management answers for.
fn own_pools(spec: &NetworkSpec) -> &[Pool] {
    let others = spec.config_only || has_remote_ipam(&spec.ipam_driver);
    if others { &[] } else { &spec.pools }
}

/// A pool of a configuration: checked, but not completed.
fn as_asked(asked: &PoolDraft) -> Result<Pool, Denied> {
    let subnet = asked.subnet.ok_or_else(|| {
        Denied::invalid("the address pool of a configuration network needs a subnet")
    })?;
    complete(asked, checked_subnet(subnet)?, true)
}

/// Refuses what nobody can mean.
fn checked_subnet(subnet: Cidr) -> Result<Cidr, Denied> {
    let network = subnet.network();
    if network != subnet {
        return Err(Denied::invalid(format!("invalid subnet {subnet}: it should be {network}")));
    }
    let smallest = if subnet.addr.is_ipv4() { 8 } else { 16 };
    if subnet.prefix < smallest {
        return Err(Denied::invalid(format!("invalid subnet {subnet}: it is too large")));
    }
    Ok(network)
}

/// A pool checked to be consistent, with a gateway unless it is spared.
fn complete(asked: &PoolDraft, subnet: Cidr, spared: bool) -> Result<Pool, Denied> {
    let mut pool = Pool {
        subnet,
        range: asked.range,
        gateway: None,
        reserved: asked.reserved.clone(),
        remote: String::new(),
    };
    if let Some(range) = pool.range
        && (!subnet.contains(range.addr) || range.prefix < subnet.prefix)
    {
        let message = format!("invalid ip-range {range}: it is not within subnet {subnet}");
        return Err(Denied::invalid(message));
    }
    let named = pool.reserved.values().chain(&asked.gateway);
    for addr in named {
        if !subnet.contains(*addr) {
            let message = format!("no configured subnet contains address {addr}");
            return Err(Denied::invalid(message));
        }
    }
    pool.gateway = match asked.gateway {
        Some(addr) => Some(addr),
        None if spared => None,
        None => default_gateway(&pool),
    };
    Ok(pool)
}

/// A unique local /64 for a network that asked for IPv6 without saying which (RFC 4193): its 40
/// random bits are the network id's.
fn local_subnet(id: &NetworkId) -> Cidr {
    let [a, b, c, d, e, f, g, ..] = *id.as_bytes();
    let groups = [[0xfd, a], [b, c], [d, e], [f, g]].map(u16::from_be_bytes);
    let [one, two, three, four] = groups;
    Cidr { addr: IpAddr::V6(Ipv6Addr::new(one, two, three, four, 0, 0, 0, 0)), prefix: 64 }
}

fn bridge_facts(
    socket: &mut Socket,
    spec: &NetworkSpec,
    (name, alone): (&str, bool),
) -> Result<BridgeFacts> {
    let Some(link) = netlink::link_by_name(socket, name)? else {
        return Ok(BridgeFacts::default());
    };
    if link.kind != "bridge" {
        let message = format!("interface {name} exists and is not a bridge");
        return Err(Denied::conflict(message).into());
    }
    let former = link.alias.strip_prefix(NETWORK_ALIAS);
    if alone && former.is_some_and(|id| id != spec.id.to_string()) {
        // Left behind by a network that no record names: its addresses may be others.
        apply::delete_link(socket, name)?;
        return Ok(BridgeFacts::default());
    }
    let addresses = netlink::dump_addresses(socket)?;
    let addresses = addresses.into_iter().filter(|a| a.index == link.index).map(|a| a.cidr);
    // A daemon that was killed between two messages has made it, and not yet said whose it is.
    let unsaid = link.alias.is_empty() && link.mac == Some(plan::bridge_mac(&spec.id));
    let ours = unsaid || former.is_some_and(|id| id == spec.id.to_string());
    Ok(BridgeFacts { exists: true, ours, addresses: addresses.collect() })
}
