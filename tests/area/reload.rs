//! The configuration changes while the daemon runs, and a supervisor starts it, hears from it and
//! hands it its sockets.

use lab::{Lab, binaries, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Stdio};

fn write(lab: &Lab, text: &str) {
    std::fs::write(lab.dir().join("daemon.json"), text).unwrap();
}

fn hangup(lab: &Lab) {
    kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
}

fn info(lab: &Lab, what: &str) -> String {
    lab.estiba(&["info", "-f", &format!("{{{{{what}}}}}")]).ok().to_owned()
}

#[test]
fn settings_change_while_containers_run() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "by", "busybox", "sleep", "1000"]).ok();
    let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "by"]).ok().to_owned();
    let since = lab.estiba(&["info", "-f", "{{.SystemTime}}"]).ok().to_owned();
    write(
        &lab,
        r#"{
            "labels": ["room=blue"], "debug": true, "shutdown-timeout": 7,
            "default-shm-size": "128m", "insecure-registries": ["registry.test:5000"],
            "registry-mirrors": ["https://mirror.test"], "group": "1",
            "default-address-pools": [{"base": "10.77.0.0/16", "size": 24}]
        }"#,
    );
    hangup(&lab);
    eventually("the labels are in force", || info(&lab, ".Labels") == "[room=blue]");
    assert_eq!(info(&lab, ".Debug"), "true");
    assert!(info(&lab, "json .RegistryConfig").contains("registry.test:5000"));
    assert!(info(&lab, "json .RegistryConfig").contains("mirror.test"));
    eventually("the debug messages are logged", || lab.daemon_log().contains("DEBUG"));
    eventually("the socket has its group", || lab.socket().metadata().unwrap().gid() == 1);
    lab.estiba(&["create", "--name", "new", "busybox", "true"]).ok();
    let made = lab.estiba(&["inspect", "-f", "{{.HostConfig.ShmSize}}", "new"]);
    assert_eq!(made.ok(), (128 << 20).to_string());
    lab.estiba(&["network", "create", "nn"]).ok();
    let pool = lab.estiba(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "nn"]);
    assert!(pool.ok().starts_with("10.77."), "{pool:?}");
    let event = lab.estiba(&[
        "events",
        "--since",
        &since,
        "--until",
        &info(&lab, ".SystemTime"),
        "--filter",
        "type=daemon",
        "--format",
        "{{.Action}} {{index .Actor.Attributes \"labels\"}}",
    ]);
    assert_eq!(event.ok(), "reload room=blue");
    let now = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "by"]);
    assert_eq!(now.ok(), pid, "what runs was touched");
    // What is not said any more is as by default.
    write(&lab, "{}");
    hangup(&lab);
    eventually("the labels are gone", || info(&lab, ".Labels") == "[]");
    assert_eq!(info(&lab, ".Debug"), "false");
    lab.estiba(&["network", "rm", "nn"]).ok();
}

#[test]
fn a_bad_file_changes_nothing_and_says_where() {
    let lab = Lab::new();
    write(&lab, "{\"labels\": [\"a=b\"]}");
    hangup(&lab);
    eventually("the labels are in force", || info(&lab, ".Labels") == "[a=b]");
    for (text, want) in [
        ("{\n \"labels\": [\"c=d\"],\n \"mtu\": 12\n}", "daemon.json: line 3: mtu: "),
        ("{\n \"labels\": [\"c=d\"],\n}", "daemon.json: is not JSON: "),
        ("{\"nope\": 1}", "line 1: the following directive is not known: nope"),
        ("{\"group\": \"no-such-group\"}", "no group"),
        ("{\"registry-mirrors\": [\"ftp://x\"]}", "registry-mirrors"),
    ] {
        write(&lab, text);
        hangup(&lab);
        eventually(&format!("it says {want}"), || lab.daemon_log().contains(want));
        assert_eq!(info(&lab, ".Labels"), "[a=b]");
    }
}

