//! File systems as results of operations: stacks of layers, or directories of whoever asked. This
//! module never changes one.

use crate::content::{CONTENT, Hasher, Reading};
use crate::error::{Act, Result};
use crate::walk::{self, Filter, Rule};
use model::Digest;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use store::Store;
use store::record::Durability;

/// A file system. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Tree {
    /// Layers, base first; none is the empty file system.
    Layers(Arc<[Digest]>),
    /// A directory.
    Dir(Arc<DirTree>),
}

/// A directory of a client, a git tree, a downloaded file.
pub(crate) struct DirTree {
    dir: Arc<OwnedFd>,
    pub(crate) filter: Filter,
    /// Its inodes last (see [`crate::client::LocalDir::lasting`]).
    lasting: bool,
    /// What it is without looking: a commit, a checksum.
    known: Option<Digest>,
    whole: OnceLock<Digest>,
    _keep: Option<Arc<dyn Any + Send + Sync>>,
}

impl DirTree {
    pub(crate) fn new(
        dir: Arc<OwnedFd>,
        filter: Filter,
        lasting: bool,
        keep: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        Self { dir, filter, lasting, known: None, whole: OnceLock::new(), _keep: keep }
    }

    /// Says what it is, so that it need not be read to know.
    pub(crate) fn known_as(mut self, digest: Digest) -> Self {
        self.known = Some(digest);
        self
    }
}

impl Tree {
    /// The empty file system.
    pub(crate) fn empty() -> Self {
        Self::Layers(Arc::from([]))
    }

    /// Its layers; `None` for a directory.
    pub(crate) fn layers(&self) -> Option<&[Digest]> {
        match self {
            Self::Layers(layers) => Some(layers),
            Self::Dir(_) => None,
        }
    }

    /// What it is by its content; `None` if that takes more reading than is allowed. Blocking.
    pub(crate) fn id(&self, store: &Store, reading: Reading) -> Result<Option<Digest>> {
        match self {
            Self::Layers(layers) => Ok(Some(chain(layers))),
            Self::Dir(dir) => {
                if let Some(known) = dir.known.or_else(|| dir.whole.get().copied()) {
                    return Ok(Some(known));
                }
                let mut hasher = Hasher::new(store, dir.lasting, true, reading);
                walk::walk(reopen(&dir.dir)?, &self.rules(""), &mut hasher)?;
                Ok(hasher.finish()?.map(|digest| *dir.whole.get_or_init(|| digest)))
            }
        }
    }

    /// Its root, for reading; of layers, a mount that nobody sees.
    pub(crate) fn open(&self, store: &Store) -> Result<OwnedFd> {
        match self {
            Self::Layers(layers) => Ok(store.view(layers)?),
            Self::Dir(dir) => reopen(&dir.dir),
        }
    }

    /// The rules for a walk that begins at `base` in it.
    pub(crate) fn rules(&self, base: &str) -> Vec<Rule<'_>> {
        match self {
            Self::Dir(dir) if !dir.filter.is_empty() => {
                vec![Rule { filter: &dir.filter, base: base.trim_matches('/').to_owned() }]
            }
            _ => Vec::new(),
        }
    }

    /// Everything in it is root's, whatever the owners on disk.
    pub(crate) fn root_owned(&self) -> bool {
        matches!(self, Self::Dir(_))
    }

    /// Whether what is learnt of its files is worth remembering.
    pub(crate) fn lasting(&self) -> bool {
        matches!(self, Self::Dir(dir) if dir.lasting)
    }

    /// A digest of a part of it, made by `make`; of layers, which do not change, made once.
    /// `part` says which part. `None` if that takes more reading than is allowed.
    pub(crate) fn part_id(
        &self,
        store: &Store,
        part: &[u8],
        reading: Reading,
        make: impl FnOnce() -> Result<Option<Digest>>,
    ) -> Result<Option<Digest>> {
        let Self::Layers(layers) = self else { return make() };
        let mut hash = Sha256::new();
        hash.update(chain(layers).as_bytes());
        hash.update(part);
        let key = format!("part:{}", Digest::sha256(hash.finalize().into()).hex());
        if let Some(bytes) = store.records().get(CONTENT, &key)?
            && let Ok(bytes) = <[u8; 32]>::try_from(bytes)
        {
            return Ok(Some(Digest::sha256(bytes)));
        }
        // A stack of layers has to be mounted first.
        if reading == Reading::Little {
            return Ok(None);
        }
        let digest = make()?;
        if let Some(digest) = &digest {
            store.records().put(CONTENT, &key, digest.as_bytes(), Durability::Relaxed)?;
        }
        Ok(digest)
    }
}

/// The digest of a stack of layers.
pub(crate) fn chain(layers: &[Digest]) -> Digest {
    let empty = || Digest::sha256(Sha256::digest(b"empty").into());
    store::layer::chain_ids(layers).last().copied().unwrap_or_else(empty)
}

/// Another description of an open directory, with a position of its own.
fn reopen(dir: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c".", flags, Mode::empty()).act(|| "open a context".into())
}
