//! What each request does.

use super::attached::{Attached, Sent};
use super::process::Process;
use super::protocol::{
    Attach, AttachOptions, ErrorKind, Exec, ExecState, MAX_ATTACHED, MAX_LIVE_EXECS, Phase,
    ProcessId, Reply, Request, RequestFrame, State, TerminalSize, VERSION,
};
use super::sandbox::Sandbox;
use super::server::{Monitor, wall_clock_ns};
use super::stdio::{self, Ends, Wanted};
use crate::error::EXIT_RUNTIME;
use crate::exec::Execed;
use std::os::fd::OwnedFd;
use std::time::Instant;
use sys::Pidfd;

/// A request that cannot be granted.
struct Refusal(ErrorKind, String);

impl From<Refusal> for Reply {
    fn from(Refusal(kind, message): Refusal) -> Self {
        Self::Error { kind, message }
    }
}

type Granted = Result<Reply, Refusal>;

impl<S: Sandbox> Monitor<S> {
    /// Does what connection `index` asks, and answers.
    pub(super) fn handle(&mut self, index: usize, frame: RequestFrame, fds: Vec<OwnedFd>) {
        let reply = match frame.request {
            Request::Hello { .. } => Ok(Reply::Hello { version: VERSION }),
            Request::Start => self.start(),
            Request::Attach(attach) => self.attach(attach, fds),
            Request::Exec(exec) => self.exec(*exec, fds),
            Request::Signal { process, signal } => self.signal(&process, signal),
            Request::SignalAll { signal } => {
                self.signal_all(signal);
                Ok(Reply::Done)
            }
            Request::Resize { process, size } => self.resize(&process, size),
            Request::CloseStdin { process } => self.living(&process).map(|process| {
                process.close_stdin();
                Reply::Done
            }),
            Request::State => Ok(Reply::State(self.state())),
            Request::Abort => self.abort(),
            Request::Quit => self.quit(),
            Request::Unknown => Err(Refusal(
                ErrorKind::Unsupported,
                format!("unknown request; this monitor speaks version {VERSION}"),
            )),
        };
        let reply = reply.unwrap_or_else(Reply::from);
        self.connections[index].reply(frame.id, reply, &[]);
    }

    fn start(&mut self) -> Granted {
        self.in_phase(Phase::Created, "start container")?;
        match self.sandbox.start() {
            Ok(()) => {
                let started_at_ns = wall_clock_ns();
                self.started_at_ns = Some(started_at_ns);
                self.phase = Phase::Running;
                Ok(Reply::Started { started_at_ns })
            }
            Err(error) => {
                self.init_never_ran(error.exit_code());
                Ok(Reply::Failed { exit_code: error.exit_code(), message: error.message() })
            }
        }
    }

    fn attach(&mut self, attach: Attach, fds: Vec<OwnedFd>) -> Granted {
        let process = self.living(&attach.process)?;
        let (serial, terminal, stdin) =
            (process.serial, process.terminal, process.ends.stdin.is_some());
        let mut options = attach.options;
        options.stdin &= stdin;
        let client = self.client(serial, terminal, &options, fds)?;
        self.admit(client, &options);
        Ok(Reply::Done)
    }

    /// Makes a client of the socket that came with a request.
    fn client(
        &self,
        serial: u64,
        terminal: bool,
        options: &AttachOptions,
        fds: Vec<OwnedFd>,
    ) -> Result<Attached, Refusal> {
        if self.clients.len() >= MAX_ATTACHED {
            let message = format!("attach: {MAX_ATTACHED} clients are attached already");
            return Err(Refusal(ErrorKind::Exhausted, message));
        }
        let socket = fds.into_iter().next().ok_or_else(|| {
            Refusal(ErrorKind::Invalid, "attach: no socket came with the request".into())
        })?;
        if rustix::net::sockopt::socket_type(&socket) != Ok(rustix::net::SocketType::STREAM) {
            return Err(Refusal(ErrorKind::Invalid, "attach: not a stream socket".into()));
        }
        Attached::new(socket, serial, options, terminal)
            .map_err(|error| Refusal(ErrorKind::System, format!("attach: {error}")))
    }

    fn admit(&mut self, mut client: Attached, options: &AttachOptions) {
        client.send_preamble(&options.preamble);
        let sent = match options.initial.as_slice() {
            [] => Sent::Nothing,
            initial => client.accept(initial),
        };
        self.clients.push(client);
        self.take_input(self.clients.len() - 1, sent);
    }

    fn exec(&mut self, exec: Exec, fds: Vec<OwnedFd>) -> Granted {
        self.in_phase(Phase::Running, "exec in container")?;
        let id = ProcessId::Exec(exec.exec_id);
        if self.processes.iter().any(|process| process.id == id) {
            return Err(Refusal(ErrorKind::Conflict, "exec in container: its id is taken".into()));
        }
        if self.processes.len() > MAX_LIVE_EXECS {
            let message = format!("exec in container: {MAX_LIVE_EXECS} execs are running");
            return Err(Refusal(ErrorKind::Exhausted, message));
        }
        let serial = self.last_serial + 1;
        let wanted = Wanted::new(&exec.process, exec.stdin_open);
        let terminal = wanted.terminal.is_some();
        let client = match &exec.attach {
            Some(options) => {
                let options =
                    AttachOptions { stdin: options.stdin && exec.stdin_open, ..options.clone() };
                Some((self.client(serial, terminal, &options, fds)?, options))
            }
            None => None,
        };
        let (stdio, ends) = stdio::open(wanted)
            .map_err(|error| Refusal(ErrorKind::System, format!("exec: {error}")))?;
        let execed = match self.sandbox.exec(&exec.process, exec.user.as_deref(), stdio) {
            Ok(execed) => execed,
            Err(error) => {
                let (exit_code, message) = (error.exit_code(), error.message());
                return Ok(Reply::Failed { exit_code, message });
            }
        };
        sys::failpoint::hit("runtime.exec.made");
        self.last_serial = serial;
        let reply = self.adopt(id, serial, execed, ends, wanted);
        if let Some((client, options)) = client {
            self.admit(client, &options);
        }
        Ok(reply)
    }

