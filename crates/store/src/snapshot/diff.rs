//! What a container changed: the upper directory against the layers below it. As a list (`docker
//! diff`) and as a layer's tar (`docker commit`). Sources: kernel documentation "overlayfs.rst";
//! OCI image-spec "Representing Changes".

use super::merge::{self, MergedDir};
use super::{Change, ChangeKind};
use crate::error::{Act, Result};
use crate::tar::writer::TarWriter;
use crate::tar::{Entry, Kind};
use crate::tree;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, OsStr};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The changes, sorted by path. A directory counts as modified when something in it came or went.
pub(super) fn changes(upper: &OwnedFd, lower: Option<&MergedDir>) -> Result<Vec<Change>> {
    let mut found = BTreeMap::new();
    walk(upper, lower, b"", 0, &mut found)?;
    let parents: BTreeSet<Vec<u8>> = found
        .iter()
        .filter(|(_, kind)| **kind != ChangeKind::Modified)
        .filter_map(|(path, _)| {
            let cut = path.iter().rposition(|byte| *byte == b'/')?;
            (cut > 0).then(|| path[..cut].to_vec())
        })
        .collect();
    for parent in parents {
        found.entry(parent).or_insert(ChangeKind::Modified);
    }
    Ok(found
        .into_iter()
        .map(|(path, kind)| Change { path: PathBuf::from(OsStr::from_bytes(&path)), kind })
        .collect())
}

fn walk(
    upper: &OwnedFd,
    lower: Option<&MergedDir>,
    at: &[u8],
    depth: usize,
    found: &mut BTreeMap<Vec<u8>, ChangeKind>,
) -> Result<()> {
    merge::check_depth(depth)?;
    for name in tree::names(upper).act(|| "list changes".into())? {
        let stat = match tree::lstat(upper, &name) {
            Err(Errno::NOENT) => continue,
            stat => stat.act(|| "list changes".into())?,
        };
        let path = [at, b"/", name.to_bytes()].concat();
        let below = match lower {
            Some(lower) => lower.child(&name)?,
            None => None,
        };
        if tree::is_whiteout(&stat) {
            if below.is_some() {
                found.insert(path, ChangeKind::Deleted);
            }
            continue;
        }
        let is_dir = tree::kind(&stat) == FileType::Directory;
        match &below {
            None => drop(found.insert(path.clone(), ChangeKind::Added)),
            Some(below) if is_dir && same_dir(&stat, &below.stat) => {}
            Some(_) => drop(found.insert(path.clone(), ChangeKind::Modified)),
        }
        if !is_dir {
            continue;
        }
        let Ok(dir) = tree::child_dir(upper, &name) else { continue };
        let hidden = lower.map(|lower| lower.enter(&name)).transpose()?.flatten();
        if merge::is_opaque(&dir)? {
            if let Some(hidden) = &hidden {
                deleted_below(&dir, hidden, &path, found)?;
            }
            walk(&dir, None, &path, depth + 1, found)?;
        } else {
            walk(&dir, hidden.as_ref(), &path, depth + 1, found)?;
        }
    }
    Ok(())
}

/// What an opaque directory hides and does not have itself.
fn deleted_below(
    dir: &OwnedFd,
    hidden: &MergedDir,
    path: &[u8],
    found: &mut BTreeMap<Vec<u8>, ChangeKind>,
) -> Result<()> {
    for name in hidden.children()?.into_keys() {
        if tree::lstat(dir, &name).is_err() {
            found.insert([path, b"/", name.to_bytes()].concat(), ChangeKind::Deleted);
        }
    }
    Ok(())
}

/// Whether a directory was only copied up because something in it changed.
fn same_dir(upper: &Stat, lower: &Stat) -> bool {
    let of =
        |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec);
    of(upper) == of(lower)
}

/// Whether only times differ.
fn same_owner(upper: &Stat, lower: &Stat) -> bool {
    let of = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    of(upper) == of(lower)
}

/// Writes the upper directory as a layer: its files, whiteouts as `.wh.<name>`, opaque directories
/// with `.wh..wh..opq`. Left out are `points` (absolute paths) that the layers below lack and that
/// are empty, and directories that changed only because such a one was made in them.
pub(super) fn write_layer(
    upper: &OwnedFd,
    lower: &MergedDir,
    points: &[&str],
    out: &mut dyn Write,
) -> Result<()> {
    let points = points.iter().map(|path| path.trim_matches('/').as_bytes()).collect();
    let mut writer = LayerWriter { tar: TarWriter::new(out), links: HashMap::new(), points };
    writer.dir(upper, Some(lower), b"", 0)?;
    writer.tar.finish()?;
    Ok(())
}

