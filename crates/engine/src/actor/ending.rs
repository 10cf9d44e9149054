//! The end of a run, and the end of a container.

use super::{Actor, Answer, reply};
use crate::containers::{ExitStatus, Outcome, RemoveOptions, WaitCondition};
use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::record::{self, Definition};
use crate::{EngineError, Result, clock};
use model::mount::MountSource;
use model::phase::{Exit, Phase};
use model::signal::Signal;
use model::step::Input;
use model::{ContainerId, VolumeName};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// How long a monitor may take to close its connections once its container is over; its own limit
/// is two seconds.
const PARTING: std::time::Duration = std::time::Duration::from_secs(10);

/// Exit code of a container whose monitor was killed under it: its processes were killed.
const EXIT_KILLED: i32 = 137;

impl Actor {
    /// Its init is over.
    pub(super) async fn exited(&mut self, exit: Exit) {
        self.deadline = None;
        // What was written by now is in the log; all of it is delivered, and then it is over.
        self.shipping = None;
        store::failpoint::hit("engine.exit.heard");
        self.node.execs.container_ended(&self.definition.id);
        // Refused when the end was told already; the second telling changes nothing.
        let _ = self.apply(Input::Exited(exit)).await;
        // What the last checks said stays to be looked at.
        if !matches!(self.state.phase, Phase::Running(_)) {
            self.health = None;
        }
        self.stop_signal = None;
        for answer in std::mem::take(&mut self.stops) {
            reply(answer, Ok(Outcome::Done));
        }
        if let Some(answer) = self.restart.take() {
            self.start_again(answer).await;
        }
        if !self.removals.is_empty()
            && matches!(self.state.phase, Phase::Exited(_))
            && let Err(error) = self.apply(Input::Remove { force: true }).await
        {
            let message = error.to_string();
            for (_, answer) in std::mem::take(&mut self.removals) {
                reply(answer, Err(EngineError::Internal(message.clone())));
            }
        }
    }

    /// The connection to the monitor ended: after an exit that is as it should be. Before one, the
    /// monitor died, and what it was to watch over goes with it.
    pub(super) async fn monitor_ended(&mut self) {
        self.link = None;
        let Some(run) = self.state.phase.run() else { return self.clear_group().await };
        tracing::error!(container = %self.definition.id, "the container's monitor died");
        let (node, id, path) =
            (Arc::clone(&self.node), self.definition.id, self.state.cgroup.clone());
        let told = blocking(move || {
            kill_cgroup(&node, &path);
            Ok(read_exit(&node.state_dir(&id)))
        })
        .await;
        let exit = told.ok().flatten().unwrap_or_else(|| Exit {
            code: EXIT_KILLED,
            oom_killed: false,
            started: run.started,
            finished: clock::now(),
            error: "the container's monitor died".to_owned(),
        });
        self.exited(exit).await;
    }

    /// Waits until the monitor of a run that is over has removed the cgroup and its socket: the
    /// next run has them by the same names. It goes on alone for clients that read slowly.
    pub(super) async fn part_from_monitor(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        let over = async { while link.event().await.is_some() {} };
        if tokio::time::timeout(PARTING, over).await.is_err() {
            tracing::warn!(container = %self.definition.id, "the monitor of a past run stays");
        } else {
            self.clear_group().await;
        }
    }

    /// Removes the control group of a run that is over: its monitor has, unless it was killed.
    pub(super) async fn clear_group(&self) {
        let (node, path) = (Arc::clone(&self.node), self.state.cgroup.clone());
        if !path.is_empty() {
            // What cannot be removed was told.
            let _ = blocking(move || {
                kill_cgroup(&node, &path);
                Ok(())
            })
            .await;
        }
    }

    /// Answers everybody who waits for an exit.
    pub(super) fn answer_exit(&mut self) {
        let status = self.exit_status();
        let (exits, removed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waits)
            .into_iter()
            .partition(|(condition, _)| *condition != WaitCondition::Removed);
        self.waits = removed;
        for (_, waiting) in exits {
            let _ = waiting.send(status.clone());
        }
    }

    /// Gives back what lives as long as a run, after whoever waited was answered.
    pub(super) fn release(&mut self) {
        self.attaching.clear();
        let mut endpoints = std::mem::take(&mut self.state.endpoints);
        endpoints.extend(self.state.leaving.take());
        let range = self.state.id_range.take();
        self.state.ports.clear();
        for endpoint in &endpoints {
            self.emit_network("disconnect", endpoint);
        }
        let teardown = self.node.teardowns.begin();
        let (node, id) = (Arc::clone(&self.node), self.definition.id);
        tokio::task::spawn_blocking(move || {
            store::failpoint::hit("engine.release.begun");
            crate::volume_uses::end(&node, &id);
            super::network::leave(&node, &id, &endpoints);
            if let Some(first) = range {
                node.ids.release(first);
            }
            store::failpoint::hit("engine.release.left");
            drop(teardown);
        });
    }

    /// Removes it, or begins to: a running one is killed first and removed when it is over.
    pub(super) async fn remove(&mut self, options: RemoveOptions, answer: Answer<()>) {
        if options.force && self.state.phase.run().is_some() {
            self.state.stop_asked = true;
            self.state.heal = false;
        }
        self.removals.push((options, answer));
        self.state.with_volumes = self.removals.iter().any(|(options, _)| options.volumes);
        if let Err(error) = self.apply(Input::Remove { force: options.force }).await
            && let Some((_, answer)) = self.removals.pop()
        {
            reply(answer, Err(error));
        }
    }

