//! Snapshots: the writable layer of a container over the layers of its image. The store makes the
//! directories; who mounts them (the runtime, or [`Snapshots::mount`]) uses overlayfs with
//! `redirect_dir=off`, `metacopy=off` and `index=off`, which [`Snapshots::changes`] and
//! [`Snapshots::export`] rely on.

mod diff;
pub(crate) mod merge;
pub(crate) mod points;

use crate::bound::Bound;
use crate::error::{Act, Error, Result};
use crate::record::{self, v1};
use crate::store::{Published, Scratch, Store, random_name};
use crate::tar::writer::TarWriter;
use crate::tree;
use merge::MergedDir;
use model::{ContainerId, Denied, Digest, ImageId};
use rustix::fs::{self, FileType, Gid, Mode, Uid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::collections::HashMap;
use std::ffi::CString;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

const STREAM_BUFFER: usize = 256 << 10;

/// What the names of spare layers begin with, for whoever looks into `tmp`.
const SPARE: &str = "ready-";

/// The snapshots of a store.
#[derive(Clone, Debug)]
pub struct Snapshots {
    pub(crate) store: Store,
}

/// The directories of a container's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose root it is.
    pub id: ContainerId,
    /// The image it started from.
    pub image: Option<ImageId>,
    /// The image's layers, topmost first, and below them what the runtime mounts things on. Layers
    /// that add nothing are left out.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// Overlayfs' work directory.
    pub work: PathBuf,
}

/// A writable layer without a container. It is removed when this is dropped.
#[derive(Debug)]
pub struct Spare(Scratch);

/// How a path differs from the image. The numbers are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// 0: content or attributes changed, or something in the directory came or went.
    Modified = 0,
    /// 1: the image does not have it.
    Added = 1,
    /// 2: only the image has it.
    Deleted = 2,
}

/// A path that differs from the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// How.
    pub kind: ChangeKind,
}

/// What a container takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotUsage {
    /// Bytes of files the container wrote.
    pub rw: u64,
    /// Those and the image's.
    pub root_fs: u64,
}

/// The directories of a writable layer, which are empty at first.
fn make_room(scratch: &Scratch, act: impl Fn() -> String) -> Result<()> {
    fs::mkdirat(&scratch.dir, c"upper", Mode::RWXU).act(&act)?;
    fs::mkdirat(&scratch.dir, c"work", Mode::RWXU).act(&act)
}

impl Snapshots {
    /// Makes the writable layer of a container. The image's layers are spared by collection as
    /// long as it exists. A crash in between leaves only garbage in `tmp`.
    pub fn create(&self, id: ContainerId, image: Option<ImageId>) -> Result<Snapshot> {
        self.create_from(id, image, None)
    }

    /// The same, from one that was made ahead.
    pub fn create_from(
        &self,
        id: ContainerId,
        image: Option<ImageId>,
        spare: Option<Spare>,
    ) -> Result<Snapshot> {
        self.make(id, image, &self.layers_of(image)?, (spare, None))
    }

    /// The same, but the container may write no more than so many bytes. Refused where the file
    /// system cannot hold it to that.
    pub fn create_within(
        &self,
        id: ContainerId,
        image: Option<ImageId>,
        limit_bytes: u64,
    ) -> Result<Snapshot> {
        self.make(id, image, &self.layers_of(image)?, (None, Some(limit_bytes)))
    }

    /// The same over layers, base first, that need not be an image's.
    pub fn create_on(&self, id: ContainerId, layers: &[Digest]) -> Result<Snapshot> {
        self.make(id, None, layers, (None, None))
    }

    /// Makes a writable layer ahead, for a container that is not known yet. It is nobody's, and
    /// goes with what is returned.
    pub fn spare(&self) -> Result<Spare> {
        let making = || "make a snapshot ahead".to_owned();
        let name = format!("{SPARE}{}", random_name()?.to_string_lossy());
        let name = CString::new(name).map_err(std::io::Error::from).act(making)?;
        let scratch = self.store.scratch_as(name)?;
        make_room(&scratch, making)?;
        Ok(Spare(scratch))
    }

    fn layers_of(&self, image: Option<ImageId>) -> Result<Vec<Digest>> {
        match image {
            Some(image) => Ok(self.store.images().record(image)?.diff_ids.clone()),
            None => Ok(Vec::new()),
        }
    }

