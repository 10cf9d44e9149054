//! The OCI command line, through the real program: a bundle from create to delete.

mod lab;

use lab::bundle::Bundle;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[test]
fn from_create_to_delete() {
    let bundle = Bundle::new(
        "life",
        &["sh", "-c", "echo begun; trap 'exit 5' TERM; while :; do sleep 0.1; done"],
    );
    bundle.create();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["ociVersion"], "1.3.0");
    let pid = fs::read_to_string(bundle.path("pid")).expect("pid file");
    assert_eq!(state["pid"].to_string(), pid);
    assert_eq!(fs::read_to_string(bundle.path("out")).expect("output"), "");
    assert!(bundle.refused(&["create", &bundle.id]).contains("exists already"));
    bundle.ok(&["start", &bundle.id]);
    assert_eq!(bundle.state()["status"], "running");
    assert!(bundle.refused(&["start", &bundle.id]).contains("is running"));
    assert!(bundle.refused(&["delete", &bundle.id]).contains("kill it first"));
    assert_eq!(bundle.ok(&["exec", &bundle.id, "echo", "inside"]), "inside\n");
    let exec = bundle.runtime(&[
        "exec",
        "--user",
        "1000:10",
        "--cwd",
        "/tmp",
        "--env",
        "A=b",
        &bundle.id,
        "sh",
        "-c",
        "id -u; id -g; pwd; echo $A; exit 9",
    ]);
    assert_eq!(String::from_utf8_lossy(&exec.stdout), "1000\n10\n/tmp\nb\n");
    assert_eq!(exec.status.code(), Some(9));
    assert!(bundle.ok(&["list"]).contains(&bundle.id));
    assert_eq!(bundle.ok(&["list", "-q"]).trim(), bundle.id);
    assert!(bundle.ok(&["ps", &bundle.id]).contains("sh -c echo begun"));
    bundle.ok(&["kill", &bundle.id, "TERM"]);
    bundle.await_status("stopped");
    assert_eq!(fs::read_to_string(bundle.path("out")).expect("output"), "begun\n");
    bundle.ok(&["delete", &bundle.id]);
    assert!(bundle.refused(&["state", &bundle.id]).contains("does not exist"));
    assert!(!PathBuf::from(format!("/sys/fs/cgroup/pids/estiba-test-{}", bundle.id)).exists());
}

#[test]
fn run_gives_the_commands_status_and_leaves_nothing() {
    let bundle = Bundle::new("run", &["sh", "-c", "cat; id -u; exit 7"]);
    let mut run = bundle.command(&["run", &bundle.id]);
    let input = fs::File::open(bundle.path("rootfs/etc/group")).expect("input");
    let out = run.stdin(input).output().expect("run");
    assert_eq!(out.status.code(), Some(7), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stdout).ends_with("app:x:1000:\n0\n"), "{out:?}");
    assert_eq!(bundle.ok(&["list", "-q"]), "");
}

#[test]
fn a_container_is_paused_updated_and_measured() {
    let bundle = Bundle::new("pause", &["sleep", "1000"]);
    bundle.create();
    bundle.ok(&["start", &bundle.id]);
    bundle.ok(&["pause", &bundle.id]);
    assert_eq!(bundle.state()["status"], "paused");
    assert!(bundle.refused(&["exec", &bundle.id, "true"]).contains("paused"));
    bundle.ok(&["resume", &bundle.id]);
    assert_eq!(bundle.state()["status"], "running");
    bundle.ok(&["update", "--memory", "67108864", "--pids-limit", "77", &bundle.id]);
    let stats: Value =
        serde_json::from_str(&bundle.ok(&["events", "--stats", &bundle.id])).expect("JSON");
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().is_some_and(|bytes| bytes > 0));
    let limit =
        fs::read_to_string(format!("/sys/fs/cgroup/pids/estiba-test-{}/pids.max", bundle.id));
    assert_eq!(limit.expect("pids.max").trim(), "77");
    bundle.ok(&["delete", "--force", &bundle.id]);
}

