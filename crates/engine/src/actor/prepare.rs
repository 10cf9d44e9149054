//! Everything that a launch needs, gathered on the host: directories, files, devices, other
//! containers' processes, the compiled filter. Blocking; it leaves nothing that the next attempt
//! would trip over.

use super::devices;
use crate::bundle::{self, EtcFiles, Joined, Plan, Source};
use crate::filters::Key;
use crate::host::{SCOPE_PREFIX, cgroup_of, is_slice};
use crate::node::Node;
use crate::record::Definition;
use crate::{EngineError, OtherRuntime, Result, cdi, etc};
use model::ContainerId;
use model::draft::{SeccompDraft, SecurityProfile, SharedNamespace};
use model::mount::{Mount, MountSource};
use model::network::NetworkMode;
use model::spec::{ContainerSpec, LogSpec};
use model::view::ContainerView;
use runtime::caps::CapSet;
use runtime::launch::{Ids, Launch, Rootfs, Scopes};
use runtime::monitor::log::{JsonFile, LogConfig};
use runtime::seccomp;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::snapshot::Snapshot;
use wire::oci::runtime as oci;

/// A launch, and what it was made with.
pub(super) struct Prepared {
    pub(super) launch: Launch,
    pub(super) cgroup: String,
}

/// Gathers everything. `id_range`: the range that was taken for it.
pub(super) fn prepare(
    node: &Node,
    definition: &Definition,
    snapshot: &Snapshot,
    id_range: Option<u32>,
) -> Result<Prepared> {
    let spec = &definition.spec;
    let joined = Others::find(node, definition)?;
    let id_range = joined.id_range.unwrap_or(id_range);
    let dir = node.container_dir(&definition.id);
    let state_dir = node.state_dir(&definition.id);
    let made = node.ready.move_in(&dir);
    made.map_err(|source| EngineError::io(format!("make {}", dir.display()), source))?;
    fresh_dir(&state_dir)?;
    store::failpoint::hit("engine.prepare.dirs");
    let etc = etc_files(node, definition, &dir)?;
    let sources = spec
        .mounts
        .iter()
        .map(|mount| source(node, &definition.id, mount))
        .collect::<Result<Vec<_>>>()?;
    store::failpoint::hit("engine.prepare.sources");
    crate::selinux::label_sources(node, spec, &sources, &etc)?;
    let live = node.live();
    let edits = cdi::edits(live.options.cdi_dirs(), &spec.resources.device_requests)?;
    let devices = devices::handed_in(definition, &edits)?;
    let block_devices = crate::host::block_devices(&spec.resources)?;
    crate::host::grant_realtime(node, &spec.cgroup_parent)?;
    let cgroup = cgroup_of(&spec.cgroup_parent, &definition.id);
    let other = other_runtime(node, &spec.runtime)?;
    let (runtime, runtime_args) = other.map(|it| (it.program, it.arguments)).unzip();
    let scope = runtime.is_none().then(|| scope(definition)).flatten();
    let groups = groups(node, definition)?;
    let id_maps = id_range.map(|first| node.ids.maps(first));
    let mut oci = bundle::spec(&Plan {
        spec,
        cgroup: scope.as_ref().unwrap_or(&cgroup),
        id_maps: id_maps.as_ref(),
        sources: &sources,
        etc: &etc,
        devices: &devices,
        block_devices: &block_devices,
        joined: &joined.processes,
        host_queues: Path::new("/dev/mqueue").is_dir(),
        groups: &groups,
        annotations: &definition.draft.host.annotations,
    });
    if let Some(process) = &mut oci.process {
        process.env.extend(super::links::environment(node, definition));
    }
    edits.apply(&mut oci)?;
    let filter = filter(node, definition, &mut oci, runtime.is_some())?;
    let launch = Launch {
        version: runtime::launch::VERSION,
        id: definition.id.to_string(),
        spec: oci,
        rootfs: rootfs(spec, snapshot),
        ids: Ids::Container,
        user: (!spec.user.is_empty()).then(|| spec.user.clone()),
        seccomp: filter,
        state_dir,
        log: log(definition, &dir),
        stdin_open: spec.open_stdin,
        stdin_once: spec.stdin_once,
        init: spec.init,
        stop_timeout_s: Some(spec.stop_timeout),
        systemd: scope.is_some(),
        scopes: scopes(spec),
        runtime,
        runtime_args: runtime_args.unwrap_or_default(),
        bundle: None,
    };
    Ok(Prepared { launch, cgroup })
}

