//! What a user sees as a container's changes: what the store found, without the mount points that
//! the runtime itself needs. Pure.

use super::{Change, ChangeKind};

/// Made in the writable layer where the image lacks them, so that something can be mounted there.
pub(super) const MOUNT_POINTS: [&str; 6] =
    ["/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// `all` without what only the runtime did.
pub(super) fn by_the_user(all: Vec<Change>) -> Vec<Change> {
    let own = |change: &Change| {
        change.kind == ChangeKind::Added && MOUNT_POINTS.contains(&change.path.as_str())
    };
    let (own, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(own);
    let below = |change: &Change, directory: &str| {
        change.path.strip_prefix(directory).is_some_and(|name| name.starts_with('/'))
    };
    // A directory that changed only because a mount point was made in it.
    let touched = |change: &Change, rest: &[Change]| {
        change.kind == ChangeKind::Modified
            && own.iter().any(|it| below(it, &change.path))
            && !rest.iter().any(|it| below(it, &change.path))
    };
    let kept = rest.iter().filter(|change| !touched(change, &rest));
    kept.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_nobodys_change() {
        for (all, want) in [
            ("A /dev,C /etc,A /etc/hosts,A /etc/hostname,A /proc", ""),
            ("C /etc,A /etc/hosts,C /etc/passwd", "C /etc,C /etc/passwd"),
            ("D /etc/hosts,C /etc", "D /etc/hosts,C /etc"),
            ("A /devices,A /etc2,C /etc2x", "A /devices,A /etc2,C /etc2x"),
        ] {
            let parse = |line: &str| {
                let (kind, path) = line.split_once(' ')?;
                let kind = match kind {
                    "A" => ChangeKind::Added,
                    "C" => ChangeKind::Modified,
                    _ => ChangeKind::Deleted,
                };
                Some(Change { path: path.to_owned(), kind })
            };
            let list = |text: &str| text.split(',').filter_map(parse).collect::<Vec<_>>();
            assert_eq!(by_the_user(list(all)), list(want), "{all}");
        }
    }
}
