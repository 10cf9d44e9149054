//! Builds as they begin and end, for whoever listens to the history: what is under way now, and
//! news of it. Knows nothing of what is remembered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard_buildkit_proto::moby::buildkit::v1 as pb;
use tokio::sync::broadcast;

/// News that wait for a slow listener; of more it misses the oldest.
const QUEUE: usize = 64;

/// Those who listen, and what they are told of.
#[derive(Debug)]
pub(super) struct Listeners {
    active: Mutex<BTreeMap<String, pb::BuildHistoryRecord>>,
    news: broadcast::Sender<pb::BuildHistoryEvent>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { active: Mutex::default(), news: broadcast::Sender::new(QUEUE) }
    }
}

impl Listeners {
    /// A build began.
    pub(super) fn begun(&self, record: &pb::BuildHistoryRecord) {
        let mut active = self.lock();
        active.insert(record.r#ref.clone(), record.clone());
        self.tell(pb::BuildHistoryEventType::Started, record.clone());
    }

    /// A build ended, and is remembered.
    pub(super) fn ended(&self, record: pb::BuildHistoryRecord) {
        let mut active = self.lock();
        // Another build may have the name by now.
        if active.get(&record.r#ref).is_some_and(|own| own.created_at == record.created_at) {
            active.remove(&record.r#ref);
        }
        self.tell(pb::BuildHistoryEventType::Complete, record);
    }

    /// What is under way, and whatever follows.
    pub(super) fn listen(
        &self,
    ) -> (Vec<pb::BuildHistoryEvent>, broadcast::Receiver<pb::BuildHistoryEvent>) {
        let active = self.lock();
        let begun = |record: &pb::BuildHistoryRecord| {
            event(pb::BuildHistoryEventType::Started, record.clone())
        };
        (active.values().map(begun).collect(), self.news.subscribe())
    }

    fn tell(&self, kind: pb::BuildHistoryEventType, record: pb::BuildHistoryRecord) {
        // Nobody may be listening.
        let _ = self.news.send(event(kind, record));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, pb::BuildHistoryRecord>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(kind: pb::BuildHistoryEventType, record: pb::BuildHistoryRecord) -> pb::BuildHistoryEvent {
    pb::BuildHistoryEvent { r#type: kind.into(), record: Some(record) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> pb::BuildHistoryRecord {
        pb::BuildHistoryRecord { r#ref: id.to_owned(), ..pb::BuildHistoryRecord::default() }
    }

    #[test]
    fn listeners_hear_of_what_is_under_way_and_of_what_follows() {
        let listeners = Listeners::default();
        listeners.begun(&record("a"));
        let (active, mut news) = listeners.listen();
        let ids = |events: &[pb::BuildHistoryEvent]| -> Vec<String> {
            events.iter().flat_map(|it| &it.record).map(|it| it.r#ref.clone()).collect()
        };
        assert_eq!(ids(&active), ["a"]);
        listeners.begun(&record("b"));
        listeners.ended(record("a"));
        let heard = [news.try_recv().unwrap(), news.try_recv().unwrap()];
        assert_eq!(ids(&heard), ["b", "a"]);
        assert_eq!(heard[1].r#type, i32::from(pb::BuildHistoryEventType::Complete));
        assert_eq!(ids(&listeners.listen().0), ["b"]);
    }
}
