//! The pool of host ids that containers' user namespaces are made of: each running container has a
//! range of its own. Who holds which range is in the containers' records; this is only the memory
//! of it.
//!
//! An ordinary user's daemon has one range for all: the kernel maps the ids of layers and volumes
//! only for the machine's root, so what lies on disk must be what the containers see. Each still
//! has a user namespace of its own, whose root rules nothing outside of it.

use crate::{EngineError, Result};
use model::spec::ID_RANGE;
use runtime::userns::{self, Extent};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use wire::oci::runtime::IdMapping;

/// Ranges of [`ID_RANGE`] host ids, given out one by one.
#[derive(Debug)]
pub(crate) struct IdPool {
    base: u32,
    ranges: u32,
    state: Mutex<Taken>,
    /// Of who is not in the first user namespace: the users and groups there are.
    shared: Option<(Vec<Extent>, Vec<Extent>)>,
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
        Self { base, ranges, state: Mutex::default(), shared: None }
    }

    /// As [`IdPool::new`] in the first user namespace; in any other, the ids that it has, for all.
    pub(crate) fn of_this_process(base: u32, ranges: u32) -> Result<Self> {
        if userns::is_first() {
            return Ok(Self::new(base, ranges));
        }
        let (users, groups) = (userns::users(), userns::groups());
        let count = userns::contiguous(&users).min(userns::contiguous(&groups));
        if count < ID_RANGE {
            return Err(EngineError::invalid(format!(
                "this user namespace has {count} ids, and containers have {ID_RANGE}: give the \
                 user a range of {ID_RANGE} in /etc/subuid and /etc/subgid"
            )));
        }
        tracing::info!(
            "containers have user namespaces of their own and one range of ids for all: only the \
             machine's root can map files' ids"
        );
        Ok(Self { shared: Some((users, groups)), ..Self::new(0, 1) })
    }

    /// The id maps, users and groups, of the range that begins with `first`.
    pub(crate) fn maps(&self, first: u32) -> (Vec<IdMapping>, Vec<IdMapping>) {
        let whole = vec![IdMapping { container_id: 0, host_id: first, size: ID_RANGE }];
        let Some((users, groups)) = &self.shared else { return (whole.clone(), whole) };
        let lines = |extents: &[Extent]| {
            let line = |part: &Extent| IdMapping {
                container_id: part.first - first,
                host_id: part.first,
                size: part.count,
            };
            userns::cut(first, ID_RANGE, extents).iter().map(line).collect()
        };
        (lines(users), lines(groups))
    }

    /// A free range, as its first id.
    pub(crate) fn take(&self) -> Result<u32> {
        if self.shared.is_some() {
            return Ok(self.base);
        }
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
    fn an_ordinary_users_containers_share_what_there_is() {
        let extent = |first, count| Extent { first, count };
        let own = vec![extent(0, 1), extent(1, 70_000)];
        let pool = IdPool { shared: Some((own.clone(), own)), ..IdPool::new(0, 1) };
        assert_eq!((pool.take().unwrap(), pool.take().unwrap()), (0, 0));
        let line = |id, size| IdMapping { container_id: id, host_id: id, size };
        assert_eq!(pool.maps(0).0, [line(0, 1), line(1, 65_535)]);
        let one = IdPool::new(1 << 28, 2);
        assert_eq!(one.maps(1 << 28).1[0].host_id, 1 << 28);
    }

    #[test]
    fn an_adopted_range_is_not_given_out() {
        let pool = IdPool::new(1 << 28, 2);
        pool.adopt(1 << 28);
        assert_eq!(pool.take().unwrap(), (1 << 28) + 65536);
        assert!(pool.take().is_err());
    }
}
