//! Stored forms, by data.

use super::*;
use model::draft::{BindDraft, HealthDraft, SeccompDraft, SharedNamespace};
use model::image::ImageConfig;
use model::mount::{MountDraft, MountKind, Propagation};
use model::network::{Cidr, DriverKind, EndpointDraft, NetworkMode, Pool, PortSpec, Protocol};
use model::phase::Run;
use model::resolve::{Ask, Defaults, HostFacts, resolve};
use model::resources::{Device, DeviceRate, DeviceRequest, DeviceWeight, Ulimit};
use model::restart::RestartPolicy;
use model::{Digest, NetworkId};
use std::collections::BTreeMap;

/// A draft in which as much as possible is not its default.
fn draft() -> Draft {
    let map = |name: &str| BTreeMap::from([(name.to_owned(), "value".to_owned())]);
    let mut draft = Draft {
        image: "x:1".into(),
        platform: Some("linux/amd64".into()),
        entrypoint: Some(vec!["/e".into()]),
        command: Some(vec!["a".into()]),
        env: vec!["A=b".into()],
        labels: map("label"),
        tty: true,
        exposed_ports: vec![PortSpec { port: 53, protocol: Protocol::Udp }],
        volumes: vec!["/v".into()],
        stop_timeout: Some(-1),
        health: Some(HealthDraft { test: vec!["CMD".into(), "x".into()], ..Default::default() }),
        endpoints: BTreeMap::from([(
            "net".to_owned(),
            EndpointDraft {
                ipv4: Some([10, 0, 0, 2].into()),
                mac: Some([2, 0, 0, 0, 0, 1]),
                aliases: vec!["other".into()],
                options: map("option"),
                ..Default::default()
            },
        )]),
        ..Default::default()
    };
    let host = &mut draft.host;
    host.binds = vec![BindDraft {
        source: "/s".into(),
        target: "/t".into(),
        propagation: Some(Propagation::RSlave),
        relabel: Some(model::selinux::Relabel::Private),
        ..Default::default()
    }];
    host.mounts = vec![MountDraft {
        target: "/m".into(),
        readonly: true,
        consistency: "cached".into(),
        owner: Default::default(),
        kind: MountKind::Tmpfs { size_bytes: 5, mode: 0o700, options: vec![] },
    }];
    host.restart = RestartPolicy::OnFailure(3);
    host.network = NetworkMode::Named("net".into());
    host.ipc = SharedNamespace::Container("x".into());
    host.security.seccomp = SeccompDraft::Profile("{}".into());
    host.console_size = Some((24, 80));
    host.resources.devices = vec![Device {
        host_path: "/dev/x".into(),
        container_path: "/dev/y".into(),
        access: "r".into(),
    }];
    host.resources.ulimits = vec![Ulimit { name: "nofile".into(), soft: 1, hard: -1 }];
    host.resources.blkio_weight_device = vec![DeviceWeight { path: "/d".into(), weight: 10 }];
    host.resources.blkio_read_bps = vec![DeviceRate { path: "/d".into(), rate: u64::MAX }];
    draft
}

fn round_trip<S: Stored<M> + Serialize + DeserializeOwned, M: PartialEq + std::fmt::Debug>(
    value: &M,
) {
    let bytes = encode::<S, M>(value).unwrap();
    assert!(bytes.starts_with(b"{\"version\":\"1\","), "every record says its version");
    assert_eq!(&decode::<S, M>("test", &bytes).unwrap(), value);
}

#[test]
fn a_definition_comes_back_as_it_was() {
    let draft = draft();
    let id = ContainerId::from_bytes([9; 32]);
    let mut spec = resolve(&Ask {
        id: &id,
        name: "web",
        draft: &draft,
        image: Digest::sha256([3; 32]),
        config: &ImageConfig::default(),
        defaults: &Defaults::default(),
        facts: &HostFacts { cpus: 1, ..Default::default() },
        inherited: &[],
        selinux: None,
    })
    .unwrap()
    .spec;
    let (process, mount) = ("u:r:t:s0:c1,c2".into(), "u:o:f:s0:c1,c2".into());
    spec.isolation.selinux = model::selinux::Labels { process, mount };
    let mut asked = draft;
    asked.host.resources.device_requests = vec![DeviceRequest {
        count: -1,
        capabilities: vec![vec!["gpu".into()]],
        ..Default::default()
    }];
    round_trip::<v1::Definition, _>(&Definition {
        id,
        name: ContainerName::parse("some_name").unwrap(),
        created: Timestamp(5),
        draft: asked,
        spec,
        warnings: vec!["w".into()],
    });
}

