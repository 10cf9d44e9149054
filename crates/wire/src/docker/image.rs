//! Images: list, inspect, history, delete, prune, commit. Never reads a manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::{ContainerConfig, HealthConfig};
use super::{Empty, StringMap, Strings, is_zero, json};

/// An element of `GET /images/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSummary {
    /// Containers that use it; -1 when not counted.
    pub containers: i64,
    /// Unix seconds.
    pub created: i64,
    /// With algorithm.
    pub id: String,
    /// Labels of its configuration.
    pub labels: StringMap,
    /// Id of the image it was committed from, or empty.
    pub parent_id: String,
    /// `name@digest`.
    pub repo_digests: Vec<String>,
    /// `name:tag`.
    pub repo_tags: Vec<String>,
    /// Bytes shared with other images; -1 when not computed.
    pub shared_size: i64,
    /// Bytes.
    pub size: i64,
    /// The same as `size`, for clients below 1.44.
    #[serde(skip_serializing_if = "is_zero")]
    pub virtual_size: Option<i64>,
    /// Manifest or index.
    #[serde(skip_serializing_if = "is_zero")]
    pub descriptor: Option<Descriptor>,
    /// The manifests behind the name, when they were asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub manifests: Vec<ManifestSummary>,
}

/// A manifest behind an image's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ManifestSummary {
    /// Digest of the manifest.
    #[serde(rename = "ID")]
    pub id: String,
    /// The manifest.
    pub descriptor: Descriptor,
    /// Whether everything it names is here.
    pub available: bool,
    /// Bytes that are here.
    pub size: ManifestSize,
    /// `image`, `attestation` or `unknown`.
    pub kind: String,
    /// What is here of an image.
    #[serde(skip_serializing_if = "is_zero")]
    pub image_data: Option<ImageData>,
    /// What an attestation is about.
    #[serde(skip_serializing_if = "is_zero")]
    pub attestation_data: Option<AttestationData>,
}

/// Bytes that are here of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ManifestSize {
    /// As they travel.
    pub content: i64,
    /// All together.
    pub total: i64,
}

/// What is here of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageData {
    /// What it runs on.
    pub platform: Platform,
    /// Ids of the containers that use it.
    pub containers: Vec<String>,
    /// Its size.
    pub size: UnpackedSize,
}

/// Bytes that are here unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UnpackedSize {
    /// Bytes.
    pub unpacked: i64,
}

/// What an attestation is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AttestationData {
    /// Digest of the image's manifest.
    #[serde(rename = "For")]
    pub subject: String,
}

/// The answer to `GET /images/{name}/json`. `C` is the configuration: [`ImageConfig`], and
/// [`ContainerConfig`] with all its zero values for clients below 1.50.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageInspect<C: Default + PartialEq = ImageConfig> {
    /// With algorithm.
    pub id: String,
    /// `name:tag`.
    pub repo_tags: Vec<String>,
    /// `name@digest`.
    pub repo_digests: Vec<String>,
    /// Id of the image it was committed from, or empty; only for clients below 1.52.
    #[serde(skip_serializing_if = "is_zero")]
    pub parent: Option<String>,
    /// Comment of its commit or import.
    pub comment: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "is_zero")]
    pub created: Option<String>,
    /// Id of the container it was committed from, or empty; only for clients below 1.45.
    #[serde(skip_serializing_if = "is_zero")]
    pub container: Option<String>,
    /// The configuration of that container; only for clients below 1.45.
    #[serde(skip_serializing_if = "is_zero")]
    pub container_config: Option<ContainerConfig>,
    /// Version of the engine that made it, or empty; only for clients below 1.52.
    #[serde(skip_serializing_if = "is_zero")]
    pub docker_version: Option<String>,
    /// Its author.
    pub author: String,
    /// Its configuration.
    pub config: Option<C>,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, …
    #[serde(skip_serializing_if = "is_zero")]
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Windows only.
    #[serde(skip_serializing_if = "is_zero")]
    pub os_version: String,
    /// Bytes.
    pub size: i64,
    /// The same as `size`, for clients below 1.44.
    #[serde(skip_serializing_if = "is_zero")]
    pub virtual_size: Option<i64>,
    /// Snapshot details.
    pub graph_driver: DriverData,
    /// Layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// What the engine knows beside the image.
    pub metadata: ImageMetadata,
    /// Manifest or index.
    #[serde(skip_serializing_if = "is_zero")]
    pub descriptor: Option<Descriptor>,
    /// The manifests behind the name, when they were asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub manifests: Vec<ManifestSummary>,
}

/// An image's configuration, as inspect shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `user[:group]`.
    #[serde(skip_serializing_if = "is_zero")]
    pub user: String,
    /// By `port/protocol`.
    #[serde(skip_serializing_if = "is_zero")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "is_zero")]
    pub env: Vec<String>,
    /// Program.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "json::strings_or_one")]
    pub entrypoint: Strings,
    /// Arguments.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "json::strings_or_one")]
    pub cmd: Strings,
    /// By target.
    #[serde(skip_serializing_if = "is_zero")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory.
    #[serde(skip_serializing_if = "is_zero")]
    pub working_dir: String,
    /// Labels.
    #[serde(skip_serializing_if = "is_zero")]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops the container.
    #[serde(skip_serializing_if = "is_zero")]
    pub stop_signal: String,
    /// Windows only.
    #[serde(skip_serializing_if = "is_zero")]
    pub args_escaped: bool,
    /// Health check.
    #[serde(skip_serializing_if = "is_zero")]
    pub healthcheck: Option<HealthConfig>,
    /// Triggers.
    #[serde(skip_serializing_if = "is_zero")]
    pub on_build: Vec<String>,
    /// Shell of the shell forms.
    #[serde(skip_serializing_if = "is_zero")]
    pub shell: Vec<String>,
}

