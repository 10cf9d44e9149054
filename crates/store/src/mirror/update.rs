//! Following a client's directory: entries come in order, each directory before what is in it;
//! content comes for those that are wanted. Never trusts an entry.

use super::entry::{Entry, Kind, MAX_DEPTH};
use crate::error::{Act, Error, Result};
use crate::tree;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

/// The most entries of a directory that is followed.
const MAX_ENTRIES: usize = 4_000_000;
/// How many files' contents are on their way at a time; each has an open file.
const MAX_OPEN: usize = 64;
/// The most extended attributes of one file.
const MAX_XATTRS: usize = 64;
/// The extended attributes that are taken over; others say something to the kernel or to overlayfs.
const XATTR_PREFIX: &str = "user.";

/// One update of a mirror. Dropped before its end, the mirror is between two states, which the
/// next update mends.
pub struct Update {
    tree: OwnedFd,
    incoming: OwnedFd,
    /// The directory that the last entry was in, and those above it.
    levels: Vec<Level>,
    told: usize,
    all_told: bool,
    /// Directories, to be dated once nothing in them changes any more.
    dirs: Vec<Entry>,
    links: Vec<Entry>,
    /// Files whose content is to be asked for.
    wanted: VecDeque<(u32, Entry)>,
    /// Files whose content is on its way.
    open: HashMap<u32, (Entry, File)>,
    /// Files whose content is whole, by the name they have among the incoming ones.
    whole: Vec<(CString, String)>,
}

/// A directory that entries are being told of.
struct Level {
    path: String,
    dir: OwnedFd,
    /// Names in it that no entry has named yet.
    unnamed: BTreeSet<CString>,
    /// The last name told.
    last: String,
}

impl Update {
    pub(super) fn begin(tree: OwnedFd, incoming: OwnedFd) -> Result<Self> {
        let top = tree::beneath(&tree, c".", OFlags::DIRECTORY | OFlags::RDONLY)
            .act(|| "open a mirror".into())?;
        let unnamed = tree::names(&top).act(|| "list a mirror".into())?.into_iter().collect();
        let top = Level { path: String::new(), dir: top, unnamed, last: String::new() };
        Ok(Self {
            tree,
            incoming,
            levels: vec![top],
            told: 0,
            all_told: false,
            dirs: Vec::new(),
            links: Vec::new(),
            wanted: VecDeque::new(),
            open: HashMap::new(),
            whole: Vec::new(),
        })
    }

