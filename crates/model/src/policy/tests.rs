//! Decisions by data: every way out of a container under a rule that opens nothing, then one by
//! one.

use super::*;
use crate::draft::{BindDraft, Draft, SeccompDraft, SharedNamespace, UsernsMode};
use crate::exec::ExecDraft;
use crate::id::ContainerId;
use crate::image::ImageConfig;
use crate::mount::{MountDraft, MountKind, MountOwner, MountSource, Propagation};
use crate::network::NetworkMode;
use crate::resolve::{Ask, CapabilityFacts, Defaults, HostFacts, resolve};
use crate::resources::Device;
use crate::selinux::Relabel;
use crate::spec::ContainerSpec;

fn client(uid: u32) -> Client {
    let user = Some(format!("user{uid}"));
    Client { peer: Some(UnixPeer { uid, gids: vec![uid, 50], pid: None, user }), certificate: None }
}

fn rule() -> Rule {
    Rule {
        name: "narrow".to_owned(),
        clients: Clients { uids: [1001].into(), ..Clients::default() },
        allow: Class::matching("containers.*").unwrap(),
        own_objects: true,
        limits: Some(Limits::default()),
        images: None,
    }
}

fn baseline() -> Baseline {
    Baseline {
        capabilities: vec!["CHOWN".to_owned()],
        no_new_privileges: true,
        userns: true,
        cgroup_parent: "/estiba".to_owned(),
        ..Baseline::default()
    }
}

fn decided(draft: &Draft, config: &ImageConfig) -> ContainerSpec {
    let id = ContainerId::from_bytes([7; 32]);
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let facts = HostFacts {
        cpus: 4,
        capabilities: CapabilityFacts {
            known: names(&["CHOWN", "NET_RAW", "SYS_ADMIN"]),
            available: names(&["CHOWN", "NET_RAW", "SYS_ADMIN"]),
            estiba: names(&["CHOWN"]),
            estiba_ping: names(&["CHOWN", "NET_RAW"]),
            docker: names(&["CHOWN", "NET_RAW"]),
        },
        ..HostFacts::default()
    };
    let defaults = Defaults {
        userns: true,
        log_driver: "json-file".to_owned(),
        shm_size_bytes: 64 << 20,
        cgroup_parent: "/estiba".to_owned(),
        ..Defaults::default()
    };
    let draft = Draft { command: Some(vec!["sh".to_owned()]), ..draft.clone() };
    let ask = Ask {
        id: &id,
        name: "c1",
        draft: &draft,
        image: crate::Digest::sha256([0; 32]),
        config,
        defaults: &defaults,
        facts: &facts,
        inherited: &[],
        selinux: None,
    };
    resolve(&ask).unwrap().spec
}

fn review(rule: &Rule, draft: &Draft) -> Result<ContainerSpec, String> {
    let mut spec = decided(draft, &ImageConfig::default());
    let baseline = baseline();
    let mut candidate = Candidate {
        asked: draft,
        decided: &mut spec,
        baseline: &baseline,
        images: Vec::new(),
        references: Vec::new(),
        volumes: Vec::new(),
        fresh: true,
    };
    rule.review(&client(1001), &mut candidate).map_err(|refusal| refusal.why)?;
    Ok(spec)
}

fn with(change: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = Draft::default();
    change(&mut draft);
    draft
}

fn bind(source: &str, readonly: bool, propagation: Option<Propagation>) -> Draft {
    let kind = MountKind::Bind {
        source: source.to_owned(),
        propagation,
        non_recursive: false,
        create_source: false,
        readonly_non_recursive: false,
        readonly_force_recursive: false,
    };
    let target = "/mnt/here".to_owned();
    let consistency = String::new();
    let mount = MountDraft { target, readonly, kind, consistency, owner: MountOwner::default() };
    with(|draft| draft.host.mounts.push(mount))
}

#[test]
fn nothing_asked_for_is_nothing_refused() {
    review(&rule(), &Draft::default()).unwrap();
}

