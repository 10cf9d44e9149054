//! Images as nouns: what an image's configuration says about running it, and what is shown of it.
//! The stored and wire forms are elsewhere (OCI image-spec JSON lives in the `wire` crate).

use crate::digest::Digest;
use crate::draft::HealthDraft;
use crate::network::PortSpec;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// What an image says about how to run it (OCI image-spec "config", with Docker's fields).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `user[:group]`.
    pub user: String,
    /// Ports it documents.
    pub exposed_ports: Vec<PortSpec>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Command, or arguments of the entrypoint.
    pub command: Option<Vec<String>>,
    /// Paths that get a volume.
    pub volumes: Vec<String>,
    /// Working directory.
    pub workdir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal to stop with.
    pub stop_signal: Option<String>,
    /// Seconds to wait after it.
    pub stop_timeout: Option<i64>,
    /// Health check.
    pub health: Option<HealthDraft>,
    /// Shell of shell-form instructions.
    pub shell: Option<Vec<String>>,
    /// Triggers for images built on this one.
    pub on_build: Vec<String>,
}

/// An image as listed: there may be thousands of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageLine {
    /// Digest of its configuration.
    pub id: Digest,
    /// Familiar `name:tag` references.
    pub tags: Vec<String>,
    /// Familiar `name@digest` references.
    pub digests: Vec<String>,
    /// Id of the parent, if built here.
    pub parent: Option<Digest>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// Unpacked size of all layers, bytes.
    pub size_bytes: u64,
    /// Bytes shared with other images.
    pub shared_bytes: u64,
    /// Layers' diff ids, base first.
    pub layers: Vec<Digest>,
    /// Containers that use it.
    pub containers: u32,
    /// Whether it has no name of its own and another image of the same index stands for it.
    pub held: bool,
    /// The manifest or index that it is known by, if it is known by one.
    pub target: Option<Document>,
}

/// An image as inspected.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// Digest of its configuration.
    pub id: Digest,
    /// Familiar `name:tag` references.
    pub tags: Vec<String>,
    /// Familiar `name@digest` references.
    pub digests: Vec<String>,
    /// Id of the parent, if built here.
    pub parent: Option<Digest>,
    /// The container that it was committed from, or empty.
    pub container: String,
    /// Comment.
    pub comment: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Author.
    pub author: String,
    /// How to run it.
    pub config: ImageConfig,
    /// CPU architecture (GOARCH).
    pub architecture: String,
    /// Variant of the architecture.
    pub variant: String,
    /// Operating system (GOOS).
    pub os: String,
    /// Unpacked size of all layers, bytes.
    pub size_bytes: u64,
    /// Layers' diff ids, base first.
    pub layers: Vec<Digest>,
    /// Directories of the layers on disk, topmost first.
    pub layer_paths: Vec<String>,
    /// When it was last tagged.
    pub last_tagged: Timestamp,
    /// The manifest or index that it is known by, if it is known by one.
    pub target: Option<Document>,
}

/// A manifest or an index, as others refer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// With algorithm.
    pub digest: String,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// A manifest that stands behind an image's name, here or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestView {
    /// The manifest.
    pub document: Document,
    /// Whether everything it names is here.
    pub available: bool,
    /// What it is.
    pub kind: ManifestKind,
    /// `os`, `architecture`, `variant`; empty where nothing is said.
    pub platform: (String, String, String),
    /// Bytes that are here as they travel.
    pub content_bytes: u64,
    /// Bytes that are here unpacked.
    pub unpacked_bytes: u64,
    /// Ids of the containers that use it.
    pub containers: Vec<String>,
}

/// What a manifest of an index is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ManifestKind {
    /// Something to run.
    #[default]
    Image,
    /// What a builder says of the image whose manifest has this digest.
    Attestation(String),
}

/// One line of an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    /// Image id for lines that are images here, else `None` ("<missing>").
    pub id: Option<Digest>,
    /// When.
    pub created: Timestamp,
    /// The instruction.
    pub created_by: String,
    /// Tags pointing there.
    pub tags: Vec<String>,
    /// Bytes it added.
    pub size_bytes: u64,
    /// Comment.
    pub comment: String,
}

/// What removing an image did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A reference went.
    Untagged(String),
    /// An image or layer went.
    Deleted(Digest),
}

/// What `import` and `commit` say about the new image, beside its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageDraft {
    /// `repository[:tag]`; empty for none.
    pub reference: String,
    /// Comment.
    pub message: String,
    /// Author.
    pub author: String,
    /// Dockerfile instructions applied to the configuration (`CMD …`, `ENV …`).
    pub changes: Vec<String>,
    /// `os[/arch[/variant]]`; empty for this host.
    pub platform: String,
}
