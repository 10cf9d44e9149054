//! What is made of a container that was watched ([`runtime::witness`]): a profile of what it needs,
//! and for what it was denied the option that would allow it.
//!
//! ```text
//!  runtime::witness ──Seen──┬──▶ profile   what it needs
//!                           └──▶ advice    what it was denied, why, and what would allow it
//! ```
//! Needs root in the first namespaces; where that is not given, beginning fails and says so.

mod advice;
mod profile;

pub use advice::Advice;
pub use profile::Learned;

use crate::node::Node;
use crate::{EngineError, Result};
use advice::Facts;
use model::ContainerId;
use model::view::ContainerView;
use runtime::error::LaunchError;
use runtime::witness::{Seen, Since, available, begin};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most containers whose last watch is remembered.
const MAX_REMEMBERED: usize = 64;

/// How long the last events of a container that has ended are waited for.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// What is known of one container.
#[derive(Debug, Clone, Default)]
struct Watch {
    /// The next start is watched.
    expected: bool,
    /// What was seen since the last watch began.
    seen: Option<Arc<Mutex<Seen>>>,
}

/// The watches of this node.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    watches: Mutex<BTreeMap<ContainerId, Watch>>,
}

impl Witness {
    fn watches(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next start of the container is watched from its first call on.
    fn expect(&self, id: ContainerId) {
        let mut watches = self.watches();
        if watches.len() >= MAX_REMEMBERED && !watches.contains_key(&id) {
            watches.retain(|_, watch| watch.expected);
        }
        watches.entry(id).or_default().expected = true;
    }

    /// Whether the next start is to be watched. A start that fails leaves it so.
    pub(crate) fn expects(&self, id: ContainerId) -> bool {
        self.watches().get(&id).is_some_and(|watch| watch.expected)
    }

    /// Watches a container that is about to begin, as process `pid`. A watch that cannot be had is
    /// told and stops nothing.
    pub(crate) fn starting(&self, id: ContainerId, pid: i32) {
        if let Some(watch) = self.watches().get_mut(&id) {
            watch.expected = false;
        }
        self.note(id, begin(&[pid], Since::TheCommand(pid), None));
    }

    fn note(&self, id: ContainerId, begun: std::result::Result<Arc<Mutex<Seen>>, LaunchError>) {
        match begun {
            Ok(seen) => self.watches().entry(id).or_default().seen = Some(seen),
            Err(error) => {
                tracing::warn!(container = %id, %error, "watch");
                let failed = Seen::failed(error.to_string());
                self.watches().entry(id).or_default().seen = Some(Arc::new(Mutex::new(failed)));
            }
        }
    }

    fn seen(&self, id: ContainerId) -> Option<Seen> {
        let seen = self.watches().get(&id)?.seen.clone()?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        Some(seen.clone())
    }
}

/// Watches the container: from its next start on when it does not run, else from now on.
pub(crate) fn watch(node: &Node, view: &ContainerView) -> Result<()> {
    available().map_err(refused)?;
    let id = view.id;
    match view.phase.run() {
        None => node.witness.expect(id),
        Some(run) => {
            let pids = tasks(node, view, run.pid);
            let begun = begin(&pids, Since::Now(run.pid), None).map_err(refused)?;
            node.witness.note(id, Ok(begun));
        }
    }
    Ok(())
}

fn refused(error: LaunchError) -> EngineError {
    EngineError::invalid(error.to_string())
}

/// What was learned of a container that is or was watched.
pub(crate) fn learned(node: &Node, view: &ContainerView) -> Result<Learned> {
    let never = || {
        EngineError::invalid(format!(
            "container {} was not watched since the daemon began",
            view.id
        ))
    };
    let mut seen = node.witness.seen(view.id).ok_or_else(never)?;
    let deadline = std::time::Instant::now() + LAST_EVENTS;
    while view.phase.run().is_none() && !seen.done && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        seen = node.witness.seen(view.id).ok_or_else(never)?;
    }
    if let Some(failure) = &seen.failure {
        return Err(EngineError::Internal(failure.clone()));
    }
    profile::of(view, &seen)
}

/// What was denied to a container, with what would allow it: from the last watch, and when it
/// runs and `during` is not zero, from a watch for so long.
pub(crate) fn denials(node: &Node, view: &ContainerView, during: Duration) -> Result<Vec<Advice>> {
    let mut all = advice::of_facts(&facts(node, view));
    if let (Some(run), false) = (view.phase.run(), during.is_zero()) {
        let pids = tasks(node, view, run.pid);
        let seen = begin(&pids, Since::Now(run.pid), Some(during)).map_err(refused)?;
        std::thread::sleep(during);
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(advice::of_seen(view, &seen));
    }
    if let Some(seen) = node.witness.seen(view.id) {
        all.extend(advice::of_seen(view, &seen));
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// What the control group and the container's end tell.
fn facts(node: &Node, view: &ContainerView) -> Facts {
    let path = crate::host::cgroup_of(&view.spec.cgroup_parent, &view.id);
    let cgroup = runtime::cgroup::Cgroup::open(&node.hierarchy, &path).ok();
    let events = cgroup.as_ref().and_then(|cgroup| cgroup.dir("pids")).and_then(|dir| {
        let text = std::fs::read_to_string(dir.join("pids.events")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("max ")?.parse().ok())
    });
    Facts {
        pids_refused: events.unwrap_or(0),
        exit: view.phase.exit().map(|exit| (exit.code, exit.oom_killed)),
    }
}

/// Every thread of the container.
fn tasks(node: &Node, view: &ContainerView, first: i32) -> Vec<i32> {
    let path = crate::host::cgroup_of(&view.spec.cgroup_parent, &view.id);
    let group = runtime::cgroup::Cgroup::open(&node.hierarchy, &path).ok();
    let processes = group.and_then(|group| group.processes().ok()).unwrap_or_default();
    let threads = processes.into_iter().chain([first]).flat_map(|pid| {
        let dir = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        dir.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect::<Vec<i32>>()
    });
    let mut all: Vec<i32> = threads.collect();
    all.sort_unstable();
    all.dedup();
    all
}
