//! Containers, for those who ask about them or give them orders. Questions are answered from
//! snapshots; orders go to the container's actor.

mod archive;
mod changes;
mod create;
mod place;
mod stats;
mod top;
mod types;

pub(crate) use create::{asked_volume, sweep};
pub(crate) use place::user;
pub use types::{Created, ExitStatus, Outcome, RemoveOptions, WaitCondition, WaitHandle};

use crate::actor::{Answer, Order, answered};
use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::streams::*;
use crate::{EngineError, Result, Review, Stats, logs};
use model::draft::UpdateDraft;
use model::event::EventKind;
use model::phase::Phase;
use model::signal::Signal;
use model::view::ContainerView;
use model::{ContainerId, ContainerName, Draft};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a kill waits for the end of what it killed.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Containers and their lives. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    pub(crate) node: Arc<Node>,
}

impl Containers {
    /// Makes a container.
    pub async fn create(&self, name: Option<ContainerName>, draft: Draft) -> Result<Created> {
        create::create(&self.node, name, draft, None).await
    }

    /// Makes a container, if `review` has nothing against what it was decided to be.
    pub async fn create_reviewed(
        &self,
        name: Option<ContainerName>,
        draft: Draft,
        review: Review,
    ) -> Result<Created> {
        create::create(&self.node, name, draft, Some(review)).await
    }

    /// Asks `review` about a container as it was made.
    pub fn review(&self, query: &str, review: &Review) -> Result<()> {
        crate::review::known(&self.node, &*self.view(query)?, review)
    }

    /// Every container, newest first, as of now; never waits.
    pub fn list(&self) -> Vec<Arc<ContainerView>> {
        let all = self.node.registry.all();
        let mut views: Vec<_> = all.iter().map(|handle| handle.view()).collect();
        views.sort_by(|a, b| b.created.cmp(&a.created).then(a.id.cmp(&b.id)));
        views
    }

    /// One container as of now; never waits.
    pub fn view(&self, query: &str) -> Result<Arc<ContainerView>> {
        Ok(self.node.registry.find(query)?.view())
    }

    /// Bytes of the writable layer, and of the whole root.
    pub async fn sizes(&self, query: &str) -> Result<(u64, u64)> {
        let id = self.node.registry.find(query)?.id;
        let node = Arc::clone(&self.node);
        blocking(move || {
            let usage = node.store.snapshots().usage(id)?;
            Ok((usage.rw, usage.root_fs))
        })
        .await
    }

    async fn order<T>(&self, query: &str, order: impl FnOnce(Answer<T>) -> Order) -> Result<T> {
        let handle = self.node.registry.find(query)?;
        let (answer, outcome) = oneshot::channel();
        handle.send(order(answer)).await?;
        answered(query, outcome).await
    }

    /// Starts it.
    pub async fn start(&self, query: &str) -> Result<Outcome> {
        self.order(query, Order::Start).await
    }

    /// Stops it: `signal` (the container's own when absent), then SIGKILL after `timeout_s`
    /// (the container's own when absent; -1 waits for ever).
    pub async fn stop(
        &self,
        query: &str,
        signal: Option<Signal>,
        timeout_s: Option<i64>,
    ) -> Result<Outcome> {
        self.order(query, |answer| Order::Stop { signal, timeout_s, answer }).await
    }

    /// Stops it because the daemon stops: what its restart policy says of the next daemon holds.
    pub(crate) async fn leave(&self, id: &ContainerId, timeout_s: Option<i64>) -> Result<Outcome> {
        self.order(&id.to_string(), |answer| Order::Leave { timeout_s, answer }).await
    }

    /// The same for several at a time; returns when all of them are over.
    pub(crate) async fn leave_all(&self, ids: Vec<ContainerId>, timeout_s: Option<i64>) {
        let leave = |id: ContainerId| {
            let containers = self.clone();
            tokio::spawn(async move {
                if let Err(error) = containers.leave(&id, timeout_s).await {
                    tracing::warn!(container = %id, %error, "stop with the daemon");
                }
            })
        };
        let leaving: Vec<_> = ids.into_iter().map(leave).collect();
        for one in leaving {
            // One that panicked has said so.
            let _ = one.await;
        }
    }

