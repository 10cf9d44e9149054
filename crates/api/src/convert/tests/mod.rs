//! Bodies that the docker command line 28.2 sent, and what they mean.

mod view;

use std::collections::BTreeMap;

use model::draft::{HostDraft, LogDraft};
use model::network::EndpointDraft;
use model::resources::Resources;
use model::{Denied, Draft};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::docker::container::ContainerCreateBody;
use wire::docker::exec::{ExecCreateBody, ExecStartBody};
use wire::docker::host_config::ContainerUpdateBody;
use wire::docker::json;
use wire::docker::network::{NetworkConnectBody, NetworkCreateBody, NetworkDisconnectBody};
use wire::docker::volume::VolumeCreateBody;

macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("captured/", $name, ".json"))
    };
}

fn create(text: &str) -> Result<Draft, Denied> {
    crate::convert::draft::from_wire(json::from_slice(text.as_bytes()).unwrap(), "")
}

/// Everything the command line says by default must come out as "not asked".
#[test]
fn a_plain_create_asks_for_nothing() {
    let want = Draft {
        image: "busybox".to_owned(),
        command: Some(vec!["true".to_owned()]),
        attach_stdout: true,
        attach_stderr: true,
        host: HostDraft {
            resources: Resources { oom_kill_disable: Some(false), ..Resources::default() },
            log: LogDraft::default(),
            ..HostDraft::default()
        },
        endpoints: BTreeMap::from([("bridge".to_owned(), EndpointDraft::default())]),
        ..Draft::default()
    };
    assert_eq!(create(captured!("create_plain")).unwrap(), want);
}

#[test]
fn creates_with_every_flag() {
    insta::assert_debug_snapshot!("everything", create(captured!("create_everything")).unwrap());
    insta::assert_debug_snapshot!("privileged", create(captured!("create_privileged")).unwrap());
    insta::assert_debug_snapshot!("interactive", create(captured!("create_interactive")).unwrap());
}

#[test]
fn the_rest() {
    let network: NetworkCreateBody = parse(captured!("network_create"));
    insta::assert_debug_snapshot!(
        "network",
        crate::convert::network::from_wire(network, wire::docker::ApiVersion::MAX).unwrap()
    );
    let volume: VolumeCreateBody = parse(captured!("volume_create"));
    insta::assert_debug_snapshot!("volume", crate::convert::volume::from_wire(volume));
    let exec: ExecCreateBody = parse(captured!("exec_create_detached"));
    insta::assert_debug_snapshot!("exec", crate::convert::exec::from_wire(exec).unwrap());
    let connect: NetworkConnectBody = parse(captured!("network_connect"));
    let endpoint = crate::convert::endpoint::from_wire(connect.endpoint_config.unwrap());
    insta::assert_debug_snapshot!("connect", endpoint.unwrap());
    let update: ContainerUpdateBody = parse(captured!("update"));
    insta::assert_debug_snapshot!(
        "update",
        crate::convert::host::update_from_wire(update).unwrap()
    );
}

fn parse<T: DeserializeOwned>(text: &str) -> T {
    json::from_slice(text.as_bytes()).unwrap()
}

/// Our types print what Docker's own client prints, field by field.
#[test]
fn our_types_print_what_the_docker_client_prints() {
    fn check<T: DeserializeOwned + Serialize>(name: &str, text: &str) {
        let theirs: Value = serde_json::from_str(text).unwrap();
        let ours = serde_json::to_value(parse::<T>(text)).unwrap();
        assert_eq!(ours, theirs, "{name}");
    }
    check::<ContainerCreateBody>("plain", captured!("create_plain"));
    check::<ContainerCreateBody>("everything", captured!("create_everything"));
    check::<ContainerCreateBody>("privileged", captured!("create_privileged"));
    check::<ContainerCreateBody>("interactive", captured!("create_interactive"));
    check::<NetworkCreateBody>("network create", captured!("network_create"));
    check::<NetworkConnectBody>("network connect", captured!("network_connect"));
    check::<NetworkDisconnectBody>("network disconnect", captured!("network_disconnect"));
    check::<VolumeCreateBody>("volume create", captured!("volume_create"));
    check::<ExecCreateBody>("exec create", captured!("exec_create"));
    check::<ExecCreateBody>("exec create detached", captured!("exec_create_detached"));
    check::<ExecStartBody>("exec start", captured!("exec_start"));
    check::<ExecStartBody>("exec start detached", captured!("exec_start_detached"));
    check::<ContainerUpdateBody>("update", captured!("update"));
}
