//! Drivers outside the daemon: what they are asked, as a trait that the engine implements with its
//! plugins. This module never knows their protocol.

use crate::error::{Error, Result};
use crate::service::Net;
use model::error::Denied;
use model::network::{Cidr, Endpoint, NetworkSpec, Pool, PoolDraft};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Network drivers and address management drivers by name. Every method may block for as long as
/// a plugin may take; a refusal names the plugin.
pub trait Remote: std::fmt::Debug + Send + Sync {
    /// Refuses names that no network driver has.
    fn find_driver(&self, driver: &str) -> Result<(), Denied>;
    /// Refuses names that no address management driver has.
    fn find_ipam(&self, driver: &str) -> Result<(), Denied>;
    /// A network was made.
    fn create_network(&self, driver: &str, network: &NetworkSpec) -> Result<(), Denied>;
    /// A network was removed.
    fn delete_network(&self, driver: &str, network: &NetworkSpec) -> Result<(), Denied>;
    /// A container is about to join; the driver may choose what the endpoint lacks.
    fn create_endpoint(
        &self,
        driver: &str,
        network: &NetworkSpec,
        endpoint: &mut Endpoint,
    ) -> Result<(), Denied>;
    /// An endpoint is gone.
    fn delete_endpoint(&self, driver: &str, endpoint: &Endpoint) -> Result<(), Denied>;
    /// A container joins; `sandbox` is the path of its network namespace.
    fn join(&self, driver: &str, endpoint: &Endpoint, sandbox: &str) -> Result<Joined, Denied>;
    /// A container leaves.
    fn leave(&self, driver: &str, endpoint: &Endpoint) -> Result<(), Denied>;
    /// A block of addresses, with the id that the driver gives it.
    fn request_pool(&self, ask: &PoolAsk<'_>) -> Result<(String, Cidr), Denied>;
    /// A block is no longer needed.
    fn release_pool(&self, driver: &str, pool: &str) -> Result<(), Denied>;
    /// An address of a block.
    fn request_address(&self, ask: &AddressAsk<'_>) -> Result<Cidr, Denied>;
    /// An address is no longer needed.
    fn release_address(&self, driver: &str, pool: &str, addr: IpAddr) -> Result<(), Denied>;
}

/// A block that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PoolAsk<'a> {
    /// The address management driver.
    pub driver: &'a str,
    /// What was asked of the network.
    pub pool: &'a PoolDraft,
    /// Options of the network's address management.
    pub options: &'a std::collections::BTreeMap<String, String>,
    /// An IPv6 block.
    pub v6: bool,
}

/// An address that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct AddressAsk<'a> {
    /// The address management driver.
    pub driver: &'a str,
    /// The driver's id of the block.
    pub pool: &'a str,
    /// This one; `None` for any.
    pub addr: Option<IpAddr>,
    /// It is for the gateway.
    pub gateway: bool,
    /// The hardware address it is for, if there is one yet.
    pub mac: Option<[u8; 6]>,
}

/// How a container joins a plugin's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The link on the host that becomes the container's; `None` when there is none to move.
    pub link: Option<String>,
    /// What its name in the container begins with.
    pub prefix: String,
    /// Gateways, by family.
    pub gateways: Vec<IpAddr>,
    /// Routes to blocks, by a gateway or by the link itself.
    pub routes: Vec<(Cidr, Option<IpAddr>)>,
}

/// The driver of the daemon's own address management.
pub(crate) const DEFAULT_IPAM: &str = "default";
/// The driver that gives no addresses.
pub(crate) const NULL_IPAM: &str = "null";

/// Whether a network's addresses are given by a plugin.
pub(crate) fn has_remote_ipam(driver: &str) -> bool {
    !matches!(driver, "" | DEFAULT_IPAM | NULL_IPAM)
}

/// The path by which another process finds a namespace while the descriptor is open.
pub(crate) fn sandbox(netns: BorrowedFd<'_>) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd())
}

impl Net {
    pub(crate) fn remote(&self) -> Result<Arc<dyn Remote>, Denied> {
        let none = || Denied::not_found("there are no network plugins here");
        self.options().remote.clone().ok_or_else(none)
    }

