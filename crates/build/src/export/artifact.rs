//! The documents that make results one thing for the outside: manifests, an index around several
//! (or around one and what is said about it), and the layers packed for them.
//!
//! ```text
//! index ─┬─ manifest linux/amd64 ── configuration, layers
//!        ├─ manifest linux/arm64 ── configuration, layers
//!        └─ attestation of the first (platform unknown/unknown, subject: the first)
//! ```

use super::{Settled, as_docker, as_oci, attest, describe};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::remote;
use crate::request::{Annotation, AnnotationPlace, Form};
use crate::solve::{Build, blocking};
use model::{Digest, ImageId, ImageRef};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use store::Compression;
use store::image::LayerBlob;
use wire::oci::image::{Descriptor, Index, Manifest, Platform as WirePlatform, media};

/// Documents, and the blobs they name.
pub(super) struct Artifact {
    /// The manifest, or the index.
    pub(super) top: Descriptor,
    /// Manifests and indexes with their media types; what one names comes before it.
    pub(super) documents: Vec<(String, Vec<u8>)>,
    /// Configurations and other small blobs.
    pub(super) blobs: Vec<Vec<u8>>,
    /// Layers with their diff ids, each once.
    pub(super) layers: Vec<(LayerBlob, Digest)>,
    /// The manifests of the images, in the order of the results.
    pub(super) images: Vec<ImageManifest>,
}

/// The manifest of an image.
pub(super) struct ImageManifest {
    pub(super) image: ImageId,
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) size: u64,
    pub(super) layers: Vec<LayerBlob>,
}

impl Artifact {
    /// Writes the documents and packs the layers, except those that the repository `held` has.
    pub(super) async fn make(
        build: &Arc<Build>,
        settled: &[Settled],
        form: &Form,
        index: bool,
        held: Option<&ImageRef>,
    ) -> Result<Self> {
        let forms = pack(build, settled, form, held).await?;
        let mut own = Self {
            top: Descriptor::default(),
            documents: Vec::new(),
            blobs: Vec::new(),
            layers: Vec::new(),
            images: Vec::new(),
        };
        let mut entries = Vec::new();
        let mut about = Vec::new();
        for result in settled {
            let entry = own.image(build, result, form, &forms).await?;
            if !result.predicates.is_empty() {
                about.push(own.attestation(&entry, result)?);
            }
            entries.push(entry);
        }
        let mut seen = HashSet::new();
        own.layers.retain(|(blob, _)| seen.insert(blob.digest));
        entries.extend(about);
        own.top = match (index, entries.len()) {
            (false, 1) => entries.remove(0),
            _ => own.index(entries, form)?,
        };
        let descriptor = annotations(form, AnnotationPlace::IndexDescriptor, None);
        own.top.annotations.extend(descriptor);
        Ok(own)
    }

    async fn image(
        &mut self,
        build: &Arc<Build>,
        result: &Settled,
        form: &Form,
        forms: &HashMap<Digest, LayerBlob>,
    ) -> Result<Descriptor> {
        let image = result.image.ok_or_else(|| Error::internal("no image was made"))?;
        let store = build.inner.store.clone();
        let config = blocking(move || Ok(store.images().config_bytes(image)?)).await?;
        let layers: Option<Vec<LayerBlob>> =
            result.layers.iter().map(|layer| forms.get(layer).cloned()).collect();
        let layers = layers.ok_or_else(|| Error::internal("a layer was not packed"))?;
        let zstd = layers.iter().any(|it| Compression::of(&it.media_type) == Compression::Zstd);
        // Docker's family of media types has none for zstd.
        let docker = form.docker_types && !zstd;
        let kind = |name: &'static str| if docker { as_docker(name) } else { name }.to_owned();
        let layers: Vec<LayerBlob> = layers
            .into_iter()
            .map(|layer| {
                let oci = as_oci(&layer.media_type);
                let media_type = if docker { as_docker(oci) } else { oci }.to_owned();
                LayerBlob { media_type, ..layer }
            })
            .collect();
        let platform = &result.target.platform;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(kind(media::OCI_MANIFEST)),
            config: describe(&kind(media::OCI_CONFIG), &config),
            layers: layers.iter().map(layer_entry).collect(),
            annotations: annotations(form, AnnotationPlace::Manifest, Some(platform)),
            ..Manifest::default()
        };
        let bytes = serde_json::to_vec(&manifest).map_err(Error::internal)?;
        let mut entry = describe(&kind(media::OCI_MANIFEST), &bytes);
        entry.platform = Some(wire_platform(platform));
        entry.annotations = annotations(form, AnnotationPlace::ManifestDescriptor, Some(platform));
        self.images.push(ImageManifest {
            image,
            digest: super::digest(&bytes),
            media_type: entry.media_type.clone(),
            size: entry.size,
            layers: layers.clone(),
        });
        self.documents.push((entry.media_type.clone(), bytes));
        self.blobs.push(config);
        self.layers.extend(layers.into_iter().zip(result.layers.iter().copied()));
        Ok(entry)
    }

    fn attestation(&mut self, entry: &Descriptor, result: &Settled) -> Result<Descriptor> {
        let made = attest::manifest(entry, result)?;
        self.blobs.extend(made.blobs);
        let mut own = describe(media::OCI_MANIFEST, &made.manifest);
        let unknown = || "unknown".to_owned();
        own.platform = Some(WirePlatform {
            architecture: unknown(),
            os: unknown(),
            ..WirePlatform::default()
        });
        own.annotations = BTreeMap::from([
            ("vnd.docker.reference.digest".to_owned(), entry.digest.clone()),
            ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
        ]);
        self.documents.push((own.media_type.clone(), made.manifest));
        Ok(own)
    }

    fn index(&mut self, manifests: Vec<Descriptor>, form: &Form) -> Result<Descriptor> {
        let oci = manifests.iter().any(|entry| entry.media_type == media::OCI_MANIFEST);
        let kind = if oci { media::OCI_INDEX } else { media::DOCKER_LIST };
        let index = Index {
            schema_version: 2,
            media_type: Some(kind.to_owned()),
            manifests,
            annotations: annotations(form, AnnotationPlace::Index, None),
            ..Index::default()
        };
        let bytes = serde_json::to_vec(&index).map_err(Error::internal)?;
        let entry = describe(kind, &bytes);
        self.documents.push((kind.to_owned(), bytes));
        Ok(entry)
    }
}

