//! Version, info and disk usage.

use std::collections::BTreeMap;

use engine::{DiskUsage, SystemView};
use model::Timestamp;
use model::view::ContainerView;
use wire::docker::ApiVersion;
use wire::docker::container::ContainerSummary;
use wire::docker::image::ImageSummary;
use wire::docker::system as wire_system;
use wire::docker::volume::Volume;

use super::{image, null_if_empty, signed, summary, volume};
use crate::moment::rfc3339;

/// The product's name, as `docker version` shows it.
const PLATFORM: &str = "estiba";
/// What Docker answers here whatever is configured; clients compare against it.
const INDEX_SERVER: &str = "https://index.docker.io/v1/";

/// The answer to `GET /version`.
pub(crate) fn version(view: &SystemView, oldest: ApiVersion) -> wire_system::Version {
    let details = BTreeMap::from([
        ("ApiVersion".to_owned(), ApiVersion::MAX.to_string()),
        ("Arch".to_owned(), view.architecture.clone()),
        ("BuildTime".to_owned(), view.build_time.clone()),
        ("Experimental".to_owned(), view.experimental.to_string()),
        ("GitCommit".to_owned(), view.git_commit.clone()),
        ("KernelVersion".to_owned(), view.kernel.clone()),
        ("MinAPIVersion".to_owned(), oldest.to_string()),
        ("Os".to_owned(), view.os.clone()),
    ]);
    wire_system::Version {
        platform: wire_system::PlatformName { name: PLATFORM.to_owned() },
        components: vec![wire_system::Component {
            name: "Engine".to_owned(),
            version: view.version.clone(),
            details: Some(details),
        }],
        version: view.version.clone(),
        api_version: ApiVersion::MAX.to_string(),
        min_api_version: oldest.to_string(),
        git_commit: view.git_commit.clone(),
        go_version: String::new(),
        os: view.os.clone(),
        arch: view.architecture.clone(),
        kernel_version: view.kernel.clone(),
        experimental: view.experimental,
        build_time: view.build_time.clone(),
    }
}

/// The answer to `GET /info`.
pub(crate) fn info(view: SystemView) -> wire_system::Info {
    let controller = |name: &str| view.cgroup_controllers.iter().any(|have| have == name);
    let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    wire_system::Info {
        containers: count(view.containers),
        containers_running: count(view.running),
        containers_paused: count(view.paused),
        containers_stopped: count(view.stopped),
        images: count(view.images),
        memory_limit: controller("memory"),
        swap_limit: view.swap_limit,
        cpu_cfs_period: controller("cpu"),
        cpu_cfs_quota: controller("cpu"),
        cpu_shares: controller("cpu"),
        cpu_set: controller("cpuset"),
        pids_limit: view.pids_limit,
        ipv4_forwarding: view.ipv4_forwarding,
        bridge_nf_iptables: true,
        bridge_nf_ip6tables: true,
        debug: view.debug,
        n_fd: count(view.open_files),
        n_goroutines: count(view.tasks),
        cdi_spec_dirs: view.cdi_dirs.clone(),
        discovered_devices: view.devices.iter().map(|name| device(name)).collect(),
        // An OOM killer that can be switched off is a thing of cgroup v1.
        oom_kill_disable: view.cgroup_version == "1",
        system_time: rfc3339(view.time),
        n_events_listener: count(view.event_listeners),
        registry_config: Some(registries(&view)),
        n_cpu: i64::from(view.cpus),
        mem_total: signed(view.memory_bytes),
        runtimes: view
            .runtimes
            .iter()
            .map(|(name, runtime)| {
                let path = runtime.program.to_string_lossy().into_owned();
                let runtime_args = runtime.arguments.clone();
                (name.clone(), wire_system::Runtime { path, runtime_args, ..Default::default() })
            })
            .collect(),
        default_address_pools: view
            .address_pools
            .iter()
            .map(|(base, size)| wire_system::AddressPool { base: base.clone(), size: *size })
            .collect(),
        ..info_texts(view)
    }
}

fn device(name: &str) -> wire_system::DeviceInfo {
    wire_system::DeviceInfo { source: "cdi".to_owned(), id: name.to_owned() }
}

/// A proxy's address without the account in it, which is nobody's business.
fn masked(address: String) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", &address));
    let Some((_, host)) = rest.rsplit_once('@') else { return address };
    match scheme {
        "" => format!("xxxxx:xxxxx@{host}"),
        scheme => format!("{scheme}://xxxxx:xxxxx@{host}"),
    }
}

