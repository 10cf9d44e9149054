//! The engine about itself: version, info, disk usage. Never probes a host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::ContainerSummary;
use super::image::ImageSummary;
use super::volume::Volume;
use super::{StringMap, Strings, is_zero};

/// The answer to `GET /version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    /// Product.
    pub platform: PlatformName,
    /// Parts and their versions.
    pub components: Vec<Component>,
    /// Engine version.
    pub version: String,
    /// Newest API version.
    pub api_version: String,
    /// Oldest API version.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Commit the engine was built from.
    pub git_commit: String,
    /// Compiler; the name is historical.
    pub go_version: String,
    /// `linux`.
    pub os: String,
    /// `amd64`, …
    pub arch: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// Experimental features are on.
    #[serde(skip_serializing_if = "is_zero")]
    pub experimental: bool,
    /// RFC 3339.
    #[serde(skip_serializing_if = "is_zero")]
    pub build_time: String,
}

/// Product name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlatformName {
    /// For a person.
    pub name: String,
}

/// A part of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// As the part likes.
    pub details: StringMap,
}

/// The answer to `GET /info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// Identifies the engine over restarts.
    #[serde(rename = "ID")]
    pub id: String,
    /// All containers.
    pub containers: i64,
    /// Running.
    pub containers_running: i64,
    /// Paused.
    pub containers_paused: i64,
    /// Stopped.
    pub containers_stopped: i64,
    /// Images.
    pub images: i64,
    /// Snapshot driver.
    pub driver: String,
    /// What it says about itself.
    pub driver_status: Vec<[String; 2]>,
    /// Plugins by kind.
    pub plugins: PluginsInfo,
    /// Kernel has it.
    pub memory_limit: bool,
    /// Kernel has it; only for clients below 1.42, which warn where it is missing.
    #[serde(skip_serializing_if = "is_zero")]
    pub kernel_memory: Option<bool>,
    /// Kernel has it.
    pub swap_limit: bool,
    /// Kernel has it.
    pub cpu_cfs_period: bool,
    /// Kernel has it.
    pub cpu_cfs_quota: bool,
    /// Kernel has it.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    /// Kernel has it.
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    /// Kernel has it.
    pub pids_limit: bool,
    /// Host forwards IPv4.
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// Kernel has it; only for clients below 1.50.
    #[serde(rename = "BridgeNfIptables", skip_serializing_if = "is_zero")]
    pub bridge_nf_iptables: bool,
    /// Kernel has it; only for clients below 1.50.
    #[serde(rename = "BridgeNfIp6tables", skip_serializing_if = "is_zero")]
    pub bridge_nf_ip6tables: bool,
    /// Debug logging is on.
    pub debug: bool,
    /// Open file descriptors; only with debug.
    #[serde(rename = "NFd")]
    pub n_fd: i64,
    /// Kernel has it.
    pub oom_kill_disable: bool,
    /// Tasks; the name is historical.
    #[serde(rename = "NGoroutines")]
    pub n_goroutines: i64,
    /// RFC 3339.
    pub system_time: String,
    /// Default log driver.
    pub logging_driver: String,
    /// `cgroupfs`, `systemd` or `none`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    #[serde(skip_serializing_if = "is_zero")]
    pub cgroup_version: String,
    /// Event listeners.
    #[serde(rename = "NEventsListener")]
    pub n_events_listener: i64,
    /// `uname -r`.
    pub kernel_version: String,
    /// Of `/etc/os-release`.
    pub operating_system: String,
    /// Of `/etc/os-release`.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// `uname -m`.
    pub architecture: String,
    /// Always Docker Hub's.
    pub index_server_address: String,
    /// Registry settings.
    pub registry_config: Option<RegistryServiceConfig>,
    /// CPUs.
    #[serde(rename = "NCPU")]
    pub n_cpu: i64,
    /// Bytes.
    pub mem_total: i64,
    /// Swarm resources.
    pub generic_resources: Strings,
    /// Data directory.
    pub docker_root_dir: String,
    /// Proxy settings.
    pub http_proxy: String,
    /// Proxy settings.
    pub https_proxy: String,
    /// Proxy settings.
    pub no_proxy: String,
    /// Host name.
    pub name: String,
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// Experimental features are on.
    pub experimental_build: bool,
    /// Engine version.
    pub server_version: String,
    /// By name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// Name of the default runtime.
    pub default_runtime: String,
    /// Swarm state.
    pub swarm: SwarmInfo,
    /// Containers live on without the daemon.
    pub live_restore_enabled: bool,
    /// Windows only.
    pub isolation: String,
    /// Program of `--init`.
    pub init_binary: String,
    /// Always empty.
    pub containerd_commit: Commit,
    /// Runtime's commit.
    pub runc_commit: Commit,
    /// Init's commit.
    pub init_commit: Commit,
    /// `name=seccomp,profile=builtin`, …
    pub security_options: Vec<String>,
    /// Pools that networks take subnets from.
    #[serde(skip_serializing_if = "is_zero")]
    pub default_address_pools: Vec<AddressPool>,
    /// What drives the firewall.
    #[serde(skip_serializing_if = "is_zero")]
    pub firewall_backend: Option<FirewallInfo>,
    /// Directories of CDI specifications.
    #[serde(rename = "CDISpecDirs")]
    pub cdi_spec_dirs: Vec<String>,
    /// Devices that containers can ask for by name.
    #[serde(skip_serializing_if = "is_zero")]
    pub discovered_devices: Vec<DeviceInfo>,
    /// For the user.
    pub warnings: Strings,
}

