//! Settings of the daemon that act on the host rather than on one container: each is seen to act,
//! and to follow when the daemon reads its configuration again.

use lab::{Lab, binaries, eventually, text};
use rustix::process::{Signal, kill_process};
use std::path::Path;

/// Has the daemon read these settings; `mark` is its label as soon as they are in force.
fn tell(lab: &Lab, settings: &str, mark: &str) {
    let comma = if settings.is_empty() { "" } else { ", " };
    let file = format!("{{{settings}{comma}\"labels\": [\"{mark}\"]}}");
    std::fs::write(lab.dir().join("daemon.json"), file).unwrap();
    kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
    let labels = || lab.estiba(&["info", "-f", "{{.Labels}}"]).ok().to_owned();
    eventually("the settings are in force", || labels() == format!("[{mark}]"));
}

fn page(lab: &Lab, port: u16) -> Option<String> {
    let url = format!("http://127.0.0.1:{port}/metrics");
    let got = lab.in_network(&["curl", "-sf", "-m", "20", &url]);
    (got.status == 0).then_some(got.stdout)
}

/// The value behind a name and its labels.
fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[test]
fn what_the_daemon_does_is_counted_for_prometheus() {
    let lab = Lab::new();
    assert_eq!(page(&lab, 9323), None, "only who is asked to tells");
    tell(&lab, r#""metrics-addr": "127.0.0.1:9323""#, "port=9323");
    let started = r#"engine_daemon_container_actions_seconds_count{action="start"}"#;
    let running = r#"engine_daemon_container_states_containers{state="running"}"#;
    let stopped = r#"engine_daemon_container_states_containers{state="stopped"}"#;
    let first = page(&lab, 9323).unwrap();
    assert_eq!((value(&first, started), value(&first, running)), (0.0, 0.0));
    let check = ["--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1"];
    let run = ["run", "-d", "--name", "web"];
    lab.estiba(&[&run[..], &check, &["busybox", "sleep", "1000"]].concat()).ok();
    lab.estiba(&["create", "--name", "idle", "busybox", "true"]).ok();
    let failed = "engine_daemon_health_checks_failed_total";
    eventually("checks are counted", || value(&page(&lab, 9323).unwrap(), failed) > 0.0);
    let then = page(&lab, 9323).unwrap();
    assert_eq!((value(&then, started), value(&then, running), value(&then, stopped)), (1., 1., 1.));
    let all = r#"engine_daemon_container_actions_seconds_bucket{action="start",le="+Inf"}"#;
    assert_eq!(value(&then, all), 1.0);
    let sum = r#"engine_daemon_container_actions_seconds_sum{action="start"}"#;
    assert!(value(&then, sum) > 0.0);
    assert_eq!(value(&then, r#"estiba_containers{state="created"}"#), 1.0);
    assert!(
        value(&then, "engine_daemon_events_total") > value(&first, "engine_daemon_events_total")
    );
    let answers = r#"estiba_api_requests_total{code="2xx"}"#;
    assert!(value(&then, answers) > value(&first, answers));
    assert!(value(&then, "process_resident_memory_bytes") > 1e6);
    // Every family is described once, before its first line.
    let typed: Vec<&str> = then.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut names: Vec<&str> = typed.iter().filter_map(|it| it.split(' ').next()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), typed.len());
    // Elsewhere, then nowhere; and nothing but this page.
    tell(&lab, r#""metrics-addr": "127.0.0.1:9324""#, "port=9324");
    assert_eq!((page(&lab, 9323), page(&lab, 9324).is_some()), (None, true));
    let other =
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:9324/info"];
    assert_eq!(lab.in_network(&other).ok(), "404");
    tell(&lab, "", "port=none");
    assert_eq!(page(&lab, 9324), None);
    lab.estiba(&["rm", "-f", "web", "idle"]).ok();
}

#[test]
fn the_hosts_resolvers_are_named_where_the_daemon_is_told() {
    let lab = Lab::new();
    let own = lab.dir().join("resolvers");
    std::fs::write(&own, "nameserver 192.0.2.7\nsearch there.test\noptions ndots:3\n").unwrap();
    let inside =
        || lab.estiba(&["run", "--rm", "busybox", "cat", "/etc/resolv.conf"]).ok().to_owned();
    assert!(!inside().contains("192.0.2.7"));
    tell(&lab, &format!("\"resolv-conf\": {:?}", text(&own)), "file=own");
    let seen = inside();
    for line in ["nameserver 192.0.2.7", "search there.test", "options ndots:3"] {
        assert!(seen.contains(line), "{line}: {seen}");
    }
    tell(&lab, "", "file=default");
    assert!(!inside().contains("192.0.2.7"));
}

/// Control groups of version 1, in a kernel that shares real-time out between groups: Debian's and
/// most others do not.
#[test]
fn containers_together_may_have_a_part_of_the_real_time() {
    let root = Path::new("/sys/fs/cgroup/cpu");
    let lab = Lab::new();
    let run = ["run", "--rm", "--cpu-rt-runtime", "50000", "busybox", "true"];
    if !root.join("cpu.rt_runtime_us").exists() {
        let said = lab.estiba(&run);
        assert_ne!(said.status, 0, "{said:?}");
        return;
    }
    let refused = lab.estiba(&run);
    assert_ne!(refused.status, 0, "there is none for them: {refused:?}");
    tell(&lab, r#""cpu-rt-runtime": 100000, "cpu-rt-period": 900000"#, "time=real");
    lab.estiba(&[
        "run",
        "-d",
        "--name",
        "some",
        "--cpu-rt-runtime",
        "50000",
        "busybox",
        "sleep",
        "1000",
    ])
    .ok();
    let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "some"]).ok().to_owned();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|it| it == "cpu")
            .then(|| path.trim_start_matches('/').to_owned())
    });
    let own = root.join(group.unwrap());
    let says =
        |dir: &Path, file: &str| std::fs::read_to_string(dir.join(file)).unwrap().trim().to_owned();
    let parent = own.parent().unwrap();
    assert_eq!(says(&own, "cpu.rt_runtime_us"), "50000");
    assert_eq!(says(parent, "cpu.rt_runtime_us"), "100000");
    assert_eq!(says(parent, "cpu.rt_period_us"), "900000");
    lab.estiba(&["rm", "-f", "some"]).ok();
}

