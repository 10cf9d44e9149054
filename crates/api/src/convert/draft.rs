//! The body of create: a container as asked for.

use std::collections::BTreeMap;

use model::draft::{HealthDraft, OnUnhealthy};
use model::network::EndpointDraft;
use model::{Denied, Draft};
use wire::docker::container::{ContainerCreateBody, HealthConfig};

use super::{endpoint, host, namespace, port};

/// Nanoseconds; shorter checks are refused, as in Docker.
const SHORTEST_HEALTH_NS: i64 = 1_000_000;

/// A container as asked for.
pub(crate) fn from_wire(body: ContainerCreateBody, platform: &str) -> Result<Draft, Denied> {
    let ContainerCreateBody { config, host_config, networking_config } = body;
    if config.image.is_empty() {
        return Err(Denied::invalid("Config cannot be empty in order to create a container"));
    }
    config.env.iter().flatten().try_for_each(|entry| check_env(entry))?;
    let mut volumes: Vec<String> = config.volumes.unwrap_or_default().into_keys().collect();
    let host = host::from_wire(host_config.unwrap_or_default(), &mut volumes)?;
    let asked = networking_config.and_then(|networks| networks.endpoints_config);
    let mut endpoints = BTreeMap::new();
    for (network, settings) in asked.unwrap_or_default() {
        // The command line calls the default network `default` here, the engine by its name.
        let name = namespace::network_text(&namespace::network(&network)?);
        endpoints.insert(name, endpoint::from_wire(settings.unwrap_or_default())?);
    }
    if let Some(mac) = endpoint::mac(&config.mac_address)? {
        let main: &mut EndpointDraft =
            endpoints.entry(namespace::network_text(&host.network)).or_default();
        main.mac.get_or_insert(mac);
    }
    Ok(Draft {
        image: config.image,
        platform: Some(platform.to_owned()).filter(|platform| !platform.is_empty()),
        entrypoint: entrypoint(config.entrypoint),
        command: config.cmd.filter(|words| !words.is_empty()),
        env: config.env.unwrap_or_default(),
        workdir: config.working_dir,
        user: config.user,
        hostname: config.hostname,
        domainname: config.domainname,
        labels: config.labels.unwrap_or_default(),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: config
            .exposed_ports
            .keys()
            .map(|text| port::spec(text))
            .collect::<Result<_, _>>()?,
        volumes,
        stop_signal: Some(config.stop_signal).filter(|signal| !signal.is_empty()),
        stop_timeout: config.stop_timeout,
        health: config.healthcheck.map(health).transpose()?,
        network_disabled: config.network_disabled,
        shell: config.shell.filter(|words| !words.is_empty()),
        host,
        endpoints,
    })
}

/// One empty string clears the image's entrypoint; nothing, or an empty list, keeps it.
fn entrypoint(words: Option<Vec<String>>) -> Option<Vec<String>> {
    let words = words.filter(|words| !words.is_empty())?;
    Some(if words == [""] { Vec::new() } else { words })
}

fn check_env(entry: &str) -> Result<(), Denied> {
    if entry.is_empty() || entry.starts_with('=') {
        return Err(Denied::invalid(format!("invalid environment variable: {entry}")));
    }
    Ok(())
}

/// A health check as asked for.
pub(crate) fn health(config: HealthConfig) -> Result<HealthDraft, Denied> {
    for (name, value) in [
        ("Interval", config.interval),
        ("Timeout", config.timeout),
        ("StartPeriod", config.start_period),
        ("StartInterval", config.start_interval),
    ] {
        if value != 0 && value < SHORTEST_HEALTH_NS {
            let message = format!("{name} in Healthcheck cannot be less than 1ms");
            return Err(Denied::invalid(message));
        }
    }
    let retries = u32::try_from(config.retries).map_err(|_| {
        Denied::invalid(if config.retries < 0 {
            "Retries in Healthcheck cannot be negative"
        } else {
            "Retries in Healthcheck is too large"
        })
    })?;
    Ok(HealthDraft {
        test: config.test,
        interval_ns: config.interval,
        timeout_ns: config.timeout,
        start_period_ns: config.start_period,
        start_interval_ns: config.start_interval,
        retries,
        on_failure: match config.on_failure.as_str() {
            "" => None,
            action => Some(OnUnhealthy::parse(action)?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::docker::json;

    fn parse(text: &str) -> Result<Draft, Denied> {
        from_wire(json::from_slice(text.as_bytes()).unwrap(), "")
    }

    #[test]
    fn what_is_not_asked_stays_open() {
        let draft = parse(r#"{"Image":"busybox"}"#).unwrap();
        assert_eq!(draft, Draft { image: "busybox".to_owned(), ..Draft::default() });
    }

    #[test]
    fn entrypoints() {
        let entrypoint = |json: &str| {
            parse(&format!(r#"{{"Image":"a","Entrypoint":{json}}}"#)).unwrap().entrypoint
        };
        assert_eq!(entrypoint("null"), None);
        assert_eq!(entrypoint("[]"), None);
        assert_eq!(entrypoint(r#"[""]"#), Some(vec![]));
        assert_eq!(entrypoint(r#""sh""#), Some(vec!["sh".to_owned()]));
    }

    #[test]
    fn a_legacy_mac_address_goes_to_the_main_network() {
        let draft = parse(
            r#"{"Image":"a","MacAddress":"02:42:ac:11:00:02","HostConfig":{"NetworkMode":"web"}}"#,
        );
        let mac = draft.unwrap().endpoints["web"].mac;
        assert_eq!(mac, Some([2, 0x42, 0xac, 0x11, 0, 2]));
    }

    #[test]
    fn refusals() {
        for (text, part) in [
            (r"{}", "Config cannot be empty in order to create a container"),
            (r#"{"Image":"a","Env":["=b"]}"#, "invalid environment variable: =b"),
            (r#"{"Image":"a","ExposedPorts":{"x":{}}}"#, "invalid port specification"),
            (r#"{"Image":"a","Healthcheck":{"Interval":5}}"#, "Interval in Healthcheck cannot"),
            (r#"{"Image":"a","Healthcheck":{"Retries":-1}}"#, "cannot be negative"),
            (r#"{"Image":"a","MacAddress":"x"}"#, "x is not a valid mac address"),
            (r#"{"Image":"a","HostConfig":{"IpcMode":"x"}}"#, "invalid IPC mode: x"),
        ] {
            let denied = parse(text).unwrap_err();
            assert!(denied.message.contains(part), "{text}: {denied}");
        }
    }
}
