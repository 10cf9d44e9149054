//! The node: containers, images, networks and volumes of this host, and what happens to them.
//!
//! [`Engine`] is a bag of handles; a caller receives the handle it needs. Each container is owned
//! by one actor task: requests are orders in its queue, its state leaves it only as snapshots
//! ([`model::view::ContainerView`]) that readers take without waiting for it.
//!
//! This crate never knows the Engine API's JSON, HTTP or the command line. It writes its intent
//! before it acts, so a daemon that was killed finishes or undoes at its next start.

mod clock;
mod containers;
mod error;
mod events;
mod execs;
mod images;
mod networks;
mod node;
mod options;
mod stats;
mod streams;
mod system;
mod volumes;

pub use containers::{
    Containers, Created, ExitStatus, Outcome, RemoveOptions, WaitCondition, WaitHandle,
};
pub use error::EngineError;
pub use events::{EventBus, EventStream};
pub use execs::Execs;
pub use images::Images;
pub use net::{InterfaceStats, Options as NetOptions};
pub use networks::Networks;
pub use options::Options;
pub use stats::{BlkioEntry, BlkioStats, CpuStats, MemoryStats, Stats};
pub use streams::*;
pub use system::{DiskUsage, System, SystemView};
pub use volumes::Volumes;

/// The values that configuration is made of, for the composition root.
pub mod settings {
    pub use model::draft::SecurityProfile;
    pub use model::network::Cidr;
    pub use model::resources::Ulimit;
    pub use net::AddressPool;
}

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
    /// Networks.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// What happened.
    pub events: EventBus,
    /// The host and the daemon itself.
    pub system: System,
}

impl Engine {
    /// Opens the node: store, networks, and every container that is recorded or still runs.
    pub async fn open(_options: Options) -> Result<Self> {
        Err(EngineError::Unsupported("not yet"))
    }

    /// The daemon ends: containers go on, or are stopped when live restore is off.
    pub async fn shutdown(&self) {}
}
