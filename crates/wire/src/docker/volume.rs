//! Volumes. Never touches a path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StringMap, Strings, is_zero};

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Volume {
    /// RFC 3339.
    #[serde(skip_serializing_if = "is_zero")]
    pub created_at: String,
    /// Driver name.
    pub driver: String,
    /// Labels.
    pub labels: StringMap,
    /// Path on the host.
    pub mountpoint: String,
    /// Name.
    pub name: String,
    /// Driver options.
    pub options: StringMap,
    /// `local` or `global`.
    pub scope: String,
    /// What the driver says.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: BTreeMap<String, Value>,
    /// Only in disk usage.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage_data: Option<VolumeUsage>,
}

/// A volume's use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeUsage {
    /// Containers that refer to it; -1 when not counted.
    pub ref_count: i64,
    /// Bytes; -1 when not known.
    pub size: i64,
}

/// The body of `POST /volumes/create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeCreateBody {
    /// Driver; empty is `local`.
    #[serde(skip_serializing_if = "is_zero")]
    pub driver: String,
    /// Driver options.
    #[serde(skip_serializing_if = "is_zero")]
    pub driver_opts: StringMap,
    /// Labels.
    #[serde(skip_serializing_if = "is_zero")]
    pub labels: StringMap,
    /// Empty for one chosen by the engine.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
}

/// The answer to `GET /volumes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeList {
    /// The volumes.
    pub volumes: Vec<Volume>,
    /// Drivers that did not answer.
    pub warnings: Strings,
}

/// The answer to prune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumesPruneReport {
    /// Names.
    pub volumes_deleted: Strings,
    /// Bytes.
    pub space_reclaimed: u64,
}
