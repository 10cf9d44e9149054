//! The mounts of a container: the kernel's filesystems, the engine's files, the user's.

use super::Plan;
use model::draft::SharedNamespace;
use model::mount::{Mount, MountSource, Propagation};
use model::spec::ContainerSpec;
use std::path::{Path, PathBuf};
use wire::oci::runtime as oci;

/// How options begin that the engine alone says to the runtime: users' are left out.
const OWN: &str = "x-estiba.";

/// Where the content of a mount is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory or file.
    Path(PathBuf),
    /// What lies at a path in a directory that containers write in.
    Beneath {
        /// The directory.
        root: PathBuf,
        /// The path in it; no link leads out.
        path: String,
    },
    /// The content of an image: directories of its layers, topmost first, and a path in it.
    Image(Vec<PathBuf>, String),
    /// Memory.
    Memory,
}

pub(super) fn all(plan: &Plan<'_>) -> Vec<oci::Mount> {
    let spec = plan.spec;
    let taken = |target: &str| spec.mounts.iter().any(|mount| mount.target == target);
    let mut out: Vec<oci::Mount> =
        kernel(plan).into_iter().filter(|mount| !taken(&mount.destination)).collect();
    out.extend(files(plan).into_iter().filter(|mount| !taken(&mount.destination)));
    out.extend(spec.mounts.iter().zip(plan.sources).map(|(mount, source)| user(mount, source)));
    out
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> oci::Mount {
    oci::Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Default::default()
    }
}

fn kernel(plan: &Plan<'_>) -> Vec<oci::Mount> {
    let spec = plan.spec;
    let access = |writable: bool| if writable { "rw" } else { "ro" };
    let groups = access(spec.isolation.writable_cgroups || spec.isolation.privileged);
    let access = access(spec.isolation.privileged);
    let mut out = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &[groups, "nosuid", "noexec", "nodev", "relatime"],
        ),
    ];
    let memory = ["nosuid", "noexec", "nodev"];
    let queues = mount("/dev/mqueue", "mqueue", "mqueue", &memory);
    match (&spec.isolation.ipc, plan.joined.ipc) {
        (SharedNamespace::Host, _) => {
            let theirs = |at| mount(at, "bind", at, &["rbind", "rprivate", "rw"]);
            out.extend(plan.host_queues.then(|| theirs("/dev/mqueue")));
            out.push(theirs("/dev/shm"));
        }
        (_, Some(process)) => {
            let theirs = format!("{OWN}process={process}");
            out.push(queues);
            out.push(mount("/dev/shm", "bind", "/dev/shm", &["bind", "rprivate", "rw", &theirs]));
        }
        (SharedNamespace::Absent, _) => out.push(queues),
        _ => {
            let size = format!("size={}", spec.shm_size_bytes);
            out.push(queues);
            out.push(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &[&memory[..], &["mode=1777", &size]].concat(),
            ));
        }
    }
    out
}

fn files(plan: &Plan<'_>) -> Vec<oci::Mount> {
    let access = if plan.spec.readonly_rootfs { "ro" } else { "rw" };
    let file = |target: &str, source: &Option<PathBuf>| {
        let source = source.as_deref().and_then(Path::to_str)?.to_owned();
        Some(mount(target, "bind", &source, &["bind", "rprivate", access]))
    };
    [
        file("/etc/resolv.conf", &plan.etc.resolv_conf),
        file("/etc/hostname", &plan.etc.hostname),
        file("/etc/hosts", &plan.etc.hosts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn user(wanted: &Mount, source: &Source) -> oci::Mount {
    match source {
        Source::Memory => memory(wanted),
        Source::Image(lower, path) => {
            let mut out = mount(&wanted.target, "x-estiba.image", "image", &["ro"]);
            let layers = lower.iter().map(|dir| format!("x-estiba.lower={}", dir.display()));
            out.options.extend(layers);
            out.options.extend((!path.is_empty()).then(|| format!("x-estiba.subpath={path}")));
            out
        }
        Source::Path(path) => bind(wanted, path, None),
        Source::Beneath { root, path } => bind(wanted, root, Some(path)),
    }
}

fn bind(wanted: &Mount, path: &Path, beneath: Option<&str>) -> oci::Mount {
    let access = if wanted.writable { "rw" } else { "ro" };
    let mut out = {
        let (bind, propagation) = match &wanted.source {
            MountSource::Bind { propagation, recursive: false, .. } => ("bind", *propagation),
            MountSource::Bind { propagation, .. } => ("rbind", *propagation),
            _ => ("rbind", Propagation::RPrivate),
        };
        // Read-only means all of it, whatever is mounted below, unless that was excepted.
        let shallow = bind == "bind"
            || matches!(wanted.source, MountSource::Bind { readonly_recursive: false, .. });
        let access = if wanted.writable || shallow { access } else { "rro" };
        let path = path.to_string_lossy();
        mount(&wanted.target, "bind", &path, &[bind, propagation.name(), access])
    };
    out.options.extend(beneath.map(|path| format!("x-estiba.subpath={path}")));
    out.options.extend(wanted.owner.uid.map(|uid| format!("x-estiba.uid={uid}")));
    out.options.extend(wanted.owner.gid.map(|gid| format!("x-estiba.gid={gid}")));
    out
}

/// Docker's defaults for memory, unless the user says the opposite.
fn memory(wanted: &Mount) -> oci::Mount {
    let MountSource::Tmpfs { options } = &wanted.source else {
        return mount(&wanted.target, "tmpfs", "tmpfs", &[]);
    };
    let mut out = mount(&wanted.target, "tmpfs", "tmpfs", &[]);
    for default in ["noexec", "nosuid", "nodev"] {
        if !options.iter().any(|option| option == &default[2..]) {
            out.options.push(default.to_owned());
        }
    }
    let known = |option: &String| option == "defaults" || option.starts_with(OWN);
    let told = |option: &String| !(out.options.contains(option) || known(option));
    let further: Vec<String> = options.iter().filter(|option| told(option)).cloned().collect();
    out.options.extend(further);
    if !wanted.writable && !options.iter().any(|option| option == "ro") {
        out.options.push("ro".to_owned());
    }
    out
}

/// A mount that receives or passes on mounts needs a root that does.
pub(super) fn root_propagation(spec: &ContainerSpec) -> &'static str {
    let of = |mount: &Mount| match mount.source {
        MountSource::Bind { propagation, .. } => propagation,
        _ => Propagation::RPrivate,
    };
    let all: Vec<Propagation> = spec.mounts.iter().map(of).collect();
    let any = |wanted: [Propagation; 2]| all.iter().any(|have| wanted.contains(have));
    if any([Propagation::Shared, Propagation::RShared]) {
        "rshared"
    } else if any([Propagation::Slave, Propagation::RSlave]) {
        "rslave"
    } else {
        "rprivate"
    }
}