#[test]
fn a_state_of_each_phase_comes_back_as_it_was() {
    let exit = Exit { code: 3, oom_killed: true, error: "e".into(), ..Default::default() };
    let run = Run { pid: 5, started: Timestamp(-1) };
    for phase in [
        Phase::Created,
        Phase::Starting,
        Phase::Running(run),
        Phase::Paused(run),
        Phase::Stopping(run),
        Phase::Exited(exit.clone()),
        Phase::Restarting { last: exit.clone(), due: Timestamp(7), delay_ns: 8 },
        Phase::Removing,
        Phase::Dead { error: "e".into() },
    ] {
        round_trip::<v1::State, _>(&State {
            phase,
            last_exit: Some(exit.clone()),
            id_range: Some(1 << 28),
            cgroup: "/c".into(),
            endpoints: vec![Endpoint {
                id: "e".into(),
                network: NetworkId::from_bytes([1; 32]),
                network_name: "n".into(),
                container: ContainerId::from_bytes([2; 32]),
                draft: EndpointDraft::default(),
                ipv4: Some(Cidr::parse("10.0.0.2/24").unwrap()),
                ipv6: None,
                gateway: Some([10, 0, 0, 1].into()),
                gateway6: None,
                mac: Some([1; 6]),
                dns_names: vec!["d".into()],
                host_interface: Some("veth".into()),
                interface: Some("eth0".into()),
            }],
            ports: vec![PortBinding {
                container: PortSpec { port: 80, protocol: Protocol::Sctp },
                host_ip: Some([127, 0, 0, 1].into()),
                host_ports: Some((1, 2)),
            }],
            ..State::default()
        });
    }
}

#[test]
fn a_network_comes_back_as_it_was() {
    round_trip::<v1::NetworkSpec, _>(&NetworkSpec {
        id: NetworkId::from_bytes([1; 32]),
        name: "n".into(),
        created: Timestamp(4),
        driver: DriverKind::Plugin("p".into()),
        internal: true,
        attachable: false,
        config_only: false,
        config_from: "c".into(),
        enable_ipv6: true,
        pools: vec![Pool {
            subnet: Cidr::parse("fd00::/64").unwrap(),
            range: None,
            gateway: Some("fd00::1".parse().unwrap()),
            reserved: BTreeMap::new(),
            remote: "pool".into(),
        }],
        options: BTreeMap::new(),
        ipam_driver: "i".into(),
        ipam_options: BTreeMap::new(),
        labels: BTreeMap::new(),
        bridge: Some("br0".into()),
    });
}

#[test]
fn what_is_not_a_record_is_an_error_that_names_it() {
    for bytes in [&b""[..], b"{}", b"{\"version\":\"9\"}", b"{\"version\":\"1\"}"] {
        let error = decode::<v1::State, State>("abc", bytes).unwrap_err().to_string();
        assert!(error.starts_with("read record of abc: "), "{error}");
    }
}

#[test]
fn an_exec_comes_back_as_it_was() {
    let draft = ExecDraft {
        command: vec!["a".into()],
        tty: true,
        console_size: Some((24, 80)),
        ..Default::default()
    };
    let container = ContainerId::from_bytes([9; 32]);
    let exec = ExecRecord { id: "e".into(), container, draft };
    round_trip::<v1::ExecRecord, _>(&exec);
}

#[test]
fn records_from_before_a_field_are_read() {
    let old = br#"{"version":"1","test":[],"interval_ns":0,"timeout_ns":0,"start_period_ns":0,
        "start_interval_ns":0,"retries":3}"#;
    let draft: HealthDraft = decode::<v1::HealthDraft, _>("test", old).unwrap();
    assert_eq!((draft.retries, draft.on_failure), (3, None));
}
