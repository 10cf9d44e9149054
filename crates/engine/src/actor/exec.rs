//! Further processes in a running container: under everything that its first process is under.

use super::{Actor, ExecOrder, attach, reply};
use crate::streams::{AttachOptions, ClientStream, Stream, StreamKind};
use crate::{EngineError, Result, bundle};
use model::ExecId;
use model::exec::{ExecDraft, ExecState};
use model::phase::Phase;
use model::spec::ContainerSpec;
use model::step::Refusal;
use runtime::monitor::protocol::{self, Reply, Request};
use std::os::fd::{AsFd, BorrowedFd};
use wire::oci::runtime as oci;

/// Exit code of an exec that could not be started, when nothing more is known.
const EXIT_NOT_STARTED: i32 = 126;

impl Actor {
    /// Starts a registered exec.
    pub(super) async fn exec(&mut self, order: ExecOrder) {
        let ExecOrder { id, draft, client, answer } = order;
        let outcome = self.start_exec(&id, &draft, client).await;
        reply(answer, outcome);
        self.publish();
    }

    async fn start_exec(
        &mut self,
        id: &ExecId,
        draft: &ExecDraft,
        client: Option<(ClientStream, StreamKind)>,
    ) -> Result<()> {
        // The client's answer has begun already, so a late refusal goes its way too.
        let launched = match self.check_exec() {
            Ok(()) => self.launch_exec(id, draft, client.as_ref()).await,
            Err(refused) => Err(refused),
        };
        match launched {
            Ok(pid) => {
                store::failpoint::hit("engine.exec.started");
                self.node.execs.set(id, ExecState::Running { pid });
                let line = draft.command.join(" ");
                self.emit(&format!("exec_start: {line}"), &[("execID", id.to_string())]);
                Ok(())
            }
            Err(error) => {
                let (code, error) = match error {
                    EngineError::Launch { exit_code, message } => {
                        let message = format!("OCI runtime exec failed: exec failed: {message}");
                        // As Docker: whatever is not a missing command could not be executed.
                        let exit_code = if exit_code == 127 { 127 } else { 126 };
                        (exit_code, EngineError::Exec { exit_code, message })
                    }
                    error => (EXIT_NOT_STARTED, error),
                };
                self.node.execs.set(id, ExecState::Exited { pid: 0, code });
                tell(client, &error);
                Err(error)
            }
        }
    }

    fn check_exec(&self) -> Result<()> {
        let id = &self.definition.id;
        match self.state.phase {
            Phase::Running(_) | Phase::Stopping(_) => Ok(()),
            Phase::Paused(_) => Err(EngineError::conflict(format!(
                "Container {id} is paused, unpause the container before exec"
            ))),
            Phase::Restarting { .. } => Err(self.refused(Refusal::Restarting)),
            _ => Err(self.refused(Refusal::NotRunning)),
        }
    }

    async fn launch_exec(
        &mut self,
        id: &ExecId,
        draft: &ExecDraft,
        client: Option<&(ClientStream, StreamKind)>,
    ) -> Result<i32> {
        let options = AttachOptions {
            stdin: draft.attach_stdin,
            stdout: draft.attach_stdout,
            stderr: draft.attach_stderr,
            logs: false,
            stream: true,
            detach_keys: draft.detach_keys.clone(),
            framed: client.is_some_and(|(_, kind)| *kind == StreamKind::Framed),
        };
        let attach =
            client.map(|(client, _)| attach::monitor_options(&options, client)).transpose()?;
        let fds: Vec<_> = client.iter().map(|(client, _)| client.fd.as_fd()).collect();
        self.launch_process(id.to_string(), draft, attach, &fds).await
    }

    /// Starts a further process, whoever wants it: the only way there is, so that all of them are
    /// under the same laws. Returns its pid.
    pub(super) async fn launch_process(
        &mut self,
        exec_id: String,
        draft: &ExecDraft,
        attach: Option<protocol::AttachOptions>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<i32> {
        let available = &self.node.facts.capabilities.available;
        let user = if draft.user.is_empty() { &self.definition.spec.user } else { &draft.user };
        let request = Request::Exec(Box::new(protocol::Exec {
            exec_id,
            process: process(&self.definition.spec, draft, available),
            user: (!user.is_empty()).then(|| user.clone()),
            stdin_open: draft.attach_stdin,
            attach,
        }));
        let Some(link) = self.link.as_mut() else { return Err(self.refused(Refusal::NotRunning)) };
        store::failpoint::hit("engine.exec.ask");
        match link.call(&request, fds).await? {
            Reply::ExecStarted { pid } => {
                store::failpoint::hit("engine.exec.told");
                Ok(pid)
            }
            _ => Err(EngineError::internal("the monitor does not say what it started")),
        }
    }

    /// An exec is over.
    pub(super) async fn exec_exited(&mut self, exec_id: &str, code: i32) {
        if self.probe_exited(exec_id, code).await {
            return;
        }
        let Ok(id) = ExecId::parse(exec_id) else { return };
        store::failpoint::hit("engine.exec.ended");
        self.node.execs.ended(&id, code);
        self.emit("exec_die", &[("execID", id.to_string()), ("exitCode", code.to_string())]);
    }
}

/// The process in the runtime's words. What it does not name is the first process's.
fn process(spec: &ContainerSpec, draft: &ExecDraft, available: &[String]) -> oci::Process {
    let mut env = spec.env.clone();
    let terminal = draft.tty.then(|| "TERM=xterm".to_owned());
    for entry in terminal.iter().chain(&draft.env) {
        let name = entry.split('=').next().unwrap_or_default();
        env.retain(|known| known.split('=').next() != Some(name));
        if entry.contains('=') {
            env.push(entry.clone());
        }
    }
    let workdir = if draft.workdir.is_empty() { &spec.workdir } else { &draft.workdir };
    oci::Process {
        terminal: draft.tty,
        console_size: draft
            .console_size
            .map(|(rows, cols)| oci::ConsoleSize { height: rows.into(), width: cols.into() }),
        args: draft.command.clone(),
        env,
        cwd: workdir.clone(),
        capabilities: Some(bundle::capabilities(if draft.privileged {
            available
        } else {
            &spec.isolation.capabilities
        })),
        no_new_privileges: spec.isolation.no_new_privileges && !draft.privileged,
        apparmor_profile: spec.isolation.apparmor.clone(),
        selinux_label: spec.isolation.selinux.process.clone(),
        ..Default::default()
    }
}

/// The client's answer has begun: a failure is told where the output would have been.
fn tell(client: Option<(ClientStream, StreamKind)>, error: &EngineError) {
    let Some((client, kind)) = client else { return };
    let text = format!("{error}\r\n");
    let stream = (kind == StreamKind::Framed).then_some(Stream::Stdout);
    // It may have left.
    let _ = attach::write_output(client.fd.as_fd(), stream, text.as_bytes());
}
