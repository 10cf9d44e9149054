//! What a process in a container is and may, for its first process and for those that enter.

mod lab;

use lab::{FIRST_ID, Lab, Outcome, process};
use sys::Ended;

/// Shows the lines of `/proc/self/status` that describe a posture. No shell is between: it would
/// ignore signals of its own accord.
const STATUS: [&str; 4] =
    ["grep", "-E", "^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask|Sig)", "/proc/self/status"];

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect(name).trim()
}

fn ok(outcome: Outcome) -> String {
    assert_eq!(outcome.ended, Ended::Exited(0), "{outcome:?}");
    outcome.stdout
}

#[test]
fn a_command_runs_and_its_status_comes_back() {
    let outcome = Lab::sh("echo out; echo err >&2; exit 7").run();
    assert_eq!(outcome.ended, Ended::Exited(7), "{outcome:?}");
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(Lab::sh("kill -9 $$; sleep 5").run().ended.code(), 0, "pid 1 ignores its own kill");
}

#[test]
fn root_inside_is_nobody_outside() {
    let map = ok(Lab::sh("cat /proc/self/uid_map /proc/self/gid_map; id -u").run());
    let words: Vec<&str> = map.split_whitespace().collect();
    let first = FIRST_ID.to_string();
    assert_eq!(words, ["0", &first, "65536", "0", &first, "65536", "0"]);
}

#[test]
fn namespaces_are_its_own() {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let line = kinds.map(|kind| format!("readlink /proc/self/ns/{kind}")).join(";");
    let inside = ok(Lab::sh(&line).run());
    for (kind, inside) in kinds.iter().zip(inside.lines()) {
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("own namespace");
        assert_ne!(outside.to_str(), Some(inside), "{kind}");
    }
    assert_eq!(ok(Lab::sh("cat /proc/1/comm; echo $$; hostname").run()), "sh\n1\nlab\n");
}

#[test]
fn capabilities_are_what_was_asked_for_and_nothing_is_inherited() {
    let status = ok(Lab::new(&STATUS).run());
    // chown, dac_override, fowner, fsetid, kill, setgid, setuid, net_bind_service, sys_chroot
    let expect = "00000000000404fb";
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(&status, set), expect, "{set}");
    }
    assert_eq!(field(&status, "CapInh"), "0000000000000000");
    assert_eq!(field(&status, "CapAmb"), "0000000000000000");
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    assert_eq!(field(&status, "Seccomp"), "2");
    assert_eq!(field(&status, "Groups"), "0");
    assert_eq!(field(&status, "Umask"), "0022");
    assert_eq!(field(&status, "SigIgn"), "0000000000000000");
    assert_eq!(field(&status, "SigBlk"), "0000000000000000");
}

