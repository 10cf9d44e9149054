//! What happened, told to whoever listens. The bus keeps the last events for those who ask about
//! the past, and never waits: a listener that does not keep up loses the oldest of what it has not
//! read.

use model::Timestamp;
use model::event::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many events are kept for replay.
pub(crate) const MAX_HISTORY: usize = 1024;

/// How many events wait for a slow listener.
pub(crate) const MAX_BACKLOG: usize = 1024;

/// Where events go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventBus {
    shared: Arc<Mutex<History>>,
    live: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct History {
    events: VecDeque<Arc<Event>>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self { shared: Arc::default(), live: broadcast::channel(MAX_BACKLOG).0 }
    }
}

impl EventBus {
    /// Tells everybody.
    pub fn emit(&self, event: Event) {
        let event = Arc::new(event);
        // Under the lock, so that a subscriber sees each event once: replayed or live.
        let mut history = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if history.events.len() == MAX_HISTORY {
            history.events.pop_front();
        }
        history.events.push_back(Arc::clone(&event));
        // No listener is no failure.
        let _ = self.live.send(event);
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    /// Listens: to kept events not before `since` (none of them when absent), then to new ones,
    /// until `until` has passed.
    pub fn subscribe(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> EventStream {
        let history = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.subscribe();
        let past = match since {
            None => VecDeque::new(),
            Some(since) => history
                .events
                .iter()
                .filter(|event| event.time >= since && until.is_none_or(|end| event.time <= end))
                .cloned()
                .collect(),
        };
        EventStream { past, live, until }
    }
}

/// Events as they come.
#[derive(Debug)]
pub struct EventStream {
    past: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    until: Option<Timestamp>,
}

impl EventStream {
    /// The next event; `None` when the end asked for has passed. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Event> {
        if let Some(event) = self.past.pop_front() {
            return Some((*event).clone());
        }
        let Some(until) = self.until else { return self.next_live().await };
        let left = until.since(crate::clock::now());
        let event = tokio::time::timeout(std::time::Duration::from_nanos(left), self.next_live())
            .await
            .ok()??;
        (event.time <= until).then_some(event)
    }

    async fn next_live(&mut self) -> Option<Event> {
        loop {
            match self.live.recv().await {
                Ok(event) => return Some((*event).clone()),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::event::EventKind;

    fn event(at: i64) -> Event {
        Event {
            time: Timestamp(at),
            kind: EventKind::Container,
            action: at.to_string(),
            actor: String::new(),
            attributes: Default::default(),
        }
    }

    #[tokio::test]
    async fn the_past_is_replayed_once_and_the_present_follows() {
        let bus = EventBus::default();
        for at in 1..=3 {
            bus.emit(event(at));
        }
        let mut stream = bus.subscribe(Some(Timestamp(2)), None);
        bus.emit(event(4));
        for want in ["2", "3", "4"] {
            assert_eq!(stream.recv().await.unwrap().action, want);
        }
    }

    #[tokio::test]
    async fn an_end_in_the_past_ends_the_stream() {
        let bus = EventBus::default();
        bus.emit(event(1));
        bus.emit(event(9));
        let mut stream = bus.subscribe(Some(Timestamp(0)), Some(Timestamp(5)));
        assert_eq!(stream.recv().await.unwrap().action, "1");
        assert!(stream.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_listener_loses_the_oldest_and_memory_stays_bounded() {
        let bus = EventBus::default();
        let mut stream = bus.subscribe(None, None);
        for at in 0..10_000 {
            bus.emit(event(at));
        }
        let first = stream.recv().await.unwrap();
        assert!(first.time.0 >= 10_000 - MAX_BACKLOG as i64);
        assert_eq!(bus.subscribe(Some(Timestamp(0)), None).past.len(), MAX_HISTORY);
    }
}
