//! The manifest of an image as it is here: its layers plain. It is what the image is saved with,
//! and what stands for an image that no manifest came with. The same image has the same one
//! everywhere.

use super::save::{describe, json};
use super::{ImageRecord, Images, LayerBlob, Source};
use crate::error::{Error, Result};
use wire::oci::image::{Descriptor, Manifest, media};

impl Images {
    /// That manifest as a source. It is no blob of the store, and nothing came by it.
    ///
    /// # Errors
    /// The image went, or its layers cannot be read.
    pub fn plain(&self, image: &ImageRecord) -> Result<Source> {
        if let Some(known) = self.index().plain(image.id) {
            return Ok(known.clone());
        }
        let bytes = self.plain_manifest(image)?;
        let layer = |layer: Descriptor| -> Result<LayerBlob> {
            let Descriptor { digest, media_type, size, .. } = layer;
            Ok(LayerBlob { digest: model::Digest::parse(&digest)?, media_type, size })
        };
        let source = Source {
            digest: crate::blob::digest(&bytes),
            media_type: media::OCI_MANIFEST.to_owned(),
            size: bytes.len() as u64,
            layers: self.plain_layers(image)?.into_iter().map(layer).collect::<Result<_>>()?,
        };
        self.change(|index| index.keep_plain(image.id, source.clone()));
        Ok(source)
    }

    /// Its bytes.
    pub(super) fn plain_manifest(&self, image: &ImageRecord) -> Result<Vec<u8>> {
        let gone = || Error::Damaged(format!("configuration {} is gone", image.id));
        let (_, size) = self.store.blobs().open(image.id)?.ok_or_else(gone)?;
        json(&Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.into()),
            config: describe(media::OCI_CONFIG, image.id, size),
            layers: self.plain_layers(image)?,
            ..Manifest::default()
        })
    }

    fn plain_layers(&self, image: &ImageRecord) -> Result<Vec<Descriptor>> {
        let layers = self.store.layers();
        let plain = |diff_id: &model::Digest| {
            let gone = || Error::Damaged(format!("layer {diff_id} is gone"));
            let layer = layers.find(*diff_id)?.ok_or_else(gone)?;
            Ok(describe(media::OCI_LAYER, *diff_id, layer.tar_size))
        };
        image.diff_ids.iter().map(plain).collect()
    }
}
