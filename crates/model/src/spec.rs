//! What a container was resolved to: no defaults left open, no text left to parse.
//! [`crate::resolve::resolve`] is the one place where a [`crate::Draft`], the image's
//! configuration and the host's facts meet.

use crate::digest::Digest;
use crate::draft::OnUnhealthy;
use crate::mount::Mount;
use crate::network::{EndpointDraft, NetworkMode, PortBinding, PortSpec};
use crate::resources::Resources;
use crate::restart::RestartPolicy;
use crate::signal::Signal;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub use crate::log::LogSpec;

/// A container, decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSpec {
    /// The image it runs.
    pub image: Digest,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// How many leading words of `command` came from the entrypoint.
    pub entrypoint_len: usize,
    /// Environment, `NAME=value`, PATH and HOSTNAME included.
    pub env: Vec<String>,
    /// Absolute directory.
    pub workdir: String,
    /// `user[:group]` as it will be looked up inside the root; empty for root.
    pub user: String,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// Host name.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Image's labels and the container's.
    pub labels: BTreeMap<String, String>,
    /// Pseudo terminal.
    pub tty: bool,
    /// Standard input stays open.
    pub open_stdin: bool,
    /// Standard input closes with the first client.
    pub stdin_once: bool,
    /// Signal to stop with.
    pub stop_signal: Signal,
    /// Seconds to wait after it; -1 for ever.
    pub stop_timeout: i64,
    /// Paths that image and request declare as volumes, whatever is mounted there.
    pub volumes: Vec<String>,
    /// Mounts in order of their targets' depth.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// Restart policy.
    pub restart: RestartPolicy,
    /// Remove when it exits.
    pub auto_remove: bool,
    /// Network to start on.
    pub network: NetworkMode,
    /// Endpoints by network name or id.
    pub endpoints: BTreeMap<String, EndpointDraft>,
    /// Ports to publish.
    pub ports: Vec<PortBinding>,
    /// Ports documented as exposed, the image's included.
    pub exposed_ports: Vec<PortSpec>,
    /// Name resolution.
    pub dns: DnsSpec,
    /// Isolation.
    pub isolation: Isolation,
    /// Read-only root.
    pub readonly_rootfs: bool,
    /// /dev/shm, bytes.
    pub shm_size_bytes: i64,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Small init as pid 1.
    pub init: bool,
    /// OCI runtime; empty for our own.
    pub runtime: String,
    /// Where output goes.
    pub log: LogSpec,
    /// Health check, if there is one.
    pub health: Option<HealthSpec>,
    /// Parent of the container's cgroup: a path from the root, or a slice of systemd's by its name.
    pub cgroup_parent: String,
    /// Initial terminal size, rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsSpec {
    /// Servers; empty for the host's.
    pub servers: Vec<IpAddr>,
    /// Search domains; empty for the host's.
    pub search: Vec<String>,
    /// resolv.conf options.
    pub options: Vec<String>,
    /// Lines of /etc/hosts: name and address; the address `host-gateway` stands for the host.
    pub extra_hosts: Vec<(String, String)>,
}

/// A health check, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Between checks, ns.
    pub interval_ns: u64,
    /// Longest run of one check, ns.
    pub timeout_ns: u64,
    /// During which failures do not count, ns.
    pub start_period_ns: u64,
    /// Between checks during the start period, ns.
    pub start_interval_ns: u64,
    /// Consecutive failures that make it unhealthy.
    pub retries: u32,
    /// What is done about it then.
    pub on_failure: OnUnhealthy,
}

/// How a container is kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// All capabilities and devices.
    pub privileged: bool,
    /// Capability names kept, without `CAP_`.
    pub capabilities: Vec<String>,
    /// `NET_RAW` is among them for ping alone: raw sockets of ICMP, which the system-call filter
    /// sees to.
    pub ping_only: bool,
    /// no_new_privs.
    pub no_new_privileges: bool,
    /// A user namespace with a range of [`ID_RANGE`] ids of its own, instead of the host's.
    pub own_ids: bool,
    /// System-call filter.
    pub seccomp: crate::draft::SeccompDraft,
    /// The profile whose defaults apply.
    pub profile: crate::draft::SecurityProfile,
    /// AppArmor profile, if any.
    pub apparmor: String,
    /// Nobody inside sends signals or connects to abstract sockets outside, where the kernel can
    /// see to that.
    pub scoped: bool,
    /// Options of its SELinux labels: those asked for, or what goes without saying.
    pub labels: Vec<String>,
    /// What they made of it.
    pub selinux: crate::selinux::Labels,
    /// Its control groups can be written in it.
    pub writable_cgroups: bool,
    /// Paths masked.
    pub masked_paths: Vec<String>,
    /// Paths read-only.
    pub readonly_paths: Vec<String>,
    /// IPC namespace.
    pub ipc: crate::draft::SharedNamespace,
    /// Pid namespace.
    pub pid: crate::draft::SharedNamespace,
    /// UTS namespace.
    pub uts: crate::draft::SharedNamespace,
    /// cgroup namespace.
    pub cgroupns: crate::draft::SharedNamespace,
    /// OOM killer preference.
    pub oom_score_adj: i32,
}

/// How many ids a container's own user namespace maps.
pub const ID_RANGE: u32 = 65_536;
