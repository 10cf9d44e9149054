//! The images of several platforms that one name can stand for: which of them is meant, what there
//! is of each, and taking one away. This module never talks to a registry.

use crate::images::{self, find};
use crate::node::{Node, blocking};
use crate::transfer::Platform;
use crate::{Images, Result};
use model::image::{Document, ManifestKind, ManifestView, Removed};
use model::{Denied, ImageId};
use std::collections::HashMap;
use std::sync::Arc;
use store::image::{ImageRecord, Member, Pick, RemoveOptions, Source};
use wire::oci::image::ImageConfig;

/// Which manifest an attestation is for (BuildKit, "attestation storage").
const ATTESTS: &str = "vnd.docker.reference.digest";

/// `os`, `architecture`, `variant`.
type Triple = (String, String, String);

impl Images {
    /// The manifests behind each image's name, by the image's id: those of its index, or its own.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn manifests(
        &self,
        ids: Vec<ImageId>,
    ) -> Result<HashMap<ImageId, Vec<ManifestView>>> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let users = users(&node);
            let mut all = HashMap::new();
            for id in ids {
                // One that went meanwhile has none.
                let Ok(record) = node.store.images().record(id) else { continue };
                all.insert(id, manifests(&node, &record, &users)?);
            }
            Ok(all)
        })
        .await
    }

    /// The manifest that one image came with, or the one of its plain layers, and what it runs on;
    /// nothing for an image that is gone. Reads the disk once for an image at most, and little.
    #[must_use]
    pub fn manifest_of(&self, id: ImageId) -> Option<(Document, Triple)> {
        let images = self.node.store.images();
        let record = images.record(id).ok()?;
        let document = match record.sources.iter().find(|source| !source.is_index()) {
            Some(source) => document(source),
            None => document(&images.plain(&record).ok()?),
        };
        let config = &record.config;
        let variant = config.variant.clone().unwrap_or_default();
        Some((document, (config.os.clone(), config.architecture.clone(), variant)))
    }

    /// Removes the images of some platforms from a name, which stays as long as it stands for one.
    ///
    /// # Errors
    /// There is none for a platform, or it is the only one, or in use.
    pub async fn remove_platforms(
        &self,
        query: &str,
        force: bool,
        platforms: Vec<Platform>,
    ) -> Result<Vec<Removed>> {
        self.node.teardowns.idle().await;
        let (node, query) = (Arc::clone(&self.node), query.to_owned());
        blocking(move || {
            let mut removed = Vec::new();
            for platform in &platforms {
                removed.extend(remove_one(&node, &query, force, platform)?);
            }
            Ok(removed)
        })
        .await
    }
}

fn remove_one(node: &Node, query: &str, force: bool, platform: &Platform) -> Result<Vec<Removed>> {
    let store = node.store.images();
    let (named, image) = (find(node, query)?, find_for(node, query, Some(platform))?);
    let others = store.siblings(&named).into_iter().filter(|other| other.id != image.id);
    let Some(next) = others.into_iter().next() else {
        return Err(Denied::conflict(format!(
            "conflict: {platform} is the only platform of {query} that is here: remove the image"
        ))
        .into());
    };
    let in_use = images::user_of(node, image.id);
    if let Some(user) = in_use.filter(|user| user.running || !force) {
        return Err(Denied::conflict(format!(
            "conflict: unable to delete {platform} of {query} - container {} is using it",
            user.container.short()
        ))
        .into());
    }
    if image.id == named.id {
        store.hand_names_on(&image, next.id)?;
    }
    let options = RemoveOptions { force, prune_parents: false };
    images::remove(node, &image.id.to_string(), options)
}

/// The image that a query means for a platform.
pub(crate) fn find_for(
    node: &Node,
    query: &str,
    platform: Option<&Platform>,
) -> Result<Arc<ImageRecord>> {
    let record = find(node, query)?;
    match platform {
        None => Ok(record),
        Some(platform) => {
            let all = node.store.images().siblings(&record);
            best(platform, &all).ok_or_else(|| missing(query, platform).into())
        }
    }
}

/// Of the images behind a name, the one for a platform; the named one when there is none.
pub(crate) fn asked(
    node: &Node,
    named: Arc<ImageRecord>,
    platform: Option<&str>,
) -> Arc<ImageRecord> {
    let Some(Ok(platform)) = platform.filter(|text| !text.is_empty()).map(Platform::parse) else {
        return named;
    };
    best(&platform, &node.store.images().siblings(&named)).unwrap_or(named)
}