    fn make(
        &self,
        id: ContainerId,
        image: Option<ImageId>,
        layers: &[Digest],
        (spare, limit_bytes): (Option<Spare>, Option<u64>),
    ) -> Result<Snapshot> {
        let making = || format!("make snapshot {}", id.short());
        let lease = self.store.lease();
        for layer in layers {
            lease.pin(*layer);
        }
        let snapshot = self.describe(id, image, layers)?;
        let what = || format!("the root of container {}", id.short());
        let (scratch, bound) = match spare {
            Some(Spare(scratch)) => (scratch, None),
            None => {
                let scratch = self.store.scratch()?;
                sys::failpoint::hit("store.snapshot.begun");
                let bound = limit_bytes.map(|bytes| Bound::set(&scratch.dir, bytes, &what()));
                let bound = bound.transpose()?;
                make_room(&scratch, making)?;
                (scratch, bound)
            }
        };
        let (mode, uid, gid) = self.root_attributes(layers)?;
        let upper = tree::child_dir(&scratch.dir, c"upper").act(making)?;
        fs::fchown(&upper, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).act(making)?;
        fs::fchmod(&upper, Mode::from_raw_mode(mode)).act(making)?;
        sys::failpoint::hit("store.snapshot.made");
        let meta = v1::SnapshotMeta {
            version: v1::VERSION,
            image: image.map(|image| image.to_string()),
            layers: layers.iter().map(Digest::to_string).collect(),
        };
        record::write_meta(&scratch.dir, &meta)?;
        sys::failpoint::hit("store.snapshot.described");
        match scratch.publish(&self.store.inner.dirs.snapshots, &id.to_string()).act(making)? {
            Published::New => {
                sys::failpoint::hit("store.snapshot.published");
                if let Some(bound) = bound {
                    bound.keep();
                }
                Ok(snapshot)
            }
            Published::Known => {
                Err(Denied::conflict(format!("snapshot {} exists", id.short())).into())
            }
        }
    }

    /// The directories of an existing snapshot.
    pub fn open(&self, id: ContainerId) -> Result<Snapshot> {
        let (image, layers) = self.meta(id)?;
        self.describe(id, image, &layers)
    }

    /// Removes what a container wrote; absent is fine. The layers stay until collection.
    pub fn remove(&self, id: ContainerId) -> Result<()> {
        let removing = || format!("remove snapshot {}", id.short());
        let name = CString::new(id.to_string()).unwrap_or_default();
        let dirs = &self.store.inner.dirs;
        sys::failpoint::hit("store.snapshot.remove");
        // First out of the way in one step, then piece by piece: what is in `tmp` is nobody's.
        let aside = random_name()?;
        let flags = fs::RenameFlags::NOREPLACE;
        match fs::renameat_with(&dirs.snapshots, &name, &dirs.tmp, &aside, flags) {
            Ok(()) => {
                sys::failpoint::hit("store.snapshot.removed");
                let _bound = Bound::of(&dirs.tmp, &aside);
                tree::remove(&dirs.tmp, &aside).act(removing)
            }
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).act(removing),
        }
    }

    /// All containers that have a snapshot.
    pub fn list(&self) -> Result<Vec<ContainerId>> {
        let names =
            tree::names(&self.store.inner.dirs.snapshots).act(|| "list snapshots".into())?;
        Ok(names.iter().filter_map(|name| ContainerId::parse(name.to_str().ok()?).ok()).collect())
    }

    /// What the container changed, sorted by path.
    pub fn changes(&self, id: ContainerId) -> Result<Vec<Change>> {
        let snapshot = self.open(id)?;
        let upper = tree::open_dir(&snapshot.upper).act(|| reading(id))?;
        let lower = MergedDir::root(open_all(&snapshot.lower, id)?)?;
        diff::changes(&upper, Some(&lower))
    }

    /// Writes the container's whole tree as a tar, as the container sees it without its mounts.
    pub fn export(&self, id: ContainerId, writer: &mut dyn Write) -> Result<()> {
        write_tree(&self.merged(id)?, writer)
    }

    /// What the container takes.
    pub fn usage(&self, id: ContainerId) -> Result<SnapshotUsage> {
        let (_, layers) = self.meta(id)?;
        let snapshot = self.open(id)?;
        let upper = tree::open_dir(&snapshot.upper).act(|| reading(id))?;
        let rw = tree::measure(upper).act(|| reading(id))?.apparent;
        let mut root_fs = rw;
        for layer in layers {
            root_fs += self.store.layers().find(layer)?.map_or(0, |layer| layer.size);
        }
        Ok(SnapshotUsage { rw, root_fs })
    }

    /// Mounts the snapshot where nobody sees it and gives its root. The mount is gone when the last
    /// descriptor of it is closed. Ids are as stored, 0-based. Not for running containers: two
    /// mounts of one upper directory are undefined.
    pub fn mount(&self, id: ContainerId) -> Result<OwnedFd> {
        let mounting = || format!("mount snapshot {}", id.short());
        let snapshot = self.open(id)?;
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).act(mounting)?;
        let option =
            |key: &str, value: &str| fsconfig_set_string(context.as_fd(), key, value).act(mounting);
        option("source", "estiba")?;
        for dir in open_all(&snapshot.lower, id)? {
            fsconfig_set_fd(context.as_fd(), "lowerdir+", dir.as_fd()).act(mounting)?;
        }
        for (key, path) in [("upperdir", &snapshot.upper), ("workdir", &snapshot.work)] {
            let dir = tree::open_dir(path).act(mounting)?;
            fsconfig_set_fd(context.as_fd(), key, dir.as_fd()).act(mounting)?;
        }
        plain(context.as_fd()).act(mounting)?;
        fsconfig_create(context.as_fd()).act(mounting)?;
        fsmount(
            context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID,
        )
        .act(mounting)
    }

    /// Writes what the container changed as the plain tar of a layer, without `points` (see
    /// [`diff::write_layer`]).
    pub(crate) fn write_layer(
        &self,
        id: ContainerId,
        points: &[&str],
        out: &mut dyn Write,
    ) -> Result<()> {
        let snapshot = self.open(id)?;
        let upper = tree::open_dir(&snapshot.upper).act(|| reading(id))?;
        let lower = MergedDir::root(open_all(&snapshot.lower, id)?)?;
        let out = &mut BufWriter::with_capacity(STREAM_BUFFER, out);
        diff::write_layer(&upper, &lower, points, out)
    }

    /// The container's tree as it sees it.
    pub(crate) fn merged(&self, id: ContainerId) -> Result<MergedDir> {
        let snapshot = self.open(id)?;
        let mut levels = vec![tree::open_dir(&snapshot.upper).act(|| reading(id))?];
        levels.extend(open_all(&snapshot.lower, id)?);
        MergedDir::root(levels)
    }

    /// The image and the layers (base first) of a snapshot.
    pub(crate) fn meta(&self, id: ContainerId) -> Result<(Option<ImageId>, Vec<Digest>)> {
        let meta: v1::SnapshotMeta =
            record::read_meta(&self.store.inner.dirs.snapshots, &id.to_string())?.ok_or_else(
                || Denied::not_found(format!("no snapshot of container {}", id.short())),
            )?;
        let image = meta.image.as_deref().map(Digest::parse).transpose()?;
        let layers: Result<_, Denied> = meta.layers.iter().map(|id| Digest::parse(id)).collect();
        Ok((image, layers?))
    }

    fn describe(
        &self,
        id: ContainerId,
        image: Option<ImageId>,
        layers: &[Digest],
    ) -> Result<Snapshot> {
        let mut lower: Vec<PathBuf> = Vec::with_capacity(layers.len());
        let store = self.store.layers();
        for diff_id in layers.iter().rev() {
            let layer = store.find(*diff_id)?.ok_or_else(|| {
                Error::Damaged(format!("layer {diff_id} of container {} is gone", id.short()))
            })?;
            // The same layer again further down adds nothing, and overlayfs refuses it.
            let path = store.path(*diff_id);
            if layer.entries > 0 && !lower.contains(&path) {
                lower.push(path);
            }
        }
        lower.push(self.store.root().join(points::NAME));
        let home = self.store.root().join("snapshots").join(id.to_string());
        Ok(Snapshot { id, image, lower, upper: home.join("upper"), work: home.join("work") })
    }

    /// Mode and owner of the root: of the topmost layer that says.
    pub(crate) fn root_attributes(&self, layers: &[Digest]) -> Result<(u32, u32, u32)> {
        for layer in layers.iter().rev() {
            if let Some(root) = self.store.layers().find(*layer)?.and_then(|layer| layer.root) {
                return Ok(root);
            }
        }
        Ok((0o755, 0, 0))
    }
}

