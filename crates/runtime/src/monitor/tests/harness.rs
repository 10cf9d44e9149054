//! A monitor on a thread, with a plain process for a container.

use super::super::client::Connection;
use super::super::control::{Control, Listener};
use super::super::log::{JsonFile, LogConfig, LogWriter};
use super::super::process::Process;
use super::super::protocol::*;
use super::super::sandbox::Sandbox;
use super::super::server::{Monitor, Parts};
use super::super::stdio::{self, Ends, Wanted};
use crate::container::Stdio;
use crate::error::LaunchError;
use crate::exec::Execed;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pty::OpenptFlags;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;
use sys::Pidfd;
use wire::oci::runtime::Process as Spec;

/// How long a test waits for anything before it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Setup {
    pub(super) script: &'static str,
    pub(super) terminal: bool,
    pub(super) stdin_open: bool,
    pub(super) stdin_once: bool,
    pub(super) max_size: Option<u64>,
    pub(super) max_file: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            script: "true",
            terminal: false,
            stdin_open: false,
            stdin_once: false,
            max_size: None,
            max_file: 1,
        }
    }
}

/// The daemon's view of a monitor under test.
pub(super) struct Rig {
    pub(super) connection: Connection,
    pub(super) directory: tempfile::TempDir,
    pub(super) pid: i32,
    events: Vec<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    pub(super) fn new(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = LogConfig::JsonFile(JsonFile {
            path: directory.path().join("c-json.log"),
            max_size: setup.max_size,
            max_file: setup.max_file,
            compress: false,
            attrs: Default::default(),
        });
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap()
        };
        let wanted = Wanted { terminal: setup.terminal.then_some(None), stdin: setup.stdin_open };
        let (stdio, ends) = stdio::open(wanted).unwrap();
        let (gate, opener) = UnixStream::pair().unwrap();
        let execed = spawn(setup.script, stdio, Some(gate.into()));
        let ends = match execed.console {
            Some(console) => Ends::of_terminal(console, setup.stdin_open).unwrap(),
            None => ends,
        };
        let pidfd = Pidfd::from(execed.pidfd);
        let mut init = Process::new(ProcessId::Init, 0, execed.pid, pidfd, ends);
        init.terminal = setup.terminal;
        init.stdin_once = setup.stdin_once;
        let parts = Parts {
            id: "c".into(),
            state_dir: open(),
            sandbox: Plain { gate: Some(opener) },
            listener: Listener::bind(open()).unwrap(),
            init,
            log: LogWriter::open(&log).unwrap(),
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            Monitor::new(parts, Control::new(theirs.into())).run();
        });
        let connection = Connection::from_fd(ours.into());
        let pid = execed.pid;
        Self { connection, directory, pid, events: Vec::new(), thread: Some(thread) }
    }

    /// A started one.
    pub(super) fn started(setup: Setup) -> Self {
        let mut rig = Self::new(setup);
        rig.start();
        rig
    }

    pub(super) fn start(&mut self) {
        let reply = self.ask(&Request::Start);
        assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
    }

    pub(super) fn ask(&mut self, request: &Request) -> Reply {
        self.ask_with(request, &[])
    }

    pub(super) fn ask_with(&mut self, request: &Request, sockets: &[&UnixStream]) -> Reply {
        let fds: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        let id = self.connection.send(request, &fds).unwrap();
        loop {
            match self.connection.recv().unwrap().expect("monitor is there").0 {
                Message::Reply(reply_id, reply) => {
                    assert_eq!(reply_id, id);
                    return reply;
                }
                Message::Event(event) => self.events.push(event),
            }
        }
    }

    pub(super) fn attach(&mut self, process: ProcessId, options: AttachOptions) -> UnixStream {
        let (ours, theirs) = client_pair();
        let reply = self.ask_with(&Request::Attach(Attach { process, options }), &[&theirs]);
        assert!(matches!(reply, Reply::Done), "{reply:?}");
        ours
    }

    /// The next event.
    pub(super) fn event(&mut self) -> Event {
        if !self.events.is_empty() {
            return self.events.remove(0);
        }
        match self.connection.recv().unwrap().expect("an event before the end").0 {
            Message::Event(event) => event,
            Message::Reply(id, reply) => panic!("reply {id} to nothing: {reply:?}"),
        }
    }

    /// Waits for the end of the container.
    pub(super) fn exit(&mut self) -> Exit {
        loop {
            if let Event::Exited { exit } = self.event() {
                return exit;
            }
        }
    }

    /// Waits for the end of the monitor.
    pub(super) fn finish(&mut self) {
        assert!(self.connection.recv().unwrap().is_none());
        self.thread.take().unwrap().join().unwrap();
    }

    /// The log's lines, of all files in order, joined.
    pub(super) fn log(&self) -> String {
        let mut text = String::new();
        for index in (0..20).rev() {
            let suffix = if index == 0 { String::new() } else { format!(".{index}") };
            let path = self.directory.path().join(format!("c-json.log{suffix}"));
            text += &std::fs::read_to_string(path).unwrap_or_default();
        }
        text.lines()
            .map(|line| {
                let entry: serde_json::Value = serde_json::from_str(line).unwrap();
                entry["log"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.thread.is_some()
            && let Some(pid) = rustix::process::Pid::from_raw(self.pid)
        {
            // The monitor of a failed test ends with its container.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A client's socket and the one for the monitor.
pub(super) fn client_pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    ours.set_write_timeout(Some(PATIENCE)).unwrap();
    (ours, theirs)
}

/// Everything until the monitor closes its side.
pub(super) fn read_all(mut socket: &UnixStream) -> String {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads until what was read ends in `end`.
pub(super) fn read_until(mut socket: &UnixStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end.as_bytes()) {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Both outputs, unframed.
pub(super) fn outputs() -> AttachOptions {
    AttachOptions { stdout: true, stderr: true, ..AttachOptions::default() }
}

/// A shell as an exec'd process.
pub(super) fn shell(script: &str, terminal: bool) -> Spec {
    Spec { terminal, args: vec!["sh".into(), "-c".into(), script.into()], ..Spec::default() }
}

/// Plain processes for a container.
struct Plain {
    gate: Option<UnixStream>,
}

impl Sandbox for Plain {
    fn start(&mut self) -> Result<(), LaunchError> {
        self.gate.take().unwrap().write_all(b"go\n").unwrap();
        Ok(())
    }

    fn exec(
        &mut self,
        process: &Spec,
        _: Option<&str>,
        stdio: Stdio,
    ) -> Result<Execed, LaunchError> {
        match process.args.as_slice() {
            [_, _, script] => Ok(spawn(script, stdio, None)),
            _ => Err(LaunchError::invalid("exec: not a shell")
                .of_kind(crate::error::FailureKind::NotFound)),
        }
    }

    fn processes(&self) -> Vec<i32> {
        Vec::new()
    }

    fn cgroup_path(&self) -> String {
        "/c".into()
    }

    fn kill(&self) {}

    fn watch_oom(&self) -> Option<crate::cgroup::OomWatch> {
        None
    }

    fn oom_kills(&self) -> u64 {
        0
    }

    fn remove(&mut self) {}
}

/// A shell that waits for the gate, if there is one, and runs `script`.
fn spawn(script: &str, stdio: Stdio, gate: Option<OwnedFd>) -> Execed {
    let mut script = script.to_owned();
    let (streams, console) = match stdio {
        Stdio::Null => (None, None),
        Stdio::Fds { stdin, stdout, stderr } => (Some([stdin, stdout, stderr]), None),
        Stdio::Terminal { .. } => {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let master = rustix::pty::openpt(flags).unwrap();
            rustix::pty::grantpt(&master).unwrap();
            let slave = sys::tty::peer(master.as_fd()).unwrap();
            let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
            // Opening it by name makes it the controlling terminal.
            let name = name.to_str().unwrap();
            script = format!("exec <{name} >{name} 2>&1; {script}");
            let copy = || slave.try_clone().unwrap();
            (Some([copy(), copy(), slave]), Some(master))
        }
    };
    if gate.is_some() {
        script = format!("read go <&3 || exit 99; exec 3<&-; {script}");
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let shell = rustix::fs::open("/bin/busybox", flags, Mode::empty()).unwrap();
    let script = std::ffi::CString::new(script).unwrap();
    let args = [c"sh", c"-c", script.as_c_str()];
    let mut order = sys::spawn::Spawn::new(shell.as_fd(), &args);
    for (place, stream) in (0..).zip(streams.iter().flatten()) {
        order = order.fd(stream.as_fd(), place);
    }
    if let Some(gate) = &gate {
        order = order.fd(gate.as_fd(), 3);
    }
    let pid = order.spawn().unwrap();
    Execed { pid, pidfd: Pidfd::open(pid).unwrap().into_fd(), console }
}

/// A socket of another kind.
pub(super) fn datagram_socket() -> OwnedFd {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .unwrap()
}
