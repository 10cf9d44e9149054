//! A container that does not answer is nobody else's matter: whatever waits for it waits alone,
//! and lists, descriptions and other containers go on. The same goes for file systems whose server
//! is gone, and for receivers of logs that do not read.

use lab::{Lab, Session, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};

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
    let alive = lab.estiba(&["info", "-f", "{{.ContainersRunning}}+{{.ContainersPaused}}"]);
    assert!(["2+0", "1+1"].contains(&alive.ok()), "{alive:?}");
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

/// A file system whose server never answers, as NFS when the network is gone: FUSE with nobody at
/// the other end.
struct Far {
    dir: String,
    server: Session,
}

impl Far {
    fn new(lab: &Lab) -> Self {
        let dir = lab.dir().join("far");
        std::fs::create_dir(&dir).unwrap();
        let dir = dir.to_string_lossy().into_owned();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/data/far.py");
        let server = lab.start_in_network(&["python3", script, &dir]);
        eventually("it is mounted", || {
            lab.in_network(&["grep", "-q", &dir, "/proc/self/mounts"]).status == 0
        });
        Self { dir, server }
    }

    /// Whoever waits is told that there is nothing.
    fn end(self, lab: &Lab) {
        self.server.signal(Signal::KILL);
        self.server.finish();
        lab.in_network(&["umount", "-l", &self.dir]).ok();
    }
}

/// More than would be served at a time if each took one of a few threads.
const MANY: usize = 80;

#[test]
fn nobody_waits_for_a_file_system_that_does_not_answer() {
    let lab = Lab::new();
    pair(&lab);
    let far = Far::new(&lab);
    let bind = format!("{}:/far", far.dir);
    let mount = format!("type=bind,source={},target=/far", far.dir);
    let device = format!("device={}", far.dir);
    lab.estiba(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "farther"])
        .ok();
    let waiting: Vec<Session> = [
        &["run", "--rm", "-v", &bind, "busybox", "true"][..],
        &["run", "--rm", "--mount", &mount, "busybox", "true"],
        &["run", "--rm", "-v", "farther:/far", "busybox", "true"],
    ]
    .into_iter()
    .map(|words| lab.session(words))
    .collect();
    let mount = serde_json::json!({"Type": "bind", "Source": &far.dir, "Target": "/far"});
    let body = serde_json::json!({"Image": "busybox", "HostConfig": {"Mounts": [mount]}});
    let body = body.to_string();
    let asked: Vec<UnixStream> = (0..MANY).map(|_| ask_to_create(&lab, &body)).collect();
    others(&lab);
    lab.estiba(&["volume", "ls"]).ok();
    drop(asked);
    far.end(&lab);
    for session in waiting {
        assert_ne!(session.finish().status, 0);
    }
    lab.estiba(&["volume", "rm", "farther"]).ok();
}

/// Asks for a container and does not wait for the answer.
fn ask_to_create(lab: &Lab, body: &str) -> UnixStream {
    let mut stream = UnixStream::connect(lab.socket()).unwrap();
    let head = format!(
        "POST /v1.51/containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn nobody_waits_for_a_receiver_of_logs_that_does_not_read() {
    let lab = Lab::new();
    pair(&lab);
    // It never accepts, and what it is sent stays with whoever sends.
    let path = lab.dir().join("receiver.sock");
    let _receiver = UnixListener::bind(&path).unwrap();
    let address = format!("fluentd-address=unix://{}", path.display());
    let much = "head -c 4000000 /dev/zero | tr '\\0' '\\n'; echo said";
    let words = ["run", "-d", "--name", "wordy", "--log-driver", "fluentd", "--log-opt", &address];
    lab.estiba(&[&words[..], &["busybox", "sh", "-c", much]].concat()).ok();
    assert_eq!(lab.estiba(&["wait", "wordy"]).ok(), "0", "it is not held up by its receiver");
    others(&lab);
    assert_eq!(lab.estiba(&["logs", "--tail", "1", "wordy"]).ok(), "said");
    lab.estiba(&["restart", "wordy"]).ok();
    lab.estiba(&["rm", "-f", "wordy"]).ok();
}
