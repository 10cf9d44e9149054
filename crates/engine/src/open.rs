//! Opening the node: the store, the networks, and every container that is written down. What runs
//! is taken over from its monitor; what a killed daemon left half done is finished or undone.
//!
//! ```text
//! recorded            found                              becomes
//! running, …          a monitor that says running        as it was, endpoints adopted
//! running, …          a monitor that says created        aborted, then as below
//! running, …          exit.json                          an exit, as if heard just now
//! running, …          nothing                            an exit with 137
//! running, …          a monitor, live restore is off     stopped; started again by its policy
//! starting            nothing                            exited with 128; undone
//! restarting          –                                  its pause goes on
//! removing            –                                  removed
//! ```

use crate::actor::{self, Actor};
use crate::execs::ExecTable;
use crate::filters::Filters;
use crate::ids::IdPool;
use crate::live::Live;
use crate::networks::{NetworkTable, OverlapEvents};
use crate::node::{Node, blocking};
use crate::plugins::{Plugins, RemoteDrivers};
use crate::record::{self, Definition, State};
use crate::roster::Roster;
use crate::standby::Ready;
use crate::teardown::Teardowns;
use crate::{EngineError, EventBus, Options, Result, clock, host, random, uuid};
use model::NetworkId;
use model::phase::Phase;
use runtime::cgroup::Hierarchy;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use store::Store;
use tokio::sync::mpsc;

/// How long a container that starts with the daemon may keep the others' clients waiting.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Opens everything. Before this returns, containers that run are taken over, and those that start
/// with the daemon have started, as with Docker, or have had their time.
pub(crate) async fn open(options: Options) -> Result<Arc<Node>> {
    let node = blocking(move || Ok(Arc::new(open_parts(options)?))).await?;
    read_execs(&node).await?;
    crate::builds::sweep(&node).await?;
    // Before the containers: these may use what those serve.
    let plugins = crate::managed::restore(&node).await?;
    let Restored { mut known, mut beginning } = restore(&node).await?;
    known.extend(plugins);
    let sweeping = Arc::clone(&node);
    blocking(move || {
        crate::containers::sweep(&sweeping)?;
        crate::volume_uses::sweep(&sweeping)?;
        actor::links::restore(&sweeping)?;
        sweeping.net.sweep()?;
        crate::live::renew_default_network(&sweeping)?;
        for id in actor::orphans(&sweeping, &known)? {
            sweeping.store.snapshots().remove(id)?;
        }
        Ok(())
    })
    .await?;
    collect(&node);
    if tokio::time::timeout(START_PATIENCE, beginning.recv()).await.is_err() {
        tracing::warn!("containers that start with the daemon are still starting");
    }
    Ok(node)
}

/// Removes what pulls, loads and builds of a killed daemon left, while others are served already.
fn collect(node: &Arc<Node>) {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || match node.store.gc() {
        Ok(reclaimed) if reclaimed.bytes == 0 => {}
        Ok(reclaimed) => tracing::info!(bytes = reclaimed.bytes, "collected what nothing needs"),
        Err(error) => tracing::warn!(%error, "collect what nothing needs"),
    });
}

fn open_parts(options: Options) -> Result<Node> {
    for dir in [&options.data_root, &options.exec_root] {
        make_dir(dir)?;
    }
    let containers = options.data_root.join("containers");
    make_dir(&containers)?;
    // Only speed is lost when it cannot be.
    let _ = std::fs::File::open(&containers).map(store::spread);
    make_dir(&options.exec_root.join("containers"))?;
    let store = Store::open(&options.data_root, store::Options::default())?;
    let plugins = Arc::new(Plugins::new(options.plugin_places.clone()));
    let events = EventBus::default();
    let mut net_options = net_options(&options, &plugins);
    net_options.route_news = Some(Arc::new(OverlapEvents(events.clone())));
    let net = Arc::new(net::Net::open(net_options)?);
    let hierarchy =
        Hierarchy::detect().map_err(|error| EngineError::Internal(crate::error::chain(&error)))?;
    host::tell_limits(&hierarchy);
    host::check_realtime(&options, &hierarchy)?;
    if options.systemd_cgroup {
        runtime::cgroup::systemd::check()
            .map_err(|source| EngineError::io("native.cgroupdriver=systemd", source))?;
    }
    let live = RwLock::new(Arc::new(Live::new(options.clone(), &store)?));
    let id = record::daemon_fact(store.records(), "id", uuid::random_uuid)?;
    let facts = host::facts(&hierarchy);
    crate::selinux::tell(&options, &facts);
    let node = Node {
        facts,
        ids: IdPool::of_this_process(options.id_pool_base, options.id_pool_ranges)?,
        levels: Default::default(),
        filters: Filters::new(&options.exec_root.join("seccomp")),
        ready: Ready::new(&options.runtime_exe, &containers)?,
        metrics: Default::default(),
        store,
        net,
        plugins,
        managed: Default::default(),
        networks: NetworkTable::default(),
        hierarchy,
        id,
        events,
        registry: Roster::default(),
        live,
        execs: ExecTable::default(),
        teardowns: Teardowns::default(),
        witness: Default::default(),
        volume_turns: Default::default(),
        started: clock::now(),
        options,
    };
    crate::managed::enter_running(&node)?;
    open_networks(&node.store, &node.net, &node.networks)?;
    Ok(node)
}

