//! Containers of other OCI runtimes: Debian's runc and crun, driven by our monitor.

use lab::{Lab, Setup, eventually};
use rustix::process::Signal;
use std::path::Path;

/// A lab whose daemon knows the runtime `program` by the name `other`.
fn lab_with(program: &str) -> Lab {
    let arguments = vec!["--add-runtime".to_owned(), format!("other={program}")];
    Lab::with(Setup { arguments, ..Setup::default() })
}

/// crun refuses a host that has control groups of version 1 and controllers in the tree of
/// version 2; without that tree it is content.
fn lab_of_crun() -> Lab {
    let mut lab = lab_with("crun");
    if Path::new("/sys/fs/cgroup/unified").exists() {
        lab.stop_daemon();
        lab.in_network(&["umount", "/sys/fs/cgroup/unified"]).ok();
        lab.start_daemon();
    }
    lab
}

/// Everything that a user does with a container.
fn lives(lab: &Lab) {
    let run = |words: &[&str]| lab.estiba(&[&["run", "--rm", "--runtime=other"], words].concat());
    assert_eq!(run(&["busybox", "echo", "hello"]).ok(), "hello");
    assert_eq!(run(&["busybox", "sh", "-c", "exit 42"]).status, 42);
    assert_eq!(run(&["busybox", "nonesuch"]).status, 127);
    assert_eq!(run(&["busybox", "/etc"]).status, 126);
    assert_eq!(run(&["-t", "busybox", "sh", "-c", "[ -t 1 ] && echo yes"]).ok().trim(), "yes");
    assert_eq!(run(&["--init", "busybox", "sh", "-c", "[ $$ != 1 ] && echo yes"]).ok(), "yes");
    assert_eq!(run(&["-u", "5:7", "busybox", "sh", "-c", "id -u; id -g"]).ok(), "5\n7");
    assert_eq!(
        run(&["-w", "/tmp", "-e", "A=b", "busybox", "sh", "-c", "pwd; echo $A"]).ok(),
        "/tmp\nb"
    );
    let posture = "/^(CapEff|NoNewPrivs|Seccomp):/ {print $2}";
    let posture = run(&["--cap-drop=ALL", "busybox", "awk", posture, "/proc/self/status"]);
    assert_eq!(posture.ok(), "0000000000000000\n1\n2");
    let link = run(&["busybox", "sh", "-c", "ip -o -4 addr show eth0 | grep -c inet"]);
    assert_eq!(link.ok(), "1", "it has its address on the bridge");
}

/// Commands in a running container, and its end.
fn obeys(lab: &mut Lab) {
    let script = "echo up; trap 'exit 7' TERM; while :; do sleep 0.1; done";
    let words = ["run", "-d", "--runtime=other", "--name=box", "-m=32m", "busybox", "sh", "-c"];
    lab.estiba(&[&words[..], &[script]].concat()).ok();
    let inspect =
        |lab: &Lab, what: &str| lab.estiba(&["inspect", "-f", what, "box"]).ok().to_owned();
    assert_eq!(inspect(lab, "{{.HostConfig.Runtime}}"), "other");
    assert_eq!(lab.estiba_with(&["exec", "-i", "box", "cat"], b"in").ok(), "in");
    assert_eq!(lab.estiba(&["exec", "box", "sh", "-c", "exit 5"]).status, 5);
    assert_eq!(lab.estiba(&["exec", "-u", "3", "box", "id", "-u"]).ok(), "3");
    assert_eq!(lab.estiba(&["exec", "box", "nonesuch"]).status, 127);
    lab.estiba(&["pause", "box"]).ok();
    assert_eq!(inspect(lab, "{{.State.Status}}"), "paused");
    lab.estiba(&["unpause", "box"]).ok();
    let used = lab.estiba(&["stats", "--no-stream", "--format={{.MemUsage}}", "box"]);
    assert!(used.ok().ends_with("/ 32MiB"), "{used:?}");
    // It goes on without the daemon, and the next one finds it.
    let pid = inspect(lab, "{{.State.Pid}}");
    lab.kill_daemon();
    lab.start_daemon();
    assert_eq!(inspect(lab, "{{.State.Pid}}"), pid);
    assert_eq!(lab.estiba(&["exec", "box", "echo", "after"]).ok(), "after");
    eventually("its output is logged", || lab.estiba(&["logs", "box"]).ok() == "up");
    lab.estiba(&["restart", "box"]).ok();
    assert_eq!(inspect(lab, "{{.State.Running}}"), "true");
    lab.estiba(&["stop", "box"]).ok();
    assert_eq!(inspect(lab, "{{.State.ExitCode}}"), "7");
    lab.estiba(&["start", "box"]).ok();
    lab.estiba(&["kill", "box"]).ok();
    assert_eq!(lab.estiba(&["wait", "box"]).ok(), "137");
    lab.estiba(&["rm", "box"]).ok();
}

