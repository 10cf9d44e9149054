//! Plans by data: the same launch and facts give the same steps, and what makes no sense is
//! refused before anything is done.

use super::*;
use crate::cgroup::MountedTree;
use crate::launch::{Ids, Rootfs};
use crate::monitor::log::LogConfig;
use crate::plan::step::{BindIds, FsMount, MadeIn, Param, Supply};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(super) fn spec() -> Value {
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"];
    let namespaces = kinds.map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["sh", "-c", "x"], "cwd": "/", "env": ["PATH=/bin:/usr/bin"],
            "noNewPrivileges": true, "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"],
                "effective": ["CAP_CHOWN"]}},
        "root": {"path": "rootfs"},
        "hostname": "h",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
        ],
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65_536}],
            "gidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65_536}],
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "7"},
        },
    })
}

pub(super) fn launch(spec: Value) -> Launch {
    Launch {
        version: crate::launch::VERSION,
        id: "abc".into(),
        spec: serde_json::from_value(spec).expect("spec"),
        rootfs: Rootfs::Directory("/r".into()),
        ids: Ids::Container,
        user: None,
        seccomp: None,
        state_dir: "/s".into(),
        log: LogConfig::None,
        stdin_open: false,
        stdin_once: false,
        init: false,
        stop_timeout_s: None,
        scopes: Default::default(),
        systemd: false,
        runtime: None,
        runtime_args: Vec::new(),
        bundle: None,
    }
}

pub(super) fn facts() -> Facts {
    let host_dir = PathBuf::from("/sys/fs/cgroup");
    Facts {
        cgroups: Some(MountPlan::Unified { host_dir }),
        cgroup_path: "/estiba/abc".into(),
        bounding: u64::MAX,
        ..Facts::default()
    }
}

fn planned(spec: Value, facts: &Facts) -> Result<Plan, LaunchError> {
    plan(&launch(spec), facts, StdioKind::Provided)
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.init.steps.iter().map(ToString::to_string).collect()
}

