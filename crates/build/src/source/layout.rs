//! Images in OCI layouts of clients: chosen by digest and platform, verified, their layers taken
//! in.

use crate::cache::remote::from_layout;
use crate::error::{Error, Result};
use crate::graph::OciLayout;
use crate::layout::{self, Layout};
use crate::platform::Platform;
use crate::remote;
use crate::solve::{Build, blocking};
use crate::tree::Tree;
use model::Digest;
use registry::WantedLayer;
use registry::client::manifest::{self, Kind};
use std::sync::Arc;
use store::image::LayerBlob;
use wire::oci::image::{Descriptor, ImageConfig, Index};

/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

/// An image of a layout, before its layers are here.
pub(crate) struct LayoutImage {
    /// Its whole configuration.
    pub(crate) config: Vec<u8>,
    layers: Vec<WantedLayer>,
    layout: Arc<dyn Layout>,
}

/// Finds an image by `name@digest` in the layout of that name.
pub(crate) async fn layout_image(
    build: &Build,
    store: &str,
    reference: &str,
    platform: &Platform,
) -> Result<LayoutImage> {
    let layout = build.client.layout(&format!("oci:{store}")).await?;
    let invalid = || Error::invalid(format!("oci-layout reference {reference:?} has no digest"));
    let (_, digest) = reference.rsplit_once('@').ok_or_else(invalid)?;
    let mut digest = Digest::parse(digest)?;
    for _ in 0..MAX_DEPTH {
        let bytes = layout::document(&*layout, digest).await?;
        match manifest::read(bytes, None, Some(digest)).map_err(remote::failed)?.kind {
            Kind::Index(index) => {
                let entry = choose(&index, platform).ok_or_else(|| {
                    Error::not_found(format!("{reference}: no manifest for {platform}"))
                })?;
                digest = Digest::parse(&entry.digest)?;
            }
            Kind::Manifest(manifest) => {
                let config = Digest::parse(&manifest.config.digest)?;
                let config = layout::document(&*layout, config).await?;
                let parsed: ImageConfig = serde_json::from_slice(&config).map_err(|error| {
                    Error::invalid(format!("{reference}: bad configuration: {error}"))
                })?;
                if parsed.rootfs.diff_ids.len() != manifest.layers.len() {
                    return Err(Error::invalid(format!(
                        "{reference}: manifest and configuration have different layers"
                    )));
                }
                let layers = manifest.layers.iter().zip(&parsed.rootfs.diff_ids);
                let layers = layers.map(|(layer, diff_id)| wanted(layer, diff_id));
                return Ok(LayoutImage { config, layers: layers.collect::<Result<_>>()?, layout });
            }
        }
    }
    Err(Error::invalid(format!("{reference}: indexes are nested too deep")))
}

fn wanted(layer: &Descriptor, diff_id: &str) -> Result<WantedLayer> {
    let digest = Digest::parse(&layer.digest)?;
    let (media_type, size) = (layer.media_type.clone(), layer.size);
    let blob = LayerBlob { digest, media_type, size };
    Ok(WantedLayer { blob, diff_id: Digest::parse(diff_id)? })
}

fn choose<'a>(index: &'a Index, platform: &Platform) -> Option<&'a Descriptor> {
    let serves = |entry: &&Descriptor| {
        entry.platform.as_ref().is_none_or(|own| {
            let variant = own.variant.as_deref().unwrap_or_default();
            Platform::new(&own.os, &own.architecture, variant).serves(platform)
        })
    };
    index.manifests.iter().find(serves)
}

/// The file system of an image in a layout.
pub(crate) async fn oci_layout(
    build: &Arc<Build>,
    source: &OciLayout,
    platform: &Platform,
) -> Result<Tree> {
    let image = layout_image(build, &source.store, &source.reference, platform).await?;
    let limit = source.layer_limit.map_or(usize::MAX, |limit| limit as usize);
    let mut layers = Vec::new();
    for layer in image.layers.iter().take(limit) {
        let (looking, diff_id) = (Arc::clone(build), layer.diff_id);
        let here = blocking(move || {
            looking.lease.pin(diff_id);
            Ok(looking.inner.store.layers().find(diff_id)?.is_some())
        });
        if !here.await? {
            from_layout(build, &*image.layout, layer).await?;
        }
        layers.push(layer.diff_id);
    }
    let digest = source.reference.rsplit_once("@sha256:").map(|(_, hex)| hex.to_owned());
    let uri = format!("pkg:oci/{}", source.reference);
    build.took(uri, ("sha256", digest.unwrap_or_default()));
    Ok(Tree::Layers(layers.into()))
}
