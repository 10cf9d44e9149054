//! Writing a build's steps where others can take them from: into a registry, or a layout of the
//! client's. Layers that are there already are not packed again.

use super::document::{self, MEDIA_TYPE, Step};
use crate::error::{Error, Result};
use crate::export::{as_docker, describe};
use crate::layout::{self, Layout};
use crate::remote;
use crate::request::{CacheForm, CacheTarget};
use crate::solve::{Act, Build, blocking};
use model::{Digest, ImageRef};
use registry::Parcel;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use store::image::LayerBlob;
use wire::oci::image::{Descriptor, Index, Manifest, annotation, media};

/// Answer under which clients find the descriptor of the cache in their layout.
const MANIFEST: &str = "cache.manifest";
/// Annotation with the digest of the plain tar, as containerd writes it.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// The steps of a build: those of the results (file systems by their layers), or all.
pub(crate) fn steps(build: &Build, results: &[Vec<Digest>], all: bool) -> Vec<Step> {
    let of_result = |layers: &[Digest]| results.iter().any(|result| result.starts_with(layers));
    let mut steps = Vec::new();
    for known in build.noted() {
        // A step with several results is no step to others.
        let [(_, tree)] = known.outputs.as_slice() else { continue };
        let Some(layers) = tree.layers().filter(|layers| !layers.is_empty()) else { continue };
        if all || of_result(layers) {
            steps.push((known.keys.clone(), layers.to_vec()));
        }
    }
    steps
}

