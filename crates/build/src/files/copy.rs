//! COPY and ADD: what is found in one tree is made in another, with its content, links, modes,
//! owners, attributes and times.
//!
//! ```text
//! src ──find──▶ sources ──walk (rules: .dockerignore, include, exclude)──▶ Copier ──▶ dest
//!                   └────────────same walk────────────▶ Hasher ──▶ what it is by content
//! ```

use super::find::{self, Source};
use super::place::{self, Making};
use crate::content::{Hasher, Reading};
use crate::error::{Act, Error, Result};
use crate::glob::Glob;
use crate::graph::{Copy, Unpack};
use crate::tree::Tree;
use crate::walk::{self, At, Filter, Rule, Visitor, open_in};
use model::Digest;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use store::Store;

/// Mode of directories that are made on the way to a destination.
const DIR_MODE: u32 = 0o755;
/// Bytes at the start of a file that tell whether it is an archive.
const TAR_BLOCK: usize = 512;

/// What would be copied, by its content; `None` if that is not known without reading. Blocking.
pub(crate) fn content_id(
    store: &Store,
    from: &Tree,
    copy: &Copy,
    reading: Reading,
) -> Result<Option<Digest>> {
    let part = format!(
        "{:?}",
        (&copy.src, copy.wildcard, copy.follow_symlinks, &copy.include, &copy.exclude)
    );
    from.part_id(store, part.as_bytes(), reading, || {
        let root = from.open(store)?;
        let own = Filter::new(&copy.include, &copy.exclude)?;
        let mut hasher = Hasher::new(store, from.lasting(), from.root_owned(), reading);
        for source in sources(&root, from, copy)? {
            hasher.note(source.asked.to_bytes());
            let rules = rules(from, &own, &source);
            if source.name.to_bytes() == b"." {
                walk::walk(source.open_dir()?, &rules, &mut hasher)?;
            } else {
                let at = At {
                    parent: &source.parent,
                    name: &source.name,
                    path: b"",
                    stat: &source.stat,
                };
                walk::walk_name(&at, &rules, &mut hasher)?;
            }
        }
        hasher.finish()
    })
}

/// What `copy` means in its source tree; nothing found is an error unless that is allowed.
fn sources(root: &OwnedFd, from: &Tree, copy: &Copy) -> Result<Vec<Source>> {
    let mut found = find::sources(root, &copy.src, copy.wildcard, copy.follow_symlinks)?;
    if let Tree::Dir(dir) = from {
        found.retain(|source| {
            source.path.is_empty()
                || dir.filter.shows(&source.path)
                || source.is_dir() && !dir.filter.hides_all(&source.path)
        });
    }
    // Only a pattern may match nothing.
    let may_be_empty =
        copy.allow_empty && (copy.src == "/" || copy.wildcard && Glob::is_pattern(&copy.src));
    if found.is_empty() && !may_be_empty {
        return Err(Error::missing(&copy.src));
    }
    for path in &copy.required {
        let path = path.trim_start_matches('/');
        let whole = format!("{}/{path}", copy.src.trim_end_matches('/'));
        let there = find::sources(root, &whole, true, false)?;
        if there.is_empty() {
            return Err(Error::missing(&whole));
        }
    }
    Ok(found)
}

/// The rules for a walk through one source.
fn rules<'a>(from: &'a Tree, own: &'a Filter, source: &Source) -> Vec<Rule<'a>> {
    let mut rules = from.rules(&source.path);
    if !own.is_empty() {
        rules.push(Rule { filter: own, base: String::new() });
    }
    rules
}