#[test]
fn every_way_to_the_host_is_closed() {
    let device = |path: &str| Device {
        host_path: path.to_owned(),
        container_path: path.to_owned(),
        access: "rwm".to_owned(),
    };
    for (draft, why) in [
        (with(|d| d.host.privileged = true), "privileged"),
        (with(|d| d.host.network = NetworkMode::Host), "host's network"),
        (with(|d| d.host.pid = SharedNamespace::Host), "host's pid"),
        (with(|d| d.host.ipc = SharedNamespace::Host), "host's ipc"),
        (with(|d| d.host.uts = SharedNamespace::Host), "host's uts"),
        (with(|d| d.host.cgroupns = Some(SharedNamespace::Host)), "host's cgroup"),
        (with(|d| d.host.userns = UsernsMode::Host), "host's user"),
        (with(|d| d.host.cap_add = vec!["sys_admin".into()]), "capability SYS_ADMIN"),
        (with(|d| d.host.cap_add = vec!["ALL".into()]), "capability NET_RAW"),
        (with(|d| d.host.resources.devices = vec![device("/dev/sda")]), "device \"/dev/sda\""),
        (with(|d| d.host.resources.device_rules = vec!["a *:* rwm".into()]), "cgroup rules"),
        (with(|d| d.host.security.seccomp = SeccompDraft::Unconfined), "system-call filter"),
        (
            with(|d| d.host.security.seccomp = SeccompDraft::Profile("{}".into())),
            "system-call filter",
        ),
        (with(|d| d.host.security.no_new_privileges = Some(false)), "no-new-privileges=false"),
        (with(|d| d.host.security.unmasked = true), "masked paths"),
        (with(|d| d.host.security.unscoped = true), "Landlock"),
        (with(|d| d.host.security.writable_cgroups = true), "writable control groups"),
        (with(|d| d.host.masked_paths = Some(Vec::new())), "masked paths"),
        (with(|d| d.host.readonly_paths = Some(Vec::new())), "read-only paths"),
        (with(|d| d.host.security.apparmor = "unconfined".into()), "AppArmor"),
        (with(|d| d.host.security.labels = vec!["disable".into()]), "SELinux"),
        (
            with(|d| d.host.security.profile = Some(crate::draft::SecurityProfile::Docker)),
            "capability NET_RAW",
        ),
        (with(|d| d.host.cgroup_parent = "/other".into()), "control group"),
        (with(|d| d.host.oom_score_adj = -10), "OOM"),
        (bind("/etc", true, None), "mounting /etc of the host for reading"),
        (bind("/srv/../etc", false, None), "mounting /etc of the host is"),
    ] {
        let refused = review(&rule(), &draft).unwrap_err();
        assert!(refused.contains(why), "{refused} is not about {why}");
        let open = Rule { limits: None, ..rule() };
        review(&open, &draft).unwrap();
        let privileged = Limits { privileged: true, ..Limits::default() };
        review(&Rule { limits: Some(privileged), ..rule() }, &draft).unwrap();
    }
}

#[test]
fn mounts_are_tied_to_what_allows_them() {
    let mount = |path: &str, writable| HostMount { path: path.to_owned(), writable };
    let mounts = vec![mount("/srv/data", false), mount("/home/{user}", true), mount("/x/", true)];
    let limits = Limits { host_mounts: mounts, ..Limits::default() };
    let rule = Rule { limits: Some(limits), ..rule() };
    for (path, readonly, want) in [
        ("/srv/data", true, Some("/srv/data")),
        ("/srv/data/a/b", true, Some("/srv/data")),
        ("/srv/data/a", false, None),
        ("/srv/database", true, None),
        ("/srv", true, None),
        ("/srv/data/../../etc", true, None),
        ("/home/user1001/x", false, Some("/home/user1001")),
        ("/home/user1002", true, None),
        ("/home", true, None),
        ("/x/y", false, Some("/x/")),
        ("/xy", true, None),
    ] {
        let found = review(&rule, &bind(path, readonly, None));
        let within = found.ok().and_then(|spec| match spec.mounts[0].source.clone() {
            MountSource::Bind { within, .. } => within,
            other => panic!("{other:?}"),
        });
        assert_eq!(within.as_deref(), want, "{path}");
    }
    let shared = bind("/x/y", true, Some(Propagation::Shared));
    assert!(review(&rule, &shared).unwrap_err().contains("propagation shared"));
}

