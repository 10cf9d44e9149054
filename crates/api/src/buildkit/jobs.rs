//! The builds that BuildKit's clients have running, by the id that the client chose: what they
//! tell, how they end. Knows no wire format.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::status::Story;

/// How many builds may be known at once.
const MAX_JOBS: usize = 1024;
/// How long a client that asks for a build's progress waits for the build.
const FIND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a build's progress can be asked for after its end.
const LINGER: Duration = Duration::from_secs(15);

/// Builds by id.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    known: Mutex<HashMap<String, Arc<Story>>>,
    changed: watch::Sender<()>,
}

/// A running build; its progress ends when this is dropped.
pub(crate) struct Job {
    jobs: Arc<super::BuildKit>,
    id: String,
    story: Arc<Story>,
}

/// A running build, as those see it who note what becomes of it.
pub(super) struct Observed {
    pub(super) id: String,
    pub(super) story: Arc<Story>,
    pub(super) kit: Arc<super::BuildKit>,
}

/// Why a build cannot begin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Busy {
    /// The id is taken.
    #[error("build {0} exists already")]
    Taken(String),
    /// There are too many.
    #[error("{MAX_JOBS} builds are running already")]
    Many,
}

impl Job {
    /// Begins a build.
    ///
    /// # Errors
    /// The id is taken, or there are too many.
    pub(crate) fn begin(kit: &Arc<super::BuildKit>, id: &str) -> Result<Self, Busy> {
        let mut known = kit.jobs.lock();
        // One that is over can still be asked about; its name is free.
        if known.get(id).is_some_and(|story| !story.has_ended()) {
            return Err(Busy::Taken(id.to_owned()));
        }
        if known.len() >= MAX_JOBS {
            return Err(Busy::Many);
        }
        let story = Arc::new(Story::default());
        known.insert(id.to_owned(), Arc::clone(&story));
        drop(known);
        kit.jobs.changed.send_replace(());
        Ok(Self { jobs: Arc::clone(kit), id: id.to_owned(), story })
    }

    /// What it tells.
    pub(crate) fn story(&self) -> Arc<Story> {
        Arc::clone(&self.story)
    }

    /// The same for whoever outlives it.
    pub(super) fn observed(&self) -> Observed {
        Observed { id: self.id.clone(), story: self.story(), kit: Arc::clone(&self.jobs) }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.story.end();
        let (jobs, id) = (Arc::clone(&self.jobs), std::mem::take(&mut self.id));
        let story = Arc::clone(&self.story);
        let forget = async move {
            // A client may ask for the progress only after a short build has ended.
            tokio::time::sleep(LINGER).await;
            let mut known = jobs.jobs.lock();
            // Another build may have the name by now.
            if known.get(&id).is_some_and(|own| Arc::ptr_eq(own, &story)) {
                known.remove(&id);
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(forget)),
            Err(_) => drop(forget),
        }
    }
}

impl Jobs {
    /// The progress of a build, waiting a while for the build to begin.
    pub(crate) async fn find(&self, id: &str) -> Option<Arc<Story>> {
        let mut changed = self.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                if let Some(story) = self.lock().get(id) {
                    return Some(Arc::clone(story));
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(FIND_TIMEOUT, search).await.ok().flatten()
    }

    /// The progress of a build that is under way or has just ended.
    pub(crate) fn known(&self, id: &str) -> Option<Arc<Story>> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Story>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
