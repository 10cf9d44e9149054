//! What drafts resolve to, by data.

use super::*;
use crate::draft::{
    BindDraft, HealthDraft, SeccompDraft, SecurityProfile, SharedNamespace, UsernsMode,
};
use crate::mount::{MountDraft, MountKind, MountSource};
use crate::network::{EndpointDraft, NetworkMode, PortBinding, PortSpec, Protocol};
use crate::resources::Ulimit;
use crate::spec::{Isolation, LogSpec};

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn facts() -> HostFacts {
    HostFacts {
        cpus: 2,
        cpuset_cpus: "0-1".into(),
        cpuset_mems: "0".into(),
        swap_limit: true,
        oom_kill_disable: true,
        no_pids_limit: false,
        apparmor: false,
        apparmor_default: String::new(),
        selinux: None,
        capabilities: CapabilityFacts {
            known: strings(&["CHOWN", "KILL", "NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_RESOURCE"]),
            available: strings(&["CHOWN", "KILL", "NET_ADMIN", "NET_RAW", "SYS_ADMIN"]),
            estiba: strings(&["CHOWN", "KILL"]),
            estiba_ping: strings(&["CHOWN", "NET_RAW"]),
            docker: strings(&["CHOWN", "KILL", "NET_RAW"]),
        },
    }
}

fn defaults() -> Defaults {
    Defaults {
        userns: true,
        log_driver: "json-file".into(),
        pids_limit: 4096,
        shm_size_bytes: 64 << 20,
        stop_timeout: 10,
        cgroup_parent: "/estiba".into(),
        ..Defaults::default()
    }
}

fn image() -> ImageConfig {
    ImageConfig { command: Some(strings(&["sh"])), ..ImageConfig::default() }
}

fn resolved(draft: &Draft, config: &ImageConfig) -> Result<Resolved, Denied> {
    resolve(&Ask {
        id: &ContainerId::from_bytes([0xab; 32]),
        name: "web",
        draft,
        image: Digest::sha256([1; 32]),
        config,
        defaults: &defaults(),
        facts: &facts(),
        inherited: &[],
        selinux: None,
    })
}

/// A draft that only `change` makes special.
fn with(change: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = Draft { image: "x".into(), ..Draft::default() };
    change(&mut draft);
    draft
}

fn spec(change: impl FnOnce(&mut Draft)) -> ContainerSpec {
    resolved(&with(change), &image()).unwrap().spec
}

fn refusal(change: impl FnOnce(&mut Draft)) -> String {
    resolved(&with(change), &image()).unwrap_err().message
}

#[test]
fn entrypoint_and_command_as_docker_combines_them() {
    let config = ImageConfig {
        entrypoint: Some(strings(&["/entry"])),
        command: Some(strings(&["default"])),
        ..ImageConfig::default()
    };
    type Words = Option<&'static [&'static str]>;
    let check = |entrypoint: Words, command: Words, want: &[&str], len: usize| {
        let draft = with(|it| {
            it.entrypoint = entrypoint.map(strings);
            it.command = command.map(strings);
        });
        let spec = resolved(&draft, &config).unwrap().spec;
        assert_eq!((spec.command, spec.entrypoint_len), (strings(want), len));
    };
    check(None, None, &["/entry", "default"], 1);
    check(None, Some(&["a", "b"]), &["/entry", "a", "b"], 1);
    check(Some(&["/own"]), None, &["/own"], 1);
    check(Some(&["/own"]), Some(&["a"]), &["/own", "a"], 1);
    check(Some(&[""]), Some(&["a"]), &["a"], 0);
    let nothing = resolved(&with(|it| it.entrypoint = Some(strings(&[""]))), &config);
    assert_eq!(nothing.unwrap_err().message, "no command specified");
}

