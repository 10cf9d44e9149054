//! The OCI document of a container, by data.

use super::*;
use model::draft::{BindDraft, Draft};
use model::image::ImageConfig;
use model::mount::Propagation;
use model::resolve::{Ask, CapabilityFacts, Defaults, HostFacts, resolve};
use model::resources::{DeviceRate, Resources};
use model::{ContainerId, Digest};

fn decided(draft: &Draft) -> ContainerSpec {
    let config = ImageConfig { command: Some(vec!["/bin/sh".into()]), ..ImageConfig::default() };
    let names = vec!["CHOWN".to_owned(), "KILL".to_owned()];
    let facts = HostFacts {
        cpus: 2,
        swap_limit: true,
        capabilities: CapabilityFacts {
            known: names.clone(),
            available: names.clone(),
            estiba: names.clone(),
            estiba_ping: names.clone(),
            docker: names,
        },
        ..HostFacts::default()
    };
    let defaults = Defaults { userns: true, shm_size_bytes: 64 << 20, ..Defaults::default() };
    resolve(&Ask {
        id: &ContainerId::from_bytes([0xcd; 32]),
        name: "web",
        draft,
        image: Digest::sha256([0; 32]),
        config: &config,
        defaults: &defaults,
        facts: &facts,
        inherited: &[],
        selinux: None,
    })
    .unwrap()
    .spec
}

fn made(draft: &Draft, joined: Joined, sources: &[Source]) -> oci::Spec {
    let spec = decided(draft);
    spec_of(&spec, joined, sources)
}

fn spec_of(decided: &ContainerSpec, joined: Joined, sources: &[Source]) -> oci::Spec {
    let etc = EtcFiles {
        hostname: Some("/c/hostname".into()),
        hosts: Some("/c/hosts".into()),
        resolv_conf: Some("/c/resolv.conf".into()),
    };
    let line = vec![oci::IdMapping { container_id: 0, host_id: 1 << 28, size: 65_536 }];
    let maps = (line.clone(), line);
    spec(&Plan {
        spec: decided,
        cgroup: "/estiba/cd",
        id_maps: decided.isolation.own_ids.then_some(&maps),
        sources,
        etc: &etc,
        devices: &[],
        block_devices: &BlockDevices::from([("/dev/sda".to_owned(), (8, 0))]),
        joined: &joined,
        host_queues: true,
        groups: &[77],
        annotations: &BTreeMap::new(),
    })
}

fn kinds(spec: &oci::Spec) -> Vec<String> {
    let namespaces = &spec.linux.as_ref().unwrap().namespaces;
    namespaces.iter().map(|it| format!("{}{}", it.kind, it.path)).collect()
}

fn mount<'a>(spec: &'a oci::Spec, target: &str) -> &'a oci::Mount {
    spec.mounts.iter().find(|mount| mount.destination == target).unwrap()
}

#[test]
fn a_plain_container_has_everything_of_its_own() {
    let spec = made(&Draft::default(), Joined::default(), &[]);
    assert_eq!(
        kinds(&spec),
        ["mount", "user", "network", "ipc", "pid", "uts", "cgroup"].map(str::to_owned)
    );
    let process = spec.process.as_ref().unwrap();
    let capabilities = process.capabilities.as_ref().unwrap();
    assert_eq!(capabilities.bounding, ["CAP_CHOWN", "CAP_KILL"]);
    assert!(capabilities.inheritable.is_empty() && capabilities.ambient.is_empty());
    assert_eq!(process.user.additional_gids, [77]);
    let linux = spec.linux.as_ref().unwrap();
    assert_eq!(linux.uid_mappings[0].host_id, 1 << 28);
    assert_eq!(linux.uid_mappings[0].size, 65_536);
    let rules = &linux.resources.as_ref().unwrap().devices;
    assert!(!rules[0].allow && rules[0].kind == "a", "what is not named is refused");
    assert!(rules.iter().skip(1).all(|rule| rule.allow));
    assert!(!rules.iter().any(|rule| rule.kind == "b" && rule.access.contains('r')));
    assert!(mount(&spec, "/sys").options.contains(&"ro".to_owned()));
    assert!(mount(&spec, "/dev/shm").options.contains(&"size=67108864".to_owned()));
    assert_eq!(mount(&spec, "/etc/hosts").source, "/c/hosts");
}

