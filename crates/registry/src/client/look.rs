//! Looking at what a registry has, and giving it documents, without taking an image in: what
//! `distribution` and `manifest` show and do.

use super::blob::{self, Wanted};
use super::manifest::{self, Document, Kind, MAX_INDEX_DEPTH};
use super::session::Session;
use super::upload::{self, Content, Had, Mount, Outbound};
use super::{Client, Credentials, Events, artifact};
use crate::error::{Error, Result};
use hyper::Method;
use model::{Denied, Digest, ImageRef};
use std::sync::Arc;
use wire::oci::distribution::TagList;
use wire::oci::image::{ImageConfig, Platform as WirePlatform};

/// Tags asked for at once.
const TAG_PAGE: usize = 1000;
/// The most pages of tags that are read.
const MAX_TAG_PAGES: usize = 100;
/// The longest page of tags.
const MAX_TAGS_BYTES: usize = 4 << 20;

/// A document of a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The document.
    pub document: Document,
    /// What the image, or the images, run on.
    pub platforms: Vec<WirePlatform>,
}

/// A document that a registry got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its digest.
    pub digest: Digest,
}

impl Client {
    /// What a registry has under a name.
    ///
    /// # Errors
    /// The registry does not give it, or it is malformed.
    pub async fn look(
        &self,
        reference: &ImageRef,
        credentials: Option<Credentials>,
    ) -> Result<Found> {
        let reference = reference.clone().or_latest();
        let at = (reference.host(), reference.path());
        let session = Session::to_read(&self.settings, at, credentials)?;
        let digest = reference.digest();
        let name = digest.map_or_else(
            || reference.tag().unwrap_or_default().to_owned(),
            |digest| digest.to_string(),
        );
        let (first, document) = session.find(&name, digest).await?;
        let platforms = match &document.kind {
            Kind::Index(index) => {
                index.manifests.iter().filter_map(|entry| entry.platform.clone()).collect()
            }
            Kind::Manifest(own) => match manifest::image_parts(own) {
                Ok(parts) => {
                    let wanted = Wanted { digest: parts.config.0, size: parts.config.1 };
                    vec![platform(&blob::from_any(&session, first, &wanted).await?)?]
                }
                // An artifact runs on nothing.
                Err(_) => Vec::new(),
            },
        };
        Ok(Found { document, platforms })
    }

    /// The tags of a repository, from the registry itself.
    ///
    /// # Errors
    /// The registry does not give them, or more than can be true.
    pub async fn tags(
        &self,
        reference: &ImageRef,
        credentials: Option<Credentials>,
    ) -> Result<Vec<ImageRef>> {
        let at = (reference.host(), reference.path());
        let session = Session::to_read(&self.settings, at, credentials)?;
        let endpoint = session.endpoint(session.endpoints() - 1).await?;
        let mut ask = session.ask(endpoint, Method::GET, &format!("tags/list?n={TAG_PAGE}"));
        let mut tags = Vec::new();
        for _ in 0..MAX_TAG_PAGES {
            let answer = session.retry(|| session.expect(&ask, &[200])).await?;
            let next = answer.next_page();
            let page: TagList = manifest::json("tag list", &answer.bytes(MAX_TAGS_BYTES).await?)?;
            for tag in page.tags.unwrap_or_default() {
                tags.push(reference.with_tag(&tag)?);
            }
            match next.transpose()? {
                Some(next) if next.origin == endpoint.origin => ask.url = next,
                _ => return Ok(tags),
            }
        }
        Err(Error::bad(format!("{}: too many tags", reference.familiar_name())))
    }

    /// Gives a registry an index (or a manifest) under a tag or its own digest. The manifests that
    /// an index names come from `from`, repositories of the same registry, where the target lacks
    /// them.
    ///
    /// # Errors
    /// The document is malformed, or the registry does not take it.
    pub async fn publish(
        &self,
        reference: &ImageRef,
        (media_type, bytes): (&str, Vec<u8>),
        from: &[ImageRef],
        credentials: Option<Credentials>,
    ) -> Result<Published> {
        let document = manifest::read(bytes, Some(media_type), reference.digest())?;
        let tag = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_owned(),
            (None, None) => {
                return Err(Denied::invalid("a tag is needed to push a manifest list").into());
            }
        };
        let at = (reference.host(), reference.path());
        let session = Session::to_write(&self.settings, at, credentials.clone())?;
        let other = |other: &&ImageRef| {
            other.host() == reference.host() && other.path() != reference.path()
        };
        let mut others = Vec::new();
        for other in from.iter().filter(other) {
            let at = (other.host(), other.path());
            others.push(Session::to_read(&self.settings, at, credentials.clone())?);
        }
        if let Kind::Index(index) = &document.kind {
            for entry in &index.manifests {
                let digest = Digest::parse(&entry.digest)?;
                Box::pin(carry(&session, &others, digest, 1)).await?;
            }
        }
        artifact::put(&session, &tag, &document).await?;
        Ok(Published { digest: document.digest })
    }
}

/// Sees to it that a manifest and what it names is in the target repository.
async fn carry(session: &Session, others: &[Session], digest: Digest, depth: usize) -> Result<()> {
    if depth > MAX_INDEX_DEPTH {
        return Err(Error::bad("indexes are nested too deep"));
    }
    let name = digest.to_string();
    if session.retry(|| session.manifest(0, &name, Some(digest))).await.is_ok() {
        return Ok(());
    }
    for other in others {
        let found = other.retry(|| other.manifest(other.endpoints() - 1, &name, Some(digest)));
        let Ok(document) = found.await else { continue };
        match &document.kind {
            Kind::Index(index) => {
                for entry in &index.manifests {
                    Box::pin(carry(session, others, Digest::parse(&entry.digest)?, depth + 1))
                        .await?;
                }
            }
            Kind::Manifest(own) => {
                for part in std::iter::once(&own.config).chain(&own.layers) {
                    mount(session, other, Digest::parse(&part.digest)?, part.size).await?;
                }
            }
        }
        return artifact::put(session, &name, &document).await;
    }
    Err(Denied::not_found(format!("manifest {digest} is in none of the repositories")).into())
}

/// Brings a blob over from another repository of the same registry. What cannot be mounted and is
/// small is fetched and sent.
async fn mount(session: &Session, other: &Session, digest: Digest, size: u64) -> Result<()> {
    let quiet: Events = Arc::new(|_| {});
    if session.retry(|| upload::holds(session, digest)).await? {
        return Ok(());
    }
    let others = [other.path.clone()];
    if let Mount::Done(_) = upload::mounted(session, digest, &others).await {
        return Ok(());
    }
    if size > manifest::MAX_CONFIG_BYTES {
        return Err(Error::bad(format!(
            "blob {digest} cannot be mounted from {}: pull and push the image first",
            other.path
        )));
    }
    let wanted = Wanted { digest, size };
    let at = other.endpoints() - 1;
    let bytes = other.retry(|| blob::document(other, at, &wanted)).await?;
    let content = Content::Bytes(bytes.into());
    let blob = Outbound { digest, size, content, shown: None };
    match upload::bring(session, &blob, &[], &quiet).await? {
        Had::Before | Had::Mounted(_) | Had::Sent => Ok(()),
    }
}

fn platform(config: &[u8]) -> Result<WirePlatform> {
    let config: ImageConfig = manifest::json("image configuration", config)?;
    Ok(WirePlatform {
        os: config.os,
        architecture: config.architecture,
        variant: config.variant,
        os_version: config.os_version,
        os_features: config.os_features,
    })
}
