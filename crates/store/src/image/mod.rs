//! Images: a configuration (whose digest is the image's id), the layers it names, and the names
//! that point to it. This module never talks to a registry and never runs anything.

mod beside;
pub mod changes;
pub(crate) mod index;
mod layout;
mod legacy;
mod load;
mod make;
mod oci;
mod plain;
mod remote;
mod remove;
mod save;
mod variants;

pub use beside::{ABOUT, Beside};
pub use layout::LayoutWriter;
pub use load::{LoadProgress, LoadedImage};
pub use remote::{LayerBlob, Source};
pub use remove::{ImageUse, RemoveOptions};
pub use save::{Pick, SaveOptions};
pub use variants::{Member, Whole};

use crate::blob::MAX_DOCUMENT_BYTES;
use crate::error::{Act, Error, Result};
use crate::layer::{MAX_LAYERS, chain_ids};
use crate::record::{Batch, Durability, v1};
use crate::store::{Lease, Store, lock};
use index::Index;
use model::image::HistoryLine;
use model::{Denied, Digest, ImageId, ImageRef, Timestamp};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use wire::oci::image::ImageConfig;

/// The images of a store.
#[derive(Clone, Debug)]
pub struct Images {
    pub(crate) store: Store,
}

/// An image as the store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRecord {
    /// Digest of the configuration.
    pub id: ImageId,
    /// Names with tags, sorted.
    pub refs: Vec<ImageRef>,
    /// Names with digests (what was pulled or pushed), sorted.
    pub digests: Vec<ImageRef>,
    /// When it was made, by its configuration.
    pub created: Timestamp,
    /// When it last got a name here.
    pub tagged_at: Timestamp,
    /// Bytes of the files in all layers.
    pub size: u64,
    /// The image it was made of here.
    pub parent: Option<ImageId>,
    /// Whether it was made here by a commit, an import or a build.
    pub local: bool,
    /// The manifests and indexes of registries it is known by, latest first.
    pub sources: Vec<Source>,
    /// Documents about it that an index holds, and what they name.
    pub beside: Vec<Digest>,
    /// Its layers, base first.
    pub diff_ids: Vec<Digest>,
    /// The whole configuration.
    pub config: Arc<ImageConfig>,
}

impl ImageRecord {
    /// All names, with tags first.
    pub fn names(&self) -> impl Iterator<Item = &ImageRef> {
        self.refs.iter().chain(&self.digests)
    }

    /// The chain ids of its layers, base first.
    pub fn chain(&self) -> Vec<Digest> {
        chain_ids(&self.diff_ids)
    }
}

impl Images {
    /// All images, newest first.
    pub fn list(&self) -> Result<Vec<Arc<ImageRecord>>> {
        let mut images: Vec<_> = self.index().all().cloned().collect();
        images.sort_by(|a, b| b.created.cmp(&a.created).then(a.id.cmp(&b.id)));
        Ok(images)
    }

    /// The image meant by a name, a `name@digest`, an id or the unambiguous beginning of an id.
    /// With a digest the repository need not have it under that name: a tag of an image that has
    /// this id, or is known by this manifest, will do.
    pub fn resolve(&self, query: &str) -> Result<Arc<ImageRecord>> {
        let found = resolve(&self.index(), query);
        let name =
            ImageRef::parse(query).ok().filter(|name| found.is_err() && name.digest().is_some());
        name.and_then(|name| self.tagged_as(&name)).map_or(found, Ok)
    }

    /// The image that a repository has under a tag and that is what the digest says.
    fn tagged_as(&self, name: &ImageRef) -> Option<Arc<ImageRecord>> {
        let digest = name.digest()?;
        let tagged =
            |image: &&Arc<ImageRecord>| image.refs.iter().any(|it| it.same_repository(name));
        let candidates: Vec<_> = self.index().all().filter(tagged).cloned().collect();
        let is = |image: &Arc<ImageRecord>| {
            image.id == digest
                || image.sources.iter().any(|source| source.digest == digest)
                || self.plain(image).is_ok_and(|plain| plain.digest == digest)
        };
        candidates.into_iter().find(is)
    }