/// Labels are the files', not the mount's: who may read only cannot change them.
#[test]
fn labelling_is_writing() {
    let host_mounts = ["/srv/data", "/home"]
        .map(|path| HostMount { path: path.to_owned(), writable: path == "/home" });
    let limits = Limits { host_mounts: host_mounts.into(), ..Limits::default() };
    let rule = Rule { limits: Some(limits), ..rule() };
    let read_only = |source: &str, relabel| {
        let (source, target) = (source.to_owned(), "/mnt".to_owned());
        let bind = BindDraft { source, target, readonly: true, relabel, ..BindDraft::default() };
        review(&rule, &with(|draft| draft.host.binds.push(bind)))
    };
    read_only("/srv/data", None).unwrap();
    for relabel in [Relabel::Shared, Relabel::Private] {
        let refused = read_only("/srv/data", Some(relabel)).unwrap_err();
        assert!(refused.contains("mounting /srv/data of the host"), "{refused}");
        read_only("/home", Some(relabel)).unwrap();
    }
}

/// A container made before the rules were narrowed is not started by whom they bind.
#[test]
fn what_was_made_under_other_rules_is_not_started() {
    let mounts = vec![HostMount { path: "/srv".to_owned(), writable: true }];
    let limits = Limits { host_mounts: mounts, ..Limits::default() };
    let rule = Rule { limits: Some(limits), ..rule() };
    let draft = bind("/srv/a", false, None);
    let mut spec = decided(&draft, &ImageConfig::default());
    let baseline = baseline();
    let start = |spec: &mut ContainerSpec| {
        let mut candidate = Candidate {
            asked: &draft,
            decided: spec,
            baseline: &baseline,
            images: Vec::new(),
            references: Vec::new(),
            volumes: Vec::new(),
            fresh: false,
        };
        rule.review(&client(1001), &mut candidate)
    };
    assert!(start(&mut spec).unwrap_err().remedy.contains("make it again"));
    let mut tied = review(&rule, &draft).unwrap();
    start(&mut tied).unwrap();
}

#[test]
fn volumes_in_disguise_are_mounts_of_the_host() {
    let options = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let rule = rule();
    for (driver, given, fine) in [
        ("local", "", true),
        ("", "uid=1000,mode=0700", true),
        ("local", "type=tmpfs,device=tmpfs,o=size=1m", true),
        ("local", "type=none,o=bind,device=/etc", false),
        ("local", "type=ext4,device=/dev/sda1", false),
        ("local", "type=tmpfs,device=/etc,o=bind", false),
        ("sshfs", "", false),
    ] {
        let options = options(given);
        assert_eq!(rule.review_volume(driver, &options).is_ok(), fine, "{driver} {given}");
    }
}

