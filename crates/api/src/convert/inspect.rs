//! Inspect: everything about one container. Docker's overlapping flags are made from the phase
//! here.

use std::collections::BTreeMap;

use model::Timestamp;
use model::phase::{Exit, Phase};
use model::view::{ContainerView, HealthView};
use wire::docker::ApiVersion;
use wire::docker::container::{ContainerInspect, ContainerState, Health, HealthcheckResult};
use wire::docker::endpoint::{EndpointSettings, LegacyNetworkSettings, NetworkSettings};
use wire::docker::host_config::LogConfig;
use wire::docker::image::DriverData;

use super::{config, endpoint, host, mount, null_if_empty, port, security, signed, summary};
use crate::moment::{NEVER, rfc3339};

/// Everything about one container.
pub(crate) fn to_wire(view: &ContainerView, driver: &str, version: ApiVersion) -> ContainerInspect {
    let spec = &view.spec;
    let isolation = &spec.isolation;
    let mut host_config =
        host::to_wire(&view.draft, &isolation.masked_paths, &isolation.readonly_paths);
    host_config.security_opt = security::shown(&view.draft.host.security, &isolation.labels);
    host_config.shm_size = spec.shm_size_bytes;
    host_config.resources =
        super::resources::to_wire(&spec.resources, &view.draft.host.cgroup_parent);
    host_config.restart_policy = super::restart::to_wire(spec.restart);
    // The driver that was decided, and the options that were asked for: what caps a log by
    // default is not the container's configuration.
    host_config.log_config =
        LogConfig { config: Some(view.draft.host.log.options.clone()), ..log_config(view) };
    if host_config.runtime.is_empty() {
        // Our own stands in for Docker's, and goes by that name for its clients.
        let own = spec.runtime.is_empty();
        host_config.runtime = if own { "runc" } else { &spec.runtime }.to_owned();
    }
    ContainerInspect {
        id: view.id.to_string(),
        created: rfc3339(view.created),
        path: spec.command.first().cloned().unwrap_or_default(),
        args: spec.command.iter().skip(1).cloned().collect(),
        state: state(view),
        image: view.image.to_string(),
        resolv_conf_path: view.paths.resolv_conf.clone(),
        hostname_path: view.paths.hostname.clone(),
        hosts_path: view.paths.hosts.clone(),
        // The other drivers' files are nobody's business.
        log_path: match view.spec.log {
            model::spec::LogSpec::JsonFile { .. } => view.paths.log.clone(),
            _ => String::new(),
        },
        name: format!("/{}", view.name),
        restart_count: i64::from(view.restart_count),
        driver: driver.to_owned(),
        platform: "linux".to_owned(),
        app_armor_profile: isolation.apparmor.clone(),
        process_label: isolation.selinux.process.clone(),
        mount_label: isolation.selinux.mount.clone(),
        exec_ids: null_if_empty(view.execs.iter().map(ToString::to_string).collect()),
        host_config,
        graph_driver: graph_driver(view, driver),
        size_rw: view.size.map(|(own, _)| signed(own)),
        size_root_fs: view.size.map(|(_, all)| signed(all)),
        mounts: mount::points(view),
        config: config::of_container(view),
        network_settings: network_settings(view, version),
        ..ContainerInspect::default()
    }
}

fn log_config(view: &ContainerView) -> wire::docker::host_config::LogConfig {
    use model::spec::LogSpec;
    let (kind, options) = match &view.spec.log {
        LogSpec::None => ("none".to_owned(), BTreeMap::new()),
        LogSpec::JsonFile { max_size_bytes, max_files, .. } => (
            "json-file".to_owned(),
            BTreeMap::from([
                ("max-file".to_owned(), max_files.to_string()),
                ("max-size".to_owned(), max_size_bytes.to_string()),
            ]),
        ),
        LogSpec::Sent { sinks, .. } => {
            let asked = &view.draft.host.log;
            let named = sinks.iter().map(|sink| sink.kind.name()).collect::<Vec<_>>().join(",");
            let kind = match (asked.driver.as_str(), named.as_str()) {
                ("", "") => "local".to_owned(),
                ("", named) => named.to_owned(),
                (asked, _) => asked.to_owned(),
            };
            (kind, asked.options.clone())
        }
    };
    wire::docker::host_config::LogConfig { kind, config: Some(options) }
}