/// A device that containers can ask for by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceInfo {
    /// Who knows it: `cdi`.
    pub source: String,
    /// Its full name.
    #[serde(rename = "ID")]
    pub id: String,
}

/// Plugins by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PluginsInfo {
    /// Volume drivers.
    pub volume: Vec<String>,
    /// Network drivers.
    pub network: Vec<String>,
    /// Authorization plugins.
    pub authorization: Strings,
    /// Log drivers.
    pub log: Vec<String>,
}

/// Registry settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegistryServiceConfig {
    /// Networks whose registries may do without TLS.
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub insecure_registry_cidrs: Vec<String>,
    /// By host.
    pub index_configs: BTreeMap<String, IndexInfo>,
    /// Mirrors of Docker Hub.
    pub mirrors: Strings,
}

/// One registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexInfo {
    /// Host.
    pub name: String,
    /// Its mirrors.
    pub mirrors: Vec<String>,
    /// TLS with a verified certificate.
    pub secure: bool,
    /// Docker Hub.
    pub official: bool,
}

/// A configured runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Runtime {
    /// Program.
    #[serde(skip_serializing_if = "is_zero")]
    pub path: String,
    /// Arguments before the command.
    #[serde(skip_serializing_if = "is_zero")]
    pub runtime_args: Vec<String>,
    /// As the runtime likes.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: BTreeMap<String, String>,
}

/// Swarm state of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SwarmInfo {
    /// Id in the swarm.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Address in the swarm.
    pub node_addr: String,
    /// `inactive`, `pending`, `active`, `error` or `locked`.
    pub local_node_state: String,
    /// Is a manager.
    pub control_available: bool,
    /// Why it failed.
    pub error: String,
    /// Managers.
    pub remote_managers: Option<Vec<PeerNode>>,
}

/// A swarm manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PeerNode {
    /// Id in the swarm.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Address.
    pub addr: String,
}

/// Commit that a part was built from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// Hash or version.
    #[serde(rename = "ID")]
    pub id: String,
    /// The one that was meant; only for clients below 1.49.
    #[serde(rename = "Expected", skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// A pool that networks take subnets from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AddressPool {
    /// CIDR.
    pub base: String,
    /// Prefix length of each subnet.
    pub size: u8,
}

/// What drives the firewall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FirewallInfo {
    /// `nftables`, `iptables`.
    pub driver: String,
    /// What it says about itself.
    #[serde(skip_serializing_if = "is_zero")]
    pub info: Vec<[String; 2]>,
}

/// The answer to `GET /system/df` below API 1.52; `null` is what was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LegacyDiskUsage {
    /// Bytes of all layers.
    pub layers_size: i64,
    /// Images.
    pub images: Option<Vec<ImageSummary>>,
    /// Containers, with sizes.
    pub containers: Option<Vec<ContainerSummary>>,
    /// Volumes, with use.
    pub volumes: Option<Vec<Volume>>,
    /// Build cache.
    pub build_cache: Option<Vec<BuildCache>>,
}

/// The answer to `GET /system/df` from API 1.52 on; absent is what was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DiskUsage {
    /// Images.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_usage: Option<Usage<ImageSummary>>,
    /// Containers.
    #[serde(skip_serializing_if = "is_zero")]
    pub container_usage: Option<Usage<ContainerSummary>>,
    /// Volumes.
    #[serde(skip_serializing_if = "is_zero")]
    pub volume_usage: Option<Usage<Volume>>,
    /// Build cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub build_cache_usage: Option<Usage<BuildCache>>,
}

/// Disk use of one kind of object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Usage<T: Default + PartialEq> {
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub active_count: i64,
    /// All.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_count: i64,
    /// Bytes that prune would free.
    #[serde(skip_serializing_if = "is_zero")]
    pub reclaimable: i64,
    /// Bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_size: i64,
    /// Only when verbose.
    #[serde(skip_serializing_if = "is_zero")]
    pub items: Vec<T>,
}

/// An entry of the build cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BuildCache {
    /// Id.
    #[serde(rename = "ID")]
    pub id: String,
    /// What it depends on.
    #[serde(skip_serializing_if = "is_zero")]
    pub parents: Vec<String>,
    /// `regular`, `source.local`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// Step that made it.
    pub description: String,
    /// A build uses it now.
    pub in_use: bool,
    /// An image holds it as well.
    pub shared: bool,
    /// Bytes.
    pub size: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub last_used_at: Option<String>,
    /// Times.
    pub usage_count: i64,
}

/// The answer to `POST /build/prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BuildCachePruneReport {
    /// Ids.
    pub caches_deleted: Strings,
    /// Bytes.
    pub space_reclaimed: u64,
}
