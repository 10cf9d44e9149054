//! The stored form of cache records, version 1.

use model::Digest;
use serde::{Deserialize, Serialize};

/// A finished step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) outputs: Vec<(usize, Vec<String>)>,
    pub(crate) description: String,
    pub(crate) created_ns: i64,
    pub(crate) last_used_ns: i64,
    pub(crate) uses: u64,
    pub(crate) size_bytes: u64,
    /// The boot on which the layers were last known to be whole.
    pub(crate) boot: String,
}

impl Record {
    pub(crate) fn outputs(&self) -> Option<super::index::Outputs> {
        let layers = |texts: &Vec<String>| {
            texts.iter().map(|text| Digest::parse(text).ok()).collect::<Option<Vec<_>>>()
        };
        self.outputs.iter().map(|(number, texts)| Some((*number, layers(texts)?))).collect()
    }
}

/// A directory of cache mounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    pub(crate) id: String,
    pub(crate) created_ns: i64,
    pub(crate) last_used_ns: i64,
    pub(crate) uses: u64,
    /// Bytes, and when they were counted: they count until it is used again.
    #[serde(default)]
    pub(crate) measured: Option<(u64, i64)>,
}
