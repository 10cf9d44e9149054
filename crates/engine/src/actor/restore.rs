//! Taking a container over from a daemon that ended or was killed.

use super::Actor;
use super::ending::{kill_cgroup, read_exit};
use super::ways::Landing;
use crate::link::Link;
use crate::node::{Node, blocking};
use crate::{EngineError, Result, clock};
use model::exec::ExecState;
use model::phase::{Exit, Phase, Run};
use model::signal::Signal;
use model::step::Input;
use model::{ContainerId, ExecId, Timestamp};
use net::{Adopt, DnsSettings};
use runtime::monitor::client::Connection;
use runtime::monitor::protocol::{self, Reply, Request};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Exit code of a container that ended while nobody looked and left no word.
const EXIT_UNKNOWN: i32 = 137;

/// Exit code of a start that a killed daemon did not finish.
const EXIT_NOT_STARTED: i32 = 128;

/// What an actor does before its first order.
#[derive(Debug)]
pub(crate) enum First {
    /// Nothing: it runs, or it does not.
    Nothing,
    /// It ended while there was no daemon.
    Exited(Exit),
    /// Its start was not finished.
    Failed(Exit),
    /// Its policy wants it to run with the daemon.
    Start,
}

/// Kills a container that nobody wants any more through its monitor, and waits for that to end.
pub(crate) async fn abandon(node: &Node, id: &ContainerId) {
    let dir = node.state_dir(id);
    let connecting = blocking(move || Connection::connect(&dir).map_err(EngineError::internal));
    let Ok(connection) = connecting.await else { return };
    let Ok(mut link) = Link::new(connection, None) else { return };
    // In whichever phase it is, one of the two is refused.
    let _ = link.call(&Request::Abort, &[]).await;
    let signal = Signal::KILL.number();
    let _ = link.call(&Request::SignalAll { signal }, &[]).await;
    while link.event().await.is_some() {}
}

impl Actor {
    /// Finds out what became of the container, and adopts it when it runs.
    pub(crate) async fn take_over(&mut self) -> First {
        if let Some(first) = self.state.id_range {
            self.node.ids.adopt(first);
        }
        let recorded = self.state.phase.clone();
        let first = match &recorded {
            Phase::Starting | Phase::Running(_) | Phase::Paused(_) | Phase::Stopping(_) => {
                self.take_over_run().await
            }
            Phase::Restarting { due, .. } => {
                let wait = std::time::Duration::from_nanos(due.since(clock::now()));
                self.due = tokio::time::Instant::now().checked_add(wait);
                First::Nothing
            }
            Phase::Exited(_) if self.starts_with_daemon() => First::Start,
            _ => First::Nothing,
        };
        if self.link.is_none() {
            self.forget_execs();
        }
        self.publish();
        first
    }

    fn starts_with_daemon(&self) -> bool {
        self.definition.spec.restart.starts_with_daemon(self.state.stop_asked)
    }

    async fn take_over_run(&mut self) -> First {
        match self.meet_monitor().await {
            Ok(Some(run)) => {
                // One of the two, writing it down and doing it, may be all that was done.
                let frozen = matches!(self.state.phase, Phase::Paused(_));
                if let Err(error) = self.freeze(frozen).await {
                    tracing::warn!(container = %self.definition.id, %error, "freeze or thaw again");
                }
                if let Err(error) = self.adopt_networks(run).await {
                    tracing::error!(container = %self.definition.id, %error, "adopt networks");
                }
                self.start_shipping();
                self.start_health();
                First::Nothing
            }
            Ok(None) => {
                // What it wrote while nobody looked is in its log.
                self.start_shipping();
                self.ended_alone().await
            }
            Err(error) => {
                tracing::error!(container = %self.definition.id, %error, "take over");
                self.link = None;
                self.ended_alone().await
            }
        }
    }

    /// The run, when there is a monitor that has one.
    async fn meet_monitor(&mut self) -> Result<Option<Run>> {
        let dir = self.node.state_dir(&self.definition.id);
        let connection = match blocking(move || {
            Connection::connect(&dir).map_err(EngineError::internal)
        })
        .await
        {
            Ok(connection) => connection,
            Err(_) => return Ok(None),
        };
        let mut link = Link::new(connection, None)?;
        let Reply::State(state) = link.call(&Request::State, &[]).await? else {
            return Err(EngineError::internal("the monitor does not say its state"));
        };
        if state.phase != protocol::Phase::Running {
            if state.phase == protocol::Phase::Created {
                link.call(&Request::Abort, &[]).await?;
            }
            while link.event().await.is_some() {}
            return Ok(None);
        }
        let started = Timestamp(state.started_at_ns.unwrap_or_else(|| clock::now().0));
        let run = Run { pid: state.pid, started };
        self.state.phase = match self.state.phase {
            Phase::Paused(_) => Phase::Paused(run),
            // A stop is asked again by whoever asked before: its patience went with the daemon.
            _ => Phase::Running(run),
        };
        self.state.cgroup.clone_from(&state.cgroup);
        for exec in &state.execs {
            self.know_exec(exec);
        }
        self.link = Some(link);
        Ok(Some(run))
    }

