//! What a container may not do, by default and on every path that starts a process.

use lab::{Lab, Output};
use std::path::Path;

/// The lines of /proc/PID/status that say what a process may do.
fn posture(output: &Output) -> Vec<String> {
    let keys = ["Cap", "NoNewPrivs", "Seccomp"];
    let lines = output.ok().lines().filter(|l| keys.iter().any(|key| l.starts_with(key)));
    lines.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn run_and_exec_have_the_same_tight_posture() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "xx", "busybox", "sleep", "1000"]).ok();
    let run = posture(&lab.estiba(&["run", "--rm", "busybox", "cat", "/proc/self/status"]));
    let exec = posture(&lab.estiba(&["exec", "xx", "cat", "/proc/self/status"]));
    let init = posture(&lab.estiba(&["exec", "xx", "cat", "/proc/1/status"]));
    assert_eq!(run, exec);
    assert_eq!(run, init);
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_RAW (for ping alone) SYS_CHROOT
    let nine = "00000000000420fb";
    assert_eq!(
        run,
        [
            "CapInh: 0000000000000000".to_owned(),
            format!("CapPrm: {nine}"),
            format!("CapEff: {nine}"),
            format!("CapBnd: {nine}"),
            "CapAmb: 0000000000000000".to_owned(),
            "NoNewPrivs: 1".to_owned(),
            "Seccomp: 2".to_owned(),
            "Seccomp_filters: 1".to_owned(),
        ]
    );
}

#[test]
fn health_checks_and_restarts_keep_the_posture() {
    let lab = Lab::new();
    let check = "cat /proc/self/status > /tmp/check";
    let health = ["--health-cmd", check, "--health-interval", "1s"];
    lab.estiba(
        &[&["run", "-d", "--name", "hc"], &health[..], &["busybox", "sleep", "1000"]].concat(),
    )
    .ok();
    lab::eventually("it was checked", || {
        lab.estiba(&["inspect", "-f", "{{.State.Health.Status}}", "hc"]).stdout.trim() == "healthy"
    });
    let init = posture(&lab.estiba(&["exec", "hc", "cat", "/proc/1/status"]));
    assert_eq!(init.len(), 8, "{init:?}");
    assert_eq!(posture(&lab.estiba(&["exec", "hc", "cat", "/tmp/check"])), init);
    lab.estiba(&["restart", "-t", "0", "hc"]).ok();
    assert_eq!(posture(&lab.estiba(&["exec", "hc", "cat", "/proc/1/status"])), init);
}

#[test]
fn other_users_have_no_capabilities() {
    let lab = Lab::new();
    lab.estiba(&["run", "-d", "--name", "xx", "busybox", "sleep", "1000"]).ok();
    for words in [
        &["run", "--rm", "-u", "33", "busybox", "cat", "/proc/self/status"][..],
        &["exec", "-u", "www-data", "xx", "cat", "/proc/self/status"],
    ] {
        let status = lab.estiba(words);
        assert!(status.ok().contains("CapEff:\t0000000000000000"), "{status:?}");
    }
    let groups = lab.estiba(&["run", "--rm", "-u", "www-data", "busybox", "id"]);
    assert_eq!(groups.ok(), "uid=33(www-data) gid=33(www-data) groups=33(www-data),100(users)");
}

#[test]
fn root_inside_is_nobody_outside_and_files_keep_their_owner() {
    let lab = Lab::new();
    let map = lab.estiba(&["run", "--rm", "busybox", "cat", "/proc/self/uid_map"]);
    let fields: Vec<u64> = map.ok().split_whitespace().map(|f| f.parse().unwrap()).collect();
    assert!(fields[0] == 0 && fields[1] >= 65_536 && fields[2] == 65_536, "{fields:?}");
    let second = lab.estiba(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    second.ok();
    let other = lab.estiba(&["exec", "other", "cat", "/proc/self/uid_map"]);
    lab.estiba(&["run", "-d", "--name", "third", "busybox", "sleep", "1000"]).ok();
    let third = lab.estiba(&["exec", "third", "cat", "/proc/self/uid_map"]);
    assert_ne!(other.ok(), third.ok(), "two containers share a range");

    let shared = lab.dir().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::os::unix::fs::chown(&shared, Some(1000), Some(1000)).unwrap();
    let bind = format!("{}:/shared", shared.display());
    lab.estiba(&["run", "--rm", "-u", "1000", "-v", &bind, "busybox", "touch", "/shared/mine"])
        .ok();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(shared.join("mine")).unwrap().uid(), 1000);
}

