//! Archives of engines before 1.10: a `repositories` file, and for each layer a directory with its
//! own `json` and `layer.tar`. They say nothing about a configuration as a whole, so one is made of
//! the chain of layers. Source: Docker image spec v1.0.

use super::load::{Archive, Found};
use crate::error::{Error, Result};
use crate::layer::MAX_LAYERS;
use model::ImageRef;
use serde_json::Value;
use wire::oci::image::{History, ImageConfig, Repositories, RootFs};

/// Fields of a layer's `json` that mean nothing in a configuration.
const LAYER_FIELDS: [&str; 9] = [
    "id",
    "parent",
    "parent_id",
    "layer_id",
    "throwaway",
    "Size",
    "container",
    "container_config",
    "checksum",
];

/// The images that the names lead to.
pub(super) fn images(archive: &Archive<'_>, names: &Repositories) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (repository, tags) in names {
        for (tag, top) in tags {
            let name = ImageRef::parse(&format!("{repository}:{tag}"))?;
            let config = configuration(archive, top)?;
            let config =
                serde_json::to_vec(&config).map_err(|error| Error::Damaged(error.to_string()))?;
            found.push(Found::plain(config, vec![name]));
        }
    }
    Ok(found)
}

/// One configuration of the chain of layers below the top one.
fn configuration(archive: &Archive<'_>, top: &str) -> Result<ImageConfig> {
    let mut chain = Vec::new();
    let mut next = Some(top.to_owned());
    while let Some(id) = next {
        if chain.len() >= MAX_LAYERS || id.len() != 64 || !id.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(Error::bad(format!("archive image {top}: bad chain of layers")));
        }
        let layer: ImageConfig = archive
            .document(&format!("{id}/json"))?
            .ok_or_else(|| Error::bad(format!("archive has no {id}/json")))?;
        let diff_id = archive
            .layer(&format!("{id}/layer.tar"))?
            .ok_or_else(|| Error::bad(format!("archive has no {id}/layer.tar")))?;
        next = layer.extra.get("parent").and_then(Value::as_str).map(str::to_owned);
        chain.push((layer, diff_id));
    }
    chain.reverse();
    let history = chain.iter().map(|(layer, _)| step(layer)).collect();
    let diff_ids = chain.iter().map(|(_, diff_id)| diff_id.to_string()).collect();
    let (mut config, _) = chain.pop().ok_or_else(|| Error::bad("archive image has no layer"))?;
    for field in LAYER_FIELDS {
        config.extra.remove(field);
    }
    config.history = history;
    config.rootfs = RootFs { diff_ids, ..RootFs::default() };
    if config.os.is_empty() {
        config.os = "linux".to_owned();
    }
    Ok(config)
}

/// What a layer's own document says about its making.
fn step(layer: &ImageConfig) -> History {
    let command = layer.extra.get("container_config").and_then(|config| config.get("Cmd"));
    let words: Vec<&str> =
        command.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    History {
        created: layer.created.clone(),
        created_by: (!words.is_empty()).then(|| words.join(" ")),
        author: layer.author.clone(),
        comment: layer.comment.clone(),
        ..History::default()
    }
}
