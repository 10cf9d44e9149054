//! Terminals: made inside, controlling, sized, owned by the user, shown at /dev/console.

mod lab;

use lab::{Lab, process, wait};
use runtime::container::{Stdio, create};
use runtime::exec::{ExecOptions, exec};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use sys::Ended;

/// Everything that the terminal shows until its other side is closed.
fn drain(console: OwnedFd) -> String {
    let mut text = Vec::new();
    let mut console = File::from(console);
    let mut chunk = [0; 4096];
    // EIO: nobody has the other side open any more.
    while let Ok(count @ 1..) = console.read(&mut chunk) {
        text.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

fn run(lab: &Lab) -> (String, Ended) {
    let created = create(&lab.launch, Stdio::Terminal { size: Some((33, 77)) }).expect("create");
    let console = created.console.as_ref().expect("console").try_clone().expect("copy");
    let running = created.start().expect("start");
    let text = drain(console);
    let ended = wait(&running.pidfd);
    running.cgroup.delete().expect("delete control group");
    (text, ended)
}

#[test]
fn the_terminal_is_the_containers_own() {
    let mut lab = Lab::sh(
        "tty; stty size; stat -c %u:%a $(tty); [ -c /dev/console ] && echo console; \
        echo > /dev/tty && echo controlling; readlink /proc/self/fd/0",
    );
    lab.launch.user = Some("app".into());
    let (text, ended) = run(&lab);
    assert_eq!(text, "/dev/pts/0\n33 77\n1000:620\nconsole\n\ncontrolling\n/dev/pts/0\n");
    assert_eq!(ended, Ended::Exited(0));
}

#[test]
fn what_is_typed_arrives_and_interrupts() {
    let lab = Lab::sh(
        "trap 'echo caught; exit 3' INT; read line; echo got $line; \
        while :; do sleep 1; done",
    );
    let created = create(&lab.launch, Stdio::Terminal { size: None }).expect("create");
    let console = created.console.as_ref().expect("console").try_clone().expect("copy");
    let running = created.start().expect("start");
    let mut keyboard = File::from(console.try_clone().expect("copy"));
    keyboard.write_all(b"hello\n").expect("type");
    let mut screen = File::from(console.try_clone().expect("copy"));
    let mut text = String::new();
    let mut chunk = [0; 256];
    while !text.contains("got hello") {
        let count = screen.read(&mut chunk).expect("read");
        text.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    keyboard.write_all(&[3]).expect("interrupt");
    assert!(drain(console).contains("caught"));
    assert_eq!(wait(&running.pidfd), Ended::Exited(3));
    running.cgroup.delete().expect("delete control group");
}

#[test]
fn an_exec_gets_a_terminal_of_its_own() {
    let started = Lab::sh("sleep 1000").start();
    let entering = process(&["sh", "-c", "tty; stty size; exit 4"]);
    let stdio = Stdio::Terminal { size: Some((10, 20)) };
    let execed = exec(&started.running, &entering, stdio, &ExecOptions::default()).expect("exec");
    assert_eq!(drain(execed.console.expect("console")), "/dev/pts/0\n10 20\n");
    assert_eq!(wait(&execed.pidfd), Ended::Exited(4));
}

#[test]
fn an_image_cannot_prepare_a_console() {
    // A link at /dev/console or /dev/pts/0 would have something else mounted (CVE-2025-52565).
    let lab = Lab::sh("[ -c /dev/console ] && tty");
    fs::remove_dir(lab.path("lower/dev")).expect("empty directory");
    fs::create_dir_all(lab.path("lower/dev/pts")).expect("directory");
    symlink("/proc/sysrq-trigger", lab.path("lower/dev/console")).expect("link");
    symlink("/proc/sysrq-trigger", lab.path("lower/dev/pts/0")).expect("link");
    assert_eq!(run(&lab).0, "/dev/pts/0\n");
}