#[test]
fn descriptors_and_working_directory() {
    let lab = Lab::new();
    // ls itself opens the directory: 0 1 2 and that one.
    let fds = lab.estiba(&["run", "--rm", "busybox", "sh", "-c", "ls /proc/self/fd | wc -l"]);
    assert_eq!(fds.ok().trim(), "4");
    lab.estiba(&["run", "-d", "--name", "xx", "busybox", "sleep", "1000"]).ok();
    let fds = lab.estiba(&["exec", "xx", "sh", "-c", "ls /proc/self/fd | wc -l"]);
    assert_eq!(fds.ok().trim(), "4");
    for fd in 0..12 {
        let dir = format!("/proc/self/fd/{fd}");
        let seen = lab.estiba(&[
            "run",
            "--rm",
            "-w",
            &dir,
            "busybox",
            "ls",
            "-d",
            "../../../etc/debian_version",
        ]);
        assert_ne!(seen.status, 0, "working directory {dir} leads to the host: {seen:?}");
    }
}

#[test]
fn kernel_paths_are_masked_or_read_only() {
    let lab = Lab::new();
    let script = "
        for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/interrupts; do
            [ ! -e $f ] || [ ! -s $f ] && ! head -c1 $f 2>/dev/null | grep -q . ||
                echo readable $f; done
        for f in /proc/sys/kernel/panic /proc/sysrq-trigger /proc/irq/default_smp_affinity; do
            [ ! -e $f ] || ! (echo 1 > $f) 2>/dev/null || echo writable $f; done
        for d in /proc/acpi /proc/scsi /sys/firmware; do
            [ ! -d $d ] || [ -z \"$(ls $d)\" ] || echo visible $d; done
        mkdir /sys/fs/cgroup/x 2>/dev/null && echo cgroup
        mkdir /sys/fs/cgroup/memory/x 2>/dev/null && echo cgroup
        touch /sys/x 2>/dev/null && echo sys
        exit 0";
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "sh", "-c", script]).ok(), "");
}

#[test]
fn dangerous_calls_are_refused() {
    let lab = Lab::new();
    for words in [
        &["mount", "-t", "tmpfs", "xx", "/mnt"][..],
        &["mknod", "/tmp/sda", "b", "8", "0"],
        &["unshare", "-m", "true"],
        &["unshare", "-r", "true"],
        &["hostname", "other"],
        &["chroot", "/proc/1/root/proc/1/root", "nothing"],
        &["arping", "-c1", "-w1", "127.0.0.1"],
        &["insmod", "/x.ko"],
    ] {
        let tried = lab.estiba(&[&["run", "--rm", "busybox"], words].concat());
        assert_ne!(tried.status, 0, "{words:?} worked");
    }
}