/// The part of info that is copied as it is.
fn info_texts(view: SystemView) -> wire_system::Info {
    let (http_proxy, https_proxy, no_proxy) = view.proxies;
    wire_system::Info {
        id: view.id,
        driver: view.storage_driver,
        driver_status: view.storage_status.into_iter().map(|(k, v)| [k, v]).collect(),
        plugins: wire_system::PluginsInfo {
            volume: view.volume_drivers,
            network: view.network_drivers,
            authorization: None,
            log: view.log_drivers,
        },
        logging_driver: view.logging_driver,
        cgroup_driver: view.cgroup_driver,
        cgroup_version: view.cgroup_version,
        kernel_version: view.kernel,
        operating_system: view.operating_system,
        os_version: view.os_version,
        os_type: view.os,
        architecture: view.machine,
        index_server_address: INDEX_SERVER.to_owned(),
        docker_root_dir: view.data_root,
        http_proxy: masked(http_proxy),
        https_proxy: masked(https_proxy),
        no_proxy,
        name: view.name,
        labels: view.labels,
        experimental_build: view.experimental,
        server_version: view.version,
        default_runtime: view.default_runtime,
        swarm: wire_system::SwarmInfo {
            local_node_state: "inactive".to_owned(),
            ..Default::default()
        },
        live_restore_enabled: view.live_restore,
        init_binary: view.init_binary,
        runc_commit: wire_system::Commit { id: view.git_commit, expected: None },
        security_options: view.security_options,
        warnings: null_if_empty(view.warnings),
        ..wire_system::Info::default()
    }
}

fn registries(view: &SystemView) -> wire_system::RegistryServiceConfig {
    // Docker lists networks and hosts apart; loopback is always among the networks.
    let (networks, hosts): (Vec<_>, Vec<_>) =
        view.insecure_registries.iter().cloned().partition(|entry| entry.contains('/'));
    let loopback = ["::1/128", "127.0.0.0/8"].map(str::to_owned);
    // Clients compare them with what they gave, and Docker ends them all with a slash.
    let slashed = |mirror: &String| format!("{}/", mirror.trim_end_matches('/'));
    let mirrors: Vec<String> = view.registry_mirrors.iter().map(slashed).collect();
    let hub = wire_system::IndexInfo {
        name: "docker.io".to_owned(),
        mirrors: mirrors.clone(),
        secure: true,
        official: true,
    };
    let insecure = |name: String| {
        let index = wire_system::IndexInfo { name: name.clone(), ..Default::default() };
        (name, index)
    };
    let mut index_configs: BTreeMap<_, _> = hosts.into_iter().map(insecure).collect();
    index_configs.insert(hub.name.clone(), hub);
    wire_system::RegistryServiceConfig {
        insecure_registry_cidrs: loopback.into_iter().chain(networks).collect(),
        index_configs,
        mirrors: null_if_empty(mirrors),
    }
}

/// Which kinds of objects disk usage is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    /// Images.
    pub images: bool,
    /// Containers.
    pub containers: bool,
    /// Volumes.
    pub volumes: bool,
    /// Build cache.
    pub build_cache: bool,
}

/// Disk usage below API 1.52.
pub(crate) fn legacy_disk_usage(
    usage: &DiskUsage,
    kinds: Kinds,
    now: Timestamp,
    v: ApiVersion,
) -> wire_system::LegacyDiskUsage {
    wire_system::LegacyDiskUsage {
        layers_size: signed(usage.layers_bytes),
        images: kinds.images.then(|| images(usage, v)),
        containers: kinds.containers.then(|| containers(usage, now, v)),
        volumes: kinds.volumes.then(|| usage.volumes.iter().map(volume::to_wire).collect()),
        build_cache: kinds.build_cache.then(|| build_cache(usage)),
    }
}

/// Disk usage from API 1.52 on.
pub(crate) fn disk_usage(
    usage: &DiskUsage,
    kinds: Kinds,
    (verbose, now): (bool, Timestamp),
    v: ApiVersion,
) -> wire_system::DiskUsage {
    wire_system::DiskUsage {
        image_usage: kinds.images.then(|| image_usage(usage, verbose, v)),
        container_usage: kinds.containers.then(|| container_usage(usage, (verbose, now), v)),
        volume_usage: kinds.volumes.then(|| volume_usage(usage, verbose)),
        build_cache_usage: kinds.build_cache.then(|| build_cache_usage(usage, verbose)),
    }
}

