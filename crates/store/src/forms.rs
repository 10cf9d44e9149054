//! The forms in which layers travel, when somebody asks for a certain one: gzip, zstd or plain, at
//! a level. The same layer in the same form gives the same bytes. What came of it is remembered, so
//! that a registry can be asked for it before anything is compressed. Knows no registry.

use crate::download::Making;
use crate::error::{Act, Result};
use crate::image::LayerBlob;
use crate::layer::Layers;
use crate::record::Durability;
use crate::store::Lease;
use model::Digest;
use serde::{Deserialize, Serialize};
use wire::oci::image::media;

/// Table of forms that were made: `<diff id in hex>/<form>` to [`Made`].
const TABLE: &str = "store.forms";
/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// How the bytes of a layer are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// gzip (RFC 1952).
    #[default]
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
    /// Not at all.
    Plain,
}

/// A form that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// How layers that have no form yet are compressed.
    pub compression: Compression,
    /// At which level; `None` is the form's usual one.
    pub level: Option<i32>,
    /// Also layers that are here in another form.
    pub force: bool,
}

/// A form that was made, as it is remembered.
#[derive(Serialize, Deserialize)]
struct Made {
    digest: String,
    bytes: u64,
}

impl Compression {
    /// The media type of a layer in this form.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => media::OCI_LAYER_GZIP,
            Self::Zstd => media::OCI_LAYER_ZSTD,
            Self::Plain => media::OCI_LAYER,
        }
    }

    /// How a layer of this media type is compressed.
    pub fn of(media_type: &str) -> Self {
        match media_type {
            zstd if zstd.ends_with("+zstd") => Self::Zstd,
            gzip if gzip.ends_with("gzip") => Self::Gzip,
            _ => Self::Plain,
        }
    }
}

impl Layers {
    /// The layer as it was last packed so, whether or not those bytes are still here.
    pub fn known_form(&self, diff_id: Digest, packing: Packing) -> Result<Option<LayerBlob>> {
        if let Some(form) = self.store.images().packed(diff_id)?
            && (!packing.force || Compression::of(&form.media_type) == packing.compression)
        {
            return Ok(Some(form));
        }
        let Some(bytes) = self.store.records().get(TABLE, &key(diff_id, packing))? else {
            return Ok(None);
        };
        let Ok(made) = serde_json::from_slice::<Made>(&bytes) else { return Ok(None) };
        let Ok(digest) = Digest::parse(&made.digest) else { return Ok(None) };
        let media_type = packing.compression.media_type().to_owned();
        Ok(Some(LayerBlob { digest, media_type, size: made.bytes }))
    }

    /// The layer in a form it travels in: one that is here already, unless `packing` insists, or
    /// one that is made now. Its bytes are here while the lease lasts.
    pub fn pack_as(&self, lease: &Lease, diff_id: Digest, packing: Packing) -> Result<LayerBlob> {
        if let Some(form) = self.known_form(diff_id, packing)? {
            lease.pin(form.digest);
            if self.store.blobs().contains(form.digest)? {
                return Ok(form);
            }
        }
        let act = || format!("pack layer {diff_id}");
        let (digest, size) = match packing.compression {
            Compression::Gzip => self.gzip(lease, diff_id, packing.level)?,
            Compression::Zstd => {
                let blob = Making::begin(&self.store)?;
                let level = packing.level.unwrap_or(ZSTD_LEVEL);
                let mut out = zstd::Encoder::new(blob, level).act(act)?;
                self.write_tar(diff_id, &mut out)?;
                out.finish().act(act)?.publish(lease)?
            }
            Compression::Plain => {
                let mut blob = Making::begin(&self.store)?;
                self.write_tar(diff_id, &mut blob)?;
                blob.publish(lease)?
            }
        };
        let made = Made { digest: digest.to_string(), bytes: size };
        let made = serde_json::to_vec(&made)
            .map_err(|error| crate::Error::Damaged(format!("describe a form: {error}")))?;
        self.store.records().put(TABLE, &key(diff_id, packing), &made, Durability::Relaxed)?;
        let media_type = packing.compression.media_type().to_owned();
        Ok(LayerBlob { digest, media_type, size })
    }
}

fn key(diff_id: Digest, packing: Packing) -> String {
    let form = match packing.compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Plain => "plain",
    };
    let level = packing.level.map(|level| level.to_string()).unwrap_or_default();
    format!("{}/{form}{level}", diff_id.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerOptions, Options, Store};
    use std::io::Read;

    #[test]
    fn every_form_holds_the_same_layer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let lease = store.lease();
        let work = store.work(&[]).unwrap();
        drop(work.root().unwrap());
        let options = LayerOptions { keep_empty: true, ..LayerOptions::default() };
        let layer = work.commit(&lease, options).unwrap().unwrap();
        for compression in [Compression::Gzip, Compression::Zstd, Compression::Plain] {
            let packing = Packing { compression, level: None, force: true };
            let blob = store.layers().pack_as(&lease, layer.diff_id, packing).unwrap();
            let (file, size) = store.blobs().open(blob.digest).unwrap().unwrap();
            assert_eq!((blob.size, Compression::of(&blob.media_type)), (size, compression));
            let mut plain = Vec::new();
            crate::plain(file).unwrap().read_to_end(&mut plain).unwrap();
            assert_eq!(crate::blob::digest(&plain), layer.diff_id);
            let known = store.layers().known_form(layer.diff_id, packing).unwrap();
            assert_eq!(known, Some(blob));
        }
    }
}
