//! Reading the caches of others, and fetching what is needed of them. A cache that cannot be read
//! is told, and only costs time.

use super::document::{self, CacheConfig, INLINE, MEDIA_TYPE, Record};
use crate::client::Content;
use crate::error::{Error, Result};
use crate::layout::{self, Layout};
use crate::platform::Platform;
use crate::remote;
use crate::request::{CacheSource, LayoutPick};
use crate::solve::{Act, Build, blocking};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use model::{Digest, ImageRef};
use registry::WantedLayer;
use registry::client::manifest::Kind;
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::image::LayerBlob;
use wire::oci::image::{Descriptor, ImageConfig, Index, Manifest, media};

/// What the caches of others hold, for one build.
#[derive(Default)]
pub(crate) struct Imports {
    found: Mutex<Found>,
    /// Held while layers come in, so that each comes once.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Found {
    /// Some cache was asked for and answered.
    any: bool,
    steps: HashMap<Digest, Vec<Digest>>,
    layers: HashMap<Digest, (WantedLayer, Origin)>,
}

/// Where a layer can be had.
#[derive(Clone)]
enum Origin {
    Registry(ImageRef),
    Layout(Arc<dyn Layout>),
    /// In this node's store.
    Here,
}

impl Imports {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        !self.lock().any
    }

    /// The layers of a step's result.
    pub(crate) fn find(&self, key: Digest) -> Option<Vec<Digest>> {
        self.lock().steps.get(&key).cloned()
    }

    /// A layer in the form in which a cache has it.
    pub(crate) fn form(&self, diff_id: Digest) -> Option<LayerBlob> {
        let found = self.lock();
        let (layer, origin) = found.layers.get(&diff_id)?;
        (!matches!(origin, Origin::Here)).then(|| layer.blob.clone())
    }

    fn take(&self, steps: HashMap<Digest, Vec<WantedLayer>>, origin: &Origin) {
        let mut found = self.lock();
        found.any = true;
        for (key, layers) in steps {
            let ids = layers.iter().map(|layer| layer.diff_id).collect();
            found.steps.entry(key).or_insert(ids);
            for layer in layers {
                let entry = (layer, origin.clone());
                found.layers.entry(entry.0.diff_id).or_insert(entry);
            }
        }
    }
}

/// Reads the caches that a build may take from.
pub(crate) async fn import(build: &Arc<Build>, sources: Vec<CacheSource>, platforms: &[Platform]) {
    for source in sources {
        let name = match &source {
            CacheSource::Registry(name) | CacheSource::Here(name) => {
                format!("importing cache manifest from {name}")
            }
            CacheSource::Local { store, .. } => {
                format!("importing cache manifest from local:{store}")
            }
        };
        let act = Act::begin(build, &name);
        let done = match source {
            CacheSource::Registry(name) => of_name(build, &name, platforms).await,
            CacheSource::Here(name) => of_allowed_here(build, &name).await,
            CacheSource::Local { store, pick } => of_layout(build, &store, &pick).await,
        };
        if let Err(error) = act.end(done) {
            tracing::debug!(%error, "a cache is left out");
        }
    }
}

/// An image of this node's with an inline cache, else whatever a registry has under the name.
async fn of_name(build: &Arc<Build>, name: &str, platforms: &[Platform]) -> Result<()> {
    let reference = ImageRef::parse(name)?.or_latest();
    build.allow(&reference)?;
    if of_name_here(build, name).await? {
        return Ok(());
    }
    let credentials = remote::credentials(&*build.client, reference.host()).await?;
    let client = build.inner.worker.registry();
    let wanted = platforms.to_vec();
    let asked = reference.clone();
    let documents = remote::drive(move || async move {
        let mut parts = Vec::new();
        let top = client.look(&asked, credentials.clone()).await?;
        let mut manifests = Vec::new();
        match top.document.kind {
            Kind::Manifest(manifest) => manifests.push(*manifest),
            Kind::Index(index) => match cache_entry(&index) {
                Some(entry) => manifests.push(as_manifest(&index, entry)),
                None => {
                    for entry in chosen(&index, &wanted) {
                        let (host, path) = (asked.host(), asked.path());
                        let by_digest = format!("{host}/{path}@{}", entry.digest);
                        let by_digest = ImageRef::parse(&by_digest)?;
                        let inner = client.look(&by_digest, credentials.clone()).await?;
                        if let Kind::Manifest(manifest) = inner.document.kind {
                            manifests.push(*manifest);
                        }
                    }
                }
            },
        }
        for manifest in manifests {
            let digest = Digest::parse(&manifest.config.digest)?;
            let size = manifest.config.size;
            let config = client.blob(&asked, (digest, size), credentials.clone()).await?;
            parts.push((manifest, config));
        }
        Ok(parts)
    })
    .await?;
    for (manifest, config) in documents {
        let steps = read(&manifest, &config)?;
        build.imports.take(steps, &Origin::Registry(reference.clone()));
    }
    Ok(())
}

