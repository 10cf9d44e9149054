//! Where the registry keeps things: content as files by digest, the index in memory and in
//! records. One order of changes; whatever is read is either before or after each of them.
//!
//! ```text
//! <root>/                     0700
//!   blobs/sha256/<2>/<hex>    content, manifests included
//!   uploads/<id>, <id>.name   what is on its way, and for which repository
//!   estiba.redb               tags, manifests, links
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use sha2::{Digest as _, Sha256, Sha512};
use store::record::{Durability, Records};

use super::index::{Change, Index};
use super::name::{Algorithm, Digest};
use super::record;
use super::refusal::Refusal;

/// The registry's content.
pub(crate) struct Storage {
    root: PathBuf,
    records: Records,
    index: RwLock<Index>,
    /// Held while a change is decided, written down and applied.
    order: Mutex<()>,
}

impl Storage {
    /// Opens or creates the storage below `root`.
    pub(crate) fn open(root: &Path) -> Result<Self, String> {
        let said = |what: &Path| {
            let what = what.display().to_string();
            move |error: io::Error| format!("open {what}: {error}")
        };
        for dir in ["", "blobs/sha256", "blobs/sha512", "uploads"] {
            let dir = root.join(dir);
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&dir).map_err(said(&dir))?;
        }
        let records = Records::open(root).map_err(|error| error.to_string())?;
        let index = record::load(&records)?;
        let (index, order) = (RwLock::new(index), Mutex::new(()));
        Ok(Self { root: root.to_owned(), records, index, order })
    }

    /// Reads the index. Nothing is awaited inside.
    pub(crate) fn read<T>(&self, ask: impl FnOnce(&Index) -> T) -> T {
        ask(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides changes from the index as it is, writes them down, applies them, and lets go of
    /// content that nobody holds any more. Blocks.
    pub(crate) fn change(
        &self,
        durability: Durability,
        decide: impl FnOnce(&Index) -> Result<Vec<Change>, Refusal>,
    ) -> Result<(), Refusal> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, batch) = self.read(|index| {
            let changes = decide(index)?;
            let batch = record::batch(index, &changes)
                .map_err(|error| Refusal::internal(format!("write records: {error}")))?;
            Ok::<_, Refusal>((changes, batch))
        })?;
        self.records
            .commit(batch, durability)
            .map_err(|error| Refusal::internal(error.to_string()))?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let loose: Vec<Digest> =
            changes.into_iter().flat_map(|change| index.apply(change)).collect();
        // A later change of the same batch may hold it again.
        for digest in loose.iter().filter(|digest| !index.is_held(digest)) {
            if let Err(error) = fs::remove_file(self.path(digest)) {
                tracing::warn!(%digest, %error, "content stays behind");
            }
        }
        Ok(())
    }

    /// Opens content, with its length.
    pub(crate) fn open_content(&self, digest: &Digest) -> Result<(File, u64), Refusal> {
        let lost = |error| Refusal::internal(format!("open the content of {digest}: {error}"));
        let file = File::open(self.path(digest)).map_err(lost)?;
        let size = file.metadata().map_err(lost)?.len();
        Ok((file, size))
    }

    /// A document's bytes, verified.
    pub(crate) fn document(&self, digest: &Digest) -> Result<Vec<u8>, Refusal> {
        let lost = |why: String| Refusal::internal(format!("read {digest}: {why}"));
        let bytes = fs::read(self.path(digest)).map_err(|error| lost(error.to_string()))?;
        if digest_of(digest.algorithm(), &bytes) != *digest {
            return Err(lost("the stored document is damaged".into()));
        }
        Ok(bytes)
    }

    /// Puts a document into its place, synced. Only inside [`Storage::change`].
    pub(crate) fn place_document(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Refusal> {
        let failed = |error| Refusal::internal(format!("write {digest}: {error}"));
        // Its digest is its name: two writers write the same.
        let part = self.root.join("uploads").join(format!("{}.part", digest.hex()));
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            self.place(&part, digest)
        };
        write().map_err(failed)
    }

    /// Moves a verified file into its place. Only inside [`Storage::change`].
    pub(crate) fn place(&self, from: &Path, digest: &Digest) -> io::Result<()> {
        let path = self.path(digest);
        if let Some(dir) = path.parent() {
            let made = fs::DirBuilder::new().mode(0o700).create(dir);
            made.or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })?;
        }
        fs::rename(from, path)
    }

    /// Where uploads are written.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let dir = self.root.join("blobs").join(digest.algorithm().as_str());
        dir.join(&digest.hex()[..2]).join(digest.hex())
    }
}

/// A digest being computed.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }
}

/// The digest of bytes.
pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}
