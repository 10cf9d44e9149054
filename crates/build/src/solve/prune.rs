//! What the cache holds, and making room in it: by age, by kind, by size, oldest use first.

use super::{Solver, blocking, now};
use crate::cache::{CacheKind, CacheRecord, PruneOptions};
use crate::error::{Act, Result};
use model::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;

impl Solver {
    /// What the build cache holds, last used first.
    pub async fn usage(&self) -> Result<Vec<CacheRecord>> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let images = inner.store.images().list()?;
            let named: HashSet<_> =
                images.iter().flat_map(|image| image.diff_ids.iter().copied()).collect();
            let mut all: Vec<CacheRecord> = inner
                .cache
                .all()?
                .iter()
                .map(|known| known.shown(&|layer| named.contains(layer)))
                .collect();
            all.extend(inner.mounts.all()?);
            all.extend(inner.store.mirror_usage()?.into_iter().map(mirror));
            all.sort_by_key(|record| std::cmp::Reverse(record.last_used));
            Ok(all)
        })
        .await
    }

    /// Makes room; gives what was removed and the bytes freed.
    pub async fn prune(&self, options: PruneOptions) -> Result<(Vec<CacheRecord>, u64)> {
        self.make_room(&[options], true).await
    }

    /// Makes room by one rule after the other; gives what was removed and the bytes freed.
    pub async fn collect(&self, rules: &[PruneOptions]) -> Result<(Vec<CacheRecord>, u64)> {
        self.make_room(rules, false).await
    }

    /// `asked`: what nothing needs goes too, even if no rule removes anything.
    async fn make_room(
        &self,
        rules: &[PruneOptions],
        asked: bool,
    ) -> Result<(Vec<CacheRecord>, u64)> {
        let mut all = self.usage().await?;
        let (inner, rules) = (Arc::clone(&self.inner), rules.to_vec());
        blocking(move || {
            let mut removed = Vec::new();
            let mut bytes = 0u64;
            for options in rules {
                let free = free_bytes(inner.store.root())?.saturating_add(bytes);
                for record in choose(&all, &options, now().0, free) {
                    store::failpoint::hit("build.prune.record");
                    let gone = match record.kind {
                        CacheKind::CacheMount => inner.mounts.remove(&record.id)?,
                        CacheKind::SourceLocal => inner.store.remove_mirror(&record.id)?,
                        _ => inner.cache.remove(&record.id).map(|()| true)?,
                    };
                    if gone {
                        bytes = bytes.saturating_add(record.size_bytes);
                        all.retain(|other| other.id != record.id);
                        removed.push(record);
                    }
                }
            }
            if removed.is_empty() && !asked {
                return Ok((removed, 0));
            }
            let own: u64 = removed
                .iter()
                .filter(|it| matches!(it.kind, CacheKind::CacheMount | CacheKind::SourceLocal))
                .map(|record| record.size_bytes)
                .sum();
            inner.cache.sweep()?;
            let layers = inner.store.gc()?.bytes;
            Ok((removed, own.saturating_add(layers)))
        })
        .await
    }
}

fn mirror(usage: store::mirror::MirrorUsage) -> CacheRecord {
    let used = Timestamp(usage.used_s.saturating_mul(1_000_000_000));
    CacheRecord {
        id: usage.name,
        parents: Vec::new(),
        kind: CacheKind::SourceLocal,
        description: "local source".to_owned(),
        // One that a build uses is spared when its turn comes.
        in_use: false,
        shared: false,
        size_bytes: usage.bytes,
        created: used,
        last_used: Some(used),
        usage_count: 1,
    }
}

fn free_bytes(root: &std::path::Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(root).act(|| "ask for free space".into())?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What goes. `all` is sorted, last used first; what a build uses now stays.
fn choose(
    all: &[CacheRecord],
    options: &PruneOptions,
    now_ns: i64,
    free_bytes: u64,
) -> Vec<CacheRecord> {
    // A rule for some kinds counts those.
    let counts =
        |record: &&CacheRecord| options.kinds.is_empty() || options.kinds.contains(&record.kind);
    let total: u64 = all.iter().filter(counts).map(|record| record.size_bytes).sum();
    let age_ns = i64::try_from(options.unused_for_s.saturating_mul(1_000_000_000));
    let oldest_kept = now_ns.saturating_sub(age_ns.unwrap_or(i64::MAX));
    let fits = |record: &CacheRecord| {
        let used = record.last_used.unwrap_or(record.created).0;
        !record.in_use
            && (options.kinds.is_empty() || options.kinds.contains(&record.kind))
            && (options.ids.is_empty() || options.ids.iter().any(|id| record.id.starts_with(id)))
            && (options.unused_for_s == 0 || used <= oldest_kept)
            && (options.all || !record.shared)
    };
    let limited =
        options.reserved_bytes > 0 || options.max_used_bytes > 0 || options.min_free_bytes > 0;
    let (mut left, mut free) = (total, free_bytes);
    let mut chosen = Vec::new();
    for record in all.iter().rev() {
        let too_much = options.max_used_bytes > 0 && left > options.max_used_bytes;
        let too_full = options.min_free_bytes > 0 && free < options.min_free_bytes;
        let only_reserve = options.max_used_bytes == 0 && options.min_free_bytes == 0;
        let wanted =
            !limited || left > options.reserved_bytes && (too_much || too_full || only_reserve);
        if !wanted || !fits(record) {
            continue;
        }
        left = left.saturating_sub(record.size_bytes);
        free = free.saturating_add(record.size_bytes);
        chosen.push(record.clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, used_s: i64, size_bytes: u64) -> CacheRecord {
        let at = Timestamp(used_s * 1_000_000_000);
        CacheRecord {
            id: id.to_owned(),
            parents: Vec::new(),
            kind: CacheKind::Regular,
            description: String::new(),
            in_use: false,
            shared: false,
            size_bytes,
            created: at,
            last_used: Some(at),
            usage_count: 1,
        }
    }

    fn chosen(options: &PruneOptions, free: u64) -> String {
        let mut used = record("u", 1, 10);
        used.in_use = true;
        let mut shared = record("s", 2, 10);
        shared.shared = true;
        let all = vec![record("c", 90, 10), record("b", 50, 10), record("a", 10, 10), shared, used];
        let chosen = choose(&all, options, 100 * 1_000_000_000, free);
        chosen.iter().map(|record| record.id.as_str()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_only_as_many_as_must() {
        let none = PruneOptions::default();
        assert_eq!(chosen(&none, 0), "abc");
        assert_eq!(chosen(&PruneOptions { all: true, ..none.clone() }, 0), "sabc");
        assert_eq!(chosen(&PruneOptions { unused_for_s: 50, ..none.clone() }, 0), "ab");
        assert_eq!(chosen(&PruneOptions { max_used_bytes: 35, ..none.clone() }, 0), "ab");
        assert_eq!(chosen(&PruneOptions { reserved_bytes: 40, ..none.clone() }, 0), "a");
        let both = PruneOptions { max_used_bytes: 5, reserved_bytes: 40, ..none.clone() };
        assert_eq!(chosen(&both, 0), "a");
        let disk = PruneOptions { min_free_bytes: 15, ..none.clone() };
        assert_eq!(chosen(&disk, 0), "ab");
        assert_eq!(chosen(&disk, 20), "");
        assert_eq!(chosen(&PruneOptions { ids: vec!["b".into()], ..none }, 0), "b");
    }
}
