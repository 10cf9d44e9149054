//! Finished builds, remembered for `buildx history`: what was asked and came of it, and what was
//! told meanwhile. The documents are the edge's own; nothing here reads them.

use super::Builds;
use crate::Result;
use crate::node::blocking;
use model::Timestamp;
use std::sync::Arc;
use store::record::{Batch, Durability};

/// Table of records, oldest first by key.
const RECORDS: &str = "build-history";
/// Table of what was told, under the same keys.
const LOGS: &str = "build-history-logs";
/// How many builds are remembered; then the oldest goes.
const MAX_BUILDS: usize = 100;

/// A build that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastBuild {
    /// Its id.
    pub id: String,
    /// What is known of it.
    pub record: Vec<u8>,
}

impl Builds {
    /// Remembers a build that began at a time, with what it told.
    ///
    /// # Errors
    /// The store refuses or fails.
    pub async fn remember(&self, build: PastBuild, at: Timestamp, log: Vec<u8>) -> Result<()> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let records = node.store.records();
            let key = format!("{:020}.{}", at.0.max(0), build.id);
            let mut batch = Batch::new().put(RECORDS, &key, &build.record).put(LOGS, &key, &log);
            let known = records.iter(RECORDS)?;
            let surplus = (known.len() + 1).saturating_sub(MAX_BUILDS);
            for (old, _) in known.iter().take(surplus) {
                batch = batch.delete(RECORDS, old).delete(LOGS, old);
            }
            Ok(records.commit(batch, Durability::Relaxed)?)
        })
        .await
    }

    /// All builds that are remembered, oldest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn past(&self) -> Result<Vec<PastBuild>> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let known = node.store.records().iter(RECORDS)?;
            let build = |(key, record): (String, Vec<u8>)| {
                let id = key.split_once('.').map(|(_, id)| id.to_owned())?;
                Some(PastBuild { id, record })
            };
            Ok(known.into_iter().filter_map(build).collect())
        })
        .await
    }

    /// What a build told; `None` if it is not remembered.
    ///
    /// # Errors
    /// The store fails.
    pub async fn past_log(&self, id: &str) -> Result<Option<Vec<u8>>> {
        let (node, id) = (Arc::clone(&self.node), id.to_owned());
        blocking(move || match key_of(&node, &id)? {
            Some(key) => Ok(node.store.records().get(LOGS, &key)?),
            None => Ok(None),
        })
        .await
    }

    /// Puts another record in a build's place, or none; `false` if it is not remembered.
    ///
    /// # Errors
    /// The store refuses or fails.
    pub async fn revise(&self, id: &str, record: Option<Vec<u8>>) -> Result<bool> {
        let (node, id) = (Arc::clone(&self.node), id.to_owned());
        blocking(move || {
            let Some(key) = key_of(&node, &id)? else { return Ok(false) };
            let batch = match record {
                Some(record) => Batch::new().put(RECORDS, &key, &record),
                None => Batch::new().delete(RECORDS, &key).delete(LOGS, &key),
            };
            node.store.records().commit(batch, Durability::Relaxed)?;
            Ok(true)
        })
        .await
    }
}

fn key_of(node: &crate::node::Node, id: &str) -> Result<Option<String>> {
    let known = node.store.records().iter(RECORDS)?;
    let found = known.into_iter().rev().map(|(key, _)| key);
    Ok(found.into_iter().find(|key| key.split_once('.').is_some_and(|(_, it)| it == id)))
}
