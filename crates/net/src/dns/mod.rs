//! Names: each container on a user-defined network has a resolver at 127.0.0.11:53, whose sockets
//! live in the container's namespace and whose tasks live in the daemon.
//!
//! ```text
//!  container ──▶ 127.0.0.11:53 ──▶ parse ──▶ names of its networks ──▶ answer
//!                 (server.rs)   (message.rs)    (names.rs)  └─ unknown ──▶ upstream.rs, from the
//!                                                  internal: NXDOMAIN       host's namespace
//! ```
//!
//! Never forwards for a container that is on internal networks only (law F3).

mod message;
mod names;
mod server;
mod upstream;

use crate::error::Result;
use crate::service::{Net, Network};
use model::ContainerId;
use model::network::{DriverKind, Endpoint};
use names::{Entry, Names};
use server::Server;
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use upstream::HostResolvers;

/// How a container's resolver answers.
#[derive(Clone, Debug, Default)]
pub struct DnsSettings {
    /// Servers that unknown names are forwarded to (`--dns`); empty: the host's, followed when
    /// the host's resolv.conf changes.
    pub servers: Vec<IpAddr>,
}

/// Every container's resolver, and what they know.
#[derive(Debug)]
pub(crate) struct Dns {
    shared: Arc<Shared>,
    servers: Mutex<HashMap<ContainerId, Server>>,
}

/// What all resolvers know.
#[derive(Debug)]
struct Shared {
    names: Mutex<Names>,
    host: HostResolvers,
}

impl Dns {
    /// Resolvers that forward to the servers in this resolv.conf.
    pub(crate) fn new(resolv_conf: PathBuf) -> Self {
        let host = HostResolvers::new(resolv_conf);
        let shared = Arc::new(Shared { names: Mutex::default(), host });
        Self { shared, servers: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.names().insert(&Entry {
            network: endpoint.network,
            network_name: &network.spec.name,
            internal: network.spec.internal,
            endpoint: &endpoint.id,
            container: endpoint.container,
            names: &endpoint.dns_names,
            v4,
            v6,
        });
    }

    /// Forgets an endpoint.
    pub(crate) fn unlearn(&self, endpoint: &Endpoint) {
        self.names().remove(&endpoint.network, &endpoint.id, &endpoint.container);
    }
}

impl Net {
    /// Opens 127.0.0.11:53 inside the container's namespace and answers there for the
    /// user-defined networks that the container is on. Must be called within a tokio runtime, and
    /// after the first [`Net::attach`]. Idempotent per container; ends with [`Net::stop_dns`] or
    /// the container's last [`Net::detach`].
    pub fn serve_dns(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
        settings: &DnsSettings,
    ) -> Result<()> {
        let mut servers = self.dns.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if !servers.contains_key(container) {
            let shared = Arc::clone(&self.dns.shared);
            let server = Server::start(shared, *container, netns, settings.servers.clone())?;
            servers.insert(*container, server);
        }
        Ok(())
    }

    /// Stops the container's resolver. Its sockets no longer keep the namespace alive.
    pub fn stop_dns(&self, container: &ContainerId) {
        let mut servers = self.dns.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.remove(container);
    }
}