async fn of_allowed_here(build: &Arc<Build>, name: &str) -> Result<()> {
    build.allow(&ImageRef::parse(name)?)?;
    of_name_here(build, name).await.map(drop)
}

/// An image of this node's, if it has an inline cache.
async fn of_name_here(build: &Arc<Build>, name: &str) -> Result<bool> {
    let looking = Arc::clone(build);
    let query = ImageRef::parse(name)?.or_latest().to_string();
    let here = blocking(move || Ok(of_image_here(&looking, &query))).await?;
    let found = here.is_some();
    if let Some(steps) = here {
        build.imports.take(steps, &Origin::Here);
    }
    Ok(found)
}

/// The entry of an index that is the document of a cache.
fn cache_entry(index: &Index) -> Option<&Descriptor> {
    index.manifests.iter().find(|entry| entry.media_type == MEDIA_TYPE)
}

/// A cache that is written as an index, as if it were a manifest.
fn as_manifest(index: &Index, config: &Descriptor) -> Manifest {
    let layers = index.manifests.iter().filter(|entry| entry.media_type != MEDIA_TYPE);
    Manifest { config: config.clone(), layers: layers.cloned().collect(), ..Manifest::default() }
}

fn chosen<'a>(index: &'a Index, wanted: &[Platform]) -> Vec<&'a Descriptor> {
    let serves = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|own| {
            let variant = own.variant.as_deref().unwrap_or_default();
            let own = Platform::new(&own.os, &own.architecture, variant);
            wanted.iter().any(|wanted| own.serves(wanted))
        })
    };
    index.manifests.iter().filter(serves).collect()
}

/// Reads what a manifest's configuration says: the document of a cache, or an image's.
fn read(manifest: &Manifest, config: &[u8]) -> Result<HashMap<Digest, Vec<WantedLayer>>> {
    let bad = |error: serde_json::Error| Error::invalid(format!("read a cache: {error}"));
    if manifest.config.media_type == MEDIA_TYPE {
        return Ok(document::read(&serde_json::from_slice::<CacheConfig>(config).map_err(bad)?));
    }
    let config: ImageConfig = serde_json::from_slice(config).map_err(bad)?;
    let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(|(layer, diff_id)| {
        Ok(WantedLayer {
            blob: LayerBlob {
                digest: Digest::parse(&layer.digest)?,
                media_type: layer.media_type.clone(),
                size: layer.size,
            },
            diff_id: Digest::parse(diff_id)?,
        })
    });
    let layers: Vec<WantedLayer> = layers.collect::<Result<_>>()?;
    Ok(document::read_inline(inline(&config)?, &layers))
}

/// The records in an image's configuration; none if it has no cache.
fn inline(config: &ImageConfig) -> Result<Vec<Record>> {
    let Some(text) = config.extra.get(INLINE).and_then(serde_json::Value::as_str) else {
        return Err(Error::not_found("the image has no inline cache"));
    };
    let json = STANDARD
        .decode(text)
        .map_err(|error| Error::invalid(format!("read an inline cache: {error}")))?;
    serde_json::from_slice(&json)
        .map_err(|error| Error::invalid(format!("read an inline cache: {error}")))
}

/// The inline cache of an image that is here. Blocking.
fn of_image_here(build: &Build, query: &str) -> Option<HashMap<Digest, Vec<WantedLayer>>> {
    let image = build.inner.store.images().resolve(query).ok()?;
    let records = inline(&image.config).ok()?;
    image.diff_ids.iter().for_each(|layer| build.lease.pin(*layer));
    let layer = |diff_id: &Digest| WantedLayer {
        blob: LayerBlob { digest: *diff_id, media_type: media::OCI_LAYER.to_owned(), size: 0 },
        diff_id: *diff_id,
    };
    let layers: Vec<WantedLayer> = image.diff_ids.iter().map(layer).collect();
    Some(document::read_inline(records, &layers))
}