    /// Stops it when it runs, and starts it.
    pub async fn restart(
        &self,
        query: &str,
        signal: Option<Signal>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        self.order(query, |answer| Order::Restart { signal, timeout_s, answer }).await
    }

    /// Sends a signal to its init; SIGKILL when absent. After SIGKILL it is over, as with Docker:
    /// whoever killed it finds it dead.
    pub async fn kill(&self, query: &str, signal: Option<Signal>) -> Result<()> {
        let signal = signal.unwrap_or(Signal::KILL);
        let exit = match signal {
            Signal::KILL => Some(self.wait(query, WaitCondition::NextExit).await?),
            _ => None,
        };
        self.order(query, |answer| Order::Kill { signal, answer }).await?;
        if let Some(exit) = exit {
            // A process that the kernel cannot end now is dead all the same, sooner or later.
            let _ = tokio::time::timeout(KILL_PATIENCE, exit.done()).await;
        }
        Ok(())
    }

    /// Forgets a legacy link of it.
    pub async fn unlink(&self, query: &str, alias: &str) -> Result<()> {
        let alias = alias.to_owned();
        self.order(query, |answer| Order::Unlink { alias, answer }).await
    }

    /// Freezes it.
    pub async fn pause(&self, query: &str) -> Result<()> {
        self.order(query, Order::Pause).await
    }

    /// Thaws it.
    pub async fn unpause(&self, query: &str) -> Result<()> {
        self.order(query, Order::Unpause).await
    }

    /// Gives it another name.
    pub async fn rename(&self, query: &str, name: ContainerName) -> Result<()> {
        self.order(query, |answer| Order::Rename { name, answer }).await
    }

    /// Changes its limits and restart policy; returns warnings.
    pub async fn update(&self, query: &str, change: UpdateDraft) -> Result<Vec<String>> {
        self.order(query, |answer| Order::Update { change: Box::new(change), answer }).await
    }

    /// Removes it.
    pub async fn remove(&self, query: &str, options: RemoveOptions) -> Result<()> {
        self.order(query, |answer| Order::Remove { options, answer }).await
    }

    /// Registers a wait.
    pub async fn wait(&self, query: &str, condition: WaitCondition) -> Result<WaitHandle> {
        let handle = self.node.registry.find(query)?;
        let (exit, rx) = oneshot::channel();
        handle.send(Order::Wait { condition, exit }).await?;
        Ok(WaitHandle { rx })
    }

    /// Sets the size of its terminal.
    pub async fn resize(&self, query: &str, rows: u16, cols: u16) -> Result<()> {
        self.order(query, |answer| Order::Resize { rows, cols, answer }).await
    }

    /// Whether a client could attach that detaches by `keys`, and how output would reach it.
    pub async fn check_attach(&self, query: &str, keys: &str) -> Result<StreamKind> {
        let view = self.view(query)?;
        crate::actor::detach_keys(keys)?;
        let id = &view.id;
        match view.phase {
            Phase::Paused(_) => Err(EngineError::conflict(format!(
                "container {id} is paused, unpause the container before attach"
            ))),
            Phase::Restarting { .. } => Err(EngineError::conflict(format!(
                "container {id} is restarting, wait until the container is running"
            ))),
            Phase::Removing | Phase::Dead { .. } => {
                Err(EngineError::conflict(format!("container {id} is marked for removal")))
            }
            _ => Ok(if view.spec.tty { StreamKind::Raw } else { StreamKind::Framed }),
        }
    }

    /// Attaches a client; returns when its stream was handed over.
    pub async fn attach(
        &self,
        query: &str,
        options: AttachOptions,
        client: ClientStream,
    ) -> Result<()> {
        self.order(query, |answer| Order::Attach { options, client, answer }).await
    }

