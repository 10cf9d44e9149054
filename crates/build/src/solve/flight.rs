//! Work that several builds want at the same time is done once. Whoever waits holds the work; when
//! the last one leaves, it is ended.

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Work under way, by key.
pub(crate) struct Flights<T> {
    under_way: Mutex<HashMap<[u8; 32], Weak<Flight<T>>>>,
}

struct Flight<T> {
    outcome: watch::Receiver<Option<Result<T>>>,
    task: AbortHandle,
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Weak<Flight<T>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the work under this key, or begins it.
    pub(crate) async fn join<F>(&self, key: [u8; 32], begin: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let flight = {
            let mut under_way = self.lock();
            under_way.retain(|_, flight| flight.strong_count() > 0);
            match under_way.get(&key).and_then(Weak::upgrade) {
                Some(flight) => flight,
                None => {
                    let (tx, outcome) = watch::channel(None);
                    let work = begin();
                    let task = tokio::spawn(async move {
                        let done = work.await;
                        // Everybody may have left.
                        let _ = tx.send(Some(done));
                    });
                    let flight = Arc::new(Flight { outcome, task: task.abort_handle() });
                    under_way.insert(key, Arc::downgrade(&flight));
                    flight
                }
            }
        };
        let mut outcome = flight.outcome.clone();
        let done = outcome.wait_for(Option::is_some).await.map_err(|_| Error::Cancelled)?;
        done.clone().unwrap_or(Err(Error::Cancelled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn the_same_work_is_done_once_and_ends_with_the_last_who_waits() {
        let flights = Arc::new(Flights::<usize>::new());
        let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = |flights: Arc<Flights<usize>>| {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            tokio::spawn(async move {
                flights
                    .join([1; 32], || async move {
                        begun.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                        Ok(7)
                    })
                    .await
            })
        };
        let (first, second) = (ask(Arc::clone(&flights)), ask(Arc::clone(&flights)));
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        first.abort();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        assert_eq!(second.await.unwrap().unwrap(), 7);
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        // The next one begins anew.
        let third = ask(Arc::clone(&flights));
        while begun.load(Ordering::SeqCst) == 1 {
            tokio::task::yield_now().await;
        }
        third.abort();
        assert!(third.await.is_err());
        while Arc::strong_count(&go) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