#[test]
fn hooks_run_where_they_belong() {
    let bundle = Bundle::new("hooks", &["true"]);
    let log = bundle.path("hooks.log");
    let hook = |name: &str, line: &str| {
        let args = ["busybox", "sh", "-c", line];
        json!([{"path": "/bin/busybox", "args": args, "env": [format!("N={name}")]}])
    };
    let outside = format!("cat >> {0}; echo >> {0}", log.display());
    bundle.edit(|config| {
        config["hooks"] = json!({
            "createRuntime": hook("createRuntime", &outside),
            "startContainer": hook("startContainer", "hostname > /hooked; cat >> /hooked"),
            "poststart": hook("poststart", &outside),
            "poststop": hook("poststop", &outside),
        });
        config["root"]["readonly"] = json!(false);
        config["annotations"] = json!({"a": "b"});
    });
    bundle.create();
    bundle.ok(&["start", &bundle.id]);
    bundle.await_status("stopped");
    bundle.ok(&["delete", &bundle.id]);
    let text = fs::read_to_string(&log).expect("log");
    let states: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("state")).collect();
    let statuses: Vec<&str> = states.iter().filter_map(|s| s["status"].as_str()).collect();
    assert_eq!(statuses, ["creating", "running", "stopped"]);
    assert_eq!(states[0]["annotations"]["a"], "b");
    let inside = fs::read_to_string(bundle.path("rootfs/hooked")).expect("written inside");
    assert!(inside.starts_with("estiba\n") && inside.contains(r#""status":"created""#), "{inside}");
}

#[test]
fn a_failing_hook_fails_the_creation() {
    let bundle = Bundle::new("badhook", &["true"]);
    bundle.edit(|config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]});
    });
    assert!(bundle.refused(&["create", &bundle.id]).contains("createRuntime hook /bin/false"));
    assert_eq!(bundle.ok(&["list", "-q"]), "");
    assert!(!PathBuf::from(format!("/sys/fs/cgroup/pids/estiba-test-{}", bundle.id)).exists());
}

#[test]
fn a_terminal_is_sent_to_the_console_socket() {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    let bundle = Bundle::new("tty", &["sh", "-c", "tty; read x; echo got $x"]);
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    assert!(bundle.refused(&["create", &bundle.id]).contains("--console-socket"));
    let socket = UnixListener::bind(bundle.path("console")).expect("socket");
    let path = bundle.path("console");
    bundle.ok(&["create", "--console-socket", path.to_str().expect("utf-8"), &bundle.id]);
    let (peer, _) = socket.accept().expect("connection");
    let mut name = [0; 64];
    let mut console = None;
    sys::socket::recv_with_fds(peer.as_fd(), &mut name, |fd| console = Some(fd)).expect("message");
    let mut console = fs::File::from(console.expect("terminal"));
    bundle.ok(&["start", &bundle.id]);
    console.write_all(b"hello\n").expect("type");
    let mut text = Vec::new();
    let mut chunk = [0; 256];
    while let Ok(count @ 1..) = console.read(&mut chunk) {
        text.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("/dev/pts/0") && text.contains("got hello"), "{text}");
}

#[test]
fn errors_are_told_on_the_log_too() {
    let bundle = Bundle::new("log", &["/nowhere"]);
    let log = bundle.path("log.json");
    let error = bundle.refused(&[
        "--log",
        log.to_str().expect("utf-8"),
        "--log-format",
        "json",
        "create",
        &bundle.id,
    ]);
    assert!(error.contains("stat /nowhere: no such file or directory"), "{error}");
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).expect("log")).expect("JSON");
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().is_some_and(|msg| error.contains(msg)), "{entry}");
    for args in [&["nonsense"][..], &["create"], &["create", "--nope", "x"], &["create", "../x"]] {
        bundle.refused(args);
    }
}

