//! The store itself: its directories, its leases and its handles.

use crate::blobs::Blobs;
use crate::download::Downloads;
use crate::error::{Act, Error, Result};
use crate::image::{Images, index::Index};
use crate::layer::{Layer, Layers};
use crate::record::Records;
use crate::snapshot::{Snapshots, points};
use crate::tree;
use crate::volume::Volumes;
use model::Digest;
use rustix::fs::{self, Mode};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// How a store is opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {}

/// A node's data. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) dirs: Dirs,
    pub(crate) records: Records,
    pub(crate) index: RwLock<Index>,
    /// Held while the image index is changed: the change on disk and in memory is one act.
    pub(crate) index_change: Mutex<()>,
    /// What is known of unpacked layers.
    pub(crate) layers: RwLock<HashMap<Digest, Layer>>,
    /// Blobs that somebody is downloading.
    pub(crate) downloading: Mutex<HashSet<Digest>>,
    pins: Mutex<Pins>,
}

/// The open directories below the root.
pub(crate) struct Dirs {
    pub(crate) blobs: OwnedFd,
    pub(crate) downloads: OwnedFd,
    pub(crate) layers: OwnedFd,
    pub(crate) snapshots: OwnedFd,
    pub(crate) volumes: OwnedFd,
    pub(crate) tmp: OwnedFd,
}

/// Content that collection must spare although no image names it yet.
#[derive(Default)]
pub(crate) struct Pins {
    counts: HashMap<Digest, usize>,
    /// While a collection runs, pins that end are kept: what it saw as unreachable may have been
    /// published meanwhile.
    collecting: usize,
    ended: Vec<Digest>,
}

impl Store {
    /// Opens the store below `root`, making what is missing and emptying `tmp`. A second open of
    /// the same root, by whatever process, fails.
    pub fn open(root: &Path, _options: Options) -> Result<Self> {
        let opening = || format!("open store {}", root.display());
        make_dir(root)?;
        let top = tree::open_dir(root).act(opening)?;
        let sub = |name: &str| -> Result<OwnedFd> {
            make_dir(&root.join(name))?;
            let name = CString::new(name).unwrap_or_default();
            tree::child_dir(&top, &name).act(opening)
        };
        let records = Records::open(root)?;
        drop(sub("blobs")?);
        drop(sub("empty")?);
        points::make(sub(points::NAME)?.as_fd())?;
        let dirs = Dirs {
            blobs: {
                make_dir(&root.join("blobs/sha256"))?;
                tree::open_dir(&root.join("blobs/sha256")).act(opening)?
            },
            downloads: sub("downloads")?,
            layers: sub("layers")?,
            snapshots: sub("snapshots")?,
            volumes: sub("volumes")?,
            tmp: sub("tmp")?,
        };
        crate::spread(&dirs.tmp);
        crate::spread(&dirs.volumes);
        tree::remove_contents(&dirs.tmp).act(|| "empty tmp of the store".into())?;
        let index = Index::load(&records, &dirs)?;
        let inner = Inner {
            root: root.to_owned(),
            dirs,
            records,
            index: RwLock::new(index),
            index_change: Mutex::default(),
            layers: RwLock::default(),
            downloading: Mutex::default(),
            pins: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The directory everything lies below.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Images and their names.
    pub fn images(&self) -> Images {
        Images { store: self.clone() }
    }

    /// Unpacked layers.
    pub fn layers(&self) -> Layers {
        Layers { store: self.clone() }
    }

    /// Blobs as they are.
    pub fn blobs(&self) -> Blobs {
        Blobs { store: self.clone() }
    }

    /// Blobs on their way in.
    pub fn downloads(&self) -> Downloads {
        Downloads { store: self.clone() }
    }

    /// Writable layers of containers.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots { store: self.clone() }
    }

    /// Volumes.
    pub fn volumes(&self) -> Volumes {
        Volumes { store: self.clone() }
    }

    /// The engine's records.
    pub fn records(&self) -> &Records {
        &self.inner.records
    }

    /// Waits until everything written below the root so far is on disk: for those who promise more
    /// than surviving the death of the process (see [`crate::record::Durability`]).
    pub fn sync(&self) -> Result<()> {
        fs::syncfs(&self.inner.dirs.tmp).act(|| "sync the store".into())?;
        self.inner.records.flush()
    }

    /// A lease: what is taken in under it is spared by collection until it is dropped.
    pub fn lease(&self) -> Lease {
        Lease { store: self.clone(), pinned: Mutex::default() }
    }

    /// A new directory in `tmp`, removed on drop unless it was renamed away.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        self.scratch_as(random_name()?)
    }

