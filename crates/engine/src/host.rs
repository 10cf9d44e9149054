//! What the host can do, read once when the engine opens.

use crate::bundle::BlockDevices;
use crate::node::Node;
use crate::options::CGROUP_PARENT;
use crate::{EngineError, Options, Result};
use model::resolve::{CapabilityFacts, Defaults, HostFacts};
use model::resources::Resources;
use runtime::caps::{self, CapSet};
use runtime::cgroup::systemd::Scope;
use runtime::cgroup::{Cgroup, Hierarchy, Layout};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use wire::oci::runtime::{self as oci, Cpu};

/// Reads the facts, and has AppArmor know the profile that containers get.
pub(crate) fn facts(hierarchy: &Hierarchy) -> HostFacts {
    let enabled = line("/sys/module/apparmor/parameters/enabled") == "Y";
    let profile = if enabled { crate::apparmor::load() } else { None };
    let controllers = hierarchy.controllers();
    let legacy = hierarchy.layout() != Layout::Unified;
    HostFacts {
        cpus: cpus_online(),
        cpuset_cpus: line("/sys/devices/system/cpu/online"),
        cpuset_mems: line("/sys/devices/system/node/online"),
        swap_limit: controllers.contains("memory") && swap_accounting(legacy),
        oom_kill_disable: legacy,
        no_pids_limit: !controllers.contains("pids"),
        apparmor: enabled,
        apparmor_default: profile.unwrap_or_default().to_owned(),
        selinux: crate::selinux::contexts(),
        capabilities: CapabilityFacts {
            known: names(CapSet::ALL),
            available: names(CapSet::bounding()),
            estiba: names(caps::estiba_default()),
            estiba_ping: names(caps::estiba_ping()),
            docker: names(caps::docker_default()),
        },
    }
}

/// Says what this host, or this user, cannot have: nothing is silently weaker.
pub(crate) fn tell_limits(hierarchy: &Hierarchy) {
    if !runtime::has_scopes() {
        tracing::info!(
            "this kernel has no scopes of Landlock (Linux 6.12): signals and abstract sockets of \
             containers are kept apart by namespaces alone"
        );
    }
    if hierarchy.is_none() {
        tracing::warn!(
            "no control groups were delegated to this user: containers have no limits, and those \
             that ask for one are refused; delegate a cgroup v2 (systemd: Delegate=yes) to have \
             them"
        );
        return;
    }
    let controllers = hierarchy.controllers();
    let wanted = ["cpu", "memory", "pids"];
    let missing: Vec<&str> =
        wanted.into_iter().filter(|controller| !controllers.contains(*controller)).collect();
    if !missing.is_empty() {
        tracing::warn!(
            "this host has no {} cgroup controller: containers that ask for its limits are refused",
            missing.join(", ")
        );
    }
}

/// Refuses real-time scheduling for all containers together where there is none.
pub(crate) fn check_realtime(options: &Options, hierarchy: &Hierarchy) -> Result<()> {
    let asked = options.cpu_rt_runtime_us.is_some() || options.cpu_rt_period_us.is_some();
    if asked && hierarchy.layout() == Layout::Unified {
        return Err(EngineError::invalid(
            "daemon-scoped cpu real-time period and runtime are not supported on systems with \
             cgroups v2",
        ));
    }
    Ok(())
}

/// Lets the groups that a container's group is below use real-time scheduling, from the root on:
/// none may have more than the one above it.
pub(crate) fn grant_realtime(node: &Node, parent: &str) -> Result<()> {
    let live = node.live();
    let cpu = Cpu {
        realtime_runtime: live.options.cpu_rt_runtime_us,
        realtime_period: live.options.cpu_rt_period_us,
        ..Cpu::default()
    };
    if cpu == Cpu::default() || is_slice(parent) {
        return Ok(());
    }
    let limits = oci::Resources { cpu: Some(cpu), ..oci::Resources::default() };
    let ends = parent.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for end in ends.chain([parent.len()]) {
        let failed = |error| EngineError::Internal(crate::error::chain(&error));
        let path = &parent[..end];
        let found = Cgroup::open(&node.hierarchy, path).ok();
        let group = match found.filter(|group| group.dir("cpu").is_some()) {
            Some(group) => group,
            None => {
                Cgroup::create(&node.hierarchy, path, &oci::Resources::default()).map_err(failed)?
            }
        };
        group.update(&limits).map_err(failed)?;
    }
    Ok(())
}

/// The part of the options that containers are resolved with.
pub(crate) fn defaults(options: &Options) -> Defaults {
    Defaults {
        profile: options.security_profile,
        no_new_privileges: options.no_new_privileges,
        seccomp: options.default_seccomp.clone(),
        userns: options.userns,
        log_driver: options.log_driver.clone(),
        log_options: options.log_options.clone(),
        ulimits: options.default_ulimits.clone(),
        pids_limit: options.default_pids_limit,
        shm_size_bytes: options.default_shm_size_bytes,
        stop_timeout: options.default_stop_timeout,
        dns: (options.dns.clone(), options.dns_search.clone(), options.dns_options.clone()),
        init: options.init,
        runtime: options.default_runtime.clone(),
        runtimes: options.runtimes.keys().cloned().collect(),
        cgroup_parent: match (options.systemd_cgroup, options.cgroup_parent.as_str()) {
            (true, CGROUP_PARENT) => "system.slice".to_owned(),
            (_, parent) => parent.to_owned(),
        },
        slices: options.systemd_cgroup,
    }
}

/// What the names of our scopes begin with, when systemd places cgroups.
pub(crate) const SCOPE_PREFIX: &str = "estiba";

/// Whether a container's cgroup is in a scope that systemd makes: its parent is a slice then.
pub(crate) fn is_slice(parent: &str) -> bool {
    !parent.starts_with('/')
}

/// The cgroup of a container below its parent, from the root of every tree.
pub(crate) fn cgroup_of(parent: &str, id: &impl std::fmt::Display) -> String {
    let scope = || Scope::new(parent, SCOPE_PREFIX, &id.to_string());
    match is_slice(parent).then(scope) {
        Some(Ok(scope)) => scope.path().to_owned(),
        // A name that is no slice's fails the start.
        _ => format!("{}/{id}", parent.trim_end_matches('/')),
    }
}

fn names(set: CapSet) -> Vec<String> {
    set.iter().map(|cap| cap.name().to_owned()).collect()
}

/// CPUs online.
pub(crate) fn cpus_online() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

fn swap_accounting(legacy: bool) -> bool {
    !legacy || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
}

/// The first line of a file; empty when it cannot be read.
pub(crate) fn line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The kernel's version, major and minor.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    }
}

/// Numbers of the block devices that limits name.
pub(crate) fn block_devices(resources: &Resources) -> Result<BlockDevices> {
    let rates = [
        &resources.blkio_read_bps,
        &resources.blkio_write_bps,
        &resources.blkio_read_iops,
        &resources.blkio_write_iops,
    ];
    let paths = rates
        .into_iter()
        .flatten()
        .map(|rate| &rate.path)
        .chain(resources.blkio_weight_device.iter().map(|weight| &weight.path));
    let mut out = BlockDevices::new();
    for path in paths {
        let metadata = std::fs::metadata(path)
            .map_err(|source| EngineError::io(format!("look up device {path}"), source))?;
        if !metadata.file_type().is_block_device() {
            return Err(EngineError::invalid(format!("{path} is not a block device")));
        }
        let rdev = metadata.rdev();
        out.insert(path.clone(), (rustix::fs::major(rdev), rustix::fs::minor(rdev)));
    }
    Ok(out)
}
