//! Things that were put together here: documents and the blobs they name, sent to a repository as
//! they are, and blobs of a repository taken in one by one. What they mean is the caller's.

use super::blob::{self, Wanted};
use super::manifest::ImageParts;
use super::push;
use super::session::Session;
use super::upload::{self, Content, Outbound};
use super::{Client, Credentials, Event, Events, LayerState};
use crate::error::{Error, Result};
use model::{Denied, Digest, ImageRef};
use std::sync::Arc;
use store::Lease;
use store::image::LayerBlob;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What is sent.
#[derive(Clone, Debug, Default)]
pub struct Parcel {
    /// Blobs of the store, each with the digest it is shown by.
    pub layers: Vec<(LayerBlob, Digest)>,
    /// Small blobs: configurations and the like.
    pub blobs: Vec<Vec<u8>>,
    /// Manifests and indexes with their media types; what one names comes before it, and the last
    /// one gets the tag.
    pub documents: Vec<(String, Vec<u8>)>,
}

/// A layer to be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLayer {
    /// As it travels.
    pub blob: LayerBlob,
    /// What it is unpacked.
    pub diff_id: Digest,
}

impl Client {
    /// Sends what the registry lacks; the last document gets the reference's tag, or none when
    /// `by_digest`.
    ///
    /// # Errors
    /// The registry does not take it, or a blob is not here.
    pub async fn send(
        &self,
        (to, by_digest): (&ImageRef, bool),
        parcel: Parcel,
        credentials: Option<Credentials>,
        events: Events,
    ) -> Result<Digest> {
        let to = to.clone().or_latest();
        let tag = to.tag().unwrap_or_default().to_owned();
        let session = Session::to_write(&self.settings, (to.host(), to.path()), credentials)?;
        let session = Arc::new(session);
        let uploads = Arc::new(Semaphore::new(self.settings.max_uploads.max(1)));
        let mut tasks = JoinSet::new();
        for (layer, shown) in parcel.layers {
            let (client, session) = (self.clone(), Arc::clone(&session));
            let (uploads, events) = (Arc::clone(&uploads), Arc::clone(&events));
            tasks.spawn(async move {
                let _permit = uploads.acquire().await.map_err(|_| Error::bad("closed"))?;
                client.send_layer(&session, &layer, shown, &events).await
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(|error| Error::bad(format!("a layer's task ended: {error}")))??;
        }
        for bytes in parcel.blobs {
            let (digest, size) = (super::manifest::digest(&bytes), bytes.len() as u64);
            let content = Content::Bytes(bytes.into());
            let blob = Outbound { digest, size, content, shown: None };
            upload::bring(&session, &blob, &[], &events).await?;
        }
        let last = parcel.documents.len().saturating_sub(1);
        let mut top = None;
        for (number, (media_type, bytes)) in parcel.documents.iter().enumerate() {
            let digest = super::manifest::digest(bytes);
            let name = match number == last && !by_digest {
                true => tag.clone(),
                false => digest.to_string(),
            };
            push::put(&session, &name, media_type, bytes).await?;
            top = Some(digest);
        }
        top.ok_or_else(|| Error::bad("nothing to send"))
    }

    async fn send_layer(
        &self,
        session: &Session,
        layer: &LayerBlob,
        shown: Digest,
        events: &Events,
    ) -> Result<()> {
        let tell = |state| events(Event::Layer { id: shown.short(), state });
        let Some((file, size)) = self.store.blobs().open(layer.digest)? else {
            // It was known by digest alone: whoever put the parcel together asked before.
            if session.retry(|| upload::holds(session, layer.digest)).await? {
                tell(LayerState::Held);
                return Ok(());
            }
            return Err(Denied::not_found(format!("no blob {}", layer.digest)).into());
        };
        let content = Content::File(Arc::new(file));
        let blob = Outbound { digest: layer.digest, size, content, shown: Some(shown.short()) };
        let others = self.store.images().repositories_with(&session.host, layer.digest);
        tell(match upload::bring(session, &blob, &others, events).await? {
            upload::Had::Before => LayerState::Held,
            upload::Had::Mounted(from) => LayerState::Mounted(from),
            upload::Had::Sent => LayerState::Pushed,
        });
        Ok(())
    }

    /// Which of these blobs a repository has.
    ///
    /// # Errors
    /// The registry does not say.
    pub async fn held_blobs(
        &self,
        repository: &ImageRef,
        digests: &[Digest],
        credentials: Option<Credentials>,
    ) -> Result<Vec<Digest>> {
        let at = (repository.host(), repository.path());
        let session = Session::to_write(&self.settings, at, credentials)?;
        let mut held = Vec::new();
        for digest in digests {
            if session.retry(|| upload::holds(&session, *digest)).await? {
                held.push(*digest);
            }
        }
        Ok(held)
    }

    /// A small blob of a repository, verified.
    ///
    /// # Errors
    /// The registry does not give it, or gives something else.
    pub async fn blob(
        &self,
        repository: &ImageRef,
        (digest, size): (Digest, u64),
        credentials: Option<Credentials>,
    ) -> Result<Vec<u8>> {
        if size > super::manifest::MAX_CONFIG_BYTES {
            return Err(Error::bad(format!("blob {digest} is too large to be a document")));
        }
        let at = (repository.host(), repository.path());
        let session = Session::to_read(&self.settings, at, credentials)?;
        let wanted = Wanted { digest, size };
        let last = session.endpoints() - 1;
        session.retry(|| blob::document(&session, last, &wanted)).await
    }

    /// Takes layers of a repository in, those that are not here, at the same time. They stay while
    /// the lease lasts.
    ///
    /// # Errors
    /// The registry does not give one, or it is not what it was said to be.
    pub async fn take_layers(
        &self,
        repository: &ImageRef,
        layers: &[WantedLayer],
        lease: Arc<Lease>,
        (credentials, events): (Option<Credentials>, Events),
    ) -> Result<()> {
        layers.iter().for_each(|layer| lease.pin(layer.diff_id));
        let of = |layer: &WantedLayer| {
            let LayerBlob { digest, size, media_type } = layer.blob.clone();
            (digest, size, media_type)
        };
        // No configuration is asked for.
        let config = (Digest::sha256([0; 32]), 0);
        let parts = ImageParts { config, layers: layers.iter().map(of).collect() };
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        self.layers_of(repository, &parts, &diff_ids, (credentials, events)).await
    }
}
