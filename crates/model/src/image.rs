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

/// An image as listed and inspected.
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
    /// Bytes shared with other images.
    pub shared_bytes: u64,
    /// Layers' diff ids, base first.
    pub layers: Vec<Digest>,
    /// Directories of the layers on disk, topmost first.
    pub layer_paths: Vec<String>,
    /// When it was last tagged.
    pub last_tagged: Timestamp,
    /// Containers that use it.
    pub containers: u32,
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