fn rootfs(spec: &ContainerSpec, snapshot: &Snapshot) -> Rootfs {
    Rootfs::Overlay {
        lower: snapshot.lower.clone(),
        upper: snapshot.upper.clone(),
        work: snapshot.work.clone(),
        readonly: spec.readonly_rootfs,
        volatile: spec.auto_remove,
    }
}

/// The scope that the runtime is to have systemd make, where cgroups are systemd's to place.
fn scope(definition: &Definition) -> Option<String> {
    let parent = &definition.spec.cgroup_parent;
    is_slice(parent).then(|| format!("{parent}:{SCOPE_PREFIX}:{}", definition.id))
}

/// Another container's network is its abstract sockets too.
fn scopes(spec: &ContainerSpec) -> Scopes {
    let scoped = spec.isolation.scoped;
    let joins = matches!(spec.network, NetworkMode::Container(_));
    Scopes { signals: scoped, abstract_sockets: scoped && !joins }
}

/// The OCI runtime `name`, its program found; none for our own.
fn other_runtime(node: &Node, name: &str) -> Result<Option<OtherRuntime>> {
    const PLACES: [&str; 6] =
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    if name.is_empty() {
        return Ok(None);
    }
    // The configuration may have changed since the container was created.
    let live = node.live();
    let Some(runtime) = live.options.runtimes.get(name) else {
        return Err(EngineError::invalid(format!("unknown or invalid runtime name: {name}")));
    };
    let path = &runtime.program;
    if path.is_absolute() {
        return Ok(Some(runtime.clone()));
    }
    let found = PLACES.iter().map(|place| Path::new(place).join(path)).find(|path| path.exists());
    match found {
        Some(program) => Ok(Some(OtherRuntime { program, ..runtime.clone() })),
        None => Err(EngineError::invalid(format!(
            "OCI runtime {name}: {} is not installed",
            path.display()
        ))),
    }
}

/// Containers whose namespaces this one joins.
#[derive(Default)]
struct Others {
    processes: Joined,
    /// The id range of the namespaces' owner; `Some(None)` when that is the host's.
    id_range: Option<Option<u32>>,
}

impl Others {
    fn find(node: &Node, definition: &Definition) -> Result<Self> {
        let spec = &definition.spec;
        let mut out = Self::default();
        if let NetworkMode::Container(query) = &spec.network {
            out.processes.network = Some(out.join(node, query, "network")?);
        }
        if let SharedNamespace::Container(query) = &spec.isolation.ipc {
            out.processes.ipc = Some(out.join(node, query, "IPC")?);
        }
        if let SharedNamespace::Container(query) = &spec.isolation.pid {
            out.processes.pid = Some(out.join(node, query, "PID")?);
        }
        Ok(out)
    }

    fn join(&mut self, node: &Node, query: &str, what: &str) -> Result<i32> {
        let view = node.registry.find(query)?.view();
        let pid = running(&view, what)?;
        if what == "IPC"
            && !matches!(
                view.spec.isolation.ipc,
                SharedNamespace::Shareable | SharedNamespace::Container(_)
            )
        {
            return Err(EngineError::invalid(format!(
                "can't join IPC of container {query}: non-shareable IPC (hint: use \
                 IpcMode:shareable for the donor container)"
            )));
        }
        let range = id_range_of(pid)?;
        if self.id_range.is_some_and(|known| known != range) {
            return Err(EngineError::invalid(
                "containers whose namespaces are joined have different user namespaces",
            ));
        }
        self.id_range = Some(range);
        self.processes.user = range.map(|_| pid);
        Ok(pid)
    }
}

