//! The stored forms, version 1. Domain types are turned into these and back in one place each, so
//! that a change of a domain type never changes what is on disk by accident.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `layers/<diff-id>/meta.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LayerMeta {
    pub(crate) version: u32,
    pub(crate) diff_id: String,
    /// Bytes of the plain tar.
    pub(crate) tar_bytes: u64,
    /// Bytes of file content.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Mode, uid and gid of the root, if the layer sets them.
    pub(crate) root: Option<(u32, u32, u32)>,
}

/// `snapshots/<container-id>/meta.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotMeta {
    pub(crate) version: u32,
    pub(crate) image: Option<String>,
    /// Diff ids, base first.
    pub(crate) layers: Vec<String>,
}

/// `volumes/<name>/meta.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VolumeMeta {
    pub(crate) version: u32,
    pub(crate) created_ns: i64,
    pub(crate) anonymous: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
}

/// Table `store.images`, key: hex of the id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) version: u32,
    pub(crate) parent: Option<String>,
    /// When it last got a name.
    pub(crate) tagged_ns: i64,
    /// Bytes of the content of all layers.
    pub(crate) bytes: u64,
    /// Whether it was made on this node by a build or a commit.
    pub(crate) local: bool,
    /// The documents of registries it is known by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<Source>,
    /// Digests of documents that lie beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) beside: Vec<String>,
}

/// A manifest or an index, kept byte for byte as a blob.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) bytes: u64,
    /// A manifest's layers in the order of the configuration's diff ids; empty for an index.
    pub(crate) layers: Vec<LayerBlob>,
}

/// A layer as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LayerBlob {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) bytes: u64,
}

/// Table `store.names`, key: canonical reference with tag or digest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) version: u32,
    pub(crate) image: String,
}

/// The version written by this module.
pub(crate) const VERSION: u32 = 1;
