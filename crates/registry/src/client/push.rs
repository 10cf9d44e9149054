//! Pushing: an image of the store to a registry. What came from a registry goes out as it came,
//! with the same digests; what was made here is packed once.

use super::blob::{self, Wanted};
use super::manifest::{self, Kind};
use super::pull::on_thread;
use super::session::Session;
use super::upload::{self, Content, Had, Outbound};
use super::{Client, Credentials, Event, Events, LayerState, Settings};
use crate::error::{Error, Result};
use hyper::Method;
use model::{Denied, Digest, ImageId, ImageRef};
use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::image::{Beside, ImageRecord, LayerBlob, Source};
use store::{Lease, Store};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use wire::oci::image::{Descriptor, Manifest, media};

/// What is pushed.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// The image.
    pub image: ImageId,
    /// Whether the index that it came in goes out whole, when everything it names is here.
    pub whole: bool,
    /// Where to, with a tag.
    pub reference: ImageRef,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

/// What a registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Under which tag.
    pub tag: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Where layers are said that can leave.
type Ready = mpsc::UnboundedSender<(LayerBlob, Digest)>;

/// What a push's tasks share.
struct Push {
    store: Store,
    session: Session,
    lease: Lease,
    events: Events,
    uploads: Semaphore,
    /// Layers that went out, or were found there, already.
    brought: Mutex<HashSet<Digest>>,
    settings: Arc<Settings>,
    credentials: Option<Credentials>,
}

/// An image in the form it is sent.
struct Parcel {
    source: Source,
    bytes: Vec<u8>,
    config: Vec<u8>,
}

/// An index and its images, in the form they are sent.
struct WholeParcel {
    source: Source,
    bytes: Vec<u8>,
    images: Vec<(Arc<ImageRecord>, Parcel)>,
    /// What it holds about them.
    beside: Vec<(Descriptor, Beside)>,
}

impl Client {
    /// Pushes an image.
    ///
    /// # Errors
    /// The registry does not take it.
    pub async fn push(&self, request: PushRequest, events: Events) -> Result<Pushed> {
        let reference = request.reference;
        let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else {
            return Err(Denied::invalid("cannot push a digest reference").into());
        };
        let at = (reference.host(), reference.path());
        let push = Arc::new(Push {
            store: self.store.clone(),
            session: Session::to_write(&self.settings, at, request.credentials.clone())?,
            settings: Arc::clone(&self.settings),
            credentials: request.credentials,
            lease: self.store.lease(),
            events,
            uploads: Semaphore::new(self.settings.max_uploads.max(1)),
            brought: Mutex::default(),
        });
        let repository = format!("{}/{}", reference.host(), reference.path());
        (push.events)(Event::Pushing { repository: repository.clone() });
        let record = self.store.images().record(request.image)?;
        let whole = if request.whole { push.whole(&record).await? } else { None };
        let source = match whole {
            Some(whole) => push.index(whole, tag).await?,
            None => {
                let parcel = push.parcel(&record).await?;
                push.image(&record, &parcel, tag).await?;
                parcel.source
            }
        };
        let (digest, size) = (source.digest, source.size);
        let name = ImageRef::parse(&format!("{repository}@{digest}"))?;
        let sharing = Arc::clone(&push);
        on_thread(move || {
            let images = sharing.store.images();
            images.add_source(&sharing.lease, record.id, source)?;
            // An image that its index holds gets no name of its own by this.
            if record.names().next().is_some() {
                images.record_digest(record.id, &name)?;
            }
            Ok(())
        })
        .await?;
        Ok(Pushed { tag: tag.to_owned(), digest, size })
    }
}

impl Push {
    /// The manifest that the image came with, when its layers can be had as it names them; else
    /// one of our own.
    async fn parcel(self: &Arc<Self>, record: &Arc<ImageRecord>) -> Result<Parcel> {
        for layer in &record.diff_ids {
            self.lease.pin(*layer);
        }
        self.lease.pin(record.id);
        for source in record.sources.iter().filter(|source| !source.is_index()) {
            self.lease.pin(source.digest);
            if let Some(parcel) = self.as_it_came(record, source).await? {
                return Ok(parcel);
            }
        }
        self.packed(record).await
    }