    /// The same under a name that nobody else has.
    pub(crate) fn scratch_as(&self, name: CString) -> Result<Scratch> {
        fs::mkdirat(&self.inner.dirs.tmp, &name, Mode::RWXU)
            .act(|| "make temporary directory".into())?;
        let dir = tree::child_dir(&self.inner.dirs.tmp, &name)
            .act(|| "open temporary directory".into())?;
        Ok(Scratch { store: self.clone(), name, dir })
    }

    pub(crate) fn pins(&self) -> MutexGuard<'_, Pins> {
        lock(&self.inner.pins)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.root.display())
    }
}

impl Pins {
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.counts.contains_key(digest)
    }

    pub(crate) fn begin_collection(&mut self) {
        self.collecting += 1;
    }

    pub(crate) fn end_collection(&mut self) {
        self.collecting -= 1;
        if self.collecting == 0 {
            for digest in std::mem::take(&mut self.ended) {
                self.release(digest);
            }
        }
    }

    fn pin(&mut self, digest: Digest) {
        *self.counts.entry(digest).or_default() += 1;
    }

    fn unpin(&mut self, digest: Digest) {
        if self.collecting > 0 {
            self.ended.push(digest);
        } else {
            self.release(digest);
        }
    }

    fn release(&mut self, digest: Digest) {
        if let Some(count) = self.counts.get_mut(&digest) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&digest);
            }
        }
    }
}

/// Keeps content from being collected; see [`Store::lease`].
pub struct Lease {
    store: Store,
    pinned: Mutex<Vec<Digest>>,
}

impl Lease {
    /// Spares this blob or layer, present or not, until the lease ends.
    pub fn pin(&self, digest: Digest) {
        self.store.pins().pin(digest);
        lock(&self.pinned).push(digest);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pins = self.store.pins();
        for digest in lock(&self.pinned).drain(..) {
            pins.unpin(digest);
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", lock(&self.pinned).len())
    }
}

/// A directory in `tmp`.
#[derive(Debug)]
pub(crate) struct Scratch {
    store: Store,
    pub(crate) name: CString,
    pub(crate) dir: OwnedFd,
}

impl Scratch {
    /// The directory's full path.
    pub(crate) fn path(&self) -> PathBuf {
        self.store.inner.root.join("tmp").join(self.name.to_string_lossy().as_ref())
    }

    /// Renames the directory to `name` in `target`, if that name is free.
    pub(crate) fn publish(&self, target: &OwnedFd, name: &str) -> rustix::io::Result<Published> {
        let tmp = &self.store.inner.dirs.tmp;
        match fs::renameat_with(tmp, &self.name, target, name, fs::RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Published::New),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(Published::Known),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = tree::remove(&self.store.inner.dirs.tmp, &self.name) {
            tracing::warn!(%error, name = ?self.name, "temporary directory stays until restart");
        }
    }
}

/// Whether a rename into place was the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    New,
    Known,
}

/// Locks although another thread may have panicked: everything guarded here is valid at any time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a directory that only the owner may enter, or narrows the existing one.
fn make_dir(path: &Path) -> Result<()> {
    let making = || format!("make directory {}", path.display());
    let mode = Mode::RWXU;
    match fs::mkdirat(fs::CWD, path, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(Errno::NOENT) => {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).act(making)?;
            }
            fs::mkdirat(fs::CWD, path, mode).act(making)?;
        }
        Err(errno) => return Err(Error::io(making(), errno)),
    }
    let dir = tree::open_dir(path).act(making)?;
    fs::fchmod(dir, mode).act(making)
}

/// A name for `tmp` that nobody can guess.
pub(crate) fn random_name() -> Result<CString> {
    let mut bytes = [0u8; 12];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::io("draw random bytes", std::io::Error::other(error.to_string()))
    })?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    CString::new(hex).map_err(|_| Error::Damaged("random name".into()))
}