#[test]
fn the_first_rule_that_names_a_client_counts() {
    let named = |name: &str, clients: Clients, allow: &str| Rule {
        name: name.to_owned(),
        clients,
        allow: Class::matching(allow).unwrap(),
        ..Rule::default()
    };
    let policy = Policy {
        source: "p.json".to_owned(),
        rules: vec![
            named("root", Clients { uids: [0].into(), ..Clients::default() }, "*"),
            named("group", Clients { gids: [50].into(), ..Clients::default() }, "*.read"),
            named(
                "ops",
                Clients { units: vec!["ops*".to_owned()], ..Clients::default() },
                "containers.*",
            ),
        ],
    };
    assert_eq!(policy.rule(&client(0)).unwrap().name, "root");
    assert_eq!(policy.rule(&client(9)).unwrap().name, "group");
    let refused = policy.permits(&client(9), Class::ContainersRun).unwrap_err();
    assert_eq!(
        refused.denied(&policy.source).message,
        "authorization denied by rule \"group\" of p.json: operations of class containers.run are \
         not allowed (add \"containers.run\" to its \"allow\")"
    );
    let certificate = Certificate { units: vec!["ops-eu".to_owned()], ..Certificate::default() };
    let tls = Client { certificate: Some(certificate), ..Client::default() };
    assert_eq!(policy.rule(&tls).unwrap().name, "ops");
    assert!(policy.rule(&Client::default()).unwrap_err().why.contains("no rule names"));
}

#[test]
fn objects_belong_to_who_made_them() {
    let rule = rule();
    let (mine, other) = (client(1001), client(1002));
    let mut labels = BTreeMap::new();
    rule.label(&mine, &mut labels).unwrap();
    assert_eq!(labels[OWNER_LABEL], "uid:1001");
    assert!(rule.may_see(&mine, &labels) && rule.may_change(&mine, &labels));
    assert!(!rule.may_see(&other, &labels) && !rule.may_change(&other, &labels));
    assert!(!rule.may_see(&mine, &BTreeMap::new()));
    let mut shared = BTreeMap::from([(OWNER_LABEL.to_owned(), SHARED.to_owned())]);
    assert!(rule.may_see(&mine, &shared) && !rule.may_change(&mine, &shared));
    assert!(rule.label(&mine, &mut shared).unwrap_err().why.contains("reserved"));
    let all = Rule { own_objects: false, ..rule };
    assert!(all.may_change(&other, &labels));
    all.label(&mine, &mut shared).unwrap();
    assert_eq!(shared[OWNER_LABEL], SHARED);
}

#[test]
fn images_cannot_give_containers_away() {
    let labels = BTreeMap::from([(OWNER_LABEL.to_owned(), "uid:1001".to_owned())]);
    let spec = decided(&Draft::default(), &ImageConfig { labels, ..ImageConfig::default() });
    assert_eq!(spec.labels.get(OWNER_LABEL), None);
}

#[test]
fn images_are_compared_by_their_whole_names() {
    let patterns = vec!["docker.io/library/*".to_owned(), "r.example:5000/team/*".to_owned()];
    let rule = Rule { images: Some(patterns), ..rule() };
    for (names, fine) in [
        (&["busybox"][..], true),
        (&["busybox:1.36"], true),
        (&["evil/busybox"], false),
        (&["evil/busybox", "busybox:latest"], true),
        (&["r.example:5000/team/a:1"], true),
        (&["r.example/team/a:1"], false),
        (&[], false),
    ] {
        assert_eq!(rule.image(names.iter().copied()).is_ok(), fine, "{names:?}");
    }
}

#[test]
fn further_processes_and_builds_obey_the_same_limits() {
    let rule = rule();
    let exec = ExecDraft { privileged: true, ..ExecDraft::default() };
    assert!(rule.review_exec(&exec).is_err() && rule.review_exec(&ExecDraft::default()).is_ok());
    assert!(rule.review_build(false, true).is_err() && rule.review_build(true, false).is_err());
    assert!(rule.review_build(false, false).is_ok() && !rule.lends_host_network());
    assert!(rule.review_network("macvlan").is_err() && rule.review_network("bridge").is_ok());
}

#[test]
fn patterns() {
    for (pattern, text, want) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*c", "abd", false),
        ("a*a", "a", false),
        ("*.read", "images.read", true),
        ("a*b*c", "a-b-b-c", true),
        ("a**c", "abc", true),
    ] {
        assert_eq!(fits(pattern, text), want, "{pattern} {text}");
    }
    assert!(Class::matching("containers.fly").is_err());
    assert_eq!(Class::matching("*").unwrap().len(), Class::ALL.len());
}