#[test]
fn a_user_has_no_effective_capabilities() {
    let mut lab = Lab::new(&STATUS);
    lab.launch.user = Some("app".into());
    let status = ok(lab.run());
    assert_eq!(field(&status, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(field(&status, "Gid"), "1000\t1000\t1000\t1000");
    assert_eq!(field(&status, "Groups"), "10 1000");
    assert_eq!(field(&status, "CapEff"), "0000000000000000");
    assert_eq!(field(&status, "CapPrm"), "0000000000000000");
    assert_eq!(field(&status, "CapBnd"), "00000000000404fb");
}

#[test]
fn ambient_capabilities_reach_a_user_when_asked_for() {
    let mut lab = Lab::new(&STATUS);
    lab.process().user.uid = 5;
    let caps = lab.process().capabilities.as_mut().expect("capabilities");
    caps.inheritable = vec!["CAP_KILL".into()];
    caps.ambient = vec!["CAP_KILL".into()];
    let status = ok(lab.run());
    assert_eq!(field(&status, "CapEff"), "0000000000000020");
    assert_eq!(field(&status, "CapAmb"), "0000000000000020");
}

#[test]
fn a_filter_is_loaded_without_no_new_privileges_too() {
    let mut lab = Lab::new(&STATUS);
    lab.process().no_new_privileges = false;
    let status = ok(lab.run());
    assert_eq!(field(&status, "NoNewPrivs"), "0");
    assert_eq!(field(&status, "Seccomp"), "2");
    // The capability that loading needed is gone.
    assert_eq!(field(&status, "CapEff"), "00000000000404fb");
}

#[test]
fn the_filter_filters() {
    let outcome = Lab::sh("mkdir /tmp/x").run();
    assert!(outcome.stderr.contains("not supported"), "{outcome:?}");
}

#[test]
fn nothing_but_three_descriptors_is_open() {
    // The fourth is the one through which they are listed.
    assert_eq!(ok(Lab::new(&["ls", "/proc/self/fd"]).run()), "0\n1\n2\n3\n");
}

#[test]
fn an_exec_is_under_everything_that_the_first_process_is() {
    let started = Lab::new(&["sleep", "1000"]).start();
    let first = std::fs::read_to_string(format!("/proc/{}/status", started.running.pid));
    let first = first.expect("status of the first process");
    let entered = ok(started.exec(&process(&STATUS), None).expect("exec"));
    for name in [
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "Umask",
        "Groups",
        "SigIgn",
        "SigBlk",
    ] {
        let outside = field(&first, name);
        let outside = if name == "Groups" { "0" } else { outside };
        assert_eq!(field(&entered, name), outside, "{name}");
    }
    let same = "for n in cgroup ipc mnt net pid user uts; do \
        [ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] || echo $n differs; done; \
        ls /proc/self/fd | wc -l; cat /proc/1/cgroup > /tmp/a; cat /proc/self/cgroup > /tmp/b; \
        cat /tmp/a /tmp/b | sort | uniq -u";
    let same = same.replace("| uniq -u", "| busybox uniq -u");
    let entered = started.exec(&process(&["sh", "-c", &same]), None).expect("exec");
    assert_eq!(ok(entered), "4\n");
}

#[test]
fn an_exec_without_capabilities_of_its_own_takes_those_of_the_first() {
    let started = Lab::sh("sleep 1000").start();
    let mut entering = process(&STATUS);
    entering.capabilities = None;
    entering.no_new_privileges = false;
    let status = ok(started.exec(&entering, Some("app:wheel")).expect("exec"));
    assert_eq!(field(&status, "CapBnd"), "00000000000404fb");
    assert_eq!(field(&status, "CapEff"), "0000000000000000");
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    assert_eq!(field(&status, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(field(&status, "Gid"), "10\t10\t10\t10");
}

#[test]
fn the_home_of_a_user_is_set_unless_the_environment_has_one() {
    let mut lab = Lab::sh("echo $HOME");
    lab.launch.user = Some("app".into());
    assert_eq!(ok(lab.run()), "/home/app\n");
    let mut lab = Lab::sh("echo $HOME");
    lab.launch.user = Some("0".into());
    lab.process().env.push("HOME=/x".into());
    assert_eq!(ok(lab.run()), "/x\n");
}

#[test]
fn the_runtime_cannot_be_reached_through_an_entering_process() {
    // Process 1 looks into every other process as fast as it can while others enter.
    let watch = "while :; do for p in /proc/[0-9]*; do ls -l $p/exe $p/cwd $p/fd/; done \
        2>/dev/null | grep -E 'estiba|posture|memfd|socket:' >> /tmp/seen; done";
    let started = Lab::sh(watch).start();
    for _ in 0..100 {
        ok(started.exec(&process(&["true"]), None).expect("exec"));
    }
    let seen = started.exec(&process(&["sh", "-c", "cat /tmp/seen 2>/dev/null; true"]), None);
    assert_eq!(ok(seen.expect("exec")), "");
}

#[test]
fn limits_and_scores_are_set() {
    let mut lab = Lab::sh("ulimit -n; ulimit -c; cat /proc/self/oom_score_adj");
    lab.process().rlimits = vec![
        wire::oci::runtime::Rlimit { kind: "RLIMIT_NOFILE".into(), hard: 777, soft: 555 },
        wire::oci::runtime::Rlimit { kind: "RLIMIT_CORE".into(), hard: 0, soft: 0 },
    ];
    lab.process().oom_score_adj = Some(321);
    assert_eq!(ok(lab.run()), "555\n0\n321\n");
}

#[test]
fn kernel_parameters_of_own_namespaces_are_set() {
    let mut lab = Lab::sh(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax \
         /proc/sys/user/max_user_namespaces; echo 5 > /proc/sys/kernel/shmmax || echo refused",
    );
    let sysctl = &mut lab.linux().sysctl;
    sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "7".into());
    sysctl.insert("kernel.shmmax".into(), "123456".into());
    sysctl.insert("user.max_user_namespaces".into(), "0".into());
    let outcome = lab.run();
    assert_eq!(outcome.stdout, "7\n123456\n0\nrefused\n", "{outcome:?}");
}

#[test]
fn clocks_can_be_shifted() {
    let mut lab = Lab::sh("cat /proc/uptime");
    let namespace = wire::oci::runtime::Namespace { kind: "time".into(), path: String::new() };
    lab.linux().namespaces.push(namespace);
    let offset = wire::oci::runtime::TimeOffset { secs: 50_000_000, nanosecs: 0 };
    lab.linux().time_offsets.insert("boottime".into(), offset);
    let uptime = ok(lab.run());
    let seconds: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).expect("uptime");
    assert!(seconds > 50_000_000.0, "{uptime}");
}

#[test]
fn a_container_without_a_user_namespace_works_as_well() {
    let status = ok(Lab::new(&STATUS).privileged().run());
    assert_eq!(field(&status, "Uid"), "0\t0\t0\t0");
    assert_eq!(field(&status, "Seccomp"), "2");
    assert_eq!(field(&status, "CapEff"), "00000000000404fb");
    let started = Lab::sh("sleep 1000").privileged().start();
    let status = ok(started.exec(&process(&STATUS), Some("app")).expect("exec"));
    assert_eq!(field(&status, "Uid"), "1000\t1000\t1000\t1000");
}

#[test]
fn namespaces_of_another_container_are_shared() {
    let first = Lab::sh("hostname shared 2>/dev/null; sleep 1000").start();
    let pid = first.running.pid;
    let mut second = Lab::sh(
        "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; ls /sys/class/net; \
        cat /proc/1/comm",
    );
    for namespace in &mut second.linux().namespaces {
        let name = match namespace.kind.as_str() {
            "network" => "net",
            "ipc" => "ipc",
            "pid" => "pid",
            _ => continue,
        };
        namespace.path = format!("/proc/{pid}/ns/{name}");
    }
    let out = ok(second.run());
    let link = |name| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("namespace");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], link("net").to_str().expect("utf-8"));
    assert_eq!(lines[1], link("ipc").to_str().expect("utf-8"));
    assert_eq!(&lines[2..], ["lo", "sleep"]);
}

