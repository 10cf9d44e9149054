//! `save`: images as one archive that is both a docker-archive and an OCI layout, as Docker 25 and
//! newer write it. The bytes depend only on the images: saving twice gives the same archive.
//!
//! ```text
//! blobs/sha256/<hex>   layers (plain tar), configurations, manifests
//! index.json manifest.json oci-layout repositories
//! ```

use super::{ImageRecord, Images, Member, Whole};
use crate::error::{Act, Error, Result};
use crate::tar::writer::TarWriter;
use crate::tar::{Entry, Kind};
use model::{Digest, ImageRef};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use wire::oci::image::{
    ArchiveManifest, Descriptor, Index, OCI_LAYOUT, Platform, Repositories, annotation, media,
};

const STREAM_BUFFER: usize = 256 << 10;

/// Chooses among an image and its siblings for other platforms.
pub type Pick = Box<dyn Fn(&[Arc<ImageRecord>]) -> Result<Arc<ImageRecord>> + Send>;

/// What is saved of images.
#[derive(Default)]
pub struct SaveOptions {
    /// One platform's image alone, instead of everything that is here.
    pub pick: Option<Pick>,
    /// Images whose layers the other side has: they are left out.
    pub since: Vec<String>,
}

impl std::fmt::Debug for SaveOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaveOptions").field("since", &self.since).finish_non_exhaustive()
    }
}

/// An image and the names it is saved under.
struct Chosen {
    image: Arc<ImageRecord>,
    names: BTreeSet<ImageRef>,
    /// The index whose images are all saved.
    whole: Option<Whole>,
    /// Whether its layers are here as they came, so that the index goes out as it is.
    as_it_came: bool,
}

impl Images {
    /// Writes images by name, repository (all its tags) or id.
    pub fn save(
        &self,
        queries: &[String],
        options: &SaveOptions,
        writer: &mut dyn Write,
    ) -> Result<()> {
        let mut chosen = self.choose(queries)?;
        for chosen in &mut chosen {
            match &options.pick {
                Some(pick) => chosen.image = pick(&self.siblings(&chosen.image))?,
                None => (chosen.whole, chosen.as_it_came) = self.complete(&chosen.image)?,
            }
        }
        let mut omitted = BTreeSet::new();
        for query in &options.since {
            omitted.extend(&self.resolve(query)?.diff_ids);
        }
        self.write_archive(&chosen, omitted, writer)
    }

    /// The index of an image, when several of its images are here or something is said about the
    /// one, and whether all their layers are here as they came.
    fn complete(&self, image: &ImageRecord) -> Result<(Option<Whole>, bool)> {
        let whole = self.whole(image)?;
        let several = whole.as_ref().is_some_and(|whole| whole.images().len() > 1);
        if !several && image.beside.is_empty() {
            return Ok((None, false));
        }
        for source in whole.iter().flat_map(|whole| &whole.members).filter_map(Member::manifest) {
            for layer in &source.layers {
                if !self.store.blobs().contains(layer.digest)? {
                    // An index made anew could say nothing about images that came otherwise.
                    return Ok((whole.filter(|_| several), false));
                }
            }
        }
        let as_it_came = whole.is_some();
        Ok((whole, as_it_came))
    }

    /// Writes one image under names that need not be its own here.
    pub fn save_as(
        &self,
        id: model::ImageId,
        names: &[ImageRef],
        writer: &mut dyn Write,
    ) -> Result<()> {
        let names = names.iter().map(|name| name.clone().or_latest()).collect();
        let image = self.record(id)?;
        let chosen = Chosen { image, names, whole: None, as_it_came: false };
        self.write_archive(&[chosen], BTreeSet::new(), writer)
    }

