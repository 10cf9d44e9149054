//! From intent to a running program: range of ids, monitor, networks, waiting clients, go. What
//! was done is undone in reverse when a step fails.

use super::network::{self, Joined};
use super::prepare::{Prepared, prepare};
use super::{Actor, attach};
use crate::link::{Launching, Link};
use crate::node::blocking;
use crate::shipping::Shipping;
use crate::{EngineError, Result, clock};
use model::Timestamp;
use model::phase::{Exit, Run};
use model::step::Input;
use runtime::launch::Rootfs;
use runtime::monitor::protocol::{Reply, Request};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Exit code of a container that could not be made, when nothing more is known; Docker's.
const EXIT_NOT_CREATED: i32 = 128;

impl Actor {
    /// Launches, and says what came of it as news for the transition function.
    pub(super) async fn launch_or_fail(&mut self) -> Input {
        match self.launch().await {
            Ok(run) => {
                store::failpoint::hit("engine.start.started");
                self.start_shipping();
                self.start_health();
                Input::Started(run)
            }
            Err(error) => {
                let code = match &error {
                    EngineError::Launch { exit_code: code @ (126 | 127), .. } => *code,
                    _ => EXIT_NOT_CREATED,
                };
                let exit = Exit {
                    code,
                    oom_killed: false,
                    started: Timestamp::ZERO,
                    finished: clock::now(),
                    error: error.to_string(),
                };
                self.launch_error = Some(error);
                Input::Failed(exit)
            }
        }
    }

    /// From now on what it writes is sent to whom it is meant for.
    pub(super) fn start_shipping(&mut self) {
        let path = std::path::Path::new(&self.paths.log);
        match Shipping::begin(&self.node, &self.definition, path) {
            Ok(shipping) => self.shipping = shipping,
            Err(error) => {
                tracing::error!(container = %self.definition.id, %error, "begin to ship logs");
            }
        }
    }

    async fn launch(&mut self) -> Result<Run> {
        if self.definition.spec.isolation.own_ids {
            self.state.id_range = Some(self.node.ids.take()?);
        }
        store::failpoint::hit("engine.start.ids");
        let outcome = self.launch_with_ids().await;
        if outcome.is_err() {
            self.undo().await;
        }
        outcome
    }

    async fn launch_with_ids(&mut self) -> Result<Run> {
        let (prepared, link) = self.spawn().await?;
        self.state.cgroup = prepared.cgroup;
        self.link = Some(link);
        let pid = self.make().await?;
        store::failpoint::hit("engine.start.made");
        self.begin_to_watch(pid).await?;
        self.hand_over_clients().await;
        store::failpoint::hit("engine.start.attached");
        match self.monitor()?.call(&Request::Start, &[]).await? {
            Reply::Started { started_at_ns } => {
                store::failpoint::hit("engine.start.told");
                let node = Arc::clone(&self.node);
                tokio::task::spawn_blocking(move || node.ready.refill(node.runtime_exe.as_fd()));
                Ok(Run { pid, started: Timestamp(started_at_ns) })
            }
            _ => Err(EngineError::internal("the monitor does not say what it started")),
        }
    }

    /// Watches what is about to begin, if somebody asked for it.
    async fn begin_to_watch(&self, pid: i32) -> Result<()> {
        let id = self.definition.id;
        if !self.node.witness.take_expected(id) {
            return Ok(());
        }
        let node = Arc::clone(&self.node);
        blocking(move || {
            node.witness.starting(id, pid);
            Ok(())
        })
        .await
    }

    /// Lets the monitor make the container, and joins the networks meanwhile.
    async fn make(&mut self) -> Result<i32> {
        let mut joining = None;
        let created = loop {
            match self.monitor()?.launching().await {
                Ok(Launching::Network(netns)) => joining = self.begin_to_join(netns)?,
                Ok(Launching::Over(reply)) => break self.created(reply),
                Err(error) => break Err(error),
            }
        };
        if let (Ok(pid), None) = (&created, &joining) {
            joining = self.begin_to_join(network::netns_of(*pid)?)?;
        }
        store::failpoint::hit("engine.start.created");
        let joined = match joining {
            Some(joining) => self.joined(joining).await,
            None => Ok(Joined::default()),
        };
        store::failpoint::hit("engine.start.joined");
        // Kept even if the container was not made: what is known is given back.
        let joined = joined.map(|joined| {
            self.state.endpoints = joined.endpoints;
            self.state.ports = joined.ports;
        });
        created.and_then(|pid| joined.map(|()| pid))
    }

    /// Notes what the monitor says of the container that it made.
    fn created(&mut self, reply: Reply) -> Result<i32> {
        let Reply::Created { pid, cgroup, warnings } = reply else {
            return Err(EngineError::internal("the monitor does not say what it created"));
        };
        self.state.cgroup = cgroup;
        for warning in warnings {
            tracing::info!(container = %self.definition.id, %warning, "created");
            if !self.definition.warnings.contains(&warning) {
                self.definition.warnings.push(warning);
            }
        }
        Ok(pid)
    }

    fn monitor(&mut self) -> Result<&mut Link> {
        self.link.as_mut().ok_or_else(|| EngineError::internal("no monitor"))
    }

    async fn spawn(&self) -> Result<(Prepared, Link)> {
        let node = Arc::clone(&self.node);
        let definition = self.definition.clone();
        let snapshot = self.snapshot.clone().ok_or_else(|| {
            EngineError::internal("the container's root filesystem is not in the store")
        })?;
        let (id_range, fleeting) = (self.state.id_range, self.fleeting);
        let (prepared, connection, pid) = blocking(move || {
            let mut prepared = prepare(&node, &definition, &snapshot, id_range)?;
            if let Rootfs::Overlay { volatile, .. } = &mut prepared.launch.rootfs {
                *volatile |= fleeting;
            }
            store::failpoint::hit("engine.start.prepared");
            let launched = node.ready.launch(node.runtime_exe.as_fd(), &prepared.launch);
            let (connection, pid) = launched.map_err(EngineError::internal)?;
            store::failpoint::hit("engine.start.spawned");
            Ok((prepared, connection, pid))
        })
        .await?;
        Ok((prepared, Link::new(connection, Some(pid))?))
    }

    /// Gives the clients that attached before to the monitor, before the first byte is written.
    async fn hand_over_clients(&mut self) {
        let tty = self.definition.spec.tty;
        for (options, client) in std::mem::take(&mut self.attaching) {
            let Some(link) = self.link.as_mut() else { return };
            if let Err(error) = attach::hand_over(link, tty, &options, client).await {
                tracing::warn!(container = %self.definition.id, %error, "attach at start");
            }
        }
    }

    /// Takes back whatever a failed launch had done.
    async fn undo(&mut self) {
        if let Some(mut link) = self.link.take() {
            // A monitor that reported failure is gone already.
            let _ = link.call(&Request::Abort, &[]).await;
            while link.event().await.is_some() {}
        }
        // One that died has left its group, and perhaps processes in it.
        self.clear_group().await;
        // Clients wait for output that will never come.
        self.attaching.clear();
    }
}
