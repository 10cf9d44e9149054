//! Layers that are kept although no image names them: what a build cache holds. Each note has a
//! key of its owner's and is written together with the owner's own record. This module knows
//! nothing of what the keys mean.

use crate::error::Result;
use crate::record::Batch;
use crate::store::Store;
use model::Digest;

/// Table of notes: key to digests, separated by spaces.
const KEPT: &str = "store.kept";

/// Adds to a batch: keep these layers under this key, instead of what was kept under it.
pub fn keep(batch: Batch, key: &str, layers: &[Digest]) -> Batch {
    let text: Vec<String> = layers.iter().map(Digest::to_string).collect();
    batch.put(KEPT, key, text.join(" ").as_bytes())
}

/// Adds to a batch: nothing is kept under this key any longer.
pub fn release(batch: Batch, key: &str) -> Batch {
    batch.delete(KEPT, key)
}

impl Store {
    /// Everything that is kept, with repetitions.
    pub(crate) fn kept(&self) -> Result<Vec<Digest>> {
        let notes = self.records().iter(KEPT)?;
        let digests = notes.iter().flat_map(|(_, text)| text.split(|byte| *byte == b' '));
        Ok(digests.filter_map(|text| Digest::parse(std::str::from_utf8(text).ok()?).ok()).collect())
    }
}
