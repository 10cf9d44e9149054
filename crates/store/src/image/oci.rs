//! The images of an OCI layout, when an archive is one: what its `index.json` names, and of indexes
//! within it everything that is there. Pure, but for what the archive has collected.

use super::load::{Archive, BLOBS, Found, check_layers, parse};
use super::make::host_architecture;
use super::{ABOUT, ImageRef, LayerBlob, Source};
use crate::error::{Error, Result};
use model::Digest;
use serde::de::DeserializeOwned;
use wire::oci::image::{Descriptor, Index, Manifest, annotation, media};

/// The largest manifest or index.
const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Indexes within indexes.
const MAX_INDEX_DEPTH: usize = 4;
const INDEXES: [&str; 2] = [media::OCI_INDEX, media::DOCKER_LIST];
const MANIFESTS: [&str; 2] = [media::OCI_MANIFEST, media::DOCKER_MANIFEST];

/// Whether something stands for several platforms.
pub(super) fn is_nested(index: &Index) -> bool {
    index.manifests.iter().any(|entry| INDEXES.contains(&entry.media_type.as_str()))
}

impl Archive<'_> {
    /// The images of an archive's index.
    pub(super) fn oci_images(&self, index: &Index) -> Result<Vec<Found>> {
        check_kind(index.media_type.as_deref(), &INDEXES)?;
        let mut found: Vec<Found> = Vec::new();
        for descriptor in &index.manifests {
            let names = names_of(descriptor)?;
            let mut images = match descriptor.media_type.as_str() {
                kind if INDEXES.contains(&kind) => self.nested(descriptor, 0)?,
                kind if MANIFESTS.contains(&kind) => vec![self.oci_image(descriptor)?],
                other => {
                    return Err(Error::bad(format!("archive index: unknown media type {other:?}")));
                }
            };
            if let Some(first) = images.first_mut() {
                first.names = names;
            }
            found.extend(images);
        }
        Ok(found)
    }

    /// The images of a nested index that the archive holds, the one for this machine first. The
    /// others are held by it.
    fn nested(&self, descriptor: &Descriptor, depth: usize) -> Result<Vec<Found>> {
        if depth >= MAX_INDEX_DEPTH {
            return Err(Error::bad("archive nests indexes too deep"));
        }
        let index: Index = self.described(descriptor)?;
        check_kind(index.media_type.as_deref(), &INDEXES)?;
        let mut found = Vec::new();
        for entry in &index.manifests {
            match entry.media_type.as_str() {
                kind if INDEXES.contains(&kind) => {
                    if self.has_document(entry) {
                        found.extend(self.nested(entry, depth + 1)?);
                    }
                }
                kind if MANIFESTS.contains(&kind) => {
                    if is_image(entry) && self.has_all(entry)? {
                        let image = self.oci_image(entry)?;
                        let ours = is_ours(entry);
                        found.insert(if ours { 0 } else { found.len() }, image);
                    }
                }
                other => {
                    return Err(Error::bad(format!("archive index: unknown media type {other:?}")));
                }
            }
        }
        if found.is_empty() {
            let digest = &descriptor.digest;
            return Err(Error::bad(format!("archive has none of the images of index {digest}")));
        }
        let bytes = self.described_bytes(descriptor)?;
        for (at, image) in found.iter_mut().enumerate() {
            image.held = at > 0;
            image.sources.push((source(descriptor, Vec::new())?, bytes.clone()));
            image.beside = self.beside(&index, &image.sources)?;
        }
        Ok(found)
    }

    /// What the archive holds of the documents that an index has about an image, each with all it
    /// names.
    fn beside(&self, index: &Index, image: &[(Source, Vec<u8>)]) -> Result<Vec<Vec<u8>>> {
        let own: Vec<String> = image.iter().map(|(source, _)| source.digest.to_string()).collect();
        let mut beside = Vec::new();
        for entry in &index.manifests {
            let about = entry.annotations.get(ABOUT).is_some_and(|about| own.contains(about));
            if !about || !self.has_document(entry) {
                continue;
            }
            let manifest: Manifest = self.described(entry)?;
            let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
            if !parts.clone().all(|part| self.has_document(part)) {
                continue;
            }
            for part in parts.chain([entry]) {
                beside.push(self.described_bytes(part)?.clone());
            }
        }
        Ok(beside)
    }

    fn has_document(&self, descriptor: &Descriptor) -> bool {
        let hex = descriptor.digest.strip_prefix("sha256:").unwrap_or_default();
        self.documents.contains_key(&format!("{BLOBS}{hex}"))
    }

    /// Whether a manifest and all it names are here: an archive may have left platforms out.
    fn has_all(&self, descriptor: &Descriptor) -> Result<bool> {
        if !self.has_document(descriptor) {
            return Ok(false);
        }
        let manifest: Manifest = self.described(descriptor)?;
        let here = |layer: &Descriptor| {
            let hex = layer.digest.strip_prefix("sha256:").unwrap_or_default();
            self.layers.contains_key(&format!("{BLOBS}{hex}"))
        };
        Ok(self.has_document(&manifest.config) && manifest.layers.iter().all(here))
    }

    fn oci_image(&self, descriptor: &Descriptor) -> Result<Found> {
        let manifest: Manifest = self.described(descriptor)?;
        check_kind(manifest.media_type.as_deref(), &MANIFESTS)?;
        let config = self.described_bytes(&manifest.config)?;
        let (mut layers, mut travelling) = (Vec::new(), Vec::new());
        for layer in &manifest.layers {
            let digest = Digest::parse(&layer.digest)?;
            let blob = self.layers.get(&format!("{BLOBS}{}", digest.hex()));
            let blob = blob.ok_or_else(|| Error::bad(format!("archive has no layer {digest}")))?;
            if blob.size != layer.size || blob.digest.is_some_and(|have| have != digest) {
                return Err(Error::bad(format!("archive layer {digest}: size does not match")));
            }
            layers.push(blob.diff_id);
            let (media_type, size) = (layer.media_type.clone(), layer.size);
            travelling.push(LayerBlob { digest, media_type, size });
        }
        check_layers(config, &layers)?;
        let bytes = self.described_bytes(descriptor)?.clone();
        let sources = vec![(source(descriptor, travelling)?, bytes)];
        Ok(Found { sources, ..Found::plain(config.clone(), Vec::new()) })
    }

    fn described<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        let bytes = self.described_bytes(descriptor)?;
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(Error::bad("archive manifest is too large"));
        }
        // A document is one thing: what reads it as another kind sees other content.
        let value: serde_json::Value = parse(&descriptor.digest, bytes)?;
        if value.get("manifests").is_some() && value.get("layers").is_some() {
            return Err(Error::bad(format!("{}: both index and manifest", descriptor.digest)));
        }
        parse(&descriptor.digest, bytes)
    }

    fn described_bytes(&self, descriptor: &Descriptor) -> Result<&Vec<u8>> {
        let digest = Digest::parse(&descriptor.digest)?;
        let bytes = self
            .documents
            .get(&format!("{BLOBS}{}", digest.hex()))
            .ok_or_else(|| Error::bad(format!("archive has no document {digest}")))?;
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::bad(format!("archive document {digest}: size does not match")));
        }
        Ok(bytes)
    }
}

