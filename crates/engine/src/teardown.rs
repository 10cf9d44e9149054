//! Clean-up that goes on after its request was answered (links, rules, layers). Whoever needs what
//! a clean-up gives back (a port, an address, a network without endpoints) waits for those under
//! way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// How many clean-ups are under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Teardowns {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    idle: Notify,
}

/// One clean-up; over when dropped.
#[derive(Debug)]
pub(crate) struct Teardown {
    shared: Arc<Shared>,
}

impl Teardowns {
    /// Announces a clean-up.
    pub(crate) fn begin(&self) -> Teardown {
        self.shared.running.fetch_add(1, Ordering::AcqRel);
        Teardown { shared: Arc::clone(&self.shared) }
    }

    /// Whether any is under way.
    pub(crate) fn busy(&self) -> bool {
        self.shared.running.load(Ordering::Acquire) > 0
    }

    /// Waits until none is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.shared.idle.notified();
            if !self.busy() {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for Teardown {
    fn drop(&mut self) {
        if self.shared.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_comes_with_the_last() {
        let all = Teardowns::default();
        all.idle().await;
        let (first, second) = (all.begin(), all.begin());
        let waiting = tokio::spawn({
            let all = all.clone();
            async move { all.idle().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
    }
}