fn build_cache_usage(u: &DiskUsage, verbose: bool) -> wire_system::Usage<wire_system::BuildCache> {
    let free = u.build_cache.iter().filter(|record| !record.in_use && !record.shared);
    wire_system::Usage {
        active_count: count(u.build_cache.iter().filter(|record| record.in_use)),
        total_count: count(u.build_cache.iter()),
        reclaimable: signed(free.map(|record| record.size_bytes).sum()),
        total_size: signed(u.build_cache.iter().map(|record| record.size_bytes).sum()),
        items: if verbose { build_cache(u) } else { Vec::new() },
    }
}

fn build_cache(u: &DiskUsage) -> Vec<wire_system::BuildCache> {
    let record = |record: &build::cache::CacheRecord| wire_system::BuildCache {
        id: record.id.clone(),
        parents: record.parents.clone(),
        kind: record.kind.name().to_owned(),
        description: record.description.clone(),
        in_use: record.in_use,
        shared: record.shared,
        size: signed(record.size_bytes),
        created_at: crate::moment::rfc3339(record.created),
        last_used_at: record.last_used.map(crate::moment::rfc3339),
        usage_count: signed(record.usage_count),
    };
    u.build_cache.iter().map(record).collect()
}

fn image_usage(u: &DiskUsage, verbose: bool, v: ApiVersion) -> wire_system::Usage<ImageSummary> {
    let own = |image: &model::image::ImageLine| image.size_bytes.saturating_sub(image.shared_bytes);
    let used = || u.images.iter().filter(|image| image.containers > 0);
    wire_system::Usage {
        active_count: count(used()),
        total_count: count(u.images.iter()),
        // What unused images share among themselves is free to go, too.
        reclaimable: signed(u.layers_bytes.saturating_sub(used().map(own).sum())),
        total_size: signed(u.layers_bytes),
        items: if verbose { images(u, v) } else { Vec::new() },
    }
}

fn container_usage(
    u: &DiskUsage,
    (verbose, now): (bool, Timestamp),
    v: ApiVersion,
) -> wire_system::Usage<ContainerSummary> {
    let active = |view: &ContainerView| {
        view.phase.run().is_some() || matches!(view.phase, model::phase::Phase::Restarting { .. })
    };
    let idle = u.containers.iter().filter(|(view, ..)| !active(view));
    wire_system::Usage {
        active_count: count(u.containers.iter().filter(|(view, ..)| active(view))),
        total_count: count(u.containers.iter()),
        reclaimable: signed(idle.map(|(_, own, _)| *own).sum()),
        total_size: signed(u.containers.iter().map(|(_, own, _)| *own).sum()),
        items: if verbose { containers(u, now, v) } else { Vec::new() },
    }
}

fn volume_usage(u: &DiskUsage, verbose: bool) -> wire_system::Usage<Volume> {
    let usage = |volume: &model::volume::VolumeView| volume.usage.unwrap_or_default();
    let unused = u.volumes.iter().filter(|volume| usage(volume).1 == 0);
    wire_system::Usage {
        active_count: count(u.volumes.iter().filter(|volume| usage(volume).1 > 0)),
        total_count: count(u.volumes.iter()),
        reclaimable: signed(unused.map(|volume| usage(volume).0).sum()),
        total_size: signed(u.volumes.iter().map(|volume| usage(volume).0).sum()),
        items: if verbose { u.volumes.iter().map(volume::to_wire).collect() } else { Vec::new() },
    }
}

fn count(items: impl Iterator) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

fn images(usage: &DiskUsage, v: ApiVersion) -> Vec<ImageSummary> {
    usage.images.iter().map(|line| image::summary(line.clone(), true, v)).collect()
}

fn containers(usage: &DiskUsage, now: Timestamp, v: ApiVersion) -> Vec<ContainerSummary> {
    let sized = |(view, own, all): &(std::sync::Arc<ContainerView>, u64, u64)| {
        let mut shown = summary::to_wire(view, now, v);
        (shown.size_rw, shown.size_root_fs) = (Some(signed(*own)), Some(signed(*all)));
        shown
    };
    usage.containers.iter().map(sized).collect()
}
