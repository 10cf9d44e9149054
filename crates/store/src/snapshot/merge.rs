//! The tree that overlayfs would show, read in user space from the directories below it: no mount
//! is made, links are never followed. Source: kernel documentation "overlayfs.rst" (whiteouts,
//! opaque directories).

use crate::error::{Act, Error, Result};
use crate::tar::node::overlay_xattr;
use crate::tar::{Entry, Kind, Time};
use crate::tree::{self, MAX_WALK_DEPTH};
use rustix::fs::{self, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::OwnedFd;

/// One directory of the merged tree: its directories in the layers, topmost first.
pub(crate) struct MergedDir {
    levels: Vec<OwnedFd>,
}

/// What a merged directory has under one name.
pub(crate) struct Child {
    /// Index of the topmost level that has it.
    pub(crate) level: usize,
    pub(crate) stat: Stat,
}

impl MergedDir {
    /// The root: the directories of all layers, topmost first. What lies below an opaque root is
    /// dropped.
    pub(crate) fn root(levels: Vec<OwnedFd>) -> Result<Self> {
        let mut kept = Vec::new();
        for level in levels {
            let opaque = is_opaque(&level)?;
            kept.push(level);
            if opaque {
                break;
            }
        }
        Ok(Self { levels: kept })
    }

    /// The topmost directory, which decides the attributes.
    pub(crate) fn top(&self) -> Option<&OwnedFd> {
        self.levels.first()
    }

    /// The level's directory.
    pub(crate) fn level(&self, level: usize) -> &OwnedFd {
        &self.levels[level]
    }

    /// Everything visible, sorted by name.
    pub(crate) fn children(&self) -> Result<BTreeMap<CString, Child>> {
        let mut seen: BTreeMap<CString, Option<Child>> = BTreeMap::new();
        for (level, dir) in self.levels.iter().enumerate() {
            for name in tree::names(dir).act(|| "list layer directory".into())? {
                if seen.contains_key(&name) {
                    continue;
                }
                match tree::lstat(dir, &name) {
                    Ok(stat) if tree::is_whiteout(&stat) => drop(seen.insert(name, None)),
                    Ok(stat) => drop(seen.insert(name, Some(Child { level, stat }))),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno).act(|| shown(&name)),
                }
            }
        }
        Ok(seen.into_iter().filter_map(|(name, child)| Some((name, child?))).collect())
    }

    /// One visible name.
    pub(crate) fn child(&self, name: &CStr) -> Result<Option<Child>> {
        for (level, dir) in self.levels.iter().enumerate() {
            match tree::lstat(dir, name) {
                Ok(stat) if tree::is_whiteout(&stat) => return Ok(None),
                Ok(stat) => return Ok(Some(Child { level, stat })),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).act(|| shown(name)),
            }
        }
        Ok(None)
    }

    /// The merged directory below a name; `None` when no directory is visible there.
    pub(crate) fn enter(&self, name: &CStr) -> Result<Option<Self>> {
        let mut levels = Vec::new();
        for dir in &self.levels {
            let stat = match tree::lstat(dir, name) {
                Err(Errno::NOENT) => continue,
                stat => stat.act(|| shown(name))?,
            };
            if tree::kind(&stat) != FileType::Directory {
                break;
            }
            let child = match tree::child_dir(dir, name) {
                // Gone meanwhile: the container runs.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                child => child.act(|| shown(name))?,
            };
            let opaque = is_opaque(&child)?;
            levels.push(child);
            if opaque {
                break;
            }
        }
        Ok((!levels.is_empty()).then_some(Self { levels }))
    }
}

/// Whether a directory hides what lower layers have at its place. A redirect or a file without its
/// data is refused: the store's overlays are mounted without these features, and reading past them
/// would show the wrong content.
pub(crate) fn is_opaque(dir: &OwnedFd) -> Result<bool> {
    let reading = || "read overlay attribute".to_owned();
    if tree::xattr(dir, &overlay_xattr("redirect")).act(reading)?.is_some() {
        return Err(Error::Damaged("layer uses overlayfs redirects".into()));
    }
    Ok(tree::xattr(dir, &overlay_xattr("opaque")).act(reading)?.is_some_and(|value| value == b"y"))
}

/// Refuses depths that only a hostile tree has.
pub(crate) fn check_depth(depth: usize) -> Result<()> {
    if depth > MAX_WALK_DEPTH / 2 {
        return Err(Error::Damaged("directory tree is too deep".into()));
    }
    Ok(())
}

/// A name's tar entry. `None` for what tar cannot hold (sockets).
pub(crate) fn entry(path: &[u8], stat: &Stat) -> Option<Entry> {
    let kind = match tree::kind(stat) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => return None,
    };
    let mut entry = Entry::plain(path, kind, stat.st_mode & 0o7777);
    if kind == Kind::Dir {
        entry.name.push(b'/');
    }
    entry.uid = stat.st_uid;
    entry.gid = stat.st_gid;
    // Docker writes whole seconds.
    entry.mtime = Time { seconds: stat.st_mtime, nanos: 0 };
    if matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
        entry.major = fs::major(stat.st_rdev);
        entry.minor = fs::minor(stat.st_rdev);
    }
    Some(entry)
}

/// Completes an entry from the file itself: target of a link, attributes and content of a file.
/// `None` when the name vanished or became something else.
pub(crate) fn complete(
    entry: &mut Entry,
    parent: &OwnedFd,
    name: &CStr,
) -> Result<Option<Option<File>>> {
    let reading = || shown(name);
    match entry.kind {
        Kind::Symlink => match tree::read_link(parent, name) {
            Ok(target) => entry.link = target,
            Err(_) => return Ok(None),
        },
        Kind::File => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
            let file = match tree::beneath(parent, name, flags) {
                Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
                file => file.act(reading)?,
            };
            let stat = fs::fstat(&file).act(reading)?;
            if tree::kind(&stat) != FileType::RegularFile {
                return Ok(None);
            }
            entry.size = u64::try_from(stat.st_size).unwrap_or(0);
            entry.xattrs = kept_xattrs(&file)?;
            return Ok(Some(Some(File::from(file))));
        }
        Kind::Dir => {
            if let Ok(dir) = tree::child_dir(parent, name) {
                entry.xattrs = kept_xattrs(&dir)?;
            }
        }
        _ => {}
    }
    Ok(Some(None))
}

/// The attributes of a file or directory that an archive would keep.
pub(crate) fn kept_xattrs(file: &OwnedFd) -> Result<Vec<(String, Vec<u8>)>> {
    let reading = || "read extended attributes".to_owned();
    let mut kept = Vec::new();
    let metacopy = overlay_xattr("metacopy");
    for name in tree::xattr_names(file).act(reading)? {
        if name == metacopy {
            return Err(Error::Damaged("layer uses overlayfs metacopy".into()));
        }
        if crate::tar::node::is_kept_xattr(&name)
            && let Some(value) = tree::xattr(file, &name).act(reading)?
        {
            kept.push((name, value));
        }
    }
    kept.sort();
    Ok(kept)
}

fn shown(name: &CStr) -> String {
    format!("read {}", name.to_string_lossy())
}