fn check_kind(media_type: Option<&str>, allowed: &[&str]) -> Result<()> {
    match media_type {
        Some(kind) if !allowed.contains(&kind) => {
            Err(Error::bad(format!("archive document: unexpected media type {kind:?}")))
        }
        _ => Ok(()),
    }
}

/// The names an index entry gives: a full name, or a reference that is one.
fn names_of(descriptor: &Descriptor) -> Result<Vec<ImageRef>> {
    let full = descriptor.annotations.get(annotation::IMAGE_NAME);
    let short = descriptor.annotations.get(annotation::REF_NAME);
    let name = match (full, short) {
        (Some(full), _) => full,
        // A bare tag names no repository.
        (None, Some(short)) if short.contains([':', '/']) => short,
        _ => return Ok(Vec::new()),
    };
    let name = ImageRef::parse(name)?;
    Ok(if name.digest().is_some() { Vec::new() } else { vec![name.or_latest()] })
}

/// Whether an entry is an image; builders add attestations for a platform that does not exist.
fn is_image(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}

fn is_ours(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_some_and(|platform| {
        platform.os == "linux" && platform.architecture == host_architecture()
    })
}

fn source(descriptor: &Descriptor, layers: Vec<LayerBlob>) -> Result<Source> {
    let (media_type, size) = (descriptor.media_type.clone(), descriptor.size);
    Ok(Source { digest: Digest::parse(&descriptor.digest)?, media_type, size, layers })
}