async fn of_layout(build: &Arc<Build>, store: &str, pick: &LayoutPick) -> Result<()> {
    let layout = build.client.layout(&format!("cache:{store}")).await?;
    let digest = match pick {
        LayoutPick::Digest(digest) => *digest,
        LayoutPick::Tag(tag) => {
            let index = layout.index().await?.ok_or_else(|| {
                Error::not_found(format!("could not read {store}/index.json: no such file"))
            })?;
            let index: Index = serde_json::from_slice(&index)
                .map_err(|error| Error::invalid(format!("{store}/index.json: {error}")))?;
            layout::tagged(&index, tag)
                .ok_or_else(|| Error::not_found(format!("{store}: no cache with tag {tag:?}")))?
        }
    };
    let bytes = layout::document(&*layout, digest).await?;
    let document = registry::client::manifest::read(bytes, None, Some(digest));
    let manifest = match document.map_err(remote::failed)?.kind {
        Kind::Manifest(manifest) => *manifest,
        Kind::Index(index) => {
            let entry = cache_entry(&index)
                .ok_or_else(|| Error::invalid(format!("{store}: {digest} is no cache")))?;
            as_manifest(&index, entry)
        }
    };
    let config = layout::document(&*layout, Digest::parse(&manifest.config.digest)?).await?;
    build.imports.take(read(&manifest, &config)?, &Origin::Layout(layout));
    Ok(())
}

impl Build {
    /// Sees to it that layers are here that a cache of others has.
    pub(crate) async fn fetch(self: &Arc<Self>, layers: &[Digest]) -> Result<()> {
        if self.imports.is_empty() || layers.is_empty() {
            return Ok(());
        }
        let _one = self.imports.fetching.lock().await;
        let (looking, all) = (Arc::clone(self), layers.to_vec());
        let missing: Vec<Digest> = blocking(move || {
            all.iter().for_each(|layer| looking.lease.pin(*layer));
            let store = looking.inner.store.layers();
            let mut missing = Vec::new();
            for layer in all {
                if store.find(layer)?.is_none() {
                    missing.push(layer);
                }
            }
            Ok(missing)
        })
        .await?;
        let mut of_registries: HashMap<String, (ImageRef, Vec<WantedLayer>)> = HashMap::new();
        for diff_id in missing {
            let known = self.imports.lock().layers.get(&diff_id).cloned();
            match known {
                Some((layer, Origin::Registry(name))) => {
                    let entry = of_registries.entry(name.to_string());
                    entry.or_insert_with(|| (name, Vec::new())).1.push(layer);
                }
                Some((layer, Origin::Layout(layout))) => {
                    from_layout(self, &*layout, &layer).await?;
                }
                Some((_, Origin::Here)) | None => {
                    return Err(Error::not_found(format!("no layer {diff_id}")));
                }
            }
        }
        for (name, layers) in of_registries.into_values() {
            let credentials = remote::credentials(&*self.client, name.host()).await?;
            let (client, lease) = (self.inner.worker.registry(), Arc::clone(&self.lease));
            remote::drive(move || async move {
                let how = (credentials, remote::quiet());
                client.take_layers(&name, &layers, lease, how).await
            })
            .await?;
        }
        Ok(())
    }
}

/// Takes one layer of a layout in; its content is verified.
pub(crate) async fn from_layout(
    build: &Arc<Build>,
    layout: &dyn Layout,
    layer: &WantedLayer,
) -> Result<()> {
    let content = layout.read(layer.blob.digest).await?;
    let (build, diff_id) = (Arc::clone(build), layer.diff_id);
    blocking(move || {
        let mut reader = Reader { content, piece: Bytes::new() };
        let layers = build.inner.store.layers();
        layers.apply(&build.lease, &mut reader, Some(diff_id))?;
        Ok(())
    })
    .await
}

/// Content for those who read.
struct Reader {
    content: Content,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.content.blocking_recv() {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
