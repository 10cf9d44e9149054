//! What the kernel's trace points tell of a container.

mod lab;

use lab::Lab;
use runtime::container::{Stdio, create};
use runtime::witness::{Seen, Since, begin};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs the container to its end under a watch; gives what was seen.
fn watched(lab: &Lab) -> Seen {
    let created = create(&lab.launch, Stdio::Null).expect("create");
    let seen = begin(&[created.pid], Since::TheCommand(created.pid), None).expect("watch");
    let running = created.start().expect("start");
    let ended = sys::Pidfd::from(running.pidfd).wait().expect("wait");
    running.cgroup.delete().expect("cgroup");
    let seen = finished(&seen);
    assert!(!seen.calls.is_empty(), "{ended:?}: {seen:?}");
    seen
}

fn finished(seen: &Arc<Mutex<Seen>>) -> Seen {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = seen.lock().expect("seen").clone();
        if now.done {
            return now;
        }
        assert!(Instant::now() < deadline, "the watch never ends");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn calls_files_and_capabilities_are_seen() {
    let mut lab = Lab::sh("cat /etc/group; chown 5 /tmp/file");
    lab.linux().seccomp = None;
    std::fs::write(lab.path("lower/tmp/file"), "").expect("file");
    let seen = watched(&lab);
    for call in ["execve", "openat", "wait4"] {
        assert!(seen.calls.contains(call), "{call}: {:?}", seen.calls);
    }
    assert!(seen.calls.iter().any(|call| call.contains("chown")), "{:?}", seen.calls);
    // What the runtime did on the way to the command is not the container's.
    for call in ["pivot_root", "seccomp", "setgroups", "capset", "mount", "keyctl"] {
        assert!(!seen.calls.contains(call), "{call}: {:?}", seen.calls);
    }
    assert!(seen.files.iter().any(|path| path.ends_with("/etc/group")), "{:?}", seen.files);
    if seen.sees_capabilities {
        let chown = runtime::caps::Cap::CHOWN.number();
        assert!(seen.capabilities.contains(&chown), "{:?}", seen.capabilities);
    }
}

#[test]
fn what_is_denied_is_seen_with_its_reason() {
    // The lab's filter answers mkdir with 95, which is nobody's denial; a file of somebody else
    // is one, and so is a host name without the capability.
    let mut lab = Lab::sh("hostname other; echo x > /etc/group; :");
    lab.process().user.uid = 1000;
    let seen = watched(&lab);
    let denied = |call: &str| seen.denials.keys().find(|it| it.call.contains(call));
    let name = denied("sethostname").unwrap_or_else(|| panic!("{:?}", seen.denials));
    assert_eq!((name.errno, name.filtered), (1, false));
    let file = denied("open").unwrap_or_else(|| panic!("{:?}", seen.denials));
    assert_eq!((file.errno, file.filtered), (13, false));
    if seen.sees_capabilities {
        assert_eq!(name.capability, Some(runtime::caps::Cap::SYS_ADMIN.number()));
        assert_eq!(file.capability, Some(runtime::caps::Cap::DAC_OVERRIDE.number()));
    }
}

#[test]
fn a_call_that_the_filter_answers_is_told_from_one_that_the_kernel_refuses() {
    use wire::oci::runtime::{Seccomp, Syscall};
    let mut lab = Lab::new(&["unshare", "-m", "true"]);
    let rule = |names: &[&str]| Syscall {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: "SCMP_ACT_ERRNO".into(),
        errno_ret: Some(1),
        ..Syscall::default()
    };
    lab.linux().seccomp = Some(Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: vec!["SCMP_ARCH_X86_64".into()],
        syscalls: vec![rule(&["unshare"])],
        ..Seccomp::default()
    });
    let filtered = watched(&lab);
    let denial = filtered.denials.keys().find(|it| it.call == "unshare").expect("unshare");
    assert!(denial.filtered && denial.errno == 1, "{denial:?}");
    assert!(!filtered.calls.contains("unshare"));
    lab.linux().seccomp = None;
    let refused = watched(&lab);
    let denial = refused.denials.keys().find(|it| it.call == "unshare").expect("unshare");
    assert!(!denial.filtered && denial.errno == 1, "{denial:?}");
    assert!(refused.calls.contains("unshare"));
}

#[test]
fn a_watch_leaves_nothing_and_a_running_container_can_be_watched() {
    let started = Lab::sh("while :; do cat /etc/passwd; done").start();
    let pid = started.running.pid;
    let during = Some(Duration::from_millis(500));
    let seen = begin(&[pid], Since::Now(pid), during).expect("watch");
    let seen = finished(&seen);
    assert!(seen.calls.contains("execve") && seen.calls.contains("openat"), "{:?}", seen.calls);
    drop(started);
    // The directory goes when the thread that read it has let go of it.
    let own = format!("estiba-{}-", std::process::id());
    let deadline = Instant::now() + Duration::from_secs(30);
    while instances().iter().any(|name| name.starts_with(&own)) {
        assert!(Instant::now() < deadline, "{:?}", instances());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Names of all instances of the kernel's tracing.
fn instances() -> Vec<String> {
    let out = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tracefs none /mnt && ls /mnt/instances"])
        .output()
        .expect("unshare");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}
