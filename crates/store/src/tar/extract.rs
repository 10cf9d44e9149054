//! Puts the entries of an archive into a directory and nowhere else. Parents are resolved from the
//! directory's descriptor with `openat2`; the last component is created anew or replaced, never
//! followed. Two uses: layers (strict: no link in any parent; whiteouts become overlayfs marks) and
//! copies into a container's tree (links resolve inside its root).
//!
//! ```text
//! entry -> name::TreePath -> mark? -> parent descriptor -> create
//!                                                           | exists
//!                                                           v
//!                                              merge (both directories) or make room, create again
//! ```
//!
//! Device nodes are made as the archive says: containers reach them through mounts that are `nodev`
//! or under a device policy, and leaving them out would change the layer's digest.

use super::doors::{Doors, Own};
use super::name::{Mark, TreePath, mark};
use super::node::{self, Ownership};
use super::reader::{RawSink, TarReader};
use super::{Entry, Extent, Kind, Time};
use crate::error::{Act, Error, Result};
use crate::tree;
use model::Denied;
use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

const COPY_BUFFER: usize = 128 << 10;
const IMPLIED_DIR_MODE: Mode =
    Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

/// What the recorder of a layer wants to know beside the raw bytes.
pub(crate) trait LayerSink: RawSink {
    /// The next `len` bytes of the stream were written to this file at this offset.
    fn content(&mut self, path: &TreePath, offset: u64, len: u64) -> Result<()>;
    /// Where a file or directory that a later entry replaces is kept, if its content is still
    /// needed: a directory and a name in it.
    fn displace(&mut self, path: &TreePath) -> Result<Option<(BorrowedFd<'_>, CString)>>;
}

impl LayerSink for super::reader::Discard {
    fn content(&mut self, _: &TreePath, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    fn displace(&mut self, _: &TreePath) -> Result<Option<(BorrowedFd<'_>, CString)>> {
        Ok(None)
    }
}

/// How entries are put into the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Whether `.wh.` names are marks and links in parents are refused.
    pub(crate) layer: bool,
    /// Refuse to replace a directory by something else and the other way round.
    pub(crate) keep_kinds: bool,
    /// An entry for the root itself sets the attributes of the directory extracted into.
    pub(crate) root: bool,
    pub(crate) owner: Ownership,
}

impl Rules {
    /// The rules of layers.
    pub(crate) const LAYER: Self = Self {
        layer: true,
        keep_kinds: false,
        root: true,
        owner: Ownership { fixed: None, shift: (0, 0) },
    };

    fn resolve(self) -> ResolveFlags {
        if self.layer { tree::STRICT } else { ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS }
    }
}

/// What was extracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extracted {
    pub(crate) entries: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// Mode and owner of the root, if the archive has an entry for it.
    pub(crate) root: Option<(u32, u32, u32)>,
}

/// Extracts one archive below one directory.
pub(crate) struct Extractor<'a> {
    root: BorrowedFd<'a>,
    /// Where in the root the entries go.
    base: TreePath,
    rules: Rules,
    doors: &'a dyn Doors,
    /// The parent of the last entry: the next one mostly has the same.
    parent: Option<(TreePath, Rc<OwnedFd>)>,
    /// Times of directories: set at the end, because every new child changes them.
    dir_times: Vec<(TreePath, Time)>,
    buffer: Vec<u8>,
    done: Extracted,
}

/// What was created for an entry.
enum Made {
    /// A file that is open for its content.
    File(OwnedFd),
    /// Something that wants attributes.
    Node,
    /// A hard link, which shares everything with its target.
    Link,
}

