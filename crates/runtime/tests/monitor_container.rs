//! Real monitors with real containers: the program `estiba-runtime monitor` as the daemon uses it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use lab::{Lab, process};
use runtime::launch::Launch;
use runtime::monitor::client::{Connection, Standby, spawn};
use runtime::monitor::log::{JsonFile, LogConfig, ReadOptions, Stop, Stream, read};
use runtime::monitor::protocol::*;
use runtime::monitor::zygote::Zygote;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A monitor and the daemon's connection to it.
struct Monitored {
    connection: Connection,
    /// Of the monitor.
    pid: i32,
    /// Of the container's init.
    init: i32,
    pidfd: OwnedFd,
    cgroup: String,
    events: Vec<Event>,
    lab: Lab,
}

impl Monitored {
    /// Creates a container.
    fn create(lab: Lab) -> Self {
        match Self::try_create(lab) {
            Ok(monitored) => monitored,
            Err(reply) => panic!("{reply:?}"),
        }
    }

    fn try_create(mut lab: Lab) -> Result<Self, Box<Reply>> {
        lab.launch.log = LogConfig::JsonFile(JsonFile {
            path: log_path(&lab),
            max_size: Some(20 << 20),
            max_file: 20,
            compress: false,
            attrs: Default::default(),
        });
        let (mut connection, pid) = launch(&lab.launch);
        let mut next = || connection.recv().unwrap().expect("the outcome of the launch");
        let (mut message, mut fds) = next();
        if let Message::Event(Event::Begun) = message {
            assert_eq!(fds.len(), 1, "the network namespace comes along");
            (message, fds) = next();
        }
        match message {
            Message::Reply(LAUNCH, Reply::Created { pid: init, cgroup, .. }) => {
                let pidfd = fds.pop().expect("init's pidfd comes along");
                Ok(Self { connection, pid, init, pidfd, cgroup, events: Vec::new(), lab })
            }
            Message::Reply(LAUNCH, reply) => {
                assert!(connection.recv().unwrap().is_none());
                reap(pid);
                Err(Box::new(reply))
            }
            other => panic!("{other:?}"),
        }
    }

    fn started(lab: Lab) -> Self {
        let mut monitored = Self::create(lab);
        monitored.start();
        monitored
    }

    fn start(&mut self) {
        let reply = self.ask(&Request::Start);
        assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
    }

    fn ask(&mut self, request: &Request) -> Reply {
        self.ask_with(request, None)
    }

    fn ask_with(&mut self, request: &Request, socket: Option<&UnixStream>) -> Reply {
        let fds: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
        let id = self.connection.send(request, &fds).unwrap();
        loop {
            match self.connection.recv().unwrap().expect("the monitor is there").0 {
                Message::Reply(reply_id, reply) => {
                    assert_eq!(reply_id, id);
                    return reply;
                }
                Message::Event(event) => self.events.push(event),
            }
        }
    }

    fn attach(&mut self, options: AttachOptions) -> UnixStream {
        let (ours, theirs) = pair();
        let attach = Attach { process: ProcessId::Init, options };
        let reply = self.ask_with(&Request::Attach(attach), Some(&theirs));
        assert!(matches!(reply, Reply::Done), "{reply:?}");
        ours
    }

    /// Runs a line of shell in the container, attached, to its end.
    fn exec(&mut self, exec: Exec, input: &str) -> (String, Exit) {
        let (mut ours, theirs) = pair();
        let id = exec.exec_id.clone();
        let reply = self.ask_with(&Request::Exec(Box::new(exec)), Some(&theirs));
        assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
        drop(theirs);
        ours.write_all(input.as_bytes()).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut output = String::new();
        ours.read_to_string(&mut output).unwrap();
        let Event::ExecExited { exec_id, exit } = self.event() else { panic!("another event") };
        assert_eq!(exec_id, id);
        (output, exit)
    }

    fn signal(&mut self, signal: i32) {
        let process = ProcessId::Init;
        let reply = self.ask(&Request::Signal { process, signal });
        assert!(matches!(reply, Reply::Done), "{reply:?}");
    }

