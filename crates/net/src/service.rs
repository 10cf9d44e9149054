//! The public face: one [`Net`] per daemon, and what it remembers.

use crate::alone::Alone;
use crate::apply;
use crate::bridge::BridgeOptions;
use crate::dns::Dns;
use crate::error::{Error, Result};
use crate::firewalld;
use crate::ipam::Ipam;
use crate::iptables::Interop;
use crate::netlink::{self, Socket};
use crate::netns::within;
use crate::nft::{Element, Firewall, ROUND_OUT, Watch};
use crate::options::{Options, PublishPolicy};
use crate::plan::{self, ENDPOINT_ALIAS, NETWORK_ALIAS};
use crate::ports::Ports;
use crate::reload;
use crate::removal::Removals;
use crate::round::ROUND_ALIAS;
use crate::routes::RouteWatch;
use crate::stats::InterfaceStats;
use crate::sublink::SublinkOptions;
use crate::sysctl;
use model::error::Denied;
use model::network::{NetworkSpec, Pool};
use model::{ContainerId, NetworkId};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// The node's networks. Share it by `Arc`; every method takes `&self`, is synchronous and takes
/// about a millisecond, except [`Net::detach`] and [`Net::delete_network`], which wait for the
/// kernel's grace periods (tens of milliseconds): call those off the critical path.
#[derive(Debug)]
pub struct Net {
    /// Replaced whole when the configuration is read again.
    pub(crate) options: RwLock<Arc<Options>>,
    /// Held while ports are published or taken back (shared), or what that means changes (alone).
    pub(crate) publishing: RwLock<()>,
    /// That the host forwards is our doing, and was not so before.
    pub(crate) forwarding_is_ours: AtomicBool,
    state: Arc<Mutex<State>>,
    pub(crate) dns: Dns,
    pub(crate) removals: Removals,
    /// Wakes who tells firewalld.
    pub(crate) zones: SyncSender<()>,
    _routes: RouteWatch,
    /// Dropped before the firewall that it watches.
    pub(crate) watch: Mutex<Option<Watch>>,
    /// None where the configuration says so. Changes under the lock of the state, while that has no
    /// endpoints.
    pub(crate) firewall: RwLock<Option<Arc<Firewall>>>,
    /// Dropped last: who comes next finds the tables without an owner.
    pub(crate) alone: Alone,
}

/// What is known of networks, endpoints, addresses and ports.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) networks: BTreeMap<NetworkId, Network>,
    /// By endpoint id.
    pub(crate) endpoints: BTreeMap<String, Known>,
    pub(crate) ipam: Ipam,
    pub(crate) ports: Ports,
    /// What legacy links opened, by endpoint id.
    pub(crate) links: BTreeMap<String, Vec<Element>>,
    /// Pools of plugins, by network, from the moment they are asked for.
    pub(crate) borrowed: BTreeMap<NetworkId, (String, Vec<Pool>)>,
}

/// A network and its options, read once.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) spec: NetworkSpec,
    pub(crate) options: BridgeOptions,
    /// Of macvlan and ipvlan networks.
    pub(crate) sublink: Option<SublinkOptions>,
}

impl Network {
    /// Whether its published ports are reached where the host's input rules say.
    pub(crate) fn is_guarded(&self) -> bool {
        self.options.publish_policy == PublishPolicy::HostFirewall
    }
}

/// What is remembered of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) network: NetworkId,
    pub(crate) container: ContainerId,
}

impl State {
    /// Every bridge's interface.
    fn bridges(&self) -> Vec<String> {
        self.networks.values().filter_map(|network| network.spec.bridge.clone()).collect()
    }

    /// Refuses an interface name that another network has.
    pub(crate) fn check_bridge_free(&self, bridge: &str, id: &NetworkId) -> Result<(), Denied> {
        let taken = |n: &&Network| n.spec.bridge.as_deref() == Some(bridge) && n.spec.id != *id;
        match self.networks.values().find(taken) {
            None => Ok(()),
            Some(other) => Err(Denied::conflict(format!(
                "bridge name {bridge} is already used by network {}",
                other.spec.name
            ))),
        }
    }
}

/// Lets the administrator's rules be heard, and watches over them and ours.
pub(crate) fn watch(
    firewall: &Arc<Firewall>,
    options: &Options,
    zones: &SyncSender<()>,
) -> Result<Watch> {
    let interop = Interop::new(&options.iptables, sysctl::has_ipv6());
    if let Err(error) = interop.reconcile() {
        // What our own table refuses stays refused.
        tracing::warn!(%error, "the rules of DOCKER-USER are not heard");
    }
    let zones = zones.clone();
    // Who is woken already need not be woken again.
    Watch::start(firewall, interop, move || _ = zones.try_send(()))
}

/// Tells firewalld of every bridge whenever it is woken, on a thread of its own: an answer may
/// take seconds. Ends with the last who can wake it.
fn tell_firewalld(state: &Arc<Mutex<State>>, bus: PathBuf) -> Result<SyncSender<()>> {
    let (wake, woken) = sync_channel(1);
    let state = Arc::downgrade(state);
    let run = move || {
        while woken.recv().is_ok() {
            // Reloading changes many rules: once is enough.
            std::thread::sleep(FIREWALLD_SETTLES);
            let _ = woken.try_recv();
            let Some(state) = state.upgrade() else { return };
            let bridges = state.lock().unwrap_or_else(PoisonError::into_inner).bridges();
            if let Err(error) = firewalld::admit(&bus, &bridges) {
                tracing::warn!(%error, "firewalld");
            }
        }
    };
    std::thread::Builder::new()
        .name("net-firewalld".to_owned())
        .stack_size(128 * 1024)
        .spawn(run)
        .map_err(Error::io("start telling firewalld"))?;
    Ok(wake)
}

