//! Which files a log has, and in which order, while its writer renames them. It reads none.
//!
//! ```text
//!   <path>.2 ─▶ .3   <path>.1 ─▶ .2   <path> ─▶ .1   <path>.next ─▶ <path>      a rotation
//!   0, 1, 2, … ─▶                                                               a look
//! ```
//! A look goes the way that the files go: it may meet a file twice, or a place that is empty for a
//! moment, but it passes none by. Only a whole rotation meanwhile puts newer files behind it, and
//! that one is noticed by the newest file's being another.

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Most files that are looked for; far above any sensible `max_file`.
const MAX_FILES: u32 = 1000;

/// How many places in a row are empty where the files end; one is while its file is renamed.
const EMPTY_AT_END: u32 = 2;

/// How often a look that a rotation has disturbed is repeated.
const LOOKS: usize = 50;

/// All files that there are, oldest first.
pub(super) fn open_all(path: &Path) -> io::Result<VecDeque<OwnedFd>> {
    undisturbed(path, |path| {
        let mut files = VecDeque::new();
        look(path, |_, file| {
            files.push_front(file);
            true
        })?;
        Ok(files)
    })
}

/// The file that comes after the one of the identity `ours`; `None` while that is the newest. If
/// it is not there any more, or there was none, the oldest comes next.
pub(super) fn after(path: &Path, ours: Option<u64>) -> io::Result<Option<OwnedFd>> {
    undisturbed(path, |path| {
        let mut newer = None;
        look(path, |identity, file| {
            let is_newer = Some(identity) != ours;
            if is_newer {
                newer = Some(file);
            }
            is_newer
        })?;
        Ok(newer)
    })
}

/// Shows each file with its identity, newest first, until `each` has seen enough.
fn look(path: &Path, mut each: impl FnMut(u64, OwnedFd) -> bool) -> io::Result<()> {
    let (mut before, mut empty) = (None, 0);
    for index in 0..MAX_FILES {
        let Some(file) = open(path, index)? else {
            empty += 1;
            if empty == EMPTY_AT_END {
                break;
            }
            continue;
        };
        empty = 0;
        let identity = identity(&file)?;
        // The same one again was put aside between the two looks at it.
        if before.replace(identity) != Some(identity) && !each(identity, file) {
            break;
        }
    }
    Ok(())
}

/// Size of a file in bytes.
pub(super) fn size(file: BorrowedFd) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

/// Repeats `look` until the newest file was the same before and after: then no rotation has passed
/// it meanwhile.
fn undisturbed<T>(path: &Path, look: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    for _ in 0..LOOKS {
        let before = newest(path)?;
        let found = look(path)?;
        if before == newest(path)? {
            return Ok(found);
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "the log is rotated all the time"))
}

/// The identity of the newest file, which has been put aside already while there is no other yet.
fn newest(path: &Path) -> io::Result<Option<u64>> {
    let mut newest = None;
    look(path, |identity, _| {
        newest = Some(identity);
        false
    })?;
    Ok(newest)
}

/// A file, plain or compressed. While it is being compressed both are there.
fn open(path: &Path, index: u32) -> io::Result<Option<OwnedFd>> {
    let mut name = path.as_os_str().to_owned();
    if index > 0 {
        name.push(format!(".{index}"));
    }
    if let Some(plain) = open_named(&name)? {
        return Ok(Some(plain));
    }
    if index == 0 {
        return Ok(None);
    }
    name.push(super::compress::SUFFIX);
    open_named(&name)
}

fn open_named(name: &OsStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match rustix::fs::open(Path::new(name), flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Which file this is, whatever its name, also after it was compressed: its inode and, because a
/// number is used again as soon as its file is gone, when that was made. Some file systems do not
/// know the latter.
pub(super) fn identity(file: impl AsFd) -> io::Result<u64> {
    if let Some(origin) = super::compress::origin(file.as_fd()) {
        return Ok(origin);
    }
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let status = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, wanted)?;
    let made = match StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::BTIME) {
        true => status.stx_btime,
        false => return Ok(status.stx_ino),
    };
    let nanoseconds = made.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000);
    let nanoseconds = nanoseconds.wrapping_add(u64::from(made.tv_nsec));
    Ok(status.stx_ino.rotate_left(40) ^ nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the files `names` of a log, each with its name in it.
    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(directory.path().join(name), name).unwrap();
        }
        directory
    }

    fn names(files: impl IntoIterator<Item = OwnedFd>) -> Vec<String> {
        let text = |file: OwnedFd| io::read_to_string(std::fs::File::from(file)).unwrap();
        files.into_iter().map(text).collect()
    }

    /// Every moment of a rotation: one file is on its way, and its place is empty.
    #[test]
    fn a_file_on_its_way_hides_none_behind_it() {
        for (there, oldest_first) in [
            (&["log", "log.1", "log.3"][..], ["log.3", "log.1", "log"]),
            (&["log", "log.2", "log.3"], ["log.3", "log.2", "log"]),
            (&["log.1", "log.2", "log.3"], ["log.3", "log.2", "log.1"]),
        ] {
            let directory = directory(there);
            let path = directory.path().join("log");
            assert_eq!(names(open_all(&path).unwrap()), oldest_first);
            for (at, name) in oldest_first.iter().enumerate() {
                let file = std::fs::File::open(directory.path().join(name)).unwrap();
                let next = after(&path, Some(identity(&file).unwrap())).unwrap();
                let expected = oldest_first.get(at + 1).map(|name| (*name).to_owned());
                assert_eq!(names(next), Vec::from_iter(expected), "after {name}");
            }
            assert_eq!(names(after(&path, None).unwrap()), oldest_first[..1]);
        }
    }

    #[test]
    fn a_file_that_was_met_twice_is_one() {
        let directory = directory(&["log", "log.1"]);
        let path = directory.path().join("log");
        // As a look sees it that a rename overtakes.
        std::fs::hard_link(directory.path().join("log.1"), directory.path().join("log.2")).unwrap();
        assert_eq!(names(open_all(&path).unwrap()), ["log.1", "log"]);
        assert_eq!(names(after(&path, None).unwrap()), ["log.1"]);
    }

    #[test]
    fn files_that_are_none_of_the_log_are_not_met() {
        let directory = directory(&["log", "log.1", "log.4", "log.next", "log.1.gz.next"]);
        assert_eq!(names(open_all(&directory.path().join("log")).unwrap()), ["log.1", "log"]);
        assert!(open_all(&directory.path().join("other")).unwrap().is_empty());
    }
}
