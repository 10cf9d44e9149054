//! The host and the daemon itself: what `info`, `version` and `system df` show.

use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::{Containers, Images, OtherRuntime, Result, Volumes};
use model::Timestamp;
use model::draft::{SeccompDraft, SecurityProfile, SharedNamespace};
use model::image::ImageLine;
use model::phase::Phase;
use model::view::ContainerView;
use model::volume::VolumeView;
use runtime::cgroup::Layout;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use wire::docker::ApiVersion;

/// Log drivers beside those of plugins.
const LOG_DRIVERS: [&str; 7] =
    ["fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"];

/// The host and the daemon. Cheap to clone.
#[derive(Clone)]
pub struct System {
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
    /// Runtimes by name.
    pub runtimes: Vec<(String, OtherRuntime)>,
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
    /// Tasks of the daemon.
    pub tasks: usize,
    /// Directories of CDI specifications.
    pub cdi_dirs: Vec<String>,
    /// Devices in them, by their full names.
    pub devices: Vec<String>,
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
    pub images: Vec<ImageLine>,
    /// Bytes of all layers, each counted once.
    pub layers_bytes: u64,
    /// Containers with the bytes of their writable layer and of their whole root.
    pub containers: Vec<(Arc<ContainerView>, u64, u64)>,
    /// Volumes, with their usage.
    pub volumes: Vec<VolumeView>,
    /// What the build cache holds.
    pub build_cache: Vec<build::cache::CacheRecord>,
}

impl System {
    /// Facts as of now; reads a few files of /proc.
    pub fn view(&self) -> SystemView {
        let begun = Instant::now();
        let view = self.look();
        self.node.metrics.note(Timed::SystemInfo, begun);
        view
    }

    fn look(&self) -> SystemView {
        let node = &*self.node;
        let live = node.live();
        let options = &live.options;
        let phases = self.phases();
        let count = |wanted: fn(&Phase) -> bool| phases.iter().filter(|it| wanted(it)).count();
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let machine = text(uname.machine());
        let unified = node.hierarchy.layout() == Layout::Unified;
        let controllers = node.hierarchy.controllers();
        SystemView {
            id: node.id.clone(),
            name: text(uname.nodename()),
            containers: phases.len(),
            running: count(|phase| matches!(phase, Phase::Running(_) | Phase::Stopping(_))),
            paused: count(|phase| matches!(phase, Phase::Paused(_))),
            stopped: count(|phase| phase.run().is_none()),
            images: node.store.images().list().map(|all| all.len()).unwrap_or(0),
            storage_driver: "overlay2".to_owned(),
            storage_status: storage_status(&options.data_root),
            log_drivers: self.drivers(&LOG_DRIVERS, "logdriver"),
            network_drivers: self.drivers(&["bridge", "host", "null"], "networkdriver"),
            volume_drivers: self.drivers(&["local"], "volumedriver"),
            logging_driver: options.log_driver.clone(),
            cgroup_driver: cgroup_driver(node.hierarchy.is_none(), options.systemd_cgroup),
            cgroup_version: if unified { "2" } else { "1" }.to_owned(),
            kernel: text(uname.release()),
            operating_system: os_release("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            os_version: os_release("VERSION_ID").unwrap_or_default(),
            os: "linux".to_owned(),
            architecture: architecture(&machine).to_owned(),
            machine,
            cpus: crate::host::cpus_online(),
            memory_bytes: memory_bytes(),
            swap_limit: node.facts.swap_limit,
            pids_limit: controllers.contains("pids"),
            cgroup_controllers: controllers.into_iter().collect(),
            ipv4_forwarding: crate::host::line("/proc/sys/net/ipv4/ip_forward") == "1",
            data_root: options.data_root.to_string_lossy().into_owned(),
            proxies: options.registry.proxies.clone(),
            labels: options.labels.clone(),
            security_options: self.security_options(),
            runtimes: self.runtimes(),
            default_runtime: match options.default_runtime.as_str() {
                "" => OWN_RUNTIME.to_owned(),
                name => name.to_owned(),
            },
            live_restore: options.live_restore,
            insecure_registries: options.registry.insecure.clone(),
            registry_mirrors: options.registry.mirrors.clone(),
            address_pools: address_pools(options),
            warnings: self.warnings(),
            open_files: std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0),
            tasks: tokio::runtime::Handle::try_current()
                .map_or(0, |handle| handle.metrics().num_alive_tasks()),
            cdi_dirs: options.cdi_dirs().iter().map(|dir| dir.display().to_string()).collect(),
            devices: crate::cdi::devices(options.cdi_dirs()),
            event_listeners: node.events.listeners(),
            time: crate::clock::now(),
            started: node.started,
            version: options.version.clone(),
            git_commit: options.git_commit.clone(),
            build_time: options.build_time.clone(),
            debug: options.debug,
            experimental: options.experimental,
            userns: options.userns,
            init_binary: "estiba-init".to_owned(),
        }
    }

    /// The oldest version of the Engine API that is served.
    pub fn min_api_version(&self) -> ApiVersion {
        self.node.live().options.min_api_version
    }

    /// Whether a feature is on (`--feature`); those that nobody switched are.
    pub fn feature(&self, name: &str) -> bool {
        self.node.live().options.feature(name)
    }

    /// Our own drivers, and the plugins that we run.
    fn drivers(&self, own: &[&str], capability: &str) -> Vec<String> {
        let own = own.iter().map(|name| (*name).to_owned());
        own.chain(self.node.plugins.managed_with(capability)).collect()
    }

