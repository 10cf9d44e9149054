//! Images from and to registries: what a client, a container's creation or a build asks for. An
//! operation runs on a thread of its own and ends when nobody waits for it any more; what was
//! downloaded until then is taken up by the next. This module never speaks HTTP.

use crate::images::find;
use crate::metrics::Timed;
use crate::node::{Node, blocking};
use crate::{EngineError, Images, Result, variants};
use model::error::HasKind;
use model::event::EventKind;
use model::{Denied, ErrorKind, ImageId, ImageRef};
use registry::{Client, Error as RegistryError};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use store::image::ImageRecord;
use tokio::sync::{mpsc, oneshot};
use wire::oci::image::ImageConfig;

pub use registry::{
    Credentials, Described, Event, Events, Found, LayerState, Platform, Progress, Pulled, Pushed,
    SearchHit, Settings,
};

/// How many steps wait for a slow reader; further progress is dropped.
const STEP_DEPTH: usize = 1024;

/// What is pulled, or needed.
#[derive(Clone, Debug)]
pub struct PullOrder {
    /// With a tag or a digest; neither means `latest`.
    pub reference: ImageRef,
    /// `os/architecture[/variant]`; this machine's when absent.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

/// Who asks a registry for a document or gives it one, and how far the registry is trusted.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// For that registry.
    pub credentials: Option<Credentials>,
    /// Whether the caller does without a certificate that holds, and without TLS.
    pub insecure: bool,
}

impl Caller {
    /// The client that speaks for the caller with a host.
    pub(crate) fn client(&self, client: Client, host: &str) -> Client {
        if self.insecure { client.tolerating(host) } else { client }
    }
}

/// When a needed image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before every use.
    Always,
    /// When it is not here.
    #[default]
    Missing,
    /// Never: it must be here.
    Never,
}

/// An image that is here, for whoever builds on it or runs it.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// Its id.
    pub id: ImageId,
    /// Digest by which the registry knows it, if it came from one.
    pub digest: Option<model::Digest>,
    /// Its configuration, whole.
    pub config: Arc<ImageConfig>,
    /// Everything else the store knows.
    pub record: Arc<ImageRecord>,
}

/// A step of an operation that somebody watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something happened.
    Event(Event),
    /// The pull is done.
    Pulled(Pulled),
    /// The push is done.
    Pushed(Pushed),
}

/// The steps of an operation; an error is the last item. Dropped, the operation ends.
pub type Steps = mpsc::Receiver<Result<Step>>;

impl Images {
    /// Pulls an image. Dropping the future ends the pull.
    ///
    /// # Errors
    /// The registry does not give it.
    pub async fn fetch(&self, order: PullOrder, events: Events) -> Result<Pulled> {
        let begun = Instant::now();
        let reference = order.reference.clone().or_latest();
        let request = registry::PullRequest {
            reference: order.reference,
            platform: order.platform,
            credentials: order.credentials,
        };
        let pulled = self.drive(async move |client| client.pull(request, events).await).await;
        let pulled = pulled.map_err(|error| told(error, &reference))?;
        self.node.metrics.note(Timed::ImagePull, begun);
        self.announce("pull", &reference);
        Ok(pulled)
    }

    /// The image that a reference means for a platform, pulled when the policy says so. This is
    /// how builds and containers come to their images.
    ///
    /// # Errors
    /// It is not here and may not be pulled, or the registry does not give it.
    pub async fn resolve(
        &self,
        order: PullOrder,
        policy: PullPolicy,
        events: Events,
    ) -> Result<ResolvedImage> {
        let reference = order.reference.clone().or_latest();
        let platform = order.platform.clone();
        let query = reference.to_string();
        let local = self.local(&query, platform.as_ref()).await?;
        if let Some(found) = local.filter(|_| policy != PullPolicy::Always) {
            return Ok(found);
        }
        if policy == PullPolicy::Never {
            return Err(EngineError::NoSuchImage(reference.familiar()));
        }
        let pulled = self.fetch(order, events).await?;
        let node = Arc::clone(&self.node);
        blocking(move || {
            let record = node.store.images().record(pulled.id)?;
            Ok(resolved(record, Some(pulled.digest)))
        })
        .await
    }