fn running(view: &Arc<ContainerView>, what: &str) -> Result<i32> {
    match view.phase.run() {
        Some(run) => Ok(run.pid),
        // In the words and with the status that Docker has for each.
        None if what == "network" => Err(EngineError::conflict(format!(
            "cannot join network of a non running container: {}",
            view.id
        ))),
        None => Err(EngineError::internal(format!(
            "failed to join {what} namespace: container {} is not running",
            view.id
        ))),
    }
}

/// First host id that a process's user namespace maps root to; `None` in the host's.
fn id_range_of(pid: i32) -> Result<Option<u32>> {
    let path = format!("/proc/{pid}/uid_map");
    let text = std::fs::read_to_string(&path)
        .map_err(|source| EngineError::io(format!("read {path}"), source))?;
    let own = std::fs::read_link("/proc/self/ns/user");
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/user"));
    if let (Ok(own), Ok(theirs)) = (own, theirs)
        && own == theirs
    {
        return Ok(None);
    }
    let mut words = text.split_whitespace();
    Ok(words.nth(1).and_then(|word| word.parse::<u32>().ok()))
}

fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| EngineError::io(format!("make directory {}", path.display()), source))
}

/// An empty directory: what an earlier run left (its exit) is known by now.
fn fresh_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io(format!("empty directory {}", path.display()), error))
        }
        _ => make_dir(path),
    }
}

fn log(definition: &Definition, dir: &Path) -> LogConfig {
    let Some(file) = definition.spec.log.file() else { return LogConfig::None };
    let attrs = match &definition.spec.log {
        LogSpec::JsonFile { attributes, .. } => attributes.clone(),
        _ => Default::default(),
    };
    LogConfig::JsonFile(JsonFile {
        path: dir.join(super::view::log_name(definition)),
        max_size: (file.max_size_bytes != u64::MAX).then_some(file.max_size_bytes),
        max_file: file.max_files,
        compress: file.compress,
        attrs,
    })
}

/// The files exist before the container does, which mounts them; what they say is written while it
/// is made. With another container's network they are that one's.
fn etc_files(node: &Node, definition: &Definition, dir: &Path) -> Result<EtcFiles> {
    let dir_of_files = match &definition.spec.network {
        NetworkMode::Container(query) => {
            let other = node.registry.find(query)?;
            node.container_dir(&other.id)
        }
        _ => {
            etc::make(dir)?;
            dir.to_owned()
        }
    };
    let file = |name: &str| Some(dir_of_files.join(name)).filter(|path| path.exists());
    Ok(EtcFiles {
        hostname: file("hostname"),
        hosts: file("hosts"),
        resolv_conf: file("resolv.conf"),
    })
}

/// Writes those of the files that need no address: before the container begins, /etc/hosts follows
/// with those that it is given.
pub(super) fn write_etc(node: &Node, definition: &Definition) -> Result<()> {
    let spec = &definition.spec;
    if matches!(spec.network, NetworkMode::Container(_)) {
        return Ok(());
    }
    let dir = node.container_dir(&definition.id);
    let hosts_name = spec.hostname.is_empty().then(host_name);
    etc::write_hostname(&dir, hosts_name.as_deref().unwrap_or(&spec.hostname))?;
    let embedded = super::network::embedded_dns(node, spec);
    etc::write_resolv_conf(&dir, spec, &node.live().options.net.resolv_conf, embedded)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn source(node: &Node, id: &ContainerId, mount: &Mount) -> Result<Source> {
    match &mount.source {
        MountSource::Tmpfs { .. } => Ok(Source::Memory),
        MountSource::Bind { path, within: Some(within), .. } => Ok(beneath(within, path)),
        MountSource::Bind { path, create, .. } => {
            let path = PathBuf::from(path);
            if !path.exists() {
                if !create {
                    return Err(missing_bind(&path));
                }
                let mode = mount.owner.mode.unwrap_or(0o755);
                let made = DirBuilder::new().recursive(true).mode(mode).create(&path);
                made.map_err(|source| {
                    EngineError::io(format!("make bind source {}", path.display()), source)
                })?;
            }
            Ok(Source::Path(path))
        }
        MountSource::Volume { name, subpath, .. } => {
            crate::volumes::mounted(node, id, name, subpath)
        }
        MountSource::Image { source, subpath, image } => {
            let missing = || EngineError::Internal(format!("image {source} of a mount is gone"));
            let images = node.store.images();
            let record = images.record(image.ok_or_else(missing)?)?;
            Ok(Source::Image(images.layer_paths(&record), subpath.clone()))
        }
        MountSource::Layers { layers, subpath } => {
            Ok(Source::Image(node.store.layers().shown(layers)?, subpath.clone()))
        }
    }
}

/// What lies in a directory and nowhere else: nothing is made on the way, and links are followed by
/// the runtime, which refuses those that lead out.
fn beneath(within: &str, path: &str) -> Source {
    let rest = path.strip_prefix(within.trim_end_matches('/')).unwrap_or(path);
    let path = match rest.trim_start_matches('/') {
        "" => ".".to_owned(),
        path => path.to_owned(),
    };
    Source::Beneath { root: PathBuf::from(within), path }
}

/// The refusal of a bind whose source is not there.
pub(crate) fn missing_bind(path: &Path) -> EngineError {
    EngineError::invalid(format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}",
        path.display()
    ))
}