    /// The image with this id.
    pub fn record(&self, id: ImageId) -> Result<Arc<ImageRecord>> {
        self.index().get(id).cloned().ok_or_else(|| no_such(&id.to_string()))
    }

    /// The configuration as it came: its digest is the image's id.
    pub fn config_bytes(&self, id: ImageId) -> Result<Vec<u8>> {
        self.record(id)?;
        self.store.blob(id)
    }

    /// The directories of an image's layers, topmost first.
    pub fn layer_paths(&self, image: &ImageRecord) -> Vec<PathBuf> {
        let layers = self.store.layers();
        image.diff_ids.iter().rev().map(|layer| layers.path(*layer)).collect()
    }

    /// Adds an image whose layers are present; a known one keeps its names and parent. `parent` is
    /// the image it was made of here. On return it is durable.
    pub fn put(&self, lease: &Lease, config: &[u8], parent: Option<ImageId>) -> Result<ImageId> {
        self.put_local(lease, config, (parent, parent.is_some()), Durability::Immediate)
    }

    /// Adds an image of this node's (`local`) or of elsewhere. Its layers are on the disk on
    /// return; its record is as durable as was asked for, or as the name that follows.
    pub(crate) fn put_local(
        &self,
        lease: &Lease,
        config: &[u8],
        (parent, local): (Option<ImageId>, bool),
        durability: Durability,
    ) -> Result<ImageId> {
        if config.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(Error::bad("image configuration is too large"));
        }
        let id = crate::blob::digest(config);
        let mut stored = v1::Image {
            version: v1::VERSION,
            parent: parent.map(|parent| parent.to_string()),
            tagged_ns: 0,
            bytes: 0,
            local,
            sources: Vec::new(),
            beside: Vec::new(),
        };
        let mut record = index::record(id, config, &stored)?;
        stored.bytes = self.layers_size(lease, &record)?;
        record.size = stored.bytes;
        lease.pin(id);
        let change = lock(&self.store.inner.index_change);
        if self.index().get(id).is_some() {
            return Ok(id);
        }
        self.store.put_blob(config)?;
        sys::failpoint::hit("store.image.configured");
        // The record below promises that the layers are there, after a power cut as well.
        rustix::fs::syncfs(&self.store.inner.dirs.layers).act(|| "sync layers".into())?;
        sys::failpoint::hit("store.image.synced");
        let batch = index::put_image(Batch::new(), id, &stored)?;
        self.store.records().commit(batch, durability)?;
        self.change(|index| index.insert(record));
        sys::failpoint::hit("store.image.added");
        drop(change);
        Ok(id)
    }

    /// Gives a name to an image, taking it from the one that had it. A reference without a tag
    /// means `latest`.
    pub fn tag(&self, query: &str, name: &ImageRef) -> Result<()> {
        let id = self.resolve(query)?.id;
        if name.digest().is_some() {
            return Err(Denied::invalid("refusing to create a tag with a digest reference").into());
        }
        self.set_name(id, &name.clone().or_latest()).map(drop)
    }

    /// Notes under which `name@digest` an image is known to a registry.
    pub fn record_digest(&self, id: ImageId, name: &ImageRef) -> Result<()> {
        let digest = name
            .digest()
            .ok_or_else(|| Denied::invalid(format!("{}: no digest", name.familiar())))?;
        self.record(id)?;
        let name = ImageRef::parse(&format!("{}/{}@{digest}", name.host(), name.path()))?;
        self.set_name(id, &name).map(drop)
    }

    /// Gives a name; tells which image lost it.
    pub(crate) fn set_name(&self, id: ImageId, name: &ImageRef) -> Result<Option<ImageId>> {
        let _change = lock(&self.store.inner.index_change);
        let record = self.record(id)?;
        let lost = self.index().named(name).filter(|old| *old != id);
        sys::failpoint::hit("store.image.name");
        let tagged = now();
        let stored = v1::Image { tagged_ns: tagged.0, ..remote::stored(&record) };
        let batch = index::put_name(index::put_image(Batch::new(), id, &stored)?, name, id)?;
        // A name that it has already has lasted since it was given: a build of which everything was
        // known waits for no disk.
        let durability = match self.index().named(name) {
            Some(old) if old == id => Durability::Relaxed,
            _ => Durability::Immediate,
        };
        self.store.records().commit(batch, durability)?;
        self.change(|index| {
            index.name(name.clone(), id);
            index.touch(id, tagged);
        });
        sys::failpoint::hit("store.image.named");
        Ok(lost)
    }

    /// The steps that made an image, newest first. Sizes are of the layers.
    pub fn history(&self, query: &str) -> Result<Vec<HistoryLine>> {
        let image = self.resolve(query)?;
        let mut sizes = Vec::new();
        for layer in &image.diff_ids {
            sizes.push(self.store.layers().find(*layer)?.map_or(0, |layer| layer.size));
        }
        let mut sizes = sizes.into_iter();
        let mut lines: Vec<HistoryLine> = Vec::new();
        for step in &image.config.history {
            lines.push(HistoryLine {
                id: None,
                created: step.created.as_deref().and_then(timestamp).unwrap_or_default(),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size_bytes: if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) },
                comment: step.comment.clone().unwrap_or_default(),
            });
        }
        lines.reverse();
        let mut current = Some(image);
        for line in &mut lines {
            let Some(image) = current.take() else { break };
            line.id = Some(image.id);
            line.tags = image.refs.iter().map(ImageRef::familiar).collect();
            current = image.parent.and_then(|parent| self.record(parent).ok());
        }
        Ok(lines)
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.store.inner.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the index in memory; the caller holds `index_change` and has changed the records.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Index)) {
        change(&mut self.store.inner.index.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Pins the layers of an image that is about to be added, and measures them.
    fn layers_size(&self, lease: &Lease, record: &ImageRecord) -> Result<u64> {
        if record.diff_ids.len() > MAX_LAYERS {
            return Err(Error::bad(format!("image has more than {MAX_LAYERS} layers")));
        }
        let layered = record.config.history.iter().filter(|step| !step.empty_layer).count();
        if !record.config.history.is_empty() && layered != record.diff_ids.len() {
            tracing::debug!(image = %record.id, "history does not match the layers");
        }
        let layers = self.store.layers();
        let mut size = 0;
        for diff_id in &record.diff_ids {
            lease.pin(*diff_id);
            let layer = layers
                .find(*diff_id)?
                .ok_or_else(|| Error::bad(format!("image {}: no layer {diff_id}", record.id)))?;
            size += layer.size;
        }
        Ok(size)
    }
}

/// Docker's order: a whole id, a name, the beginning of an id.
pub(crate) fn resolve(index: &Index, query: &str) -> Result<Arc<ImageRecord>> {
    let found = |id: ImageId| index.get(id).cloned().ok_or_else(|| no_such(query));
    let hex = query.strip_prefix("sha256:").unwrap_or(query);
    if let Ok(id) = Digest::parse(&format!("sha256:{hex}")) {
        return found(id);
    }
    let name = ImageRef::parse(query);
    if let Ok(name) = &name {
        let key = match name.digest() {
            // The digest decides; the tag beside it is decoration. The repository must have it.
            Some(digest) => ImageRef::parse(&format!("{}/{}@{digest}", name.host(), name.path()))?,
            None => name.clone().or_latest(),
        };
        if let Some(id) = index.named(&key) {
            return found(id);
        }
    }
    if !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        match index.with_prefix(hex).as_slice() {
            [] => {}
            [id] => return found(*id),
            _ => {
                let message = format!("image id {query} is ambiguous: give more digits");
                return Err(Denied::invalid(message).into());
            }
        }
    }
    match name {
        Ok(name) => Err(no_such(&name.or_latest().familiar())),
        Err(denied) if query.starts_with("sha256:") => {
            drop(denied);
            Err(no_such(query))
        }
        Err(denied) => Err(denied.into()),
    }
}

fn no_such(name: &str) -> Error {
    Denied::not_found(format!("No such image: {name}")).into()
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)))
}

/// RFC 3339 as a value.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(Timestamp)
}

/// A value as RFC 3339 in UTC.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default().to_string()
}