/// Copies. `dest` is the root of the tree that is written. Blocking.
pub(super) fn copy(
    (store, from): (&Store, &Tree),
    dest: &OwnedFd,
    copy: &Copy,
    owner: Option<(u32, u32)>,
) -> Result<()> {
    let root = from.open(store)?;
    let own = Filter::new(&copy.include, &copy.exclude)?;
    let found = sources(&root, from, copy)?;
    let several = found.len() > 1;
    let mut copier = Copier {
        root: dest,
        copy,
        owner,
        root_owned: from.root_owned(),
        stack: Vec::new(),
        links: HashMap::new(),
    };
    for source in &found {
        copier.source(source, several, &rules(from, &own, source))?;
    }
    Ok(())
}

/// Makes what it is shown.
struct Copier<'a> {
    root: &'a OwnedFd,
    copy: &'a Copy,
    owner: Option<(u32, u32)>,
    root_owned: bool,
    stack: Vec<Level>,
    /// Files with several names: where the first copy is.
    links: HashMap<(u64, u64), (Rc<OwnedFd>, CString)>,
}

/// A directory that is being filled.
struct Level {
    dir: Rc<OwnedFd>,
    /// Its path in the destination.
    path: Vec<CString>,
}

/// A directory whose times are kept whatever is made in it.
struct Untouched {
    dir: Rc<OwnedFd>,
    times: Timestamps,
}

impl Untouched {
    fn new(dir: &Rc<OwnedFd>) -> Result<Self> {
        let stat = fs::fstat(&**dir).act(|| "read a directory's times".into())?;
        Ok(Self { dir: Rc::clone(dir), times: place::times(mtime(&stat)) })
    }

    fn restore(self) -> Result<()> {
        fs::futimens(&*self.dir, &self.times).act(|| "date a directory".into())
    }
}