#[test]
fn namespaces_of_others_are_joined_with_their_owner() {
    let mut draft = Draft::default();
    draft.host.network = NetworkMode::Container("x".into());
    draft.host.ipc = SharedNamespace::Container("x".into());
    draft.host.uts = SharedNamespace::Host;
    let joined = Joined { network: Some(7), ipc: Some(7), user: Some(7), pid: None };
    let spec = made(&draft, joined, &[]);
    assert_eq!(
        kinds(&spec),
        [
            "mount",
            "user/proc/7/ns/user",
            "network/proc/7/ns/net",
            "ipc/proc/7/ns/ipc",
            "pid",
            "cgroup"
        ]
        .map(str::to_owned)
    );
    assert_eq!(mount(&spec, "/dev/shm").source, "/dev/shm");
    assert!(mount(&spec, "/dev/shm").options.contains(&"x-estiba.process=7".to_owned()));
}

#[test]
fn what_the_user_mounts_stands_instead_of_ours() {
    let mut draft = Draft::default();
    let bind = |source: &str, target: &str, readonly: bool| BindDraft {
        source: source.into(),
        target: target.into(),
        readonly,
        ..BindDraft::default()
    };
    draft.host.binds = vec![bind("/own", "/etc/hosts", false), bind("/r", "/ro", true)];
    draft.host.tmpfs.insert("/t".into(), "exec,size=1m".into());
    let sources = decided(&draft)
        .mounts
        .iter()
        .map(|mount| match &mount.source {
            model::mount::MountSource::Bind { path, .. } => Source::Path(path.into()),
            _ => Source::Memory,
        })
        .collect::<Vec<_>>();
    let spec = made(&draft, Joined::default(), &sources);
    let hosts: Vec<_> = spec.mounts.iter().filter(|it| it.destination == "/etc/hosts").collect();
    assert_eq!((hosts.len(), hosts[0].source.as_str()), (1, "/own"));
    assert_eq!(mount(&spec, "/ro").options, ["rbind", "rprivate", "rro"]);
    assert_eq!(mount(&spec, "/t").options, ["nosuid", "nodev", "exec", "size=1m"]);
    assert_eq!(spec.linux.unwrap().rootfs_propagation, "rprivate");
    draft.host.binds[1].propagation = Some(Propagation::RShared);
    assert_eq!(
        made(&draft, Joined::default(), &sources).linux.unwrap().rootfs_propagation,
        "rshared"
    );
}

#[test]
fn a_privileged_container_is_kept_from_nothing() {
    let mut draft = Draft::default();
    draft.host.privileged = true;
    let spec = made(&draft, Joined::default(), &[]);
    assert!(!kinds(&spec).contains(&"user".to_owned()));
    let linux = spec.linux.as_ref().unwrap();
    assert!(linux.masked_paths.is_empty() && linux.readonly_paths.is_empty());
    let rules = &linux.resources.as_ref().unwrap().devices;
    assert!(rules.len() == 1 && rules[0].allow);
    assert!(mount(&spec, "/sys").options.contains(&"rw".to_owned()));
}

#[test]
fn limits_in_the_runtimes_units() {
    let resources = Resources {
        nano_cpus: Some(1_500_000_000),
        memory_bytes: Some(64 << 20),
        memory_swap_bytes: Some(-1),
        pids_limit: Some(10),
        blkio_read_bps: vec![DeviceRate { path: "/dev/sda".into(), rate: 5 }],
        ..Resources::default()
    };
    let devices = BlockDevices::from([("/dev/sda".to_owned(), (8, 0))]);
    let limits = update(&resources, &devices);
    let cpu = limits.cpu.unwrap();
    assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
    let memory = limits.memory.unwrap();
    assert_eq!((memory.limit, memory.swap), (Some(64 << 20), Some(-1)));
    assert_eq!(limits.pids.unwrap().limit, Some(10));
    let rate = limits.block_io.unwrap().throttle_read_bps_device[0];
    assert_eq!((rate.major, rate.minor, rate.rate), (8, 0, 5));
    assert_eq!(update(&Resources::default(), &devices), oci::Resources::default());
}
