//! What is written down of a plugin. The stored form is versioned; the plugin's layers are kept in
//! the store by the same write.

use crate::{EngineError, Result};
use model::{ContainerId, Digest};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::image::LayerBlob;
use store::kept;
use store::record::{Batch, Durability, Records};
use wire::plugin::{Config, Settings};

/// Table of plugins, by id.
const PLUGINS: &str = "managed-plugins";

/// A plugin as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: ContainerId,
    /// With a tag.
    pub(super) name: String,
    /// What it was pulled as, or its name.
    pub(super) reference: String,
    /// The configuration as it came.
    pub(super) text: Arc<[u8]>,
    /// What it says.
    pub(super) config: Arc<Config>,
    /// Layers, base first.
    pub(super) layers: Vec<Layer>,
    pub(super) settings: Settings,
    pub(super) enabled: bool,
}

/// A layer of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) diff_id: Digest,
    /// As it came from a registry.
    pub(super) blob: Option<LayerBlob>,
}

mod v1 {
    //! The stored form.
    use super::{Deserialize, Serialize, Settings};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Plugin {
        pub(super) version: u32,
        pub(super) name: String,
        pub(super) reference: String,
        pub(super) config: String,
        pub(super) layers: Vec<Layer>,
        pub(super) settings: Settings,
        pub(super) enabled: bool,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Layer {
        pub(super) diff_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(super) blob: Option<(String, u64, String)>,
    }
}

fn key(id: &ContainerId) -> String {
    format!("plugin/{id}")
}

/// Writes a plugin down, to last, and keeps its layers.
pub(super) fn save(records: &Records, plugin: &Record) -> Result<()> {
    let stored = v1::Plugin {
        version: 1,
        name: plugin.name.clone(),
        reference: plugin.reference.clone(),
        config: String::from_utf8_lossy(&plugin.text).into_owned(),
        layers: plugin.layers.iter().map(store_layer).collect(),
        settings: plugin.settings.clone(),
        enabled: plugin.enabled,
    };
    let bytes = serde_json::to_vec(&stored).map_err(EngineError::internal)?;
    let blobs = plugin.layers.iter().filter_map(|layer| layer.blob.as_ref());
    let mut held: Vec<Digest> = plugin.layers.iter().map(|layer| layer.diff_id).collect();
    held.extend(blobs.map(|blob| blob.digest));
    let batch = Batch::new().put(PLUGINS, &plugin.id.to_string(), &bytes);
    let batch = kept::keep(batch, &key(&plugin.id), &held);
    Ok(records.commit(batch, Durability::Immediate)?)
}

/// Forgets a plugin; its layers are free.
pub(super) fn forget(records: &Records, id: &ContainerId) -> Result<()> {
    let batch = Batch::new().delete(PLUGINS, &id.to_string());
    Ok(records.commit(kept::release(batch, &key(id)), Durability::Immediate)?)
}

/// Every plugin that is written down. One that cannot be read is told of, and left alone.
pub(super) fn all(records: &Records) -> Result<Vec<Record>> {
    let mut out = Vec::new();
    for (id, bytes) in records.iter(PLUGINS)? {
        match load(&id, &bytes) {
            Ok(record) => out.push(record),
            Err(error) => tracing::error!(plugin = id, %error, "read the record of a plugin"),
        }
    }
    Ok(out)
}

fn store_layer(layer: &Layer) -> v1::Layer {
    let blob = layer.blob.as_ref();
    v1::Layer {
        diff_id: layer.diff_id.to_string(),
        blob: blob.map(|it| (it.digest.to_string(), it.size, it.media_type.clone())),
    }
}

fn load(id: &str, bytes: &[u8]) -> Result<Record> {
    let stored: v1::Plugin = serde_json::from_slice(bytes).map_err(EngineError::internal)?;
    let layer = |stored: v1::Layer| -> Result<Layer> {
        let blob = match stored.blob {
            None => None,
            Some((digest, size, media_type)) => {
                Some(LayerBlob { digest: Digest::parse(&digest)?, size, media_type })
            }
        };
        Ok(Layer { diff_id: Digest::parse(&stored.diff_id)?, blob })
    };
    Ok(Record {
        id: ContainerId::parse(id)?,
        name: stored.name,
        reference: stored.reference,
        config: Arc::new(super::document::read(stored.config.as_bytes())?),
        text: stored.config.into_bytes().into(),
        layers: stored.layers.into_iter().map(layer).collect::<Result<_>>()?,
        settings: stored.settings,
        enabled: stored.enabled,
    })
}