/// Supplementary groups by number. Names are looked up in the container's own /etc/group.
fn groups(node: &Node, definition: &Definition) -> Result<Vec<u32>> {
    let asked = &definition.spec.group_add;
    let mut root = None;
    let mut groups = Vec::new();
    for group in asked {
        if let Ok(number) = group.parse() {
            groups.push(number);
            continue;
        }
        if root.is_none() {
            root = Some(node.store.snapshots().mount(definition.id)?);
        }
        let Some(root) = &root else { continue };
        let found = runtime::user::resolve(std::os::fd::AsFd::as_fd(root), &format!("0:{group}"))
            .map_err(|error| EngineError::Launch {
            exit_code: error.exit_code(),
            message: error.message(),
        })?;
        groups.push(found.gid);
    }
    Ok(groups)
}

/// The compiled system call filter. A user's profile goes into the specification instead, for it
/// may have flags of its own, and so do all for other runtimes, which compile them themselves.
fn filter(
    node: &Node,
    definition: &Definition,
    oci: &mut oci::Spec,
    foreign: bool,
) -> Result<Option<PathBuf>> {
    let isolation = &definition.spec.isolation;
    let caps = CapSet::from_names(&isolation.capabilities).map_err(EngineError::internal)?;
    let profile = match &isolation.seccomp {
        SeccompDraft::Unconfined => return Ok(None),
        SeccompDraft::Profile(json) => {
            let facts = seccomp::ProfileFacts {
                caps,
                arch: seccomp::Arch::NATIVE,
                kernel: crate::host::kernel_version(),
            };
            let profile = seccomp::parse_profile(json.as_bytes(), &facts)
                .map_err(|error| EngineError::invalid(crate::error::chain(&error)))?;
            if let Some(linux) = &mut oci.linux {
                linux.seccomp = Some(profile);
            }
            return Ok(None);
        }
        SeccompDraft::Default => match isolation.profile {
            SecurityProfile::Estiba => {
                let ping_only = isolation.ping_only;
                let options = seccomp::ProfileOptions { ping_only, ..Default::default() };
                seccomp::default_profile(caps, &options)
            }
            SecurityProfile::Docker => seccomp::docker_profile(caps),
        },
    };
    if foreign {
        oci.linux.get_or_insert_default().seccomp = Some(profile);
        return Ok(None);
    }
    let docker = isolation.profile == SecurityProfile::Docker;
    let key = Key { docker, ping_only: isolation.ping_only, caps: caps.bits() };
    node.filters
        .path(key, || {
            let program = seccomp::compile(&profile, seccomp::Arch::NATIVE)
                .map_err(|error| EngineError::Internal(crate::error::chain(&error)))?;
            Ok(program.to_bytes())
        })
        .map(Some)
}
