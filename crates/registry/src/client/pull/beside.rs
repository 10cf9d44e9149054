//! What an index holds about an image beside the image itself: attestations of its builder. They
//! are small documents, fetched whole; an image without them is an image all the same.

use super::{Document, Pull};
use crate::client::Event;
use crate::client::blob::{self, Wanted};
use crate::client::manifest::{Kind, MAX_CONFIG_BYTES};
use crate::error::{Error, Result};
use model::Digest;
use std::sync::atomic::Ordering;
use store::image::ABOUT;
use wire::oci::image::Descriptor;

/// The most documents about one image that are kept.
const MAX_ABOUT: usize = 16;
/// The most parts of one of them.
const MAX_PARTS: usize = 32;

impl Pull {
    /// Takes in what an index says about an image, under the pull's lease: all digests of it. What
    /// cannot be had is said, and left.
    pub(super) async fn beside(&self, index: Option<&Document>, image: Digest) -> Vec<Digest> {
        let Some(Kind::Index(index)) = index.map(|document| &document.kind) else {
            return Vec::new();
        };
        let image = image.to_string();
        let about = index.manifests.iter().filter(|e| e.annotations.get(ABOUT) == Some(&image));
        let mut kept = Vec::new();
        for entry in about.take(MAX_ABOUT) {
            match self.about(entry).await {
                Ok(digests) => kept.extend(digests),
                Err(error) => {
                    tracing::debug!(%error, digest = %entry.digest, "what is about the image");
                    let text = format!("{}, which is about the image: {error}", entry.digest);
                    (self.events)(Event::Notice(text));
                }
            }
        }
        kept
    }

    async fn about(&self, entry: &Descriptor) -> Result<Vec<Digest>> {
        let digest = Digest::parse(&entry.digest)?;
        let document = self.by_digest(digest, &entry.media_type).await?;
        let Kind::Manifest(manifest) = &document.kind else {
            return Err(Error::bad("an index is about the image"));
        };
        if document.bytes.len() as u64 != entry.size || manifest.layers.len() > MAX_PARTS {
            return Err(Error::bad(format!("manifest {digest} is not what its index says")));
        }
        let mut kept = vec![digest];
        let blobs = self.store.blobs();
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let wanted = Wanted { digest: Digest::parse(&part.digest)?, size: part.size };
            if wanted.size > MAX_CONFIG_BYTES {
                return Err(Error::bad(format!("{}: too large for a document", wanted.digest)));
            }
            self.lease.pin(wanted.digest);
            kept.push(wanted.digest);
            if blobs.contains(wanted.digest)? {
                continue;
            }
            let at = self.endpoint.load(Ordering::Relaxed);
            let fetched = self.session.retry(|| blob::document(&self.session, at, &wanted));
            blobs.put_document(&self.lease, &fetched.await?)?;
        }
        blobs.put_document(&self.lease, &document.bytes)?;
        Ok(kept)
    }
}