impl Copier<'_> {
    fn source(&mut self, source: &Source, several: bool, rules: &[Rule<'_>]) -> Result<()> {
        let path = place::parts(&self.copy.dest)?;
        let into = several || self.copy.dest.ends_with('/') || self.copy.dest.ends_with("/.");
        let contents =
            source.is_dir() && (self.copy.contents_only || source.name.to_bytes() == b".");
        if contents {
            let level = self.enter(&path, &source.stat)?;
            return self.fill(level, |copier| walk::walk(source.open_dir()?, rules, copier));
        }
        if self.copy.unpack == Unpack::Detect && self.unpacked(source, &path)? {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let into = into || open_in(self.root, &*place::joined(&path), flags).is_ok();
        let (dir, name) = match path.split_last() {
            Some((name, dir)) if !into => (dir.to_vec(), name.clone()),
            _ => (path, source.asked.clone()),
        };
        let level = self.enter(&dir, &source.stat)?;
        self.fill(level, |copier| {
            let renamed = source.name != name;
            let at =
                At { parent: &source.parent, name: &source.name, path: b"", stat: &source.stat };
            copier.take(&at, if renamed { &name } else { &source.name })?;
            if source.is_dir() {
                walk::walk(source.open_dir()?, rules, copier)?;
                copier.leave(&at)?;
            }
            Ok(())
        })
    }

    /// Opens the directory that is copied into, making it and those above it.
    fn enter(&self, path: &[CString], source: &Stat) -> Result<Level> {
        let dir = if self.copy.create_dest {
            let time = Some(self.copy.time_ns.unwrap_or_else(|| mtime(source)));
            let making = Making { owner: Some(self.owner.unwrap_or((0, 0))), mode: DIR_MODE, time };
            place::make_dirs(self.root, path, making)?
        } else {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            open_in(self.root, &*place::joined(path), flags)
                .act(|| place::opening(&place::joined(path)))?
        };
        Ok(Level { dir: Rc::new(dir), path: path.to_vec() })
    }

    fn fill(&mut self, level: Level, act: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let before = Untouched::new(&level.dir)?;
        self.stack.push(level);
        let done = act(self);
        self.stack.clear();
        done?;
        before.restore()
    }

    /// Unpacks a source that turns out to be an archive.
    fn unpacked(&self, source: &Source, path: &[CString]) -> Result<bool> {
        if FileType::from_raw_mode(source.stat.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let mut file = walk::open_file(&source.parent, &source.name)?;
        if !is_archive(&mut file)? {
            return Ok(false);
        }
        let level = self.enter(path, &source.stat)?;
        let options = store::archive::WriteOptions { owner: self.owner, ..Default::default() };
        store::archive::write(level.dir.as_fd(), "/", &mut file, options)?;
        Ok(true)
    }

    fn owner_of(&self, stat: &Stat) -> (u32, u32) {
        match self.owner {
            Some(owner) => owner,
            None if self.root_owned => (0, 0),
            None => (stat.st_uid, stat.st_gid),
        }
    }

    fn mode_of(&self, stat: &Stat) -> Result<u32> {
        match &self.copy.mode {
            None => Ok(stat.st_mode & 0o7777),
            Some(mode) => {
                let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                super::mode::of(mode, stat.st_mode, is_dir)
            }
        }
    }

    fn time_of(&self, stat: &Stat) -> i64 {
        self.copy.time_ns.unwrap_or_else(|| mtime(stat))
    }

    /// Makes one name in the directory on top of the stack.
    fn take(&mut self, at: &At<'_>, name: &CStr) -> Result<()> {
        let Some(level) = self.stack.last() else { return Ok(()) };
        let (dir, mut path) = (Rc::clone(&level.dir), level.path.clone());
        let act = || format!("copy {}", walk::shown(at.path));
        match at.kind() {
            FileType::Directory => {
                path.push(name.to_owned());
                let made = Rc::new(self.directory(&dir, name, &path)?);
                let from = walk::open_child(at.parent, at.name)?;
                attributes(&from, &made)?;
                let (owner, mode) = (self.owner_of(at.stat), self.mode_of(at.stat)?);
                place::give(&*made, Some(owner), Some(mode)).act(act)?;
                self.stack.push(Level { dir: made, path });
                return Ok(());
            }
            FileType::Socket | FileType::Unknown => return Ok(()),
            FileType::CharacterDevice | FileType::BlockDevice if self.root_owned => {
                return Err(Error::invalid(format!(
                    "{}: cannot copy a device of a build context",
                    walk::shown(at.path)
                )));
            }
            _ => {}
        }
        self.make_room(&dir, name)?;
        let linked = at.stat.st_nlink > 1 && self.copy.mode.is_none();
        let inode = (at.stat.st_dev, at.stat.st_ino);
        if linked && let Some((first, known)) = self.links.get(&inode) {
            return fs::linkat(&**first, known, &*dir, name, AtFlags::empty()).act(act);
        }
        match at.kind() {
            FileType::RegularFile => self.file(at, &dir, name)?,
            FileType::Symlink => {
                let target = fs::readlinkat(at.parent, at.name, Vec::new()).act(act)?;
                fs::symlinkat(&*target, &*dir, name).act(act)?;
                self.finish_node(at, &dir, name)?;
            }
            kind => {
                let mode = Mode::from_raw_mode(self.mode_of(at.stat)?);
                fs::mknodat(&*dir, name, kind, mode, at.stat.st_rdev).act(act)?;
                self.finish_node(at, &dir, name)?;
            }
        }
        if linked {
            self.links.insert(inode, (dir, name.to_owned()));
        }
        Ok(())
    }

    /// The directory of this name; one that is there is used, also through a link.
    fn directory(&self, dir: &OwnedFd, name: &CStr, path: &[CString]) -> Result<OwnedFd> {
        let act = || format!("make directory {}", name.to_string_lossy());
        match fs::mkdirat(dir, name, Mode::RWXU) {
            Ok(()) => return walk::open_child(dir, name),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).act(act),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match open_in(self.root, &*place::joined(path), flags) {
            Ok(dir) => Ok(dir),
            Err(Errno::NOTDIR | Errno::NOENT) if self.copy.replace => {
                place::remove(dir, name)?;
                fs::mkdirat(dir, name, Mode::RWXU).act(act)?;
                walk::open_child(dir, name)
            }
            Err(Errno::NOTDIR | Errno::NOENT) => Err(Error::invalid(format!(
                "cannot copy a directory over {}: it is no directory",
                walk::shown(place::joined(path).to_bytes())
            ))),
            Err(errno) => Err(errno).act(act),
        }
    }

    /// Removes what stands where something else than a directory is to be made.
    fn make_room(&self, dir: &OwnedFd, name: &CStr) -> Result<()> {
        match place::lstat(dir, name)? {
            None => Ok(()),
            Some(stat) if place::is_dir(&stat) && !self.copy.replace => Err(Error::invalid(
                format!("cannot copy a file over the directory {}", name.to_string_lossy()),
            )),
            Some(_) => place::remove(dir, name),
        }
    }

    fn file(&self, at: &At<'_>, dir: &OwnedFd, name: &CStr) -> Result<()> {
        let act = || format!("copy {}", walk::shown(at.path));
        let mut from = walk::open_file(at.parent, at.name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let to = fs::openat(dir, name, flags | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR);
        let mut to = File::from(to.act(act)?);
        // The kernel copies, and shares blocks where the file system can.
        std::io::copy(&mut from, &mut to).act(act)?;
        let (owner, mode) = (self.owner_of(at.stat), self.mode_of(at.stat)?);
        place::give(&to, Some(owner), None).act(act)?;
        attributes(&from, &to)?;
        place::give(&to, None, Some(mode)).act(act)?;
        place::date(&to, self.time_of(at.stat)).act(act)
    }

    fn finish_node(&self, at: &At<'_>, dir: &OwnedFd, name: &CStr) -> Result<()> {
        let act = || format!("copy {}", walk::shown(at.path));
        let (uid, gid) = self.owner_of(at.stat);
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).act(act)?;
        let times = place::times(self.time_of(at.stat));
        fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).act(act)
    }
}

impl Visitor for Copier<'_> {
    fn visit(&mut self, at: &At<'_>) -> Result<()> {
        self.take(at, at.name)
    }

    fn leave(&mut self, at: &At<'_>) -> Result<()> {
        match self.stack.pop() {
            Some(level) => {
                place::date(&*level.dir, self.time_of(at.stat)).act(|| "date a directory".into())
            }
            None => Ok(()),
        }
    }
}

