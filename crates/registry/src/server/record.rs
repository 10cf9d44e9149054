//! How the index is written down: one record a tag, manifest or link, versioned by the name of
//! its table.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::record::{Batch, Records};

use super::index::{Blob, Change, Held, Index, Seconds, Tagged};
use super::manifest::Document;
use super::name::{Digest, Name, Tag};

const MANIFESTS: &str = "registry.manifest.v1";
const TAGS: &str = "registry.tag.v1";
const BLOBS: &str = "registry.blob.v1";

/// A manifest as it is stored.
#[derive(Serialize, Deserialize)]
struct ManifestV1 {
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Digest>,
    #[serde(default)]
    blobs: Vec<Digest>,
    #[serde(default)]
    manifests: Vec<Digest>,
    size: u64,
    at: Seconds,
}

impl From<&Held> for ManifestV1 {
    fn from(held: &Held) -> Self {
        let document = held.document.clone();
        Self {
            media_type: document.media_type,
            artifact_type: document.artifact_type,
            annotations: document.annotations,
            subject: document.subject,
            blobs: document.blobs,
            manifests: document.manifests,
            size: held.size,
            at: held.at,
        }
    }
}

impl From<ManifestV1> for Held {
    fn from(stored: ManifestV1) -> Self {
        let document = Document {
            media_type: stored.media_type,
            artifact_type: stored.artifact_type,
            annotations: stored.annotations,
            subject: stored.subject,
            blobs: stored.blobs,
            manifests: stored.manifests,
        };
        Self { document, size: stored.size, at: stored.at }
    }
}

/// A change as records; `Drop` also takes the tags that name the manifest, so it asks the index.
pub(crate) fn batch(index: &Index, changes: &[Change]) -> Result<Batch, serde_json::Error> {
    let mut batch = Batch::new();
    for change in changes {
        batch = match change {
            Change::Keep(name, digest, held) => {
                let value = serde_json::to_vec(&ManifestV1::from(&**held))?;
                batch.put(MANIFESTS, &format!("{name}@{digest}"), &value)
            }
            Change::Drop(name, digest) => {
                let tags = index.repository(name).into_iter().flat_map(|it| &it.tags);
                for (tag, _) in tags.filter(|(_, tagged)| tagged.digest == *digest) {
                    batch = batch.delete(TAGS, &format!("{name}:{tag}"));
                }
                batch.delete(MANIFESTS, &format!("{name}@{digest}"))
            }
            Change::Tag(name, tag, tagged) => {
                batch.put(TAGS, &format!("{name}:{tag}"), &serde_json::to_vec(tagged)?)
            }
            Change::Untag(name, tag) => batch.delete(TAGS, &format!("{name}:{tag}")),
            Change::Link(name, digest, blob) => {
                batch.put(BLOBS, &format!("{name}@{digest}"), &serde_json::to_vec(blob)?)
            }
            Change::Unlink(name, digest) => batch.delete(BLOBS, &format!("{name}@{digest}")),
        };
    }
    Ok(batch)
}

/// Everything that was written down.
pub(crate) fn load(records: &Records) -> Result<Index, String> {
    let mut index = Index::default();
    let mut changes = Vec::new();
    collect(records, MANIFESTS, '@', &mut changes, |name, digest, stored: ManifestV1| {
        Some(Change::Keep(name, Digest::parse(digest)?, Box::new(Held::from(stored))))
    })?;
    collect(records, BLOBS, '@', &mut changes, |name, digest, blob: Blob| {
        Some(Change::Link(name, Digest::parse(digest)?, blob))
    })?;
    collect(records, TAGS, ':', &mut changes, |name, tag, tagged: Tagged| {
        Some(Change::Tag(name, Tag::parse(tag)?, tagged))
    })?;
    for change in changes {
        index.apply(change);
    }
    Ok(index)
}

fn collect<T: DeserializeOwned>(
    records: &Records,
    table: &str,
    divider: char,
    changes: &mut Vec<Change>,
    change: impl Fn(Name, &str, T) -> Option<Change>,
) -> Result<(), String> {
    for (key, value) in records.iter(table).map_err(|error| error.to_string())? {
        let read = || {
            let (name, rest) = key.split_once(divider)?;
            change(Name::parse(name)?, rest, serde_json::from_slice(&value).ok()?)
        };
        changes.push(read().ok_or_else(|| format!("the record {key:?} of {table} is damaged"))?);
    }
    Ok(())
}