    /// The blocks of a network whose addresses a plugin gives.
    pub(crate) fn request_pools(
        &self,
        driver: &str,
        drafts: &[PoolDraft],
        options: &std::collections::BTreeMap<String, String>,
    ) -> Result<Vec<Pool>> {
        let remote = self.remote()?;
        remote.find_ipam(driver)?;
        let any = [PoolDraft::default()];
        let drafts = if drafts.is_empty() { &any } else { drafts };
        let mut pools = Vec::new();
        for draft in drafts {
            match request(remote.as_ref(), (driver, draft, options)) {
                Ok(pool) => pools.push(pool),
                Err(denied) => {
                    self.release_pools(driver, &pools);
                    return Err(denied.into());
                }
            }
        }
        Ok(pools)
    }

    /// Gives blocks back. What fails is only told: nothing of ours depends on it.
    pub(crate) fn release_pools(&self, driver: &str, pools: &[Pool]) {
        let Ok(remote) = self.remote() else { return };
        for pool in pools {
            let reserved = pool.gateway.iter().chain(pool.reserved.values());
            for addr in reserved {
                told(remote.release_address(driver, &pool.remote, *addr));
            }
            told(remote.release_pool(driver, &pool.remote));
        }
    }

    /// The addresses of an endpoint, from a plugin.
    pub(crate) fn request_addresses(
        &self,
        spec: &NetworkSpec,
        endpoint: &mut Endpoint,
    ) -> Result<()> {
        let remote = self.remote()?;
        for v4 in [true, false] {
            let pool = spec.pools.iter().find(|pool| pool.subnet.addr.is_ipv4() == v4);
            let Some(pool) = pool else { continue };
            let addr = match v4 {
                true => endpoint.draft.ipv4.map(IpAddr::V4),
                false => endpoint.draft.ipv6.map(IpAddr::V6),
            };
            let ask = AddressAsk {
                driver: &spec.ipam_driver,
                pool: &pool.remote,
                addr,
                gateway: false,
                mac: endpoint.draft.mac,
            };
            match remote.request_address(&ask) {
                Ok(cidr) if v4 => endpoint.ipv4 = Some(cidr),
                Ok(cidr) => endpoint.ipv6 = Some(cidr),
                Err(denied) => {
                    self.release_addresses(spec, endpoint);
                    return Err(Error::from(denied));
                }
            }
        }
        Ok(())
    }

    /// Gives an endpoint's addresses back to a plugin.
    pub(crate) fn release_addresses(&self, spec: &NetworkSpec, endpoint: &Endpoint) {
        let Ok(remote) = self.remote() else { return };
        for cidr in [endpoint.ipv4, endpoint.ipv6].into_iter().flatten() {
            let pool = spec.pools.iter().find(|pool| pool.subnet.contains(cidr.addr));
            if let Some(pool) = pool {
                told(remote.release_address(&spec.ipam_driver, &pool.remote, cidr.addr));
            }
        }
    }
}

fn request(
    remote: &dyn Remote,
    (driver, draft, options): (&str, &PoolDraft, &std::collections::BTreeMap<String, String>),
) -> Result<Pool, Denied> {
    let v6 = draft.subnet.is_some_and(|subnet| subnet.addr.is_ipv6());
    let (id, subnet) = remote.request_pool(&PoolAsk { driver, pool: draft, options, v6 })?;
    let address = |addr, gateway| {
        remote.request_address(&AddressAsk { driver, pool: &id, addr, gateway, mac: None })
    };
    let outcome = (|| {
        let gateway = address(draft.gateway, true)?.addr;
        for addr in draft.reserved.values() {
            address(Some(*addr), false)?;
        }
        Ok(gateway)
    })();
    match outcome {
        Ok(gateway) => Ok(Pool {
            subnet: subnet.network(),
            range: draft.range,
            gateway: Some(gateway),
            reserved: draft.reserved.clone(),
            remote: id,
        }),
        Err(denied) => {
            told(remote.release_pool(driver, &id));
            Err(denied)
        }
    }
}

/// A plugin that fails to take something back keeps nobody from going on.
pub(crate) fn told(outcome: Result<(), Denied>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "give back to a network plugin");
    }
}
