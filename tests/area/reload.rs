//! The configuration changes while the daemon runs, and a supervisor starts it, hears from it and
//! hands it its sockets.

use lab::{Lab, Output, archive, binaries, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
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
const VERSION: &[&str] = &["version", "-f", "{{.Server.MinAPIVersion}}"];
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
    (r#""min-api-version": "1.40""#, VERSION, "1.40"),
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

/// Seen elsewhere to follow.
const ELSEWHERE: &[(&str, &str)] = &[
    ("selinux-enabled", "what_this_host_cannot_do_is_said_when_it_is_asked_for"),
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
    ("max-concurrent-downloads", "transfers: as_many_layers_travel_at_a_time_as_the_…"),
    ("max-concurrent-uploads", "transfers: as_many_layers_travel_at_a_time_as_the_…"),
    ("max-download-attempts", "transfers: a_download_is_tried_as_often_as_the_settings_say"),
    ("shutdown-timeout", "the_patience_of_the_daemons_own_end_follows"),
    ("builder", "build_cache: the_cache_stays_below_its_cap"),
    ("ip-forward", "the_rules_follow"),
    ("ip-forward-no-drop", "the_rules_follow"),
    ("allow-direct-routing", "the_rules_follow"),
    ("bridge-accept-fwmark", "the_rules_follow"),
    ("cgroup-parent", "new_containers_are_below_another_control_group"),
    ("metrics-addr", "daemon_settings"),
    ("resolv-conf", "daemon_settings"),
    ("cpu-rt-runtime", "daemon_settings"),
    ("cpu-rt-period", "daemon_settings"),
    ("iptables", "daemon_settings"),
];

/// These wait for the next start, and say so: what they say is laid or held as long as the daemon
/// lives.
const WAIT: &[&str] = &["data-root", "exec-root", "rootless"];

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

/// This host has no SELinux; what the setting does where there is one is seen in a virtual machine
/// (tests/vm/selinux-daemon.sh).
#[test]
fn what_this_host_cannot_do_is_said_when_it_is_asked_for() {
    let lab = Lab::new();
    let warned = "--selinux-enabled: SELinux is not enabled on this host";
    assert!(!lab.daemon_log().contains(warned));
    write(&lab, r#"{"selinux-enabled": true, "labels": ["read=yes"]}"#);
    hangup(&lab);
    eventually("it is in force", || info(&lab, ".Labels") == "[read=yes]");
    assert!(lab.daemon_log().contains(warned));
    assert!(!info(&lab, ".SecurityOptions").contains("selinux"));
    let dir = lab.dir().join("labelled");
    std::fs::create_dir(&dir).unwrap();
    let bind = format!("{}:/data:Z", dir.display());
    let labelled = ["--security-opt", "label=type:any_t", "-v", &bind, "busybox", "true"];
    let out = lab.estiba(&[&["run", "--rm"], &labelled[..]].concat());
    out.ok();
    let why = "label=type:any_t: this host has no SELinux with labels for containers";
    assert!(out.stderr.contains(why), "{out:?}");
    let out = lab.estiba(&["run", "--rm", "--security-opt", "label=disable", "busybox", "true"]);
    out.ok();
    assert_eq!(out.stderr, "");
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
fn the_patience_of_the_daemons_own_end_follows() {
    let mut lab = Lab::new();
    write(&lab, r#"{"shutdown-timeout": 0, "live-restore": false, "labels": ["read=yes"]}"#);
    hangup(&lab);
    eventually("it is in force", || info(&lab, ".Labels") == "[read=yes]");
    let stubborn = "trap 'sleep 3; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    lab.estiba(&["run", "-d", "--name", "held", "busybox", "sh", "-c", stubborn]).ok();
    eventually("it listens", || lab.estiba(&["logs", "held"]).stdout == "ready\n");
    lab.stop_daemon();
    lab.start_daemon();
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.ExitCode}}", "held"]).ok(), "137");
}

#[test]
fn the_rules_follow() {
    let lab = Lab::new();
    let say = |settings: &str, mark: &str| {
        write(&lab, &format!("{{{settings}, \"labels\": [\"{mark}\"]}}"));
        hangup(&lab);
        eventually("it is in force", || info(&lab, ".Labels") == format!("[{mark}]"));
    };
    let sh = |line: &str| lab.in_network(&["sh", "-c", line]).stdout.trim().to_owned();
    let forwards = || sh("cat /proc/sys/net/ipv4/ip_forward");
    let stop = "echo 0 > /proc/sys/net/ipv4/ip_forward";
    say(r#""ip-forward": false"#, "forward=no");
    sh(stop);
    say(r#""ip-forward": false"#, "forward=still-no");
    assert_eq!(forwards(), "0");
    say(r#""ip-forward": true"#, "forward=yes");
    eventually("the host forwards", || forwards() == "1");
    let foreign = "nft list table ip estiba | grep -c 'chain foreign'";
    assert_eq!(sh(foreign), "1");
    say(r#""ip-forward-no-drop": true"#, "drop=no");
    eventually("what is not ours is forwarded", || sh(foreign) == "0");
    say(r#""bridge-accept-fwmark": "0x5/0xf""#, "mark=5");
    let marks = || sh("nft list table ip estiba");
    eventually("the mark is known", || marks().contains("0x00000005"));
    let run = ["run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "-p", "8081:81"];
    lab.estiba(&[&run[..], &["busybox", "sleep", "1000"]].concat()).ok();
    let of_the_port = || sh("nft list ruleset | grep -c '\\. 81'");
    let before = of_the_port();
    say(r#""allow-direct-routing": true"#, "direct=yes");
    eventually("its own address is open", || of_the_port() != before);
    assert!(!marks().contains("0x00000005"), "what is not said any more is as by default");
    say(r#""allow-direct-routing": false"#, "direct=no");
    eventually("its own address is closed", || of_the_port() == before);
    assert_eq!(sh(foreign), "1");
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

/// A daemon that is told everything by its file.
struct Written {
    dir: tempfile::TempDir,
    daemon: Child,
}

impl Written {
    /// The settings every such daemon of a directory has, and these.
    fn tell(dir: &std::path::Path, settings: &[(&str, Value)]) {
        let mut text = json!({
            "data-root": dir.join("data"),
            "exec-root": dir.join("run"),
            "cgroup-parent": Self::group(dir),
            "pidfile": dir.join("one.pid"),
        });
        for (name, value) in settings {
            text[name] = value.clone();
        }
        std::fs::write(dir.join("daemon.json"), text.to_string()).unwrap();
    }

    fn group(dir: &std::path::Path) -> String {
        format!("/{}", dir.file_name().unwrap().to_string_lossy())
    }

    fn start(settings: impl FnOnce(&std::path::Path) -> Vec<(&'static str, Value)>) -> Self {
        let dir = tempfile::Builder::new().prefix("estiba-lab-").tempdir().unwrap();
        Self::tell(dir.path(), &settings(dir.path()));
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private"]);
        command.arg(binaries().join("estiba")).args(["daemon", "--config-file"]);
        command.arg(dir.path().join("daemon.json"));
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = command.spawn().unwrap();
        Self { dir, daemon }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn opens(&self, socket: &str) -> bool {
        std::os::unix::net::UnixStream::connect(self.at(socket)).is_ok()
    }

    fn ends(&mut self) {
        self.signal(Signal::TERM);
        assert!(self.daemon.wait().unwrap().success());
    }
}

fn sockets(dir: &std::path::Path, names: &[&str]) -> Value {
    names.iter().map(|name| format!("unix://{}", dir.join(name).display())).collect()
}

#[test]
fn sockets_and_the_pidfile_move() {
    let mut written = Written::start(|dir| vec![("hosts", sockets(dir, &["one.sock"]))]);
    let dir = written.dir.path().to_owned();
    let tell = |names: &[&str]| {
        let pidfile = json!(dir.join("two.pid"));
        Written::tell(&dir, &[("pidfile", pidfile), ("hosts", sockets(&dir, names))]);
    };
    let named = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    eventually("it serves", || written.opens("one.sock"));
    let pid = written.daemon.id().to_string();
    assert_eq!(named("one.pid"), pid);
    tell(&["one.sock", "two.sock"]);
    // Its signals are heard from the beginning, its socket may be there before.
    written.signal(Signal::HUP);
    eventually("the second is open", || written.opens("two.sock"));
    eventually("the pidfile has moved", || named("two.pid") == pid);
    eventually("the old one is gone", || !written.at("one.pid").exists());
    assert!(written.opens("one.sock"), "what is named again stays open");
    tell(&["two.sock"]);
    written.signal(Signal::HUP);
    eventually("the first is closed", || !written.opens("one.sock"));
    written.ends();
    assert!(!written.at("two.pid").exists());
}

#[test]
fn new_containers_are_below_another_control_group() {
    let mut written = Written::start(|dir| vec![("hosts", sockets(dir, &["one.sock"]))]);
    eventually("it serves", || written.opens("one.sock"));
    let estiba = |words: &[&str]| {
        let mut command = Command::new(binaries().join("estiba"));
        command.arg("--host").arg(format!("unix://{}", written.at("one.sock").display()));
        command.args(words);
        Output::of(command)
    };
    estiba(&["import", &archive("busybox").to_string_lossy(), "busybox"]).ok();
    let group_of = |name: &str| {
        estiba(&["run", "-d", "--name", name, "--network=none", "busybox", "sleep", "1000"]).ok();
        let pid = estiba(&["inspect", "-f", "{{.State.Pid}}", name]).ok().to_owned();
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
    };
    let parent = Written::group(written.dir.path());
    let below = format!("{parent}/below");
    let before = group_of("before");
    assert!(before.contains(&parent) && !before.contains(&below), "{before}");
    let mut settings = vec![("hosts", sockets(written.dir.path(), &["one.sock"]))];
    settings.extend([("cgroup-parent", json!(below)), ("labels", json!(["read=yes"]))]);
    Written::tell(written.dir.path(), &settings);
    written.signal(Signal::HUP);
    let labels = || estiba(&["info", "-f", "{{.Labels}}"]).ok().to_owned();
    eventually("it is in force", || labels() == "[read=yes]");
    let after = group_of("after");
    assert!(after.contains(&below), "{after}");
    estiba(&["rm", "-f", "before", "after"]).ok();
    written.ends();
    for tree in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        for group in [&below, &parent] {
            let _ = std::fs::remove_dir(tree.path().join(&group[1..]));
        }
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
    let iptables = "\n  iptables: the default -> true (at once while no container is on a network";
    assert!(rest.contains(iptables), "{rest}");
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
