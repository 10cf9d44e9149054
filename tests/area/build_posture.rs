//! Steps of builds are confined exactly as containers are (law E4): what a process sees of its own
//! rights is the same in both, by default and when more was granted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lab::{Lab, Setup, text};
use std::path::PathBuf;

/// What a process can tell of its confinement. Ids of the host differ from one to the next.
const LOOK: &str = r#"
grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Seccomp_filters|Cap[A-Za-z]*):' /proc/self/status
awk '{ print "ids", $1, $3 }' /proc/self/uid_map /proc/self/gid_map
for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /sys/firmware /proc/scsi; do
    echo $path $(ls -A $path 2>&1 | wc -l) $(head -c 1 $path 2>/dev/null | wc -c)
done
for path in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/mm/ksm/run; do
    (echo 0 > $path) 2>/dev/null && echo "wrote $path" || echo "no $path"
done
awk '{ print $5, $6 }' /proc/self/mountinfo | grep -E '^/(proc|sys|dev)' | sort
ls -l /dev | awk 'NR > 1 { print $1, $3, $4, $NF }' | sort
ulimit -a
umask
mknod /tmp-node b 7 0 2>/dev/null && echo "made a device" && rm /tmp-node
mount -t tmpfs none /mnt 2>/dev/null && echo mounted && umount /mnt
unshare -U true 2>/dev/null && echo "made a user namespace"
hostname other 2>/dev/null && echo "named the host"
for name in ipc mnt net pid user uts cgroup; do
    test -e /proc/self/ns/$name && echo "has $name"
done
true
"#;

fn context(lab: &Lab, run: &str) -> PathBuf {
    let dockerfile = format!("FROM busybox\nRUN mkdir -p /mnt\nCOPY look /look\n{run}\n");
    lab.context(&[("look", LOOK), ("Dockerfile", &dockerfile)])
}

#[test]
fn a_step_is_confined_as_a_container_is() {
    let granted = r#"{"entitlements": {"security-insecure": true}}"#;
    let arguments = vec!["--builder".to_owned(), granted.to_owned()];
    let lab = Lab::with(Setup { arguments, ..Setup::default() });
    for (name, run, flags) in [
        ("plain", "RUN sh /look > /seen 2>&1", &[][..]),
        ("sandbox", "RUN --security=sandbox sh /look > /seen 2>&1", &[]),
        ("granted", "RUN --security=insecure sh /look > /seen 2>&1", &["--privileged"]),
    ] {
        let dir = context(&lab, run);
        let allow = ["--allow", "security.insecure"];
        lab.estiba(&[&["build", "-t", name], &allow[..], &[text(&dir)]].concat()).ok();
        let step = lab.estiba(&["run", "--rm", name, "cat", "/seen"]).ok().to_owned();
        let container = [&["run", "--rm"], flags, &[name, "sh", "-c", "sh /look 2>&1"]].concat();
        let container = lab.estiba(&container).ok().to_owned();
        assert!(step.contains("NoNewPrivs:") && step.contains("ids 0"), "{step}");
        let step: Vec<&str> = step.lines().collect();
        let container: Vec<&str> = container.lines().collect();
        assert_eq!(step, container, "{name}");
        let confined = step.iter().any(|line| line.trim() == "Seccomp:\t2");
        assert_eq!(confined, name != "granted", "{name}: {step:?}");
    }
}

/// Processes of a step end with it, and see none but their own.
#[test]
fn a_step_outlives_nothing_and_reaches_no_other() {
    let lab = Lab::new();
    let dockerfile = "FROM busybox\n\
        RUN (sleep 1000 &) ; echo $$ > /pid; ls /proc | grep -c '^[0-9]' > /processes\n\
        RUN ls /proc | grep -c '^[0-9]' > /again\n";
    let dir = lab.dockerfile(dockerfile);
    lab.estiba(&["build", "-t", "alone", text(&dir)]).ok();
    let seen = lab.estiba(&["run", "--rm", "alone", "cat", "/pid", "/again"]).ok().to_owned();
    let seen: Vec<u32> = seen.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(seen[0], 1, "a step has processes of its own");
    assert!(seen[1] <= 4, "nothing of the step before runs on: {seen:?}");
}

/// What the daemon is told of containers that say nothing holds for steps, which never do.
#[test]
fn steps_have_the_daemons_control_group_namespace() {
    let show = "readlink /proc/self/ns/cgroup";
    for (mode, shared) in [("private", false), ("host", true)] {
        let arguments = vec![format!("--default-cgroupns-mode={mode}")];
        let lab = Lab::with(Setup { arguments, ..Setup::default() });
        let dir = lab.dockerfile(&format!("FROM busybox\nRUN {show} > /seen\n"));
        lab.build(&dir, &["-t", "seen"]).ok();
        let step = lab.estiba(&["run", "--rm", "seen", "cat", "/seen"]).ok().to_owned();
        let host = lab.in_network(&["sh", "-c", show]).ok().to_owned();
        let container = lab.estiba(&["run", "--rm", "busybox", "sh", "-c", show]).ok().to_owned();
        assert_eq!(step == host, shared, "{mode}: {step} {host}");
        assert_eq!(container == host, shared, "{mode}: {container} {host}");
    }
}