    /// Becomes the keeper of an exec'd process.
    fn adopt(
        &mut self,
        id: ProcessId,
        serial: u64,
        execed: Execed,
        ends: Ends,
        wanted: Wanted,
    ) -> Reply {
        let pidfd = Pidfd::from(execed.pidfd);
        let ends = match execed.console {
            Some(console) => Ends::of_terminal(console, wanted.stdin),
            None => Ok(ends),
        };
        let (ends, reply) = match ends {
            Ok(ends) => (ends, Reply::ExecStarted { pid: execed.pid }),
            Err(error) => {
                // Without its terminal it is of no use; its end is seen as any other's.
                let _ = pidfd.send_signal(rustix::process::Signal::KILL.as_raw());
                let message = format!("take over the terminal: {error}");
                (Ends::default(), Reply::Failed { exit_code: EXIT_RUNTIME, message })
            }
        };
        let mut process = Process::new(id, serial, execed.pid, pidfd, ends);
        process.terminal = wanted.terminal.is_some();
        process.stdin_once = true;
        self.processes.push(process);
        reply
    }

    fn signal(&mut self, id: &ProcessId, signal: i32) -> Granted {
        match self.living(id)?.pidfd.send_signal(signal) {
            Ok(()) => Ok(Reply::Done),
            Err(error) => Err(Refusal(ErrorKind::System, error.to_string())),
        }
    }

    /// Sends a signal to everything in the container. A process id is only trusted while the
    /// process that has it is known to be in the container: it is listed again after its pidfd
    /// was opened.
    fn signal_all(&self, signal: i32) {
        if signal == rustix::process::Signal::KILL.as_raw() {
            return self.sandbox.kill();
        }
        let pidfds: Vec<_> = self
            .sandbox
            .processes()
            .into_iter()
            .filter_map(|pid| Some((pid, Pidfd::open(pid).ok()?)))
            .collect();
        let still_there = self.sandbox.processes();
        for (pid, pidfd) in pidfds {
            if still_there.contains(&pid) {
                // It may have ended by itself.
                let _ = pidfd.send_signal(signal);
            }
        }
    }

    fn resize(&mut self, id: &ProcessId, size: TerminalSize) -> Granted {
        let process = self.living(id)?;
        // Clients resize what they run without asking whether it has a terminal.
        let Some(console) = process.ends.stdout.as_ref().filter(|_| process.terminal) else {
            return Ok(Reply::Done);
        };
        sys::tty::set_size(std::os::fd::AsFd::as_fd(console), size.rows, size.cols)
            .map_err(|error| Refusal(ErrorKind::System, format!("resize terminal: {error}")))?;
        Ok(Reply::Done)
    }

    fn abort(&mut self) -> Granted {
        self.in_phase(Phase::Created, "abort container")?;
        self.signal(&ProcessId::Init, rustix::process::Signal::KILL.as_raw())
    }

    fn quit(&mut self) -> Granted {
        self.in_phase(Phase::Exited, "quit")?;
        self.conclude(Instant::now());
        self.clients.clear();
        Ok(Reply::Done)
    }

    fn state(&self) -> State {
        let living = self.processes.iter().filter_map(|process| match &process.id {
            ProcessId::Init => None,
            ProcessId::Exec(exec_id) => Some(ExecState {
                exec_id: exec_id.clone(),
                pid: process.pid,
                exit: process.exit.clone(),
            }),
        });
        State {
            version: VERSION,
            id: self.id.clone(),
            phase: self.phase,
            pid: self.processes[0].pid,
            started_at_ns: self.started_at_ns,
            exit: self.processes[0].exit.clone(),
            execs: living.chain(self.finished_execs.iter().cloned()).collect(),
            cgroup: self.sandbox.cgroup_path(),
            log_lost_entries: self.log.lost_entries(),
        }
    }

    fn in_phase(&self, phase: Phase, act: &str) -> Result<(), Refusal> {
        if self.phase == phase {
            return Ok(());
        }
        let now = match self.phase {
            Phase::Created => "not started",
            Phase::Running => "running",
            Phase::Exited => "exited",
        };
        Err(Refusal(ErrorKind::Conflict, format!("{act}: the container is {now}")))
    }

    fn living(&mut self, id: &ProcessId) -> Result<&mut Process, Refusal> {
        let found = self.processes.iter_mut().find(|process| &process.id == id);
        found.filter(|process| process.exit.is_none()).ok_or_else(|| {
            let name = match id {
                ProcessId::Init => "the container's init",
                ProcessId::Exec(exec_id) => exec_id,
            };
            Refusal(ErrorKind::NotFound, format!("{name} is not running"))
        })
    }
}
