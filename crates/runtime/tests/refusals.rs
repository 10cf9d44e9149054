//! What cannot be launched: the words, the exit code, and that nothing is left behind.

mod lab;

use lab::{Lab, process};
use runtime::error::FailureKind;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use sys::Ended;

fn refuse(lab: &Lab, code: i32, words: &str) {
    let error = lab.try_run().expect_err(words);
    assert_eq!(error.exit_code(), code, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    let group = format!("/sys/fs/cgroup/pids/estiba-test-{}", lab.launch.id);
    assert!(!std::path::Path::new(&group).exists(), "{group} stays");
}

#[test]
fn commands_that_are_not_there() {
    refuse(&Lab::new(&["foo"]), 127, r#"exec: "foo": executable file not found in $PATH"#);
    refuse(&Lab::new(&["/x"]), 127, r#"exec: "/x": stat /x: no such file or directory"#);
    let mut lab = Lab::new(&["sh"]);
    lab.process().env = vec!["PATH=/nowhere".into()];
    refuse(&lab, 127, "not found in $PATH");
    refuse(&Lab::new(&[""]), 127, "empty");
    refuse(&Lab::new(&[]), 125, "no arguments");
}

#[test]
fn commands_that_cannot_be_executed() {
    refuse(&Lab::new(&["/etc"]), 126, r#"exec: "/etc": is a directory"#);
    refuse(&Lab::new(&["/etc/passwd"]), 126, r#"exec: "/etc/passwd": permission denied"#);
    let lab = Lab::new(&["/text"]);
    let file = lab.path("lower/text");
    fs::write(&file, "no program").expect("file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("mode");
    refuse(&lab, 126, "exec /text: exec format error");
    fs::write(&file, "#!/nowhere/sh\n").expect("file");
    refuse(&lab, 127, "exec /text: no such file or directory");
    let mut lab = Lab::new(&["secret"]);
    lab.launch.user = Some("app".into());
    let file = lab.path("lower/bin/secret");
    fs::write(&file, "#!/bin/sh\n").expect("file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).expect("mode");
    refuse(&lab, 126, r#"exec: "secret": permission denied"#);
}

#[test]
fn users_that_are_not_there() {
    let mut lab = Lab::new(&["true"]);
    lab.launch.user = Some("foo".into());
    refuse(&lab, 125, "unable to find user foo: no matching entries in passwd file");
    lab.launch.user = Some("app:nogroup".into());
    refuse(&lab, 125, "unable to find group nogroup");
    lab.launch.user = Some("4294967296".into());
    refuse(&lab, 125, "not between");
    lab.launch.user = None;
    lab.process().user.uid = 70_000;
    refuse(&lab, 125, "become user 70000");
}

#[test]
fn users_are_read_inside_the_image_only() {
    let mut lab = Lab::new(&["true"]);
    lab.launch.user = Some("daemon".into());
    let passwd = lab.path("lower/etc/passwd");
    fs::remove_file(&passwd).expect("passwd");
    symlink("/../../../../../../etc/passwd", &passwd).expect("link");
    // On the host there is such a user; the link leads back to itself.
    lab.try_run().expect_err("host's passwd was read");
    fs::remove_file(&passwd).expect("link");
    fs::write(lab.path("lower/users"), "daemon:x:3:3::/:\n").expect("file");
    symlink("/users", &passwd).expect("link");
    assert_eq!(lab.run().ended, Ended::Exited(0));
    fs::remove_file(&passwd).expect("link");
    fs::write(&passwd, "x".repeat(2 << 20)).expect("file");
    refuse(&lab, 125, "passwd");
}

#[test]
fn working_directories_outside_the_root() {
    // Descriptors of the host that might be open in the child (CVE-2024-21626).
    for number in 0..40 {
        let mut lab = Lab::new(&["readlink", "/proc/self/cwd"]);
        lab.process().cwd = format!("/proc/self/fd/{number}");
        let error = lab.try_run().expect_err("a working directory outside");
        assert!(error.exit_code() >= 125, "{error}");
    }
    let mut lab = Lab::new(&["readlink", "/proc/self/cwd"]);
    lab.process().cwd = "/made/on/the/way".into();
    assert_eq!(lab.run().stdout, "/made/on/the/way\n");
    lab.process().cwd = "relative".into();
    refuse(&lab, 125, "not absolute");
}

#[test]
fn specifications_that_make_no_sense() {
    let mut lab = Lab::new(&["true"]);
    lab.linux().sysctl.insert("kernel.core_pattern".into(), "|/x".into());
    refuse(&lab, 125, "not namespaced");
    let mut lab = Lab::new(&["true"]);
    lab.linux().namespaces.retain(|n| n.kind != "network");
    lab.linux().sysctl.insert("net.ipv4.ip_forward".into(), "1".into());
    refuse(&lab, 125, "own");
    let mut lab = Lab::new(&["true"]);
    lab.linux().namespaces.retain(|n| n.kind != "mount");
    refuse(&lab, 125, "mount namespace");
    let mut lab = Lab::new(&["true"]);
    lab.process().apparmor_profile = "nothing".into();
    refuse(&lab, 125, "AppArmor");
    let mut lab = Lab::new(&["true"]);
    lab.process().selinux_label = "no:such:label".into();
    refuse(&lab, 125, "label");
    let mut lab = Lab::new(&["true"]);
    lab.linux().mount_label = "no:such:label".into();
    refuse(&lab, 125, "overlay labelled \"no:such:label\"");
    let mut lab = Lab::new(&["true"]);
    lab.process().args.push("a\0b".into());
    refuse(&lab, 125, "zero byte");
    let mut lab = Lab::new(&["true"]);
    lab.launch.spec.hostname = "a\nb".into();
    refuse(&lab, 125, "hostname");
    let mut lab = Lab::new(&["true"]);
    lab.launch.version = 99;
    refuse(&lab, 125, "version 99");
}

#[test]
fn an_exec_fails_as_a_start_does() {
    let started = Lab::sh("sleep 1000").start();
    let error = started.exec(&process(&["foo"]), None).expect_err("foo");
    assert_eq!(error.kind, FailureKind::NotFound);
    let error = started.exec(&process(&["/etc"]), None).expect_err("/etc");
    assert_eq!(error.kind, FailureKind::CannotExecute);
    let error = started.exec(&process(&["true"]), Some("foo")).expect_err("user");
    assert_eq!(error.exit_code(), 125);
    let mut nowhere = process(&["true"]);
    nowhere.cwd = "/nowhere".into();
    let error = started.exec(&nowhere, None).expect_err("cwd");
    assert_eq!(error.exit_code(), 127);
    assert_eq!(
        error.to_string(),
        r#"chdir to cwd ("/nowhere") set in config.json failed: no such file or directory"#
    );
    for number in 0..40 {
        let mut outside = process(&["readlink", "/proc/self/cwd"]);
        outside.cwd = format!("/proc/self/fd/{number}");
        assert!(started.exec(&outside, None).is_err(), "{number}");
    }
}

#[test]
fn an_exec_into_a_container_that_has_ended_is_told() {
    let started = Lab::new(&["true"]).start();
    let mut tries = 0;
    while sys::process::send_signal(std::os::fd::AsFd::as_fd(&started.running.pidfd), 0).is_ok()
        && std::fs::read_to_string(format!("/proc/{}/stat", started.running.pid))
            .is_ok_and(|stat| !stat.contains(") Z "))
        && tries < 100
    {
        std::thread::sleep(std::time::Duration::from_millis(10));
        tries += 1;
    }
    started.exec(&process(&["true"]), None).expect_err("exec into the dead");
}
