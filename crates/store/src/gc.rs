//! Collection of what nothing needs, and an honest account of the disk. Reachable is what images
//! name, what snapshots stand on, and what leases spare; everything else goes.

use crate::error::{Act, Result};
use crate::store::Store;
use crate::tree;
use model::Digest;
use rustix::fs;
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

/// What a collection gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes of disk blocks.
    pub bytes: u64,
    /// Layers removed.
    pub layers: u64,
    /// Blobs removed.
    pub blobs: u64,
}

/// What the store takes on disk: bytes of the blocks in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Unpacked layers, each once.
    pub layers: u64,
    /// Configurations, manifests, and layers in the compressed form they travel in.
    pub blobs: u64,
    /// Downloads that were cut off and can go on.
    pub downloads: u64,
    /// Writable layers of containers.
    pub snapshots: u64,
    /// Volumes.
    pub volumes: u64,
    /// What is being taken in.
    pub tmp: u64,
}

impl DiskUsage {
    /// All together.
    pub fn total(&self) -> u64 {
        self.layers + self.blobs + self.downloads + self.snapshots + self.volumes + self.tmp
    }
}

impl Store {
    /// Removes layers and blobs that nothing needs.
    pub fn gc(&self) -> Result<Reclaimed> {
        self.pins().begin_collection();
        let done = self.collect();
        self.pins().end_collection();
        done
    }

    /// What the store takes on disk.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let dirs = &self.inner.dirs;
        let measure = |dir: &OwnedFd| {
            tree::measure(dir).act(|| "measure the store".into()).map(|size| size.disk)
        };
        Ok(DiskUsage {
            layers: measure(&dirs.layers)?,
            blobs: measure(&dirs.blobs)?,
            downloads: measure(&dirs.downloads)?,
            snapshots: measure(&dirs.snapshots)?,
            volumes: measure(&dirs.volumes)?,
            tmp: measure(&dirs.tmp)?,
        })
    }

    fn collect(&self) -> Result<Reclaimed> {
        let reachable = self.reachable()?;
        let bytes = self.downloads().forget_old()?;
        let mut reclaimed = Reclaimed { bytes, ..Reclaimed::default() };
        let dirs = &self.inner.dirs;
        for digest in unreachable(&dirs.layers, &reachable)? {
            if let Some(bytes) = self.discard(&dirs.layers, digest)? {
                reclaimed.bytes += bytes;
                reclaimed.layers += 1;
            }
        }
        for digest in unreachable(&dirs.blobs, &reachable)? {
            if let Some(bytes) = self.discard(&dirs.blobs, digest)? {
                reclaimed.bytes += bytes;
                reclaimed.blobs += 1;
            }
        }
        Ok(reclaimed)
    }

    fn reachable(&self) -> Result<HashSet<Digest>> {
        let mut reachable = HashSet::new();
        reachable.extend(self.kept()?);
        let snapshots = self.snapshots();
        for container in snapshots.list()? {
            match snapshots.meta(container) {
                Ok((_, layers)) => reachable.extend(layers),
                // Removed meanwhile.
                Err(crate::Error::Denied(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for image in self.images().index().all() {
            reachable.insert(image.id);
            reachable.extend(&image.diff_ids);
            reachable.extend(&image.beside);
            for source in &image.sources {
                reachable.insert(source.digest);
                reachable.extend(source.layers.iter().map(|layer| layer.digest));
            }
        }
        Ok(reachable)
    }

    /// Takes one digest out of a directory, unless a lease spares it. The rename is one step; the
    /// removal that follows may be cut off, then `tmp` is emptied at the next open.
    fn discard(&self, dir: &OwnedFd, digest: Digest) -> Result<Option<u64>> {
        let removing = || format!("remove {digest}");
        let scratch = self.scratch()?;
        {
            let pins = self.pins();
            if pins.contains(&digest) {
                return Ok(None);
            }
            // Forgotten before it is gone: whoever looks now finds it neither way.
            self.inner.layers.write().unwrap_or_else(PoisonError::into_inner).remove(&digest);
            match fs::renameat(dir, digest.hex(), &scratch.dir, c"removed") {
                Err(Errno::NOENT) => return Ok(None),
                done => done.act(removing)?,
            }
        }
        sys::failpoint::hit("store.gc.taken");
        let size = tree::measure(&scratch.dir).act(removing)?.disk;
        tree::remove(&scratch.dir, c"removed").act(removing)?;
        sys::failpoint::hit("store.gc.removed");
        Ok(Some(size))
    }
}

fn unreachable(dir: &OwnedFd, reachable: &HashSet<Digest>) -> Result<Vec<Digest>> {
    let names = tree::names(dir).act(|| "list the store".into())?;
    let digests = names
        .iter()
        .filter_map(|name| Digest::parse(&format!("sha256:{}", name.to_str().ok()?)).ok());
    Ok(digests.filter(|digest| !reachable.contains(digest)).collect())
}