    /// Takes the next entry, whose content is known by `id`; true if the content is wanted.
    pub fn entry(&mut self, id: u32, entry: Entry) -> Result<bool> {
        self.told += 1;
        if self.told > MAX_ENTRIES || self.all_told {
            return Err(Error::bad(format!("a file list has more than {MAX_ENTRIES} entries")));
        }
        let (parent, name) = entry.split()?;
        let name = self.descend(parent, name)?;
        let making = || format!("make {:?} in a mirror", entry.path);
        let Some(level) = self.levels.last_mut() else {
            return Err(Error::bad("a file list is out of order"));
        };
        level.unnamed.remove(&name);
        let have = match tree::lstat(&level.dir, &name) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).act(making),
        };
        if let (Some(stat), Kind::Dir) = (&have, &entry.kind)
            && tree::kind(stat) == FileType::Directory
        {
            self.enter(&name, entry)?;
            return Ok(false);
        }
        if let Some(stat) = &have {
            let same = entry.is_as(stat) && same_link(&level.dir, &name, &entry.kind);
            if same && matches!(entry.kind, Kind::File | Kind::Symlink(_) | Kind::Fifo) {
                return Ok(false);
            }
            // A file that changed stays until its successor is whole.
            let file = tree::kind(stat) == FileType::RegularFile;
            if !(file && matches!(entry.kind, Kind::File)) {
                tree::remove(&level.dir, &name).act(making)?;
            }
        }
        match entry.kind {
            Kind::Dir => {
                fs::mkdirat(&level.dir, &name, Mode::RWXU).act(making)?;
                self.enter(&name, entry)?;
            }
            Kind::File => {
                self.wanted.push_back((id, entry));
                return Ok(true);
            }
            Kind::Hardlink(_) => self.links.push(entry),
            Kind::Symlink(ref target) => {
                fs::symlinkat(target.as_str(), &level.dir, &name).act(making)?;
                dress(&level.dir, &name, &entry).act(making)?;
            }
            Kind::Fifo => {
                let mode = Mode::from_raw_mode(entry.mode);
                fs::mknodat(&level.dir, &name, FileType::Fifo, mode, 0).act(making)?;
                fs::chmodat(&level.dir, &name, mode, AtFlags::empty()).act(making)?;
                dress(&level.dir, &name, &entry).act(making)?;
            }
            Kind::Other => {}
        }
        Ok(false)
    }

    /// The next file whose content is to be asked for; none while enough are on their way.
    pub fn next_wanted(&mut self) -> Result<Option<u32>> {
        if self.open.len() >= MAX_OPEN {
            return Ok(None);
        }
        let Some((id, entry)) = self.wanted.pop_front() else { return Ok(None) };
        let making = || format!("make {:?} in a mirror", entry.path);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = fs::openat(&self.incoming, incoming_name(id), flags, mode).act(making)?;
        self.open.insert(id, (entry, File::from(file)));
        Ok(Some(id))
    }

    /// Takes a piece of the content of a file that was asked for.
    pub fn data(&mut self, id: u32, bytes: &[u8]) -> Result<()> {
        let Some((entry, file)) = self.open.get_mut(&id) else {
            return Err(Error::bad(format!("content of file {id} came without being asked for")));
        };
        file.write_all(bytes).act(|| format!("write {:?} into a mirror", entry.path))
    }

    /// The content of a file that was asked for is whole.
    pub fn end(&mut self, id: u32) -> Result<()> {
        let Some((entry, file)) = self.open.remove(&id) else {
            return Err(Error::bad(format!("content of file {id} came without being asked for")));
        };
        let closing = || format!("take {:?} into a mirror", entry.path);
        let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        fs::fchown(&file, owner.0, owner.1).act(closing)?;
        fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).act(closing)?;
        for (name, value) in entry.xattrs.iter().take(MAX_XATTRS) {
            if name.starts_with(XATTR_PREFIX) {
                // A file system may have none; the content is what matters.
                let _ = fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty());
            }
        }
        fs::futimens(&file, &entry.times()).act(closing)?;
        self.whole.push((incoming_name(id), entry.path));
        Ok(())
    }

    /// No entry follows.
    pub fn all_told(&mut self) -> Result<()> {
        self.all_told = true;
        while let Some(level) = self.levels.pop() {
            level.leave()?;
        }
        Ok(())
    }

    /// Whether nothing is missing any more.
    pub fn is_complete(&self) -> bool {
        self.all_told && self.wanted.is_empty() && self.open.is_empty()
    }

    /// Puts everything in its place.
    pub fn finish(self) -> Result<()> {
        if !self.is_complete() {
            return Err(Error::bad("a file list ended before it was complete"));
        }
        for (incoming, path) in &self.whole {
            let placing = || format!("place {path:?} in a mirror");
            let (dir, name) = self.place(path)?;
            fs::renameat(&self.incoming, incoming, &dir, &name).act(placing)?;
        }
        for entry in &self.links {
            let Kind::Hardlink(target) = &entry.kind else { continue };
            let linking = || format!("link {:?} in a mirror", entry.path);
            let (from, original) = self.place(target)?;
            let (to, name) = self.place(&entry.path)?;
            fs::linkat(&from, &original, &to, &name, AtFlags::empty()).act(linking)?;
        }
        for entry in self.dirs.iter().rev() {
            let dating = || format!("date {:?} in a mirror", entry.path);
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW;
            let dir = tree::beneath(&self.tree, entry.path.as_str(), flags).act(dating)?;
            if !entry.is_as(&fs::fstat(&dir).act(dating)?) {
                let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
                fs::fchown(&dir, owner.0, owner.1).act(dating)?;
                fs::fchmod(&dir, Mode::from_raw_mode(entry.mode)).act(dating)?;
                fs::futimens(&dir, &entry.times()).act(dating)?;
            }
        }
        Ok(())
    }

    /// Goes to the directory at `parent`, which must be open or above what is, and checks that
    /// `name` comes after what was told of it.
    fn descend(&mut self, parent: &str, name: &str) -> Result<CString> {
        let disorder = || Error::bad(format!("a file list is out of order at {name:?}"));
        while self.levels.last().is_some_and(|level| level.path != parent) {
            let Some(level) = self.levels.pop() else { break };
            level.leave()?;
        }
        let level = self.levels.last_mut().ok_or_else(disorder)?;
        if name <= level.last.as_str() {
            return Err(disorder());
        }
        name.clone_into(&mut level.last);
        CString::new(name).map_err(|_| disorder())
    }

    /// The entries of this directory follow.
    fn enter(&mut self, name: &CStr, entry: Entry) -> Result<()> {
        let opening = || format!("open {:?} in a mirror", entry.path);
        if self.levels.len() > MAX_DEPTH {
            return Err(Error::bad("a file list is nested too deeply"));
        }
        let Some(above) = self.levels.last() else {
            return Err(Error::bad("a file list is out of order"));
        };
        let dir = tree::child_dir(&above.dir, name).act(opening)?;
        let unnamed = tree::names(&dir).act(opening)?.into_iter().collect();
        let (path, last) = (entry.path.clone(), String::new());
        self.levels.push(Level { path, dir, unnamed, last });
        self.dirs.push(entry);
        Ok(())
    }

    /// The directory of a path and its name in it, through no link.
    fn place(&self, path: &str) -> Result<(OwnedFd, CString)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW;
        let dir = tree::beneath(&self.tree, parent, flags)
            .act(|| format!("open {parent:?} in a mirror"))?;
        let name = CString::new(name).map_err(|_| Error::bad("a path contains NUL"))?;
        if matches!(name.to_bytes(), b"" | b"." | b"..") {
            return Err(Error::bad(format!("a file list names the path {path:?}")));
        }
        Ok((dir, name))
    }
}

impl Level {
    /// Removes what the client no longer has.
    fn leave(self) -> Result<()> {
        for name in &self.unnamed {
            tree::remove(&self.dir, name)
                .act(|| format!("remove {name:?} from {:?} of a mirror", self.path))?;
        }
        Ok(())
    }
}

fn incoming_name(id: u32) -> CString {
    CString::new(id.to_string()).unwrap_or_default()
}

/// Whether a link says what the entry says; true for everything else.
fn same_link(dir: &OwnedFd, name: &CStr, kind: &Kind) -> bool {
    match kind {
        Kind::Symlink(target) => {
            tree::read_link(dir, name).is_ok_and(|have| have == target.as_bytes())
        }
        _ => true,
    }
}

/// Owner and date of what has no content.
fn dress(dir: &OwnedFd, name: &CStr, entry: &Entry) -> rustix::io::Result<()> {
    let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
    fs::chownat(dir, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    fs::utimensat(dir, name, &entry.times(), AtFlags::SYMLINK_NOFOLLOW)
}