    /// Lines of its log, in pieces of many: `put` adds one to those before it, on the thread that
    /// reads them.
    pub async fn logs(
        &self,
        query: &str,
        options: LogOptions,
        put: impl FnMut(&mut Vec<u8>, LogLine<'_>) + Send + 'static,
    ) -> Result<ByteStream> {
        if !options.stdout && !options.stderr {
            return Err(EngineError::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let handle = self.node.registry.find(query)?;
        let view = handle.view();
        logs::open(&view, &options, put, move || (!handle.gone()).then(|| handle.view()))
    }

    /// Its processes, as `ps` with these arguments lists them.
    pub async fn top(&self, query: &str, ps_args: &str) -> Result<Top> {
        let view = self.running(query)?;
        let (node, args) = (Arc::clone(&self.node), ps_args.to_owned());
        blocking(move || top::top(&node, &view, &args)).await
    }

    /// Watches what it asks of the kernel: from its next start on, or from now when it runs.
    pub async fn watch(&self, query: &str) -> Result<()> {
        let view = self.view(query)?;
        let node = Arc::clone(&self.node);
        blocking(move || crate::witness::watch(&node, &view)).await
    }

    /// What it needs, as far as it was watched.
    pub async fn learned(&self, query: &str) -> Result<crate::Learned> {
        let view = self.view(query)?;
        let node = Arc::clone(&self.node);
        blocking(move || crate::witness::learned(&node, &view)).await
    }

    /// What it was denied and what would allow it; it is watched for as long as `during` first.
    pub async fn denials(&self, query: &str, during: Duration) -> Result<Vec<crate::Advice>> {
        let view = self.view(query)?;
        let node = Arc::clone(&self.node);
        blocking(move || crate::witness::denials(&node, &view, during)).await
    }

    /// How its root differs from its image.
    pub async fn changes(&self, query: &str) -> Result<Vec<Change>> {
        let begun = Instant::now();
        let id = self.node.registry.find(query)?.id;
        let node = Arc::clone(&self.node);
        blocking(move || {
            let found = node.store.snapshots().changes(id)?;
            node.metrics.note(Timed::ContainerChanges, begun);
            let change = |it: store::snapshot::Change| Change {
                path: it.path.to_string_lossy().into_owned(),
                kind: match it.kind {
                    store::snapshot::ChangeKind::Modified => ChangeKind::Modified,
                    store::snapshot::ChangeKind::Added => ChangeKind::Added,
                    store::snapshot::ChangeKind::Deleted => ChangeKind::Deleted,
                },
            };
            Ok(changes::by_the_user(found.into_iter().map(change).collect()))
        })
        .await
    }

    /// One sample of what it uses.
    pub async fn stats(&self, query: &str) -> Result<Stats> {
        let view = self.view(query)?;
        let node = Arc::clone(&self.node);
        blocking(move || stats::sample(&node, &view)).await
    }

    /// Removes every container that does not run and that `keep` does not name; returns them and
    /// the bytes freed.
    pub async fn prune(
        &self,
        keep: &(dyn Fn(&ContainerView) -> bool + Sync),
    ) -> Result<(Vec<ContainerId>, u64)> {
        let over =
            |phase: &Phase| matches!(phase, Phase::Created | Phase::Exited(_) | Phase::Dead { .. });
        let wanted: Vec<ContainerId> = self
            .list()
            .into_iter()
            .filter(|view| over(&view.phase) && !keep(view))
            .map(|view| view.id)
            .collect();
        let (mut removed, mut freed) = (Vec::new(), 0u64);
        for id in wanted {
            let query = id.to_string();
            let bytes = self.sizes(&query).await.map_or(0, |(rw, _)| rw);
            if self.remove(&query, RemoveOptions::default()).await.is_ok() {
                removed.push(id);
                freed = freed.saturating_add(bytes);
            }
        }
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), freed.to_string())]);
        self.node.emit(EventKind::Container, "prune", "", reclaimed);
        Ok((removed, freed))
    }

    fn running(&self, query: &str) -> Result<Arc<ContainerView>> {
        let view = self.view(query)?;
        match view.phase.run() {
            Some(_) => Ok(view),
            None => Err(EngineError::conflict(format!("container {} is not running", view.id))),
        }
    }
}
