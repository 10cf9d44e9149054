//! Contexts that clients send as archives with a request of their own, for the build that names
//! them. Knows directories only by their handle.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build::client::LocalDir;
use tokio::sync::watch;

/// How many contexts may wait for their build.
const MAX_WAITING: usize = 16;
/// How long a build waits for its context, and a context for its build.
const PATIENCE: Duration = Duration::from_secs(300);

/// Contexts by the id of their build.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    waiting: Mutex<HashMap<String, LocalDir>>,
    changed: watch::Sender<()>,
}

impl Uploads {
    /// Keeps a context until its build has taken it; false if too many wait already.
    pub(super) async fn keep(&self, id: &str, context: LocalDir) -> bool {
        let mut changed = self.changed.subscribe();
        {
            let mut waiting = self.lock();
            if waiting.len() >= MAX_WAITING {
                return false;
            }
            waiting.insert(id.to_owned(), context);
        }
        self.changed.send_replace(());
        let taken = async {
            while self.lock().contains_key(id) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whatever the reason, nothing stays behind.
        let _ = tokio::time::timeout(PATIENCE, taken).await;
        self.lock().remove(id);
        true
    }

    /// The context of a build, waiting for it to come.
    pub(super) async fn take(&self, id: &str) -> Option<LocalDir> {
        let mut changed = self.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                let found = self.lock().remove(id);
                if found.is_some() {
                    self.changed.send_replace(());
                    return found;
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(PATIENCE, search).await.ok().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, LocalDir>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
