//! The default posture of every path that starts a process, read back from outside: what its
//! filter lets through, whom it may signal, whose sockets it reaches (laws B3, B6, C1, E4).

use lab::{Lab, archive, eventually};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Numbers of `tests/data/posture.py` about a process of the host.
fn filter_of(pid: &str) -> BTreeMap<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/posture.py");
    let output = Command::new("python3").arg(script).arg(pid).output().expect("python3");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The host's process that sleeps for this many seconds.
fn sleeper(seconds: &str) -> Option<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let line = format!("sleep\0{seconds}\0");
    processes.map(|entry| entry.path()).find_map(|dir| {
        let words = std::fs::read(dir.join("cmdline")).ok()?;
        (words == line.as_bytes()).then(|| dir.file_name().unwrap().to_string_lossy().into_owned())
    })
}

#[track_caller]
fn waits_for(seconds: &str) -> String {
    eventually("the process sleeps", || sleeper(seconds).is_some());
    sleeper(seconds).unwrap()
}

fn status(pid: &str, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

#[track_caller]
fn is_tight(pid: &str, what: &str) {
    let filter = filter_of(pid);
    let number = |key: &str| filter[key].parse::<u32>().unwrap();
    assert!((1..=260).contains(&number("x86_64")), "{what}: {filter:?}");
    assert_eq!((number("i386"), number("x32")), (0, 0), "{what}: {filter:?}");
    let families = filter["families"].split(',').count();
    assert!((1..=5).contains(&families), "{what}: {filter:?}");
    let set = |key: &str| u64::from_str_radix(&status(pid, key), 16).unwrap();
    for key in ["CapPrm", "CapEff", "CapBnd"] {
        assert!((1..=9).contains(&set(key).count_ones()), "{what}: {key}");
    }
    assert_eq!((set("CapInh"), set("CapAmb")), (0, 0), "{what}");
    assert_eq!(status(pid, "NoNewPrivs"), "1", "{what}");
    // A range of its own, and nobody there who is root here.
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    let map: Vec<u64> = map.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(map[0] == 0 && map[1] >= 65_536 && map[2] == 65_536, "{what}: {map:?}");
    let own = |kind: &str| {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        namespace(pid) != namespace("self")
    };
    for kind in ["user", "cgroup", "pid", "ipc", "uts", "net", "mnt"] {
        assert!(own(kind), "{what}: namespace {kind}");
    }
}

#[test]
fn every_path_has_the_numbers_of_the_default_posture() {
    let lab = Lab::new();
    lab.estiba(&[
        "run",
        "-d",
        "--name",
        "xx",
        "--health-cmd",
        "sleep 86413",
        "--health-interval",
        "1s",
        "--health-timeout",
        "600s",
        "busybox",
        "sleep",
        "86411",
    ])
    .ok();
    is_tight(&waits_for("86411"), "run");
    lab.estiba(&["exec", "-d", "xx", "sleep", "86412"]).ok();
    is_tight(&waits_for("86412"), "exec");
    is_tight(&waits_for("86413"), "health check");
    lab.estiba(&["restart", "-t", "0", "xx"]).ok();
    is_tight(&waits_for("86411"), "restart");
    let limit = lab.estiba(&["inspect", "-f", "{{.HostConfig.PidsLimit}}", "xx"]);
    assert!(limit.ok().parse::<u32>().is_ok_and(|limit| limit > 0), "{limit:?}");
    // A step of a build is a container like any other.
    let context = lab.dir().join("step");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM busybox\nRUN sleep 86414\n").unwrap();
    let context = context.display().to_string();
    std::thread::scope(|scope| {
        let build = scope.spawn(|| lab.estiba(&["build", &context]));
        let pid = waits_for("86414");
        is_tight(&pid, "build step");
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        assert_ne!(build.join().unwrap().status, 0);
    });
    lab.estiba(&["rm", "-f", "xx"]).ok();
}

/// Connects to an abstract socket: `reached`, or the kernel's word.
const CONNECT: &str = concat!(
    "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) or die; ",
    r#"print connect(S, pack_sockaddr_un("\0$ARGV[0]")) ? "reached" : "$!""#
);

/// Whether the kernel has what the next tests are about (Linux 6.12).
fn has_scopes(lab: &Lab) -> bool {
    !lab.daemon_log().contains("no scopes of Landlock")
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    let lab = Lab::new();
    if !has_scopes(&lab) {
        return;
    }
    // The host's network is its abstract sockets too: whoever listens there, as containerd's shims
    // did (CVE-2020-15257), takes everybody for root who can connect.
    let name = format!("estiba-posture-{}", std::process::id());
    let serve = format!(
        r#"use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("\0{name}"))
           or die; listen(S, 9); sleep 1000"#
    );
    lab.estiba(&["import", &archive("debian").to_string_lossy(), "debian:latest"]).ok();
    let _host = lab.start_in_network(&["perl", "-e", &serve]);
    eventually("somebody listens", || {
        lab.in_network(&["cat", "/proc/net/unix"]).stdout.contains(&name)
    });
    let connect = ["perl", "-e", CONNECT, &name];
    let run = |options: &[&str]| {
        let words = [&["run", "--rm", "--network", "host"], options, &["debian"], &connect];
        lab.estiba(&words.concat()).ok().to_owned()
    };
    assert_eq!(run(&[]), "Operation not permitted");
    assert_eq!(run(&["--security-opt", "landlock=unconfined"]), "reached");
    assert_eq!(run(&["--security-opt", "profile=docker"]), "reached");
    assert_eq!(run(&["--privileged"]), "reached");
    // Whichever way a process comes in; and those of one container reach each other.
    let health = format!("perl -e '{CONNECT}' {name}");
    let words = ["run", "-d", "--name", "xx", "--network", "host", "--health-cmd", &health];
    let own = serve.replace(&name, &format!("{name}-own"));
    let rest = ["--health-interval", "1s", "debian", "perl", "-e", &own];
    lab.estiba(&[&words[..], &rest].concat()).ok();
    assert_eq!(
        lab.estiba(&[&["exec", "xx"][..], &connect].concat()).ok(),
        "Operation not permitted"
    );
    let own = format!("{name}-own");
    let inside = ["exec", "xx", "perl", "-e", CONNECT, &own];
    eventually("its own are reached", || lab.estiba(&inside).stdout == "reached");
    let log = "{{range .State.Health.Log}}{{.Output}}{{end}}";
    let mut said = String::new();
    eventually("it was checked", || {
        said = lab.estiba(&["inspect", "-f", log, "xx"]).stdout;
        !said.trim().is_empty()
    });
    assert!(said.contains("not permitted") && !said.contains("reached"), "{said}");
    lab.estiba(&["rm", "-f", "xx"]).ok();
    let context = lab.dir().join("step");
    std::fs::create_dir(&context).unwrap();
    let step = format!("FROM debian\nRUN perl -e '{CONNECT}' {name} | tee /said\nCMD cat /said\n");
    std::fs::write(context.join("Dockerfile"), step).unwrap();
    let context = context.display().to_string();
    lab.estiba(&["build", "--network", "host", "-t", "said", &context]).ok();
    assert_eq!(lab.estiba(&["run", "--rm", "said"]).ok(), "Operation not permitted");
}

#[test]
fn an_exec_signals_and_traces_the_first_process() {
    let lab = Lab::new();
    let script = "trap 'echo hup' HUP; trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done";
    lab.estiba(&["run", "-d", "--name", "xx", "busybox", "sh", "-c", script]).ok();
    eventually("it is up", || lab.estiba(&["logs", "xx"]).stdout.contains("up"));
    lab.estiba(&["exec", "xx", "kill", "-HUP", "1"]).ok();
    eventually("it was told", || lab.estiba(&["logs", "xx"]).stdout.contains("hup"));
    // What may be traced is seen through, and the first process is no stranger.
    assert_eq!(lab.estiba(&["exec", "xx", "readlink", "/proc/1/root"]).ok(), "/");
    lab.estiba(&["exec", "xx", "kill", "-TERM", "1"]).ok();
    assert_eq!(lab.estiba(&["wait", "xx"]).ok(), "7");
    // Whose processes are shared on purpose are signalled on purpose.
    lab.estiba(&["run", "-d", "--name", "yy", "busybox", "sh", "-c", script]).ok();
    eventually("it is up", || lab.estiba(&["logs", "yy"]).stdout.contains("up"));
    lab.estiba(&["run", "--rm", "--pid", "container:yy", "busybox", "kill", "-HUP", "1"]).ok();
    eventually("it was told", || lab.estiba(&["logs", "yy"]).stdout.contains("hup"));
    lab.estiba(&["rm", "-f", "yy"]).ok();
}