#[test]
fn another_runtime_program_is_taken_while_containers_run() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "by", "busybox", "sleep", "1000"]).ok();
    let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "by"]).ok().to_owned();
    let at = |name: &str| lab.dir().join(name);
    let setting = |path: &Path| format!("\"runtime-path\": {:?}", text(path));
    // One that is none, so that it is seen which is used.
    std::fs::copy("/bin/true", at("none")).unwrap();
    tell(&lab, &setting(&at("none")), "runtime=none");
    let spoiled = lab.estiba(&["run", "--rm", "busybox", "true"]);
    assert_ne!(spoiled.status, 0, "{spoiled:?}");
    std::fs::copy(binaries().join("estiba-runtime"), at("other")).unwrap();
    tell(&lab, &setting(&at("other")), "runtime=other");
    lab.estiba(&["run", "--rm", "busybox", "true"]).ok();
    // What was read stays in memory: the file is not needed any more.
    std::fs::remove_file(at("other")).unwrap();
    lab.estiba(&["run", "--rm", "busybox", "true"]).ok();
    std::fs::write(
        lab.dir().join("daemon.json"),
        format!("{{{}, \"labels\": [\"runtime=gone\"]}}", setting(&at("gone"))),
    )
    .unwrap();
    kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
    eventually("it says what is missing", || lab.daemon_log().contains("load the runtime from"));
    assert_eq!(lab.estiba(&["info", "-f", "{{.Labels}}"]).ok(), "[runtime=other]");
    assert_eq!(lab.estiba(&["exec", "by", "echo", "on"]).ok(), "on");
    assert_eq!(lab.estiba(&["inspect", "-f", "{{.State.Pid}}", "by"]).ok(), pid);
    lab.estiba(&["rm", "-f", "by"]).ok();
}

#[test]
fn rules_come_and_go_while_nobody_is_on_a_network() {
    let lab = Lab::new();
    let tables = || lab.in_network(&["nft", "list", "tables"]).ok().matches("estiba").count();
    let serve = "while :; do echo here | nc -l -p 80; done";
    let publish = || {
        let run = ["run", "-d", "--name", "web", "--network", "nn", "-p", "127.0.0.1:8080:80"];
        lab.estiba(&[&run[..], &["busybox", "sh", "-c", serve]].concat()).ok();
        let ask = ["curl", "-s", "--http0.9", "-m", "2", "http://127.0.0.1:8080"];
        eventually("the port is reached", || lab.in_network(&ask).stdout.contains("here"));
    };
    lab.estiba(&["network", "create", "nn"]).ok();
    let before = tables();
    assert!(before > 0);
    publish();
    tell(&lab, r#""iptables": false"#, "rules=wait");
    eventually("it says that it waits", || {
        lab.daemon_log().contains("iptables: it changes when the daemon starts")
    });
    assert_eq!(tables(), before, "somebody is on a network");
    lab.estiba(&["rm", "-f", "web"]).ok();
    // What a container had is taken back after the answer.
    eventually("the rules are gone", || {
        kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
        tables() == 0
    });
    publish();
    lab.estiba(&["rm", "-f", "web"]).ok();
    tell(&lab, r#""iptables": true"#, "rules=yes");
    eventually("the rules are there", || {
        kill_process(lab.daemon_pid(), Signal::HUP).unwrap();
        tables() == before
    });
    let zones = lab.in_network(&["sh", "-c", "nft list table ip estiba | grep -c br-"]);
    assert_ne!(zones.stdout.trim(), "0", "networks that were there are known: {zones:?}");
    publish();
    lab.estiba(&["rm", "-f", "web"]).ok();
    lab.estiba(&["network", "rm", "nn"]).ok();
}
