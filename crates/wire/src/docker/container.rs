//! Containers: create, list, inspect and the small answers. Never says what a state means.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::endpoint::{EndpointSettings, NetworkSettings, NetworkingConfig};
use super::host_config::HostConfig;
use super::image::{Descriptor, DriverData};
use super::json::Document;
use super::{Empty, StringMap, Strings, is_zero, json};

/// The part of a container's configuration that does not depend on its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// Host name.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// The creating client attaches to stdin.
    pub attach_stdin: bool,
    /// The creating client attaches to stdout.
    pub attach_stdout: bool,
    /// The creating client attaches to stderr.
    pub attach_stderr: bool,
    /// By `port/protocol`.
    #[serde(skip_serializing_if = "is_zero")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Give the process a terminal.
    pub tty: bool,
    /// Keep stdin open.
    pub open_stdin: bool,
    /// Close stdin when the first attached client leaves.
    pub stdin_once: bool,
    /// `NAME=value`; `NAME` alone removes it.
    pub env: Strings,
    /// Arguments; in requests one string is accepted too.
    #[serde(deserialize_with = "json::strings_or_one")]
    pub cmd: Strings,
    /// Health check.
    #[serde(skip_serializing_if = "is_zero")]
    pub healthcheck: Option<HealthConfig>,
    /// Windows only.
    #[serde(skip_serializing_if = "is_zero")]
    pub args_escaped: bool,
    /// Image reference as asked.
    pub image: String,
    /// Anonymous volumes by target.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Working directory.
    pub working_dir: String,
    /// Program; `[""]` resets the image's.
    #[serde(deserialize_with = "json::strings_or_one")]
    pub entrypoint: Strings,
    /// No network at all.
    #[serde(skip_serializing_if = "is_zero")]
    pub network_disabled: bool,
    /// Hardware address, as clients below 1.44 ask for it.
    #[serde(skip_serializing_if = "is_zero")]
    pub mac_address: String,
    /// Triggers of the image.
    pub on_build: Strings,
    /// Labels.
    pub labels: StringMap,
    /// Signal that stops the container; a name or a number as text.
    #[serde(skip_serializing_if = "is_zero")]
    pub stop_signal: String,
    /// Seconds between that signal and `SIGKILL`.
    #[serde(skip_serializing_if = "is_zero")]
    pub stop_timeout: Option<i64>,
    /// Shell of the image's shell forms.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "json::strings_or_one")]
    pub shell: Strings,
}

/// A health check. Durations are nanoseconds; 0 inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthConfig {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`; empty inherits.
    #[serde(skip_serializing_if = "is_zero")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Of one check.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Grace after start.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks during the grace.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row until unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Our own: what is done then: `none`, `restart`, `stop` or `kill`.
    #[serde(skip_serializing_if = "is_zero")]
    pub on_failure: String,
}

/// The body of `POST /containers/create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerCreateBody {
    /// Its fields stand at the top of the document.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// The part that depends on the host.
    pub host_config: Option<HostConfig>,
    /// Attachments to networks.
    pub networking_config: Option<NetworkingConfig>,
}

impl<'de> Deserialize<'de> for ContainerCreateBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Own {
            host_config: Option<HostConfig>,
            networking_config: Option<NetworkingConfig>,
        }
        let value = Document::deserialize(deserializer)?;
        let own: Own = json::embedded(&value)?;
        Ok(Self {
            config: json::embedded(&value)?,
            host_config: own.host_config,
            networking_config: own.networking_config,
        })
    }
}

/// The answer to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerCreateResponse {
    /// 64 hexadecimal digits.
    pub id: String,
    /// For the user.
    pub warnings: Vec<String>,
}

/// An element of `GET /containers/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSummary {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Names, each with a leading slash.
    pub names: Vec<String>,
    /// Image reference as asked, or the id if that no longer names it.
    pub image: String,
    /// Image id with algorithm.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// Manifest that the container was made from.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_manifest_descriptor: Option<Descriptor>,
    /// Command line.
    pub command: String,
    /// Unix seconds.
    pub created: i64,
    /// Exposed and published ports.
    pub ports: Vec<Port>,
    /// Bytes of the writable layer; only when asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_rw: Option<i64>,
    /// Bytes of the whole root filesystem; only when asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_root_fs: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `created`, `running`, `paused`, `restarting`, `exited`, `removing` or `dead`.
    pub state: String,
    /// The same for a person: `Up 3 minutes (healthy)`.
    pub status: String,
    /// Excerpt of the host configuration.
    pub host_config: SummaryHostConfig,
    /// Excerpt of the network settings.
    pub network_settings: SummaryNetworkSettings,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
    /// Health, from API 1.52 on.
    #[serde(skip_serializing_if = "is_zero")]
    pub health: Option<SummaryHealth>,
}