    /// A manifest of our own. Layers leave while further ones are packed.
    async fn packed(self: &Arc<Self>, record: &Arc<ImageRecord>) -> Result<Parcel> {
        let (ready, mut leaving) = mpsc::unbounded_channel();
        let (push, image) = (Arc::clone(self), Arc::clone(record));
        let packing = on_thread(move || push.pack(&image, &ready));
        let sending = async {
            let (mut tasks, mut seen) = (JoinSet::new(), HashSet::new());
            loop {
                tokio::select! {
                    next = leaving.recv() => match next {
                        Some((layer, diff_id)) => {
                            self.spawn(&mut tasks, &mut seen, &layer, diff_id);
                        }
                        None => return ended(tasks).await,
                    },
                    Some(done) = tasks.join_next() => finished(done)?,
                }
            }
        };
        // Who fails ends both.
        let (parcel, ()) = tokio::try_join!(packing, sending)?;
        Ok(parcel)
    }

    /// The index that an image came in, with the parcel of each of its images, when everything it
    /// names is here or in the repository already. When some of it is missing, says so.
    async fn whole(&self, record: &ImageRecord) -> Result<Option<WholeParcel>> {
        let Some(whole) = self.store.images().whole(record)? else { return Ok(None) };
        self.lease.pin(whole.source.digest);
        let (mut images, mut beside) = (Vec::new(), Vec::new());
        for member in &whole.members {
            let digest = member.digest;
            let parcel = match (&member.image, member.manifest()) {
                (Some(image), Some(source)) => {
                    self.pin(image, source);
                    self.as_it_came(image, source).await?.map(|it| (Arc::clone(image), it))
                }
                _ => None,
            };
            let about = match parcel {
                None if member.image.is_none() => self.about(digest)?,
                _ => None,
            };
            let here = parcel.is_some() || about.is_some();
            images.extend(parcel);
            beside.extend(about.map(|about| (member.descriptor.clone(), about)));
            let name = digest.to_string();
            if !here && self.session.manifest(0, &name, Some(digest)).await.is_err() {
                (self.events)(Event::Notice(format!(
                    "Not all multiplatform-content is present: {digest} of {} is missing; only \
                     this image is pushed",
                    whole.source.digest
                )));
                return Ok(None);
            }
        }
        Ok(Some(WholeParcel { source: whole.source, bytes: whole.bytes, images, beside }))
    }

    /// A document of an index that is no image, if all of it is here.
    fn about(&self, digest: Digest) -> Result<Option<Beside>> {
        self.lease.pin(digest);
        let Some(about) = self.store.images().beside(digest)? else { return Ok(None) };
        for part in &about.parts {
            self.lease.pin(Digest::parse(&part.digest)?);
        }
        Ok(Some(about))
    }

    /// Sends a document that is no image, after what it names.
    async fn beside(&self, descriptor: &Descriptor, about: &Beside) -> Result<()> {
        for part in &about.parts {
            let digest = Digest::parse(&part.digest)?;
            let bytes = self.store.blobs().document(digest)?;
            let bytes = bytes.ok_or_else(|| Error::bad(format!("blob {digest} is gone")))?;
            let (size, content) = (bytes.len() as u64, Content::Bytes(bytes.into()));
            let blob = Outbound { digest, size, content, shown: None };
            upload::bring(&self.session, &blob, &[], &self.events).await?;
        }
        put(&self.session, &descriptor.digest, &descriptor.media_type, &about.bytes).await.map(drop)
    }

    fn pin(&self, record: &ImageRecord, source: &Source) {
        record.diff_ids.iter().chain([&record.id, &source.digest]).for_each(|d| self.lease.pin(*d));
    }

    /// Sends an index after its images.
    async fn index(self: &Arc<Self>, whole: WholeParcel, tag: &str) -> Result<Source> {
        for (record, parcel) in &whole.images {
            self.image(record, parcel, &parcel.source.digest.to_string()).await?;
        }
        for (descriptor, about) in &whole.beside {
            self.beside(descriptor, about).await?;
        }
        put(&self.session, tag, &whole.source.media_type, &whole.bytes).await?;
        Ok(whole.source)
    }

    /// Sends an image's layers, configuration and manifest.
    async fn image(
        self: &Arc<Self>,
        record: &ImageRecord,
        parcel: &Parcel,
        name: &str,
    ) -> Result<()> {
        self.layers(record, &parcel.source.layers).await?;
        self.config(parcel).await?;
        self.manifest(parcel, name).await
    }

