//! Plugins from and to registries, and from an archive: an artifact with a configuration of its own
//! type and layers like an image's. Starts nothing and writes no record.

use super::document;
use super::record::Layer;
use crate::chunks::Source;
use crate::images::Images;
use crate::node::{Node, blocking};
use crate::streams::ByteStream;
use crate::transfer::{Caller, Credentials, Events, Pushed, told};
use crate::{EngineError, Result};
use model::{Digest, ImageRef};
use registry::client::manifest::Kind;
use registry::{Parcel, WantedLayer};
use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use store::image::LayerBlob;
use store::{Compression, Lease, Packing};
use wire::oci::image::{Descriptor, Manifest, media};
use wire::plugin::{Config, MAX_CONFIG_BYTES, MEDIA_TYPE, RootFs};

/// A plugin whose layers are here, kept by a lease.
pub(super) struct Package {
    /// What it was asked for as, whole.
    pub(super) reference: String,
    /// The configuration as it came.
    pub(super) text: Arc<[u8]>,
    pub(super) config: Arc<Config>,
    pub(super) layers: Vec<Layer>,
    pub(super) lease: Arc<Lease>,
}

/// What a registry has.
pub(super) struct Found {
    pub(super) reference: ImageRef,
    pub(super) digest: Digest,
    pub(super) text: Vec<u8>,
    pub(super) config: Config,
    pub(super) layers: Vec<WantedLayer>,
}

/// Asks a registry what a plugin is.
pub(super) async fn look(
    images: &Images,
    reference: &ImageRef,
    credentials: Option<Credentials>,
) -> Result<Found> {
    let reference = reference.clone().or_latest();
    let caller = Caller { credentials: credentials.clone(), insecure: false };
    let found = images.distribution(&reference, caller).await?;
    let refused = || {
        EngineError::invalid(format!(
            "did not find plugin config for specified reference {reference}"
        ))
    };
    let manifest = match &found.document.kind {
        Kind::Manifest(manifest) if manifest.config.media_type == MEDIA_TYPE => manifest,
        _ => return Err(refused()),
    };
    if manifest.config.size > MAX_CONFIG_BYTES as u64 {
        return Err(EngineError::invalid("invalid plugin config: it is too large"));
    }
    let wanted = (Digest::parse(&manifest.config.digest)?, manifest.config.size);
    let from = reference.clone();
    let text = images.drive(async move |client| client.blob(&from, wanted, credentials).await);
    let text = text.await.map_err(|error| told(error, &reference))?;
    let config = document::read(&text)?;
    let diff_ids = document::layers(&config)?;
    if diff_ids.len() != manifest.layers.len() {
        return Err(EngineError::invalid(
            "invalid plugin config: its layers are not those of the manifest",
        ));
    }
    let layer = |(descriptor, diff_id): (&Descriptor, Digest)| -> Result<WantedLayer> {
        let digest = Digest::parse(&descriptor.digest)?;
        let media_type = descriptor.media_type.clone();
        let blob = LayerBlob { digest, media_type, size: descriptor.size };
        Ok(WantedLayer { blob, diff_id })
    };
    let layers = manifest.layers.iter().zip(diff_ids).map(layer).collect::<Result<_>>()?;
    Ok(Found { digest: found.document.digest, reference, text, config, layers })
}

/// Takes the layers in.
pub(super) async fn take(
    images: &Images,
    found: Found,
    credentials: Option<Credentials>,
    events: Events,
) -> Result<Package> {
    let lease = Arc::new(images.node.store.lease());
    let (from, wanted, holding) =
        (found.reference.clone(), found.layers.clone(), Arc::clone(&lease));
    let taking = images.drive(async move |client| {
        client.take_layers(&from, &wanted, holding, (credentials, events)).await
    });
    taking.await.map_err(|error| told(error, &found.reference))?;
    let layers = found.layers.into_iter();
    let layers =
        layers.map(|WantedLayer { blob, diff_id }| Layer { diff_id, blob: Some(blob) }).collect();
    Ok(Package {
        reference: found.reference.to_string(),
        text: found.text.into(),
        config: Arc::new(found.config),
        layers,
        lease,
    })
}

