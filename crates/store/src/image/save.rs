//! `save`: images as one archive that is both a docker-archive and an OCI layout, as Docker 25 and
//! newer write it. The bytes depend only on the images: saving twice gives the same archive.
//!
//! ```text
//! blobs/sha256/<hex>   layers (plain tar), configurations, manifests
//! index.json manifest.json oci-layout repositories
//! ```

use super::{ImageRecord, Images};
use crate::error::{Act, Error, Result};
use crate::tar::writer::TarWriter;
use crate::tar::{Entry, Kind};
use model::{Digest, ImageRef};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use wire::oci::image::{
    ArchiveManifest, Descriptor, Index, Manifest, OCI_LAYOUT, Platform, Repositories, annotation,
    media,
};

const STREAM_BUFFER: usize = 256 << 10;

/// An image and the names it is saved under.
struct Chosen {
    image: Arc<ImageRecord>,
    names: BTreeSet<ImageRef>,
}

impl Images {
    /// Writes images by name, repository (all its tags) or id.
    pub fn save(&self, queries: &[String], writer: &mut dyn Write) -> Result<()> {
        self.write_archive(&self.choose(queries)?, writer)
    }

    /// Writes one image under names that need not be its own here.
    pub fn save_as(
        &self,
        id: model::ImageId,
        names: &[ImageRef],
        writer: &mut dyn Write,
    ) -> Result<()> {
        let names = names.iter().map(|name| name.clone().or_latest()).collect();
        self.write_archive(&[Chosen { image: self.record(id)?, names }], writer)
    }

