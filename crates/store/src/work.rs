//! Trees that builds work on: merged views of layers, a writable tree over them that becomes a
//! layer, and directories for what is taken in. A tree becomes a layer where it lies: its upper
//! directory is read once (digest and recipe) and renamed into place, nothing is copied.
//!
//! ```text
//! layers ──▶ Work { upper, work } ──root()──▶ a mount nobody sees ──▶ changes
//!                 └──────────commit()──▶ walk: sha256 + recipe ──▶ layers/<diff-id>
//! ```
//! This module never runs anything and knows nothing of Dockerfiles.

mod stubs;

use crate::error::{Act, Error, Result};
use crate::image::Images;
use crate::layer::recipe::RecipeWriter;
use crate::layer::{Layer, Layers};
use crate::record::{Durability, v1};
use crate::snapshot::merge::{self, MergedDir};
use crate::store::{Lease, Scratch, Store};
use crate::tar::extract::LayerSink;
use crate::tar::name::TreePath;
use crate::tar::reader::RawSink;
use crate::tar::writer::TarWriter;
use crate::tar::{Entry, Kind};
use crate::tree;
use model::{ContainerId, Digest, ImageId};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

const COPY_BUFFER: usize = 256 << 10;

/// A layer with more content begins to go to the disk while it is still being read: the image that
/// names it will wait for that.
const EARLY_BYTES: u64 = 16 << 20;

/// A directory for what is being taken in; removed when dropped, or at the next open of the store.
pub struct TempDir {
    scratch: Scratch,
}

impl TempDir {
    /// The directory.
    pub fn dir(&self) -> &OwnedFd {
        &self.scratch.dir
    }

    /// Its full path. No part of it can be changed by others.
    pub fn path(&self) -> PathBuf {
        self.scratch.path()
    }
}

impl Store {
    /// A new, empty directory of root's alone.
    pub fn temp_dir(&self) -> Result<TempDir> {
        Ok(TempDir { scratch: self.scratch()? })
    }

    /// What the layers show together, base first: the root of a read-only mount that nobody sees
    /// and that is gone when the last descriptor of it is closed.
    pub fn view(&self, layers: &[Digest]) -> Result<OwnedFd> {
        let mut lower = self.lower(layers)?;
        // Without files in any layer there is only the empty one, and overlayfs wants two.
        match lower.pop() {
            Some(empty) if lower.is_empty() => Ok(empty),
            last => {
                lower.extend(last);
                mount(&lower, None)
            }
        }
    }

    /// A writable tree over layers, base first. They are spared by collection while it lives.
    pub fn work(&self, layers: &[Digest]) -> Result<Work> {
        let making = || "make working tree".to_owned();
        let lease = self.lease();
        layers.iter().for_each(|layer| lease.pin(*layer));
        let lower = self.lower(layers)?;
        let base = self.snapshots().root_attributes(layers)?;
        let scratch = self.scratch()?;
        fs::mkdirat(&scratch.dir, c"upper", Mode::RWXU).act(making)?;
        fs::mkdirat(&scratch.dir, c"work", Mode::RWXU).act(making)?;
        let upper = tree::child_dir(&scratch.dir, c"upper").act(making)?;
        give_root(&upper, base).act(making)?;
        Ok(Work { store: self.clone(), scratch, lower, upper, base, _lease: lease })
    }

    fn lower(&self, layers: &[Digest]) -> Result<Vec<OwnedFd>> {
        let store = self.layers();
        let mut lower: Vec<(Digest, OwnedFd)> = Vec::with_capacity(layers.len());
        for layer in layers.iter().rev() {
            let known = store.find(*layer)?.ok_or_else(|| {
                Error::Denied(model::Denied::not_found(format!("no layer {layer}")))
            })?;
            // The same layer again further down adds nothing, and overlayfs refuses it.
            if known.entries == 0 || lower.iter().any(|(have, _)| have == layer) {
                continue;
            }
            let dir = tree::open_dir(&store.path(*layer)).act(|| format!("open layer {layer}"))?;
            lower.push((*layer, dir));
        }
        let mut lower: Vec<OwnedFd> = lower.into_iter().map(|(_, dir)| dir).collect();
        // A mount without an upper directory wants two below it.
        let empty = self.root().join("empty");
        lower.push(tree::open_dir(&empty).act(|| "open the empty layer".into())?);
        Ok(lower)
    }
}

impl Images {
    /// Adds an image that was made here of layers that are present, and says whether it is new. It
    /// is durable on return, or with the name that it is given next.
    pub fn put_built(
        &self,
        lease: &Lease,
        config: &[u8],
        durability: Durability,
    ) -> Result<(ImageId, bool)> {
        let is_new = self.index().get(crate::blob::digest(config)).is_none();
        Ok((self.put_local(lease, config, (None, true), durability)?, is_new))
    }
}

