//! From a decided container to what the runtime is told: the OCI specification. Pure: whatever had
//! to be looked up on the host (paths, device numbers, other containers' processes) comes in with
//! [`Plan`].

mod mounts;
mod resources;

pub(crate) use mounts::Source;
pub(crate) use resources::{BlockDevices, update};

use model::draft::SharedNamespace;
use model::network::NetworkMode;
use model::resources::Ulimit;
use model::spec::{ContainerSpec, Isolation};
use std::collections::BTreeMap;
use std::path::PathBuf;
use wire::oci::runtime as oci;

/// Everything that a specification is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// The container.
    pub(crate) spec: &'a ContainerSpec,
    /// Its cgroup, `/parent/id`, or `slice:prefix:id`.
    pub(crate) cgroup: &'a str,
    /// Id maps of its user namespace, users and groups; `None` in the host's.
    pub(crate) id_maps: Option<&'a (Vec<oci::IdMapping>, Vec<oci::IdMapping>)>,
    /// Where the sources of its mounts are, in the order of the spec's mounts.
    pub(crate) sources: &'a [Source],
    /// The engine's own files in it.
    pub(crate) etc: &'a EtcFiles,
    /// Devices handed in, looked up on the host, and the access to each (`rwm`).
    pub(crate) devices: &'a [(oci::Device, String)],
    /// Numbers of the block devices that limits name.
    pub(crate) block_devices: &'a BlockDevices,
    /// Processes whose namespaces it joins.
    pub(crate) joined: &'a Joined,
    /// Whether the host shows its message queues, at `/dev/mqueue`.
    pub(crate) host_queues: bool,
    /// Supplementary groups, by number.
    pub(crate) groups: &'a [u32],
    /// Annotations asked for.
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

/// Files of the container's directory that are mounted into it; `None` where it has its own or
/// the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EtcFiles {
    /// /etc/hostname.
    pub(crate) hostname: Option<PathBuf>,
    /// /etc/hosts.
    pub(crate) hosts: Option<PathBuf>,
    /// /etc/resolv.conf.
    pub(crate) resolv_conf: Option<PathBuf>,
}

/// Processes of other containers whose namespaces a container joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Network.
    pub(crate) network: Option<i32>,
    /// IPC.
    pub(crate) ipc: Option<i32>,
    /// Processes.
    pub(crate) pid: Option<i32>,
    /// User: where one of the others has a user namespace, its namespaces belong to that.
    pub(crate) user: Option<i32>,
}

/// The specification of one container.
pub(crate) fn spec(plan: &Plan<'_>) -> oci::Spec {
    let spec = plan.spec;
    oci::Spec {
        oci_version: oci::VERSION.to_owned(),
        process: Some(process(plan)),
        root: Some(oci::Root { path: "rootfs".to_owned(), readonly: spec.readonly_rootfs }),
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        mounts: mounts::all(plan),
        hooks: None,
        annotations: plan.annotations.clone(),
        linux: Some(linux(plan)),
        ..Default::default()
    }
}

fn process(plan: &Plan<'_>) -> oci::Process {
    let spec = plan.spec;
    let size =
        |(rows, cols): (u16, u16)| oci::ConsoleSize { height: rows.into(), width: cols.into() };
    oci::Process {
        terminal: spec.tty,
        console_size: spec.console_size.filter(|size| *size != (0, 0)).map(size),
        user: oci::User { additional_gids: plan.groups.to_vec(), ..Default::default() },
        args: spec.command.clone(),
        env: spec.env.clone(),
        cwd: spec.workdir.clone(),
        capabilities: Some(capabilities(&spec.isolation.capabilities)),
        rlimits: spec.resources.ulimits.iter().map(rlimit).collect(),
        no_new_privileges: spec.isolation.no_new_privileges,
        apparmor_profile: spec.isolation.apparmor.clone(),
        selinux_label: spec.isolation.selinux.process.clone(),
        oom_score_adj: (spec.isolation.oom_score_adj != 0).then_some(spec.isolation.oom_score_adj),
        ..Default::default()
    }
}

/// Inheritable and ambient stay empty: nothing gains a capability by executing.
pub(crate) fn capabilities(names: &[String]) -> oci::Capabilities {
    let full: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
    oci::Capabilities {
        bounding: full.clone(),
        effective: full.clone(),
        permitted: full,
        ..Default::default()
    }
}

fn rlimit(limit: &Ulimit) -> oci::Rlimit {
    let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    oci::Rlimit {
        kind: format!("RLIMIT_{}", limit.name.to_ascii_uppercase()),
        hard: value(limit.hard),
        soft: value(limit.soft),
    }
}

fn linux(plan: &Plan<'_>) -> oci::Linux {
    let spec = plan.spec;
    let (uid_mappings, gid_mappings) = plan.id_maps.cloned().unwrap_or_default();
    oci::Linux {
        uid_mappings,
        gid_mappings,
        sysctl: spec.sysctls.clone(),
        resources: Some(resources::limits(plan)),
        cgroups_path: plan.cgroup.to_owned(),
        namespaces: namespaces(plan),
        devices: plan.devices.iter().map(|(device, _)| device.clone()).collect(),
        rootfs_propagation: mounts::root_propagation(spec).to_owned(),
        mount_label: spec.isolation.selinux.mount.clone(),
        masked_paths: spec.isolation.masked_paths.clone(),
        readonly_paths: spec.isolation.readonly_paths.clone(),
        ..Default::default()
    }
}

fn namespaces(plan: &Plan<'_>) -> Vec<oci::Namespace> {
    let Isolation { ipc, pid, uts, cgroupns, .. } = &plan.spec.isolation;
    let joined = plan.joined;
    let own = |kind: &str| oci::Namespace { kind: kind.to_owned(), path: String::new() };
    let of = |kind: &str, file: &str, process: Option<i32>| match process {
        Some(process) => {
            oci::Namespace { kind: kind.to_owned(), path: format!("/proc/{process}/ns/{file}") }
        }
        None => own(kind),
    };
    let hosts = |mode: &SharedNamespace| *mode == SharedNamespace::Host;
    let mut out = vec![own("mount")];
    if plan.id_maps.is_some() {
        out.push(of("user", "user", joined.user));
    }
    if plan.spec.network != NetworkMode::Host {
        out.push(of("network", "net", joined.network));
    }
    if !hosts(ipc) {
        out.push(of("ipc", "ipc", joined.ipc));
    }
    if !hosts(pid) {
        out.push(of("pid", "pid", joined.pid));
    }
    if !hosts(uts) {
        out.push(own("uts"));
    }
    if !hosts(cgroupns) {
        out.push(own("cgroup"));
    }
    out
}

#[cfg(test)]
mod tests;