    /// Removes everything that is left of the container. One that removes itself is gone for the
    /// others at once, and its files follow; a removal that somebody waits for is answered when
    /// they are gone.
    pub(super) async fn clear_away(&mut self) -> Option<Input> {
        self.due = None;
        if let Some(shipping) = self.shipping.take() {
            shipping.abandon();
        }
        let volumes = self.definition.spec.auto_remove
            || self.removals.iter().any(|(options, _)| options.volumes);
        let waited_for = !self.removals.is_empty();
        if !waited_for {
            self.vanish();
        }
        store::failpoint::hit("engine.remove.begun");
        self.part_from_monitor().await;
        let teardown = self.node.teardowns.begin();
        let (node, definition) = (Arc::clone(&self.node), self.definition.clone());
        let cleared = blocking(move || {
            let _until_cleared = teardown;
            clear(&node, &definition, volumes)
        })
        .await;
        if let Err(error) = cleared {
            tracing::error!(container = %self.definition.id, %error, "remove container");
            let message = format!(
                "container {}: driver failed to remove root filesystem: {error}",
                self.definition.id
            );
            for (_, answer) in std::mem::take(&mut self.removals) {
                reply(answer, Err(EngineError::Internal(message.clone())));
            }
            // One that nobody sees any more is tried again when the daemon starts.
            self.gone = !waited_for;
            return Some(Input::RemoveFailed { error: error.to_string() });
        }
        store::failpoint::hit("engine.remove.cleared");
        if waited_for {
            self.vanish();
        }
        self.gone = true;
        for (_, answer) in std::mem::take(&mut self.removals) {
            reply(answer, Ok(()));
        }
        None
    }

    /// Gone for everybody: no name, no id, no snapshot.
    fn vanish(&mut self) {
        self.node.registry.remove(&self.definition.id);
        self.forget_execs();
        self.emit("destroy", &[]);
        let status: ExitStatus = self.exit_status();
        for (_, waiting) in std::mem::take(&mut self.waits) {
            let _ = waiting.send(status.clone());
        }
        self.attaching.clear();
    }
}

impl Actor {
    /// Nobody can ask for its execs any more.
    pub(super) fn forget_execs(&self) {
        let gone = self.node.execs.forget(&self.definition.id);
        if let Err(error) = record::forget_execs(self.node.store.records(), &gone) {
            tracing::warn!(container = %self.definition.id, %error, "forget execs");
        }
    }
}

/// Removes a container's files, then its record: a crash in between is finished at the next start.
pub(crate) fn clear(node: &Node, definition: &Definition, volumes: bool) -> Result<()> {
    let begun = Instant::now();
    let id = &definition.id;
    store::failpoint::hit("engine.remove.files");
    remove_files(node, id)?;
    store::failpoint::hit("engine.remove.volumes");
    if volumes {
        remove_anonymous_volumes(node, definition);
    }
    store::failpoint::hit("engine.remove.forget");
    record::forget(node.store.records(), id)?;
    node.metrics.note(Timed::ContainerDelete, begun);
    Ok(())
}

/// The same for what has no definition any more.
pub(crate) fn clear_files(node: &Node, id: &model::ContainerId) -> Result<()> {
    remove_files(node, id)?;
    record::forget(node.store.records(), id)
}

fn remove_files(node: &Node, id: &model::ContainerId) -> Result<()> {
    node.store.snapshots().remove(*id)?;
    store::failpoint::hit("engine.remove.root");
    remove_dir(&node.state_dir(id))?;
    store::failpoint::hit("engine.remove.state");
    remove_dir(&node.container_dir(id))
}

fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn remove_anonymous_volumes(node: &Node, definition: &Definition) {
    for mount in &definition.spec.mounts {
        let MountSource::Volume { name, anonymous: true, .. } = &mount.source else { continue };
        let Ok(name) = VolumeName::parse(name) else { continue };
        if crate::volumes::users(node, &name).iter().any(|user| user != &definition.id) {
            continue;
        }
        if let Err(error) = crate::volumes::remove_anonymous(node, &name) {
            tracing::warn!(volume = %name, %error, "remove anonymous volume");
        }
    }
}

/// Kills whatever is in a cgroup and removes it.
pub(crate) fn kill_cgroup(node: &Node, path: &str) {
    let Ok(group) = runtime::cgroup::Cgroup::open(&node.hierarchy, path) else { return };
    let killed = runtime_signal().map(|signal| group.kill_all(signal));
    let deleted = group.delete();
    if let (Some(Err(error)), _) | (_, Err(error)) = (killed, deleted) {
        tracing::warn!(cgroup = path, %error, "clear cgroup");
    }
}

fn runtime_signal() -> Option<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(Signal::KILL.number())
}

/// What a monitor wrote down of its container's end.
pub(crate) fn read_exit(state_dir: &Path) -> Option<Exit> {
    let path = state_dir.join(runtime::monitor::protocol::EXIT_NAME);
    let bytes = std::fs::read(path).ok()?;
    let exit: runtime::monitor::protocol::Exit = serde_json::from_slice(&bytes).ok()?;
    Some(Exit {
        code: exit.code,
        oom_killed: exit.oom_killed,
        started: model::Timestamp(exit.started_at_ns.unwrap_or(0)),
        finished: model::Timestamp(exit.finished_at_ns),
        error: String::new(),
    })
}

/// Containers whose files are in the store and whose records are not: a crash left them.
pub(crate) fn orphans(node: &Node, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
    let all = node.store.snapshots().list()?;
    Ok(all.into_iter().filter(|id| !known.contains(id)).collect())
}
