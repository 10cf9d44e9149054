//! Pulling: from a reference to an image in the store.
//!
//! ```text
//! reference ── HEAD: known already? ── document ── index? choose ── manifest ── configuration
//!    per layer:  here? ── download ─┐ at the same time, the second behind the first
//!                                   └ verify, decompress, unpack, verify
//!    all there:  image, source documents, name@digest, name:tag
//! ```
//!
//! Everything is leased until the image names it; a crash leaves garbage for the collector, and
//! downloads that the next pull takes up.

mod beside;

use super::blob::{self, Wanted};
use super::manifest::{self, Document, ImageParts, Kind, MAX_INDEX_DEPTH};
use super::session::Session;
use super::{Client, Credentials, Event, Events, LayerState, Platform, Progress};
use crate::error::{Error, Result};
use hyper::Method;
use model::{Denied, Digest, ImageId, ImageRef};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use store::download::{Download, Follow};
use store::image::{ImageRecord, LayerBlob, Source};
use store::{Lease, Store};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wire::oci::image::{ImageConfig, Platform as WirePlatform};

/// Time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Time between two looks whether somebody else's download of the same layer is done.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is pulled.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// With a tag or a digest; neither means `latest`.
    pub reference: ImageRef,
    /// For which platform; this machine's otherwise.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub id: ImageId,
    /// What the registry calls it: digest of the manifest or the index.
    pub digest: Digest,
    /// Whether anything changed here.
    pub newer: bool,
}

/// What a pull's tasks share.
struct Pull {
    store: Store,
    session: Session,
    lease: Lease,
    events: Events,
    keep: bool,
    /// The endpoint that is asked first.
    endpoint: AtomicUsize,
    downloads: Semaphore,
    unpackers: Semaphore,
}

/// What a registry says an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Digest of what the name stands for.
    pub digest: Digest,
    /// The configuration, as it came.
    pub config: Vec<u8>,
}

impl Client {
    /// The configuration of an image, without its layers. Nothing is kept.
    ///
    /// # Errors
    /// The registry does not give it, or has nothing for that platform.
    pub async fn describe(&self, request: PullRequest) -> Result<Described> {
        let reference = request.reference.clone().or_latest();
        let asked = request.platform.clone();
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let pull = self.begin(&reference, request.credentials, Arc::new(drop))?;
        let name = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or_default().to_owned(),
        };
        let top = pull.find(&name, reference.digest()).await?;
        let digest = top.digest;
        let (indexes, document) = pull.choose(top, &platform).await?;
        let Kind::Manifest(manifest) = &document.kind else {
            return Err(Error::bad("an index was chosen for a manifest"));
        };
        let bytes = pull.configuration(&manifest::image_parts(manifest)?).await?;
        let config: ImageConfig = manifest::json("image configuration", &bytes)?;
        if indexes.is_empty() {
            serves(&reference, asked.as_ref(), &config)?;
        }
        Ok(Described { digest, config: bytes })
    }

    /// Pulls an image; one that is here already costs a question.
    ///
    /// # Errors
    /// The registry does not give it, or gives something else than it promised.
    pub async fn pull(&self, request: PullRequest, events: Events) -> Result<Pulled> {
        let reference = request.reference.or_latest();
        let pull = self.begin(&reference, request.credentials, events)?;
        pull.image(&reference, request.platform).await
    }

    /// Takes layers of a repository in, without an image.
    pub(super) async fn layers_of(
        &self,
        repository: &ImageRef,
        parts: &ImageParts,
        diff_ids: &[Digest],
        (credentials, events): (Option<Credentials>, Events),
    ) -> Result<()> {
        self.begin(repository, credentials, events)?.layers(parts, diff_ids).await
    }

    fn begin(
        &self,
        reference: &ImageRef,
        credentials: Option<Credentials>,
        events: Events,
    ) -> Result<Arc<Pull>> {
        let wanted = (reference.host(), reference.path());
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let session = Session::to_read(&self.settings, wanted, credentials)?;
        let first = session.sources(0).next().unwrap_or(0);
        Ok(Arc::new(Pull {
            store: self.store.clone(),
            endpoint: AtomicUsize::new(first),
            session,
            lease: self.store.lease(),
            keep: self.settings.keep_packed,
            events,
            downloads: Semaphore::new(self.settings.max_downloads.max(1)),
            unpackers: Semaphore::new(processors.clamp(2, 8)),
        }))
    }
}

