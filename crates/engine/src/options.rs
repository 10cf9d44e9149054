//! What the daemon's configuration decides, as values. This module never reads a file: the
//! composition root turns `daemon.json` and flags into [`Options`].

use crate::plugins::Places;
use model::draft::{SeccompDraft, SecurityProfile, SharedNamespace};
use model::resources::Ulimit;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use wire::docker::ApiVersion;

/// The parent of containers' cgroups when nothing is said.
pub(crate) const CGROUP_PARENT: &str = "/estiba";

/// An OCI runtime that is not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherRuntime {
    /// The program: a path, or a name where programs are.
    pub program: PathBuf,
    /// Its words before each command (`runtimeArgs`).
    pub arguments: Vec<String>,
}

/// Everything the engine is told when it opens.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything that lasts is kept (`--data-root`).
    pub data_root: PathBuf,
    /// Where what lives no longer than the host's uptime is kept (`--exec-root`); must be on a
    /// memory filesystem.
    pub exec_root: PathBuf,
    /// Parent of all containers' cgroups (`--cgroup-parent`).
    pub cgroup_parent: String,
    /// What the parent of containers' cgroups may use of real-time scheduling (`--cpu-rt-runtime`),
    /// microseconds of each period; `None` leaves it as it is.
    pub cpu_rt_runtime_us: Option<i64>,
    /// Such a period (`--cpu-rt-period`), microseconds.
    pub cpu_rt_period_us: Option<u64>,
    /// Cgroups are systemd's to place (`--exec-opt native.cgroupdriver=systemd`); the parent is a
    /// slice then.
    pub systemd_cgroup: bool,
    /// Log driver of containers that ask for none (`--log-driver`).
    pub log_driver: String,
    /// Its options (`--log-opt`): `max-size`, `max-file`, …
    pub log_options: BTreeMap<String, String>,
    /// Which security defaults apply to containers that ask for none.
    pub security_profile: SecurityProfile,
    /// Containers cannot gain privileges unless they ask to (`--no-new-privileges`).
    pub no_new_privileges: bool,
    /// Containers get labels of SELinux, where the host has them (`--selinux-enabled`).
    pub selinux: bool,
    /// Containers get a user namespace and a range of ids of their own.
    pub userns: bool,
    /// The daemon is an ordinary user's, in namespaces of the user's own.
    pub rootless: bool,
    /// First host id of the pool of ranges.
    pub id_pool_base: u32,
    /// How many ranges of [`model::spec::ID_RANGE`] ids the pool has.
    pub id_pool_ranges: u32,
    /// Networks.
    pub net: net::Options,
    /// Where plugins are.
    pub plugin_places: Places,
    /// Resource limits of containers that do not set them (`--default-ulimit`).
    pub default_ulimits: Vec<Ulimit>,
    /// Largest number of tasks of containers that do not say; 0 for none.
    pub default_pids_limit: i64,
    /// Size of /dev/shm of containers that do not say, bytes (`--default-shm-size`).
    pub default_shm_size_bytes: i64,
    /// Seconds between stop signal and SIGKILL of containers that do not say.
    pub default_stop_timeout: i64,
    /// IPC namespace of containers that do not say: private or shareable (`--default-ipc-mode`).
    pub default_ipc: SharedNamespace,
    /// Control group namespace of containers that do not say: private or the host's
    /// (`--default-cgroupns-mode`).
    pub default_cgroupns: SharedNamespace,
    /// System-call filter of containers that do not say (`--seccomp-profile`).
    pub default_seccomp: SeccompDraft,
    /// Name servers of containers that do not say (`--dns`).
    pub dns: Vec<IpAddr>,
    /// Search domains (`--dns-search`).
    pub dns_search: Vec<String>,
    /// resolv.conf options (`--dns-opt`).
    pub dns_options: Vec<String>,
    /// Addresses that `host-gateway` stands for (`--host-gateway-ip`); empty for the default
    /// bridge's.
    pub host_gateways: Vec<IpAddr>,
    /// Run a small init as pid 1 (`--init`).
    pub init: bool,
    /// OCI runtimes by name, beside our own.
    pub runtimes: BTreeMap<String, OtherRuntime>,
    /// The runtime of containers that name none; empty for our own.
    pub default_runtime: String,
    /// The daemon's labels.
    pub labels: Vec<String>,
    /// The program `estiba-runtime`; sealed into memory when the engine is told of it.
    pub runtime_exe: PathBuf,
    /// Containers go on when the daemon ends (`--live-restore`; on by default).
    pub live_restore: bool,
    /// Seconds that containers get to stop when the daemon ends without live restore.
    pub shutdown_timeout: i64,
    /// This program's version.
    pub version: String,
    /// The commit it was built from.
    pub git_commit: String,
    /// When it was built, RFC 3339.
    pub build_time: String,
    /// Mirrors, insecure and blocked registries, proxies, limits of transfers.
    pub registry: registry::Settings,
    /// How builds are kept in bounds (`builder`).
    pub builder: crate::BuilderOptions,
    /// Verbose logging.
    pub debug: bool,
    /// Experimental features.
    pub experimental: bool,
    /// The oldest version of the Engine API that is served.
    pub min_api_version: ApiVersion,
    /// What is switched on or off by name (`--feature`).
    pub features: BTreeMap<String, bool>,
    /// Directories of CDI specifications, the later ones winning (`--cdi-spec-dir`).
    pub cdi_dirs: Vec<PathBuf>,
    /// The most bytes that a container which does not say may write to its root
    /// (`--storage-opt`).
    pub root_limit_bytes: Option<u64>,
}

impl Options {
    /// Whether a feature is on; those that nobody switched are.
    pub fn feature(&self, name: &str) -> bool {
        self.features.get(name).copied().unwrap_or(true)
    }

    /// Where devices of the Container Device Interface are looked for.
    pub fn cdi_dirs(&self) -> &[PathBuf] {
        if self.feature("cdi") { &self.cdi_dirs } else { &[] }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_root: "/var/lib/estiba".into(),
            exec_root: "/run/estiba".into(),
            cgroup_parent: CGROUP_PARENT.into(),
            cpu_rt_runtime_us: None,
            cpu_rt_period_us: None,
            systemd_cgroup: false,
            log_driver: "json-file".into(),
            log_options: BTreeMap::new(),
            security_profile: SecurityProfile::Estiba,
            no_new_privileges: false,
            selinux: false,
            userns: true,
            rootless: false,
            id_pool_base: 1 << 28,
            id_pool_ranges: 4096,
            net: net::Options::default(),
            plugin_places: Places::default(),
            default_ulimits: Vec::new(),
            default_pids_limit: 4096,
            default_shm_size_bytes: 64 << 20,
            default_stop_timeout: 10,
            default_ipc: SharedNamespace::Private,
            default_cgroupns: SharedNamespace::Private,
            default_seccomp: SeccompDraft::Default,
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            host_gateways: Vec::new(),
            init: false,
            runtimes: BTreeMap::new(),
            default_runtime: String::new(),
            labels: Vec::new(),
            runtime_exe: "/usr/libexec/estiba/estiba-runtime".into(),
            live_restore: true,
            shutdown_timeout: 15,
            version: env!("CARGO_PKG_VERSION").into(),
            git_commit: String::new(),
            build_time: String::new(),
            registry: registry::Settings::default(),
            builder: crate::BuilderOptions::default(),
            debug: false,
            experimental: false,
            min_api_version: ApiVersion::MIN,
            features: BTreeMap::new(),
            cdi_dirs: ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).into(),
            root_limit_bytes: None,
        }
    }
}
