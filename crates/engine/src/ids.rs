//! The pool of host ids that containers' user namespaces are made of: each running container has a
//! range of its own. Who holds which range is in the containers' records; this is only the memory
//! of it.

use crate::{EngineError, Result};
use model::spec::ID_RANGE;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Ranges of [`ID_RANGE`] host ids, given out one by one.
#[derive(Debug)]
pub(crate) struct IdPool {
    base: u32,
    ranges: u32,
    state: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    ranges: BTreeSet<u32>,
    /// Where to look first: ranges are used in turn, so that one just given back rests.
    next: u32,
}

impl IdPool {
    /// `ranges` ranges from host id `base`; cut to what 32 bits hold.
    pub(crate) fn new(base: u32, ranges: u32) -> Self {
        let ranges = ranges.min((u32::MAX - base) / ID_RANGE);
        Self { base, ranges, state: Mutex::default() }
    }

    /// A free range, as its first id.
    pub(crate) fn take(&self) -> Result<u32> {
        let mut taken = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = taken.next;
        let free = (0..self.ranges)
            .map(|offset| (start + offset) % self.ranges)
            .find(|range| !taken.ranges.contains(range))
            .ok_or_else(|| EngineError::Exhausted("no range of user ids is free".to_owned()))?;
        taken.ranges.insert(free);
        taken.next = (free + 1) % self.ranges;
        Ok(self.base + free * ID_RANGE)
    }

    /// Takes the range that a running container is known to hold.
    pub(crate) fn adopt(&self, first: u32) {
        if let Some(range) = self.range_of(first) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).ranges.insert(range);
        }
    }

    /// Gives a range back.
    pub(crate) fn release(&self, first: u32) {
        if let Some(range) = self.range_of(first) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).ranges.remove(&range);
        }
    }

    fn range_of(&self, first: u32) -> Option<u32> {
        first.checked_sub(self.base).map(|offset| offset / ID_RANGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_never_overlap_and_come_back() {
        let pool = IdPool::new(1 << 28, 3);
        let all: BTreeSet<u32> = (0..3).map(|_| pool.take().unwrap()).collect();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [0, 1, 2].map(|n| (1 << 28) + n * 65536));
        assert!(pool.take().is_err());
        pool.release((1 << 28) + 65536);
        assert_eq!(pool.take().unwrap(), (1 << 28) + 65536);
    }

    #[test]
    fn an_adopted_range_is_not_given_out() {
        let pool = IdPool::new(1 << 28, 2);
        pool.adopt(1 << 28);
        assert_eq!(pool.take().unwrap(), (1 << 28) + 65536);
        assert!(pool.take().is_err());
    }
}