/// Excerpt of the host configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryHostConfig {
    /// As in the host configuration.
    #[serde(skip_serializing_if = "is_zero")]
    pub network_mode: String,
    /// As in the host configuration.
    #[serde(skip_serializing_if = "is_zero")]
    pub annotations: BTreeMap<String, String>,
}

/// Excerpt of the network settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryNetworkSettings {
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// Excerpt of the health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryHealth {
    /// `none`, `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: i64,
}

/// An exposed or published port of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Port {
    /// Host address.
    #[serde(rename = "IP", skip_serializing_if = "is_zero")]
    pub ip: String,
    /// Port inside.
    pub private_port: u16,
    /// Port on the host.
    #[serde(skip_serializing_if = "is_zero")]
    pub public_port: u16,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub protocol: String,
}

/// A mount of a container, as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs`, `image`.
    #[serde(rename = "Type", skip_serializing_if = "is_zero")]
    pub kind: String,
    /// Volume name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path inside.
    pub destination: String,
    /// Volume driver.
    #[serde(skip_serializing_if = "is_zero")]
    pub driver: String,
    /// Options as given.
    pub mode: String,
    /// Writable.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// Mount propagation.
    pub propagation: String,
}

/// The answer to `GET /containers/{id}/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerInspect {
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The state, in Docker's overlapping flags.
    pub state: ContainerState,
    /// Image id with algorithm.
    pub image: String,
    /// Path on the host.
    pub resolv_conf_path: String,
    /// Path on the host.
    pub hostname_path: String,
    /// Path on the host.
    pub hosts_path: String,
    /// Path on the host.
    pub log_path: String,
    /// With a leading slash.
    pub name: String,
    /// Restarts by policy.
    pub restart_count: i64,
    /// Snapshot driver.
    pub driver: String,
    /// `linux`.
    pub platform: String,
    /// SELinux label.
    pub mount_label: String,
    /// SELinux label.
    pub process_label: String,
    /// AppArmor profile.
    pub app_armor_profile: String,
    /// Execs that still exist.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Strings,
    /// The part that depends on the host.
    pub host_config: HostConfig,
    /// Snapshot details.
    pub graph_driver: DriverData,
    /// Bytes of the writable layer; only when asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_rw: Option<i64>,
    /// Bytes of the whole root filesystem; only when asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_root_fs: Option<i64>,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
    /// The part that does not depend on the host.
    pub config: ContainerConfig,
    /// Network state.
    pub network_settings: NetworkSettings,
    /// Manifest that the container was made from.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_manifest_descriptor: Option<Descriptor>,
}

/// A container's state. The flags overlap: a paused container is also running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerState {
    /// As in the list.
    pub status: String,
    /// Has a process.
    pub running: bool,
    /// Frozen.
    pub paused: bool,
    /// Between two runs.
    pub restarting: bool,
    /// Killed for memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Could not be removed.
    pub dead: bool,
    /// Of the init process; 0 without one.
    pub pid: i64,
    /// Of the last run.
    pub exit_code: i64,
    /// Why the last start failed.
    pub error: String,
    /// RFC 3339; year 1 if never.
    pub started_at: String,
    /// RFC 3339; year 1 if never.
    pub finished_at: String,
    /// Only with a health check.
    #[serde(skip_serializing_if = "is_zero")]
    pub health: Option<Health>,
}

/// A container's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    /// `starting`, `healthy`, `unhealthy` or `none`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: i64,
    /// The last results.
    pub log: Option<Vec<HealthcheckResult>>,
}

/// One run of a health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthcheckResult {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 healthy, 1 unhealthy, 2 reserved.
    pub exit_code: i64,
    /// What it printed.
    pub output: String,
}

/// The answer to `GET /containers/{id}/top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TopResponse {
    /// Rows of as many fields as titles.
    pub processes: Vec<Vec<String>>,
    /// Column titles.
    pub titles: Vec<String>,
}

/// An element of `GET /containers/{id}/changes`; the whole answer is `null` without changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FilesystemChange {
    /// Path inside.
    pub path: String,
    /// 0 modified, 1 added, 2 deleted.
    pub kind: u8,
}

/// The answer to `POST /containers/{id}/wait`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitResponse {
    /// Exit status.
    pub status_code: i64,
    /// Why waiting failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub error: Option<WaitError>,
}

/// Why waiting failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WaitError {
    /// For a person.
    pub message: String,
}

/// The answer to update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerUpdateResponse {
    /// For the user.
    pub warnings: Strings,
}

/// The answer to prune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainersPruneReport {
    /// Ids.
    pub containers_deleted: Strings,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// What `X-Docker-Container-Path-Stat` carries, as base64 of this JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathStat {
    /// Base name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode`.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a symbolic link leads, inside the container.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}