impl Store {
    /// Writes everything that layers show together, base first, as a tar.
    pub fn write_tree(&self, layers: &[Digest], writer: &mut dyn Write) -> Result<()> {
        crate::snapshot::write_tree(&MergedDir::root(self.lower(layers)?)?, writer)
    }
}

/// A writable tree over layers.
pub struct Work {
    store: Store,
    scratch: Scratch,
    lower: Vec<OwnedFd>,
    upper: OwnedFd,
    /// Mode and owner of the root without the changes.
    base: (u32, u32, u32),
    _lease: Lease,
}

impl Work {
    /// The root of the tree, with everything in it as it is seen. At most one at a time.
    pub fn root(&self) -> Result<OwnedFd> {
        if self.lower.len() == 1 {
            return tree::child_dir(&self.scratch.dir, c"upper").act(|| "open upper".into());
        }
        let work = tree::child_dir(&self.scratch.dir, c"work").act(|| "open work".into())?;
        mount(&self.lower, Some((&self.upper, &work)))
    }

    /// What was changed, as a layer; `None` when nothing was. No root may be open.
    pub fn commit(self, lease: &Lease, options: LayerOptions) -> Result<Option<Layer>> {
        let base = Base { root: self.base, lower: MergedDir::root(self.lower)? };
        commit(&self.store, lease, &self.scratch, &base, options)
    }
}

/// What a layer is made over.
struct Base {
    /// Mode and owner of the root.
    root: (u32, u32, u32),
    lower: MergedDir,
}

/// How a layer is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerOptions {
    /// Nothing is dated later, seconds since the epoch (`SOURCE_DATE_EPOCH`).
    pub latest_mtime: Option<i64>,
    /// Paths that something was mounted upon: what the runtime made there to mount upon (empty
    /// files and directories, with the directories above them) is no change.
    pub mounted: Vec<String>,
    /// Nothing changed is a layer too, without entries.
    pub keep_empty: bool,
}

impl Layers {
    /// Makes a layer of what a container changed, taking its writable layer away: the snapshot is
    /// gone afterwards, whatever comes of it. Nothing may run in it.
    pub fn take(
        &self,
        lease: &Lease,
        id: ContainerId,
        options: LayerOptions,
    ) -> Result<Option<Layer>> {
        let taking = || format!("take snapshot {}", id.short());
        let (_, layers) = self.store.snapshots().meta(id)?;
        let base = Base {
            root: self.store.snapshots().root_attributes(&layers)?,
            lower: MergedDir::root(self.store.lower(&layers)?)?,
        };
        let scratch = self.store.scratch()?;
        let name = CString::new(id.to_string()).unwrap_or_default();
        let snapshots = &self.store.inner.dirs.snapshots;
        fs::renameat(snapshots, &name, &scratch.dir, c"snapshot").act(taking)?;
        sys::failpoint::hit("store.layer.taken");
        let home = tree::child_dir(&scratch.dir, c"snapshot").act(taking)?;
        fs::renameat(&home, c"upper", &scratch.dir, c"upper").act(taking)?;
        tree::remove(&scratch.dir, c"snapshot").act(taking)?;
        commit(&self.store, lease, &scratch, &base, options)
    }
}

fn mount(lower: &[OwnedFd], upper: Option<(&OwnedFd, &OwnedFd)>) -> Result<OwnedFd> {
    let mounting = || "mount layers".to_owned();
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).act(mounting)?;
    fsconfig_set_string(context.as_fd(), "source", "estiba").act(mounting)?;
    for dir in lower {
        fsconfig_set_fd(context.as_fd(), "lowerdir+", dir.as_fd()).act(mounting)?;
    }
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    match upper {
        Some((upper, work)) => {
            fsconfig_set_fd(context.as_fd(), "upperdir", upper.as_fd()).act(mounting)?;
            fsconfig_set_fd(context.as_fd(), "workdir", work.as_fd()).act(mounting)?;
            // Else the whole file system below is synced when this is unmounted. Whoever promises
            // that a layer lasts syncs it, and no tree is mounted twice.
            fsconfig_set_flag(context.as_fd(), "volatile").act(mounting)?;
        }
        None => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
    }
    crate::snapshot::plain(context.as_fd()).act(mounting)?;
    fsconfig_create(context.as_fd()).act(mounting)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).act(mounting)
}

