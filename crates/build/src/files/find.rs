//! What a source path means: names, or a pattern's matches, resolved inside the tree.

use super::place::{joined, parts};
use crate::error::{Act, Error, Result};
use crate::glob::Glob;
use crate::walk::{self, open_in};
use rustix::fs::{self, AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// The most matches of one pattern.
const MAX_MATCHES: usize = 100_000;

/// Something that is copied.
pub(crate) struct Source {
    /// Its directory, held open.
    pub(super) parent: OwnedFd,
    /// Its name there; `.` for the tree's root.
    pub(super) name: CString,
    /// Its name as asked for: of the link that led to it, if one did.
    pub(super) asked: CString,
    /// Its whole path, without leading slash; empty for the root.
    pub(super) path: String,
    pub(super) stat: Stat,
}

impl Source {
    pub(super) fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// Opens it as a directory.
    pub(super) fn open_dir(&self) -> Result<OwnedFd> {
        walk::open_child(&self.parent, &self.name)
    }
}

/// The names that `path` means: itself, or what matches it as a pattern, sorted.
pub(super) fn sources(
    root: &OwnedFd,
    path: &str,
    wildcard: bool,
    follow: bool,
) -> Result<Vec<Source>> {
    let wanted = parts(path)?;
    let first =
        wanted.iter().position(|part| wildcard && Glob::is_pattern(&part.to_string_lossy()));
    let Some(first) = first else {
        return Ok(one(root, &wanted, follow)?.into_iter().collect());
    };
    let mut found = Vec::new();
    expand(root, &wanted, first, &mut found)?;
    let sources: Result<Vec<_>> = found.iter().map(|path| one(root, path, follow)).collect();
    Ok(sources?.into_iter().flatten().collect())
}

/// Replaces the pattern at `at`, and those after it, by what matches.
fn expand(
    root: &OwnedFd,
    wanted: &[CString],
    at: usize,
    found: &mut Vec<Vec<CString>>,
) -> Result<()> {
    let text = wanted[at].to_string_lossy().into_owned();
    let glob = Glob::parse(&text).map_err(|error| Error::invalid(error.to_string()))?;
    let dir = joined(&wanted[..at]);
    let dir = match open_in(root, &*dir, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno).act(|| super::place::opening(&dir)),
    };
    for name in walk::names(&dir)? {
        if !glob.matches(&name.to_string_lossy()) {
            continue;
        }
        let mut path = wanted.to_vec();
        path[at] = name;
        let next = (at + 1..path.len()).find(|at| Glob::is_pattern(&path[*at].to_string_lossy()));
        match next {
            Some(next) => expand(root, &path, next, found)?,
            None if found.len() < MAX_MATCHES => found.push(path),
            None => return Err(Error::invalid(format!("{text}: more than {MAX_MATCHES} matches"))),
        }
    }
    Ok(())
}

/// One name; `None` if there is none.
fn one(root: &OwnedFd, path: &[CString], follow: bool) -> Result<Option<Source>> {
    let whole = joined(path);
    let act = || format!("read /{}", whole.to_string_lossy().trim_start_matches("./"));
    let text = || match path.is_empty() {
        true => String::new(),
        false => whole.to_string_lossy().into_owned(),
    };
    let Some((last, dirs)) = path.split_last() else {
        let parent = open_in(root, c".", OFlags::RDONLY | OFlags::DIRECTORY).act(act)?;
        let stat = fs::fstat(&parent).act(act)?;
        let name = c".".to_owned();
        return Ok(Some(Source { parent, asked: name.clone(), name, path: text(), stat }));
    };
    let parent = match open_in(root, &*joined(dirs), OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(parent) => parent,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno).act(act),
    };
    let stat = match fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).act(act),
    };
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if is_link && follow {
        return followed(root, path, last);
    }
    let (name, asked) = (last.clone(), last.clone());
    Ok(Some(Source { parent, name, asked, path: text(), stat }))
}

/// What a link leads to inside the root. The kernel says where that is, by its own path below the
/// root, and that path is opened again without following anything.
fn followed(root: &OwnedFd, path: &[CString], asked: &CString) -> Result<Option<Source>> {
    let mut path = path.to_vec();
    // Each round replaces the last component by what it says.
    for _ in 0..40 {
        let Some((last, dirs)) = path.split_last() else { break };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let parent = match open_in(root, &*joined(dirs), flags) {
            Ok(parent) => parent,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(errno).act(|| "follow a link".into()),
        };
        let stat = match fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).act(|| "follow a link".into()),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            let whole = joined(&path).to_string_lossy().into_owned();
            let name = last.clone();
            return Ok(Some(Source { parent, name, asked: asked.clone(), path: whole, stat }));
        }
        let target = fs::readlinkat(parent.as_fd(), last, Vec::new())
            .act(|| "follow a link".into())?
            .to_string_lossy()
            .into_owned();
        let base = match target.starts_with('/') {
            true => String::new(),
            false => joined(dirs).to_string_lossy().into_owned(),
        };
        path = parts(&format!("{base}/{target}"))?;
    }
    if path.is_empty() {
        return one(root, &[], false);
    }
    Err(Error::invalid(format!("{}: too many levels of links", asked.to_string_lossy())))
}