/// Writes the caches that were asked for; gives what clients are told.
pub(crate) async fn exports(
    build: &Arc<Build>,
    targets: &[CacheTarget],
    results: &[Vec<Digest>],
) -> Result<BTreeMap<String, String>> {
    let mut answers = BTreeMap::new();
    for target in targets {
        let (title, form) = match target {
            CacheTarget::Inline => continue,
            CacheTarget::Local { form, .. } => ("exporting cache to client directory", form),
            CacheTarget::Registry { form, .. } => ("exporting cache to registry", form),
        };
        let act = Act::begin(build, title);
        let steps = steps(build, results, form.all);
        let done = match target {
            CacheTarget::Local { store, tag, form } => {
                to_layout(build, &steps, (store, tag), form).await.map(Some)
            }
            CacheTarget::Registry { name, form } => {
                to_registry(build, &steps, name, form).await.map(|()| None)
            }
            CacheTarget::Inline => Ok(None),
        };
        match act.end(done) {
            Ok(Some(descriptor)) => {
                let text = serde_json::to_string(&descriptor).map_err(Error::internal)?;
                answers.insert(MANIFEST.to_owned(), text);
            }
            Ok(None) => {}
            Err(error) if form.ignore_error => {
                tracing::debug!(%error, "a cache was not written");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// Every layer of the steps, once, base first.
fn layers(steps: &[Step]) -> Vec<Digest> {
    let mut seen = HashSet::new();
    let all = steps.iter().flat_map(|(_, layers)| layers);
    all.copied().filter(|layer| seen.insert(*layer)).collect()
}

/// The layer as it is packed, if that is known without packing it.
async fn known_form(
    build: &Arc<Build>,
    diff_id: Digest,
    form: &CacheForm,
) -> Result<Option<LayerBlob>> {
    let imported = build.imports.form(diff_id);
    if let Some(imported) = imported.filter(|_| !form.packing.force) {
        return Ok(Some(imported));
    }
    let (build, packing) = (Arc::clone(build), form.packing);
    blocking(move || Ok(build.inner.store.layers().known_form(diff_id, packing)?)).await
}

async fn packed(build: &Arc<Build>, diff_id: Digest, form: &CacheForm) -> Result<LayerBlob> {
    build.fetch(&[diff_id]).await?;
    let (build, packing) = (Arc::clone(build), form.packing);
    blocking(move || Ok(build.inner.store.layers().pack_as(&build.lease, diff_id, packing)?)).await
}

/// The documents of a cache.
struct Documents {
    config: Vec<u8>,
    media_type: String,
    manifest: Vec<u8>,
    descriptor: Descriptor,
}

fn documents(
    steps: &[Step],
    forms: &HashMap<Digest, LayerBlob>,
    form: &CacheForm,
) -> Result<Documents> {
    let document = document::write(steps, forms);
    let mut seen = HashSet::new();
    let mut descriptors = Vec::new();
    for layer in &document.layers {
        let Some(own) = layer.annotations.as_ref().filter(|_| seen.insert(&layer.blob)) else {
            continue;
        };
        let media_type = match form.docker_types {
            true => as_docker(&own.media_type).to_owned(),
            false => own.media_type.clone(),
        };
        descriptors.push(Descriptor {
            media_type,
            digest: layer.blob.clone(),
            size: own.size,
            annotations: [(UNCOMPRESSED.to_owned(), own.diff_id.clone())].into(),
            ..Descriptor::default()
        });
    }
    let config = serde_json::to_vec(&document).map_err(Error::internal)?;
    let config_entry = describe(MEDIA_TYPE, &config);
    let (media_type, manifest) = if form.image_manifest {
        let media_type = media::OCI_MANIFEST.to_owned();
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type.clone()),
            config: config_entry,
            layers: descriptors,
            ..Manifest::default()
        };
        (media_type, serde_json::to_vec(&manifest))
    } else {
        let kind = if form.docker_types { media::DOCKER_LIST } else { media::OCI_INDEX };
        descriptors.push(config_entry);
        let index = Index {
            schema_version: 2,
            media_type: Some(kind.to_owned()),
            manifests: descriptors,
            ..Index::default()
        };
        (kind.to_owned(), serde_json::to_vec(&index))
    };
    let manifest = manifest.map_err(Error::internal)?;
    let descriptor = describe(&media_type, &manifest);
    Ok(Documents { config, media_type, manifest, descriptor })
}

async fn to_registry(
    build: &Arc<Build>,
    steps: &[Step],
    name: &ImageRef,
    form: &CacheForm,
) -> Result<()> {
    build.allow(name)?;
    let credentials = remote::credentials(&*build.client, name.host()).await?;
    let mut known = HashMap::new();
    for diff_id in layers(steps) {
        known.extend(known_form(build, diff_id, form).await?.map(|blob| (diff_id, blob)));
    }
    let digests: Vec<Digest> = known.values().map(|blob| blob.digest).collect();
    let (client, at, own) = (build.inner.worker.registry(), name.clone(), credentials.clone());
    let held =
        remote::drive(move || async move { client.held_blobs(&at, &digests, own).await }).await?;
    let mut forms = HashMap::new();
    for diff_id in layers(steps) {
        let blob = match known.remove(&diff_id).filter(|blob| held.contains(&blob.digest)) {
            Some(known) => known,
            None => packed(build, diff_id, form).await?,
        };
        forms.insert(diff_id, blob);
    }
    let documents = documents(steps, &forms, form)?;
    let mut parcel = Parcel {
        layers: forms.into_iter().map(|(diff_id, blob)| (blob, diff_id)).collect(),
        blobs: vec![documents.config],
        documents: vec![(documents.media_type, documents.manifest)],
    };
    parcel.layers.sort_by_key(|(_, diff_id)| *diff_id);
    let (client, name) = (build.inner.worker.registry(), name.clone());
    let send = move || async move {
        client.send((&name, false), parcel, credentials, remote::quiet()).await
    };
    remote::drive(send).await.map(drop)
}

async fn to_layout(
    build: &Arc<Build>,
    steps: &[Step],
    (store, tag): (&str, &str),
    form: &CacheForm,
) -> Result<Descriptor> {
    let layout = build.client.layout(&format!("cache:{store}")).await?;
    let mut forms = HashMap::new();
    for diff_id in layers(steps) {
        let known = known_form(build, diff_id, form).await?;
        if let Some(known) = known
            && layout.size(known.digest).await? == Some(known.size)
        {
            forms.insert(diff_id, known);
            continue;
        }
        let blob = packed(build, diff_id, form).await?;
        put_blob(build, &*layout, &blob).await?;
        forms.insert(diff_id, blob);
    }
    let documents = documents(steps, &forms, form)?;
    for bytes in [documents.config, documents.manifest] {
        put_document(&*layout, bytes).await?;
    }
    let mut descriptor = documents.descriptor;
    descriptor.annotations.insert(annotation::REF_NAME.to_owned(), tag.to_owned());
    let index = layout::with_entry(layout.index().await?, descriptor.clone())?;
    layout.put_index(index).await?;
    Ok(descriptor)
}

/// Puts a blob of the store into a layout, unless it is there.
pub(crate) async fn put_blob(
    build: &Arc<Build>,
    layout: &dyn Layout,
    blob: &LayerBlob,
) -> Result<()> {
    if layout.size(blob.digest).await? == Some(blob.size) {
        return Ok(());
    }
    let (store, digest) = (build.inner.store.clone(), blob.digest);
    let file = blocking(move || Ok(store.blobs().open(digest)?)).await?;
    let (file, size) = file.ok_or_else(|| Error::not_found(format!("no blob {digest}")))?;
    layout.write(digest, size, layout::file_content(file)).await
}

/// Puts a document into a layout.
pub(crate) async fn put_document(layout: &dyn Layout, bytes: Vec<u8>) -> Result<()> {
    let (digest, size) = (crate::export::digest(&bytes), bytes.len() as u64);
    layout.write(digest, size, layout::content(bytes)).await
}