fn layer_entry(layer: &LayerBlob) -> Descriptor {
    Descriptor {
        media_type: layer.media_type.clone(),
        digest: layer.digest.to_string(),
        size: layer.size,
        ..Descriptor::default()
    }
}

/// A platform as documents have it.
pub(super) fn wire_platform(platform: &Platform) -> WirePlatform {
    WirePlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: Some(platform.variant.clone()).filter(|variant| !variant.is_empty()),
        ..WirePlatform::default()
    }
}

fn annotations(
    form: &Form,
    place: AnnotationPlace,
    platform: Option<&Platform>,
) -> BTreeMap<String, String> {
    let fits = |it: &&Annotation| {
        it.place == place && it.platform.as_ref().is_none_or(|own| Some(own) == platform)
    };
    let pair = |it: &Annotation| (it.key.clone(), it.value.clone());
    form.annotations.iter().filter(fits).map(pair).collect()
}

/// Every layer of the results in the form it travels in.
async fn pack(
    build: &Arc<Build>,
    settled: &[Settled],
    form: &Form,
    held: Option<&ImageRef>,
) -> Result<HashMap<Digest, LayerBlob>> {
    let mut forms: HashMap<Digest, LayerBlob> = HashMap::new();
    let all: HashSet<Digest> = settled.iter().flat_map(|it| it.layers.iter().copied()).collect();
    let (looking, wanted, packing) = (Arc::clone(build), all.clone(), form.packing);
    let known: Vec<(Digest, LayerBlob)> = blocking(move || {
        let layers = looking.inner.store.layers();
        let mut known = Vec::new();
        for diff_id in wanted {
            known.extend(layers.known_form(diff_id, packing)?.map(|form| (diff_id, form)));
        }
        Ok(known)
    })
    .await?;
    if let Some(name) = held.filter(|_| !known.is_empty()) {
        forms.extend(held_by(build, name, known).await?);
    }
    let (packing_for, missing) = (Arc::clone(build), all);
    let have: HashSet<Digest> = forms.keys().copied().collect();
    let packed: Vec<(Digest, LayerBlob)> = blocking(move || {
        let layers = packing_for.inner.store.layers();
        let mut packed = Vec::new();
        for diff_id in missing.into_iter().filter(|layer| !have.contains(layer)) {
            store::failpoint::hit("build.export.pack");
            packed.push((diff_id, layers.pack_as(&packing_for.lease, diff_id, packing)?));
        }
        Ok(packed)
    })
    .await?;
    forms.extend(packed);
    Ok(forms)
}

/// Which of these a repository has.
async fn held_by(
    build: &Arc<Build>,
    name: &ImageRef,
    known: Vec<(Digest, LayerBlob)>,
) -> Result<Vec<(Digest, LayerBlob)>> {
    let credentials = remote::credentials(&*build.client, name.host()).await?;
    let (client, name) = (build.inner.worker.registry(), name.clone());
    remote::drive(move || async move {
        let digests: Vec<Digest> = known.iter().map(|(_, form)| form.digest).collect();
        let held = client.held_blobs(&name, &digests, credentials).await?;
        Ok(known.into_iter().filter(|(_, form)| held.contains(&form.digest)).collect())
    })
    .await
}