    /// Execs live in the monitor.
    fn know_exec(&self, exec: &protocol::ExecState) {
        let Ok(id) = ExecId::parse(&exec.exec_id) else { return };
        let state = match &exec.exit {
            Some(exit) => ExecState::Exited { pid: exec.pid, code: exit.code },
            None => ExecState::Running { pid: exec.pid },
        };
        self.node.execs.found(self.definition.id, id, state);
    }

    async fn adopt_networks(&mut self, run: Run) -> Result<()> {
        let node = Arc::clone(&self.node);
        let (id, endpoints) = (self.definition.id, self.state.endpoints.clone());
        let leaving = self.state.leaving.clone();
        let ports = self.state.ports.clone();
        let ipv6 = crate::etc::has_ipv6(&self.definition.spec);
        let servers = self.definition.spec.dns.servers.clone();
        let settings = DnsSettings { servers, lives_with: Some(run.pid) };
        let embedded = super::network::embedded_dns(&node, &self.definition.spec);
        blocking(move || {
            let Landing { first, six } = Landing::of(&node, &endpoints, ipv6);
            for endpoint in endpoints.iter().filter(|it| it.interface.is_some()) {
                let (six, ports) = match first.as_ref().is_some_and(|it| it.id == endpoint.id) {
                    true => (six.as_ref(), ports.as_slice()),
                    false => (None, &[][..]),
                };
                node.net.adopt(&Adopt { endpoint, six, ports })?;
            }
            // Taken over once more, to be left.
            if let Some(endpoint) = leaving.as_ref().filter(|it| it.interface.is_some()) {
                node.net.adopt(&Adopt { endpoint, six: None, ports: &[] })?;
            }
            if embedded {
                let path = format!("/proc/{}/ns/net", run.pid);
                let netns = File::open(&path)
                    .map_err(|source| EngineError::io(format!("open {path}"), source))?;
                node.net.serve_dns(&id, netns.as_fd(), &settings)?;
            }
            Ok(())
        })
        .await?;
        if self.state.leaving.is_some() {
            let finished = self.finish_leaving(None).await;
            self.networks_changed().and(finished)?;
        }
        Ok(())
    }

    /// There is no monitor: what its container's end was, if it left word.
    async fn ended_alone(&mut self) -> First {
        let (node, id) = (Arc::clone(&self.node), self.definition.id);
        let cgroup = match self.state.cgroup.as_str() {
            "" => cgroup_of(&self.definition),
            known => known.to_owned(),
        };
        let told = blocking(move || {
            kill_cgroup(&node, &cgroup);
            Ok(read_exit(&node.state_dir(&id)))
        })
        .await;
        let told = told.ok().flatten();
        let run = self.state.phase.run();
        let nothing = |code: i32, error: &str| Exit {
            code,
            oom_killed: false,
            started: run.map(|run| run.started).unwrap_or_default(),
            finished: clock::now(),
            error: error.to_owned(),
        };
        if self.state.phase == Phase::Starting {
            return match told.filter(|exit| !exit.started.is_zero()) {
                Some(exit) => First::Exited(exit),
                None => First::Failed(nothing(
                    EXIT_NOT_STARTED,
                    "the daemon ended while the container was being started",
                )),
            };
        }
        First::Exited(told.unwrap_or_else(|| nothing(EXIT_UNKNOWN, "")))
    }

    /// Does what is first; [`Actor::run`] comes after it.
    pub(crate) async fn begin(&mut self, first: First) {
        match first {
            First::Nothing => {}
            First::Exited(exit) => Box::pin(self.exited(exit)).await,
            // Its policy may want it again; the failure is in its state.
            First::Failed(exit) => drop(Box::pin(self.apply(Input::Failed(exit))).await),
            First::Start => drop(Box::pin(self.start()).await),
        }
        let stopped = matches!(self.state.phase, Phase::Exited(_));
        if stopped && self.starts_with_daemon() {
            let _ = Box::pin(self.start()).await;
        }
    }
}

fn cgroup_of(definition: &crate::record::Definition) -> String {
    crate::host::cgroup_of(&definition.spec.cgroup_parent, &definition.id)
}
