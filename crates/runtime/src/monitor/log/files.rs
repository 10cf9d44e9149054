//! Which files a log has, and in which order, while its writer renames them. It reads none.

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Most files that are looked for; far above any sensible `max_file`.
const MAX_FILES: u32 = 1000;

/// How often a look that a rotation has disturbed is repeated.
const LOOKS: usize = 50;

/// All files that there are, oldest first.
pub(super) fn open_all(path: &Path) -> io::Result<VecDeque<OwnedFd>> {
    undisturbed(path, |path| {
        let mut files = VecDeque::new();
        for index in 0..MAX_FILES {
            match open(path, index)? {
                Some(file) => files.push_front(file),
                // Between two renames the newest name is missing for a moment.
                None if index == 0 => {}
                None => break,
            }
        }
        Ok(files)
    })
}

/// The file that comes after the one of the identity `ours`; `None` while that is the newest. If
/// it is not there any more, or there was none, the oldest comes next.
pub(super) fn after(path: &Path, ours: Option<u64>) -> io::Result<Option<OwnedFd>> {
    undisturbed(path, |path| {
        let mut newer = None;
        for index in 0..MAX_FILES {
            match open(path, index)? {
                Some(file) if Some(identity(&file)?) == ours => break,
                Some(file) => newer = Some(file),
                None if index == 0 => {}
                None => break,
            }
        }
        Ok(newer)
    })
}

/// Size of a file in bytes.
pub(super) fn size(file: BorrowedFd) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

/// Repeats `look` until the newest file was the same before and after: then nothing was renamed
/// meanwhile.
fn undisturbed<T>(path: &Path, look: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    for _ in 0..LOOKS {
        let before = open(path, 0)?;
        let found = look(path)?;
        let now = open(path, 0)?;
        if before.as_ref().map(identity).transpose()? == now.as_ref().map(identity).transpose()? {
            return Ok(found);
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "the log is rotated all the time"))
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
