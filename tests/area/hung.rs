//! A container that does not answer is nobody else's matter: whatever waits for it waits alone,
//! and lists, descriptions and other containers go on.

use lab::{Lab, Session, eventually};
use rustix::process::{Pid, Signal, kill_process};

/// A process that stands still until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).unwrap();
        eventually("it stands still", || status(pid, "State").starts_with('T'));
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// A line of `/proc/<pid>/status`.
fn status(pid: Pid, name: &str) -> String {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap().to_owned()
}

/// The monitor of a running container: its first process' parent.
fn monitor(lab: &Lab, name: &str) -> Pid {
    let pid = lab.estiba(&["inspect", "-f", "{{.State.Pid}}", name]);
    let pid = Pid::from_raw(pid.ok().parse().unwrap()).unwrap();
    Pid::from_raw(status(pid, "PPid").parse().unwrap()).unwrap()
}

/// What others go on doing.
fn others(lab: &Lab) {
    let names = lab.estiba(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(names.ok().lines().collect::<Vec<_>>(), ["fine", "hung"]);
    assert!(lab.estiba(&["ps", "-as"]).ok().contains("hung"));
    let state = lab.estiba(&["inspect", "-f", "{{.State.Running}}", "hung", "fine"]);
    assert_eq!(state.ok(), "true\ntrue");
    assert_eq!(lab.estiba(&["info", "-f", "{{.Containers}}"]).ok(), "2");
    assert_eq!(lab.estiba(&["logs", "hung"]).ok(), "said");
    assert!(lab.estiba(&["system", "df"]).ok().contains("Containers"));
    assert_eq!(lab.estiba(&["exec", "fine", "echo", "here"]).ok(), "here");
    assert_eq!(lab.estiba(&["run", "--rm", "busybox", "echo", "new"]).ok(), "new");
    lab.estiba(&["restart", "-t", "0", "fine"]).ok();
}

fn pair(lab: &Lab) {
    let talk = "echo said; exec sleep 1000";
    lab.estiba(&["run", "-d", "--name", "hung", "busybox", "sh", "-c", talk]).ok();
    lab.estiba(&["run", "-d", "--name", "fine", "busybox", "sleep", "1000"]).ok();
    eventually("it talks", || lab.estiba(&["logs", "hung"]).stdout == "said\n");
}

#[test]
fn nobody_waits_for_a_hung_monitor() {
    let lab = Lab::new();
    pair(&lab);
    let stopped = Stopped::new(monitor(&lab, "hung"));
    let waiting: Vec<Session> = [
        &["exec", "hung", "true"][..],
        &["exec", "-d", "hung", "true"],
        &["attach", "--no-stdin", "hung"],
        &["kill", "-s", "CONT", "hung"],
    ]
    .into_iter()
    .map(|words| lab.session(words))
    .collect();
    others(&lab);
    assert_eq!(status(stopped.0, "State"), "T (stopped)");
    drop(stopped);
    assert_eq!(lab.estiba(&["exec", "hung", "echo", "back"]).ok(), "back");
    lab.estiba(&["rm", "-f", "hung"]).ok();
    for session in waiting {
        session.finish();
    }
}

#[test]
fn nobody_waits_for_a_frozen_container() {
    let lab = Lab::new();
    pair(&lab);
    let waiting = lab.session(&["exec", "hung", "sleep", "1000"]);
    // A process comes into its control groups one after the other: until then there is no list.
    eventually("it executes", || lab.estiba(&["top", "hung"]).stdout.matches("sleep").count() == 2);
    lab.estiba(&["pause", "hung"]).ok();
    others(&lab);
    lab.estiba(&["top", "hung"]).ok();
    lab.estiba(&["stats", "--no-stream", "hung"]).ok();
    lab.estiba(&["rm", "-f", "hung"]).ok();
    assert_ne!(waiting.finish().status, 0);
}