/// How long firewalld is left alone after it began to change its rules.
const FIREWALLD_SETTLES: Duration = Duration::from_millis(300);

impl Net {
    /// Lays the base rules and turns forwarding on, in the network namespace of the calling
    /// thread. Removes nothing that runs: follow with [`Net::create_network`] for each recorded
    /// network, [`Net::adopt`] for each endpoint of a running container, then [`Net::sweep`].
    pub fn open(options: Options) -> Result<Self> {
        let alone = Alone::claim(options.firewall)?;
        let turn_on = reload::wants_forwarding(&options);
        let policy = reload::policy(&options, turn_on);
        let firewall = match options.firewall {
            true => Some(Arc::new(Firewall::open(policy, options.own_rules)?)),
            false => None,
        };
        if turn_on {
            reload::turn_forwarding_on()?;
        }
        // A former daemon may have turned it on.
        let ours = turn_on || firewall.as_ref().is_some_and(|it| it.policy().drop_foreign);
        let state: Arc<Mutex<State>> = Arc::default();
        state.lock().unwrap_or_else(PoisonError::into_inner).ports =
            Ports::through(options.outside.clone());
        let zones = tell_firewalld(&state, options.system_bus.clone())?;
        let watch = firewall.as_ref().map(|firewall| watch(firewall, &options, &zones));
        let watch = Mutex::new(watch.transpose()?);
        let dns = Dns::new(options.resolver.clone(), options.resolv_conf.clone());
        let routes = RouteWatch::start(&state, options.route_news.clone())?;
        let options = RwLock::new(Arc::new(options));
        let removals = Removals::default();
        Ok(Self {
            options,
            publishing: RwLock::default(),
            forwarding_is_ours: AtomicBool::new(ours),
            state,
            dns,
            removals,
            zones,
            _routes: routes,
            watch,
            firewall: RwLock::new(firewall),
            alone,
        })
    }

    /// The options in force.
    pub fn options(&self) -> Arc<Options> {
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a single insertion or removal: a panic leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no other daemon works in this network namespace.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.is_first()
    }

    pub(crate) fn firewall(&self) -> Option<Arc<Firewall>> {
        self.firewall.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends a restart: replaces the former daemon's rules by the present ones in one transaction,
    /// and removes links of ours that nothing adopted or created since [`Net::open`], if they
    /// cannot be those of another daemon. Returns their names. Call once, after adopting, before
    /// any container starts.
    pub fn sweep(&self) -> Result<Vec<String>> {
        if let Some(firewall) = self.firewall() {
            firewall.lay()?;
            let _ = self.zones.try_send(());
        }
        if let Some(outside) = &self.options().outside {
            outside.settle();
        }
        let lives: BTreeSet<ContainerId> =
            self.lock().endpoints.values().map(|known| known.container).collect();
        self.dns.sweep(|container| lives.contains(container));
        let mut removed = Vec::new();
        if !self.is_alone() {
            return Ok(removed);
        }
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        for link in netlink::dump_links(&mut socket)? {
            let state = self.lock();
            let leaked = match (
                link.alias.strip_prefix(ENDPOINT_ALIAS),
                link.alias.strip_prefix(NETWORK_ALIAS),
            ) {
                (Some(endpoint), _) => !state.endpoints.contains_key(endpoint),
                (_, Some(id)) => !state.networks.keys().any(|known| known.to_string() == id),
                (None, None) if link.alias == ROUND_ALIAS && link.name == ROUND_OUT => {
                    !state.networks.values().any(Network::is_guarded)
                }
                // A daemon that was killed between two messages has made it, and not said whose.
                (None, None) => {
                    let ours =
                        plan::host_end_mac(&link.name).is_some_and(|it| link.mac == Some(it));
                    let known = |id: &String| link.name.strip_prefix("veth") == id.get(..7);
                    ours && link.alias.is_empty() && !state.endpoints.keys().any(known)
                }
            };
            drop(state);
            if leaked {
                apply::delete_link(&mut socket, &link.name)?;
                removed.push(link.name);
            }
        }
        Ok(removed)
    }

    /// Compares the kernel's rules with ours and lays them again if somebody changed them.
    /// Returns whether it had to. A watching thread does so by itself whenever somebody touches
    /// our table, and at least every two seconds if anybody changes any rule.
    pub fn reconcile(&self) -> Result<bool> {
        self.firewall().map_or(Ok(false), |firewall| firewall.reconcile())
    }

    /// Counters of every interface but loopback in a namespace.
    pub fn interface_stats(&self, netns: BorrowedFd<'_>) -> Result<Vec<InterfaceStats>> {
        let links = within(netns, || {
            let mut socket = Socket::open(netlink::Family::Route, 0)?;
            netlink::dump_links(&mut socket)
        })?;
        Ok(links.into_iter().filter(|l| l.name != "lo").map(|l| l.stats).collect())
    }
}