    /// `omitted` layers are not written.
    fn write_archive(
        &self,
        chosen: &[Chosen],
        omitted: BTreeSet<Digest>,
        writer: &mut dyn Write,
    ) -> Result<()> {
        // The layers must stay while they are written.
        let lease = self.store.lease();
        for image in chosen {
            image.image.diff_ids.iter().chain([&image.image.id]).for_each(|id| lease.pin(*id));
            for member in image.whole.iter().flat_map(|whole| &whole.members) {
                if let Some(source) = member.manifest() {
                    lease.pin(source.digest);
                    source.layers.iter().for_each(|layer| lease.pin(layer.digest));
                }
                if let Some(other) = &member.image {
                    other.diff_ids.iter().chain([&other.id]).for_each(|id| lease.pin(*id));
                }
            }
        }
        let out = BufWriter::with_capacity(STREAM_BUFFER, writer);
        let mut save = Save { images: self, tar: TarWriter::new(out), written: omitted };
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
            let top = match &image.whole {
                Some(whole) if image.as_it_came => save.whole(whole)?,
                Some(whole) => save.remade(whole)?,
                None => save.image(&image.image)?,
            };
            index.manifests.extend(index_entries(image, &top));
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
                        let (names, whole) = (BTreeSet::new(), None);
                        chosen.push(Chosen { image, names, whole, as_it_came: false });
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
    fn image(&mut self, image: &ImageRecord) -> Result<Descriptor> {
        self.layers(image)?;
        let config = self.images.store.blob(image.id)?;
        self.blob(&config)?;
        let manifest = self.images.plain_manifest(image)?;
        let digest = self.blob(&manifest)?;
        Ok(describe(media::OCI_MANIFEST, digest, manifest.len() as u64))
    }

    /// Writes an index and what is here of it, all as it came; gives the index's descriptor.
    fn whole(&mut self, whole: &Whole) -> Result<Descriptor> {
        let blobs = self.images.store.blobs();
        for member in &whole.members {
            let (Some(image), Some(source)) = (&member.image, member.manifest()) else {
                self.beside(member.digest)?;
                continue;
            };
            for layer in &source.layers {
                if !self.written.insert(layer.digest) {
                    continue;
                }
                let gone = || Error::Damaged(format!("blob {} is gone", layer.digest));
                let (mut file, size) = blobs.open(layer.digest)?.ok_or_else(gone)?;
                let path = blob_path(layer.digest);
                let plain = Entry::plain(path.as_bytes(), Kind::File, 0o644);
                self.tar.file(&Entry { size, ..plain }, &mut file)?;
            }
            let config = self.images.store.blob(image.id)?;
            self.blob(&config)?;
            let manifest = self.images.store.blob(source.digest)?;
            self.blob(&manifest)?;
        }
        self.blob(&whole.bytes)?;
        Ok(describe(&whole.source.media_type, whole.source.digest, whole.source.size))
    }

    /// Writes a document about an image, if it is here.
    fn beside(&mut self, digest: Digest) -> Result<()> {
        let Some(beside) = self.images.beside(digest)? else { return Ok(()) };
        for part in &beside.parts {
            let bytes = self.images.store.blob(Digest::parse(&part.digest)?)?;
            self.blob(&bytes)?;
        }
        self.blob(&beside.bytes).map(drop)
    }

    /// Writes an index of what is here of another: its layers are here unpacked only, so manifests
    /// of plain layers take the places of those it had.
    fn remade(&mut self, whole: &Whole) -> Result<Descriptor> {
        let mut manifests = Vec::new();
        for image in whole.images() {
            let platform = Some(platform(&image));
            manifests.push(Descriptor { platform, ..self.image(&image)? });
        }
        let index = json(&Index {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.into()),
            manifests,
            ..Index::default()
        })?;
        let digest = self.blob(&index)?;
        Ok(describe(media::OCI_INDEX, digest, index.len() as u64))
    }

    fn layers(&mut self, image: &ImageRecord) -> Result<()> {
        for diff_id in &image.diff_ids {
            let layers = self.images.store.layers();
            let layer = layers
                .find(*diff_id)?
                .ok_or_else(|| Error::Damaged(format!("layer {diff_id} is gone")))?;
            if self.written.insert(*diff_id) {
                let path = blob_path(*diff_id);
                let plain = Entry::plain(path.as_bytes(), Kind::File, 0o644);
                self.tar.header(&Entry { size: layer.tar_size, ..plain })?;
                layers.write_tar(*diff_id, self.tar.sink())?;
                self.tar.pad(layer.tar_size)?;
            }
        }
        Ok(())
    }

    fn archive_manifest(&self, chosen: &Chosen) -> Result<ArchiveManifest> {
        let image = &chosen.image;
        let whole = chosen.whole.as_ref().filter(|_| chosen.as_it_came);
        let members = whole.into_iter().flat_map(|whole| &whole.members);
        let mut own = members.filter(|m| m.image.as_ref().is_some_and(|it| it.id == image.id));
        let travelling = own.find_map(Member::manifest).map(|source| source.layers.as_slice());
        let (mut sources, mut layers) = (BTreeMap::new(), Vec::new());
        for (at, diff_id) in image.diff_ids.iter().enumerate() {
            let layer = match travelling.and_then(|layers| layers.get(at)) {
                Some(layer) => describe(&layer.media_type, layer.digest, layer.size),
                None => {
                    let found = self.images.store.layers().find(*diff_id)?;
                    describe(media::OCI_LAYER, *diff_id, found.map_or(0, |layer| layer.tar_size))
                }
            };
            layers.push(blob_path(Digest::parse(&layer.digest)?));
            sources.insert(diff_id.to_string(), layer);
        }
        let names: Vec<String> = chosen.names.iter().map(ImageRef::familiar).collect();
        Ok(ArchiveManifest {
            config: blob_path(image.id),
            repo_tags: (!names.is_empty()).then_some(names),
            layers,
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
    // An index is for several.
    let platform = chosen.whole.is_none().then(|| platform(&chosen.image));
    let plain = Descriptor { platform, ..manifest.clone() };
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

fn platform(image: &ImageRecord) -> Platform {
    let config = &image.config;
    Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        variant: config.variant.clone(),
        os_version: config.os_version.clone(),
        os_features: config.os_features.clone(),
    }
}

pub(super) fn describe(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let (media_type, digest) = (media_type.to_owned(), digest.to_string());
    Descriptor { media_type, digest, size, ..Descriptor::default() }
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Damaged(error.to_string()))
}