/// Lets overlayfs write nothing that this crate does not read: no redirects, no files without their
/// data. Outside of the first user namespace its own attributes are the owner's, which rules out
/// both.
pub(crate) fn plain(context: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match sys::userns::is_first() {
        true => {
            fsconfig_set_string(context, "redirect_dir", "off")?;
            fsconfig_set_string(context, "metacopy", "off")?;
        }
        false => fsconfig_set_flag(context, "userxattr")?,
    }
    fsconfig_set_string(context, "index", "off")
}

/// Writes everything in a merged directory as a tar.
pub(crate) fn write_tree(tree: &MergedDir, writer: &mut dyn Write) -> Result<()> {
    let out = BufWriter::with_capacity(STREAM_BUFFER, writer);
    let mut export = Export { tar: TarWriter::new(out), links: HashMap::new() };
    export.dir(tree, b"", 0)?;
    export.tar.finish()?;
    Ok(())
}

struct Export<W: Write> {
    tar: TarWriter<W>,
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Export<W> {
    fn dir(&mut self, dir: &MergedDir, at: &[u8], depth: usize) -> Result<()> {
        merge::check_depth(depth)?;
        for (name, child) in dir.children()? {
            let path = diff::join(at, name.to_bytes());
            let level = dir.level(child.level);
            diff::write_name(&mut self.tar, &mut self.links, (level, &name), &path, &child.stat)?;
            if tree::kind(&child.stat) == FileType::Directory
                && let Some(below) = dir.enter(&name)?
            {
                self.dir(&below, &path, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn open_all(dirs: &[PathBuf], id: ContainerId) -> Result<Vec<OwnedFd>> {
    dirs.iter().map(|dir| tree::open_dir(dir).act(|| reading(id))).collect()
}

fn reading(id: ContainerId) -> String {
    format!("read snapshot {}", id.short())
}
