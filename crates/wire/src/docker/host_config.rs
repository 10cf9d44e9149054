//! `HostConfig`: the part of a container that depends on its host. Validates nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::endpoint::PortMap;
use super::json::Document;
use super::{StringMap, Strings, is_zero, json};

/// The part of a container's configuration that depends on its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `source:target[:options]`.
    pub binds: Strings,
    /// File on the *client's* side that got the id.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Where output goes.
    pub log_config: LogConfig,
    /// `default`, `bridge`, `host`, `none`, `container:<id>` or a network's name.
    pub network_mode: String,
    /// Published ports.
    pub port_bindings: Option<PortMap>,
    /// What happens after exit.
    pub restart_policy: RestartPolicy,
    /// Remove the container when it exits.
    pub auto_remove: bool,
    /// Driver of the volumes named in `binds`.
    pub volume_driver: String,
    /// `container[:ro|rw]`.
    pub volumes_from: Strings,
    /// Height and width of the terminal at start.
    pub console_size: [u32; 2],
    /// For the runtime; never read by the engine.
    #[serde(skip_serializing_if = "is_zero")]
    pub annotations: StringMap,
    /// Capabilities to add.
    pub cap_add: Strings,
    /// Capabilities to drop.
    pub cap_drop: Strings,
    /// `private`, `host` or empty for the engine's default.
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Strings,
    /// `resolv.conf` options.
    pub dns_options: Strings,
    /// Search domains.
    pub dns_search: Strings,
    /// `name:address`.
    pub extra_hosts: Strings,
    /// Supplementary groups.
    pub group_add: Strings,
    /// `none`, `private`, `shareable`, `container:<id>`, `host` or empty.
    pub ipc_mode: String,
    /// Unused by Docker.
    pub cgroup: String,
    /// `container:alias`.
    pub links: Strings,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// Empty, `container:<id>` or `host`.
    pub pid_mode: String,
    /// Lift the isolation.
    pub privileged: bool,
    /// Publish every exposed port on a port of the engine's choice.
    pub publish_all_ports: bool,
    /// Mount the root filesystem read-only.
    pub readonly_rootfs: bool,
    /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`.
    pub security_opt: Strings,
    /// Options of the snapshot driver.
    #[serde(skip_serializing_if = "is_zero")]
    pub storage_opt: StringMap,
    /// Mount options by target.
    #[serde(skip_serializing_if = "is_zero")]
    pub tmpfs: StringMap,
    /// Empty or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Empty or `host`.
    pub userns_mode: String,
    /// Bytes of `/dev/shm`.
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "is_zero")]
    pub sysctls: StringMap,
    /// Name of a configured runtime.
    #[serde(skip_serializing_if = "is_zero")]
    pub runtime: String,
    /// Windows only.
    pub isolation: String,
    /// Limits; in JSON their fields stand among the others.
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    /// Mounts in the long form.
    #[serde(skip_serializing_if = "is_zero")]
    pub mounts: Option<Vec<Mount>>,
    /// Paths hidden from the container; `null` is the engine's default, `[]` is none.
    pub masked_paths: Strings,
    /// Paths made read-only; `null` is the engine's default, `[]` is none.
    pub readonly_paths: Strings,
    /// Run an init process as pid 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub init: Option<bool>,
}

impl Serialize for HostConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for HostConfig {
    /// Reads the document twice, as a host configuration and as its embedded resources.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Document::deserialize(deserializer)?;
        let resources = json::embedded(&value)?;
        let host = Self::deserialize(json::Lenient(value)).map_err(serde::de::Error::custom)?;
        Ok(Self { resources, ..host })
    }
}

/// The body of `POST /containers/{id}/update`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerUpdateBody {
    /// Limits; zero leaves one as it is.
    #[serde(flatten)]
    pub resources: Resources,
    /// An empty name leaves it as it is.
    pub restart_policy: RestartPolicy,
    /// Ports to publish besides those that are (this engine's own).
    #[serde(skip_serializing_if = "PortMap::is_empty")]
    pub publish_add: PortMap,
    /// Ports to take back, `[address:]port[-port][:container][/protocol]` (this engine's own).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish_remove: Vec<String>,
}

impl<'de> Deserialize<'de> for ContainerUpdateBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Own {
            restart_policy: RestartPolicy,
            publish_add: PortMap,
            publish_remove: Vec<String>,
        }
        let value = Document::deserialize(deserializer)?;
        let own: Own = json::embedded(&value)?;
        Ok(Self {
            resources: json::embedded(&value)?,
            restart_policy: own.restart_policy,
            publish_add: own.publish_add,
            publish_remove: own.publish_remove,
        })
    }
}

/// Limits of a container. Zero means unlimited or unset, unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// Relative weight, 2 to 262144.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Parent cgroup.
    pub cgroup_parent: String,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Weights by device.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Bytes per second.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Bytes per second.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Operations per second.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Operations per second.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Microseconds.
    pub cpu_realtime_runtime: i64,
    /// CPUs, `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Devices to pass.
    pub devices: Option<Vec<DeviceMapping>>,
    /// Rules as `c 42:* rmw`.
    pub device_cgroup_rules: Strings,
    /// Requests to device drivers (GPUs, CDI).
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Soft limit, bytes.
    pub memory_reservation: i64,
    /// Memory and swap together, bytes; -1 is unlimited swap.
    pub memory_swap: i64,
    /// 0 to 100; -1 and `null` mean unset.
    pub memory_swappiness: Option<i64>,
    /// Never kill for memory.
    pub oom_kill_disable: Option<bool>,
    /// 0, -1 and `null` mean unlimited or unchanged.
    pub pids_limit: Option<i64>,
    /// Resource limits of the process.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Windows only.
    pub cpu_count: i64,
    /// Windows only.
    pub cpu_percent: i64,
    /// Windows only.
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    /// Windows only.
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
}

