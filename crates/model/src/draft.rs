//! What a container is asked to be. A [`Draft`] is parsed once, at the edge, from whatever wire it
//! came by; it is kept as asked for inspection, and [`crate::spec::resolve`] turns it into what
//! runs. It never holds a wire type, and no field here is parsed a second time further in.

use crate::error::Denied;
use crate::mount::{MountDraft, MountOwner, Propagation};
use crate::network::{EndpointDraft, NetworkMode, PortBinding, PortSpec};
use crate::publish::HostPorts;
use crate::resources::{Device, Resources};
use crate::restart::RestartPolicy;
use crate::selinux::Relabel;
use std::collections::BTreeMap;

/// A container as asked for: every optional field absent means "as the image or the daemon says".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The image as the user wrote it.
    pub image: String,
    /// `os/arch[/variant]`, if asked.
    pub platform: Option<String>,
    /// Replaces the image's entrypoint; `Some` of an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// `NAME=value`, or `NAME` to remove one that the image sets.
    pub env: Vec<String>,
    /// Absolute directory the process starts in; empty for the image's.
    pub workdir: String,
    /// `user[:group]`, names or numbers; empty for the image's.
    pub user: String,
    /// Empty for the short id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Labels set on the container (the image's are merged in).
    pub labels: BTreeMap<String, String>,
    /// Allocate a pseudo terminal.
    pub tty: bool,
    /// Keep standard input open without a client.
    pub open_stdin: bool,
    /// Close standard input when the first attached client leaves.
    pub stdin_once: bool,
    /// What the creating client said it attaches; only shown back.
    pub attach_stdin: bool,
    /// As `attach_stdin`.
    pub attach_stdout: bool,
    /// As `attach_stdin`.
    pub attach_stderr: bool,
    /// Ports documented as exposed.
    pub exposed_ports: Vec<PortSpec>,
    /// Paths that get an anonymous volume.
    pub volumes: Vec<String>,
    /// Signal name or number to stop with.
    pub stop_signal: Option<String>,
    /// Seconds to wait after the stop signal; -1 waits for ever.
    pub stop_timeout: Option<i64>,
    /// Health check; absent inherits the image's.
    pub health: Option<HealthDraft>,
    /// No network at all (legacy field).
    pub network_disabled: bool,
    /// Shell for shell-form commands.
    pub shell: Option<Vec<String>>,
    /// How the host runs it.
    pub host: HostDraft,
    /// Settings per network name or id.
    pub endpoints: BTreeMap<String, EndpointDraft>,
}

/// A health check as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthDraft {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", line]`; empty inherits.
    pub test: Vec<String>,
    /// Between checks, ns; 0 inherits.
    pub interval_ns: i64,
    /// Longest run of one check, ns; 0 inherits.
    pub timeout_ns: i64,
    /// During which failures do not count, ns; 0 inherits.
    pub start_period_ns: i64,
    /// Between checks during the start period, ns; 0 inherits.
    pub start_interval_ns: i64,
    /// Consecutive failures that make it unhealthy; 0 inherits.
    pub retries: u32,
    /// What is done about an unhealthy container; absent: what the label `autoheal` says. An image
    /// cannot ask for it.
    pub on_failure: Option<OnUnhealthy>,
}

/// What is done about a container that became unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// Nothing: it is only told.
    #[default]
    None,
    /// It is stopped and started again, after a pause that grows while it does not become healthy.
    Restart,
    /// It is stopped, and stays so.
    Stop,
    /// It is killed; its restart policy decides what follows.
    Kill,
}

impl OnUnhealthy {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::None, Self::Restart, Self::Stop, Self::Kill];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Kill => "kill",
        }
    }

    /// The action of this name.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        Self::ALL.into_iter().find(|action| action.name() == text).ok_or_else(|| {
            Denied::invalid(format!(
                "invalid action on health failure {text:?}: want none, restart, stop or kill"
            ))
        })
    }
}

