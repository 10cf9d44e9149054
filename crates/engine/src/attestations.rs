//! What builders attested of an image: in-toto statements that its index holds. They are read,
//! never judged here.

use crate::node::blocking;
use crate::{EngineError, Images, Result, variants};
use model::Digest;
use registry::Platform;
use std::sync::Arc;
use store::image::ABOUT;
use wire::oci::image::{Descriptor, Manifest};

/// Statements travel under this media type.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The annotation with a statement's predicate type.
const PREDICATE: &str = "in-toto.io/predicate-type";

/// A statement about an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Attestation {
    /// The statement as its manifest names it.
    pub descriptor: Descriptor,
    /// What it states, as a URI.
    pub predicate_type: String,
    /// The statement itself.
    pub statement: serde_json::Value,
}

impl Images {
    /// The statements about an image, for this machine's platform or another.
    ///
    /// # Errors
    /// There is no such image, or it is not here for that platform.
    pub async fn attestations(
        &self,
        query: &str,
        platform: Option<Platform>,
    ) -> Result<Vec<Attestation>> {
        let (node, query) = (Arc::clone(&self.node), query.to_owned());
        blocking(move || {
            let images = node.store.images();
            let record = variants::find_for(&node, &query, platform.as_ref())?;
            let Some(whole) = images.whole(&record)? else { return Ok(Vec::new()) };
            let own = |about: &String| {
                record.sources.iter().any(|source| source.digest.to_string() == *about)
            };
            let mut found = Vec::new();
            for member in &whole.members {
                if !member.descriptor.annotations.get(ABOUT).is_some_and(own) {
                    continue;
                }
                let Some(beside) = images.beside(member.digest)? else { continue };
                let manifest: Manifest = parse(&beside.bytes, member.digest)?;
                for layer in manifest.layers {
                    if layer.media_type != STATEMENT {
                        continue;
                    }
                    let digest = Digest::parse(&layer.digest)?;
                    let Some(bytes) = node.store.blobs().document(digest)? else { continue };
                    found.push(attestation(layer, parse(&bytes, digest)?));
                }
            }
            Ok(found)
        })
        .await
    }
}

fn attestation(descriptor: Descriptor, statement: serde_json::Value) -> Attestation {
    let said = statement.get("predicateType").and_then(|kind| kind.as_str()).map(str::to_owned);
    let noted = descriptor.annotations.get(PREDICATE).cloned();
    let predicate_type = said.or(noted).unwrap_or_default();
    Attestation { descriptor, predicate_type, statement }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], digest: Digest) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| EngineError::invalid(format!("attestation {digest}: {error}")))
}
