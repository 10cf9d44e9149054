//! Volumes as nouns. This module never touches a directory.

use crate::id::VolumeName;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// A volume as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeDraft {
    /// Its name; empty for a random one.
    pub name: String,
    /// Driver; empty for `local`.
    pub driver: String,
    /// Driver options (local: `type`, `o`, `device`, `size`, and our `uid`, `gid`,
    /// `mode`).
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Nobody chose its name: it goes with the container that it was made for.
    pub anonymous: bool,
}

/// A volume as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// Its name.
    pub name: VolumeName,
    /// Its driver.
    pub driver: String,
    /// Where its content is on the host.
    pub mountpoint: String,
    /// When it was made.
    pub created: Timestamp,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Made without a name.
    pub anonymous: bool,
    /// Its driver has it for every host of a cluster.
    pub global: bool,
    /// What its driver says of it: JSON by name.
    pub status: BTreeMap<String, String>,
    /// Bytes used and containers using it, when counted.
    pub usage: Option<(u64, u32)>,
}
