//! What is shown of a container, to clients of different ages and in every phase of its life.

use std::collections::BTreeMap;

use model::draft::{HostDraft, SharedNamespace};
use model::mount::{Mount, MountSource, Propagation};
use model::network::{Cidr, Endpoint, EndpointDraft, NetworkMode};
use model::phase::{Exit, Phase, Run};
use model::spec::{Isolation, LogSpec};
use model::view::{ContainerPaths, ContainerView, HealthView};
use model::{ContainerId, ContainerName, ContainerSpec, Digest, Draft, NetworkId, Timestamp};
use wire::docker::ApiVersion;

use crate::convert::{inspect, port, summary};

const SECOND: i64 = 1_000_000_000;
const CREATED: Timestamp = Timestamp(1_700_000_000 * SECOND);
const STARTED: Timestamp = Timestamp(1_700_000_001 * SECOND + 500_000_000);
const RUN: Run = Run { pid: 4242, started: STARTED };

fn exit(code: i32) -> Exit {
    let finished = Timestamp(STARTED.0 + 60 * SECOND);
    Exit { code, oom_killed: false, started: STARTED, finished, error: String::new() }
}

fn draft() -> Draft {
    Draft {
        image: "web:1".to_owned(),
        command: Some(vec!["-d".to_owned(), "/www".to_owned()]),
        host: HostDraft {
            network: NetworkMode::Default,
            ports: port::bindings(BTreeMap::from([("80/tcp".to_owned(), None)])).unwrap(),
            ..HostDraft::default()
        },
        ..Draft::default()
    }
}

fn spec() -> ContainerSpec {
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    ContainerSpec {
        image: Digest::sha256([7; 32]),
        command: strings(&["httpd", "-d", "/www"]),
        entrypoint_len: 1,
        env: strings(&["PATH=/bin"]),
        workdir: "/".to_owned(),
        user: String::new(),
        group_add: Vec::new(),
        hostname: "010101010101".to_owned(),
        domainname: String::new(),
        labels: BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
        tty: false,
        open_stdin: false,
        stdin_once: false,
        stop_signal: model::signal::Signal::TERM,
        stop_timeout: 10,
        volumes: vec![],
        mounts: vec![
            volume_mount(),
            Mount {
                target: "/www".to_owned(),
                writable: false,
                source: MountSource::Bind {
                    path: "/srv/www".to_owned(),
                    propagation: Propagation::RPrivate,
                    recursive: true,
                    create: true,
                    readonly_recursive: true,
                    within: None,
                },
                mode: "ro".to_owned(),
                owner: Default::default(),
                relabel: None,
            },
        ],
        resources: model::resources::Resources { pids_limit: Some(4096), ..Default::default() },
        restart: model::restart::RestartPolicy::No,
        auto_remove: false,
        network: NetworkMode::Default,
        endpoints: BTreeMap::new(),
        ports: Vec::new(),
        exposed_ports: vec![port::spec("80/tcp").unwrap(), port::spec("53/udp").unwrap()],
        dns: model::spec::DnsSpec::default(),
        isolation: isolation(),
        readonly_rootfs: false,
        shm_size_bytes: 64 << 20,
        sysctls: BTreeMap::new(),
        init: false,
        runtime: String::new(),
        log: LogSpec::JsonFile {
            compress: false,
            max_size_bytes: 10 << 20,
            max_files: 3,
            attributes: BTreeMap::new(),
        },
        health: None,
        cgroup_parent: "/estiba".to_owned(),
        console_size: None,
    }
}

fn volume_mount() -> Mount {
    Mount {
        target: "/data".to_owned(),
        writable: true,
        source: MountSource::Volume {
            name: "data".to_owned(),
            driver: "local".to_owned(),
            subpath: String::new(),
            copy_up: true,
            anonymous: false,
        },
        mode: "z".to_owned(),
        owner: Default::default(),
        relabel: None,
    }
}

fn isolation() -> Isolation {
    Isolation {
        privileged: false,
        capabilities: Vec::new(),
        ping_only: false,
        no_new_privileges: true,
        own_ids: true,
        seccomp: model::draft::SeccompDraft::Default,
        profile: model::draft::SecurityProfile::Estiba,
        apparmor: String::new(),
        scoped: true,
        labels: Vec::new(),
        selinux: Default::default(),
        writable_cgroups: false,
        masked_paths: vec!["/proc/kcore".to_owned()],
        readonly_paths: vec!["/proc/sys".to_owned()],
        ipc: SharedNamespace::Private,
        pid: SharedNamespace::Private,
        uts: SharedNamespace::Private,
        cgroupns: SharedNamespace::Private,
        oom_score_adj: 0,
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        id: "e".repeat(64),
        network: NetworkId::from_bytes([2; 32]),
        network_name: "bridge".to_owned(),
        container: ContainerId::from_bytes([1; 32]),
        draft: EndpointDraft::default(),
        ipv4: Some(Cidr::parse("172.17.0.2/16").unwrap()),
        ipv6: None,
        gateway: Some("172.17.0.1".parse().unwrap()),
        gateway6: None,
        mac: Some([2, 0x42, 0xac, 0x11, 0, 2]),
        dns_names: Vec::new(),
        host_interface: None,
        interface: None,
    }
}