    async fn as_it_came(&self, record: &ImageRecord, source: &Source) -> Result<Option<Parcel>> {
        let Some(bytes) = self.store.blobs().document(source.digest)? else { return Ok(None) };
        let document = manifest::read(bytes, Some(&source.media_type), Some(source.digest))?;
        let Kind::Manifest(own) = &document.kind else { return Ok(None) };
        if own.config.digest != record.id.to_string() {
            return Ok(None);
        }
        for layer in &source.layers {
            self.lease.pin(layer.digest);
            let here = self.store.blobs().contains(layer.digest)?;
            if here || self.session.retry(|| upload::holds(&self.session, layer.digest)).await? {
                continue;
            }
            if !self.obtain(record, layer).await? {
                return Ok(None);
            }
        }
        let config = self.store.images().config_bytes(record.id)?;
        Ok(Some(Parcel { source: source.clone(), bytes: document.bytes, config }))
    }

    /// Gets a layer in the form it travels in from where the image came from: its content was
    /// here before, or the form was not kept. Whether that was possible.
    async fn obtain(&self, record: &ImageRecord, layer: &LayerBlob) -> Result<bool> {
        for name in &record.digests {
            let own = self.credentials.clone().filter(|_| name.host() == self.session.host);
            let at = (name.host(), name.path());
            let Ok(source) = Session::to_read(&self.settings, at, own) else { continue };
            let downloads = self.store.downloads();
            let Some(download) = downloads.begin(layer.digest, layer.size)? else { continue };
            let wanted = Wanted { digest: layer.digest, size: layer.size };
            let (first, quiet): (AtomicUsize, Events) = (AtomicUsize::new(0), Arc::new(|_| {}));
            match blob::fetch(&source, &first, &wanted, &download, &quiet).await {
                Ok(()) => {
                    download.end();
                    return on_thread(move || {
                        download.follow().drain()?;
                        download.keep()?;
                        Ok(true)
                    })
                    .await;
                }
                Err(error) => tracing::debug!(%error, %name, "a layer's origin has it no more"),
            }
        }
        Ok(false)
    }

