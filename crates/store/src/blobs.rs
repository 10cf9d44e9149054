//! Blobs for those who carry them: documents byte for byte, and layers in the compressed form they
//! travel in. This module knows nothing of what a blob means.
//!
//! A layer is kept twice: unpacked, for containers, and compressed, as it came. Recompressing
//! gives other bytes and so another digest, so only the bytes themselves let an image be pushed
//! on as what was pulled. They count in [`crate::DiskUsage::blobs`], go with the image, and a
//! daemon that never pushes can be told not to keep them.

use crate::blob::digest;
use crate::download::Making;
use crate::error::{Act, Result};
use crate::store::{Lease, Store};
use crate::tree;
use model::Digest;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;

/// The blobs of a store.
#[derive(Clone, Debug)]
pub struct Blobs {
    pub(crate) store: Store,
}

impl Blobs {
    /// A blob's bytes as a file, and how many they are; nothing when it is not here. What reads
    /// the file verifies it.
    pub fn open(&self, digest: Digest) -> Result<Option<(File, u64)>> {
        let opening = || format!("open blob {digest}");
        match tree::beneath(&self.store.inner.dirs.blobs, digest.hex(), OFlags::RDONLY) {
            Err(Errno::NOENT) => Ok(None),
            file => {
                let file = File::from(file.act(opening)?);
                let size = file.metadata().act(opening)?.len();
                Ok(Some((file, size)))
            }
        }
    }

    /// Whether a blob is here.
    pub fn contains(&self, digest: Digest) -> Result<bool> {
        Ok(self.open(digest)?.is_some())
    }

    /// A document's bytes, verified; nothing when it is not here.
    pub fn document(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        if !self.contains(digest)? {
            return Ok(None);
        }
        self.store.blob(digest).map(Some)
    }

    /// Takes in a blob of any length, and spares it while the lease lasts. Digest and length.
    pub fn take(&self, lease: &Lease, source: &mut dyn std::io::Read) -> Result<(Digest, u64)> {
        let mut blob = Making::begin(&self.store)?;
        std::io::copy(source, &mut blob).act(|| "take in a blob".into())?;
        blob.publish(lease)
    }

    /// Keeps a document, at most 8 MiB, and spares it while the lease lasts.
    pub fn put_document(&self, lease: &Lease, bytes: &[u8]) -> Result<Digest> {
        let digest = digest(bytes);
        lease.pin(digest);
        self.store.put_blob(bytes)
    }
}