fn give_root(dir: &OwnedFd, (mode, uid, gid): (u32, u32, u32)) -> rustix::io::Result<()> {
    fs::fchown(dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fs::fchmod(dir, Mode::from_raw_mode(mode))
}

/// Turns `upper` of the scratch directory into a layer.
fn commit(
    store: &Store,
    lease: &Lease,
    scratch: &Scratch,
    base: &Base,
    options: LayerOptions,
) -> Result<Option<Layer>> {
    let making = || "make a layer".to_owned();
    fs::renameat(&scratch.dir, c"upper", &scratch.dir, c"fs").act(making)?;
    tree::remove(&scratch.dir, c"work").act(making)?;
    let files = tree::child_dir(&scratch.dir, c"fs").act(making)?;
    for path in &options.mounted {
        stubs::remove(&files, &base.lower, &TreePath::parse(path.as_bytes())?)?;
    }
    sys::failpoint::hit("store.layer.cleaned");
    let sink =
        Sink { hash: Sha256::new(), bytes: 0, recipe: RecipeWriter::create(scratch.dir.as_fd())? };
    let mut walk = Walk {
        tar: TarWriter::new(sink),
        links: HashMap::new(),
        options,
        entries: 0,
        content: 0,
        is_early: false,
        buffer: vec![0; COPY_BUFFER],
    };
    let root = walk.root(&files, base.root)?;
    walk.dir(&files, b"", 0)?;
    if walk.entries == 0 && !walk.options.keep_empty {
        return Ok(None);
    }
    sys::failpoint::hit("store.layer.walked");
    let (entries, size) = (walk.entries, walk.content);
    let sink = walk.tar.finish()?;
    sink.recipe.finish()?;
    let diff_id = Digest::sha256(sink.hash.finalize().into());
    let layer = Layer { diff_id, size, tar_size: sink.bytes, entries, root };
    let meta = v1::LayerMeta {
        version: v1::VERSION,
        diff_id: layer.diff_id.to_string(),
        tar_bytes: layer.tar_size,
        bytes: layer.size,
        entries: layer.entries,
        root: layer.root,
    };
    crate::record::write_meta(&scratch.dir, &meta)?;
    sys::failpoint::hit("store.layer.described");
    lease.pin(diff_id);
    scratch
        .publish(&store.inner.dirs.layers, &diff_id.hex())
        .act(|| format!("publish layer {diff_id}"))?;
    sys::failpoint::hit("store.layer.published");
    Ok(Some(layer))
}

/// Sets the disk to work. What goes wrong is told to whoever waits for it: the kernel tells each
/// open file once, so this is one of its own.
fn sync_meanwhile(dir: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(own) = fs::openat(dir, c".", flags, Mode::empty()) else { return };
    let syncing = move || {
        let _ = fs::syncfs(own);
    };
    // Without a thread it is only done later.
    drop(std::thread::Builder::new().name("layer-sync".to_owned()).spawn(syncing));
}

/// Takes the tar's bytes: all are hashed, those that are no file's content are kept in the recipe.
struct Sink<'a> {
    hash: Sha256,
    bytes: u64,
    recipe: RecipeWriter<'a>,
}

