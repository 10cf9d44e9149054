//! A build under way: who asked, what was found and done, what is spared for it.

use super::op::Known;
use super::{Inner, RequestParts, blocking, now};
use crate::cache::remote::Imports;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::graph::{Op, OpDigest, Pull};
use crate::platform::Platform;
use crate::progress::{Event, Progress, Status};
use crate::request::{Entitlements, ImageReview};
use crate::tree::Tree;
use crate::worker::{BaseImage, ImageAsk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::ImageRef;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{LayerOptions, Lease};

/// The outputs of an operation by number.
pub(crate) type Outputs = Arc<Vec<(usize, Tree)>>;

/// The digest of something from outside: algorithm and value.
pub(crate) type Material = (&'static str, String);

/// A build under way.
pub(crate) struct Build {
    pub(crate) inner: Arc<Inner>,
    /// Tells builds of this process apart.
    pub(crate) number: u64,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) progress: Progress,
    /// Spares what this build has made or found.
    pub(crate) lease: Arc<Lease>,
    pub(crate) no_cache: bool,
    pub(crate) entitlements: Entitlements,
    pub(crate) network_name: String,
    pub(crate) source_date_epoch: Option<i64>,
    /// Which images it may take and send.
    review: Option<ImageReview>,
    /// The image that what a failed step left becomes.
    pub(crate) keep_failed: Option<ImageRef>,
    /// What sources gave, so that a second graph of the same build asks nobody again.
    sources: Mutex<HashMap<[u8; 32], Outputs>>,
    /// What other caches hold.
    pub(crate) imports: Imports,
    /// The steps that this build consists of, as far as it came.
    noted: Mutex<Vec<Known>>,
    /// What was taken from outside: address, and digest by its algorithm.
    materials: Mutex<BTreeMap<String, Material>>,
    /// The Dockerfile, once it is read: name and text.
    dockerfile: Mutex<Option<(String, String)>>,
    /// Images found; held while one is being looked for, so that each is asked for once.
    images: tokio::sync::Mutex<HashMap<(String, Platform), BaseImage>>,
}

impl Build {
    pub(crate) fn new(inner: &Arc<Inner>, parts: RequestParts) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self {
            inner: Arc::clone(inner),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            client: parts.client,
            progress: parts.progress,
            lease: Arc::new(inner.store.lease()),
            no_cache: parts.no_cache,
            entitlements: parts.entitlements,
            network_name: parts.network_name,
            source_date_epoch: parts.source_date_epoch,
            review: parts.review,
            keep_failed: parts.keep_failed,
            sources: Mutex::default(),
            imports: Imports::default(),
            noted: Mutex::default(),
            materials: Mutex::default(),
            dockerfile: Mutex::default(),
            images: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        self.progress.tell(event);
    }

    /// How this build's layers are written.
    pub(crate) fn layer_options(&self) -> LayerOptions {
        LayerOptions {
            latest_mtime: self.source_date_epoch,
            // Every instruction that may change files has a layer: images' histories count them.
            keep_empty: true,
            ..LayerOptions::default()
        }
    }

    /// What a source gave before in this build.
    pub(crate) fn known_source(&self, op: &Op) -> Option<Outputs> {
        let known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(op.digest().0.as_bytes()).cloned()
    }

    pub(crate) fn know_source(&self, op: &Op, outputs: &Outputs) {
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(*op.digest().0.as_bytes(), Arc::clone(outputs));
    }
}

impl Build {
    /// Notes a step that is done, or was known.
    pub(crate) fn note(&self, known: Known) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    }

    /// The steps noted so far.
    pub(crate) fn noted(&self) -> Vec<Known> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes something taken from outside.
    pub(crate) fn took(&self, uri: String, material: Material) {
        let mut materials = self.materials.lock().unwrap_or_else(PoisonError::into_inner);
        materials.insert(uri, material);
    }

    /// What was taken from outside, by address.
    pub(crate) fn materials(&self) -> BTreeMap<String, Material> {
        self.materials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the Dockerfile.
    pub(crate) fn read_dockerfile(&self, name: &str, text: &[u8]) {
        let mut own = self.dockerfile.lock().unwrap_or_else(PoisonError::into_inner);
        *own = Some((name.to_owned(), String::from_utf8_lossy(text).into_owned()));
    }

    /// The Dockerfile as provenance tells it.
    pub(crate) fn dockerfile(&self) -> serde_json::Value {
        let own = self.dockerfile.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, text)) = own.as_ref() else { return serde_json::Value::Null };
        let data = STANDARD.encode(text);
        serde_json::json!({"infos": [{"filename": name, "language": "Dockerfile", "data": data}]})
    }

    /// Notes in the cache what was used of it, and what came of other caches.
    pub(crate) async fn settle(self: &Arc<Self>) -> Result<()> {
        let build = Arc::clone(self);
        blocking(move || {
            let mut used = Vec::new();
            for known in build.noted() {
                match known.record {
                    Some(record) => used.push(record),
                    None => known.keep(&build)?,
                }
            }
            build.inner.cache.used(&used)
        })
        .await
    }

    /// Whether whoever asks may take an image of that name, or send one: the one place that every
    /// way to a registry leads through.
    ///
    /// # Errors
    /// The rules do not allow it.
    pub(crate) fn allow(&self, name: &ImageRef) -> Result<()> {
        match &self.review {
            Some(review) => review(&name.clone().or_latest().to_string()).map_err(Error::Denied),
            None => Ok(()),
        }
    }

    /// Whether an image was looked for already, and found.
    pub(crate) async fn has_image(&self, reference: &str, platform: &Platform) -> bool {
        let key = (reference.to_owned(), platform.clone());
        self.images.lock().await.contains_key(&key)
    }

    /// An image; asked for once in a build.
    pub(crate) async fn image(
        &self,
        reference: &str,
        platform: &Platform,
        pull: Pull,
        vertex: OpDigest,
    ) -> Result<BaseImage> {
        if self.review.is_some() {
            self.allow(&ImageRef::parse(reference)?)?;
        }
        let key = (reference.to_owned(), platform.clone());
        let mut images = self.images.lock().await;
        if let Some(known) = images.get(&key) {
            return Ok(known.clone());
        }
        let telling = self.progress.clone();
        let progress = move |part: &str, done: u64, total: u64| {
            telling.tell(Event::Status { vertex, status: status(part, done, total) });
        };
        let ask =
            ImageAsk { reference, platform, pull, client: &*self.client, progress: &progress };
        let found = self.inner.worker.image(ask).await?;
        found.layers.iter().for_each(|layer| self.lease.pin(*layer));
        self.lease.pin(found.id);
        let (hash, uri) = (found.id.hex(), format!("pkg:docker/{reference}?platform={platform}"));
        self.took(
            uri.replace('/', "%2F").replacen("pkg:docker%2F", "pkg:docker/", 1),
            ("sha256", hash),
        );
        images.insert(key, found.clone());
        Ok(found)
    }
}

/// How far a part is, in bytes.
pub(crate) fn status(part: &str, done: u64, total: u64) -> Status {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let at = now();
    Status {
        id: part.to_owned(),
        name: String::new(),
        current: number(done),
        total: number(total),
        started: Some(at),
        completed: (total > 0 && done >= total).then_some(at),
        at,
    }
}

/// One output of an operation.
pub(crate) fn output(outputs: &Outputs, number: usize) -> Result<Tree> {
    let found = outputs.iter().find(|(known, _)| *known == number);
    let found = found.map(|(_, tree)| tree.clone());
    found.ok_or_else(|| Error::internal(format!("an operation has no output {number}")))
}
