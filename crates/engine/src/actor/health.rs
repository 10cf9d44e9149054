//! Health checks: a command run in the container on a schedule, its outcome counted.

use super::Actor;
use crate::metrics::Timed;
use crate::{clock, random};
use model::draft::OnUnhealthy;
use model::exec::ExecDraft;
use model::phase::Phase;
use model::signal::Signal;
use model::spec::HealthSpec;
use model::step::Input;
use model::view::{HealthResult, HealthView};
use model::{ExecId, Timestamp};
use runtime::monitor::protocol::{self, ProcessId, Request};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the stream of a check that was killed may take to end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Bytes of output kept of one check; Docker's number.
const MAX_OUTPUT_BYTES: u64 = 4096;

/// Results kept.
const MAX_RESULTS: usize = 5;

/// The schedule of a running container's check.
pub(super) struct Check {
    spec: HealthSpec,
    /// The start period ends then.
    grace_until: Instant,
    /// The next check, or the end of the patience with the one that runs.
    due: Instant,
    probe: Option<Probe>,
    /// A check succeeded in this run.
    proven: bool,
}

/// A check that runs.
struct Probe {
    exec_id: String,
    start: Timestamp,
    output: JoinHandle<Vec<u8>>,
}

impl Actor {
    /// The container starts, and with it the schedule.
    pub(super) fn start_health(&mut self) {
        let Some(spec) = self.definition.spec.health.clone() else { return };
        let now = Instant::now();
        let grace_until = now + Duration::from_nanos(spec.start_period_ns);
        let check = Check { grace_until, due: now, probe: None, proven: false, spec };
        let due = now + check.pause(now);
        self.health = Some(Check { due, ..check });
        self.health_view = Some(HealthView { status: "starting", ..HealthView::default() });
    }

    /// When the schedule wants attention.
    pub(super) fn health_due(&self) -> Option<Instant> {
        self.health.as_ref().map(|check| check.due)
    }

    /// Starts a check, or gives up on the one that runs.
    pub(super) async fn probe(&mut self) {
        let Some(check) = self.health.as_mut() else { return };
        if let Some(probe) = check.probe.take() {
            let request =
                Request::Signal { process: ProcessId::Exec(probe.exec_id.clone()), signal: 9 };
            let timeout = Duration::from_nanos(check.spec.timeout_ns);
            // It may just have ended.
            let _ = self.ask(&request).await;
            // What it said by now; its stream ends with it, unless a child of its holds that.
            let said = tokio::time::timeout(LAST_WORDS, probe.output).await;
            let said = said.ok().and_then(Result::ok).unwrap_or_default();
            let mut output = format!("Health check exceeded timeout ({timeout:?})");
            if !said.is_empty() {
                output.push_str(": ");
                output.push_str(&String::from_utf8_lossy(&said));
            }
            return self.judge(probe.start, -1, output).await;
        }
        check.due = Instant::now() + Duration::from_nanos(check.spec.timeout_ns);
        if let Err(error) = self.start_probe().await {
            self.judge(clock::now(), -1, error.to_string()).await;
        }
    }

    async fn start_probe(&mut self) -> crate::Result<()> {
        let begun = Instant::now();
        let Some(check) = self.health.as_ref() else { return Ok(()) };
        let draft = ExecDraft { command: check.spec.command.clone(), ..ExecDraft::default() };
        let exec_id = ExecId::from_bytes(random::id_bytes()?).to_string();
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| crate::EngineError::io("make a health check's socket", errno))?;
        let attach = protocol::AttachOptions {
            stdout: true,
            stderr: true,
            ..protocol::AttachOptions::default()
        };
        let start = clock::now();
        let fds = [theirs.as_fd()];
        self.launch_process(exec_id.clone(), &draft, Some(attach), &fds).await?;
        drop(theirs);
        self.node.metrics.note(Timed::HealthCheckStart, begun);
        let output = tokio::task::spawn_blocking(move || read_output(ours));
        if let Some(check) = self.health.as_mut() {
            check.probe = Some(Probe { exec_id, start, output });
        }
        Ok(())
    }

    /// An exec is over: whether it was the check that runs, which is judged then.
    pub(super) async fn probe_exited(&mut self, exec_id: &str, code: i32) -> bool {
        let Some(check) = self.health.as_mut() else { return false };
        let Some(probe) = check.probe.take_if(|probe| probe.exec_id == exec_id) else {
            return false;
        };
        // Its stream ends right after its exit is told.
        let output = probe.output.await.unwrap_or_default();
        self.judge(probe.start, code, String::from_utf8_lossy(&output).into_owned()).await;
        true
    }

    async fn judge(&mut self, start: Timestamp, exit_code: i32, output: String) {
        let (Some(check), Some(view)) = (self.health.as_mut(), self.health_view.as_mut()) else {
            return;
        };
        self.node.metrics.note_check(exit_code != 0);
        let now = Instant::now();
        let before = view.status;
        if exit_code == 0 {
            view.failing_streak = 0;
            view.status = "healthy";
            check.proven = true;
            self.state.heal = false;
        } else if before != "starting" || now >= check.grace_until {
            view.failing_streak = view.failing_streak.saturating_add(1);
            if view.failing_streak >= check.spec.retries {
                view.status = "unhealthy";
            }
        }
        if view.log.len() == MAX_RESULTS {
            view.log.remove(0);
        }
        view.log.push(HealthResult { start, end: clock::now(), exit_code, output });
        let status = view.status;
        check.due = now + check.pause_when(now, status);
        self.publish();
        if status != before {
            self.emit(&format!("health_status: {status}"), &[]);
        }
        if status == "unhealthy" && status != before {
            self.heal().await;
        }
    }

    /// Whether this run was of use: one without a health check always is.
    pub(super) fn proven(&self) -> bool {
        self.health.as_ref().is_none_or(|check| check.proven)
    }

    /// Does what was asked for when the container is unhealthy.
    async fn heal(&mut self) {
        let Some(action) = self.health.as_ref().map(|check| check.spec.on_failure) else { return };
        if !matches!(self.state.phase, Phase::Running(_)) {
            return;
        }
        tracing::info!(container = %self.definition.id, action = action.name(), "unhealthy");
        let outcome = match action {
            OnUnhealthy::None => return,
            OnUnhealthy::Restart => {
                // Written down with the stop; one that somebody asks for takes it back.
                self.state.heal = true;
                (self.stop_signal, self.stop_timeout) = (None, self.definition.spec.stop_timeout);
                self.decide(Input::Stop).await
            }
            OnUnhealthy::Stop => {
                self.state.stop_asked = true;
                self.begin_stop(None, None).await
            }
            OnUnhealthy::Kill => self.decide(Input::Kill(Signal::KILL)).await,
        };
        if let Err(error) = self.told(outcome) {
            tracing::warn!(container = %self.definition.id, %error, "unhealthy");
        }
    }
}

impl Check {
    fn pause(&self, now: Instant) -> Duration {
        self.pause_when(now, "starting")
    }

    /// During the start period an unproven container is looked at more often.
    fn pause_when(&self, now: Instant, status: &str) -> Duration {
        let starting = status == "starting" && now < self.grace_until;
        let ns = if starting { self.spec.start_interval_ns } else { self.spec.interval_ns };
        Duration::from_nanos(ns)
    }
}

fn read_output(socket: OwnedFd) -> Vec<u8> {
    let mut output = Vec::new();
    let mut socket = UnixStream::from(socket);
    // What was read before a failure is what there is; the rest is read and dropped, so that the
    // check is not stopped by it.
    let _ = socket.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut output);
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
    output
}