/// Chooses the image for a platform when images are saved.
pub(crate) fn picker(platform: Platform) -> Pick {
    Box::new(move |all| {
        let name = || all.first().map(|image| image.id.short()).unwrap_or_default();
        best(&platform, all).ok_or_else(|| missing(&name(), &platform).into())
    })
}

/// The image that serves a platform best: one of its own variant before others.
pub(crate) fn best(platform: &Platform, all: &[Arc<ImageRecord>]) -> Option<Arc<ImageRecord>> {
    let fitting = all.iter().filter(|image| fits(platform, &image.config));
    let other = |image: &&Arc<ImageRecord>| {
        image.config.variant.as_deref().unwrap_or_default() != platform.variant
    };
    fitting.min_by_key(other).cloned()
}

/// Whether an image with this configuration serves a platform.
pub(crate) fn fits(platform: &Platform, config: &ImageConfig) -> bool {
    let variant = config.variant.as_deref().unwrap_or_default();
    platform.serves(&config.os, &config.architecture, variant)
}

fn missing(query: &str, platform: &Platform) -> Denied {
    Denied::not_found(format!(
        "image with reference {query} was found but does not provide the specified platform \
         ({platform})"
    ))
}

/// What an image is known by: its index, or its manifest; the one of its plain layers when it came
/// with none.
pub(crate) fn target(images: &store::image::Images, record: &ImageRecord) -> Option<Document> {
    match record.index().or(record.sources.first()) {
        Some(source) => Some(document(source)),
        None => images.plain(record).ok().as_ref().map(document),
    }
}

fn document(source: &Source) -> Document {
    Document {
        digest: source.digest.to_string(),
        media_type: source.media_type.clone(),
        size_bytes: source.size,
    }
}

fn users(node: &Node) -> HashMap<ImageId, Vec<String>> {
    let mut users: HashMap<ImageId, Vec<String>> = HashMap::new();
    for handle in node.registry.all() {
        let view = handle.view();
        users.entry(view.image).or_default().push(view.id.to_string());
    }
    users
}

fn manifests(
    node: &Node,
    record: &Arc<ImageRecord>,
    users: &HashMap<ImageId, Vec<String>>,
) -> Result<Vec<ManifestView>> {
    let Some(whole) = node.store.images().whole(record)? else {
        let source = record.sources.iter().find(|source| !source.is_index());
        let document = match source {
            Some(source) => document(source),
            None => document(&node.store.images().plain(record)?),
        };
        return Ok(vec![present(node, document, record, source, users)?]);
    };
    whole.members.iter().map(|member| of_member(node, member, users)).collect()
}

fn of_member(
    node: &Node,
    member: &Member,
    users: &HashMap<ImageId, Vec<String>>,
) -> Result<ManifestView> {
    let said = &member.descriptor;
    let document = Document {
        digest: said.digest.clone(),
        media_type: said.media_type.clone(),
        size_bytes: said.size,
    };
    let platform = said.platform.clone().unwrap_or_default();
    let platform = (platform.os, platform.architecture, platform.variant.unwrap_or_default());
    if let Some(image) = &member.image {
        let view = present(node, document, image, member.manifest(), users)?;
        let own = if platform.0.is_empty() { view.platform.clone() } else { platform };
        return Ok(ManifestView { platform: own, ..view });
    }
    let kind = match said.annotations.get(ATTESTS) {
        Some(digest) => ManifestKind::Attestation(digest.clone()),
        None => ManifestKind::Image,
    };
    Ok(ManifestView { document, kind, platform, ..ManifestView::default() })
}

/// A manifest whose image is here.
fn present(
    node: &Node,
    document: Document,
    image: &ImageRecord,
    source: Option<&Source>,
    users: &HashMap<ImageId, Vec<String>>,
) -> Result<ManifestView> {
    let blobs = node.store.blobs();
    let mut content_bytes = document.size_bytes;
    for digest in source.iter().flat_map(|source| &source.layers).map(|layer| layer.digest) {
        content_bytes += blobs.open(digest)?.map_or(0, |(_, size)| size);
    }
    content_bytes += blobs.open(image.id)?.map_or(0, |(_, size)| size);
    let config = &image.config;
    let variant = config.variant.clone().unwrap_or_default();
    Ok(ManifestView {
        document,
        available: true,
        kind: ManifestKind::Image,
        platform: (config.os.clone(), config.architecture.clone(), variant),
        content_bytes,
        unpacked_bytes: image.size,
        containers: users.get(&image.id).cloned().unwrap_or_default(),
    })
}
