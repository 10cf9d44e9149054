//! Starting and stopping a plugin's program: the directories it shares with the host, the container
//! it runs in, and the wait until it listens. Decides nothing: what is shared and granted is in
//! the plan.

use super::document;
use super::plan::{self, Shared};
use super::record::Record;
use crate::actor::{Actor, First, Order, answered};
use crate::node::{Node, blocking};
use crate::plugins::{Endpoint, Managed, Scope, connect_within};
use crate::record::{self as records, Definition, State};
use crate::roster::Handle;
use crate::{EngineError, Result, clock, imageless};
use model::phase::Phase;
use model::{ContainerId, ContainerName, Digest};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::snapshot::Snapshot;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a plugin has to listen when nobody says.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long it has to end before it is killed, seconds.
const STOP_TIMEOUT_S: i64 = 10;

/// The directories of a plugin on the host.
pub(super) fn shared(node: &Node, id: &ContainerId) -> Shared {
    let id = id.to_string();
    let options = &node.options;
    let run = match options.plugin_places.sockets.first() {
        Some(place) => place.clone(),
        None => options.exec_root.join("plugins"),
    };
    Shared {
        sockets: run.join(&id),
        propagated: home(node, &id).join("propagated-mount"),
        logging: options.exec_root.join("plugin-logging").join(&id),
    }
}

fn home(node: &Node, id: &str) -> PathBuf {
    node.options.data_root.join("plugins").join(id)
}

/// Enters a plugin that runs, or is about to, among those that are asked.
pub(super) fn enter(node: &Node, plugin: &Record) {
    let shared = shared(node, &plugin.id);
    let own = node.store.root().join("snapshots").join(plugin.id.to_string()).join("upper");
    let mut dirs = vec![(plan::LOGGING.to_owned(), shared.logging.clone())];
    if !plugin.config.propagated_mount.is_empty() {
        dirs.push((plugin.config.propagated_mount.clone(), shared.propagated.clone()));
    }
    let managed = Managed {
        implements: document::capabilities(&plugin.config),
        scope: Scope { shared: dirs, own },
    };
    node.plugins.manage(&plugin.name, endpoint(node, plugin), managed);
}

fn endpoint(node: &Node, plugin: &Record) -> Endpoint {
    let name = plugin.config.interface.socket.clone();
    Endpoint::Within { dir: shared(node, &plugin.id).sockets, name }
}

/// Starts a plugin's program and waits until it listens. What was begun is undone on failure.
pub(super) async fn start(
    node: &Arc<Node>,
    plugin: &Record,
    patience: Duration,
) -> Result<Arc<Handle>> {
    let making = (Arc::clone(node), plugin.clone());
    let actor = blocking(move || {
        let (node, plugin) = making;
        clear(&node, &plugin.id);
        prepare_dirs(&node, &plugin)?;
        store::failpoint::hit("engine.plugin.dirs");
        let (definition, snapshot) = define(&node, &plugin)?;
        store::failpoint::hit("engine.plugin.rooted");
        Ok(Actor::new(node, definition, State::default(), Some(snapshot)).quiet())
    })
    .await?;
    let handle = actor.handle();
    tokio::spawn(actor.run());
    let outcome = async {
        let (answer, started) = oneshot::channel();
        handle.send(Order::Start(answer)).await?;
        answered(&handle.id.to_string(), started).await?;
        store::failpoint::hit("engine.plugin.started");
        listens(node, plugin, &handle, (patience, 0)).await
    };
    match outcome.await {
        Ok(()) => Ok(handle),
        Err(error) => {
            stop(node, &plugin.id, &handle).await;
            Err(error)
        }
    }
}