impl Sink<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pass(bytes);
        self.recipe.raw(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Walk<'a> {
    tar: TarWriter<Sink<'a>>,
    /// Files with several names: where the first one is.
    links: HashMap<(u64, u64), Vec<u8>>,
    options: LayerOptions,
    entries: u64,
    content: u64,
    /// The disk was set to work.
    is_early: bool,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    /// The root has an entry only where it is changed.
    fn root(&mut self, dir: &OwnedFd, base: (u32, u32, u32)) -> Result<Option<(u32, u32, u32)>> {
        let stat = fs::fstat(dir).act(|| "read the layer's root".into())?;
        clean(dir)?;
        let have = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        if have == base {
            return Ok(None);
        }
        let Some(mut entry) = merge::entry(b".", &stat) else { return Ok(None) };
        entry.mtime.seconds = self.options.latest_mtime.unwrap_or(0).min(entry.mtime.seconds);
        self.put(&entry)?;
        Ok(Some(have))
    }

    fn dir(&mut self, dir: &OwnedFd, at: &[u8], depth: usize) -> Result<()> {
        merge::check_depth(depth)?;
        for name in tree::names(dir).act(|| "list changes".into())? {
            let stat = tree::lstat(dir, &name).act(|| "list changes".into())?;
            let path = join(at, name.to_bytes());
            if tree::is_whiteout(&stat) {
                let path = join(at, &[b".wh.", name.to_bytes()].concat());
                self.put(&Entry::plain(&path, Kind::File, 0))?;
                continue;
            }
            match tree::kind(&stat) {
                // No archive can hold one.
                FileType::Socket | FileType::Unknown => {
                    fs::unlinkat(dir, &name, AtFlags::empty()).act(|| "remove socket".into())?;
                }
                FileType::Directory => self.directory(dir, &name, &path, &stat, depth)?,
                _ => self.name(dir, &name, &path, &stat)?,
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        dir: &OwnedFd,
        name: &CStr,
        path: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> Result<()> {
        let child = tree::child_dir(dir, name).act(|| format!("open {}", shown(path)))?;
        clean(&child)?;
        let Some(mut entry) = merge::entry(path, stat) else { return Ok(()) };
        merge::complete(&mut entry, dir, name)?;
        self.date(dir, name, &mut entry)?;
        self.put(&entry)?;
        if merge::is_opaque(&child)? {
            self.put(&Entry::plain(&join(path, b".wh..wh..opq"), Kind::File, 0))?;
        }
        self.dir(&child, path, depth + 1)
    }

    fn name(&mut self, dir: &OwnedFd, name: &CStr, path: &[u8], stat: &Stat) -> Result<()> {
        let Some(mut entry) = merge::entry(path, stat) else { return Ok(()) };
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                entry.kind = Kind::HardLink;
                entry.link.clone_from(first);
                self.date(dir, name, &mut entry)?;
                return self.put(&entry);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        let gone = || Error::Damaged(format!("/{} changed while it was read", shown(path)));
        let file = merge::complete(&mut entry, dir, name)?.ok_or_else(gone)?;
        if let Some(file) = &file {
            clean(file)?;
        }
        self.date(dir, name, &mut entry)?;
        if self.content > EARLY_BYTES && !self.is_early {
            self.is_early = true;
            sync_meanwhile(dir);
        }
        match file {
            Some(file) => self.file(&entry, path, file),
            None => self.put(&entry),
        }
    }

    fn file(&mut self, entry: &Entry, path: &[u8], mut file: File) -> Result<()> {
        self.entries += 1;
        self.content += entry.size;
        self.tar.header(entry)?;
        if entry.size > 0 {
            self.tar.sink().recipe.content(&TreePath::parse(path)?, 0, entry.size)?;
        }
        let mut left = entry.size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let have = match file.read(&mut self.buffer[..want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done.act(|| format!("read /{}", shown(path)))?,
            };
            if have == 0 {
                return Err(Error::Damaged(format!("/{} shrank while it was read", shown(path))));
            }
            self.tar.sink().pass(&self.buffer[..have]);
            left -= have as u64;
        }
        self.tar.pad(entry.size)
    }

    fn put(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.tar.node(entry)
    }

    /// Dates what is too late back, in the archive and on disk.
    fn date(&mut self, dir: &OwnedFd, name: &CStr, entry: &mut Entry) -> Result<()> {
        let Some(latest) = self.options.latest_mtime else { return Ok(()) };
        if entry.mtime.seconds <= latest {
            return Ok(());
        }
        entry.mtime.seconds = latest;
        let time = Timespec { tv_sec: latest, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).act(|| "date a file".into())
    }
}

/// Takes away overlayfs' own notes about where a file came from: they say nothing in a layer.
fn clean(file: impl AsFd) -> Result<()> {
    let cleaning = || "clean overlay attributes".to_owned();
    let prefix = crate::tar::node::overlay_xattr("");
    for name in tree::xattr_names(&file).act(cleaning)? {
        let note = name.strip_prefix(prefix.as_str());
        if matches!(note, Some("origin" | "impure" | "nlink" | "upper" | "uuid" | "protattr")) {
            match fs::fremovexattr(&file, name.as_str()) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno).act(cleaning),
            }
        }
    }
    Ok(())
}

fn join(at: &[u8], name: &[u8]) -> Vec<u8> {
    if at.is_empty() { name.to_vec() } else { [at, b"/", name].concat() }
}

fn shown(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}

impl Store {
    /// Bytes of file content below a directory of ours.
    pub fn measure(&self, dir: &std::path::Path) -> Result<u64> {
        let act = || format!("measure {}", dir.display());
        tree::measure(tree::open_dir(dir).act(act)?).act(act).map(|size| size.disk)
    }

    /// Removes a directory of ours with everything in it, in one step and then piece by piece.
    pub fn remove_tree(&self, dir: &std::path::Path) -> Result<()> {
        let act = || format!("remove {}", dir.display());
        let scratch = self.scratch()?;
        match fs::renameat(fs::CWD, dir, &scratch.dir, c"removed") {
            Ok(()) => tree::remove(&scratch.dir, c"removed").act(act),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).act(act),
        }
    }
}