/// How the host is asked to run a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostDraft {
    /// `-v source:target[:options]`, parsed.
    pub binds: Vec<BindDraft>,
    /// `--mount …`.
    pub mounts: Vec<MountDraft>,
    /// `--tmpfs path:options`.
    pub tmpfs: BTreeMap<String, String>,
    /// `--volumes-from container[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// Driver of volumes made on the way; empty for local.
    pub volume_driver: String,
    /// CPU, memory, IO, devices, ulimits.
    pub resources: Resources,
    /// When to start again.
    pub restart: RestartPolicy,
    /// Remove when it exits.
    pub auto_remove: bool,
    /// The network it starts on.
    pub network: NetworkMode,
    /// Published ports.
    pub ports: Vec<PortBinding>,
    /// Publish every exposed port on an ephemeral host port.
    pub publish_all: bool,
    /// Name servers; empty for the daemon's.
    pub dns: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// resolv.conf options.
    pub dns_options: Vec<String>,
    /// `name:address` for /etc/hosts.
    pub extra_hosts: Vec<String>,
    /// Legacy links `container:alias`.
    pub links: Vec<String>,
    /// Whose IPC namespace.
    pub ipc: SharedNamespace,
    /// Whose pid namespace.
    pub pid: SharedNamespace,
    /// Whose UTS namespace.
    pub uts: SharedNamespace,
    /// Whose user namespace.
    pub userns: UsernsMode,
    /// Whose cgroup namespace; absent for the daemon's default (private).
    pub cgroupns: Option<SharedNamespace>,
    /// Parent of the container's cgroup; empty for the daemon's.
    pub cgroup_parent: String,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// `--security-opt`, parsed.
    pub security: SecurityDraft,
    /// All capabilities, all devices, nothing masked.
    pub privileged: bool,
    /// Root filesystem read-only.
    pub readonly_rootfs: bool,
    /// Bytes of /dev/shm; 0 for the daemon's default.
    pub shm_size_bytes: i64,
    /// Kernel parameters of the container's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Run a small init as pid 1; absent for the daemon's default.
    pub init: Option<bool>,
    /// OCI runtime by name; empty for our own.
    pub runtime: String,
    /// Where the output goes.
    pub log: LogDraft,
    /// Paths masked instead of the default list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths read-only instead of the default list.
    pub readonly_paths: Option<Vec<String>>,
    /// OOM killer preference, -1000..=1000.
    pub oom_score_adj: i32,
    /// Storage driver options.
    pub storage_opt: BTreeMap<String, String>,
    /// Annotations handed to the OCI runtime.
    pub annotations: BTreeMap<String, String>,
    /// Where the client wrote the id; only shown back.
    pub container_id_file: String,
    /// `default` or empty, which are the same; only shown back.
    pub isolation: String,
    /// Initial terminal size, rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// One `-v source:target[:options]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindDraft {
    /// Absolute host path, or a volume's name.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Read-only.
    pub readonly: bool,
    /// Do not copy the image's content into a new volume.
    pub nocopy: bool,
    /// Mount propagation, if asked.
    pub propagation: Option<Propagation>,
    /// Whom its files are to appear to belong to.
    pub owner: MountOwner,
    /// Label its files for containers, where SELinux is in use.
    pub relabel: Option<Relabel>,
    /// As written, shown back.
    pub text: String,
}

/// Whose namespace a container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SharedNamespace {
    /// Its own.
    #[default]
    Private,
    /// Its own, and others may join it (IPC only).
    Shareable,
    /// None mounted (IPC only: no /dev/shm).
    Absent,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// Whose user namespace a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsernsMode {
    /// Its own, with its own range of ids (the default), unless something asked for needs the
    /// host's (privileged, host pid or network namespace).
    #[default]
    Auto,
    /// The host's.
    Host,
}

/// `--security-opt`, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityDraft {
    /// Which set of defaults applies; absent for the daemon's.
    pub profile: Option<SecurityProfile>,
    /// Absent for the daemon's default (on in the `estiba` profile).
    pub no_new_privileges: Option<bool>,
    /// System-call filter.
    pub seccomp: SeccompDraft,
    /// AppArmor profile; `unconfined` for none; empty for the default.
    pub apparmor: String,
    /// SELinux labels (`user:…`, `type:…`, `disable`).
    pub labels: Vec<String>,
    /// Nothing masked, nothing read-only (`systempaths=unconfined`).
    pub unmasked: bool,
    /// Signals and abstract sockets reach as far as namespaces let them (`landlock=unconfined`).
    pub unscoped: bool,
    /// The container's own control groups can be written in it (`writable-cgroups`).
    pub writable_cgroups: bool,
    /// As written, shown back.
    pub text: Vec<String>,
}

/// A named set of security defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProfile {
    /// Ours: nine capabilities, tight filter, no_new_privs, own user namespace.
    #[default]
    Estiba,
    /// Docker's exact defaults.
    Docker,
}

/// Which system-call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SeccompDraft {
    /// The security profile's.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON format, inline.
    Profile(String),
}

/// Where output goes, as asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogDraft {
    /// Driver name; empty for the daemon's default.
    pub driver: String,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// Changes to a container's limits and policy while it exists (`update`): absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateDraft {
    /// Fields set here replace the container's; see [`Resources::merged`].
    pub resources: Resources,
    /// New restart policy.
    pub restart: Option<RestartPolicy>,
    /// Ports to publish besides those that are.
    pub publish: Vec<PortBinding>,
    /// Ports to take back.
    pub unpublish: Vec<HostPorts>,
}

/// Device to hand in, as a path on the host; re-exported for the edge's convenience.
pub type DeviceDraft = Device;