/// Copies the attributes that mean something in an image.
fn attributes(from: impl AsFd, to: impl AsFd) -> Result<()> {
    for (name, value) in walk::kept_xattrs(from)? {
        match fs::fsetxattr(&to, name.as_str(), &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno).act(|| format!("set attribute {name}")),
        }
    }
    Ok(())
}

/// Modification time, nanoseconds since the epoch.
fn mtime(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Whether a file is a tar, compressed or not: its first block has a valid checksum.
pub(crate) fn is_archive(file: &mut File) -> Result<bool> {
    let reading = || "look for an archive".to_owned();
    let mut block = [0u8; TAR_BLOCK];
    // What cannot be decompressed is no archive, but a file that looks like one.
    let filled = match store::plain(&mut *file) {
        Ok(mut plain) => fill(&mut *plain, &mut block).unwrap_or(0),
        Err(_) => 0,
    };
    file.rewind().act(reading)?;
    Ok(filled == TAR_BLOCK && is_header(&block))
}

fn fill(from: &mut dyn Read, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(have) => filled += have,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// POSIX ustar, "Header Block": the sum of all bytes, with the sum's own field as spaces.
fn is_header(block: &[u8; TAR_BLOCK]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    let text = String::from_utf8_lossy(&block[SUM]);
    let text = text.trim_matches(|c: char| c == '\0' || c == ' ');
    let Ok(want) = u32::from_str_radix(text, 8) else { return false };
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if SUM.contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
        .sum();
    block[0] != 0 && sum == want
}
