//! From intent to a running program: range of ids, monitor, networks, waiting clients, go. What
//! was done is undone in reverse when a step fails.

use super::network::{self, Joined};
use super::prepare::{prepare, write_etc};
use super::{Actor, attach};
use crate::link::{Asked, Launching, Link};
use crate::metrics::Timed;
use crate::node::blocking;
use crate::shipping::Shipping;
use crate::{EngineError, Result, clock};
use model::Timestamp;
use model::phase::{Exit, Run};
use model::step::Input;
use runtime::launch::Rootfs;
use runtime::monitor::protocol::{Reply, Request};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

/// Exit code of a container that could not be made, when nothing more is known; Docker's.
const EXIT_NOT_CREATED: i32 = 128;

/// Bytes that are said to a monitor which does not read yet; a socket takes about three times as
/// many (`net.core.wmem_default`).
const AHEAD: usize = 64 << 10;

/// What a request to attach takes of a socket's room, the client's first bytes aside.
const ATTACH: usize = 1 << 10;

/// A monitor that makes the container.
struct Spawned {
    cgroup: String,
    link: Link,
    /// Whether the files of /etc are as they should be.
    written: Result<()>,
}

/// What the monitor was asked for so that the program begins.
struct Going {
    attached: Vec<Asked>,
    started: Asked,
}

impl Actor {
    /// Launches, and says what came of it as news for the transition function.
    pub(super) async fn launch_or_fail(&mut self) -> Input {
        let begun = Instant::now();
        match self.launch().await {
            Ok(run) => {
                self.node.metrics.note(Timed::ContainerStart, begun);
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
        let Spawned { cgroup, link, written } = self.spawn().await?;
        self.state.cgroup = cgroup;
        self.link = Some(link);
        written?;
        let watched = self.node.witness.expects(self.definition.id);
        let (pid, going) = match self.monitor()?.launching().await? {
            Launching::Network(netns) => {
                let joined = self.join(netns).await;
                let going = match &joined {
                    Ok(()) if !watched && self.fits_ahead() => Some(self.let_go()),
                    _ => None,
                };
                // Its own failure is the better explanation: who has failed hears nothing.
                let pid = self.made().await?;
                joined?;
                (pid, going.transpose()?)
            }
            Launching::Over(reply) => {
                let pid = self.created(reply)?;
                self.join(network::netns_of(pid)?).await?;
                (pid, None)
            }
        };
        store::failpoint::hit("engine.start.made");
        let going = match going {
            Some(going) => going,
            None => {
                self.begin_to_watch(watched, pid).await?;
                self.let_go()?
            }
        };
        let started = self.started(going).await?;
        store::failpoint::hit("engine.start.told");
        let node = Arc::clone(&self.node);
        tokio::task::spawn_blocking(move || {
            node.ready.refill(&node.store.snapshots());
        });
        Ok(Run { pid, started })
    }

    /// Watches what is about to begin, if somebody asked for it.
    async fn begin_to_watch(&self, watched: bool, pid: i32) -> Result<()> {
        if !watched {
            return Ok(());
        }
        let id = self.definition.id;
        let node = Arc::clone(&self.node);
        blocking(move || {
            node.witness.starting(id, pid);
            Ok(())
        })
        .await
    }

    /// Joins the networks, whose end in the container is there while the rest is still being made.
    async fn join(&mut self, netns: OwnedFd) -> Result<()> {
        let joined = match self.begin_to_join(netns)? {
            Some(joining) => self.joined(joining).await?,
            None => Joined::default(),
        };
        // Kept even if the container was not made: what is known is given back.
        self.state.endpoints = joined.endpoints;
        self.state.ports = joined.ports;
        store::failpoint::hit("engine.start.joined");
        Ok(())
    }

    /// Waits until the monitor has made the container.
    async fn made(&mut self) -> Result<i32> {
        loop {
            if let Launching::Over(reply) = self.monitor()?.launching().await? {
                return self.created(reply);
            }
        }
    }

    /// Whether the monitor's socket has room for what [`Self::let_go`] says while nobody reads it:
    /// the rest is still being made, which may take as long as a mount does.
    fn fits_ahead(&self) -> bool {
        let clients = self.attaching.iter().map(|(_, client)| ATTACH + client.read_ahead.len());
        clients.sum::<usize>() <= AHEAD
    }

    /// Asks that the clients that attached before be served from the first byte on, and that the
    /// program begin. The container need not be made yet.
    fn let_go(&mut self) -> Result<Going> {
        let tty = self.definition.spec.tty;
        let mut attached = Vec::new();
        for (options, client) in std::mem::take(&mut self.attaching) {
            match attach::ask(self.monitor()?, tty, &options, &client) {
                Ok(asked) => attached.push(asked),
                Err(error) => self.not_attached(&error),
            }
        }
        store::failpoint::hit("engine.start.attached");
        Ok(Going { attached, started: self.monitor()?.ask(&Request::Start, &[])? })
    }

    /// Waits until the program runs.
    async fn started(&mut self, going: Going) -> Result<Timestamp> {
        for asked in going.attached {
            if let Err(error) = self.monitor()?.answer(asked).await {
                self.not_attached(&error);
            }
        }
        match self.monitor()?.answer(going.started).await? {
            Reply::Started { started_at_ns } => Ok(Timestamp(started_at_ns)),
            _ => Err(EngineError::internal("the monitor does not say what it started")),
        }
    }

    fn not_attached(&self, error: &EngineError) {
        tracing::warn!(container = %self.definition.id, %error, "attach at start");
    }

    /// Notes what the monitor says of the container that it made.
    fn created(&mut self, reply: Reply) -> Result<i32> {
        let Reply::Created { pid, cgroup, warnings } = reply else {
            return Err(EngineError::internal("the monitor does not say what it created"));
        };
        store::failpoint::hit("engine.start.created");
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

    async fn spawn(&self) -> Result<Spawned> {
        let node = Arc::clone(&self.node);
        let definition = self.definition.clone();
        let snapshot = self.snapshot.clone().ok_or_else(|| {
            EngineError::internal("the container's root filesystem is not in the store")
        })?;
        let (id_range, fleeting) = (self.state.id_range, self.fleeting);
        let (cgroup, (connection, pid), written) = blocking(move || {
            let mut prepared = prepare(&node, &definition, &snapshot, id_range)?;
            if let Rootfs::Overlay { volatile, .. } = &mut prepared.launch.rootfs {
                *volatile |= fleeting;
            }
            store::failpoint::hit("engine.start.prepared");
            let launched = node.ready.launch(&prepared.launch);
            let monitor = launched.map_err(EngineError::internal)?;
            store::failpoint::hit("engine.start.spawned");
            Ok((prepared.cgroup, monitor, write_etc(&node, &definition)))
        })
        .await?;
        Ok(Spawned { cgroup, link: Link::new(connection, Some(pid))?, written })
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