/// A log driver and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file`, `local`, `none`, …; empty is the daemon's default.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its options.
    pub config: StringMap,
}

/// What happens after exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure` or empty.
    pub name: String,
    /// For `on-failure`; 0 is unlimited.
    pub maximum_retry_count: i64,
}

/// A block device's weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// Path on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A block device's rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// Path on the host.
    pub path: String,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// A device passed to the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    /// Path on the host.
    pub path_on_host: String,
    /// Path inside.
    pub path_in_container: String,
    /// Some of `rwm`.
    pub cgroup_permissions: String,
}

/// A request to a device driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// Driver name, such as `nvidia` or `cdi`.
    pub driver: String,
    /// -1 is all.
    pub count: i64,
    /// Device ids; exclusive with `count`.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Strings,
    /// Alternatives of sets.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Driver options.
    pub options: StringMap,
}

/// A resource limit of the process, as `setrlimit(2)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// Lower-case, without `RLIMIT_`.
    pub name: String,
    /// -1 is unlimited.
    pub hard: i64,
    /// -1 is unlimited.
    pub soft: i64,
}

/// A mount in the long form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind`, `volume`, `image`, `tmpfs`, `npipe` or `cluster`.
    #[serde(rename = "Type", skip_serializing_if = "is_zero")]
    pub kind: String,
    /// Host path, volume name or image.
    #[serde(skip_serializing_if = "is_zero")]
    pub source: String,
    /// Path inside.
    #[serde(skip_serializing_if = "is_zero")]
    pub target: String,
    /// Mount read-only.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only: bool,
    /// Ignored on Linux.
    #[serde(skip_serializing_if = "is_zero")]
    pub consistency: String,
    /// For `bind`.
    #[serde(skip_serializing_if = "is_zero")]
    pub bind_options: Option<BindOptions>,
    /// For `volume`.
    #[serde(skip_serializing_if = "is_zero")]
    pub volume_options: Option<VolumeOptions>,
    /// For `image`.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_options: Option<ImageOptions>,
    /// For `tmpfs`.
    #[serde(skip_serializing_if = "is_zero")]
    pub tmpfs_options: Option<TmpfsOptions>,
    /// Our own: whom its files appear to belong to.
    #[serde(skip_serializing_if = "is_zero")]
    pub owner: Option<MountOwner>,
}

/// Whom the files of a mount appear to belong to inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountOwner {
    /// User id.
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: Option<u32>,
    /// Group id.
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: Option<u32>,
    /// Permissions of a source that is made on the way, and of memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: Option<u32>,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindOptions {
    /// `private`, `rprivate`, `shared`, `rshared`, `slave` or `rslave`.
    #[serde(skip_serializing_if = "is_zero")]
    pub propagation: String,
    /// Without the mounts below the source.
    #[serde(skip_serializing_if = "is_zero")]
    pub non_recursive: bool,
    /// Create a missing source as a directory.
    #[serde(skip_serializing_if = "is_zero")]
    pub create_mountpoint: bool,
    /// Read-only without the mounts below.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_non_recursive: bool,
    /// Fail if the mounts below cannot be made read-only.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_force_recursive: bool,
}

/// Options of a volume mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    /// Do not fill an empty volume from the image.
    #[serde(skip_serializing_if = "is_zero")]
    pub no_copy: bool,
    /// Labels of a volume created on the way.
    #[serde(skip_serializing_if = "is_zero")]
    pub labels: BTreeMap<String, String>,
    /// Path inside the volume to mount.
    #[serde(skip_serializing_if = "is_zero")]
    pub subpath: String,
    /// Driver of a volume created on the way.
    #[serde(skip_serializing_if = "is_zero")]
    pub driver_config: Option<DriverConfig>,
}

/// A volume driver and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverConfig {
    /// Driver name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Its options.
    #[serde(skip_serializing_if = "is_zero")]
    pub options: BTreeMap<String, String>,
}

/// Options of an image mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageOptions {
    /// Path inside the image to mount.
    #[serde(skip_serializing_if = "is_zero")]
    pub subpath: String,
}

/// Options of a tmpfs mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    /// Bytes; 0 is the kernel's default.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    /// Permission bits as Go's `os.FileMode`.
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u32,
    /// Flags (`["exec"]`) and pairs (`["uid", "7"]`).
    #[serde(skip_serializing_if = "is_zero")]
    pub options: Vec<Vec<String>>,
}