fn view(phase: Phase) -> ContainerView {
    let running = phase.run().is_some();
    let published = wire::docker::endpoint::PortBinding {
        host_ip: String::new(),
        host_port: "32768".to_owned(),
    };
    let map = BTreeMap::from([("80/tcp".to_owned(), Some(vec![published]))]);
    ContainerView {
        id: ContainerId::from_bytes([1; 32]),
        name: ContainerName::parse("web").unwrap(),
        created: CREATED,
        draft: draft(),
        spec: spec(),
        image: Digest::sha256([7; 32]),
        phase,
        last_exit: None,
        restart_count: 0,
        endpoints: if running { vec![endpoint()] } else { Vec::new() },
        ports: if running { port::bindings(map).unwrap() } else { Vec::new() },
        execs: Vec::new(),
        health: None,
        paths: ContainerPaths {
            volumes: vec![("/data".to_owned(), "/var/lib/estiba/volumes/data/_data".to_owned())],
            ..ContainerPaths::default()
        },
        size: None,
        warnings: Vec::new(),
    }
}

#[test]
fn inspect_for_clients_of_two_ages() {
    let running = view(Phase::Running(RUN));
    let show = |minor| {
        let shown = inspect::to_wire(&running, "overlay2", ApiVersion::new(1, minor));
        serde_json::to_string_pretty(&shown).unwrap()
    };
    insta::assert_snapshot!("inspect_1_50", show(50));
    insta::assert_snapshot!("inspect_1_52", show(52));
}

#[test]
fn a_line_of_the_list() {
    let running = view(Phase::Running(RUN));
    let now = Timestamp(STARTED.0 + 180 * SECOND);
    let show = |minor| {
        let shown = summary::to_wire(&running, now, ApiVersion::new(1, minor));
        serde_json::to_string_pretty(&shown).unwrap()
    };
    insta::assert_snapshot!("summary_1_50", show(50));
    insta::assert_snapshot!("summary_1_52", show(52));
}

/// Docker's overlapping flags and its words, phase by phase.
#[test]
fn every_phase() {
    let failed = Exit { code: 127, error: "no such file".to_owned(), ..Exit::default() };
    let due = Timestamp(STARTED.0 + 61 * SECOND);
    let delay_ns = 100_000_000;
    let phases = [
        Phase::Created,
        Phase::Starting,
        Phase::Running(RUN),
        Phase::Paused(RUN),
        Phase::Stopping(RUN),
        Phase::Exited(exit(0)),
        Phase::Exited(Exit { oom_killed: true, ..exit(137) }),
        Phase::Exited(failed),
        Phase::Restarting { last: exit(1), due, delay_ns },
        Phase::Removing,
        Phase::Dead { error: "device busy".to_owned() },
    ];
    let now = Timestamp(STARTED.0 + 65 * SECOND);
    let mut lines = Vec::new();
    for phase in phases {
        let view = view(phase);
        let s = inspect::state(&view);
        let flags = [
            (s.running, "running"),
            (s.paused, "paused"),
            (s.restarting, "restarting"),
            (s.oom_killed, "oom"),
            (s.dead, "dead"),
        ];
        let set: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        lines.push(format!(
            "{} | {} | pid {} code {} | {} | {} - {} | {}",
            s.status,
            set.join("+"),
            s.pid,
            s.exit_code,
            s.error,
            s.started_at,
            s.finished_at,
            summary::status(&view, now)
        ));
    }
    insta::assert_snapshot!("phases", lines.join("\n"));
}

#[test]
fn health_is_told_in_the_status() {
    let mut view = view(Phase::Running(RUN));
    let now = Timestamp(STARTED.0 + 5 * SECOND);
    for (status, want) in [
        ("starting", "Up 5 seconds (health: starting)"),
        ("healthy", "Up 5 seconds (healthy)"),
        ("unhealthy", "Up 5 seconds (unhealthy)"),
    ] {
        view.health = Some(HealthView { status, ..HealthView::default() });
        assert_eq!(summary::status(&view, now), want);
    }
}
