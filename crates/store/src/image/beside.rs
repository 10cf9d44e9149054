//! What lies beside an image: documents that an index holds about it (a builder's attestations),
//! kept with all they name and gone with the image. What they say is for others to read.

use super::{ImageRecord, Images, index, remote};
use crate::blob::MAX_DOCUMENT_BYTES;
use crate::error::{Error, Result};
use crate::record::{Batch, Durability};
use crate::store::{Lease, lock};
use model::{Digest, ImageId};
use wire::oci::image::{Descriptor, Manifest};

/// The annotation by which an entry of an index says which other entry it is about.
pub const ABOUT: &str = "vnd.docker.reference.digest";
/// The most documents beside one image.
const MAX_BESIDE: usize = 512;

/// A manifest that is no image, and the documents it names, all here.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// The manifest as it came.
    pub bytes: Vec<u8>,
    /// Its configuration and its layers.
    pub parts: Vec<Descriptor>,
}

impl Images {
    /// Keeps documents as long as an image; they are in the store under the same lease.
    pub fn keep_beside(&self, lease: &Lease, id: ImageId, documents: &[Digest]) -> Result<()> {
        documents.iter().for_each(|digest| lease.pin(*digest));
        let _change = lock(&self.store.inner.index_change);
        let record = self.record(id)?;
        let mut beside = record.beside.clone();
        let new = documents.iter().filter(|digest| !record.beside.contains(digest));
        beside.extend(new.copied());
        if beside.len() == record.beside.len() {
            return Ok(());
        }
        if beside.len() > MAX_BESIDE {
            return Err(Error::bad(format!("image {id}: more than {MAX_BESIDE} documents")));
        }
        let mut changed: ImageRecord = (*record).clone();
        changed.beside = beside;
        let batch = index::put_image(Batch::new(), id, &remote::stored(&changed))?;
        sys::failpoint::hit("store.image.beside");
        self.store.records().commit(batch, Durability::Immediate)?;
        self.change(|index| index.keep(id, changed.beside));
        Ok(())
    }

    /// A manifest that is no image, if it and all it names are here.
    pub fn beside(&self, digest: Digest) -> Result<Option<Beside>> {
        let blobs = self.store.blobs();
        let Some(bytes) = blobs.document(digest)? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(None) };
        let parts = [vec![manifest.config], manifest.layers].concat();
        for part in &parts {
            let known = Digest::parse(&part.digest)?;
            if part.size > MAX_DOCUMENT_BYTES || !blobs.contains(known)? {
                return Ok(None);
            }
        }
        Ok(Some(Beside { bytes, parts }))
    }
}
