//! The node: containers, images, networks and volumes of this host, and what happens to them.
//!
//! [`Engine`] is a bag of handles; a caller receives the handle it needs. Each container is owned
//! by one actor task: requests are orders in its queue, its state leaves it only as snapshots
//! ([`model::view::ContainerView`]) that readers take without waiting for it.
//!
//! This crate never knows the Engine API's JSON, HTTP or the command line. It writes its intent
//! before it acts, so a daemon that was killed finishes or undoes at its next start.

mod actor;
mod apparmor;
mod artifacts;
mod attestations;
mod builds;
mod bundle;
mod cdi;
mod chunks;
mod clock;
mod containers;
mod error;
mod etc;
mod events;
mod execs;
mod filters;
mod host;
mod ids;
mod image_config;
mod image_shares;
mod imageless;
mod images;
mod link;
mod live;
mod logs;
mod managed;
pub mod metrics;
mod names;
mod networks;
mod node;
mod open;
mod options;
pub mod plugins;
mod random;
mod record;
mod review;
mod roster;
mod selinux;
mod shipping;
mod standby;
mod stats;
mod streams;
mod system;
mod teardown;
pub mod transfer;
mod uuid;
mod variants;
mod volume_mounts;
mod volume_plugins;
mod volume_uses;
mod volumes;
mod witness;

pub use ::registry::client::registry_host;
pub use actor::links::parts as link_parts;
pub use builds::{BuilderOptions, Builds, Handed, Handing, Look, PastBuild, Seen, Valuables};
pub use containers::{
    Containers, Created, ExitStatus, Outcome, RemoveOptions, WaitCondition, WaitHandle,
};
pub use error::EngineError;
pub use events::{EventBus, EventStream};
pub use execs::Execs;
pub use images::Images;
pub use managed::{ManagedPlugins, PluginOrder, PluginView};
pub use net::{
    Exposure, InterfaceStats, Iptables, Options as NetOptions, Outside, run_carrier, run_resolver,
};
pub use networks::Networks;
pub use options::{Options, OtherRuntime};
pub use review::Review;
pub use runtime::peer_groups;
pub use stats::{BlkioEntry, BlkioStats, CpuStats, MemoryStats, Stats};
pub use store::{mirror, unpacker};
pub use streams::*;
pub use system::{DiskUsage, System, SystemView};
pub use volumes::Volumes;
pub use witness::{Advice, Learned};

/// The values that configuration is made of, for the composition root.
pub mod settings {
    /// Bytes from `512m`, `10G`; the message of what is no size.
    pub fn size_bytes(text: &str) -> std::result::Result<u64, String> {
        model::size::bytes(text).map_err(|denied| denied.message)
    }

    pub use model::draft::{SeccompDraft, SecurityProfile, SharedNamespace};
    pub use model::network::{Cidr, Protocol};
    pub use model::resources::Ulimit;
    pub use net::{AddressPool, FirewallMark, PublishPolicy};
    pub use wire::docker::ApiVersion;
}

use std::sync::Arc;

/// The result of every engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// The node's handles. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// Containers and their lives.
    pub containers: Containers,
    /// Further processes in containers.
    pub execs: Execs,
    /// Images.
    pub images: Images,
    /// Builds and their cache.
    pub builds: Builds,
    /// Networks.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// Plugins that the node runs.
    pub managed: ManagedPlugins,
    /// What happened.
    pub events: EventBus,
    /// The host and the daemon itself.
    pub system: System,
}

impl Engine {
    /// Opens the node: store, networks, and every container that is recorded or still runs.
    pub async fn open(options: Options) -> Result<Self> {
        let node = open::open(options).await?;
        Ok(Self {
            containers: Containers { node: Arc::clone(&node) },
            execs: Execs { node: Arc::clone(&node) },
            images: Images { node: Arc::clone(&node) },
            builds: Builds::new(Arc::clone(&node)),
            networks: Networks { node: Arc::clone(&node) },
            volumes: Volumes { node: Arc::clone(&node) },
            managed: ManagedPlugins { node: Arc::clone(&node) },
            events: node.events.clone(),
            system: System { node },
        })
    }

    /// The node's plugins: for those parts of the daemon that ask them outside the engine.
    pub fn plugins(&self) -> &Arc<plugins::Plugins> {
        &self.system.node.plugins
    }

    /// For a daemon that has had nothing to do for a while: what is promised to survive this
    /// process alone goes to disk, and out of memory.
    pub async fn rest(&self) {
        let node = &self.system.node;
        if node.store.records().is_settled() {
            return;
        }
        let flushing = Arc::clone(node);
        let flushed = node::blocking(move || Ok(flushing.store.records().flush()?)).await;
        if let Err(error) = flushed {
            tracing::warn!(%error, "write records while idle");
        }
    }

    /// The daemon ends: containers go on, or are stopped when live restore is off. What was
    /// promised to be written is on disk when this returns.
    pub async fn shutdown(&self) {
        let node = &self.system.node;
        let live = node.live();
        if !live.options.live_restore {
            let running = self.containers.list().into_iter();
            let running = running.filter(|view| view.phase.run().is_some()).map(|view| view.id);
            let timeout_s = Some(live.options.shutdown_timeout);
            self.containers.leave_all(running.collect(), timeout_s).await;
        }
        node.teardowns.idle().await;
        if !live.options.live_restore {
            managed::halt(node).await;
        }
        let flushing = Arc::clone(node);
        let flushed = node::blocking(move || Ok(flushing.store.records().flush()?)).await;
        if let Err(error) = flushed {
            tracing::error!(%error, "write the last records");
        }
    }
}
