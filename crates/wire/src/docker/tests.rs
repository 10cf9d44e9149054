//! Reading and writing as Go does, by data.

use super::container::{ContainerConfig, ContainerCreateBody, ContainerState, ContainerSummary};
use super::endpoint::{EndpointSettings, NetworkSettings};
use super::exec::ExecInspect;
use super::host_config::{ContainerUpdateBody, HostConfig};
use super::image::{HistoryItem, ImageInspect, ImageSummary};
use super::json;
use super::network::Network;
use super::stats::Stats;

fn create(text: &str) -> ContainerCreateBody {
    json::from_slice(text.as_bytes()).unwrap()
}

#[test]
fn reads_embedded_structs() {
    let body = create(
        r#"{"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Memory": 5, "Binds": ["/a:/b"],
            "RestartPolicy": {"Name": "always"}}, "NetworkingConfig": {"EndpointsConfig":
            {"web": null, "db": {"Aliases": ["x"]}}}}"#,
    );
    assert_eq!(body.config.image, "busybox");
    let host = body.host_config.unwrap();
    assert_eq!(host.resources.memory, 5);
    assert_eq!(host.binds, Some(vec!["/a:/b".to_owned()]));
    assert_eq!(host.restart_policy.name, "always");
    let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
    assert_eq!(endpoints["web"], None);
    assert_eq!(endpoints["db"].as_ref().unwrap().aliases, Some(vec!["x".to_owned()]));

    let update: ContainerUpdateBody =
        json::from_slice(br#"{"Memory": 7, "RestartPolicy": {"Name": "no"}}"#).unwrap();
    assert_eq!((update.resources.memory, update.restart_policy.name.as_str()), (7, "no"));
}

#[test]
fn null_is_absent_for_every_type() {
    let body = create(
        r#"{"Image": null, "Tty": null, "Env": null, "ExposedPorts": null, "Healthcheck": null,
            "StopTimeout": null, "Labels": {"a": null}, "HostConfig": {"Memory": null,
            "ConsoleSize": null, "LogConfig": null, "PortBindings": {"80/tcp": null}}}"#,
    );
    let label = body.config.labels.clone().unwrap()["a"].clone();
    assert_eq!(label, "");
    let host = body.host_config.unwrap();
    assert_eq!(host.port_bindings.unwrap()["80/tcp"], None);
    assert_eq!(ContainerConfig { labels: None, ..body.config }, ContainerConfig::default());
}

#[test]
fn names_ignore_case_and_the_last_wins() {
    let body = create(
        r#"{"Image": "a", "HOSTCONFIG": {"privileged": true, "Privileged": false}, "image": "b",
            "Image": null, "Nonsense": 3}"#,
    );
    assert_eq!(body.config.image, "b");
    assert!(!body.host_config.unwrap().privileged);
}

#[test]
fn a_command_may_be_one_string() {
    let body = create(r#"{"Cmd": "true", "Entrypoint": [""]}"#);
    assert_eq!(body.config.cmd, Some(vec!["true".to_owned()]));
    assert_eq!(body.config.entrypoint, Some(vec![String::new()]));
}

#[test]
fn refuses_other_types() {
    for (text, part) in [
        (r#"{"Image": 3}"#, "string"),
        (r#"{"HostConfig": {"Memory": "5"}}"#, "i64"),
        (r#"{"HostConfig": {"Memory": 1.5}}"#, "i64"),
        (r#"{"HostConfig": {"Memory": 9223372036854775808}}"#, "i64"),
        (r#"{"HostConfig": []}"#, "struct"),
        (r#"{"Env": {}}"#, "sequence"),
        (r#"[]"#, "struct"),
        (r#"{"Image": "a"} x"#, "trailing"),
        (r#"{"Image": "a""#, "EOF"),
    ] {
        let error = json::from_slice::<ContainerCreateBody>(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    let deep = "[".repeat(100_000);
    assert!(json::from_slice::<ContainerCreateBody>(deep.as_bytes()).is_err());
}

#[test]
fn round_trips() {
    let text = serde_json::to_string(&HostConfig::default()).unwrap();
    let back: HostConfig = json::from_slice(text.as_bytes()).unwrap();
    assert_eq!(back, HostConfig::default());
    let body = create(r#"{"Image": "a", "HostConfig": {"NanoCpus": 3, "Tmpfs": {"/t": ""}}}"#);
    let text = serde_json::to_string(&body).unwrap();
    assert_eq!(create(&text), body);
}

/// Zero values and nulls stand exactly where clients expect them.
#[test]
fn zero_values() {
    fn show<T: Default + serde::Serialize>() -> String {
        serde_json::to_string(&T::default()).unwrap()
    }
    insta::assert_snapshot!("host_config", show::<HostConfig>());
    insta::assert_snapshot!("container_config", show::<ContainerConfig>());
    insta::assert_snapshot!("container_state", show::<ContainerState>());
    insta::assert_snapshot!("container_summary", show::<ContainerSummary>());
    insta::assert_snapshot!("network_settings", show::<NetworkSettings>());
    insta::assert_snapshot!("endpoint_settings", show::<EndpointSettings>());
    insta::assert_snapshot!("exec_inspect", show::<ExecInspect>());
    insta::assert_snapshot!("image_summary", show::<ImageSummary>());
    insta::assert_snapshot!("image_inspect", show::<ImageInspect>());
    insta::assert_snapshot!("image_inspect_before_1_50", show::<ImageInspect<ContainerConfig>>());
    insta::assert_snapshot!("history_item", show::<HistoryItem>());
    insta::assert_snapshot!("network", show::<Network>());
    insta::assert_snapshot!("stats", show::<Stats>());
}
