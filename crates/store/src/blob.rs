//! Blobs: immutable bytes by their sha256. Small documents (configurations, manifests) live here;
//! layers are kept unpacked. This module knows nothing of what blobs mean.

use crate::error::{Act, Error, Result};
use crate::store::{Store, random_name};
use crate::tree;
use model::Digest;
use rustix::fs::{self, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read, Write};

/// The largest document kept as a blob: configurations are at most 8 MiB.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 8 << 20;

/// The digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

impl Store {
    /// Keeps a document, durably once the index that names it is; a known one is left as it is.
    /// The caller has pinned the digest.
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = digest(bytes);
        let name = digest.hex();
        let writing = || format!("write blob {digest}");
        let dirs = &self.inner.dirs;
        if fs::accessat(&dirs.blobs, &name, fs::Access::EXISTS, fs::AtFlags::empty()).is_ok() {
            return Ok(digest);
        }
        let temporary = random_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file =
            fs::openat(&dirs.tmp, &temporary, flags, Mode::RUSR | Mode::WUSR).act(writing)?;
        sys::failpoint::hit("store.blob.begun");
        let written = File::from(file)
            .write_all(bytes)
            .act(writing)
            .and_then(|()| fs::renameat(&dirs.tmp, &temporary, &dirs.blobs, &name).act(writing));
        if written.is_err() {
            // The name is ours and in tmp: what stays behind goes at the next open.
            let _ = fs::unlinkat(&dirs.tmp, &temporary, fs::AtFlags::empty());
        }
        sys::failpoint::hit("store.blob.written");
        written.map(|()| digest)
    }

    /// The bytes of a document, verified.
    pub(crate) fn blob(&self, digest: Digest) -> Result<Vec<u8>> {
        read_blob(&self.inner.dirs.blobs, digest)
    }
}

/// Reads and verifies a document in the blob directory.
pub(crate) fn read_blob(blobs: &std::os::fd::OwnedFd, want: Digest) -> Result<Vec<u8>> {
    let reading = || format!("read blob {want}");
    let file = tree::beneath(blobs, want.hex(), OFlags::RDONLY).act(reading)?;
    let mut bytes = Vec::new();
    File::from(file).take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes).act(reading)?;
    let have = digest(&bytes);
    if have != want {
        let (want, have) = (want.to_string(), have.to_string());
        return Err(Error::DigestMismatch { what: "stored blob is damaged".into(), want, have });
    }
    Ok(bytes)
}
