//! The user namespace that this process is in: whether it is the first one, and which ids it has.
//! What follows from it is not decided here.
//!
//! Source: user_namespaces(7).

use std::sync::OnceLock;

/// Inode of the first user namespace, `PROC_USER_INIT_INO`, include/linux/proc_ns.h.
const FIRST: u64 = 0xEFFF_FFFD;

/// Whether this process is in the first user namespace, where root is the machine's. Asked once.
#[must_use]
pub fn is_first() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| match rustix::fs::stat(c"/proc/self/ns/user") {
        Ok(stat) => stat.st_ino == FIRST,
        // Without /proc: kernels without user namespaces have no such file either.
        Err(_) => true,
    })
}

/// Ids that follow each other inside and outside alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first, as this namespace has it.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The users that this process's namespace has, ascending. The kernel maps a range of a child's
/// namespace only from within one extent of its parent's.
#[must_use]
pub fn users() -> Vec<Extent> {
    read("/proc/self/uid_map")
}

/// The groups that this process's namespace has, ascending.
#[must_use]
pub fn groups() -> Vec<Extent> {
    read("/proc/self/gid_map")
}

fn read(path: &str) -> Vec<Extent> {
    parse(&std::fs::read_to_string(path).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Extent> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let first = words.next()?.parse().ok()?;
        Some(Extent { first, count: words.nth(1)?.parse().ok()? })
    };
    let mut all: Vec<Extent> = text.lines().filter_map(line).collect();
    all.sort_by_key(|extent| extent.first);
    all
}

/// How many ids there are from 0 on without a gap.
#[must_use]
pub fn contiguous(extents: &[Extent]) -> u32 {
    extents.iter().fold(0, |end: u32, extent| match extent.first == end {
        true => end.saturating_add(extent.count),
        false => end,
    })
}

/// The ids from `first` on, `count` of them, cut where one of `extents` ends; what no extent has is
/// left out.
#[must_use]
pub fn cut(first: u32, count: u32, extents: &[Extent]) -> Vec<Extent> {
    let end = first.saturating_add(count);
    let part = |extent: &Extent| {
        let from = extent.first.max(first);
        let to = extent.first.saturating_add(extent.count).min(end);
        (from < to).then(|| Extent { first: from, count: to - from })
    };
    extents.iter().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_and_cut() {
        let all = parse("         1     100000      65536\n         0       1000          1\n");
        let extent = |first, count| Extent { first, count };
        assert_eq!(all, [extent(0, 1), extent(1, 65_536)]);
        assert_eq!(contiguous(&all), 65_537);
        assert_eq!(cut(0, 65_536, &all), [extent(0, 1), extent(1, 65_535)]);
        assert_eq!(cut(5, 10, &all), [extent(5, 10)]);
        assert_eq!(contiguous(&[extent(0, 1), extent(5, 9)]), 1);
        assert_eq!(contiguous(&[]), 0);
        assert_eq!(cut(0, 10, &[extent(0, 1), extent(5, 9)]), [extent(0, 1), extent(5, 5)]);
    }

    #[test]
    fn this_process_has_ids() {
        assert!(contiguous(&users()) > 0 && contiguous(&groups()) > 0);
    }
}
