//! The image index in memory: images by id, names in both directions. Filled from the records at
//! open; every change goes to the records first. Pure except for [`Index::load`].

use super::{ImageRecord, Source};
use crate::blob::read_blob;
use crate::error::{Error, Result};
use crate::record::{Batch, Records, v1};
use crate::store::Dirs;
use model::{Digest, ImageId, ImageRef, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use wire::oci::image::ImageConfig;

const IMAGES: &str = "store.images";
const NAMES: &str = "store.names";

/// What is known of all images.
#[derive(Default)]
pub(crate) struct Index {
    images: HashMap<ImageId, Arc<ImageRecord>>,
    names: BTreeMap<ImageRef, ImageId>,
    /// The manifests of plain layers that were asked for; see [`super::Images::plain`].
    plain: HashMap<ImageId, Source>,
}

impl Index {
    /// Reads the records and the configurations they name. An image whose configuration cannot be
    /// read is left out and said so in the log: the others must stay usable.
    pub(crate) fn load(records: &Records, dirs: &Dirs) -> Result<Self> {
        let mut index = Self::default();
        for (key, value) in records.iter(IMAGES)? {
            let read = || -> Result<ImageRecord> {
                let id = Digest::parse(&format!("sha256:{key}"))?;
                let stored: v1::Image = serde_json::from_slice(&value)
                    .map_err(|error| Error::Damaged(error.to_string()))?;
                record(id, &read_blob(&dirs.blobs, id)?, &stored)
            };
            match read() {
                Ok(record) => index.insert(record),
                Err(error) => tracing::error!(image = %key, %error, "image is damaged"),
            }
        }
        for (key, value) in records.iter(NAMES)? {
            let read = || -> Result<(ImageRef, ImageId)> {
                let stored: v1::Name = serde_json::from_slice(&value)
                    .map_err(|error| Error::Damaged(error.to_string()))?;
                Ok((ImageRef::parse(&key)?, Digest::parse(&stored.image)?))
            };
            match read() {
                Ok((name, id)) if index.images.contains_key(&id) => index.name(name, id),
                Ok(_) => {}
                Err(error) => tracing::error!(name = %key, %error, "image name is damaged"),
            }
        }
        Ok(index)
    }

    pub(crate) fn get(&self, id: ImageId) -> Option<&Arc<ImageRecord>> {
        self.images.get(&id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ImageRecord>> {
        self.images.values()
    }

    pub(crate) fn named(&self, name: &ImageRef) -> Option<ImageId> {
        self.names.get(name).copied()
    }

    /// The images whose ids begin with these hex digits.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Vec<ImageId> {
        self.images.keys().filter(|id| id.hex().starts_with(prefix)).copied().collect()
    }

    /// The images made of this one.
    pub(crate) fn children(&self, id: ImageId) -> impl Iterator<Item = ImageId> {
        self.images.values().filter(move |image| image.parent == Some(id)).map(|image| image.id)
    }

    pub(crate) fn insert(&mut self, record: ImageRecord) {
        self.images.insert(record.id, Arc::new(record));
    }

    pub(crate) fn remove(&mut self, id: ImageId) {
        self.images.remove(&id);
        self.plain.remove(&id);
        self.names.retain(|_, named| *named != id);
    }

    /// Gives a name to an image, taking it from the one that had it.
    pub(crate) fn name(&mut self, name: ImageRef, id: ImageId) {
        self.unname(&name);
        self.names.insert(name.clone(), id);
        self.change_names(id, |names| names.insert(name));
    }

    pub(crate) fn unname(&mut self, name: &ImageRef) {
        if let Some(id) = self.names.remove(name) {
            self.change_names(id, |names| names.remove(name));
        }
    }

    pub(crate) fn describe(&mut self, id: ImageId, sources: Vec<Source>) {
        if let Some(record) = self.images.get_mut(&id) {
            Arc::make_mut(record).sources = sources;
        }
    }

    pub(crate) fn plain(&self, id: ImageId) -> Option<&Source> {
        self.plain.get(&id)
    }

    /// Remembers the manifest of plain layers of an image that is still here.
    pub(crate) fn keep_plain(&mut self, id: ImageId, source: Source) {
        if self.images.contains_key(&id) {
            self.plain.insert(id, source);
        }
    }

    pub(crate) fn keep(&mut self, id: ImageId, beside: Vec<Digest>) {
        if let Some(record) = self.images.get_mut(&id) {
            Arc::make_mut(record).beside = beside;
        }
    }

    pub(crate) fn touch(&mut self, id: ImageId, at: Timestamp) {
        if let Some(record) = self.images.get_mut(&id) {
            Arc::make_mut(record).tagged_at = at;
        }
    }

    fn change_names(&mut self, id: ImageId, change: impl FnOnce(&mut BTreeSet<ImageRef>) -> bool) {
        if let Some(record) = self.images.get_mut(&id) {
            let record = Arc::make_mut(record);
            let mut names: BTreeSet<ImageRef> =
                record.refs.drain(..).chain(record.digests.drain(..)).collect();
            // Whether the set changed is of no interest: it is made of the index's own names.
            let _ = change(&mut names);
            (record.digests, record.refs) =
                names.into_iter().partition(|name| name.digest().is_some());
        }
    }
}

/// A record from its configuration and what is stored beside it; without names.
pub(super) fn record(id: ImageId, config: &[u8], stored: &v1::Image) -> Result<ImageRecord> {
    let config: ImageConfig = serde_json::from_slice(config)
        .map_err(|error| Error::bad(format!("image configuration {id}: {error}")))?;
    let diff_ids: Result<Vec<Digest>, _> =
        config.rootfs.diff_ids.iter().map(|id| Digest::parse(id)).collect();
    let created = config.created.as_deref().and_then(super::timestamp).unwrap_or_default();
    Ok(ImageRecord {
        id,
        refs: Vec::new(),
        digests: Vec::new(),
        created,
        tagged_at: Timestamp(stored.tagged_ns),
        size: stored.bytes,
        parent: stored.parent.as_deref().map(Digest::parse).transpose()?,
        local: stored.local,
        sources: stored.sources.iter().map(super::remote::source).collect::<Result<_>>()?,
        beside: stored.beside.iter().filter_map(|text| Digest::parse(text).ok()).collect(),
        diff_ids: diff_ids?,
        config: Arc::new(config),
    })
}

/// Adds an image to a batch.
pub(super) fn put_image(batch: Batch, id: ImageId, image: &v1::Image) -> Result<Batch> {
    Ok(batch.put(IMAGES, &id.hex(), &json(image)?))
}

/// Adds the removal of an image and its names to a batch.
pub(super) fn delete_image(batch: Batch, image: &ImageRecord) -> Batch {
    let batch = batch.delete(IMAGES, &image.id.hex());
    image.names().fold(batch, |batch, name| batch.delete(NAMES, &name.to_string()))
}

/// Adds a name to a batch.
pub(super) fn put_name(batch: Batch, name: &ImageRef, id: ImageId) -> Result<Batch> {
    let stored = v1::Name { version: v1::VERSION, image: id.to_string() };
    Ok(batch.put(NAMES, &name.to_string(), &json(&stored)?))
}

/// Adds the removal of a name to a batch.
pub(super) fn delete_name(batch: Batch, name: &ImageRef) -> Batch {
    batch.delete(NAMES, &name.to_string())
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Damaged(error.to_string()))
}