    /// The image with this name, if it is here and for this platform.
    async fn local(
        &self,
        query: &str,
        platform: Option<&Platform>,
    ) -> Result<Option<ResolvedImage>> {
        let (node, query, platform) = (Arc::clone(&self.node), query.to_owned(), platform.cloned());
        blocking(move || match node.store.images().resolve(&query) {
            Ok(record) => {
                let digest = record.digests.first().and_then(ImageRef::digest);
                let found = match &platform {
                    None => Some(record),
                    Some(platform) => {
                        variants::best(platform, &node.store.images().siblings(&record))
                    }
                };
                Ok(found.map(|record| resolved(record, digest)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        })
        .await
    }

    /// Pulls an image while somebody watches; when they leave, it ends.
    pub fn pull(&self, order: PullOrder) -> Steps {
        let (tx, rx) = mpsc::channel(STEP_DEPTH);
        let images = self.clone();
        let events = watcher(&tx);
        tokio::spawn(async move {
            let done = watched(&tx, images.fetch(order, events)).await;
            if let Some(done) = done {
                // They may have left just now.
                let _ = tx.send(done.map(Step::Pulled)).await;
            }
        });
        rx
    }

    /// Pushes the image of this name, or of all tags of a repository, while somebody watches. With
    /// a platform, that image alone; else the index that it came in, when all of it is here.
    ///
    /// # Errors
    /// There is no such image.
    pub async fn push(
        &self,
        reference: &ImageRef,
        platform: Option<Platform>,
        credentials: Option<Credentials>,
    ) -> Result<Steps> {
        let (node, wanted) = (Arc::clone(&self.node), reference.clone());
        let whole = platform.is_none();
        let found = blocking(move || {
            let mut found = pushable(&node, &wanted)?;
            for (name, image) in &mut found {
                *image = variants::find_for(&node, &name.to_string(), platform.as_ref())?.id;
            }
            Ok(found)
        });
        let found = found.await?;
        let (tx, rx) = mpsc::channel(STEP_DEPTH);
        let images = self.clone();
        tokio::spawn(async move {
            for (reference, image) in found {
                let begun = Instant::now();
                let credentials = credentials.clone();
                let events = watcher(&tx);
                let request = registry::PushRequest {
                    image,
                    whole,
                    reference: reference.clone(),
                    credentials,
                };
                let pushing = images.drive(async move |client| client.push(request, events).await);
                let Some(done) = watched(&tx, pushing).await else { return };
                let failed = done.is_err();
                let done = done.map_err(|error| told(error, &reference));
                if !failed {
                    images.node.metrics.note(Timed::ImagePush, begun);
                    images.announce("push", &reference);
                }
                if tx.send(done.map(Step::Pushed)).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(rx)
    }

    /// Checks credentials with a registry. Gives the token that replaces the password, if any.
    ///
    /// # Errors
    /// They are not good, or the registry does not answer.
    pub async fn login(&self, host: &str, credentials: Credentials) -> Result<Option<String>> {
        let host = host.to_owned();
        let done = self.drive(async move |client| client.login(&host, credentials).await).await;
        Ok(done?.identity_token)
    }

    /// What a registry has under a name.
    ///
    /// # Errors
    /// The registry does not give it.
    pub async fn distribution(&self, reference: &ImageRef, caller: Caller) -> Result<Found> {
        let wanted = reference.clone();
        let found = self.drive(async move |client| {
            let client = caller.client(client, wanted.host());
            client.look(&wanted, caller.credentials).await
        });
        let found = found.await;
        found.map_err(|error| told(error, reference))
    }

    /// What a registry says an image is, without taking it in.
    ///
    /// # Errors
    /// The registry does not give it, or has nothing for that platform.
    pub async fn describe(&self, order: PullOrder) -> Result<Described> {
        let reference = order.reference.clone().or_latest();
        let request = registry::PullRequest {
            reference: order.reference,
            platform: order.platform,
            credentials: order.credentials,
        };
        let found = self.drive(async move |client| client.describe(request).await).await;
        found.map_err(|error| told(error, &reference))
    }

    /// The tags of a repository.
    ///
    /// # Errors
    /// The registry does not give them.
    pub async fn tags(
        &self,
        reference: &ImageRef,
        credentials: Option<Credentials>,
    ) -> Result<Vec<ImageRef>> {
        let wanted = reference.clone();
        let found = self.drive(async move |client| client.tags(&wanted, credentials).await).await;
        found.map_err(|error| told(error, reference))
    }

    /// Gives a registry a document under a tag; what an index names comes from `from` when the
    /// repository does not have it.
    ///
    /// # Errors
    /// The document is malformed, or the registry does not take it.
    pub async fn publish_manifest(
        &self,
        reference: &ImageRef,
        document: (String, Vec<u8>),
        from: Vec<ImageRef>,
        caller: Caller,
    ) -> Result<model::Digest> {
        let wanted = reference.clone();
        let done = self.drive(async move |client| {
            let document = (document.0.as_str(), document.1);
            let client = caller.client(client, wanted.host());
            client.publish(&wanted, document, &from, caller.credentials).await
        });
        Ok(done.await.map_err(|error| told(error, reference))?.digest)
    }

    /// Searches a registry.
    ///
    /// # Errors
    /// The registry does not answer.
    pub async fn search(
        &self,
        term: &str,
        limit: Option<u32>,
        credentials: Option<Credentials>,
    ) -> Result<Vec<SearchHit>> {
        let term = term.to_owned();
        let found =
            self.drive(async move |client| client.search(&term, limit, credentials).await).await;
        Ok(found?)
    }

    /// Runs an operation on a thread of its own, until it is done or nobody waits for it.
    pub(crate) async fn drive<T, F, W>(&self, work: W) -> registry::Result<T>
    where
        T: Send + 'static,
        W: FnOnce(Client) -> F + Send + 'static,
        F: Future<Output = registry::Result<T>>,
    {
        let client = self.node.live().remote.clone();
        let (alive, gone) = oneshot::channel::<()>();
        let running = tokio::task::spawn_blocking(move || {
            Client::drive(async move {
                tokio::select! {
                    done = work(client) => done,
                    _ = gone => Err(Denied::conflict("context canceled").into()),
                }
            })
        });
        let done = running.await;
        drop(alive);
        done.unwrap_or_else(|error| {
            let source = std::io::Error::other(error.to_string());
            Err(RegistryError::Io { act: "talk to a registry".into(), source })
        })
    }

    fn announce(&self, action: &str, reference: &ImageRef) {
        let name = BTreeMap::from([("name".to_owned(), reference.familiar_name())]);
        self.node.emit(EventKind::Image, action, reference.familiar(), name);
    }
}

fn resolved(record: Arc<ImageRecord>, digest: Option<model::Digest>) -> ResolvedImage {
    ResolvedImage { id: record.id, digest, config: Arc::clone(&record.config), record }
}

/// Sends events on, as long as there is room.
pub(crate) fn watcher(tx: &mpsc::Sender<Result<Step>>) -> Events {
    let tx = tx.clone();
    Arc::new(move |event| {
        // Progress that nobody reads is dropped.
        let _ = tx.try_send(Ok(Step::Event(event)));
    })
}

/// An operation's outcome; nothing when the watcher left before.
pub(crate) async fn watched<T>(
    tx: &mpsc::Sender<Result<Step>>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = tx.closed() => None,
    }
}

/// The names that a push means, each with its image.
fn pushable(node: &Node, wanted: &ImageRef) -> Result<Vec<(ImageRef, ImageId)>> {
    if wanted.digest().is_some() {
        return Err(EngineError::invalid("cannot push a digest reference"));
    }
    if wanted.tag().is_some() {
        let missing = |error| match error {
            EngineError::NoSuchImage(_) => EngineError::Denied(Denied::not_found(format!(
                "An image does not exist locally with the tag: {}",
                wanted.familiar_name()
            ))),
            error => error,
        };
        let record = find(node, &wanted.to_string()).map_err(missing)?;
        return Ok(vec![(wanted.clone(), record.id)]);
    }
    let mut found = Vec::new();
    for image in node.store.images().list()? {
        for name in &image.refs {
            if name.host() == wanted.host() && name.path() == wanted.path() {
                found.push((name.clone(), image.id));
            }
        }
    }
    if found.is_empty() {
        return Err(EngineError::Denied(Denied::not_found(format!(
            "An image does not exist locally with the tag: {}",
            wanted.familiar_name()
        ))));
    }
    found.sort();
    Ok(found)
}

/// A registry's refusal in Docker's words.
pub(crate) fn told(error: RegistryError, reference: &ImageRef) -> EngineError {
    let name = reference.familiar_name();
    match &error {
        RegistryError::Unauthorized { message, .. }
        | RegistryError::Status { status: 403, message, .. } => {
            EngineError::Denied(Denied::not_found(format!(
                "pull access denied for {name}, repository does not exist or may require 'docker \
                 login': {message}"
            )))
        }
        RegistryError::Status { status: 404, message, .. } => {
            EngineError::Denied(Denied::not_found(format!(
                "manifest for {} not found: {message}",
                reference.familiar()
            )))
        }
        _ => error.into(),
    }
}