/// Sends a plugin to the registry that its name says.
pub(super) async fn send(
    images: &Images,
    (to, text): (&ImageRef, Arc<[u8]>),
    layers: Vec<Layer>,
    credentials: Option<Credentials>,
    events: Events,
) -> Result<Pushed> {
    let lease = Arc::new(images.node.store.lease());
    let (node, holding) = (Arc::clone(&images.node), Arc::clone(&lease));
    let (parcel, size) = blocking(move || pack(&node, &holding, &text, &layers)).await?;
    let target = to.clone();
    let sending = images.drive(async move |client| {
        client.send((&target, false), parcel, credentials, events).await
    });
    let digest = sending.await.map_err(|error| told(error, to))?;
    drop(lease);
    Ok(Pushed { tag: to.tag().unwrap_or_default().to_owned(), digest, size })
}

/// The manifest and what it names, and how many bytes it has.
fn pack(node: &Node, lease: &Lease, text: &[u8], layers: &[Layer]) -> Result<(Parcel, u64)> {
    let mut blobs = Vec::new();
    for layer in layers {
        lease.pin(layer.diff_id);
        let known = layer.blob.clone().filter(|blob| {
            lease.pin(blob.digest);
            node.store.blobs().contains(blob.digest).unwrap_or(false)
        });
        let blob = match known {
            Some(blob) => blob,
            None => {
                let packing = Packing { compression: Compression::Gzip, level: None, force: true };
                let packed = node.store.layers().pack_as(lease, layer.diff_id, packing)?;
                LayerBlob { media_type: media::DOCKER_LAYER_GZIP.to_owned(), ..packed }
            }
        };
        blobs.push((blob, layer.diff_id));
    }
    let described = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_string(),
        size,
        ..Descriptor::default()
    };
    let config = node.store.blobs().put_document(lease, text)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::DOCKER_MANIFEST.to_owned()),
        config: described(MEDIA_TYPE, config, text.len() as u64),
        layers: blobs.iter().map(|(it, _)| described(&it.media_type, it.digest, it.size)).collect(),
        ..Manifest::default()
    };
    let bytes = serde_json::to_vec(&manifest).map_err(EngineError::internal)?;
    let size = bytes.len() as u64;
    let parcel = Parcel {
        layers: blobs,
        blobs: vec![text.to_vec()],
        documents: vec![(media::DOCKER_MANIFEST.to_owned(), bytes)],
    };
    Ok((parcel, size))
}

/// Makes a plugin of an archive with `config.json` and `rootfs`. Blocking.
pub(super) fn unpack(node: &Node, reference: &ImageRef, body: ByteStream) -> Result<Package> {
    let dir = node.store.temp_dir()?;
    let mut source = Source::new(body);
    let options = store::archive::WriteOptions::default();
    store::archive::write(dir.dir().as_fd(), "/", &mut source, options)?;
    source.drain();
    let mut config = read_config(dir.dir())?;
    let lease = Arc::new(node.store.lease());
    let layer = layer_of(node, &lease, dir.dir())?;
    config.rootfs =
        Some(RootFs { kind: "layers".to_owned(), diff_ids: Some(vec![layer.to_string()]) });
    let text = serde_json::to_vec(&config).map_err(EngineError::internal)?;
    Ok(Package {
        reference: reference.familiar(),
        text: text.into(),
        config: Arc::new(config),
        layers: vec![Layer { diff_id: layer, blob: None }],
        lease,
    })
}

/// `config.json` itself, wherever a link of that name may lead.
fn read_config(dir: &OwnedFd) -> Result<Config> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(dir, "config.json", flags, Mode::empty())
        .map_err(|_| EngineError::invalid("plugin archive: there is no config.json"))?;
    let mut text = Vec::new();
    File::from(file)
        .take(MAX_CONFIG_BYTES as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|source| EngineError::io("read config.json of a plugin", source))?;
    document::read(&text)
}

/// What lies in `rootfs`, as a layer.
fn layer_of(node: &Node, lease: &Lease, dir: &OwnedFd) -> Result<Digest> {
    let (mut reader, mut writer) =
        std::io::pipe().map_err(|source| EngineError::io("make a pipe", source))?;
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            let options = store::archive::ReadOptions::default();
            let out: &mut dyn Write = &mut writer;
            store::archive::read(dir.as_fd(), "/rootfs/.", options, out)
        });
        let layer = node.store.layers().apply(lease, &mut reader, None);
        // A writer whose reader failed gets a broken pipe.
        drop(reader);
        let written = written.join();
        match written {
            Ok(Err(error)) => {
                Err(EngineError::invalid(format!("plugin archive: read rootfs: {error}")))
            }
            Ok(Ok(())) => Ok(layer?.diff_id),
            Err(_) => Err(EngineError::internal("reading a plugin's rootfs was abandoned")),
        }
    })
}
