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

/// What a setting is to be and where it is seen then: words of our command line, and a text that
/// they say afterwards and did not before.
type Follows = (&'static str, &'static [&'static str], &'static str);

const INFO: &[&str] = &["info", "-f", "{{json .}}"];
const BRIDGE: &[&str] = &["network", "inspect", "bridge", "-f", "{{json .}}"];

macro_rules! inside {
    ($($word:expr),+) => {
        &["run", "--rm", "busybox", "sh", "-c", $($word),+]
    };
}

/// The documents of `daemon.json`, one setting each where it needs no other.
const FOLLOW: &[Follows] = &[
    (r#""labels": ["a=b"]"#, INFO, r#""Labels":["a=b"]"#),
    (r#""debug": true"#, INFO, r#""Debug":true"#),
    (r#""insecure-registries": ["r.test:5000"]"#, INFO, r#""r.test:5000":"#),
    (r#""registry-mirrors": ["https://m.test"]"#, INFO, r#""Mirrors":["https://m.test/"]"#),
    (r#""http-proxy": "http://p.test:1""#, INFO, r#""HttpProxy":"http://p.test:1""#),
    (r#""https-proxy": "http://q.test:1""#, INFO, r#""HttpsProxy":"http://q.test:1""#),
    (r#""no-proxy": "n.test""#, INFO, r#""NoProxy":"n.test""#),
    (r#""proxies": {"http-proxy": "http://r.test:1"}"#, INFO, r#""HttpProxy":"http://r.test:1""#),
    (r#""live-restore": false"#, INFO, r#""LiveRestoreEnabled":false"#),
    (r#""experimental": true"#, INFO, r#""ExperimentalBuild":true"#),
    (r#""log-driver": "local""#, INFO, r#""LoggingDriver":"local""#),
    (r#""cdi-spec-dirs": ["/nowhere/cdi"]"#, INFO, r#""CDISpecDirs":["/nowhere/cdi"]"#),
    (r#""features": {"cdi": false}"#, INFO, r#""CDISpecDirs":[]"#),
    (r#""seccomp-profile": "unconfined""#, INFO, "name=seccomp,profile=unconfined"),
    (r#""runtimes": {"other": {"path": "/x"}}"#, INFO, r#""other":{"#),
    (
        r#""runtimes": {"other": {"path": "/x"}}, "default-runtime": "other""#,
        INFO,
        r#""DefaultRuntime":"other""#,
    ),
    (
        r#""default-address-pools": [{"base": "10.9.0.0/16", "size": 24}]"#,
        INFO,
        r#""Base":"10.9.0.0/16""#,
    ),
    (r#""userns": false"#, inside!["cat /proc/self/uid_map"], "4294967295"),
    (
        r#""no-new-privileges": true, "security-profile": "docker""#,
        inside!["awk '/CapEff|NoNewPrivs/ { printf $2 \" \" }' /proc/self/status"],
        "a80425fb 1",
    ),
    (r#""security-profile": "docker""#, inside!["grep CapEff /proc/self/status"], "a80425fb"),
    (r#""default-pids-limit": 77"#, inside!["cat /sys/fs/cgroup/pids/pids.max"], "77"),
    (r#""default-shm-size": "3m""#, inside!["df -k /dev/shm"], " 3072 "),
    (r#""init": true"#, inside!["[ $$ = 1 ] || echo has a parent"], "has a parent"),
    (
        r#""default-ulimits": {"nofile": {"Name": "nofile", "Soft": 64, "Hard": 128}}"#,
        inside!["ulimit -n"],
        "64",
    ),
    (r#""dns": ["192.0.2.1"]"#, inside!["cat /etc/resolv.conf"], "192.0.2.1"),
    (r#""dns-opts": ["ndots:9"]"#, inside!["cat /etc/resolv.conf"], "ndots:9"),
    (r#""dns-search": ["a.test"]"#, inside!["cat /etc/resolv.conf"], "a.test"),
    (
        r#""host-gateway-ips": ["10.9.0.1"]"#,
        &["run", "--rm", "--add-host", "gw:host-gateway", "busybox", "cat", "/etc/hosts"],
        "10.9.0.1\tgw",
    ),
    (r#""log-opts": {"max-size": "1m"}"#, CREATED, r#""max-size":"1m""#),
    (r#""default-ipc-mode": "shareable""#, CREATED, r#""IpcMode":"shareable""#),
    (r#""default-cgroupns-mode": "host""#, CREATED, r#""CgroupnsMode":"host""#),
    (r#""storage-opts": ["overlay2.size=1g"]"#, &["create", "busybox"], "quota"),
    (r#""ip": "127.0.0.1""#, PUBLISHED, "127.0.0.1:"),
    (r#""blocked-registries": ["b.test"]"#, &["pull", "b.test/x"], "is blocked by"),
    (r#""pull-only-from": ["o.test"]"#, &["pull", "b.test/x"], "administrator"),
    (r#""bip": "10.66.0.1/24""#, BRIDGE, "10.66.0.0/24"),
    (r#""fixed-cidr": "172.17.9.0/24""#, BRIDGE, "172.17.9.0/24"),
    (r#""mtu": 1400"#, inside!["cat /sys/class/net/eth0/mtu"], "1400"),
    (r#""icc": false"#, BRIDGE, r#""com.docker.network.bridge.enable_icc":"false""#),
    (r#""ip-masq": false"#, BRIDGE, r#""com.docker.network.bridge.enable_ip_masquerade":"false""#),
    (r#""ipv6": true, "fixed-cidr-v6": "fd00:9::/64""#, BRIDGE, "fd00:9::/64"),
    (r#""ipv6": true, "bip6": "fd00:8::1/64""#, BRIDGE, "fd00:8::/64"),
    (r#""bip": "10.67.0.1/24", "default-gateway": "10.67.0.9""#, inside!["ip route"], "10.67.0.9"),
    (
        r#""default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1401"}}"#,
        &["network", "create", "nn"],
        "",
    ),
];

/// A container that is made and looked at.
const CREATED: &[&str] = &["created"];
/// A container's published port.
const PUBLISHED: &[&str] = &["published"];

/// Seen elsewhere to follow, or the bounds of what takes long: told in the log and the event.
const ELSEWHERE: &[(&str, &str)] = &[
    ("bridge", "network_create: the_default_bridge_is_as_the_daemon_was_told"),
    ("default-gateway-v6", "network_create"),
    ("tlscacert", "api: server::tests::tls"),
    ("tlscert", "api: server::tests::tls"),
    ("tlskey", "api: server::tests::tls"),
    ("tls", "api: server::tests::tls"),
    ("tlsverify", "api: server::tests::tls"),
    ("authorization-plugins", "authorization: rules_that_say_nothing_are_refused_and_new_ones_…"),
    ("group", "settings_change_while_containers_run"),
    ("default-stop-timeout", "the_patience_of_a_stop_follows"),
    ("host-gateway-ip", "its plural"),
    ("hosts", "sockets_and_the_pidfile_move"),
    ("log-level", "settings_change_while_containers_run"),
    ("log-format", "the_log_changes_its_form"),
    ("pidfile", "sockets_and_the_pidfile_move"),
    ("max-concurrent-downloads", "told"),
    ("max-concurrent-uploads", "told"),
    ("max-download-attempts", "told"),
    ("shutdown-timeout", "told"),
    ("builder", "build_cache: the_cache_stays_below_its_cap"),
    ("cgroup-parent", "given by a flag in the lab"),
];

/// These wait for the next start, and say so: what they say is laid or held as long as the daemon
/// lives.
const WAIT: &[&str] = &[
    "data-root",
    "exec-root",
    "rootless",
    "iptables",
    "ip-forward",
    "ip-forward-no-drop",
    "allow-direct-routing",
    "bridge-accept-fwmark",
];

/// What the words of a row say.
fn said(lab: &Lab, words: &[&str]) -> String {
    if words == CREATED {
        lab.estiba(&["create", "--name", "seen", "busybox", "true"]).ok();
        let out = lab.estiba(&["inspect", "-f", "{{json .HostConfig}}", "seen"]).ok().to_owned();
        lab.estiba(&["rm", "seen"]).ok();
        return out;
    }
    if words == PUBLISHED {
        let run = ["run", "-d", "--name", "seen", "-p", "80", "busybox", "sleep", "1000"];
        lab.estiba(&run).ok();
        let out = lab.estiba(&["port", "seen"]).ok().to_owned();
        lab.estiba(&["rm", "-f", "seen"]).ok();
        return out;
    }
    let out = lab.estiba(words);
    out.stdout + &out.stderr
}

#[test]
fn every_setting_follows() {
    let lab = Lab::new();
    let probe = |words: &[&str]| match words {
        ["network", "create", "nn"] => {
            lab.estiba(words).ok();
            let out = lab.estiba(&["network", "inspect", "nn"]).ok().to_owned();
            lab.estiba(&["network", "rm", "nn"]).ok();
            out
        }
        words => said(&lab, words),
    };
    for &(setting, words, want) in FOLLOW {
        let want = if want.is_empty() { "1401" } else { want };
        write(&lab, "{}");
        hangup(&lab);
        let before = probe(words);
        assert!(!before.contains(want), "{setting}: was so before: {before}");
        write(&lab, &format!("{{{setting}}}"));
        hangup(&lab);
        let mut last = String::new();
        for _ in 0..100 {
            last = probe(words);
            if last.contains(want) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            // The default network is made anew by a reload that finds nobody on it.
            hangup(&lab);
        }
        assert!(last.contains(want), "{setting}: {words:?} say: {last}");
    }
}

/// A new setting is either seen to follow, or somebody says why not.
#[test]
fn of_every_setting_it_is_known_whether_it_follows() {
    let keys = include_str!("../../crates/estiba/src/daemon/keys.tsv").lines().skip(1);
    for line in keys {
        let columns: Vec<&str> = line.split('\t').collect();
        let [key, _, "applied"] = columns[..] else { continue };
        let (first, further) = (format!("\"{key}\": "), format!(", \"{key}\": "));
        let says = |text: &str| text.starts_with(&first) || text.contains(&further);
        let follows = FOLLOW.iter().any(|(setting, ..)| says(setting));
        let elsewhere = ELSEWHERE.iter().any(|(name, _)| *name == key);
        let ways = [follows, elsewhere, WAIT.contains(&key)];
        assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{key}: {ways:?}");
    }
}

#[test]
fn the_patience_of_a_stop_follows() {
    let lab = Lab::new();
    write(&lab, r#"{"default-stop-timeout": 0, "labels": ["read=yes"]}"#);
    hangup(&lab);
    eventually("it is in force", || info(&lab, ".Labels") == "[read=yes]");
    let stubborn = "trap 'sleep 5; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    lab.estiba(&["run", "-d", "--name", "held", "busybox", "sh", "-c", stubborn]).ok();
    eventually("it listens", || lab.estiba(&["logs", "held"]).stdout == "ready\n");
    lab.estiba(&["stop", "held"]).ok();
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.ExitCode}}", "held"]).ok(), "137");
}

#[test]
fn the_log_changes_its_form() {
    let lab = Lab::new();
    write(&lab, r#"{"log-format": "json", "labels": ["one=1"]}"#);
    hangup(&lab);
    eventually("it is in force", || info(&lab, ".Labels") == "[one=1]");
    write(&lab, r#"{"log-format": "json", "labels": ["two=2"]}"#);
    hangup(&lab);
    let told = |line: &str| line.starts_with("{\"timestamp\"") && line.contains("two=2");
    eventually("the log is JSON", || lab.daemon_log().lines().any(told));
}

#[test]
fn sockets_and_the_pidfile_move() {
    let dir = tempfile::Builder::new().prefix("estiba-lab-").tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let tell = |pidfile: &str, sockets: &[&str]| {
        let hosts: Vec<_> =
            sockets.iter().map(|name| format!("unix://{}", at(name).display())).collect();
        let text = serde_json::json!({
            "data-root": at("data"),
            "exec-root": at("run"),
            "cgroup-parent": format!("/{}", dir.path().file_name().unwrap().to_string_lossy()),
            "pidfile": at(pidfile),
            "hosts": hosts,
        });
        std::fs::write(at("daemon.json"), text.to_string()).unwrap();
    };
    let opens = |name: &str| std::os::unix::net::UnixStream::connect(at(name)).is_ok();
    tell("one.pid", &["one.sock"]);
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private"]);
    command
        .arg(binaries().join("estiba"))
        .arg("daemon")
        .arg("--config-file")
        .arg(at("daemon.json"));
    let log = std::fs::File::create(at("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut daemon = command.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    let named = |name: &str| std::fs::read_to_string(at(name)).unwrap_or_default();
    eventually("it serves", || opens("one.sock"));
    assert_eq!(named("one.pid"), daemon.id().to_string());
    tell("two.pid", &["one.sock", "two.sock"]);
    // Its signals are heard from the beginning, its socket may be there before.
    kill_process(pid, Signal::HUP).unwrap();
    eventually("the second is open", || opens("two.sock"));
    eventually("the pidfile has moved", || named("two.pid") == daemon.id().to_string());
    eventually("the old one is gone", || !at("one.pid").exists());
    assert!(opens("one.sock"), "what is named again stays open");
    tell("two.pid", &["two.sock"]);
    kill_process(pid, Signal::HUP).unwrap();
    eventually("the first is closed", || !opens("one.sock"));
    kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(!at("two.pid").exists());
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