fn refused(change: impl FnOnce(&mut Value), words: &str) {
    let mut spec = spec();
    change(&mut spec);
    let error = planned(spec, &facts()).expect_err(words).to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn the_whole_way_of_a_default_container() {
    let plan = planned(spec(), &facts()).expect("plan");
    let mut masks = ALSO_MASKED.map(|path| format!("mask {path}"));
    masks.sort();
    let mut read_only = ALSO_READONLY.map(|path| format!("make {path} read-only"));
    read_only.sort();
    let mut expect: Vec<String> = [
        "wait for the id maps",
        "become root of the user namespace",
        "make a session",
        "make mounts private",
        "make file system proc",
        "make file system sysfs",
        "receive the mounts",
        "enter the control groups",
        "make namespaces 0x2000000",
        "make file system cgroup2",
        "attach the root file system",
        "attach the root file system",
        "mount at /proc",
        "mount at /dev",
        "mount at /sys",
        "mount at /sys/fs/cgroup",
        "open sys of procfs",
        r#"write "7" to /proc/kernel/shmmax"#,
    ]
    .map(str::to_owned)
    .to_vec();
    expect.extend(read_only);
    expect.extend(masks);
    expect.extend(
        [
            "change the root",
            "set the host name",
            "make directory /",
            r#"chdir to cwd ("/") set in config.json failed"#,
            "find the command",
            "wait for the start",
            r#"write "1" to /proc/net/ipv4/ip_forward"#,
            "make a session keyring",
            "set the file mode mask",
            "set standard input and output",
            "bound the capabilities",
            "become user 0, group 0",
            "give up new privileges",
            "set the capabilities",
            "close descriptors",
            "execute the command",
        ]
        .map(str::to_owned),
    );
    assert_eq!(steps(&plan), expect);
    let kinds = ns::PID | ns::NET | ns::IPC | ns::UTS | ns::MOUNT | ns::USER;
    assert_eq!(plan.clone, kinds);
    assert!(matches!(plan.supplies[..], [Supply::Root, Supply::Masks, Supply::Dev(_)]));
    let candidates: Vec<_> = plan.init.command.candidates.iter().map(|c| c.to_str()).collect();
    assert_eq!(candidates, [Ok("/bin/sh"), Ok("/usr/bin/sh")]);
}

#[test]
fn what_shows_a_foreign_namespace_is_made_by_the_parent() {
    let mut spec = spec();
    spec["linux"]["namespaces"][1]["path"] = json!("/proc/7/ns/net");
    spec["linux"]["sysctl"] = json!({});
    let plan = planned(spec, &facts()).expect("plan");
    assert!(!steps(&plan).contains(&"make file system sysfs".to_owned()));
    let made_in = plan.supplies.iter().find_map(|supply| match supply {
        Supply::Fs { made_in, .. } => Some(*made_in),
        _ => None,
    });
    assert_eq!(made_in, Some(step::MadeIn::Net));
    assert_eq!(plan.joins.len(), 1);
}

#[test]
fn trees_of_version_1_lie_beside_each_other() {
    let tree = |name: &str, options: &str| MountedTree {
        name: name.into(),
        symlinks: vec!["cpu".into()],
        options: Some(options.into()),
        host_dir: PathBuf::from("/sys/fs/cgroup").join(name),
    };
    let trees = vec![tree("cpu,cpuacct", "cpu,cpuacct"), tree("systemd", "none,name=systemd")];
    let facts = Facts { cgroups: Some(MountPlan::PerController { trees }), ..facts() };
    let own = planned(spec(), &facts).expect("plan");
    assert!(steps(&own).contains(&"mount at /sys/fs/cgroup/systemd".to_owned()));
    // Without a namespace of its own the container sees its own directories, bound.
    let mut shared = spec();
    shared["linux"]["namespaces"].as_array_mut().expect("list").remove(5);
    let shared = planned(shared, &facts).expect("plan");
    let sources = shared.supplies.iter().filter_map(|supply| match supply {
        Supply::Bind(bind) => Some(bind.source.to_str().expect("utf-8").to_owned()),
        _ => None,
    });
    let sources = sources.collect::<Vec<_>>();
    assert_eq!(
        sources,
        ["/sys/fs/cgroup/cpu,cpuacct/estiba/abc", "/sys/fs/cgroup/systemd/estiba/abc"]
    );
}

#[test]
fn binds_are_mapped_as_their_ids_say() {
    for (ids, options, expect) in [
        (Ids::Container, &["rbind"][..], BindIds::MapIfPossible),
        (Ids::Host, &["rbind"], BindIds::Host),
        (Ids::Host, &["rbind", "idmap"], BindIds::Map { recursive: false, by: None }),
        (Ids::Host, &["rbind", "ridmap"], BindIds::Map { recursive: true, by: None }),
    ] {
        let mut spec = spec();
        let mount = json!({"destination": "/v", "source": "/host", "options": options});
        spec["mounts"].as_array_mut().expect("list").push(mount);
        let launch = Launch { ids, ..launch(spec) };
        let plan = plan(&launch, &facts(), StdioKind::Provided).expect("plan");
        let Some(Supply::Bind(bind)) = plan.supplies.last() else { unreachable!() };
        assert_eq!((&bind.ids, bind.recursive), (&expect, true));
    }
}

#[test]
fn a_user_without_privileges_has_none_on_the_way() {
    let mut spec = spec();
    spec["process"]["user"]["uid"] = json!(5);
    let plan = planned(spec, &facts()).expect("plan");
    let sets = plan.init.steps.iter().find_map(|step| match step {
        InitStep::Capabilities { sets, .. } => Some(*sets),
        _ => None,
    });
    assert_eq!(sets, Some(sys::cred::CapSets::default()));
}

#[test]
fn an_exec_goes_the_same_last_part_of_the_way() {
    let launch = launch(spec());
    let facts = Facts { filter: Some((vec![sys::seccomp::Insn::default()], 0)), ..facts() };
    let first = plan(&launch, &facts, StdioKind::Provided).expect("plan");
    let process = launch.spec.process.as_ref().expect("process");
    let joined = namespaces_of(&launch).expect("namespaces");
    let exec = plan_exec(&launch, process, &facts, StdioKind::Provided, joined).expect("plan");
    let last = |steps: &[InitStep]| -> Vec<String> {
        let from = |step: &InitStep| matches!(step, InitStep::Keyring(_));
        let at = steps.iter().position(from).expect("the last part");
        steps[at..].iter().map(|step| format!("{step:?}")).collect()
    };
    assert_eq!(last(&exec.steps), last(&first.init.steps));
    assert!(matches!(exec.steps[0], InitStep::EnterGroups));
    assert!(matches!(exec.steps[2], InitStep::Join { kinds, .. } if kinds & ns::PID == 0));
}

#[test]
fn labels_are_on_the_process_its_keys_and_what_is_made_for_it() {
    let (process, files) = ("u:r:t:s0:c1,c2", "u:o:f:s0:c1,c2");
    let mut spec = spec();
    spec["process"]["selinuxLabel"] = json!(process);
    spec["linux"]["mountLabel"] = json!(files);
    spec["mounts"]
        .as_array_mut()
        .expect("list")
        .push(json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}));
    let facts = Facts { selinux: true, ..facts() };
    let launch = launch(spec);
    let plan = plan(&launch, &facts, StdioKind::Provided).expect("plan");
    let first = launch.spec.process.as_ref().expect("process");
    let joined = namespaces_of(&launch).expect("namespaces");
    let exec = plan_exec(&launch, first, &facts, StdioKind::Provided, joined).expect("plan");
    for steps in [&plan.init.steps, &exec.steps] {
        let label = |step: &InitStep| match step {
            InitStep::Label { path, value, .. } => {
                Some(format!("{} {}", path.to_string_lossy(), String::from_utf8_lossy(value)))
            }
            InitStep::Keyring(_) => Some("keyring".to_owned()),
            _ => None,
        };
        let labels: Vec<String> = steps.iter().filter_map(label).collect();
        let keys = format!("thread-self/attr/keycreate {process}");
        let exec = format!("thread-self/attr/exec {process}");
        assert_eq!(labels, [keys, "keyring".to_owned(), exec]);
    }
    let params = |fs: &FsMount| -> Vec<String> {
        let shown = |param: &Param| format!("{:?} {:?}", param.key, param.value);
        fs.params.iter().map(shown).filter(|text| text.contains(files)).collect()
    };
    let dev = plan.supplies.iter().find_map(|supply| match supply {
        Supply::Dev(dev) => Some(params(&dev.fs)),
        _ => None,
    });
    assert_eq!(dev, Some(vec![format!("\"context\" Some(\"{files}\")")]));
    let queues = plan.supplies.iter().find_map(|supply| match supply {
        Supply::Fs { fs, made_in: MadeIn::Ipc } => Some(params(fs)),
        _ => None,
    });
    assert_eq!(queues, Some(vec![format!("\"security.selinux\" Some(\"{files}\")")]));
}

