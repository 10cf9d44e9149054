//! The OCI image documents: descriptor, index, manifest, image configuration (with the fields that
//! Docker adds), and the `manifest.json`/`repositories` files of a docker-archive. Source: OCI
//! image-spec v1.1, Docker image spec v1.3. Fields we do not know are kept, so that a document
//! which is read, changed and written again loses nothing. This module never hashes and never
//! opens a file: an image's id is the digest of the bytes, which the store owns.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Media types of the documents and blobs in an image.
pub mod media {
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, plain tar.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, plain tar.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}

/// Annotation keys with a meaning to us.
pub mod annotation {
    /// The tag (or, by Docker, the tag alone) that an index entry stands for.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full image name that an index entry stands for (containerd, Docker 25+).
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
}

/// Content of an `oci-layout` file.
pub const OCI_LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A reference to content by digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    #[serde(default)]
    pub media_type: String,
    /// `<algorithm>:<hex>`, unchecked.
    pub digest: String,
    /// Length of the content in bytes.
    pub size: u64,
    /// Places the content may be had from (foreign layers).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub urls: Vec<String>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The platform of a manifest inside an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Artifact type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Fields unknown to us.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture in Go's words (`amd64`, `arm64`, …).
    #[serde(default)]
    pub architecture: String,
    /// Operating system in Go's words.
    #[serde(default)]
    pub os: String,
    /// CPU variant (`v7`, `v8`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system version.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Operating system features.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// An OCI image index or a Docker manifest list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document; may be absent in OCI documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests, usually one per platform.
    #[serde(deserialize_with = "null_default")]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields unknown to us.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An OCI image manifest or a Docker schema 2 manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document; may be absent in OCI documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(deserialize_with = "null_default")]
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields unknown to us.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An image configuration: the document whose digest is the image's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// CPU architecture in Go's words.
    #[serde(default)]
    pub architecture: String,
    /// CPU variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system in Go's words.
    #[serde(default)]
    pub os: String,
    /// Operating system version.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Operating system features.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "null_default")]
    pub config: RunConfig,
    /// When it was made, RFC 3339, unchecked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The message of a commit or an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The version of the engine that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    /// One entry per instruction, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub history: Vec<History>,
    /// The layers by the digests of their plain tars, base first.
    #[serde(default)]
    pub rootfs: RootFs,
    /// Fields unknown to us (`container`, `container_config`, `moby.buildkit.…`, …).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Digests of the plain (uncompressed) tars, base first, unchecked.
    #[serde(default, deserialize_with = "null_default")]
    pub diff_ids: Vec<String>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339, unchecked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// With which message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Fields unknown to us.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The `config` member of an image configuration: defaults for containers made of the image. A
/// `None` list is absent or `null`; `Some(vec![])` was written as an empty list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `user[:group]`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that the image listens on: `80/tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// `NAME=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// The command's fixed front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default command, or the entry point's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// How to tell whether the container is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Windows: the command is already escaped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Paths that become volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Instructions for a build on top of this image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that asks it to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The shell of shell-form instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields unknown to us (`Hostname`, `AttachStdin`, `Image`, … of older engines).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The value of a Go `map[string]struct{}`: always `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A health check; durations are nanoseconds, zero means inherit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty means inherit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time one check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time after start in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks in the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// One image in the `manifest.json` of a docker-archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArchiveManifest {
    /// Path of the configuration inside the archive.
    pub config: String,
    /// Names with tags.
    #[serde(default, deserialize_with = "null_default")]
    pub repo_tags: Option<Vec<String>>,
    /// Paths of the layers inside the archive, base first.
    #[serde(default, deserialize_with = "null_default")]
    pub layers: Vec<String>,
    /// Descriptors of the layers by diff id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_sources: Option<BTreeMap<String, Descriptor>>,
}

/// The legacy `repositories` file of a docker-archive: repository → tag → id of the top layer
/// (not of the image).
pub type Repositories = BTreeMap<String, BTreeMap<String, String>>;

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Go writes empty slices and maps as `null`.
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_configuration_survives_a_round_trip() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":["sh"],
            "OnBuild":null,"Hostname":"","ArgsEscaped":true,"Healthcheck":{"Test":["NONE"]},
            "ExposedPorts":{"80/tcp":{}},"StopTimeout":3},"container":"abc","created":
            "2024-01-01T00:00:00.5Z","history":[{"created_by":"x","empty_layer":true,"zzz":1}],
            "rootfs":{"type":"layers","diff_ids":["sha256:00"]},"moby.x":{"y":[1]}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.config.stop_timeout, Some(3));
        assert_eq!(config.extra["container"], "abc");
        let again: Value = serde_json::to_value(&config).unwrap();
        let mut want: Value = serde_json::from_str(text).unwrap();
        want["config"].as_object_mut().unwrap().remove("OnBuild");
        assert_eq!(again, want);
    }

    #[test]
    fn nulls_of_go_are_empty() {
        let manifest: ArchiveManifest =
            serde_json::from_str(r#"{"Config":"x","RepoTags":null,"Layers":null}"#).unwrap();
        assert_eq!(manifest, ArchiveManifest { config: "x".into(), ..Default::default() });
        let config: ImageConfig =
            serde_json::from_str(r#"{"config":null,"rootfs":{"diff_ids":null}}"#).unwrap();
        assert!(config.rootfs.diff_ids.is_empty());
    }

    #[test]
    fn a_manifest_keeps_what_it_does_not_know() {
        let text = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{"mediaType":"a","digest":"sha256:1","size":3,"data":"e30="},"layers":[],
            "subject":{"x":1}}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        let want: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&manifest).unwrap(), want);
    }
}
