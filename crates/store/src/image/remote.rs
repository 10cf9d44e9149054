//! What registries know of an image: the manifests and indexes it is named by, kept as they came,
//! and the layers in the form they travel in. This module never talks to a registry.

use super::{ImageRecord, Images, index};
use crate::error::{Error, Result};
use crate::record::{Batch, Durability, v1};
use crate::store::{Lease, lock};
use model::{Digest, ImageId, ImageRef};

/// The most documents remembered of one image.
const MAX_SOURCES: usize = 32;

/// A manifest or an index by which registries know an image. Its bytes are a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Digest of the document.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// A manifest's layers, in the order of the image's diff ids; empty for an index.
    pub layers: Vec<LayerBlob>,
}

/// A layer as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerBlob {
    /// Digest of the bytes, compressed as they are.
    pub digest: Digest,
    /// Media type that says how.
    pub media_type: String,
    /// How many bytes.
    pub size: u64,
}

impl Images {
    /// Remembers a document that names an image; the latest comes first. Its bytes are in the
    /// store under the same lease. On return it is durable.
    pub fn add_source(&self, lease: &Lease, id: ImageId, source: Source) -> Result<()> {
        lease.pin(source.digest);
        source.layers.iter().for_each(|layer| lease.pin(layer.digest));
        let _change = lock(&self.store.inner.index_change);
        let record = self.record(id)?;
        if !source.layers.is_empty() && source.layers.len() != record.diff_ids.len() {
            return Err(Error::bad(format!("manifest {} has other layers", source.digest)));
        }
        if record.sources.first() == Some(&source) {
            return Ok(());
        }
        sys::failpoint::hit("store.image.source");
        let latest = source.digest;
        let mut sources = vec![source];
        sources.extend(record.sources.iter().filter(|old| old.digest != latest).cloned());
        // What a registry name still points to stays, however old.
        let named = |old: &Source| record.digests.iter().any(|n| n.digest() == Some(old.digest));
        let mut rest = sources.split_off(sources.len().min(MAX_SOURCES));
        rest.retain(named);
        sources.append(&mut rest);
        let mut changed = (*record).clone();
        changed.sources.clone_from(&sources);
        let batch = index::put_image(Batch::new(), id, &stored(&changed))?;
        self.store.records().commit(batch, Durability::Immediate)?;
        sys::failpoint::hit("store.image.sourced");
        self.change(|index| index.describe(id, sources));
        Ok(())
    }

    /// A layer in a form it travels in whose bytes are here.
    pub fn packed(&self, diff_id: Digest) -> Result<Option<LayerBlob>> {
        let mut forms = Vec::new();
        for image in self.index().all() {
            for source in image.sources.iter().filter(|source| !source.layers.is_empty()) {
                let pairs = image.diff_ids.iter().zip(&source.layers);
                forms.extend(pairs.filter(|(id, _)| **id == diff_id).map(|(_, l)| l.clone()));
            }
        }
        for form in forms {
            if self.store.blobs().contains(form.digest)? {
                return Ok(Some(form));
            }
        }
        Ok(None)
    }

    /// Repositories of a registry that are known to hold a blob.
    pub fn repositories_with(&self, host: &str, blob: Digest) -> Vec<String> {
        let index = self.index();
        let holders = index.all().filter(|image| {
            image.sources.iter().any(|source| source.layers.iter().any(|l| l.digest == blob))
        });
        let mut paths: Vec<String> = holders
            .flat_map(|image| &image.digests)
            .filter(|name| name.host() == host)
            .map(|name| name.path().to_owned())
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// The image that a manifest of this digest names, if its layers are here.
    pub fn by_manifest(&self, manifest: Digest) -> Option<ImageId> {
        let index = self.index();
        let mut images = index.all();
        let found = images.find(|image| {
            let mut manifests = image.sources.iter().filter(|source| !source.is_index());
            manifests.any(|source| source.digest == manifest)
        });
        found.map(|image| image.id)
    }

    /// Gives a name; tells which image had it before.
    pub fn rename(&self, id: ImageId, name: &ImageRef) -> Result<Option<ImageId>> {
        self.set_name(id, name)
    }
}

impl Source {
    /// Whether this is an index and not a manifest.
    pub fn is_index(&self) -> bool {
        use wire::oci::image::media::{DOCKER_LIST, OCI_INDEX};
        [OCI_INDEX, DOCKER_LIST].contains(&self.media_type.as_str())
    }
}

/// An image's stored form.
pub(super) fn stored(image: &ImageRecord) -> v1::Image {
    let layer = |layer: &LayerBlob| v1::LayerBlob {
        digest: layer.digest.to_string(),
        media_type: layer.media_type.clone(),
        bytes: layer.size,
    };
    let source = |source: &Source| v1::Source {
        digest: source.digest.to_string(),
        media_type: source.media_type.clone(),
        bytes: source.size,
        layers: source.layers.iter().map(layer).collect(),
    };
    v1::Image {
        version: v1::VERSION,
        parent: image.parent.map(|parent| parent.to_string()),
        tagged_ns: image.tagged_at.0,
        bytes: image.size,
        local: image.local,
        sources: image.sources.iter().map(source).collect(),
        beside: image.beside.iter().map(Digest::to_string).collect(),
    }
}

/// A source from its stored form.
pub(super) fn source(stored: &v1::Source) -> Result<Source> {
    let layer = |layer: &v1::LayerBlob| -> Result<LayerBlob> {
        Ok(LayerBlob {
            digest: Digest::parse(&layer.digest)?,
            media_type: layer.media_type.clone(),
            size: layer.bytes,
        })
    };
    Ok(Source {
        digest: Digest::parse(&stored.digest)?,
        media_type: stored.media_type.clone(),
        size: stored.bytes,
        layers: stored.layers.iter().map(layer).collect::<Result<_>>()?,
    })
}