#[test]
fn a_label_of_one_module_is_not_hidden_by_the_other() {
    refused(
        |s| {
            s["process"]["selinuxLabel"] = json!("u:r:t");
            s["process"]["apparmorProfile"] = json!("unconfined");
        },
        "SELinux",
    );
    let mut spec = spec();
    spec["process"]["selinuxLabel"] = json!("u:r:t");
    spec["process"]["apparmorProfile"] = json!("unconfined");
    let plan = planned(spec, &Facts { selinux: true, ..facts() }).expect("plan");
    let labels = plan.init.steps.iter().filter(|step| matches!(step, InitStep::Label { .. }));
    assert_eq!(labels.count(), 2);
}

#[test]
fn contradictions_are_refused() {
    refused(|s| s["process"] = Value::Null, "no process");
    refused(|s| s["process"]["cwd"] = json!("x"), "not absolute");
    refused(|s| s["process"]["user"]["uid"] = json!(4_294_967_295_u32), "out of range");
    refused(|s| s["process"]["env"] = json!(["=x"]), "NAME=value");
    refused(|s| s["process"]["capabilities"]["bounding"] = json!(["CAP_NOPE"]), "CAP_NOPE");
    refused(|s| s["process"]["rlimits"] = json!([{"type": "X", "hard": 1, "soft": 1}]), "unknown");
    refused(
        |s| s["process"]["rlimits"] = json!([{"type": "RLIMIT_CPU", "hard": 1, "soft": 2}]),
        "exceeds",
    );
    refused(|s| s["process"]["selinuxLabel"] = json!("x"), "SELinux");
    refused(|s| s["process"]["ioPriority"] = json!({"class": "x", "priority": 1}), "I/O class");
    refused(|s| s["process"]["scheduler"] = json!({"policy": "x"}), "scheduler");
    refused(|s| s["linux"]["uidMappings"] = json!([]), "uidMappings");
    refused(|s| s["linux"]["uidMappings"][0]["containerID"] = json!(5), "do not map id 0");
    refused(|s| s["linux"]["uidMappings"][0]["hostID"] = json!(u32::MAX), "wrong");
    refused(|s| s["linux"]["namespaces"][0]["type"] = json!("x"), "unknown");
    refused(|s| s["linux"]["namespaces"][0]["type"] = json!("ipc"), "twice");
    refused(|s| s["linux"]["namespaces"][4]["path"] = json!("/x"), "join the user namespace");
    refused(|s| s["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1}}), "time namespace");
    refused(|s| s["linux"]["rootfsPropagation"] = json!("x"), "rootfsPropagation");
    refused(|s| s["linux"]["personality"] = json!({"domain": "x"}), "personality");
    refused(|s| s["mounts"][2]["destination"] = json!("/proc/1"), "inside /proc");
    refused(|s| s["mounts"][2]["destination"] = json!("/proc"), "at /proc");
    refused(|s| s["mounts"][1]["destination"] = json!("/a/../.."), "over the root");
    refused(|s| s["mounts"][0] = json!({"destination": "/a", "type": ""}), "no type");
    refused(
        |s| s["mounts"][0] = json!({"destination": "/a", "type": "bind", "source": "x"}),
        "absolute",
    );
    refused(
        |s| {
            let many = json!({"destination": "/a", "type": "tmpfs", "source": "t"});
            s["mounts"].as_array_mut().expect("list").extend(vec![many; 300]);
        },
        "too many mounts",
    );
}