struct LayerWriter<'a> {
    tar: TarWriter<&'a mut dyn Write>,
    /// Files with several names: where the first one is.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// What is left out while it is empty, without the leading slash.
    points: Vec<&'a [u8]>,
}

impl LayerWriter<'_> {
    fn dir(
        &mut self,
        dir: &OwnedFd,
        lower: Option<&MergedDir>,
        at: &[u8],
        depth: usize,
    ) -> Result<()> {
        merge::check_depth(depth)?;
        for name in tree::names(dir).act(|| "list changes".into())? {
            let stat = match tree::lstat(dir, &name) {
                Err(Errno::NOENT) => continue,
                stat => stat.act(|| "list changes".into())?,
            };
            let path = join(at, name.to_bytes());
            if tree::is_whiteout(&stat) {
                let path = join(at, &[b".wh.", name.to_bytes()].concat());
                self.tar.node(&Entry::plain(&path, Kind::File, 0))?;
                continue;
            }
            if self.is_made_to_mount_on((dir, lower), &name, &path, &stat)? {
                continue;
            }
            self.name(dir, &name, &path, &stat)?;
            if tree::kind(&stat) == FileType::Directory
                && let Ok(child) = tree::child_dir(dir, &name)
            {
                let mut below = lower.map(|lower| lower.enter(&name)).transpose()?.flatten();
                if merge::is_opaque(&child)? {
                    let path = join(&path, b".wh..wh..opq");
                    self.tar.node(&Entry::plain(&path, Kind::File, 0))?;
                    below = None;
                }
                self.dir(&child, below.as_ref(), &path, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Whether a name is an empty mount point that the layers below lack, or a directory of theirs
    /// with nothing new but such.
    fn is_made_to_mount_on(
        &self,
        (dir, lower): (&OwnedFd, Option<&MergedDir>),
        name: &CStr,
        path: &[u8],
        stat: &Stat,
    ) -> Result<bool> {
        let is_point = self.points.contains(&path);
        let leads_to_one = self
            .points
            .iter()
            .any(|point| point.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/")));
        if !is_point && !leads_to_one {
            return Ok(false);
        }
        let below = lower.map(|lower| lower.child(name)).transpose()?.flatten();
        let is_dir = tree::kind(stat) == FileType::Directory;
        if is_point {
            let empty = match is_dir {
                true => tree::child_dir(dir, name)
                    .is_ok_and(|child| tree::names(&child).is_ok_and(|names| names.is_empty())),
                false => stat.st_size == 0,
            };
            return Ok(below.is_none() && empty);
        }
        if !below.is_some_and(|below| is_dir && same_owner(stat, &below.stat)) {
            return Ok(false);
        }
        let child = tree::child_dir(dir, name).act(|| "list changes".into())?;
        let below = lower.map(|lower| lower.enter(name)).transpose()?.flatten();
        for name in tree::names(&child).act(|| "list changes".into())? {
            let stat = tree::lstat(&child, &name).act(|| "list changes".into())?;
            let path = join(path, name.to_bytes());
            if !self.is_made_to_mount_on((&child, below.as_ref()), &name, &path, &stat)? {
                return Ok(false);
            }
        }
        Ok(!merge::is_opaque(&child)?)
    }

    fn name(&mut self, dir: &OwnedFd, name: &CStr, path: &[u8], stat: &Stat) -> Result<()> {
        write_name(&mut self.tar, &mut self.links, (dir, name), path, stat)
    }
}

/// Writes one name: a hard link if the same file was written before, else the whole thing.
pub(super) fn write_name<W: Write>(
    tar: &mut TarWriter<W>,
    links: &mut HashMap<(u64, u64), Vec<u8>>,
    (dir, name): (&OwnedFd, &CStr),
    path: &[u8],
    stat: &Stat,
) -> Result<()> {
    let Some(mut entry) = merge::entry(path, stat) else { return Ok(()) };
    if stat.st_nlink > 1 && entry.kind != Kind::Dir {
        if let Some(first) = links.get(&(stat.st_dev, stat.st_ino)) {
            entry.kind = Kind::HardLink;
            entry.link.clone_from(first);
            return tar.node(&entry);
        }
        links.insert((stat.st_dev, stat.st_ino), path.to_vec());
    }
    match merge::complete(&mut entry, dir, name)? {
        Some(Some(mut file)) => tar.file(&entry, &mut file),
        Some(None) => tar.node(&entry),
        None => {
            links.retain(|_, first| first != path);
            Ok(())
        }
    }
}

/// A path below another in the same archive.
pub(super) fn join(at: &[u8], name: &[u8]) -> Vec<u8> {
    if at.is_empty() { name.to_vec() } else { [at, b"/", name].concat() }
}