/// The state, in Docker's overlapping flags.
pub(crate) fn state(view: &ContainerView) -> ContainerState {
    let never = Exit::default();
    let run = view.phase.run();
    let exit = view.phase.exit().or(view.last_exit.as_ref()).unwrap_or(&never);
    let restarting = matches!(view.phase, Phase::Restarting { .. });
    let dead = match &view.phase {
        Phase::Dead { error } => Some(error.clone()),
        _ => None,
    };
    ContainerState {
        status: summary::state_word(view).to_owned(),
        // Docker says that a container between two runs is running as well.
        running: run.is_some() || restarting,
        paused: matches!(view.phase, Phase::Paused(_)),
        restarting,
        oom_killed: run.is_none() && exit.oom_killed,
        dead: dead.is_some(),
        pid: run.map_or(0, |run| i64::from(run.pid)),
        exit_code: if run.is_some() { 0 } else { i64::from(exit.code) },
        error: match (dead, run) {
            (Some(error), _) => error,
            (None, None) => exit.error.clone(),
            (None, Some(_)) => String::new(),
        },
        started_at: rfc3339(run.map_or(exit.started, |run| run.started)),
        finished_at: match exit.finished {
            Timestamp::ZERO => NEVER.to_owned(),
            finished => rfc3339(finished),
        },
        health: view.health.as_ref().map(health),
    }
}

fn health(view: &HealthView) -> Health {
    let result = |result: &model::view::HealthResult| HealthcheckResult {
        start: rfc3339(result.start),
        end: rfc3339(result.end),
        exit_code: i64::from(result.exit_code),
        output: result.output.clone(),
    };
    Health {
        status: view.status.to_owned(),
        failing_streak: i64::from(view.failing_streak),
        log: Some(view.log.iter().map(result).collect()),
    }
}

fn graph_driver(view: &ContainerView, driver: &str) -> DriverData {
    let paths = &view.paths;
    let data = BTreeMap::from([
        ("ID".to_owned(), view.id.to_string()),
        ("LowerDir".to_owned(), paths.lower.join(":")),
        ("UpperDir".to_owned(), paths.upper.clone()),
        ("WorkDir".to_owned(), paths.work.clone()),
    ]);
    DriverData { data: Some(data), name: driver.to_owned() }
}

/// The attachments by network name.
pub(crate) fn networks(view: &ContainerView) -> BTreeMap<String, EndpointSettings> {
    let by_name = |e: &model::network::Endpoint| (e.network_name.clone(), endpoint::to_wire(e));
    view.endpoints.iter().map(by_name).collect()
}

fn network_settings(view: &ContainerView, version: ApiVersion) -> NetworkSettings {
    let networks = networks(view);
    let running = view.phase.run().is_some();
    let ports = if running {
        port::in_force(&view.spec.exposed_ports, &view.ports)
    } else {
        BTreeMap::new()
    };
    // The id of a run's network namespace, as Docker's sandbox: the container's own id will do.
    let sandbox = if running { view.id.to_string() } else { String::new() };
    let pid = view.phase.run().map(|run| run.pid);
    NetworkSettings {
        sandbox_id: sandbox,
        sandbox_key: pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default(),
        ports: Some(ports),
        legacy: (!version.at_least(52)).then(|| legacy(networks.get("bridge"))),
        networks: Some(networks),
    }
}

fn legacy(bridge: Option<&EndpointSettings>) -> LegacyNetworkSettings {
    let bridge = bridge.cloned().unwrap_or_default();
    LegacyNetworkSettings {
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        ..LegacyNetworkSettings::default()
    }
}