#[test]
fn what_would_change_is_said_before() {
    let lab = Lab::new();
    let validate = |text: &str| {
        let file = lab.dir().join("other.json");
        std::fs::write(&file, text).unwrap();
        let mut command = lab.client(&binaries().join("estiba"));
        command.arg("daemon").arg("--validate").arg("--config-file").arg(&file);
        command.arg("--exec-root").arg(lab.dir().join("run"));
        command.arg("--data-root").arg(lab.dir().join("data"));
        command.arg("--pidfile").arg(lab.dir().join("pid"));
        command.arg("--host").arg(format!("unix://{}", lab.socket().display()));
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap())
    };
    let (status, said) = validate(r#"{"mtu": 1400, "iptables": true}"#);
    assert_eq!(status, Some(0));
    let (first, rest) = said.split_once('\n').unwrap();
    assert_eq!(first, "configuration OK");
    assert!(rest.starts_with("changes for the running daemon:\n"), "{rest}");
    assert!(rest.contains("\n  mtu: the default -> 1400\n"), "{rest}");
    assert!(rest.contains("\n  iptables: the default -> true (when the daemon starts)"), "{rest}");
    assert_eq!(validate(r#"{"mtu": "x"}"#).0, Some(1));
}

#[test]
fn the_default_network_follows_when_nobody_is_on_it() {
    let lab = Lab::new();
    let subnet = || {
        let format = "{{(index .IPAM.Config 0).Subnet}}";
        lab.estiba(&["network", "inspect", "-f", format, "bridge"]).ok().to_owned()
    };
    write(&lab, r#"{"bip": "10.66.0.1/24", "mtu": 1400}"#);
    hangup(&lab);
    eventually("the bridge has its subnet", || subnet() == "10.66.0.0/24");
    let inside = "ip -o -4 addr show eth0; cat /sys/class/net/eth0/mtu";
    let seen = lab.estiba(&["run", "--rm", "busybox", "sh", "-c", inside]);
    assert!(seen.ok().contains("10.66.0.") && seen.ok().ends_with("1400"), "{seen:?}");
}

/// A daemon as a supervisor starts it, with `socket` as the first of its activation.
fn supervised(dir: &std::path::Path, socket: UnixListener, notify: &str) -> Child {
    let line = "ip link set lo up; exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "sh", "-c", line, "sh"]);
    command.arg(binaries().join("estiba")).args(["daemon", "-H", "fd://"]);
    for (flag, name) in [
        ("--data-root", "data"),
        ("--exec-root", "run"),
        ("--pidfile", "pid"),
        ("--config-file", "daemon.json"),
    ] {
        command.arg(flag).arg(dir.join(name));
    }
    let cgroup = format!("/{}", dir.file_name().unwrap().to_string_lossy());
    command.arg("--cgroup-parent").arg(cgroup);
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "api");
    command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "200000");
    let log = std::fs::File::create(dir.join("log")).unwrap();
    command.stdin(OwnedFd::from(socket)).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}

#[test]
fn a_supervisor_hands_over_its_socket_and_hears_how_it_goes() {
    let dir = tempfile::Builder::new().prefix("estiba-lab-").tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let news = dir.path().join("notify.sock");
    let notify = UnixDatagram::bind(&news).unwrap();
    notify.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    // A client that comes before the daemon does is served too.
    let early = Command::new(binaries().join("estiba"))
        .env("DOCKER_HOST", format!("unix://{}", path.display()))
        .args(["version", "-f", "{{.Server.Version}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut daemon = supervised(dir.path(), socket, &news.to_string_lossy());
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    let hear = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let length = notify.recv(&mut buffer).unwrap_or_else(|_| panic!("no {wanted}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with(wanted) {
                return text;
            }
            assert!(text.starts_with("WATCHDOG=1"), "{text} before {wanted}");
        }
    };
    hear("READY=1");
    assert!(early.wait_with_output().unwrap().status.success());
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    kill_process(pid, Signal::HUP).unwrap();
    let reloading = hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    hear("READY=1");
    kill_process(pid, Signal::TERM).unwrap();
    hear("STOPPING=1");
    assert!(daemon.wait().unwrap().success());
    assert!(path.exists(), "the socket is the supervisor's");
}
