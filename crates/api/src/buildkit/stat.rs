//! Entries of directories in the form in which BuildKit's clients tell them (fsutil's `Stat`), with
//! Go's `os.FileMode` bits. Pure.

use bollard_buildkit_proto::fsutil::types::Stat;
use engine::mirror::{Entry, Kind};
use wire::file_mode::{self, DIR, IRREGULAR, NAMED_PIPE, SYMLINK};

/// What a client says of a file. Nothing is checked here but the form.
pub(super) fn entry(stat: Stat) -> Entry {
    let kind = match stat.mode & file_mode::TYPE {
        DIR => Kind::Dir,
        SYMLINK => Kind::Symlink(stat.linkname),
        NAMED_PIPE => Kind::Fifo,
        0 if !stat.linkname.is_empty() => Kind::Hardlink(stat.linkname),
        0 => Kind::File,
        _ => Kind::Other,
    };
    Entry {
        path: stat.path,
        mode: file_mode::to_kernel(stat.mode),
        uid: stat.uid,
        gid: stat.gid,
        size: u64::try_from(stat.size).unwrap_or(0),
        mtime_ns: stat.mod_time,
        xattrs: stat.xattrs.into_iter().collect(),
        kind,
    }
}

/// What a client is told of a file.
pub(super) fn stat(entry: Entry) -> Stat {
    let (kind, linkname) = match entry.kind {
        Kind::Dir => (DIR, String::new()),
        Kind::File => (0, String::new()),
        Kind::Symlink(target) => (SYMLINK, target),
        Kind::Hardlink(target) => (0, target),
        Kind::Fifo => (NAMED_PIPE, String::new()),
        Kind::Other => (IRREGULAR, String::new()),
    };
    Stat {
        path: entry.path,
        mode: kind | file_mode::from_kernel(entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        size: i64::try_from(entry.size).unwrap_or(i64::MAX),
        mod_time: entry.mtime_ns,
        linkname,
        xattrs: entry.xattrs.into_iter().collect(),
        ..Stat::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::file_mode::{CHAR_DEVICE, DEVICE, SETGID, SETUID, SOCKET, STICKY};

    #[test]
    fn modes_go_both_ways() {
        for (mode, linkname, kind, bits) in [
            (DIR | 0o755, "", Kind::Dir, 0o755),
            (DIR | STICKY | 0o777, "", Kind::Dir, 0o1777),
            (0o644, "", Kind::File, 0o644),
            (SETUID | SETGID | 0o755, "", Kind::File, 0o6755),
            (0o644, "a/b", Kind::Hardlink("a/b".into()), 0o644),
            (SYMLINK | 0o777, "x", Kind::Symlink("x".into()), 0o777),
            (NAMED_PIPE | 0o600, "", Kind::Fifo, 0o600),
        ] {
            let told =
                Stat { path: "p".into(), mode, linkname: linkname.into(), ..Stat::default() };
            let entry = entry(told.clone());
            assert_eq!((&entry.kind, entry.mode), (&kind, bits), "{mode:o}");
            assert_eq!(stat(entry), told);
        }
        for mode in [DEVICE, DEVICE | CHAR_DEVICE, SOCKET, DIR | SYMLINK, u32::MAX] {
            assert_eq!(entry(Stat { mode, ..Stat::default() }).kind, Kind::Other, "{mode:o}");
        }
    }
}
