//! An image's configuration, from its document to the model and back. Pure.

use model::draft::HealthDraft;
use model::image::ImageConfig;
use model::network::{PortSpec, Protocol};
use std::collections::BTreeMap;
use wire::oci::image::{Empty, Healthcheck, RunConfig};

/// What an image says about running it. Ports that are none are left out: an image of elsewhere
/// may carry anything.
pub(crate) fn from_wire(run: &RunConfig) -> ImageConfig {
    ImageConfig {
        user: run.user.clone(),
        exposed_ports: run.exposed_ports.iter().flatten().filter_map(|(p, _)| port(p)).collect(),
        env: run.env.clone().unwrap_or_default(),
        entrypoint: run.entrypoint.clone(),
        command: run.cmd.clone(),
        volumes: run.volumes.iter().flatten().map(|(path, _)| path.clone()).collect(),
        workdir: run.working_dir.clone(),
        labels: run.labels.clone().unwrap_or_default(),
        stop_signal: run.stop_signal.clone(),
        stop_timeout: run.stop_timeout,
        health: run.healthcheck.as_ref().map(health),
        shell: run.shell.clone(),
        on_build: run.on_build.clone().unwrap_or_default(),
    }
}

/// The document's form.
pub(crate) fn to_wire(config: &ImageConfig) -> RunConfig {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let set = |keys: Vec<String>| -> Option<BTreeMap<String, Empty>> {
        (!keys.is_empty()).then(|| keys.into_iter().map(|key| (key, Empty {})).collect())
    };
    let ports = config.exposed_ports.iter();
    RunConfig {
        user: config.user.clone(),
        exposed_ports: set(ports
            .map(|port| format!("{}/{}", port.port, port.protocol.name()))
            .collect()),
        env: some(&config.env),
        entrypoint: config.entrypoint.clone(),
        cmd: config.command.clone(),
        healthcheck: config.health.as_ref().map(|health| Healthcheck {
            test: some(&health.test),
            interval: health.interval_ns,
            timeout: health.timeout_ns,
            start_period: health.start_period_ns,
            start_interval: health.start_interval_ns,
            retries: health.retries.into(),
        }),
        volumes: set(config.volumes.clone()),
        working_dir: config.workdir.clone(),
        on_build: some(&config.on_build),
        labels: (!config.labels.is_empty()).then(|| config.labels.clone()),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        shell: config.shell.clone(),
        ..RunConfig::default()
    }
}

fn health(check: &Healthcheck) -> HealthDraft {
    HealthDraft {
        test: check.test.clone().unwrap_or_default(),
        interval_ns: check.interval,
        timeout_ns: check.timeout,
        start_period_ns: check.start_period,
        start_interval_ns: check.start_interval,
        retries: u32::try_from(check.retries).unwrap_or(0),
        // No image decides what its host does.
        on_failure: None,
    }
}

fn port(text: &str) -> Option<PortSpec> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, ""));
    let port = number.parse().ok().filter(|port| *port != 0)?;
    Some(PortSpec { port, protocol: Protocol::parse(protocol).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_the_way_there_and_back() {
        let config = ImageConfig {
            user: "app:app".into(),
            exposed_ports: vec![PortSpec { port: 80, protocol: Protocol::Tcp }],
            env: vec!["A=b".into()],
            entrypoint: Some(vec!["/e".into()]),
            command: Some(vec![]),
            volumes: vec!["/data".into()],
            workdir: "/w".into(),
            labels: BTreeMap::from([("a".into(), "b".into())]),
            stop_signal: Some("SIGINT".into()),
            stop_timeout: Some(3),
            health: Some(HealthDraft {
                test: vec!["NONE".into()],
                retries: 2,
                ..Default::default()
            }),
            shell: Some(vec!["/bin/ash".into()]),
            on_build: vec!["RUN x".into()],
        };
        assert_eq!(from_wire(&to_wire(&config)), config);
        for bad in ["", "0/tcp", "65536", "80/x", "a/tcp"] {
            assert_eq!(port(bad), None, "{bad}");
        }
    }
}