    fn event(&mut self) -> Event {
        if !self.events.is_empty() {
            return self.events.remove(0);
        }
        match self.connection.recv().unwrap().expect("an event before the end").0 {
            Message::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the container's end and the monitor's, and checks that nothing is left.
    fn end(&mut self) -> Exit {
        let exit = loop {
            if let Event::Exited { exit } = self.event() {
                break exit;
            }
        };
        assert!(self.connection.recv().unwrap().is_none());
        let state = &self.lab.launch.state_dir;
        let written = std::fs::read(state.join(EXIT_NAME)).unwrap();
        assert_eq!(serde_json::from_slice::<Exit>(&written).unwrap(), exit);
        assert!(!state.join(SOCKET_NAME).exists());
        for tree in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
            let left = tree.unwrap().path().join(self.cgroup.trim_start_matches('/'));
            assert!(!left.exists(), "{} is left", left.display());
        }
        reap(self.pid);
        exit
    }
}

impl Drop for Monitored {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The monitor of a failed test cleans up after its container.
            let _ = sys::process::kill(self.pidfd.as_fd());
        }
    }
}

fn log_path(lab: &Lab) -> PathBuf {
    lab.path("state").join("c-json.log")
}

fn launch(launch: &Launch) -> (Connection, i32) {
    let program = std::fs::File::open(env!("CARGO_BIN_EXE_estiba-runtime")).unwrap();
    spawn(program.as_fd(), launch).unwrap()
}

/// Waits for the end of the monitor, a child of ours.
fn reap(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    ours.set_write_timeout(Some(PATIENCE)).unwrap();
    (ours, theirs)
}

fn outputs() -> AttachOptions {
    AttachOptions { stdout: true, stderr: true, ..AttachOptions::default() }
}

fn all(mut socket: UnixStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

fn until(mut socket: &UnixStream, end: &str) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
}

/// The logged lines of one stream.
fn logged(lab: &Lab, stream: Stream) -> String {
    let entries = read(&log_path(lab), ReadOptions::default(), None).unwrap();
    let lines = entries.map(|entry| entry.unwrap()).filter(|entry| entry.stream == stream);
    lines.map(|entry| String::from_utf8(entry.line).unwrap()).collect()
}

fn shell(id: &str, line: &str) -> Exec {
    Exec {
        exec_id: id.into(),
        process: process(&["sh", "-c", line]),
        user: None,
        stdin_open: true,
        attach: Some(AttachOptions { stdin: true, ..outputs() }),
    }
}

#[test]
fn a_container_from_its_creation_to_its_end() {
    let mut container = Monitored::create(Lab::sh("echo out; echo err >&2; exit 7"));
    let Reply::State(state) = container.ask(&Request::State) else { panic!("no state") };
    assert_eq!((state.phase, state.pid), (Phase::Created, container.init));
    assert_eq!(state.id, container.lab.launch.id);
    let client = container.attach(outputs());
    container.start();
    assert_eq!(all(client).len(), "out\nerr\n".len());
    let exit = container.end();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    assert_eq!(logged(&container.lab, Stream::Stdout), "out\n");
    assert_eq!(logged(&container.lab, Stream::Stderr), "err\n");
}

