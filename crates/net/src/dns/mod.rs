//! Names: each container on a user-defined network has a resolver at 127.0.0.11:53, whose sockets
//! live in the container's namespace. One small process answers on all of them. It is started by
//! the daemon and outlives it: names go on being answered while the daemon is down, and end with
//! the containers.
//!
//! ```text
//!  container ──▶ 127.0.0.11:53 ──▶ parse ──▶ names of its networks ──▶ answer
//!                 (server.rs)   (message.rs)    (names.rs)  └─ unknown ──▶ upstream.rs, from the
//!                                 station.rs                                host's namespace, or
//!                                     ▲                                     the container's own
//!  daemon: agent.rs ── order.rs ──────┘                                     servers: inside.rs
//! ```
//!
//! No question leaves internal networks (law F3): for a container that is on nothing else, the
//! host's servers are not asked, and its own ones are asked through those networks.

mod agent;
mod inside;
mod message;
mod names;
mod order;
mod punycode;
mod server;
mod station;
mod upstream;

use crate::error::{Error, Result};
use crate::service::{Net, Network};
use agent::Agent;
use model::ContainerId;
use model::network::{DriverKind, Endpoint};
use names::Entry;
use order::Post;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use station::Source;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// How a container's resolver answers.
#[derive(Clone, Debug, Default)]
pub struct DnsSettings {
    /// Servers that unknown names are forwarded to (`--dns`), from the container's namespace;
    /// empty: the host's, followed when the host's resolv.conf changes.
    pub servers: Vec<IpAddr>,
    /// A process that ends with the container: its monitor. With it ends the resolver, should
    /// there be no daemon then to say so.
    pub lives_with: Option<i32>,
}

/// Every container's resolver, and what they know.
#[derive(Debug)]
pub(crate) struct Dns(Arc<Agent>);

impl Dns {
    /// Resolvers that forward to the servers in this resolv.conf; `dir` is where the resolver of
    /// a former daemon is met, `None` for one that ends with this process.
    pub(crate) fn new(dir: Option<PathBuf>, resolv_conf: PathBuf) -> Self {
        Self(Agent::new(dir, resolv_conf))
    }

    /// Forwards to the servers in this resolv.conf from now on.
    pub(crate) fn follow(&self, resolv_conf: PathBuf) {
        self.0.follow(resolv_conf);
    }

    /// Answers for an endpoint from now on. The default bridge has no names, as in Docker.
    pub(crate) fn learn(&self, endpoint: &Endpoint, network: &Network) {
        let none = matches!(network.spec.driver, DriverKind::Host | DriverKind::Null);
        if none || network.options.is_default {
            return;
        }
        let addr = |cidr: Option<model::network::Cidr>| cidr.map(|cidr| cidr.addr);
        let v4 = match addr(endpoint.ipv4) {
            Some(IpAddr::V4(v4)) => Some(v4),
            _ => None,
        };
        let v6 = match addr(endpoint.ipv6) {
            Some(IpAddr::V6(v6)) => Some(v6),
            _ => None,
        };
        let link = |link: &String| {
            let (target, alias) = link.split_once(':').unwrap_or((link, link));
            (alias.to_owned(), target.trim_start_matches('/').to_owned())
        };
        self.0.learn(Entry {
            network: endpoint.network,
            network_name: network.spec.name.clone(),
            internal: network.spec.internal,
            endpoint: endpoint.id.clone(),
            container: endpoint.container,
            names: endpoint.dns_names.clone(),
            links: endpoint.draft.links.iter().map(link).collect(),
            v4,
            v6,
        });
    }

    /// Forgets an endpoint.
    pub(crate) fn unlearn(&self, endpoint: &Endpoint) {
        self.0.unlearn(&endpoint.id);
    }

    /// Ends a restart: forgets what was not learnt since, and containers that do not live.
    pub(crate) fn sweep(&self, lives: impl Fn(&ContainerId) -> bool) {
        self.0.sweep(lives);
    }
}

impl Net {
    /// Opens 127.0.0.11:53 inside the container's namespace and answers there for the
    /// user-defined networks that the container is on. To be called after the first
    /// [`Net::attach`]. Idempotent per container; ends with [`Net::stop_dns`] or the container's
    /// last [`Net::detach`].
    pub fn serve_dns(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
        settings: &DnsSettings,
    ) -> Result<()> {
        if self.dns.0.serves(container) {
            return Ok(());
        }
        let (datagrams, streams) = server::open_inside(netns)?;
        let mut fds = vec![datagrams, streams];
        fds.extend(inside::open(netns, &settings.servers)?);
        // One that is gone already is found out by whoever started it.
        let process = settings.lives_with.and_then(Pid::from_raw);
        fds.extend(process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()));
        let post = Post { container: *container, servers: settings.servers.clone() };
        self.dns.0.serve(post, fds)
    }

    /// Stops the container's resolver. Its sockets no longer keep the namespace alive.
    pub fn stop_dns(&self, container: &ContainerId) {
        self.dns.0.stop(container);
    }
}

/// Runs the resolver that a daemon has started, until it is not needed any more. It forwards from
/// the namespaces that it was started in and has no privileges.
///
/// # Errors
/// The socket that the daemon should have given is not there, or the event loop does not start.
pub fn run_resolver(resolv_conf: PathBuf) -> Result<()> {
    let act = |act: &'static str| Error::io(act);
    let listener = sys::resident::inherited_fd(agent::LISTENER_FD)
        .map_err(act("take over the resolver's socket"))?;
    // Neither the host's mounts nor a terminal's end are its business.
    let _ = sys::resident::own_mount_namespace();
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    let refused = |errno: rustix::io::Errno| act("give up privileges")(errno.into());
    set_no_new_privs(true).map_err(refused)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(refused)?;
    station::run(Source::Daemons(listener), resolv_conf).map_err(act("answer names"))
}
