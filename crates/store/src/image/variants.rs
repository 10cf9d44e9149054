//! Images for several platforms under one name: the index that says which there are, and those of
//! its images that are here. This module never talks to a registry.
//!
//! ```text
//! name:tag ─▶ image, this machine's if it is here ─ sources ─▶ index ─ manifests ─▶ other images
//! ```
//!
//! An image for another platform has no name of its own. It is *held* by the index that it shares
//! with an image that has one: not listed, not dangling, gone with it.

use super::make::host_architecture;
use super::{ImageRecord, Images, Source};
use crate::error::{Error, Result};
use crate::store::Lease;
use model::{Denied, Digest, ImageId, ImageRef};
use std::collections::HashSet;
use std::sync::Arc;
use wire::oci::image::{Descriptor, Index};

/// An index as it came, and what of it is here.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// The index.
    pub source: Source,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its entries, in order.
    pub members: Vec<Member>,
}

/// An entry of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What the index says of it.
    pub descriptor: Descriptor,
    /// Digest of the manifest.
    pub digest: Digest,
    /// The image, if it is here.
    pub image: Option<Arc<ImageRecord>>,
}

impl Member {
    /// The manifest that the member is known by, with its layers as they travel.
    pub fn manifest(&self) -> Option<&Source> {
        let mut sources = self.image.as_ref()?.sources.iter();
        sources.find(|source| source.digest == self.digest && !source.is_index())
    }
}

impl Whole {
    /// The images that are here, each once.
    pub fn images(&self) -> Vec<Arc<ImageRecord>> {
        let mut seen = HashSet::new();
        let here = self.members.iter().filter_map(|member| member.image.clone());
        here.filter(|image| seen.insert(image.id)).collect()
    }
}

impl ImageRecord {
    /// The index that stands for the image: the latest that one of its names has, else the latest.
    pub fn index(&self) -> Option<&Source> {
        let mut indexes = self.sources.iter().filter(|source| source.is_index());
        let first = indexes.clone().next();
        let named =
            |source: &&Source| self.digests.iter().any(|name| name.digest() == Some(source.digest));
        indexes.find(named).or(first)
    }

    fn is_in(&self, index: Digest) -> bool {
        self.sources.iter().any(|source| source.is_index() && source.digest == index)
    }

    fn is_for_this_machine(&self) -> bool {
        self.config.os == "linux" && self.config.architecture == host_architecture()
    }
}

impl Images {
    /// The indexes that stand for images with names.
    pub fn named_indexes(&self) -> HashSet<Digest> {
        let index = self.index();
        let named = index.all().filter(|image| image.names().next().is_some());
        named.filter_map(|image| image.index().map(|source| source.digest)).collect()
    }

    /// Whether an image without a name is held by one of these indexes.
    pub fn is_held(image: &ImageRecord, indexes: &HashSet<Digest>) -> bool {
        image.names().next().is_none() && indexes.iter().any(|index| image.is_in(*index))
    }

    /// An image, and those that its index holds beside it.
    pub fn siblings(&self, image: &Arc<ImageRecord>) -> Vec<Arc<ImageRecord>> {
        let Some(own) = image.index() else { return vec![Arc::clone(image)] };
        let index = self.index();
        let mut others: Vec<Arc<ImageRecord>> = index
            .all()
            .filter(|other| other.id != image.id && other.is_in(own.digest))
            .cloned()
            .collect();
        others.sort_by_key(|other| other.id);
        [vec![Arc::clone(image)], others].concat()
    }

    /// The index that stands for an image, if it came as one.
    pub fn whole(&self, image: &ImageRecord) -> Result<Option<Whole>> {
        let Some(source) = image.index() else { return Ok(None) };
        let Some(bytes) = self.store.blobs().document(source.digest)? else { return Ok(None) };
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| Error::bad(format!("index {}: {error}", source.digest)))?;
        let mut members = Vec::new();
        for descriptor in index.manifests {
            let digest = Digest::parse(&descriptor.digest)?;
            let image = self.by_manifest(digest).and_then(|id| self.record(id).ok());
            members.push(Member { descriptor, digest, image });
        }
        Ok(Some(Whole { source: source.clone(), bytes, members }))
    }

    /// Gives what was pulled its names: `name@digest`, and the tag if it was asked for by one.
    /// Names that this machine's image has by the same index stay there: the index stands for both.
    pub fn name_pulled(&self, id: ImageId, name: &ImageRef, digest: Digest) -> Result<()> {
        let by_digest = format!("{}/{}@{digest}", name.host(), name.path());
        let tagged = name.tag().filter(|_| name.digest().is_none()).map(|_| name.clone());
        let new = self.record(id)?;
        for name in [Some(ImageRef::parse(&by_digest)?), tagged].into_iter().flatten() {
            let holder = self.index().named(&name).filter(|holder| *holder != id);
            let stays = holder.and_then(|holder| self.record(holder).ok()).is_some_and(|holder| {
                holder.is_in(digest) && (holder.is_for_this_machine() || !new.is_for_this_machine())
            });
            if !stays {
                self.set_name(id, &name)?;
            }
        }
        Ok(())
    }

    /// Makes an index stand for images that are here: what a build for several platforms made.
    /// Names are the caller's to give, to one of them.
    pub fn join(
        &self,
        lease: &Lease,
        (media_type, bytes): (&str, &[u8]),
        members: &[ImageId],
    ) -> Result<Digest> {
        let digest = self.store.blobs().put_document(lease, bytes)?;
        let (media_type, size) = (media_type.to_owned(), bytes.len() as u64);
        let source = Source { digest, media_type, size, layers: Vec::new() };
        for member in members {
            self.add_source(lease, *member, source.clone())?;
        }
        Ok(digest)
    }

    /// Gives the names of an image to another one of its index, so that it can go alone.
    pub fn hand_names_on(&self, from: &ImageRecord, to: ImageId) -> Result<()> {
        if from.id == to {
            return Err(Denied::conflict("an image cannot take its own names").into());
        }
        from.names().try_for_each(|name| self.set_name(to, name).map(drop))
    }
}