#[test]
fn runc_runs_containers() {
    let mut lab = lab_with("runc");
    lives(&lab);
    obeys(&mut lab);
}

#[test]
fn crun_runs_containers() {
    let mut lab = lab_of_crun();
    lives(&lab);
    obeys(&mut lab);
}

/// The monitor of another runtime's container is killed: the container ends with it, and can be
/// started again.
#[test]
fn a_lost_monitor_takes_the_container_along() {
    let lab = lab_with("runc");
    let words = ["run", "-d", "--runtime=other", "--name=box", "busybox", "sleep", "1000"];
    lab.estiba(&words).ok();
    let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "box"]).ok().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    let monitor = rustix::process::Pid::from_raw(parent.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(monitor, Signal::KILL).unwrap();
    eventually("the engine sees that it is over", || {
        lab.estiba(&["inspect", "-f", "{{.State.Running}}", "box"]).ok() == "false"
    });
    eventually("its process is gone", || !Path::new(&format!("/proc/{pid}")).exists());
    lab.estiba(&["start", "box"]).ok();
    assert_eq!(lab.estiba(&["exec", "box", "echo", "again"]).ok(), "again");
}

#[test]
fn the_default_runtime_is_a_setting() {
    let arguments = ["--add-runtime", "other=runc", "--default-runtime", "other"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    lab.estiba(&["create", "--name=box", "busybox"]).ok();
    let runtime = lab.estiba(&["inspect", "-f", "{{.HostConfig.Runtime}}", "box"]);
    assert_eq!(runtime.ok(), "other");
    lab.estiba(&["create", "--name=own", "--runtime=estiba", "busybox"]).ok();
    let refused = lab.estiba(&["create", "--runtime=nonesuch", "busybox"]);
    refused.fails(1, "unknown or invalid runtime name: nonesuch");
}

#[test]
fn a_runtime_has_arguments() {
    // runc, called by a program that keeps the words it is called with.
    let mut lab = Lab::new();
    let (program, called) = (lab.dir().join("noting"), lab.dir().join("called"));
    let script = format!("#!/bin/sh\necho \"$@\" >>{}\nexec runc \"$@\"\n", called.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    lab.stop_daemon();
    let settings = serde_json::json!({"runtimes": {"noting": {
        "path": program, "runtimeArgs": ["--debug", "--criu=/no where"],
    }}});
    std::fs::write(lab.dir().join("daemon.json"), settings.to_string()).unwrap();
    lab.start_daemon();
    lab.estiba(&["run", "--rm", "--runtime=noting", "busybox", "true"]).ok();
    let called = || std::fs::read_to_string(&called).unwrap();
    eventually("its container is deleted", || called().contains(" delete "));
    let called = called();
    for command in ["create", "start", "delete"] {
        let call = called.lines().find(|line| line.split(' ').any(|word| word == command));
        let call = call.unwrap_or_else(|| panic!("{command} was not called: {called}"));
        assert!(call.starts_with("--debug --criu=/no where --root "), "{call}");
    }
    let shown = lab.estiba(&["info", "--format={{json .Runtimes.noting}}"]);
    let shown: serde_json::Value = serde_json::from_str(shown.ok()).unwrap();
    assert_eq!(shown["runtimeArgs"], serde_json::json!(["--debug", "--criu=/no where"]));
}