#[test]
fn options_widen_and_narrow() {
    let lab = Lab::new();
    let caps = |options: &[&str]| {
        let words = [&["run", "--rm"], options, &["busybox", "cat", "/proc/self/status"]].concat();
        let output = lab.estiba(&words);
        let line = output.ok().lines().find(|l| l.starts_with("CapEff")).unwrap().to_owned();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!(caps(&["--cap-drop", "ALL"]), 0);
    assert_eq!(caps(&["--cap-drop", "ALL", "--cap-add", "CHOWN"]), 1);
    assert_eq!(caps(&["--security-opt", "profile=docker"]), 0xa804_25fb);
    assert_ne!(caps(&["--cap-add", "NET_ADMIN"]) & (1 << 12), 0);
    assert!(caps(&["--privileged"]).count_ones() >= 38);
    let loose = ["run", "--rm", "--security-opt", "seccomp=unconfined", "busybox"];
    let status = lab.estiba(&[&loose[..], &["cat", "/proc/self/status"]].concat());
    assert!(status.ok().contains("Seccomp:\t0"), "{status:?}");
    lab.estiba(&["run", "--rm", "--privileged", "busybox", "mount", "-t", "tmpfs", "xx", "/mnt"])
        .ok();
    lab.estiba(&["run", "--rm", "--cap-add", "NO_SUCH", "busybox"]).fails(125, "NO_SUCH");
    let readonly = lab.estiba(&["run", "--rm", "--read-only", "busybox", "touch", "/x"]);
    assert!(readonly.stderr.contains("Read-only file system"), "{readonly:?}");
    let tmpfs = ["run", "--rm", "--read-only", "--tmpfs", "/work:size=1m", "busybox"];
    lab.estiba(&[&tmpfs[..], &["touch", "/work/x"]].concat()).ok();
}

#[test]
fn limits_hold() {
    let lab = Lab::new();
    let fork = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done 2>&1; exit 0";
    let words = ["run", "--rm", "--pids-limit", "8", "busybox", "sh", "-c", fork];
    let bomb = lab.estiba(&words);
    assert!(format!("{bomb:?}").contains("can't fork"), "{bomb:?}");
    let eat = "x=a; while :; do x=$x$x; done";
    lab.estiba(&[
        "run",
        "--name",
        "oom",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        eat,
    ]);
    let state = lab.estiba(&["inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "oom"]);
    assert_eq!(state.ok(), "true 137");
    let limit = lab.estiba(&[
        "run",
        "--rm",
        "--ulimit",
        "nofile=64:128",
        "busybox",
        "sh",
        "-c",
        "ulimit -Sn; ulimit -Hn",
    ]);
    assert_eq!(limit.ok(), "64\n128");
    lab.estiba(&["run", "--rm", "-m", "1m", "busybox"])
        .fails(125, "Minimum memory limit allowed is 6MB");
}

/// `--pid`, `--ipc`, `--network` of another container, alone and together (a sidecar that watches):
/// its processes, shared memory and addresses are seen, the files and limits stay one's own.
#[test]
fn namespaces_of_another_container_are_shared() {
    let lab = Lab::new();
    let base = ["run", "-d", "--name", "base", "--ipc", "shareable", "busybox", "sleep", "4321"];
    lab.estiba(&base).ok();
    lab.estiba(&["exec", "base", "sh", "-c", "echo theirs > /dev/shm/note"]).ok();
    let of_base = |kind: &str| format!("--{kind}=container:base");
    let (pid, ipc, network) = (of_base("pid"), of_base("ipc"), of_base("network"));
    let seen = lab.estiba(&["run", "--rm", &pid, "busybox", "ps"]);
    assert!(seen.ok().contains("sleep 4321"), "{seen:?}");
    let all = ["run", "-d", "--name", "side", "--pids-limit", "30", &pid, &ipc, &network];
    lab.estiba(&[&all[..], &["busybox", "sleep", "1234"]].concat()).ok();
    let look =
        "ps | grep -c 'sleep [14]'; cat /dev/shm/note; hostname; ls /proc/1/root 2>&1 | head -n 1";
    let seen = lab.estiba(&["exec", "side", "sh", "-c", look]);
    let lines: Vec<&str> = seen.ok().lines().collect();
    assert_eq!(lines[1], "theirs", "{seen:?}");
    assert!(lines[0].parse::<u32>().is_ok_and(|count| count >= 2), "{seen:?}");
    let links = |name: &str| {
        let kinds = "for n in pid ipc net user; do readlink /proc/self/ns/$n; done";
        lab.estiba(&["exec", name, "sh", "-c", kinds]).ok().to_owned()
    };
    assert_eq!(links("side"), links("base"));
    // A neighbour sees the program of the other and its own, and is no init: it ends alone.
    lab.estiba(&["stop", "-t", "0", "side"]).ok();
    assert_eq!(lab.estiba(&["exec", "base", "echo", "lives"]).ok(), "lives");
    lab.estiba(&["start", "side"]).ok();
    lab.estiba(&["rm", "-f", "base"]).ok();
    lab::eventually("it ends with the namespace it lives in", || {
        lab.estiba(&["inspect", "-f", "{{.State.Running}}", "side"]).stdout.trim() == "false"
    });
}

/// The host's own namespaces, each when it is asked for and no other.
#[test]
fn namespaces_of_the_host_are_shared() {
    let lab = Lab::new();
    let kinds = "for n in pid ipc net uts; do readlink /proc/self/ns/$n; done";
    let own = lab.estiba(&["run", "--rm", "busybox", "sh", "-c", kinds]);
    let own: Vec<&str> = own.ok().lines().collect();
    for (number, kind) in ["pid", "ipc", "network", "uts"].iter().enumerate() {
        let host = format!("--{kind}=host");
        let seen = lab.estiba(&["run", "--rm", &host, "busybox", "sh", "-c", kinds]);
        let seen: Vec<&str> = seen.ok().lines().collect();
        let file = ["pid", "ipc", "net", "uts"][number];
        let theirs = format!("/proc/{}/ns/{file}", lab.daemon_pid().as_raw_nonzero());
        let theirs = std::fs::read_link(theirs).unwrap();
        assert_eq!(Path::new(seen[number]), theirs, "{kind}");
        assert_ne!(Path::new(own[number]), theirs, "{kind}");
    }
}