    fn write_archive(&self, chosen: &[Chosen], writer: &mut dyn Write) -> Result<()> {
        // The layers must stay while they are written.
        let lease = self.store.lease();
        for image in chosen {
            image.image.diff_ids.iter().chain([&image.image.id]).for_each(|id| lease.pin(*id));
        }
        let out = BufWriter::with_capacity(STREAM_BUFFER, writer);
        let mut save = Save { images: self, tar: TarWriter::new(out), written: BTreeSet::new() };
        save.dir("blobs")?;
        save.dir("blobs/sha256")?;
        let mut index = Index {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.into()),
            ..Index::default()
        };
        let mut archive = Vec::new();
        let mut repositories = Repositories::new();
        for image in chosen {
            let manifest = save.image(image)?;
            index.manifests.extend(index_entries(image, &manifest));
            archive.push(save.archive_manifest(image)?);
            for name in &image.names {
                let top = image.image.diff_ids.last().map(Digest::hex).unwrap_or_default();
                let tags = repositories.entry(name.familiar_name()).or_default();
                tags.insert(name.tag().unwrap_or_default().to_owned(), top);
            }
        }
        save.file("index.json", &json(&index)?)?;
        save.file("manifest.json", &json(&archive)?)?;
        save.file("oci-layout", OCI_LAYOUT.as_bytes())?;
        if !repositories.is_empty() {
            save.file("repositories", &json(&repositories)?)?;
        }
        save.tar.finish()?;
        Ok(())
    }

    fn choose(&self, queries: &[String]) -> Result<Vec<Chosen>> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for query in queries {
            for (image, name) in self.matching(query)? {
                let known = chosen.iter_mut().find(|chosen| chosen.image.id == image.id);
                let entry = match known {
                    Some(known) => known,
                    None => {
                        chosen.push(Chosen { image, names: BTreeSet::new() });
                        chosen.last_mut().ok_or_else(|| Error::Damaged("no image".into()))?
                    }
                };
                entry.names.extend(name);
            }
        }
        Ok(chosen)
    }

    /// What a query chooses: a repository without tag means all its tags.
    fn matching(&self, query: &str) -> Result<Vec<(Arc<ImageRecord>, Option<ImageRef>)>> {
        if let Ok(name) = ImageRef::parse(query)
            && name.digest().is_none()
        {
            let mut found = Vec::new();
            for image in self.list()? {
                for other in &image.refs {
                    let same = other.host() == name.host() && other.path() == name.path();
                    if same && name.tag().is_none_or(|tag| other.tag() == Some(tag)) {
                        found.push((Arc::clone(&image), Some(other.clone())));
                    }
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(vec![(self.resolve(query)?, None)])
    }
}

struct Save<'a, W> {
    images: &'a Images,
    tar: TarWriter<W>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Save<'_, W> {
    /// Writes an image's layers, configuration and manifest; gives the manifest's descriptor.
    fn image(&mut self, chosen: &Chosen) -> Result<Descriptor> {
        let layers = self.layers(&chosen.image)?;
        let config = self.images.store.blob(chosen.image.id)?;
        self.blob(&config)?;
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.into()),
            config: describe(media::OCI_CONFIG, chosen.image.id, config.len() as u64),
            layers,
            ..Manifest::default()
        })?;
        let digest = self.blob(&manifest)?;
        Ok(describe(media::OCI_MANIFEST, digest, manifest.len() as u64))
    }

    fn layers(&mut self, image: &ImageRecord) -> Result<Vec<Descriptor>> {
        let mut descriptors = Vec::new();
        for diff_id in &image.diff_ids {
            let layers = self.images.store.layers();
            let layer = layers
                .find(*diff_id)?
                .ok_or_else(|| Error::Damaged(format!("layer {diff_id} is gone")))?;
            descriptors.push(describe(media::OCI_LAYER, *diff_id, layer.tar_size));
            if self.written.insert(*diff_id) {
                let path = blob_path(*diff_id);
                let plain = Entry::plain(path.as_bytes(), Kind::File, 0o644);
                self.tar.header(&Entry { size: layer.tar_size, ..plain })?;
                layers.write_tar(*diff_id, self.tar.sink())?;
                self.tar.pad(layer.tar_size)?;
            }
        }
        Ok(descriptors)
    }

    fn archive_manifest(&self, chosen: &Chosen) -> Result<ArchiveManifest> {
        let mut sources = BTreeMap::new();
        for diff_id in &chosen.image.diff_ids {
            let size = self.images.store.layers().find(*diff_id)?.map_or(0, |l| l.tar_size);
            sources.insert(diff_id.to_string(), describe(media::OCI_LAYER, *diff_id, size));
        }
        let names: Vec<String> = chosen.names.iter().map(ImageRef::familiar).collect();
        Ok(ArchiveManifest {
            config: blob_path(chosen.image.id),
            repo_tags: (!names.is_empty()).then_some(names),
            layers: chosen.image.diff_ids.iter().map(|id| blob_path(*id)).collect(),
            layer_sources: Some(sources),
        })
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<Digest> {
        let digest = crate::blob::digest(bytes);
        if self.written.insert(digest) {
            self.file(&blob_path(digest), bytes)?;
        }
        Ok(digest)
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let plain = Entry::plain(path.as_bytes(), Kind::File, 0o644);
        self.tar.header(&Entry { size: bytes.len() as u64, ..plain })?;
        self.tar.sink().write_all(bytes).act(|| "write archive".into())?;
        self.tar.pad(bytes.len() as u64)
    }

    fn dir(&mut self, path: &str) -> Result<()> {
        self.tar.node(&Entry::plain(format!("{path}/").as_bytes(), Kind::Dir, 0o755))
    }
}

/// One entry per name, or one without a name.
fn index_entries(chosen: &Chosen, manifest: &Descriptor) -> Vec<Descriptor> {
    let config = &chosen.image.config;
    let platform = Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        variant: config.variant.clone(),
        os_version: config.os_version.clone(),
        os_features: config.os_features.clone(),
    };
    let plain = Descriptor { platform: Some(platform), ..manifest.clone() };
    if chosen.names.is_empty() {
        return vec![plain];
    }
    let named = |name: &ImageRef| {
        let tag = name.tag().unwrap_or_default().to_owned();
        let annotations = BTreeMap::from([
            (annotation::IMAGE_NAME.to_owned(), name.to_string()),
            (annotation::REF_NAME.to_owned(), tag),
        ]);
        Descriptor { annotations, ..plain.clone() }
    };
    chosen.names.iter().map(named).collect()
}

fn describe(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let (media_type, digest) = (media_type.to_owned(), digest.to_string());
    Descriptor { media_type, digest, size, ..Descriptor::default() }
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Damaged(error.to_string()))
}
