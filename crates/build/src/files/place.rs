//! Places in the tree that is written: directories made on the way, names resolved inside the root.

use crate::error::{Act, Error, Result};
use crate::walk::open_in;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// The longest path, as the kernel's PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;

/// A path as its components, cleaned: `..` never climbs above the root.
pub(super) fn parts(path: &str) -> Result<Vec<CString>> {
    if path.len() > MAX_PATH_BYTES {
        return Err(Error::invalid("path is too long"));
    }
    let mut parts: Vec<CString> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => {
                parts.push(CString::new(name).map_err(|_| Error::invalid("path contains NUL"))?)
            }
        }
    }
    Ok(parts)
}

/// The path that components make, relative to the root; `.` for the root.
pub(super) fn joined(parts: &[CString]) -> CString {
    if parts.is_empty() {
        return c".".to_owned();
    }
    let bytes: Vec<&[u8]> = parts.iter().map(|part| part.to_bytes()).collect();
    CString::new(bytes.join(&b'/')).unwrap_or_default()
}

/// Owner, mode and time of directories that are made on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Making {
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: u32,
    pub(super) time: Option<i64>,
}

/// Opens a directory of the tree, making what is missing. Links on the way are followed inside the
/// root; one that leads nowhere has its target made.
pub(super) fn make_dirs(root: &OwnedFd, path: &[CString], making: Making) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let whole = joined(path);
    match open_in(root, &*whole, flags) {
        Ok(dir) => return Ok(dir),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).act(|| opening(&whole)),
    }
    let mut parent = open_in(root, c".", flags).act(|| opening(c"."))?;
    for end in 1..=path.len() {
        let so_far = joined(&path[..end]);
        let next = match open_in(root, &*so_far, flags) {
            Err(Errno::NOENT) => {
                make_dir(&parent, &path[end - 1], making)?;
                open_in(root, &*so_far, flags)
            }
            found => found,
        };
        parent = next.act(|| opening(&so_far))?;
    }
    Ok(parent)
}

fn make_dir(parent: &OwnedFd, name: &CString, making: Making) -> Result<()> {
    let act = || format!("make directory {}", name.to_string_lossy());
    match fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            // A link that leads nowhere: refused rather than written through.
            return Err(Error::invalid(format!(
                "{}: a link in the destination leads nowhere",
                name.to_string_lossy()
            )));
        }
        Err(errno) => return Err(errno).act(act),
    }
    let dir = crate::walk::open_child(parent, name)?;
    give(&dir, making.owner, Some(making.mode)).act(act)?;
    match making.time {
        Some(time) => date(&dir, time).act(act),
        None => Ok(()),
    }
}

/// Owner and mode of something open; the owner first, for it clears bits of the mode.
pub(super) fn give(
    file: impl AsFd,
    owner: Option<(u32, u32)>,
    mode: Option<u32>,
) -> rustix::io::Result<()> {
    if let Some((uid, gid)) = owner {
        fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    match mode {
        Some(mode) => fs::fchmod(&file, Mode::from_raw_mode(mode & 0o7777)),
        None => Ok(()),
    }
}

/// Both times, from nanoseconds since the epoch.
pub(super) fn times(ns: i64) -> Timestamps {
    let time =
        Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn date(file: impl AsFd, ns: i64) -> rustix::io::Result<()> {
    fs::futimens(file, &times(ns))
}

/// A name's description, of the link itself if it is one; `None` if there is none.
pub(super) fn lstat(parent: &OwnedFd, name: &std::ffi::CStr) -> Result<Option<Stat>> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).act(|| opening(name)),
    }
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Removes a name with everything in it.
pub(super) fn remove(parent: &OwnedFd, name: &std::ffi::CStr) -> Result<()> {
    let act = || format!("remove {}", name.to_string_lossy());
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).act(act),
    }
    let dir = crate::walk::open_child(parent, name)?;
    for child in crate::walk::names(&dir)? {
        remove(&dir, &child)?;
    }
    drop(dir);
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR).act(act)
}

pub(super) fn opening(path: &std::ffi::CStr) -> String {
    format!("open /{}", path.to_string_lossy().trim_start_matches("./"))
}