/// Waits until a plugin takes connections, and as long as it is not started again more than so many
/// times.
pub(super) async fn listens(
    node: &Node,
    plugin: &Record,
    handle: &Handle,
    (patience, restarts): (Duration, u32),
) -> Result<()> {
    let dir = shared(node, &plugin.id).sockets;
    let name = &plugin.config.interface.socket;
    let until = Instant::now() + patience;
    let before = handle.view().restart_count;
    loop {
        let Err(error) = connect_within(&dir, name).await else { return Ok(()) };
        let view = handle.view();
        let failed = |why: String| EngineError::Internal(format!("plugin {}: {why}", plugin.name));
        // One that is taken over may not have begun again.
        let over = restarts == 0 && matches!(view.phase, Phase::Exited(_));
        if over || view.restart_count > before + restarts {
            let code = view.last_exit.as_ref().map_or(0, |exit| exit.code);
            return Err(failed(format!("it ended with {code} before it listened on {name}")));
        }
        if Instant::now() >= until {
            return Err(failed(format!("it does not listen on {name}: {error}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Stops a plugin's program and takes back what it shared.
pub(super) async fn stop(node: &Arc<Node>, id: &ContainerId, handle: &Handle) {
    let ordered = async {
        let (answer, stopped) = oneshot::channel();
        let timeout_s = Some(STOP_TIMEOUT_S);
        handle.send(Order::Stop { signal: None, timeout_s, answer }).await?;
        answered(&handle.id.to_string(), stopped).await?;
        let (answer, dismissed) = oneshot::channel();
        handle.send(Order::Dismiss(answer)).await?;
        answered(&handle.id.to_string(), dismissed).await
    };
    if let Err(error) = ordered.await {
        tracing::warn!(plugin = %id, %error, "stop a plugin");
    }
    store::failpoint::hit("engine.plugin.stopped");
    node.teardowns.idle().await;
    let (clearing, id) = (Arc::clone(node), *id);
    let cleared = blocking(move || {
        clear(&clearing, &id);
        records::forget_state(clearing.store.records(), &id)
    });
    if let Err(error) = cleared.await {
        tracing::warn!(plugin = %id, %error, "forget a plugin's run");
    }
}

/// Takes a plugin over that the last daemon left running, or starts it again. Gives the handle
/// also when it does not listen yet.
pub(super) async fn take_over(node: &Arc<Node>, plugin: &Record) -> Result<Arc<Handle>> {
    let making = (Arc::clone(node), plugin.clone());
    let mut actor = blocking(move || {
        let (node, plugin) = making;
        prepare_dirs(&node, &plugin)?;
        let (definition, snapshot) = define(&node, &plugin)?;
        let mut state = records::state(node.store.records(), &plugin.id)?;
        state.stop_asked = false;
        Ok(Actor::new(node, definition, state, Some(snapshot)).quiet())
    })
    .await?;
    let handle = actor.handle();
    let first = match actor.take_over().await {
        First::Nothing if handle.view().phase == Phase::Created => First::Start,
        first => first,
    };
    tokio::spawn(async move {
        actor.begin(first).await;
        actor.run().await;
    });
    Ok(handle)
}

/// Ends whatever a killed daemon left of a plugin that is not to run.
pub(super) async fn abandon(node: &Arc<Node>, plugin: &Record) -> Result<()> {
    crate::actor::abandon(node, &plugin.id).await;
    let (node, id) = (Arc::clone(node), plugin.id);
    blocking(move || {
        let state = records::state(node.store.records(), &id)?;
        if !state.cgroup.is_empty() {
            crate::actor::kill_cgroup(&node, &state.cgroup);
        }
        clear(&node, &id);
        records::forget_state(node.store.records(), &id)
    })
    .await
}

/// Removes every file of a plugin that does not run.
pub(super) fn remove_files(node: &Node, id: &ContainerId) -> Result<()> {
    clear(node, id);
    crate::actor::clear_files(node, id)?;
    store::failpoint::hit("engine.plugin.cleared");
    node.store.remove_tree(&home(node, &id.to_string()))?;
    Ok(())
}

/// Forgets what a plugin wrote below its root.
pub(super) fn remove_root(node: &Node, id: &ContainerId) -> Result<()> {
    Ok(node.store.snapshots().remove(*id)?)
}

/// The container of a plugin, and its root.
fn define(node: &Node, plugin: &Record) -> Result<(Definition, Snapshot)> {
    let draft = plan::draft(&plugin.config, &plugin.settings, &shared(node, &plugin.id))?;
    let id = plugin.id;
    // A plugin is not labelled, and has no level to hold.
    let (resolved, _) = imageless::resolved(node, &id, "plugin", &draft)?;
    let snapshots = node.store.snapshots();
    let snapshot = match snapshots.open(id) {
        Ok(snapshot) => snapshot,
        Err(_) => {
            let layers: Vec<Digest> = plugin.layers.iter().map(|it| it.diff_id).collect();
            snapshots.create_on(id, &layers)?
        }
    };
    let definition = Definition {
        id,
        name: ContainerName::parse(&format!("plugin-{}", id.short()))?,
        created: clock::now(),
        draft,
        spec: resolved.spec,
        warnings: resolved.warnings,
    };
    Ok((definition, snapshot))
}

fn prepare_dirs(node: &Node, plugin: &Record) -> Result<()> {
    let shared = shared(node, &plugin.id);
    make_dir(&shared.sockets)?;
    make_dir(&shared.logging)?;
    if plugin.config.propagated_mount.is_empty() {
        return Ok(());
    }
    make_dir(&shared.propagated)?;
    share(&shared.propagated)
}

/// Makes a directory one whose mounts are seen by whoever has a share of it.
fn share(dir: &Path) -> Result<()> {
    let failed = |errno: rustix::io::Errno| {
        EngineError::io(format!("share the mounts of {}", dir.display()), errno)
    };
    if !is_mount_point(dir) {
        rustix::mount::mount_bind(dir, dir).map_err(failed)?;
    }
    rustix::mount::mount_change(dir, MountPropagationFlags::SHARED).map_err(failed)
}

fn is_mount_point(dir: &Path) -> bool {
    let Ok(dir) = dir.canonicalize() else { return false };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // proc_pid_mountinfo(5): blanks are written as octal.
    let shown = dir.to_string_lossy().replace(' ', "\\040");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(&shown))
}

/// Takes back what a plugin that does not run shared with the host.
fn clear(node: &Node, id: &ContainerId) {
    let shared = shared(node, id);
    // With everything that was mounted below it and below what lies over it.
    while is_mount_point(&shared.propagated) {
        if let Err(error) = rustix::mount::unmount(&shared.propagated, UnmountFlags::DETACH) {
            tracing::warn!(plugin = %id, %error, "unmount what a plugin shared");
            break;
        }
    }
    for dir in [&shared.sockets, &shared.logging] {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(plugin = %id, %error, "remove {}", dir.display());
            }
            _ => {}
        }
    }
}

fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| EngineError::io(format!("make directory {}", path.display()), source))
}
