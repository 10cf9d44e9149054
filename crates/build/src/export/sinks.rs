//! Where artifacts go: registries, OCI layouts as archives and directories, this node's store.

use super::artifact::Artifact;
use super::stream;
use crate::cache::remote::{put_blob, put_document};
use crate::error::{Error, Result};
use crate::layout;
use crate::remote;
use crate::solve::{Build, blocking};
use model::{Digest, ImageId, ImageRef};
use registry::Parcel;
use std::io::Write;
use std::sync::Arc;
use store::image::{LayoutWriter, Source};
use wire::oci::image::{Descriptor, Index, OCI_LAYOUT, annotation, media};

/// Sends an artifact under a name, or without a tag.
pub(super) async fn push(
    build: &Arc<Build>,
    artifact: &Artifact,
    (name, by_digest): (&ImageRef, bool),
) -> Result<()> {
    let credentials = remote::credentials(&*build.client, name.host()).await?;
    let parcel = Parcel {
        layers: artifact.layers.clone(),
        blobs: artifact.blobs.clone(),
        documents: artifact.documents.clone(),
    };
    let (client, name) = (build.inner.worker.registry(), name.clone());
    let send = move || async move {
        client.send((&name, by_digest), parcel, credentials, remote::quiet()).await
    };
    remote::drive(send).await.map(drop)
}

/// Keeps an artifact's documents in the store, with the images they are of; `own` is the image that
/// stands for the whole here.
pub(super) async fn keep(
    build: &Arc<Build>,
    artifact: &Artifact,
    own: Option<ImageId>,
    names: &[ImageRef],
    pushed: bool,
) -> Result<()> {
    let top = Digest::parse(&artifact.top.digest)?;
    let documents: Vec<Vec<u8>> =
        artifact.documents.iter().map(|(_, bytes)| bytes.clone()).collect();
    let manifests: Vec<(ImageId, Source)> = artifact
        .images
        .iter()
        .map(|it| {
            let (digest, size) = (it.digest, it.size);
            let media_type = it.media_type.clone();
            (it.image, Source { digest, media_type, size, layers: it.layers.clone() })
        })
        .collect();
    let index = match artifact.top.media_type.as_str() {
        media_type @ (media::OCI_INDEX | media::DOCKER_LIST) => Some(Source {
            digest: top,
            media_type: media_type.to_owned(),
            size: artifact.top.size,
            layers: Vec::new(),
        }),
        _ => None,
    };
    let (build, names) = (Arc::clone(build), names.to_vec());
    blocking(move || {
        let (images, lease) = (build.inner.store.images(), &build.lease);
        for bytes in &documents {
            build.inner.store.blobs().put_document(lease, bytes)?;
        }
        for (image, source) in manifests {
            images.add_source(lease, image, source)?;
        }
        if let (Some(image), Some(index)) = (own, index) {
            images.add_source(lease, image, index)?;
        }
        for name in names.iter().filter(|_| pushed) {
            let Some(image) = own else { continue };
            let name = format!("{}/{}@{top}", name.host(), name.path());
            images.record_digest(image, &ImageRef::parse(&name)?)?;
        }
        Ok(())
    })
    .await
}

/// The entries of a layout's index: one per name, or one without.
fn entries(artifact: &Artifact, names: &[ImageRef]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![artifact.top.clone()];
    }
    let named = |name: &ImageRef| {
        let name = name.clone().or_latest();
        let mut entry = artifact.top.clone();
        let tag = name.tag().unwrap_or_default().to_owned();
        entry.annotations.insert(annotation::IMAGE_NAME.to_owned(), name.to_string());
        entry.annotations.insert(annotation::REF_NAME.to_owned(), tag);
        entry
    };
    names.iter().map(named).collect()
}

/// An OCI layout as a tar, sent to the client.
pub(super) async fn archive(
    build: &Arc<Build>,
    number: usize,
    artifact: Artifact,
    names: &[ImageRef],
) -> Result<()> {
    let index = Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        manifests: entries(&artifact, names),
        ..Index::default()
    };
    let index = serde_json::to_vec(&index).map_err(Error::internal)?;
    let store = build.inner.store.clone();
    let content = stream::produce(move |out| write(&store, &artifact, &index, out));
    build.client.file(number, content).await
}

fn write(
    store: &store::Store,
    artifact: &Artifact,
    index: &[u8],
    out: &mut dyn Write,
) -> Result<()> {
    let mut layout = LayoutWriter::begin(out)?;
    let documents = artifact.documents.iter().map(|(_, bytes)| bytes);
    let mut small: Vec<(Digest, &Vec<u8>)> =
        documents.chain(&artifact.blobs).map(|bytes| (super::digest(bytes), bytes)).collect();
    small.sort_unstable_by_key(|(digest, _)| *digest);
    small.dedup_by_key(|(digest, _)| *digest);
    for (digest, bytes) in small {
        layout.blob(digest, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    let mut layers: Vec<Digest> = artifact.layers.iter().map(|(blob, _)| blob.digest).collect();
    layers.sort_unstable();
    for digest in layers {
        let (mut file, size) = store
            .blobs()
            .open(digest)?
            .ok_or_else(|| Error::not_found(format!("no blob {digest}")))?;
        layout.blob(digest, size, &mut file)?;
    }
    layout.file("index.json", index)?;
    layout.file("oci-layout", OCI_LAYOUT.as_bytes())?;
    layout.finish()?;
    Ok(())
}

/// An OCI layout in a directory of the client's.
pub(super) async fn directory(
    build: &Arc<Build>,
    number: usize,
    artifact: Artifact,
    names: &[ImageRef],
) -> Result<()> {
    let to = build.client.output_layout(number).await?;
    for (blob, _) in &artifact.layers {
        put_blob(build, &*to, blob).await?;
    }
    let named = entries(&artifact, names);
    let documents = artifact.documents.into_iter().map(|(_, bytes)| bytes);
    for bytes in artifact.blobs.into_iter().chain(documents) {
        put_document(&*to, bytes).await?;
    }
    // Last, so that it names nothing that is not there.
    for entry in named {
        let index = layout::with_entry(to.index().await?, entry)?;
        to.put_index(index).await?;
    }
    Ok(())
}
