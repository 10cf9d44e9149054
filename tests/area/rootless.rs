//! An ordinary user's daemon: the same product without root. The user exists only in the test's
//! own mount namespace: /etc/passwd, /etc/subuid and their like are the test's files there.

use lab::corner::{Corner, USER, Unusual};
use lab::{binaries, eventually};
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

const SERVE: &str = "echo page > /index.html; exec httpd -f -p 80 -h /";

#[test]
fn a_user_runs_containers_as_nobody_on_the_host() {
    let corner = Corner::ready();
    assert_eq!(corner.ok(&["run", "--rm", "busybox", "echo", "hello"]), "hello");
    assert_eq!(corner.ok(&["run", "--rm", "busybox", "id", "-u"]), "0");
    let info = corner.ok(&["info", "--format", "{{.SecurityOptions}} {{.CgroupDriver}}"]);
    assert!(info.contains("name=rootless"), "{info}");
    // Root inside is the user outside, and everybody else one of the user's subordinate ids.
    corner.ok(&["run", "-d", "--name", "dd", "busybox", "sleep", "1000"]);
    let pid = corner.ok(&["inspect", "-f", "{{.State.Pid}}", "dd"]);
    let uid = corner.shell(&format!("awk '/^Uid:/ {{print $2}}' /proc/{pid}/status"));
    assert_eq!(uid, USER.to_string());
    assert_eq!(corner.ok(&["exec", "-u", "33", "dd", "id", "-u"]), "33");
    // A user namespace of the container's own: its root rules nothing of the daemon's.
    let own = |id: &str| corner.shell(&format!("readlink /proc/{id}/ns/user"));
    let daemon = corner.daemon.as_ref().unwrap().id().to_string();
    assert_ne!(own(&pid), own(&daemon));
    corner.ok(&["rm", "-f", "dd"]);
}

