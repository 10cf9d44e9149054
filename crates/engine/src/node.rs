//! What the handles share: the store, the networks, the registry of containers, and how blocking
//! work is done. It has no logic of its own.

use crate::events::EventBus;
use crate::execs::ExecTable;
use crate::filters::Filters;
use crate::ids::IdPool;
use crate::live::Live;
use crate::managed;
use crate::metrics::Metrics;
use crate::networks::NetworkTable;
use crate::plugins::Plugins;
use crate::roster::Roster;
use crate::selinux::Levels;
use crate::standby::Ready;
use crate::teardown::Teardowns;
use crate::volume_mounts::Turns;
use crate::witness::Witness;
use crate::{EngineError, Options, Result};
use model::event::{Event, EventKind};
use model::resolve::HostFacts;
use runtime::cgroup::Hierarchy;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use store::Store;

/// The node's parts.
pub(crate) struct Node {
    /// As when it was opened: what stays so, the directories above all.
    pub(crate) options: Options,
    /// What may change since.
    pub(crate) live: RwLock<Arc<Live>>,
    pub(crate) store: Store,
    pub(crate) net: Arc<net::Net>,
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) managed: managed::Table,
    pub(crate) events: EventBus,
    pub(crate) registry: Roster,
    pub(crate) networks: NetworkTable,
    pub(crate) execs: ExecTable,
    pub(crate) ids: IdPool,
    pub(crate) levels: Levels,
    pub(crate) filters: Filters,
    pub(crate) teardowns: Teardowns,
    pub(crate) witness: Witness,
    pub(crate) volume_turns: Turns,
    pub(crate) facts: HostFacts,
    pub(crate) hierarchy: Hierarchy,
    pub(crate) ready: Ready,
    pub(crate) metrics: Metrics,
    /// The daemon's id.
    pub(crate) id: String,
    /// When the engine was opened.
    pub(crate) started: model::Timestamp,
}

impl Node {
    /// Directory of a container's lasting files: its log, hosts, resolv.conf, …
    pub(crate) fn container_dir(&self, id: &model::ContainerId) -> PathBuf {
        self.options.data_root.join("containers").join(id.to_string())
    }

    /// Directory of a container's run: its monitor's socket, its exit.
    pub(crate) fn state_dir(&self, id: &model::ContainerId) -> PathBuf {
        self.options.exec_root.join("containers").join(id.to_string())
    }

    /// Tells whoever listens.
    pub(crate) fn emit(
        &self,
        kind: EventKind,
        action: impl Into<String>,
        actor: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        self.events.emit(Event {
            time: crate::clock::now(),
            kind,
            action: action.into(),
            actor: actor.into(),
            attributes,
        });
    }
}

/// Runs blocking work on a thread made for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(EngineError::Internal(format!("work was abandoned: {error}"))),
    }
}
