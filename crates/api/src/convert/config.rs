//! The configuration that inspect shows: what was decided, as Docker shows it.

use model::draft::HealthDraft;
use model::image::ImageConfig;
use model::spec::HealthSpec;
use model::view::ContainerView;
use wire::docker::Empty;
use wire::docker::container::{ContainerConfig, HealthConfig};

use super::{null_if_empty, null_if_empty_map, port, signed};

/// A container's configuration: the image's defaults merged in.
pub(crate) fn of_container(view: &ContainerView) -> ContainerConfig {
    let (draft, spec) = (&view.draft, &view.spec);
    let (entrypoint, command) = spec.command.split_at(spec.entrypoint_len.min(spec.command.len()));
    ContainerConfig {
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        attach_stdin: draft.attach_stdin,
        attach_stdout: draft.attach_stdout,
        attach_stderr: draft.attach_stderr,
        exposed_ports: spec
            .exposed_ports
            .iter()
            .map(|port| (port::spec_text(*port), Empty {}))
            .collect(),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        env: Some(environment(view)),
        cmd: null_if_empty(command.to_vec()),
        healthcheck: match &draft.health {
            Some(asked) => Some(health(asked)),
            None => spec.health.as_ref().map(inherited_health),
        },
        image: draft.image.clone(),
        volumes: null_if_empty_map(
            spec.volumes.iter().map(|path| (path.clone(), Empty {})).collect(),
        ),
        working_dir: spec.workdir.clone(),
        entrypoint: null_if_empty(entrypoint.to_vec()),
        network_disabled: draft.network_disabled,
        mac_address: draft
            .endpoints
            .get(&super::namespace::network_text(&draft.host.network))
            .map_or_else(String::new, |main| super::endpoint::mac_text(main.mac)),
        labels: Some(spec.labels.clone()),
        stop_signal: draft.stop_signal.clone().unwrap_or_default(),
        stop_timeout: draft.stop_timeout,
        shell: draft.shell.clone(),
        ..ContainerConfig::default()
    }
}

/// What was asked for, then what the image adds. A name without a value, which takes a variable
/// away, stays to be seen; what every container gets is not part of its configuration.
fn environment(view: &ContainerView) -> Vec<String> {
    let (asked, spec) = (&view.draft.env, &view.spec);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let names: Vec<String> = asked.iter().map(|entry| name(entry)).collect();
    let every = |entry: &str| match entry.split_once('=') {
        Some(("HOSTNAME", value)) => value == spec.hostname,
        Some(("TERM", value)) => spec.tty && value == "xterm",
        _ => false,
    };
    let added = spec.env.iter().filter(|entry| !every(entry) && !names.contains(&name(entry)));
    asked.iter().chain(added).cloned().collect()
}

/// A health check in Docker's shape.
pub(crate) fn health(draft: &HealthDraft) -> HealthConfig {
    HealthConfig {
        test: draft.test.clone(),
        interval: draft.interval_ns,
        timeout: draft.timeout_ns,
        start_period: draft.start_period_ns,
        start_interval: draft.start_interval_ns,
        retries: i64::from(draft.retries),
        on_failure: draft.on_failure.map(|action| action.name().to_owned()).unwrap_or_default(),
    }
}

/// The image's health check, as it was decided.
fn inherited_health(spec: &HealthSpec) -> HealthConfig {
    let mut test = vec!["CMD".to_owned()];
    test.extend(spec.command.iter().cloned());
    HealthConfig {
        test,
        interval: signed(spec.interval_ns),
        timeout: signed(spec.timeout_ns),
        start_period: signed(spec.start_period_ns),
        start_interval: signed(spec.start_interval_ns),
        retries: i64::from(spec.retries),
        on_failure: String::new(),
    }
}

/// What commit is asked to put into the new image instead of the container's configuration.
pub(crate) fn image_from_wire(config: ContainerConfig) -> Result<ImageConfig, model::Denied> {
    Ok(ImageConfig {
        user: config.user,
        exposed_ports: config
            .exposed_ports
            .keys()
            .map(|text| port::spec(text))
            .collect::<Result<_, _>>()?,
        env: config.env.unwrap_or_default(),
        entrypoint: config.entrypoint,
        command: config.cmd,
        volumes: config.volumes.unwrap_or_default().into_keys().collect(),
        workdir: config.working_dir,
        labels: config.labels.unwrap_or_default(),
        stop_signal: Some(config.stop_signal).filter(|signal| !signal.is_empty()),
        stop_timeout: config.stop_timeout,
        health: config.healthcheck.map(super::draft::health).transpose()?,
        shell: config.shell,
        on_build: config.on_build.unwrap_or_default(),
    })
}