/// The same in APIs 1.50 and 1.51: what is empty is there and null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WholeImageConfig {
    /// `user[:group]`.
    pub user: String,
    /// By `port/protocol`.
    #[serde(skip_serializing_if = "is_zero")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    pub env: Strings,
    /// Program.
    pub entrypoint: Strings,
    /// Arguments.
    pub cmd: Strings,
    /// By target.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Working directory.
    pub working_dir: String,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal that stops the container.
    #[serde(skip_serializing_if = "is_zero")]
    pub stop_signal: String,
    /// Windows only.
    #[serde(skip_serializing_if = "is_zero")]
    pub args_escaped: bool,
    /// Health check.
    #[serde(skip_serializing_if = "is_zero")]
    pub healthcheck: Option<HealthConfig>,
    /// Triggers.
    pub on_build: Strings,
    /// Shell of the shell forms.
    #[serde(skip_serializing_if = "is_zero")]
    pub shell: Vec<String>,
}

/// An image's configuration in one of the shapes in which what is empty is null. They have the
/// same fields for it, but for the shell; `others`: what a shape has besides.
macro_rules! whole {
    ($config:ident, shell: $shell:expr $(, ..$others:expr)?) => {
        Self {
            user: $config.user,
            exposed_ports: $config.exposed_ports,
            env: filled($config.env),
            entrypoint: $config.entrypoint,
            cmd: $config.cmd,
            volumes: filled($config.volumes),
            working_dir: $config.working_dir,
            labels: filled($config.labels),
            stop_signal: $config.stop_signal,
            args_escaped: $config.args_escaped,
            healthcheck: $config.healthcheck,
            on_build: filled($config.on_build),
            shell: $shell,
            $(..$others)?
        }
    };
}

/// What is not empty.
fn filled<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

impl From<ImageConfig> for WholeImageConfig {
    fn from(config: ImageConfig) -> Self {
        whole!(config, shell: config.shell)
    }
}

impl From<ImageConfig> for ContainerConfig {
    /// The same content in the shape that inspect had before API 1.50.
    fn from(config: ImageConfig) -> Self {
        whole!(config, shell: filled(config.shell), ..Self::default())
    }
}

/// Layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(skip_serializing_if = "is_zero")]
    pub layers: Vec<String>,
}

/// What the engine knows beside the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageMetadata {
    /// RFC 3339; year 1 if never.
    pub last_tag_time: String,
}

/// Snapshot details.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverData {
    /// As the driver likes.
    pub data: StringMap,
    /// Driver name.
    pub name: String,
}

/// An OCI content descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// With algorithm.
    pub digest: String,
    /// Bytes.
    pub size: i64,
    /// Other sources.
    #[serde(skip_serializing_if = "is_zero")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(skip_serializing_if = "is_zero")]
    pub annotations: BTreeMap<String, String>,
    /// What it runs on.
    #[serde(skip_serializing_if = "is_zero")]
    pub platform: Option<Platform>,
    /// For artefacts.
    #[serde(skip_serializing_if = "is_zero")]
    pub artifact_type: String,
}

/// An element of `GET /images/{name}/attestations`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AttestationStatement {
    /// The statement as its manifest names it.
    pub descriptor: crate::oci::image::Descriptor,
    /// What it states, as a URI.
    pub predicate_type: String,
    /// The statement itself, when it was asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub statement: Option<serde_json::Value>,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `amd64`, …
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// Windows only.
    #[serde(rename = "os.version", skip_serializing_if = "is_zero")]
    pub os_version: String,
    /// Windows only.
    #[serde(rename = "os.features", skip_serializing_if = "is_zero")]
    pub os_features: Vec<String>,
    /// `v7`, …
    #[serde(skip_serializing_if = "is_zero")]
    pub variant: String,
}

/// An element of `GET /images/{name}/history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HistoryItem {
    /// Comment.
    pub comment: String,
    /// Unix seconds.
    pub created: i64,
    /// Command that made the layer.
    pub created_by: String,
    /// Image id, or `<missing>`.
    pub id: String,
    /// Bytes.
    pub size: i64,
    /// `name:tag`.
    pub tags: Strings,
}

/// An element of the answers to delete and prune; one of the two is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageDeleteItem {
    /// Reference that was removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub untagged: String,
    /// Image or layer that was removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub deleted: String,
}

/// The answer to prune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImagesPruneReport {
    /// What went.
    pub images_deleted: Option<Vec<ImageDeleteItem>>,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// `{"Id": …}`: the answer to commit and to exec create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IdResponse {
    /// The id of what was made.
    pub id: String,
}
