//! What happened, told to whoever listens. The bus keeps the last events for those who ask about
//! the past, and never waits: a listener that does not keep up loses the oldest of what it has not
//! read.
//!
//! The past is kept in two rings of bytes. As maps of texts it would be a few thousand small pieces
//! of memory, strewn between all that comes and goes, which would keep pages of it from going
//! back to the kernel.

use model::Timestamp;
use model::event::{Event, EventKind};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many events are kept for replay.
pub(crate) const MAX_HISTORY: usize = 1024;

/// How many bytes their texts have at the most.
const MAX_HISTORY_BYTES: usize = 1 << 20;

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
    heads: VecDeque<Head>,
    /// The texts of all events, one behind the other, each behind its length.
    texts: VecDeque<u8>,
    /// How many there have been.
    told: u64,
}

/// What of a kept event is no text.
#[derive(Clone, Copy, Debug)]
struct Head {
    time: Timestamp,
    kind: EventKind,
    /// Of its texts: action, actor, then names and values of attributes.
    bytes: usize,
}

impl History {
    fn keep(&mut self, event: &Event) {
        let attributes = event.attributes.iter().flat_map(|(name, value)| [name, value]);
        let texts = || [&event.action, &event.actor].into_iter().chain(attributes.clone());
        let bytes: usize = texts().map(|text| size_of::<u32>() + text.len()).sum();
        while self.heads.len() == MAX_HISTORY || self.texts.len() + bytes > MAX_HISTORY_BYTES {
            let Some(oldest) = self.heads.pop_front() else { return };
            self.texts.drain(..oldest.bytes);
        }
        for text in texts() {
            // Shorter than the ring, whose size is not near the largest number.
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.texts.extend(length.to_ne_bytes());
            self.texts.extend(text.as_bytes());
        }
        self.heads.push_back(Head { time: event.time, kind: event.kind, bytes });
    }

    /// Those of the times that are wanted, oldest first.
    fn of(&self, wanted: impl Fn(Timestamp) -> bool) -> VecDeque<Arc<Event>> {
        let mut past = VecDeque::new();
        let mut texts = self.texts.iter().copied();
        for head in &self.heads {
            let own: Vec<u8> = texts.by_ref().take(head.bytes).collect();
            if wanted(head.time) {
                past.extend(head.event(&own).map(Arc::new));
            }
        }
        past
    }
}

impl Head {
    fn event(&self, mut texts: &[u8]) -> Option<Event> {
        let mut next = || {
            let (length, rest) = texts.split_first_chunk()?;
            let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
            let (text, rest) = rest.split_at_checked(length)?;
            texts = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let (action, actor) = (next()?, next()?);
        let attributes = std::iter::from_fn(|| Some((next()?, next()?))).collect();
        Some(Event { time: self.time, kind: self.kind, action, actor, attributes })
    }
}

impl Default for EventBus {
    fn default() -> Self {
        Self { shared: Arc::default(), live: broadcast::channel(MAX_BACKLOG).0 }
    }
}

impl EventBus {
    /// Tells everybody.
    pub fn emit(&self, event: Event) {
        // Under the lock, so that a subscriber sees each event once: replayed or live.
        let mut history = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        history.told += 1;
        history.keep(&event);
        // No listener is no failure.
        let _ = self.live.send(Arc::new(event));
    }

    /// How many events there have been.
    pub(crate) fn told(&self) -> u64 {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).told
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
            Some(since) => {
                history.of(|time| time >= since && until.is_none_or(|until| time <= until))
            }
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

    #[test]
    fn the_past_is_kept_whole_and_within_bounds() {
        let mut history = History::default();
        let long = Event {
            kind: EventKind::Volume,
            actor: "ä\0".to_owned(),
            attributes: [("a", "1"), ("", ""), ("b", "=")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            ..event(1)
        };
        history.keep(&event(0));
        history.keep(&long);
        history.keep(&event(2));
        let all = history.of(|_| true);
        assert_eq!(
            all.iter().map(|it| (**it).clone()).collect::<Vec<_>>(),
            [event(0), long, event(2)]
        );
        let large = Event { action: "x".repeat(MAX_HISTORY_BYTES / 3), ..event(3) };
        for _ in 0..5 {
            history.keep(&large);
        }
        assert_eq!(history.heads.len(), 2);
        assert!(history.texts.len() <= MAX_HISTORY_BYTES);
        // What is larger than all of the past is in none.
        history.keep(&Event { action: "x".repeat(MAX_HISTORY_BYTES), ..event(4) });
        assert!(history.of(|_| true).is_empty());
        history.keep(&event(5));
        assert_eq!(history.of(|_| true).len(), 1);
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