#[test]
fn a_user_namespace_of_another_container_is_shared() {
    let first = Lab::sh("sleep 1000").start();
    let pid = first.running.pid;
    let mut second = Lab::sh("readlink /proc/self/ns/user; id -u; echo $$; touch /made");
    let linux = second.linux();
    linux.uid_mappings.clear();
    linux.gid_mappings.clear();
    for namespace in &mut linux.namespaces {
        if namespace.kind == "user" {
            namespace.path = format!("/proc/{pid}/ns/user");
        }
    }
    let out = ok(second.run());
    let link = std::fs::read_link(format!("/proc/{pid}/ns/user")).expect("namespace");
    assert_eq!(out, format!("{}\n0\n1\n", link.display()));
}

#[test]
fn the_hosts_network_and_processes_can_be_shared() {
    let mut lab =
        Lab::sh("readlink /proc/self/ns/net; ls /proc | grep -c '^[0-9]'; ls /sys/class/net");
    lab.linux().namespaces.retain(|n| n.kind != "network" && n.kind != "pid");
    let out = ok(lab.run());
    let own = std::fs::read_link("/proc/self/ns/net").expect("own namespace");
    let mut lines = out.lines();
    assert_eq!(lines.next(), own.to_str());
    let processes: u32 = lines.next().and_then(|n| n.parse().ok()).expect("count");
    assert!(processes > 3, "{out}");
}