#[test]
fn the_log_is_exact_bytes() {
    let lab = Lab::sh(r#"printf 'a\tb "<&>" \\ \033[0m\377\n'; printf 'no end'"#);
    let mut container = Monitored::started(lab);
    container.end();
    let lab = &container.lab;
    let text = std::fs::read_to_string(log_path(lab)).unwrap();
    let mut lines = text.lines();
    let first =
        r#"{"log":"a\u0009b \"\u003c\u0026\u003e\" \\ \u001b[0m\ufffd\n","stream":"stdout","#;
    assert!(lines.next().unwrap().starts_with(&format!("{first}\"time\":\"20")), "{text}");
    let second = lines.next().unwrap();
    assert!(second.starts_with(r#"{"log":"no end","stream":"stdout","time":"20"#), "{text}");
    assert!(second.ends_with("Z\"}") && lines.next().is_none() && text.ends_with('\n'));
}

#[test]
fn what_cannot_be_created_is_told_and_leaves_nothing() {
    let mut lab = Lab::sh("true");
    lab.launch.user = Some("nobody-like-that".into());
    let (state, id) = (lab.launch.state_dir.clone(), lab.launch.id.clone());
    let Err(reply) = Monitored::try_create(lab) else { panic!("created") };
    let Reply::Failed { exit_code, message } = *reply else { panic!("{reply:?}") };
    assert_eq!(exit_code, 125);
    assert!(message.contains("nobody-like-that"), "{message}");
    assert!(!state.join(SOCKET_NAME).exists());
    assert!(!PathBuf::from("/sys/fs/cgroup/pids/estiba-test").join(id).exists());
}

#[test]
fn a_command_that_is_not_there_is_127() {
    let lab = Lab::new(&["no-such-command"]);
    let mut container = match Monitored::try_create(lab) {
        Ok(container) => container,
        // It may be noticed before the gate or behind it.
        Err(reply) => {
            assert!(matches!(*reply, Reply::Failed { exit_code: 127, .. }), "{reply:?}");
            return;
        }
    };
    let Reply::Failed { exit_code, message } = container.ask(&Request::Start) else {
        panic!("started");
    };
    assert_eq!(exit_code, 127);
    assert!(message.contains("no-such-command"), "{message}");
    let exit = container.end();
    assert_eq!((exit.code, exit.started_at_ns), (127, None));
}

#[test]
fn an_unwanted_container_is_aborted() {
    let mut container = Monitored::create(Lab::sh("echo ran"));
    assert!(matches!(container.ask(&Request::Abort), Reply::Done));
    let exit = container.end();
    assert_eq!((exit.code, exit.started_at_ns), (137, None));
    assert_eq!(logged(&container.lab, Stream::Stdout), "");
}

#[test]
fn execs_with_input_users_and_codes() {
    let mut container = Monitored::started(Lab::sh("sleep 100"));
    let (output, exit) = container.exec(shell("e1", "cat; echo done; exit 3"), "typed\n");
    assert_eq!((output.as_str(), exit.code), ("typed\ndone\n", 3));
    let by_name = Exec { user: Some("app".into()), ..shell("e2", "id -u; echo err >/dev/stderr") };
    let (output, exit) = container.exec(by_name, "");
    assert_eq!((output.as_str(), exit.code), ("1000\nerr\n", 0));
    let mut on_terminal = shell("e3", "tty; stty size");
    on_terminal.process.terminal = true;
    on_terminal.process.console_size =
        Some(wire::oci::runtime::ConsoleSize { height: 33, width: 111 });
    on_terminal.attach = Some(outputs());
    let (output, exit) = container.exec(on_terminal, "");
    assert_eq!((output.as_str(), exit.code), ("/dev/pts/0\r\n33 111\r\n", 0));
    let mut missing = shell("e4", "");
    missing.process.args = vec!["no-such-command".into()];
    missing.attach = None;
    let reply = container.ask(&Request::Exec(Box::new(missing)));
    assert!(matches!(reply, Reply::Failed { exit_code: 127, .. }), "{reply:?}");
    let Reply::State(state) = container.ask(&Request::State) else { panic!("no state") };
    let exits: Vec<_> = state
        .execs
        .iter()
        .map(|exec| (exec.exec_id.as_str(), exec.exit.as_ref().unwrap().code))
        .collect();
    assert_eq!(exits, [("e1", 3), ("e2", 0), ("e3", 0)]);
    container.signal(9);
    assert_eq!(container.end().code, 137);
}

#[test]
fn execs_end_with_the_container() {
    let mut container = Monitored::started(Lab::sh("sleep 100"));
    let detached = Exec { attach: None, stdin_open: false, ..shell("e", "sleep 100") };
    let reply = container.ask(&Request::Exec(Box::new(detached)));
    assert!(matches!(reply, Reply::ExecStarted { .. }), "{reply:?}");
    container.signal(9);
    let Event::ExecExited { exec_id, exit } = container.event() else { panic!("another event") };
    assert_eq!((exec_id.as_str(), exit.signal), ("e", Some(9)));
    container.end();
}

#[test]
fn a_terminal_its_size_and_the_detach_keys() {
    let line = "trap 'stty size; exit 5' WINCH; echo ready; while :; do read x; echo got $x; done";
    let mut lab = Lab::sh(line);
    lab.process().terminal = true;
    lab.launch.stdin_open = true;
    let mut container = Monitored::create(lab);
    let keys = DEFAULT_DETACH_KEYS.to_vec();
    let options = AttachOptions { stdin: true, detach_keys: keys, ..outputs() };
    let mut client = container.attach(options);
    container.start();
    until(&client, "ready\r\n");
    client.write_all(b"hello\n").unwrap();
    until(&client, "got hello\r\n");
    client.write_all(&DEFAULT_DETACH_KEYS[..1]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(&DEFAULT_DETACH_KEYS[1..]).unwrap();
    assert_eq!(all(client), "");
    assert_eq!(container.event(), Event::Detached { process: ProcessId::Init });
    let client = container.attach(outputs());
    let size = TerminalSize { rows: 44, cols: 133 };
    container.ask(&Request::Resize { process: ProcessId::Init, size });
    assert_eq!(all(client), "44 133\r\n");
    assert_eq!(container.end().code, 5);
}

#[test]
fn the_end_of_input_reaches_the_container() {
    let mut lab = Lab::sh("wc -c");
    (lab.launch.stdin_open, lab.launch.stdin_once) = (true, true);
    let mut container = Monitored::started(lab);
    let mut client = container.attach(AttachOptions { stdin: true, ..outputs() });
    client.write_all(&[b'x'; 1_000_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(all(client), "1000000\n");
    assert_eq!(container.end().code, 0);
}

#[test]
fn a_hundred_megabytes_are_followed_through_rotation() {
    let line = "yes 0123456789012345678901234567890123456789012345678 | head -n 2000000";
    let mut lab = Lab::sh(line);
    std::os::unix::fs::symlink("busybox", lab.path("lower/bin/yes")).unwrap();
    lab.launch.stdin_open = false;
    let mut container = Monitored::create(lab);
    let path = log_path(&container.lab);
    let stop = Stop::new().unwrap();
    let options = ReadOptions { follow: true, ..ReadOptions::default() };
    let follower = read(&path, options, Some(stop.clone())).unwrap();
    let follower = std::thread::spawn(move || {
        let lines = follower.map(|entry| entry.unwrap().line);
        lines.fold((0, 0), |(count, bytes), line| (count + 1, bytes + line.len()))
    });
    container.start();
    let exit = container.end();
    assert_eq!(exit.code, 0);
    stop.stop();
    assert_eq!(follower.join().unwrap(), (2_000_000, 100_000_000));
    assert!(log_path(&container.lab).with_extension("log.5").exists());
}

#[test]
fn containers_survive_the_one_who_started_them() {
    let mut lab = Lab::sh("while read x; do echo got $x; done; echo end");
    (lab.launch.stdin_open, lab.launch.stdin_once) = (true, true);
    lab.launch.log = LogConfig::None;
    // A daemon of its own process: it creates, starts, attaches a client, and is killed.
    let order = lab.path("order.json");
    std::fs::write(&order, serde_json::to_vec(&lab.launch).unwrap()).unwrap();
    let (mut client, theirs) = pair();
    let mut daemon = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_daemon_of_another_test", "--ignored", "--nocapture"])
        .env("ESTIBA_TEST_ORDER", &order)
        .stdin(OwnedFd::from(theirs))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    client.write_all(b"one\n").unwrap();
    until(&client, "got one\n");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    client.write_all(b"two\n").unwrap();
    until(&client, "got two\n");

    let mut connection = Connection::connect(&lab.launch.state_dir).unwrap();
    connection.send(&Request::State, &[]).unwrap();
    let (Message::Reply(1, Reply::State(state)), _) = connection.recv().unwrap().unwrap() else {
        panic!("no state");
    };
    assert_eq!(state.phase, Phase::Running);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(all(client), "end\n");
    let (Message::Event(Event::Exited { exit }), _) = connection.recv().unwrap().unwrap() else {
        panic!("no exit");
    };
    assert_eq!((exit.code, exit.started_at_ns), (0, state.started_at_ns));
    assert!(connection.recv().unwrap().is_none());
    assert!(Connection::connect(&lab.launch.state_dir).is_err());
    let written = std::fs::read(lab.launch.state_dir.join(EXIT_NAME)).unwrap();
    assert_eq!(serde_json::from_slice::<Exit>(&written).unwrap(), exit);
}

/// Not a test: the process that [`containers_survive_the_one_who_started_them`] kills.
#[test]
#[ignore = "run by another test"]
fn the_daemon_of_another_test() {
    let order = std::fs::read(std::env::var("ESTIBA_TEST_ORDER").unwrap()).unwrap();
    let (mut connection, _) = launch(&serde_json::from_slice(&order).unwrap());
    connection.recv().unwrap().unwrap();
    let options = AttachOptions { stdin: true, ..outputs() };
    let attach = Request::Attach(Attach { process: ProcessId::Init, options });
    connection.send(&attach, &[std::io::stdin().as_fd()]).unwrap();
    connection.send(&Request::Start, &[]).unwrap();
    std::thread::sleep(PATIENCE);
}

#[test]
fn memory_that_runs_out_is_told() {
    let mut lab = Lab::sh("dd if=/dev/zero of=/dev/null bs=200M count=1");
    let limit = wire::oci::runtime::Memory { limit: Some(20 << 20), ..Default::default() };
    lab.linux().resources =
        Some(wire::oci::runtime::Resources { memory: Some(limit), ..Default::default() });
    let mut container = Monitored::started(lab);
    assert_eq!(container.event(), Event::Oom);
    let exit = container.end();
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!(exit.code, 137);
}

#[test]
fn an_idle_monitor_is_small() {
    let mut container = Monitored::started(Lab::sh("sleep 100"));
    let (_, exit) = container.exec(shell("e", "true"), "");
    assert_eq!(exit.code, 0);
    // The law is 256 KiB; a debug build's code is larger.
    let limit_kib = if cfg!(debug_assertions) { 2000 } else { 256 };
    let before = Instant::now();
    let mut pss_kib = usize::MAX;
    while pss_kib > limit_kib && before.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(200));
        let rollup =
            std::fs::read_to_string(format!("/proc/{}/smaps_rollup", container.pid)).unwrap();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        pss_kib = pss.trim().trim_end_matches(" kB").parse().unwrap();
    }
    println!("an idle monitor: {pss_kib} KiB PSS");
    assert!(pss_kib <= limit_kib, "{pss_kib} KiB");
    container.signal(9);
    container.end();
}

/// Hears that the container was created, and has it aborted.
fn created_and_aborted(connection: &mut Connection) {
    let created = loop {
        match connection.recv().unwrap().expect("the outcome of the launch").0 {
            Message::Event(Event::Begun) => {}
            other => break other,
        }
    };
    assert!(matches!(created, Message::Reply(LAUNCH, Reply::Created { .. })), "{created:?}");
    connection.send(&Request::Abort, &[]).unwrap();
}

#[test]
fn a_monitor_waits_for_its_order_and_ends_without_one() {
    let program = std::fs::File::open(env!("CARGO_BIN_EXE_estiba-runtime")).unwrap();
    let standby = || Standby::spawn(program.as_fd()).unwrap();
    // Mounts that come after it are there for its container all the same: it has none of its own.
    let mut lab = Lab::new(&["echo", "hello"]);
    let ready = standby();
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    assert_eq!(namespace(&ready.pid().to_string()), namespace("self"));
    lab.launch.log = LogConfig::None;
    let (mut connection, pid) = ready.launch(&lab.launch).unwrap();
    created_and_aborted(&mut connection);
    reap(pid);
    let unused = standby();
    let pid = unused.pid();
    drop(unused);
    reap(pid);
    let dead = standby();
    let pid = rustix::process::Pid::from_raw(dead.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    reap(dead.pid());
    assert!(dead.launch(&lab.launch).is_err());
}

#[test]
fn a_zygote_forks_monitors_that_are_the_callers_and_outlive_it() {
    let program = std::fs::File::open(env!("CARGO_BIN_EXE_estiba-runtime")).unwrap();
    let zygote = Zygote::spawn(program.as_fd()).unwrap();
    let mut lab = Lab::new(&["echo", "hello"]);
    lab.launch.log = LogConfig::None;
    let (first, unused) = (zygote.fork().unwrap(), zygote.fork().unwrap());
    let shown = |pid: i32, what: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix(what).map(|it| it.trim().to_owned()))
    };
    let own = Some(std::process::id().to_string());
    assert_eq!((shown(first.pid(), "PPid:"), shown(unused.pid(), "PPid:")), (own.clone(), own));
    // Each takes a session of its own and, of descriptors, keeps three standard streams, its
    // connection and its order.
    let session = || shown(first.pid(), "NSsid:");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", first.pid())).unwrap().count();
    let alone = (Some(first.pid().to_string()), 5);
    let patience = Instant::now() + Duration::from_secs(30);
    while (session(), open()) != alone && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((session(), open()), alone);
    let (pid, idle) = (zygote.pid(), unused.pid());
    drop(zygote);
    reap(pid);
    drop(unused);
    reap(idle);
    let (mut connection, pid) = first.launch(&lab.launch).unwrap();
    created_and_aborted(&mut connection);
    reap(pid);
}

#[test]
fn a_zygote_that_is_gone_forks_nothing() {
    let program = std::fs::File::open(env!("CARGO_BIN_EXE_estiba-runtime")).unwrap();
    let zygote = Zygote::spawn(program.as_fd()).unwrap();
    let pid = rustix::process::Pid::from_raw(zygote.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    reap(zygote.pid());
    assert!(zygote.fork().is_err());
}