    fn phases(&self) -> Vec<Phase> {
        self.node.registry.all().iter().map(|handle| handle.view().phase.clone()).collect()
    }

    /// The IPC and control group namespaces of containers that do not say.
    pub fn default_namespaces(&self) -> (SharedNamespace, SharedNamespace) {
        let live = self.node.live();
        (live.options.default_ipc.clone(), live.options.default_cgroupns.clone())
    }

    fn security_options(&self) -> Vec<String> {
        let live = self.node.live();
        let options = &live.options;
        let mut out = Vec::new();
        if self.node.facts.apparmor {
            out.push("name=apparmor".to_owned());
        }
        let filter = match &options.default_seccomp {
            SeccompDraft::Default => "builtin",
            SeccompDraft::Unconfined => "unconfined",
            SeccompDraft::Profile(_) => "custom",
        };
        out.push(format!("name=seccomp,profile={filter}"));
        if crate::selinux::is_on(&self.node) {
            out.push("name=selinux".to_owned());
        }
        if options.userns {
            out.push("name=userns".to_owned());
        }
        if options.security_profile == SecurityProfile::Estiba || options.no_new_privileges {
            out.push("name=no-new-privileges".to_owned());
        }
        if options.rootless {
            out.push("name=rootless".to_owned());
        }
        if options.default_cgroupns == SharedNamespace::Private {
            out.push("name=cgroupns".to_owned());
        }
        out
    }

    fn runtimes(&self) -> Vec<(String, OtherRuntime)> {
        let program = "estiba-runtime".into();
        let own = (OWN_RUNTIME.to_owned(), OtherRuntime { program, arguments: Vec::new() });
        let live = self.node.live();
        let others = live.options.runtimes.iter();
        let others = others.map(|(name, runtime)| (name.clone(), runtime.clone()));
        std::iter::once(own).chain(others).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        let controllers = self.node.hierarchy.controllers();
        for (controller, what) in [("memory", "memory"), ("cpu", "cpu"), ("pids", "pids")] {
            if !controllers.contains(controller) {
                out.push(format!("WARNING: No {what} limit support"));
            }
        }
        if !self.node.facts.swap_limit {
            out.push("WARNING: No swap limit support".to_owned());
        }
        if crate::host::line("/proc/sys/net/ipv4/ip_forward") != "1" {
            out.push("WARNING: IPv4 forwarding is disabled".to_owned());
        }
        out
    }

    /// What takes space.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        let node = Arc::clone(&self.node);
        let containers = Containers { node: Arc::clone(&node) };
        let mut sizes = Vec::new();
        for view in containers.list() {
            // One that is removed meanwhile takes nothing.
            let (rw, root) = containers.sizes(&view.id.to_string()).await.unwrap_or((0, 0));
            let dir = node.container_dir(&view.id);
            let beside = blocking(move || Ok(disk_bytes(&dir))).await.unwrap_or(0);
            sizes.push((view, rw + beside, root + beside));
        }
        let layers_bytes = {
            let node = Arc::clone(&node);
            blocking(move || {
                let used = node.store.disk_usage()?;
                // Layers as they travel, documents, and what came or comes of pulls.
                Ok(used.layers + used.blobs + used.downloads + used.tmp)
            })
            .await?
        };
        Ok(DiskUsage {
            images: Images { node: Arc::clone(&node) }.list_with_shares().await?,
            layers_bytes,
            containers: sizes,
            volumes: Volumes { node }.with_usage().await?,
            build_cache: Vec::new(),
        })
    }
}

/// What the files of a directory take on disk: a container's logs and the files bound over others.
fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let files = entries.flatten().filter_map(|entry| entry.metadata().ok());
    files.filter(std::fs::Metadata::is_file).map(|file| file.blocks() * 512).sum()
}

/// The name that our own runtime is listed under.
const OWN_RUNTIME: &str = "estiba";

fn storage_status(root: &Path) -> Vec<(String, String)> {
    let kind = rustix::fs::statfs(root).map_or(0, |it| it.f_type);
    // Magic numbers of statfs(2).
    let backing = match kind {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        _ => "unknown",
    };
    vec![
        // Images are kept as they are in registries, whole indexes too: by this name of
        // containerd's clients know it, and offer what needs it (several platforms at once).
        ("driver-type".to_owned(), "io.containerd.snapshotter.v1".to_owned()),
        ("Backing Filesystem".to_owned(), backing.to_owned()),
        ("Supports d_type".to_owned(), "true".to_owned()),
        ("Using metacopy".to_owned(), "false".to_owned()),
        ("Native Overlay Diff".to_owned(), "true".to_owned()),
        ("userxattr".to_owned(), (!runtime::userns::is_first()).to_string()),
    ]
}

fn address_pools(options: &crate::Options) -> Vec<(String, u8)> {
    options.net.pools.iter().map(|pool| (pool.base.to_string(), pool.size)).collect()
}

/// Who places control groups.
fn cgroup_driver(none: bool, systemd: bool) -> String {
    match (none, systemd) {
        (true, _) => "none",
        (false, true) => "systemd",
        (false, false) => "cgroupfs",
    }
    .to_owned()
}

/// A value of os-release(5).
fn os_release(key: &str) -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// GOARCH of a machine name of uname(2).
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "arm",
        "i686" => "386",
        other => other,
    }
}

/// Bytes of memory that the host has.
pub(crate) fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}