impl Pull {
    async fn image(
        self: &Arc<Self>,
        reference: &ImageRef,
        platform: Option<Platform>,
    ) -> Result<Pulled> {
        let name = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or_default().to_owned(),
        };
        let asked = platform.clone();
        let platform = platform.unwrap_or_else(Platform::host);
        if let Some(known) = self.known(reference, &platform).await {
            self.pulling(reference, &name);
            return Ok(known);
        }
        let top = self.find(&name, reference.digest()).await?;
        self.pulling(reference, &name);
        let (indexes, document) = self.choose(top.clone(), &platform).await?;
        let Kind::Manifest(manifest) = &document.kind else {
            return Err(Error::bad("an index was chosen for a manifest"));
        };
        let parts = manifest::image_parts(manifest)?;
        let bytes = self.configuration(&parts).await?;
        let config: ImageConfig = manifest::json("image configuration", &bytes)?;
        if indexes.is_empty() {
            serves(reference, asked.as_ref(), &config)?;
        }
        let diff_ids = diff_ids(&config, &parts)?;
        self.layers(&parts, &diff_ids).await?;
        let beside = self.beside(indexes.last(), document.digest).await;
        let (pull, reference, digest) = (Arc::clone(self), reference.clone(), top.digest);
        let documents = indexes.into_iter().chain([document]).collect::<Vec<_>>();
        let published = move || {
            let done = pull.publish(&reference, digest, &bytes, &documents, &parts)?;
            pull.store.images().keep_beside(&pull.lease, done.0, &beside)?;
            Ok(done)
        };
        let (id, newer) = on_thread(published).await?;
        Ok(Pulled { id, digest, newer })
    }

    fn pulling(&self, reference: &ImageRef, name: &str) {
        let shown = reference.path().to_owned();
        (self.events)(Event::Pulling { name: shown, reference: name.to_owned() });
    }

    /// Whether what the registry would give is here already. A registry that does not say is
    /// asked for the document itself.
    async fn known(&self, reference: &ImageRef, platform: &Platform) -> Option<Pulled> {
        let images = self.store.images();
        let named = images.resolve(&reference.to_string()).ok()?;
        let fits = |image: &Arc<ImageRecord>| {
            let config = &image.config;
            platform.accepts(&WirePlatform {
                os: config.os.clone(),
                architecture: config.architecture.clone(),
                variant: config.variant.clone(),
                ..WirePlatform::default()
            })
        };
        let record = images.siblings(&named).into_iter().find(fits)?;
        let digest = match reference.digest() {
            // What was asked for by content cannot have changed.
            Some(digest) => digest,
            None => self.promised(reference.tag()?).await?,
        };
        let same = |known: &ImageRef| {
            known.host() == reference.host()
                && known.path() == reference.path()
                && known.digest() == Some(digest)
        };
        let whole = named.digests.iter().any(same)
            && record.diff_ids.iter().all(|id| matches!(images_layer(&self.store, *id), Ok(true)));
        whole.then_some(Pulled { id: record.id, digest, newer: false })
    }

    /// The digest that a tag has now, if an endpoint says so without giving the document.
    async fn promised(&self, tag: &str) -> Option<Digest> {
        let endpoint = self.session.endpoint(self.session.resolver()?).await.ok()?;
        let mut ask = self.session.ask(endpoint, Method::HEAD, &format!("manifests/{tag}"));
        ask.headers.push(("Accept", manifest::ACCEPT.to_owned()));
        let answer = self.session.expect(&ask, &[200]).await.ok()?;
        let digest = Digest::parse(answer.header("docker-content-digest")?).ok()?;
        answer.finish();
        Some(digest)
    }

    /// The document that a name stands for, from the first endpoint that gives it.
    async fn find(&self, name: &str, want: Option<Digest>) -> Result<Document> {
        let (first, document) = self.session.find(name, want).await?;
        self.endpoint.store(first, std::sync::atomic::Ordering::Relaxed);
        Ok(document)
    }

    /// From an index to the manifest for a platform. Returns the indexes on the way, outermost
    /// first.
    async fn choose(
        &self,
        mut document: Document,
        platform: &Platform,
    ) -> Result<(Vec<Document>, Document)> {
        let mut indexes = Vec::new();
        while let Kind::Index(index) = &document.kind {
            if indexes.len() >= MAX_INDEX_DEPTH {
                return Err(Error::bad("indexes are nested too deep"));
            }
            let entry = platform.choose(&index.manifests).ok_or_else(|| {
                Denied::not_found(format!(
                    "no matching manifest for {platform} in the manifest list entries"
                ))
            })?;
            let digest = Digest::parse(&entry.digest)?;
            let (kind, size) = (entry.media_type.clone(), entry.size);
            let inner = self.by_digest(digest, &kind).await?;
            if inner.bytes.len() as u64 != size || inner.media_type != kind {
                return Err(Error::bad(format!("manifest {digest} is not what its index says")));
            }
            indexes.push(std::mem::replace(&mut document, inner));
        }
        Ok((indexes, document))
    }

    async fn by_digest(&self, digest: Digest, kind: &str) -> Result<Document> {
        self.lease.pin(digest);
        if let Some(bytes) = self.store.blobs().document(digest)? {
            return manifest::read(bytes, Some(kind), Some(digest));
        }
        let first = self.endpoint.load(std::sync::atomic::Ordering::Relaxed);
        let mut failure = None;
        for at in self.session.sources(first) {
            let name = digest.to_string();
            let found = self.session.retry(|| self.session.manifest(at, &name, Some(digest)));
            match found.await {
                Ok(document) => return Ok(document),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::bad("no endpoint")))
    }

    async fn configuration(&self, parts: &ImageParts) -> Result<Vec<u8>> {
        let (digest, size) = parts.config;
        self.lease.pin(digest);
        if let Some(bytes) = self.store.blobs().document(digest)? {
            return Ok(bytes);
        }
        let wanted = Wanted { digest, size };
        let first = self.endpoint.load(std::sync::atomic::Ordering::Relaxed);
        blob::from_any(&self.session, first, &wanted).await
    }

    /// All layers, each once, at the same time.
    async fn layers(self: &Arc<Self>, parts: &ImageParts, diff_ids: &[Digest]) -> Result<()> {
        let mut by_diff_id: HashMap<Digest, ()> = HashMap::new();
        let mut by_digest: HashMap<Digest, Digest> = HashMap::new();
        let mut todo = Vec::new();
        for ((digest, size, _), diff_id) in parts.layers.iter().zip(diff_ids) {
            if *by_digest.entry(*digest).or_insert(*diff_id) != *diff_id {
                return Err(Error::bad(format!("layer {digest} is said to have two contents")));
            }
            if by_diff_id.insert(*diff_id, ()).is_none() {
                self.lease.pin(*diff_id);
                self.lease.pin(*digest);
                let here = images_layer(&self.store, *diff_id)?;
                let state = if here { LayerState::Present } else { LayerState::Found };
                self.tell(*digest, state);
                if !here {
                    todo.push((Wanted { digest: *digest, size: *size }, *diff_id));
                }
            }
        }
        for (wanted, _) in todo.iter().skip(self.downloads.available_permits()) {
            self.tell(wanted.digest, LayerState::Waiting);
        }
        let mut tasks = JoinSet::new();
        for (wanted, diff_id) in todo {
            let pull = Arc::clone(self);
            tasks.spawn(async move { pull.layer(wanted, diff_id).await });
        }
        while let Some(done) = tasks.join_next().await {
            // The others end with the first failure: what they have is kept.
            done.map_err(|error| Error::bad(format!("a layer's task ended: {error}")))??;
        }
        Ok(())
    }

    /// One layer. What was left of an earlier download and turns out to be wrong is fetched anew.
    async fn layer(self: Arc<Self>, wanted: Wanted, diff_id: Digest) -> Result<()> {
        loop {
            let Some(download) = self.claim(&wanted, diff_id).await? else {
                self.tell(wanted.digest, LayerState::Present);
                return Ok(());
            };
            let permit = self.downloads.acquire().await.map_err(|_| Error::bad("closed"))?;
            let outcome = self.transfer(&wanted, diff_id, &download, permit).await;
            match outcome {
                Ok(()) => {
                    let keep = self.keep;
                    on_thread(move || Ok(if keep { download.keep() } else { download.discard() }?))
                        .await?;
                    self.tell(wanted.digest, LayerState::Pulled);
                    return Ok(());
                }
                // Bytes that are wrong are not worth keeping.
                Err(error @ (Error::Store(_) | Error::BadContent(_))) => {
                    let resumed = download.resumed() > 0;
                    let full = matches!(error, Error::Store(store::Error::Full { .. }));
                    if !full {
                        download.discard()?;
                    }
                    if full || !resumed {
                        return Err(error);
                    }
                    tracing::debug!(%error, "what was left of a download is of no use");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The right to download a layer; nothing when it came by another way meanwhile.
    async fn claim(&self, wanted: &Wanted, diff_id: Digest) -> Result<Option<Download>> {
        loop {
            let download = self.store.downloads().begin(wanted.digest, wanted.size)?;
            if images_layer(&self.store, diff_id)? {
                return Ok(None);
            }
            if download.is_some() {
                return Ok(download);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Fetches and unpacks at the same time.
    async fn transfer(
        &self,
        wanted: &Wanted,
        diff_id: Digest,
        download: &Download,
        permit: tokio::sync::SemaphorePermit<'_>,
    ) -> Result<()> {
        let fetching = async {
            let fetched =
                blob::fetch(&self.session, &self.endpoint, wanted, download, &self.events).await;
            download.end();
            drop(permit);
            if fetched.is_ok() {
                self.tell(wanted.digest, LayerState::Downloaded);
            }
            fetched
        };
        let unpacking = async {
            let _permit = self.unpackers.acquire().await.map_err(|_| Error::bad("closed"))?;
            let (store, lease) = (self.store.clone(), self.store.lease());
            lease.pin(diff_id);
            let unpacked = Unpacked {
                follow: download.follow(),
                size: wanted.size,
                id: wanted.digest.short(),
                events: Arc::clone(&self.events),
                reported: Instant::now(),
                head: Vec::new(),
            };
            on_thread(move || unpacked.into_layer(&store, &lease, diff_id)).await
        };
        let (mut fetching, mut unpacking) = (Box::pin(fetching), Box::pin(unpacking));
        tokio::select! {
            fetched = &mut fetching => {
                let unpacked = unpacking.await;
                // Without its end the archive is bad too: the cut is the cause.
                fetched.and(unpacked)
            }
            // It cannot have succeeded before all was there.
            unpacked = &mut unpacking => match unpacked {
                Ok(()) => fetching.await,
                Err(error) => Err(error),
            },
        }
    }

    /// Makes the image known, with everything that names it. Whether anything changed.
    fn publish(
        &self,
        reference: &ImageRef,
        digest: Digest,
        config: &[u8],
        documents: &[Document],
        parts: &ImageParts,
    ) -> Result<(ImageId, bool)> {
        let images = self.store.images();
        let before = images.resolve(&reference.to_string()).ok().map(|image| image.id);
        let id = images.put(&self.lease, config, None)?;
        for document in documents {
            self.store.blobs().put_document(&self.lease, &document.bytes)?;
            let layer = |(digest, size, media_type): &(Digest, u64, String)| LayerBlob {
                digest: *digest,
                media_type: media_type.clone(),
                size: *size,
            };
            let is_manifest = matches!(document.kind, Kind::Manifest(_));
            let layers = parts.layers.iter().filter(|_| is_manifest).map(layer).collect();
            let source = Source {
                digest: document.digest,
                media_type: document.media_type.clone(),
                size: document.bytes.len() as u64,
                layers,
            };
            images.add_source(&self.lease, id, source)?;
        }
        images.name_pulled(id, reference, digest)?;
        Ok((id, before != Some(id)))
    }

    fn tell(&self, layer: Digest, state: LayerState) {
        (self.events)(Event::Layer { id: layer.short(), state });
    }
}

/// A layer's bytes on their way into the unpacker.
struct Unpacked {
    follow: Follow,
    size: u64,
    id: String,
    events: Events,
    reported: Instant,
    head: Vec<u8>,
}

impl Unpacked {
    fn into_layer(mut self, store: &Store, lease: &Lease, diff_id: Digest) -> Result<()> {
        store.layers().apply(lease, &mut self, Some(diff_id))?;
        // What stands behind the archive's end is part of the digest.
        Ok(self.follow.drain()?)
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let have = self.follow.read(buffer)?;
        if self.head.len() < 6 {
            self.head.extend_from_slice(&buffer[..have.min(6)]);
            // Layers are plain, gzip or zstd; what else the store could open costs more memory.
            if self.head.starts_with(b"\xfd7zXZ\0") || self.head.starts_with(b"BZh") {
                let error = "layer is compressed in a way that registries do not use";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let current = self.follow.position();
            let state = LayerState::Extracting(Progress { current, total: self.size });
            // While it is still arriving, how far that is says more.
            if self.follow.is_complete() {
                (self.events)(Event::Layer { id: self.id.clone(), state });
            }
        }
        Ok(have)
    }
}

fn images_layer(store: &Store, diff_id: Digest) -> Result<bool> {
    Ok(store.layers().find(diff_id)?.is_some())
}

/// The contents that a configuration promises, one for each layer of the manifest.
fn diff_ids(config: &ImageConfig, parts: &ImageParts) -> Result<Vec<Digest>> {
    let ids: Result<Vec<Digest>, Denied> =
        config.rootfs.diff_ids.iter().map(|id| Digest::parse(id)).collect();
    let ids = ids?;
    if ids.len() != parts.layers.len() {
        return Err(Error::bad(format!(
            "manifest has {} layers, its configuration {}",
            parts.layers.len(),
            ids.len()
        )));
    }
    Ok(ids)
}

/// Whether an image that is for one platform only is for the one that was asked for.
fn serves(reference: &ImageRef, asked: Option<&Platform>, config: &ImageConfig) -> Result<()> {
    let own = WirePlatform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        ..WirePlatform::default()
    };
    match asked {
        Some(asked) if !config.architecture.is_empty() && !asked.accepts(&own) => {
            Err(Denied::not_found(format!(
                "image with reference {} was found but does not provide the specified platform \
                 ({asked}): it is for {}/{}",
                reference.familiar(),
                own.os,
                own.architecture
            ))
            .into())
        }
        _ => Ok(()),
    }
}

/// Runs blocking work on a thread made for it.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::bad(format!("work was abandoned: {error}"))),
    }
}