#[test]
fn a_users_containers_have_the_same_posture() {
    let corner = Corner::ready();
    let status = "grep -E '^(Cap(Inh|Amb)|NoNewPrivs|Seccomp):' /proc/self/status";
    let words = ["sh", "-c", status];
    corner.ok(&["run", "-d", "--name", "pp", "busybox", "sleep", "1000"]);
    for text in [
        corner.ok(&[&["run", "--rm", "busybox"][..], &words].concat()),
        corner.ok(&[&["exec", "pp"][..], &words].concat()),
    ] {
        assert!(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"), "{text}");
        assert!(text.contains("CapInh:\t0000000000000000"), "{text}");
        assert!(text.contains("CapAmb:\t0000000000000000"), "{text}");
    }
    // No device but those that were handed in, and none can be made.
    let devices =
        corner.ok(&["exec", "pp", "sh", "-c", "ls /dev/null /dev/zero && echo x > /dev/null"]);
    assert!(devices.contains("/dev/null"), "{devices}");
    let made = corner.estiba(&[
        "run",
        "--rm",
        "--cap-add",
        "MKNOD",
        "busybox",
        "mknod",
        "/x",
        "b",
        "7",
        "0",
    ]);
    assert!(!made.stderr.is_empty() && made.status != 0, "{made:?}");
    let masked = corner.ok(&["exec", "pp", "sh", "-c", "cat /proc/kcore | wc -c"]);
    assert_eq!(masked, "0");
    corner.ok(&["rm", "-f", "pp"]);
}

#[test]
fn files_are_the_users() {
    let corner = Corner::ready();
    let shared = corner.at("home/shared");
    std::fs::create_dir(&shared).unwrap();
    chown(&shared, Some(USER), Some(USER)).unwrap();
    let bind = format!("{}:/s", shared.display());
    corner.ok(&["run", "--rm", "-v", &bind, "busybox", "touch", "/s/made"]);
    let owner = corner.shell(&format!("stat -c %u {}/made", shared.display()));
    assert_eq!(owner, USER.to_string());
    corner.ok(&["volume", "create", "vv"]);
    let chowned = "touch /v/f && chown 33:33 /v/f && stat -c %u:%g /v/f";
    assert_eq!(corner.ok(&["run", "--rm", "-v", "vv:/v", "busybox", "sh", "-c", chowned]), "33:33");
    corner.ok(&["volume", "rm", "vv"]);
}

#[test]
fn a_user_builds_and_networks() {
    let corner = Corner::ready();
    let context = corner.at("home/context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        "FROM busybox\nRUN echo built > /index.html && chown 33 /index.html\n\
         CMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/\"]\n",
    )
    .unwrap();
    corner.ok(&["build", "-q", "-t", "built", &context.to_string_lossy()]);
    corner.ok(&["network", "create", "nn"]);
    corner.ok(&["run", "-d", "--name", "db", "--network", "nn", "built"]);
    let fetch = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 5 db 80 | tail -n 1";
    let mut got = String::new();
    eventually("it is reached by name", || {
        got =
            corner.estiba(&["run", "--rm", "--network", "nn", "busybox", "sh", "-c", fetch]).stdout;
        got.trim() == "built"
    });
    corner.ok(&["rm", "-f", "db"]);
    corner.ok(&["network", "rm", "nn"]);
}

/// A step of a build is confined as a container is, without root too; what it makes is the
/// image's, and belongs to nobody but the user on the host.
#[test]
fn a_users_steps_are_confined_as_its_containers_are() {
    let corner = Corner::ready();
    let context = corner.at("home/posture");
    std::fs::create_dir(&context).unwrap();
    let look = "grep -E '^(Uid|NoNewPrivs|Seccomp|Cap[A-Za-z]*):' /proc/self/status\n\
        awk '{ print $1, $3 }' /proc/self/uid_map\n\
        cat /proc/kcore | wc -c; mknod /x b 7 0 2>&1 || true\n";
    std::fs::write(context.join("look"), look).unwrap();
    let dockerfile = "FROM busybox\nCOPY look /look\nRUN sh /look > /seen; \
        touch /mine && chown 33:34 /mine\nUSER 5\nRUN id -u > /tmp/five\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let context = context.to_string_lossy().into_owned();
    corner.ok(&["build", "-q", "-t", "posture", &context]);
    let shown =
        |words: &[&str]| corner.ok(&[&["run", "--rm", "-u", "0", "posture"], words].concat());
    let step = shown(&["cat", "/seen"]);
    assert!(step.contains("Seccomp:\t2") && step.contains("NoNewPrivs:\t1"), "{step}");
    assert_eq!(step, shown(&["sh", "/look"]));
    assert_eq!(shown(&["stat", "-c", "%u:%g", "/mine"]), "33:34");
    assert_eq!(shown(&["cat", "/tmp/five"]), "5");
    // Nothing of the image is another user's on the host.
    let home = corner.at("home");
    let strangers =
        format!("find {} -path '*/posture' -prune -o -uid 0 -print | wc -l", home.display());
    assert_eq!(corner.shell(&strangers), "0");
}

#[test]
fn published_ports_are_the_hosts_and_outlive_the_daemon() {
    let mut corner = Corner::ready();
    let run =
        ["run", "-d", "--name", "web", "-p", "18080:80", "-p", "127.0.0.1:18081:80", "busybox"];
    corner.ok(&[&run[..], &["sh", "-c", SERVE]].concat());
    eventually("it is served", || corner.page("127.0.0.1:18080") == "page");
    assert_eq!(corner.page("192.0.2.9:18080"), "page");
    assert_eq!(corner.page("127.0.0.1:18081"), "page");
    assert_eq!(corner.page("192.0.2.9:18081"), "", "published on loopback alone");
    // A port that is taken is refused at once, with the kernel's word.
    let mut holder = std::process::Command::new("nsenter");
    holder.args([
        "-t",
        &corner.holder.id().to_string(),
        "-n",
        "--",
        "busybox",
        "nc",
        "-l",
        "-p",
        "18090",
    ]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    eventually("somebody has the port", || {
        corner.shell("ss -Hltn sport = :18090").contains("18090")
    });
    let refused = corner.estiba(&["run", "--rm", "-p", "18090:80", "busybox", "true"]);
    assert!(refused.stderr.contains("in use"), "{refused:?}");
    let low = corner.estiba(&["run", "--rm", "-p", "81:80", "busybox", "true"]);
    assert!(low.stderr.contains("net.ipv4.ip_unprivileged_port_start"), "{low:?}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let pid = corner.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]);
    corner.end("-KILL");
    assert_eq!(corner.page("127.0.0.1:18080"), "page", "served without a daemon");
    corner.start();
    assert_eq!(corner.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]), pid);
    assert_eq!(corner.page("127.0.0.1:18080"), "page");
    assert_eq!(corner.ok(&["exec", "web", "echo", "again"]), "again");
    corner.ok(&["rm", "-f", "web"]);
    eventually("the port is free", || corner.shell("ss -Hltn sport = :18080").is_empty());
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let corner = Corner::ready();
    let driver = corner.ok(&["info", "--format", "{{.CgroupDriver}}"]);
    if driver != "none" {
        // The control group of whoever runs the tests was delegated.
        return;
    }
    assert!(corner.log().contains("no control groups were delegated"), "{}", corner.log());
    let limited = corner.estiba(&["run", "--rm", "-m", "32m", "busybox", "true"]);
    assert!(limited.status != 0 && limited.stderr.contains("no memory cgroup"), "{limited:?}");
    corner.ok(&["run", "-d", "--name", "pp", "busybox", "sleep", "1000"]);
    let paused = corner.estiba(&["pause", "pp"]);
    assert!(paused.status != 0 && paused.stderr.contains("freezer"), "{paused:?}");
    assert!(corner.ok(&["top", "pp"]).contains("sleep 1000"));
    assert_eq!(corner.ok(&["stop", "-t", "1", "pp"]), "pp");
    corner.ok(&["rm", "pp"]);
}

#[test]
fn without_a_way_out_containers_still_reach_each_other() {
    let corner = Corner::ready_with(&Unusual { network: Some("none"), ..Unusual::default() });
    corner.ok(&["run", "-d", "--name", "web", "-p", "18085:80", "busybox", "sh", "-c", SERVE]);
    eventually("it is served", || corner.page("127.0.0.1:18085") == "page");
    corner.ok(&["rm", "-f", "web"]);
}

#[test]
fn slirp4netns_is_a_way_out_too() {
    let corner =
        Corner::ready_with(&Unusual { network: Some("slirp4netns"), ..Unusual::default() });
    let route = corner.ok(&["run", "--rm", "--network", "host", "busybox", "ip", "route"]);
    assert!(route.contains("default via 10.0.2.2"), "{route}");
    assert_eq!(corner.ok(&["run", "--rm", "busybox", "echo", "hello"]), "hello");
}

#[test]
fn what_is_missing_is_said_with_its_cure() {
    let said = |unusual: &Unusual, change: &dyn Fn(&mut Command)| {
        let corner = Corner::new(unusual);
        let mut command = corner.daemon();
        change(&mut command);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = said(&Unusual { no_ids: true, ..Unusual::default() }, &|_| ());
    assert!(text.contains("usermod --add-subuids"), "{text}");
    let text = said(&Unusual { network: Some("carrier-pigeons"), ..Unusual::default() }, &|_| ());
    assert!(text.contains("want pasta, slirp4netns or none"), "{text}");
    let text = said(&Unusual::default(), &|command| {
        command.env_remove("XDG_RUNTIME_DIR");
    });
    assert!(text.contains("XDG_RUNTIME_DIR is not set"), "{text}");
    let mut root = Command::new(binaries().join("estiba"));
    let output = root.args(["daemon", "--rootless", "--validate"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_stock_command_line_speaks_to_it() {
    if Command::new("docker").arg("--version").output().is_err() {
        eprintln!("skipped: the stock docker is not installed");
        return;
    }
    let corner = Corner::ready();
    let mut docker = corner.command(Path::new("docker"));
    docker.args(["-H", &format!("unix://{}", corner.socket().display())]);
    docker.args(["run", "--rm", "-i", "busybox", "cat"]).stdin(Stdio::piped());
    let mut running = docker.stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through");
}
