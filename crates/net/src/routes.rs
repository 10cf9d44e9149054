//! Routes of the host that lead into a network's subnet: a VPN that came up later, say. What is
//! behind such a route is not reached from the network, or the network not from the host; which of
//! the two is the kernel's choice. Tells, and changes nothing.

use crate::error::{Error, Result};
use crate::netlink::{self, Address, Socket};
use crate::plan::NETWORK_ALIAS;
use crate::service::{Net, State};
use model::network::{Cidr, DriverKind, NetworkSpec};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

/// Bits of `RTNLGRP_IPV4_ROUTE` and `RTNLGRP_IPV6_ROUTE` in a multicast mask.
const GROUPS: u32 = 1 << (7 - 1) | 1 << (11 - 1);

/// Who is told of routes that came later. Called from a thread of its own; must not wait.
pub trait RouteNews: std::fmt::Debug + Send + Sync {
    /// The host has got a route by this interface that overlaps a subnet of the network.
    fn overlap(&self, network: &NetworkSpec, subnet: Cidr, route: (Cidr, &str));
}

impl Net {
    /// Routes of the host, other than through the network's own bridge, that overlap its subnets;
    /// each as a sentence.
    pub fn overlapping_routes(&self, spec: &NetworkSpec) -> Result<Vec<String>> {
        if !is_routed_to(spec) {
            return Ok(Vec::new());
        }
        let mut socket = Socket::open(netlink::Family::Route, 0)?;
        let links = netlink::dump_links(&mut socket)?;
        let own = |index: u32| {
            let bridge = spec.bridge.as_deref();
            links.iter().any(|link| {
                link.index == index
                    && (Some(link.name.as_str()) == bridge || link.alias.starts_with(NETWORK_ALIAS))
            })
        };
        let routes = netlink::dump_routes(&mut socket)?;
        let name = |index: u32| {
            let link = links.iter().find(|link| link.index == index);
            link.map_or_else(|| "no interface".to_owned(), |link| link.name.clone())
        };
        let subnets = || spec.pools.iter().map(|pool| pool.subnet);
        let overlaps = routes.iter().filter(|route| !own(route.index)).flat_map(|route| {
            let hit = subnets().find(|subnet| subnet.overlaps(route.cidr));
            hit.map(|subnet| sentence(&spec.name, subnet, (route.cidr, &name(route.index))))
        });
        Ok(overlaps.collect())
    }
}

/// Whether the host has routes into the network. Under an interface of its own a network shares the
/// subnet that is there anyway.
fn is_routed_to(spec: &NetworkSpec) -> bool {
    !spec.config_only && !matches!(spec.driver, DriverKind::Macvlan | DriverKind::Ipvlan)
}

fn sentence(network: &str, subnet: Cidr, (route, link): (Cidr, &str)) -> String {
    format!(
        "the subnet {subnet} of network {network} overlaps the host's route to {route} by {link}: \
         one of them will not be reached"
    )
}

/// The thread that waits for such routes; ends when dropped.
#[derive(Debug)]
pub(crate) struct RouteWatch {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl RouteWatch {
    /// Watches in the calling thread's network namespace.
    pub(crate) fn start(
        state: &Arc<Mutex<State>>,
        news: Option<Arc<dyn RouteNews>>,
    ) -> Result<Self> {
        let act = "start watching routes";
        let socket = Socket::open(netlink::Family::Route, GROUPS)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| Error::io(act)(e.into()))?;
        let stop = Arc::new(stop);
        let (state, wake) = (Arc::downgrade(state), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("net-routes".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || run(socket, &state, &wake, news.as_deref()))
            .map_err(Error::io(act))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for RouteWatch {
    fn drop(&mut self) {
        // An eventfd takes eight bytes; it fails only when full, and then it wakes as well.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    mut socket: Socket,
    state: &Weak<Mutex<State>>,
    stop: &OwnedFd,
    news: Option<&dyn RouteNews>,
) {
    loop {
        let mut fds = [PollFd::new(&socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        let mut new: Vec<Address> = Vec::new();
        let _ = socket.receive(|message| {
            new.extend(netlink::new_route(message));
            true
        });
        let Some(state) = state.upgrade() else { return };
        if let Err(error) = tell(&state, &new, news) {
            tracing::warn!(%error, "look at new routes");
        }
    }
}

/// Says which networks the new routes overlap.
fn tell(state: &Mutex<State>, new: &[Address], news: Option<&dyn RouteNews>) -> Result<()> {
    let mut hits: Vec<(NetworkSpec, Cidr, Address)> = Vec::new();
    {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        for network in state.networks.values().filter(|network| is_routed_to(&network.spec)) {
            let spec = &network.spec;
            for subnet in spec.pools.iter().map(|pool| pool.subnet) {
                let over = new.iter().filter(|route| subnet.overlaps(route.cidr));
                hits.extend(over.map(|route| (spec.clone(), subnet, *route)));
            }
        }
    }
    if hits.is_empty() {
        return Ok(());
    }
    let links = netlink::dump_links(&mut Socket::open(netlink::Family::Route, 0)?)?;
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let bridges: BTreeSet<String> =
        state.networks.values().filter_map(|network| network.spec.bridge.clone()).collect();
    drop(state);
    for (network, subnet, route) in hits {
        let link = links.iter().find(|link| link.index == route.index);
        let name = link.map_or("no interface", |link| link.name.as_str());
        if !bridges.contains(name) {
            tracing::warn!("{}", sentence(&network.name, subnet, (route.cidr, name)));
            if let Some(news) = news {
                news.overlap(&network, subnet, (route.cidr, name));
            }
        }
    }
    Ok(())
}