/// Network drivers may be plugins, where there is a runtime to ask them by.
fn net_options(options: &Options, plugins: &Arc<Plugins>) -> net::Options {
    let mut asked = options.net.clone();
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        asked.remote = Some(Arc::new(RemoteDrivers::new(Arc::clone(plugins), runtime)));
    }
    asked
}

/// Only root looks in: file owners in here are those of containers.
fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| EngineError::io(format!("make directory {}", path.display()), source))
}

/// The recorded networks, and those that always are.
fn open_networks(store: &Store, net: &net::Net, table: &NetworkTable) -> Result<()> {
    let recorded = record::networks(store.records())?;
    for spec in &recorded {
        if let Err(error) = net.restore_network(spec) {
            tracing::error!(network = %spec.name, %error, "restore network");
        }
        table.insert(spec.clone());
    }
    for draft in net.predefined()? {
        if recorded.iter().any(|spec| spec.name == draft.name) {
            continue;
        }
        let id = NetworkId::from_bytes(random::id_bytes()?);
        let spec = net.resolve(&draft, id, clock::now())?;
        record::save_network(store.records(), &spec)?;
        net.create_network(&spec)?;
        table.insert(spec);
    }
    Ok(())
}

/// What further processes were asked to be. Those of containers that do not run any more are
/// forgotten when these are restored.
async fn read_execs(node: &Arc<Node>) -> Result<()> {
    let reading = Arc::clone(node);
    let recorded = blocking(move || record::execs(reading.store.records())).await?;
    node.execs.remember(recorded);
    Ok(())
}

/// The containers that are written down.
struct Restored {
    known: Vec<model::ContainerId>,
    /// Ends when each of them has done what is first.
    beginning: mpsc::Receiver<()>,
}

/// Every container that is written down gets its actor.
async fn restore(node: &Arc<Node>) -> Result<Restored> {
    let reading = Arc::clone(node);
    let recorded = blocking(move || record::containers(reading.store.records())).await?;
    let mut known = Vec::new();
    let mut actors = Vec::new();
    for (id, loaded) in recorded {
        known.extend(model::ContainerId::parse(&id));
        match loaded {
            Ok((definition, state)) => actors.extend(restore_one(node, definition, state).await?),
            // Kept on disk for whoever can read it; its files are not touched.
            Err(error) => tracing::error!(container = %id, %error, "restore container"),
        }
    }
    let alive = |(actor, _): &(Actor, actor::First)| {
        let view = actor.handle().view();
        view.phase.run().map(|_| view.id)
    };
    let alive: Vec<_> = actors.iter().filter_map(alive).collect();
    // Only now: one may join the namespaces, or the mounts, of another.
    let (begins, beginning) = mpsc::channel(1);
    for (mut actor, first) in actors {
        let begins = begins.clone();
        tokio::spawn(async move {
            actor.begin(first).await;
            drop(begins);
            actor.run().await;
        });
    }
    drop(begins);
    crate::Containers { node: Arc::clone(node) }.thaw_committed().await?;
    if !node.live().options.live_restore {
        end_strays(node, alive).await;
    }
    Ok(Restored { known, beginning })
}

/// A daemon that was killed could not stop its containers. This one does, where containers are not
/// to outlive their daemon, and starts those again whose policy says so.
async fn end_strays(node: &Arc<Node>, ids: Vec<model::ContainerId>) {
    let containers = crate::Containers { node: Arc::clone(node) };
    containers.leave_all(ids.clone(), None).await;
    for id in ids {
        let Some(handle) = node.registry.by_id(&id) else { continue };
        if !handle.view().spec.restart.starts_with_daemon(false) {
            continue;
        }
        if let Err(error) = containers.start(&id.to_string()).await {
            tracing::warn!(container = %id, %error, "start with the daemon");
        }
    }
}

async fn restore_one(
    node: &Arc<Node>,
    definition: Definition,
    state: State,
) -> Result<Option<(Actor, actor::First)>> {
    if state.phase == Phase::Removing {
        let node = Arc::clone(node);
        let volumes = definition.spec.auto_remove || state.with_volumes;
        blocking(move || {
            actor::kill_cgroup(&node, &state.cgroup);
            if let Err(error) = actor::clear(&node, &definition, volumes) {
                tracing::error!(container = %definition.id, %error, "finish removal");
            }
            Ok(())
        })
        .await?;
        return Ok(None);
    }
    let id = definition.id;
    let opening = Arc::clone(node);
    let snapshot = blocking(move || Ok(opening.store.snapshots().open(id).ok())).await?;
    if node.registry.reserve(&definition.name, id).is_err() {
        tracing::error!(container = %id, name = %definition.name, "name is taken twice");
    }
    let mut actor = Actor::new(Arc::clone(node), definition, state, snapshot);
    node.registry.insert(actor.handle());
    let first = actor.take_over().await;
    Ok(Some((actor, first)))
}