/// What became of an existing name.
#[derive(PartialEq, Eq)]
enum Room {
    /// Both are directories: nothing to create.
    Merge,
    Free,
    /// A mark was there: a new directory must hide what lies below.
    FreeOfWhiteout,
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, base: TreePath, rules: Rules) -> Self {
        let (parent, dir_times, buffer) = (None, Vec::new(), vec![0; COPY_BUFFER]);
        let (doors, done) = (&Own, Extracted::default());
        Self { root, base, rules, doors, parent, dir_times, buffer, done }
    }

    /// The same, by other means for what wants privileges.
    pub(crate) fn through(mut self, doors: &'a dyn Doors) -> Self {
        self.doors = doors;
        self
    }

    /// Extracts everything. On failure what was extracted so far stays; layers are extracted into
    /// a temporary directory for that reason.
    pub(crate) fn run<R: Read, S: LayerSink>(
        mut self,
        reader: &mut TarReader<R, S>,
    ) -> Result<Extracted> {
        while let Some(entry) = reader.next()? {
            self.entry(&entry, reader)?;
            self.done.entries += 1;
        }
        self.set_dir_times()?;
        Ok(self.done)
    }

    fn entry<R: Read, S: LayerSink>(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<R, S>,
    ) -> Result<()> {
        let path = self.base.join_path(&TreePath::parse(&entry.name)?);
        if self.rules.layer {
            match mark(&path)? {
                Mark::None if is_whiteout_device(entry) => {
                    if let Some((parent, name)) = path.split_last() {
                        return self.whiteout(&parent, &name);
                    }
                }
                Mark::None => {}
                Mark::Ignored => return Ok(()),
                Mark::Opaque => return self.opaque(&path),
                Mark::Whiteout(name) => {
                    let parent = path.split_last().map(|(parent, _)| parent).unwrap_or_default();
                    return self.whiteout(&parent, &name);
                }
            }
        }
        let Some((parent, name)) = path.split_last() else {
            return self.root_entry(entry);
        };
        if entry.kind == Kind::Dir && path == self.base {
            // The directory copied into is there already and keeps its attributes.
            return Ok(());
        }
        let parent = self.parent_dir(&parent)?;
        let (made, room) = match self.create(&parent, &name, &path, entry) {
            Err(Errno::EXIST) => {
                let room = self.make_room((&parent, &name), &path, entry, reader.sink())?;
                let made = match room {
                    Room::Merge => Made::Node,
                    _ => self
                        .create(&parent, &name, &path, entry)
                        .map_err(|errno| refused(&path, errno))?,
                };
                (made, room)
            }
            done => (done.map_err(|errno| refused(&path, errno))?, Room::Free),
        };
        match made {
            Made::File(file) => self.content(&file, &path, entry, reader)?,
            Made::Node => self.finish((&parent, &name), &path, entry)?,
            Made::Link => {}
        }
        if entry.kind == Kind::Dir && room == Room::FreeOfWhiteout {
            self.set_opaque(&parent, &name, &path).act(|| extracting(&path))?;
        }
        Ok(())
    }

    /// Creates the name; `EXIST` when something is there.
    fn create(
        &self,
        parent: &OwnedFd,
        name: &CStr,
        path: &TreePath,
        entry: &Entry,
    ) -> rustix::io::Result<Made> {
        match entry.kind {
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                fs::openat(parent, name, flags | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR)
                    .map(Made::File)
            }
            Kind::HardLink => self.hard_link(parent, name, path, entry).map(|()| Made::Link),
            Kind::CharDevice | Kind::BlockDevice => {
                self.doors.node((parent.as_fd(), name), path, entry).map(|()| Made::Node)
            }
            _ => node::make(parent, name, entry).map(|()| Made::Node),
        }
    }

    /// Links to an earlier entry of the same tree.
    fn hard_link(
        &self,
        parent: &OwnedFd,
        name: &CStr,
        path: &TreePath,
        entry: &Entry,
    ) -> rustix::io::Result<()> {
        let target = TreePath::parse(&entry.link).map_err(|_| Errno::XDEV)?;
        let target = self.base.join_path(&target);
        if target == *path {
            return Err(Errno::NOENT);
        }
        let (dir, last) = target.split_last().ok_or(Errno::PERM)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let dir = tree::openat2(self.root, dir.to_bytes(), flags, self.rules.resolve())?;
        if self.rules.layer && tree::is_whiteout(&tree::lstat(&dir, &last)?) {
            return Err(Errno::NOENT);
        }
        fs::linkat(&dir, &last, parent, name, AtFlags::empty())
    }

    /// Decides about a name that exists already.
    fn make_room<S: LayerSink>(
        &mut self,
        (parent, name): (&OwnedFd, &CStr),
        path: &TreePath,
        entry: &Entry,
        sink: &mut S,
    ) -> Result<Room> {
        let stat = tree::lstat(parent, name).act(|| extracting(path))?;
        let was_dir = tree::kind(&stat) == fs::FileType::Directory;
        let is_dir = entry.kind == Kind::Dir;
        if was_dir && is_dir {
            return Ok(Room::Merge);
        }
        if self.rules.keep_kinds && was_dir != is_dir {
            let (old, new) = if was_dir {
                ("directory", "non-directory")
            } else {
                ("non-directory", "directory")
            };
            return Err(
                Denied::invalid(format!("cannot overwrite {old} \"/{path}\" with {new}")).into()
            );
        }
        if was_dir {
            self.parent = None;
        }
        let has_content = tree::kind(&stat) == fs::FileType::RegularFile && stat.st_size > 0;
        if (was_dir || has_content)
            && let Some((shadow, slot)) = sink.displace(path)?
        {
            fs::renameat(parent, name, shadow, &slot).act(|| extracting(path))?;
        } else {
            tree::remove(parent, name).act(|| extracting(path))?;
        }
        let marked = self.rules.layer && tree::is_whiteout(&stat);
        Ok(if marked { Room::FreeOfWhiteout } else { Room::Free })
    }

    /// Attributes of what has no content.
    fn finish(
        &mut self,
        (parent, name): (&OwnedFd, &CStr),
        path: &TreePath,
        entry: &Entry,
    ) -> Result<()> {
        let owner = self.rules.owner;
        if entry.kind != Kind::Dir {
            return node::finish_node(parent, name, entry, owner).act(|| extracting(path));
        }
        let dir = tree::child_dir(parent, name).act(|| extracting(path))?;
        self.dir_times.push((path.clone(), entry.mtime));
        node::finish_open(&dir, entry, owner).act(|| extracting(path))
    }

    /// Content and attributes of a file.
    fn content<R: Read, S: LayerSink>(
        &mut self,
        file: &OwnedFd,
        path: &TreePath,
        entry: &Entry,
        reader: &mut TarReader<R, S>,
    ) -> Result<()> {
        let whole = [Extent { offset: 0, len: entry.size }];
        for extent in entry.extents.as_deref().unwrap_or(&whole) {
            if extent.len > 0 {
                reader.sink().content(path, extent.offset, extent.len)?;
            }
            let (mut offset, end) = (extent.offset, extent.offset + extent.len);
            while offset < end {
                let want = usize::try_from(end - offset).unwrap_or(usize::MAX);
                let have = reader.read(&mut self.buffer[..want.min(COPY_BUFFER)])?;
                if have == 0 {
                    return Err(Error::bad(format!("archive entry {path}: content is cut off")));
                }
                write_at(file, &self.buffer[..have], offset).act(|| extracting(path))?;
                sys::writeback::follow(file, offset, offset + have as u64);
                offset += have as u64;
            }
            self.done.bytes += extent.len;
        }
        if entry.extents.is_some() {
            fs::ftruncate(file, entry.size).act(|| extracting(path))?;
        }
        node::finish_open(file, entry, self.rules.owner).act(|| extracting(path))
    }

    /// An entry for the root itself sets its attributes.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Dir {
            return Err(Error::bad("archive entry would replace the root directory"));
        }
        if self.rules.root {
            let dir = tree::beneath(self.root, c".", OFlags::RDONLY | OFlags::DIRECTORY)
                .act(|| "open layer root".into())?;
            node::finish_open(dir, entry, self.rules.owner).act(|| "set layer root".into())?;
            self.done.root = Some((entry.mode, entry.uid, entry.gid));
            self.dir_times.push((TreePath::default(), entry.mtime));
        }
        Ok(())
    }

    /// `.wh.<name>`: hides the name in lower layers, and nothing of this one.
    fn whiteout(&mut self, parent: &TreePath, name: &CStr) -> Result<()> {
        let shown = || format!("extract whiteout of {parent}/{}", name.to_string_lossy());
        let parent_fd = self.parent_dir(parent)?;
        let device = fs::FileType::CharacterDevice;
        match fs::mknodat(&parent_fd, name, device, Mode::empty(), 0) {
            Err(Errno::EXIST) => {
                let stat = tree::lstat(&parent_fd, name).act(shown)?;
                if tree::kind(&stat) == fs::FileType::Directory {
                    self.set_opaque(&parent_fd, name, &parent.join_part(name)).act(shown)?;
                }
                Ok(())
            }
            done => done.act(shown),
        }
    }

    /// `.wh..wh..opq`: hides what lower layers have in this directory.
    fn opaque(&mut self, path: &TreePath) -> Result<()> {
        let Some((parent, _)) = path.split_last() else { return Ok(()) };
        let dir = self.parent_dir(&parent)?;
        // The descriptor may be O_PATH, which takes no attributes.
        let dir = tree::beneath(&*dir, c".", OFlags::RDONLY | OFlags::DIRECTORY)
            .act(|| extracting(path))?;
        self.doors.opaque(dir.as_fd(), &parent).act(|| extracting(path))
    }

    fn set_opaque(&self, parent: &OwnedFd, name: &CStr, path: &TreePath) -> rustix::io::Result<()> {
        self.doors.opaque(tree::child_dir(parent, name)?.as_fd(), path)
    }

    /// The directory of an entry, with missing ones made.
    fn parent_dir(&mut self, path: &TreePath) -> Result<Rc<OwnedFd>> {
        if let Some((cached, dir)) = &self.parent
            && cached == path
        {
            return Ok(Rc::clone(dir));
        }
        let dir = match self.open_dir(&path.to_bytes()) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_parents(path)?,
            done => done.map_err(|errno| refused(path, errno))?,
        };
        let dir = Rc::new(dir);
        self.parent = Some((path.clone(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn open_dir(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        tree::openat2(self.root, path, flags, self.rules.resolve())
    }

    fn make_parents(&self, path: &TreePath) -> Result<OwnedFd> {
        let mut dir = self.open_dir(b".").act(|| extracting(path))?;
        for depth in 1..=path.parts().len() {
            let (prefix, name) = (path.prefix(depth), &path.parts()[depth - 1]);
            dir = match self.open_dir(&prefix.to_bytes()) {
                Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                    self.make_parent(&dir, name, &prefix).map_err(|error| match error {
                        Errno::EXIST => refused(path, errno),
                        other => refused(path, other),
                    })?;
                    self.open_dir(&prefix.to_bytes()).map_err(|errno| refused(path, errno))?
                }
                done => done.map_err(|errno| refused(path, errno))?,
            };
        }
        Ok(dir)
    }

    /// Makes a directory that the archive implies but does not have.
    fn make_parent(&self, dir: &OwnedFd, name: &CStr, path: &TreePath) -> rustix::io::Result<()> {
        let mut marked = false;
        if self.rules.layer && tree::lstat(dir, name).is_ok_and(|stat| tree::is_whiteout(&stat)) {
            fs::unlinkat(dir, name, AtFlags::empty())?;
            marked = true;
        }
        fs::mkdirat(dir, name, Mode::RWXU)?;
        let made = tree::child_dir(dir, name)?;
        let (uid, gid) = self.rules.owner.of(0, 0);
        fs::fchown(&made, Some(uid), Some(gid))?;
        fs::fchmod(&made, IMPLIED_DIR_MODE)?;
        if marked {
            self.doors.opaque(made.as_fd(), path)?;
        }
        Ok(())
    }

    fn set_dir_times(&mut self) -> Result<()> {
        for (path, time) in self.dir_times.iter().rev() {
            let dir = match tree::openat2(
                self.root,
                path.to_bytes(),
                OFlags::RDONLY | OFlags::DIRECTORY,
                self.rules.resolve(),
            ) {
                // A later entry replaced the directory.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                done => done.act(|| extracting(path))?,
            };
            fs::futimens(dir, &node::timestamps(*time)).act(|| extracting(path))?;
        }
        Ok(())
    }
}

fn is_whiteout_device(entry: &Entry) -> bool {
    entry.kind == Kind::CharDevice && entry.major == 0 && entry.minor == 0
}

fn write_at(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file.as_fd(), bytes, offset) {
            Ok(done) => {
                bytes = &bytes[done..];
                offset += done as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn extracting(path: &TreePath) -> String {
    format!("extract archive entry {path}")
}

/// What a refusal by the kernel means for an entry: mostly, that the archive is at fault.
fn refused(path: &TreePath, errno: Errno) -> Error {
    let why = match errno {
        Errno::LOOP => "a symbolic link is in the way",
        Errno::NOTDIR => "a parent is no directory",
        Errno::XDEV => "a link leaves the tree",
        Errno::NOENT => "the target of a link does not exist",
        Errno::NAMETOOLONG => "a name is too long",
        Errno::PERM => "the target of a link cannot be linked",
        Errno::MLINK => "too many links",
        Errno::INVAL => "not a valid name or target",
        errno => return Error::io(extracting(path), errno),
    };
    Error::bad(format!("archive entry {path}: {why}"))
}