#[test]
fn the_environment_is_merged_by_name() {
    let config = ImageConfig { env: strings(&["A=image", "B=image", "PATH=/image"]), ..image() };
    let draft = with(|it| {
        it.tty = true;
        it.env = strings(&["A=own", "B", "C=x=y", "D"]);
    });
    let env = resolved(&draft, &config).unwrap().spec.env;
    assert_eq!(
        env,
        strings(&["PATH=/image", "HOSTNAME=abababababab", "TERM=xterm", "A=own", "C=x=y"])
    );
    assert_eq!(refusal(|it| it.env = strings(&["=x"])), "invalid environment variable: =x");
}

#[test]
fn isolation_is_tight_unless_something_else_is_asked_for() {
    let plain = spec(|_| ()).isolation;
    assert!(plain.own_ids && plain.no_new_privileges && !plain.privileged);
    assert_eq!(plain.capabilities, strings(&["CHOWN", "NET_RAW"]));
    assert!(plain.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert_eq!(plain.cgroupns, SharedNamespace::Private);
    let docker = spec(|it| it.host.security.profile = Some(SecurityProfile::Docker)).isolation;
    assert!(!docker.no_new_privileges);
    assert_eq!(docker.capabilities, strings(&["CHOWN", "KILL", "NET_RAW"]));
    let privileged = spec(|it| it.host.privileged = true).isolation;
    assert!(!privileged.own_ids && privileged.masked_paths.is_empty());
    assert_eq!(privileged.seccomp, SeccompDraft::Unconfined);
    assert_eq!(privileged.capabilities, facts().capabilities.available);
    for shares in [
        spec(|it| it.host.userns = UsernsMode::Host),
        spec(|it| it.host.network = NetworkMode::Host),
        spec(|it| it.host.pid = SharedNamespace::Host),
        spec(|it| it.host.ipc = SharedNamespace::Host),
    ] {
        assert!(!shares.isolation.own_ids);
    }
}

#[test]
fn signals_and_sockets_are_scoped_unless_they_are_to_be_shared() {
    let scoped = |change: fn(&mut Draft)| spec(change).isolation.scoped;
    assert!(scoped(|_| ()));
    assert!(scoped(|it| it.host.network = NetworkMode::Host));
    assert!(!scoped(|it| it.host.pid = SharedNamespace::Host));
    assert!(!scoped(|it| it.host.pid = SharedNamespace::Container("other".into())));
    assert!(!scoped(|it| it.host.ipc = SharedNamespace::Container("other".into())));
    assert!(!scoped(|it| it.host.privileged = true));
    assert!(!scoped(|it| it.host.security.profile = Some(SecurityProfile::Docker)));
    assert!(!scoped(|it| it.host.security.unscoped = true));
}

#[test]
fn parents_are_slices_where_systemd_places_groups() {
    let slices = Defaults { slices: true, cgroup_parent: "system.slice".into(), ..defaults() };
    let parent = |asked: &str| super::cgroup_parent(asked, &slices);
    assert_eq!(parent("").unwrap(), "system.slice");
    assert_eq!(parent("a-b.slice").unwrap(), "a-b.slice");
    for bad in ["/estiba", "a", "/a.slice", "a/b.slice", "../a.slice"] {
        assert!(parent(bad).is_err(), "{bad}");
    }
    assert_eq!(super::cgroup_parent("a.slice", &defaults()).unwrap(), "/a.slice");
}

#[test]
fn apparmor_has_a_profile_for_who_names_none() {
    let facts = HostFacts { apparmor: true, apparmor_default: "default".into(), ..facts() };
    let profile = |change: fn(&mut Draft)| {
        let (id, draft) = (ContainerId::from_bytes([0xab; 32]), with(change));
        resolve(&Ask {
            id: &id,
            name: "web",
            draft: &draft,
            image: Digest::sha256([1; 32]),
            config: &image(),
            defaults: &defaults(),
            facts: &facts,
            inherited: &[],
            selinux: None,
        })
        .unwrap()
        .spec
        .isolation
        .apparmor
    };
    assert_eq!(profile(|_| ()), "default");
    assert_eq!(profile(|it| it.host.security.apparmor = "own".into()), "own");
    assert_eq!(profile(|it| it.host.security.apparmor = "unconfined".into()), "");
    assert_eq!(profile(|it| it.host.privileged = true), "");
}

#[test]
fn ping_is_had_where_nobody_else_is_reached_by_it() {
    let seen = |change: fn(&mut Draft)| {
        let isolation = spec(change).isolation;
        (isolation.capabilities.join(" "), isolation.ping_only)
    };
    let pings = ("CHOWN NET_RAW".to_owned(), true);
    let ports = ("CHOWN KILL".to_owned(), false);
    assert_eq!(seen(|_| ()), pings);
    assert_eq!(seen(|it| it.host.network = NetworkMode::None), pings);
    assert_eq!(seen(|it| it.network_disabled = true), pings);
    let sysctl = |it: &mut Draft, first: &str| {
        let name = "net/ipv4/ip_unprivileged_port_start".to_owned();
        it.host.sysctls.insert(name, first.to_owned());
    };
    assert_eq!(seen(|it| it.host.network = NetworkMode::Host), ports);
    assert_eq!(seen(|it| it.host.network = NetworkMode::Container("other".into())), ports);
    assert_eq!(spec(|it| sysctl(it, "1024")).isolation.capabilities, strings(&["CHOWN", "KILL"]));
    assert!(spec(|it| sysctl(it, "0")).isolation.ping_only);
    // Where the filter is not ours, nothing would narrow it.
    assert_eq!(seen(|it| it.host.security.seccomp = SeccompDraft::Unconfined), ports);
    assert_eq!(seen(|it| it.host.cap_drop = vec!["net_raw".into()]), ("CHOWN".into(), false));
    assert_eq!(seen(|it| it.host.cap_drop = vec!["ALL".into()]), (String::new(), false));
    let added = ("CHOWN NET_RAW".to_owned(), false);
    assert_eq!(seen(|it| it.host.cap_add = vec!["CAP_NET_RAW".into()]), added);
    assert!(!spec(|it| it.host.cap_add = vec!["ALL".into()]).isolation.ping_only);
    assert!(!spec(|it| it.host.privileged = true).isolation.ping_only);
}

#[test]
fn capabilities_are_added_and_dropped_as_docker_does() {
    let check = |add: &[&str], drop: &[&str], want: &[&str]| {
        let have = spec(|it| {
            it.host.cap_add = strings(add);
            it.host.cap_drop = strings(drop);
        });
        assert_eq!(have.isolation.capabilities, strings(want), "+{add:?} -{drop:?}");
    };
    check(&["net_admin"], &["net_raw"], &["CHOWN", "NET_ADMIN"]);
    check(&["KILL"], &["CAP_CHOWN"], &["KILL", "NET_RAW"]);
    check(&[], &["CAP_NET_RAW"], &["CHOWN"]);
    check(&["CAP_CHOWN"], &["ALL"], &["CHOWN"]);
    check(&["ALL"], &["SYS_ADMIN"], &["CHOWN", "KILL", "NET_ADMIN", "NET_RAW"]);
    check(&["KILL"], &["KILL"], &["CHOWN", "KILL", "NET_RAW"]);
    assert_eq!(
        refusal(|it| it.host.cap_add = strings(&["FOO"])),
        "invalid CapAdd: unknown capability: \"FOO\""
    );
    assert!(
        refusal(|it| it.host.cap_add = strings(&["SYS_RESOURCE"]))
            .contains("not available in the current environment: \"CAP_SYS_RESOURCE\"")
    );
}

#[test]
fn limits_that_make_no_sense_are_refused_in_dockers_words() {
    type Change = fn(&mut crate::resources::Resources);
    let cases: [(Change, &str); 12] = [
        (|r| r.memory_bytes = Some(5 << 20), "Minimum memory limit allowed is 6MB"),
        (
            |r| {
                r.memory_bytes = Some(64 << 20);
                r.memory_swap_bytes = Some(32 << 20);
            },
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            |r| r.memory_swap_bytes = Some(32 << 20),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            |r| {
                r.memory_bytes = Some(8 << 20);
                r.memory_reservation_bytes = Some(9 << 20);
            },
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            |r| {
                r.nano_cpus = Some(1);
                r.cpu_period_us = Some(1000);
            },
            "Conflicting options: Nano CPUs and CPU Period cannot both be set.",
        ),
        (
            |r| r.nano_cpus = Some(3_000_000_000),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (|r| r.cpu_quota_us = Some(10), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            |r| r.cpuset_cpus = Some("0-7".into()),
            "Requested CPUs are not available - requested 0-7, available: 0-1",
        ),
        (|r| r.cpuset_cpus = Some("x".into()), "Invalid value x for cpuset cpus"),
        (|r| r.blkio_weight = Some(5), "Range of blkio weight is from 10 to 1000"),
        (
            |r| r.memory_swappiness = Some(101),
            "Invalid value: 101, valid memory swappiness range is 0-100",
        ),
        (
            |r| r.ulimits = vec![Ulimit { name: "zzz".into(), soft: 1, hard: 1 }],
            "invalid ulimit type: zzz",
        ),
    ];
    for (change, want) in cases {
        assert_eq!(refusal(|it| change(&mut it.host.resources)), want);
    }
}

#[test]
fn limits_get_the_defaults_of_docker_and_of_the_daemon() {
    let plain = spec(|_| ()).resources;
    assert_eq!((plain.pids_limit, plain.memory_bytes), (Some(4096), None));
    let unlimited = spec(|it| it.host.resources.pids_limit = Some(0)).resources;
    assert_eq!(unlimited.pids_limit, Some(-1));
    let memory = spec(|it| it.host.resources.memory_bytes = Some(64 << 20)).resources;
    assert_eq!(memory.memory_swap_bytes, Some(128 << 20));
    let draft = with(|it| it.host.resources.oom_kill_disable = Some(true));
    let warned = resolved(&draft, &image()).unwrap().warnings;
    assert!(warned[0].starts_with("OOM killer is disabled for the container"), "{warned:?}");
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let container = || NetworkMode::Container("x".into());
    let port = PortBinding {
        container: PortSpec { port: 80, protocol: Protocol::Tcp },
        host_ip: None,
        host_ports: None,
    };
    for (have, want) in [
        (
            refusal(|it| {
                it.host.network = container();
                it.hostname = "h".into();
            }),
            "conflicting options: hostname and the network mode",
        ),
        (
            refusal(|it| {
                it.host.network = container();
                it.host.ports = vec![port];
            }),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            refusal(|it| {
                it.host.network = container();
                it.host.dns = strings(&["1.1.1.1"]);
            }),
            "conflicting options: dns and the network mode",
        ),
        (
            refusal(|it| {
                it.host.uts = SharedNamespace::Host;
                it.hostname = "h".into();
            }),
            "conflicting options: hostname and the UTS mode",
        ),
        (
            refusal(|it| {
                it.host.auto_remove = true;
                it.host.restart = RestartPolicy::Always;
            }),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            refusal(|it| {
                it.host.network = NetworkMode::Host;
                it.endpoints.insert("other".into(), EndpointDraft::default());
            }),
            "container sharing network namespace with another container or host cannot be \
             connected to any other network",
        ),
    ] {
        assert_eq!(have, want);
    }
}

fn bind(source: &str, target: &str) -> BindDraft {
    BindDraft { source: source.into(), target: target.into(), ..BindDraft::default() }
}

#[test]
fn mounts_win_over_the_images_volumes_and_come_outermost_first() {
    let config = ImageConfig { volumes: strings(&["/data", "/cache/"]), ..image() };
    let draft = with(|it| {
        it.volumes = strings(&["/own"]);
        it.host.binds = vec![bind("/host", "/data/deep/er"), bind("named", "/data")];
        it.host.tmpfs.insert("/cache".into(), "size=1m".into());
    });
    let mounts = resolved(&draft, &config).unwrap().spec.mounts;
    let shown: Vec<String> = mounts
        .iter()
        .map(|mount| {
            let source = match &mount.source {
                MountSource::Bind { path, .. } => path.clone(),
                MountSource::Volume { anonymous: true, .. } => "(anonymous)".into(),
                MountSource::Volume { name, .. } => name.clone(),
                MountSource::Tmpfs { options } => options.join(","),
                MountSource::Image { source, .. } => source.clone(),
                MountSource::Layers { layers, .. } => format!("{} layers", layers.len()),
            };
            format!("{} <- {source}", mount.target)
        })
        .collect();
    assert_eq!(
        shown,
        ["/cache <- size=1m", "/data <- named", "/own <- (anonymous)", "/data/deep/er <- /host"]
    );
}

#[test]
fn mounts_that_make_no_sense_are_refused() {
    for (have, want) in [
        (
            refusal(|it| it.host.binds = vec![bind("/a", "/x"), bind("/b", "/x/")]),
            "Duplicate mount point: /x",
        ),
        (
            refusal(|it| it.host.binds = vec![bind("/a", "/")]),
            "invalid specification: destination can't be '/'",
        ),
        (
            refusal(|it| it.host.binds = vec![bind("/a", "rel")]),
            "invalid mount path: 'rel' mount path must be absolute",
        ),
        (
            refusal(|it| drop(it.host.tmpfs.insert("/t".into(), "context=x".into()))),
            "invalid tmpfs option [\"context=x\"]",
        ),
    ] {
        assert_eq!(have, want);
    }
    let name = refusal(|it| it.host.binds = vec![bind("a/b", "/x")]);
    assert!(name.starts_with("create a/b: \"a/b\" includes invalid characters"), "{name}");
    let escape = MountDraft {
        target: "/x".into(),
        readonly: false,
        consistency: String::new(),
        owner: Default::default(),
        kind: MountKind::Volume {
            name: "vol".into(),
            nocopy: false,
            labels: BTreeMap::new(),
            driver: String::new(),
            driver_opts: BTreeMap::new(),
            subpath: "a/../../b".into(),
        },
    };
    assert!(refusal(|it| it.host.mounts = vec![escape]).starts_with("subpath must be"));
}

#[test]
fn sysctls_are_those_of_the_containers_own_namespaces() {
    let set = |name: &'static str| {
        move |it: &mut Draft| drop(it.host.sysctls.insert(name.into(), "1".into()))
    };
    let own = spec(set("net.core.somaxconn")).sysctls;
    assert_eq!(own["net.core.somaxconn"], "1");
    assert_eq!(own["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(own["net.ipv4.ping_group_range"], "0 65535");
    assert_eq!(
        refusal(set("kernel.pid_max")),
        "sysctl \"kernel.pid_max\" is not in a separate kernel namespace"
    );
    for hostile in ["net..x", "net.x\ny", "", "net.a b", "../net"] {
        assert!(
            resolved(
                &with(|it| drop(it.host.sysctls.insert(hostile.into(), "1".into()))),
                &image()
            )
            .is_err(),
            "{hostile:?}"
        );
    }
    let host = refusal(|it| {
        set("net.core.somaxconn")(it);
        it.host.network = NetworkMode::Host;
    });
    assert!(host.contains("is not allowed in host network namespace"), "{host}");
    assert!(spec(|it| it.host.network = NetworkMode::Host).sysctls.is_empty());
}

#[test]
fn logs_are_bounded_unless_asked_otherwise() {
    let LogSpec::JsonFile { max_size_bytes, max_files, .. } = spec(|_| ()).log else {
        panic!("no log")
    };
    assert_eq!((max_size_bytes, max_files), (20 << 20, 5));
    let asked = spec(|it| {
        it.labels.insert("team".into(), "a".into());
        it.host.log.options = BTreeMap::from(
            [("max-size", "10k"), ("max-file", "2"), ("labels", "team,none")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
    });
    assert_eq!(
        asked.log,
        LogSpec::JsonFile {
            max_size_bytes: 10 << 10,
            max_files: 2,
            compress: false,
            attributes: BTreeMap::from([("team".into(), "a".into())]),
        }
    );
    assert_eq!(spec(|it| it.host.log.driver = "none".into()).log, LogSpec::None);
    let unknown = refusal(|it| drop(it.host.log.options.insert("zzz".into(), "1".into())));
    assert_eq!(unknown, "unknown log opt 'zzz' for json-file log driver");
}

fn log_of(driver: &str, options: &[(&str, &str)]) -> Result<LogSpec, String> {
    let mut draft = with(|it| it.image = "busybox".into());
    draft.labels.insert("team.a".into(), "a".into());
    draft.env = vec!["STAGE=test".into()];
    draft.host.log.driver = driver.into();
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    draft.host.log.options = options.iter().map(pair).collect();
    let resolved = resolved(&draft, &image());
    resolved.map(|resolved| resolved.spec.log).map_err(|denied| denied.message)
}

#[test]
fn log_drivers_and_their_options() {
    use crate::log::{LogFile, LogSink, SinkAddress, SinkKind, SyslogFormat};
    let spec = log_of(
        "syslog,fluentd",
        &[
            ("syslog-address", "udp://[::1]:1514"),
            ("syslog-facility", "local3"),
            ("syslog-format", "rfc5424micro"),
            ("fluentd-address", "unix:///run/f.sock"),
            ("cache-max-size", "1m"),
            ("tag", "{{ .Name }}/{{.ImageName}}"),
            ("labels-regex", "^team\\."),
            ("env", "STAGE"),
            ("mode", "non-blocking"),
            ("max-buffer-size", "4m"),
        ],
    );
    let sink = |kind| LogSink {
        kind,
        tag: "web/busybox".into(),
        attributes: [("team.a", "a"), ("STAGE", "test")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    let syslog = SinkKind::Syslog {
        address: SinkAddress::Udp("[::1]:1514".into()),
        facility: 19,
        format: SyslogFormat::Rfc5424Micro,
    };
    let address = SinkAddress::Unix("/run/f.sock".into());
    let fluentd = SinkKind::Fluentd { address, sub_second: false, acknowledge: false };
    let file = LogFile { max_size_bytes: 1 << 20, max_files: 5, compress: true };
    let sinks = vec![sink(syslog), sink(fluentd)];
    assert_eq!(spec, Ok(LogSpec::Sent { file, sinks, readable: true }));
    assert!(!log_of("journald", &[("cache-disabled", "true")]).unwrap().readable());
    let plugin = log_of("some/plugin:1", &[("its-own", "x")]).unwrap();
    assert!(matches!(&plugin.sinks()[0].kind, SinkKind::Plugin { name, .. } if name.contains('/')));
    let local = log_of("local", &[]).unwrap();
    assert_eq!((local.sinks().len(), local.file().unwrap().compress), (0, true));
}

#[test]
fn log_options_that_are_refused() {
    for (driver, options, want) in [
        ("syslog", ("gelf-address", "udp://a:1"), "unknown log opt 'gelf-address' for syslog"),
        ("syslog", ("syslog-address", "a:1"), "proto://address"),
        ("syslog", ("syslog-address", "sctp://a:1"), "unsupported scheme: 'sctp'"),
        ("syslog", ("syslog-facility", "nope"), "invalid syslog facility"),
        ("syslog", ("syslog-format", "nope"), "Invalid syslog format"),
        ("syslog", ("syslog-tls-skip-verify", "1"), "always verified"),
        ("gelf", ("tag", "x"), "missing endpoint"),
        ("gelf", ("gelf-address", "udp://a"), "want host:port"),
        ("fluentd", ("fluentd-async", "perhaps"), "fluentd-async"),
        ("json-file", ("tag", "{{.Nope}}"), "\".Nope\" is not known"),
        ("json-file", ("mode", "sometimes"), "logging mode not supported"),
        ("json-file", ("max-buffer-size", "1m"), "only supported with 'mode=non-blocking'"),
        ("json-file,json-file", ("max-size", "1m"), "cannot be combined"),
        ("json-file", ("labels-regex", "("), "invalid log opt labels-regex"),
    ] {
        let why = log_of(driver, &[options]).unwrap_err();
        assert!(why.contains(want), "{driver} {options:?}: {why}");
    }
}

#[test]
fn health_checks_inherit_field_by_field() {
    let config = ImageConfig {
        health: Some(HealthDraft {
            test: strings(&["CMD-SHELL", "true"]),
            interval_ns: 5_000_000_000,
            ..HealthDraft::default()
        }),
        ..image()
    };
    let health = |draft: HealthDraft| {
        resolved(&with(|it| it.health = Some(draft)), &config).map(|it| it.spec.health)
    };
    let inherited = health(HealthDraft { retries: 7, ..HealthDraft::default() }).unwrap().unwrap();
    assert_eq!(inherited.command, strings(&["/bin/sh", "-c", "true"]));
    assert_eq!(
        (inherited.interval_ns, inherited.timeout_ns, inherited.retries),
        (5_000_000_000, 30_000_000_000, 7)
    );
    let none = HealthDraft { test: strings(&["NONE"]), ..HealthDraft::default() };
    assert_eq!(health(none).unwrap(), None);
    let short = HealthDraft { interval_ns: 5, ..HealthDraft::default() };
    assert!(health(short).unwrap_err().message.contains("cannot be less than 1ms"));
}

#[test]
fn publishing_everything_publishes_what_is_exposed() {
    let config = ImageConfig {
        exposed_ports: vec![PortSpec { port: 80, protocol: Protocol::Tcp }],
        ..image()
    };
    let draft = with(|it| {
        it.exposed_ports = vec![PortSpec { port: 53, protocol: Protocol::Udp }];
        it.host.publish_all = true;
    });
    let spec = resolved(&draft, &config).unwrap().spec;
    assert_eq!(spec.exposed_ports.len(), 2);
    assert_eq!(spec.ports.len(), 2);
    assert!(spec.ports.iter().all(|port| port.host_ports.is_none()));
}

#[test]
fn names_for_etc_hosts() {
    let hosts = spec(|it| {
        it.host.extra_hosts = strings(&["a:1.2.3.4", "b=::1", "c:[::2]", "d:host-gateway"]);
    });
    let want = [("a", "1.2.3.4"), ("b", "::1"), ("c", "::2"), ("d", "host-gateway")];
    let want = want.map(|(name, address)| (name.to_owned(), address.to_owned()));
    assert_eq!(hosts.dns.extra_hosts, want);
    for bad in ["a", "a:b", ":1.2.3.4", "a b:1.2.3.4"] {
        assert!(
            resolved(&with(|it| it.host.extra_hosts = strings(&[bad])), &image()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn small_things() {
    assert_eq!(spec(|_| ()).hostname, "abababababab");
    assert_eq!(spec(|it| it.workdir = "/a/../b//c/".into()).workdir, "/b/c");
    assert!(refusal(|it| it.workdir = "a".into()).contains("needs to be an absolute path"));
    assert_eq!(spec(|it| it.stop_signal = Some("INT".into())).stop_signal.number(), 2);
    assert_eq!(refusal(|it| it.stop_signal = Some("X".into())), "invalid signal: X");
    assert_eq!(
        refusal(|it| it.host.runtime = "kata".into()),
        "unknown or invalid runtime name: kata"
    );
    assert_eq!(spec(|it| it.host.runtime = "runc".into()).runtime, "");
    assert_eq!(
        refusal(|it| it.host.oom_score_adj = 2000),
        "Invalid value 2000, range for oom score adj is [-1000, 1000]"
    );
    assert_eq!(refusal(|it| it.host.shm_size_bytes = -1), "SHM size can not be less than 0");
}

/// What labels come to with a host that has SELinux; `joined` are those of the containers joined.
fn labelled(joined: &[&str], change: impl FnOnce(&mut Draft)) -> Result<Isolation, Denied> {
    let policy = "process = \"u:r:c_t:s0\"\nfile = \"u:o:f_t:s0\"\n";
    let contexts = selinux::Contexts::parse(policy).unwrap();
    let facts = HostFacts { selinux: Some(contexts.clone()), ..facts() };
    let ground = selinux::Ground {
        contexts,
        level: selinux::Level::of(1, 2).unwrap(),
        joined: strings(joined),
    };
    let resolved = resolve(&Ask {
        id: &ContainerId::from_bytes([0xab; 32]),
        name: "web",
        draft: &with(change),
        image: Digest::sha256([1; 32]),
        config: &image(),
        defaults: &defaults(),
        facts: &facts,
        inherited: &[],
        selinux: Some(&ground),
    })?;
    assert_eq!(resolved.warnings, strings(&[]));
    Ok(resolved.spec.isolation)
}

#[test]
fn labels_are_the_policys_with_categories_of_the_containers_own() {
    let own = ("u:r:c_t:s0:c1,c2", "u:o:f_t:s0:c1,c2");
    let free = ("", "u:o:f_t:s0:c1022,c1023");
    let other = "x:y:z:s0:c7,c8";
    let check = |found: Result<Isolation, Denied>, want: (&str, &str), options: &[&str]| {
        let Isolation { selinux, labels, .. } = found.unwrap();
        assert_eq!((selinux.process.as_str(), selinux.mount.as_str()), want);
        assert_eq!(labels, strings(options));
    };
    check(labelled(&[], |_| ()), own, &[]);
    check(labelled(&[], |it| it.host.privileged = true), free, &["disable"]);
    check(labelled(&[], |it| it.host.pid = SharedNamespace::Host), free, &["disable"]);
    check(labelled(&[], |it| it.host.ipc = SharedNamespace::Host), free, &["disable"]);
    let disable = |it: &mut Draft| it.host.security.labels = strings(&["disable"]);
    check(labelled(&[], disable), free, &["disable"]);
    let typed = |it: &mut Draft| it.host.security.labels = strings(&["type:t"]);
    check(labelled(&[], typed), ("u:r:t:s0:c1,c2", own.1), &["type:t"]);
    // What was asked for stands in for what goes without saying.
    check(labelled(&[other], typed), ("u:r:t:s0:c1,c2", own.1), &["type:t"]);
    let joins = |it: &mut Draft| it.host.pid = SharedNamespace::Container("other".into());
    let same = ["user:x", "role:y", "type:z", "level:s0:c7,c8"];
    check(labelled(&[other], joins), (other, "x:o:f_t:s0:c7,c8"), &same);
    check(labelled(&[""], joins), own, &[]);
    // All privileges, whatever the label is called.
    let both = |it: &mut Draft| {
        it.host.privileged = true;
        it.host.security.labels = strings(&["type:t"]);
    };
    check(labelled(&[], both), ("", own.1), &["type:t"]);
    let wrong = labelled(&[], |it| it.host.security.labels = strings(&["nonsense"]));
    assert!(wrong.unwrap_err().message.starts_with("Bad label option \"nonsense\""));
}

#[test]
fn labels_change_nothing_where_there_are_none_and_that_is_said() {
    let asked = |facts: &HostFacts, labels: &[&str]| {
        let draft = with(|it| it.host.security.labels = strings(labels));
        let resolved = resolve(&Ask {
            id: &ContainerId::from_bytes([0xab; 32]),
            name: "web",
            draft: &draft,
            image: Digest::sha256([1; 32]),
            config: &image(),
            defaults: &defaults(),
            facts,
            inherited: &[],
            selinux: None,
        });
        let Resolved { spec, warnings } = resolved.unwrap();
        assert_eq!(spec.isolation.selinux, selinux::Labels::default());
        warnings
    };
    let missing =
        "--security-opt label=type:t: this host has no SELinux with labels for containers";
    assert_eq!(asked(&facts(), &["type:t", "disable"]), strings(&[missing]));
    let contexts = selinux::Contexts::parse("process=u:r:c\nfile=u:o:f");
    let host = HostFacts { selinux: contexts, ..facts() };
    let off = "--security-opt label=type:t: the daemon's selinux-enabled is not on";
    assert_eq!(asked(&host, &["type:t", "disable"]), strings(&[off]));
    assert_eq!(asked(&host, &["disable"]), strings(&[]));
}