    /// A manifest of our own, and the layers packed for it.
    fn pack(&self, record: &ImageRecord, ready: &Ready) -> Result<Parcel> {
        let mut layers: Vec<LayerBlob> = Vec::new();
        for diff_id in &record.diff_ids {
            (self.events)(Event::Layer { id: diff_id.short(), state: LayerState::Preparing });
            let layer = self.store.layers().pack(&self.lease, *diff_id)?;
            // Nobody takes it any more when a layer before it could not be sent.
            if ready.send((layer.clone(), *diff_id)).is_err() {
                return Err(Error::bad("the push has ended"));
            }
            layers.push(layer);
        }
        // One family of media types: layers of a Docker manifest that are reused here have the
        // same bytes under the other name.
        let kind = |layer: &LayerBlob| match layer.media_type.as_str() {
            media::OCI_LAYER | media::DOCKER_LAYER => media::OCI_LAYER.to_owned(),
            media::OCI_LAYER_ZSTD => media::OCI_LAYER_ZSTD.to_owned(),
            other if other.ends_with("+zstd") => media::OCI_LAYER_ZSTD.to_owned(),
            other if other.ends_with(".tar") => media::OCI_LAYER.to_owned(),
            _ => media::OCI_LAYER_GZIP.to_owned(),
        };
        let layers: Vec<LayerBlob> =
            layers.iter().map(|l| LayerBlob { media_type: kind(l), ..l.clone() }).collect();
        let config = self.store.images().config_bytes(record.id)?;
        let descriptor = |media_type: &str, digest: Digest, size| Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size,
            ..Descriptor::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: descriptor(media::OCI_CONFIG, record.id, config.len() as u64),
            layers: layers.iter().map(|l| descriptor(&l.media_type, l.digest, l.size)).collect(),
            ..Manifest::default()
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|error| Error::bad(format!("write manifest: {error}")))?;
        let digest = self.store.blobs().put_document(&self.lease, &bytes)?;
        let size = bytes.len() as u64;
        let media_type = media::OCI_MANIFEST.to_owned();
        let source = Source { digest, media_type, size, layers };
        // Known from now on: a push that fails does not pack again.
        self.store.images().add_source(&self.lease, record.id, source.clone())?;
        Ok(Parcel { source, bytes, config })
    }

    /// All layers, each once, at the same time. They are shown under their content's digest.
    async fn layers(self: &Arc<Self>, record: &ImageRecord, layers: &[LayerBlob]) -> Result<()> {
        let mut seen = lock(&self.brought).clone();
        let mut tasks = JoinSet::new();
        for (layer, diff_id) in layers.iter().zip(&record.diff_ids) {
            self.spawn(&mut tasks, &mut seen, layer, *diff_id);
        }
        ended(tasks).await
    }

    /// Sends a layer, unless that was begun.
    fn spawn(
        self: &Arc<Self>,
        tasks: &mut JoinSet<Result<()>>,
        seen: &mut HashSet<Digest>,
        layer: &LayerBlob,
        diff_id: Digest,
    ) {
        if !seen.insert(layer.digest) {
            return;
        }
        let id = diff_id.short();
        (self.events)(Event::Layer { id: id.clone(), state: LayerState::Preparing });
        let (push, layer) = (Arc::clone(self), layer.clone());
        tasks.spawn(async move {
            push.layer(&layer, id).await?;
            lock(&push.brought).insert(layer.digest);
            Ok(())
        });
    }

    async fn layer(&self, layer: &LayerBlob, id: String) -> Result<()> {
        let _permit = self.uploads.acquire().await.map_err(|_| Error::bad("closed"))?;
        let tell = |state| (self.events)(Event::Layer { id: id.clone(), state });
        let Some((file, size)) = self.store.blobs().open(layer.digest)? else {
            // The registry has it: that was asked when the manifest was chosen.
            tell(LayerState::Held);
            return Ok(());
        };
        let blob = Outbound {
            digest: layer.digest,
            size,
            content: Content::File(Arc::new(file)),
            shown: Some(id.clone()),
        };
        let others = self.store.images().repositories_with(&self.session.host, layer.digest);
        tell(match upload::bring(&self.session, &blob, &others, &self.events).await? {
            Had::Before => LayerState::Held,
            Had::Mounted(from) => LayerState::Mounted(from),
            Had::Sent => LayerState::Pushed,
        });
        Ok(())
    }

    async fn config(&self, parcel: &Parcel) -> Result<()> {
        let wanted =
            Wanted { digest: manifest::digest(&parcel.config), size: parcel.config.len() as u64 };
        let blob = Outbound {
            digest: wanted.digest,
            size: wanted.size,
            content: Content::Bytes(parcel.config.clone().into()),
            shown: None,
        };
        upload::bring(&self.session, &blob, &[], &self.events).await.map(drop)
    }

    async fn manifest(&self, parcel: &Parcel, tag: &str) -> Result<()> {
        let source = &parcel.source;
        put(&self.session, tag, &source.media_type, &parcel.bytes).await.map(drop)
    }
}

async fn ended(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = tasks.join_next().await {
        finished(done)?;
    }
    Ok(())
}

fn finished(task: std::result::Result<Result<()>, JoinError>) -> Result<()> {
    task.map_err(|error| Error::bad(format!("a layer's task ended: {error}")))?
}

/// A set of digests is whole after every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a registry did with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// It lists the document among the referrers of its subject.
    pub(super) lists_referrers: bool,
}

/// Gives a registry a document under a tag or its digest.
pub(super) async fn put(
    session: &Session,
    name: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<Taken> {
    let digest = manifest::digest(bytes).to_string();
    session
        .retry(|| async {
            let endpoint = session.endpoint(0).await?;
            let mut ask = session.ask(endpoint, Method::PUT, &format!("manifests/{name}"));
            ask.headers.push(("Content-Type", media_type.to_owned()));
            ask.body = super::body::Payload::Bytes(bytes.to_vec().into());
            let answer = session.expect(&ask, &[200, 201, 202, 204]).await?;
            let said = answer.header("docker-content-digest").map(str::to_owned);
            let lists_referrers = answer.header("oci-subject").is_some();
            answer.finish();
            match said {
                Some(said) if said.starts_with("sha256:") && said != digest => {
                    Err(Error::bad(format!("manifest: sent {digest}, the registry has {said}")))
                }
                _ => Ok(Taken { lists_referrers }),
            }
        })
        .await
}