#[test]
fn the_program_in_the_container_is_out_of_reach() {
    use rustix::fs::{Mode, OFlags};
    use rustix::mount::OpenTreeFlags;
    use std::os::fd::{AsFd, AsRawFd};
    // An entrypoint that executes the runtime again finds a file that cannot be written.
    let mut bundle = Bundle::new("sealed", &["sleep", "1000"]);
    // What somebody executes cannot be written anyway: one that nobody else does.
    let own = bundle.path("estiba-runtime");
    fs::copy(&bundle.program, &own).expect("copy");
    bundle.program = own;
    bundle.create();
    let exe = format!("/proc/{}/exe", bundle.state()["pid"]);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let kept = rustix::fs::open(exe, flags, Mode::empty()).expect("keep it");
    bundle.ok(&["delete", "--force", &bundle.id]);
    // Nor when nobody executes it any more; and its mount is not made writable, nor another of it,
    // by whoever may mount.
    let writable =
        sys::mount::MountChange { clear: sys::mount::attr::RDONLY, ..Default::default() };
    sys::mount::change(kept.as_fd(), &writable).expect_err("a mount that can be changed");
    let own = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(kept.as_fd(), "", own).expect_err("a mount that can be cloned");
    let again = format!("/proc/self/fd/{}", kept.as_raw_fd());
    let elsewhere = bundle.path("elsewhere");
    fs::write(&elsewhere, "").expect("file");
    rustix::mount::mount_bind(again.as_str(), &elsewhere).expect_err("a mount that can be bound");
    for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::TRUNC] {
        let opened = rustix::fs::open(again.as_str(), flags | OFlags::CLOEXEC, Mode::empty());
        let errno = opened.expect_err("a program that can be written");
        assert!([rustix::io::Errno::ROFS, rustix::io::Errno::PERM].contains(&errno), "{errno}");
    }
}

#[test]
fn the_built_in_init_passes_signals_on_and_reaps() {
    let mut init = Command::new(env!("CARGO_BIN_EXE_estiba-runtime"));
    use std::os::unix::process::CommandExt;
    init.arg0(runtime::reaper::NAME);
    let line = "trap 'echo caught; exit 6' TERM; echo up; while :; do sleep 0.1; done";
    let mut child = init.args(["sh", "-c", line]).stdout(Stdio::piped()).spawn().expect("init");
    let mut out = std::io::BufReader::new(child.stdout.take().expect("stdout"));
    let mut up = String::new();
    std::io::BufRead::read_line(&mut out, &mut up).expect("line");
    let pid = i32::try_from(child.id()).expect("pid");
    sys::Pidfd::open(pid).and_then(|init| init.send_signal(15)).expect("signal");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).expect("output");
    assert_eq!((up.as_str(), rest.as_str()), ("up\n", "caught\n"));
    assert_eq!(child.wait().expect("wait").code(), Some(6));
    let mut missing = Command::new(env!("CARGO_BIN_EXE_estiba-runtime"));
    let status = missing.arg0(runtime::reaper::NAME).arg("/nowhere").status().expect("init");
    assert_eq!(status.code(), Some(127));
}

#[test]
fn features_are_told() {
    let bundle = Bundle::new("features", &["true"]);
    let features: Value = serde_json::from_str(&bundle.ok(&["features"])).expect("JSON");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    let seccomp = &features["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], true);
    // What is told to be understood is: a bundle that asks for all of it runs.
    let calls =
        ["acct", "add_key", "bpf", "delete_module", "kexec_load", "mount", "reboot", "swapon"];
    let rule = |(action, name): (&Value, &str)| json!({"names": [name], "action": action});
    // That one needs somebody who listens: `spec.rs` has one.
    let actions: Vec<&Value> = seccomp["actions"].as_array().expect("actions").iter().collect();
    let (notify, actions): (Vec<_>, Vec<_>) =
        actions.into_iter().partition(|action| **action == "SCMP_ACT_NOTIFY");
    assert_eq!(notify.len(), 1);
    assert_eq!(actions.len(), calls.len());
    let mut rules: Vec<Value> = actions.into_iter().zip(calls).map(rule).collect();
    for op in seccomp["operators"].as_array().expect("operators") {
        let arg = json!({"index": 5, "value": 1, "valueTwo": 1, "op": op});
        rules.push(json!({"names": ["swapoff"], "action": "SCMP_ACT_ERRNO", "args": [arg]}));
    }
    let all = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": seccomp["archs"],
        "syscalls": rules,
    });
    bundle.edit(|config| config["linux"]["seccomp"] = all);
    bundle.ok(&["run", &bundle.id]);
    for kind in features["linux"]["namespaces"].as_array().expect("namespaces") {
        let kind = kind.as_str().expect("a name");
        assert!(
            ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"].contains(&kind)
        );
    }
    // One version, wherever it is told.
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert!(bundle.ok(&["--version"]).contains("spec: 1.3.0"));
}
