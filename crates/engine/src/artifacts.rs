//! What registries keep besides images: who refers to a document, and blobs one by one, for those
//! who put documents together themselves. This module never speaks HTTP.

use crate::chunks::{self, Source};
use crate::node::blocking;
use crate::streams::ByteStream;
use crate::transfer::{Caller, told};
use crate::{EngineError, Images, Result};
use model::{Digest, ImageRef};
use std::sync::Arc;
use wire::oci::image::Descriptor;

impl Images {
    /// What refers to the document that a name stands for, of one artifact type or of all.
    ///
    /// # Errors
    /// The registry does not say.
    pub async fn referrers(
        &self,
        reference: &ImageRef,
        artifact_type: Option<String>,
        caller: Caller,
    ) -> Result<Vec<Descriptor>> {
        let wanted = reference.clone();
        let found = self.drive(async move |client| {
            let client = caller.client(client, wanted.host());
            let subject = match wanted.digest() {
                Some(digest) => digest,
                None => client.look(&wanted, caller.credentials.clone()).await?.document.digest,
            };
            let of = (&wanted, subject);
            client.referrers(of, artifact_type.as_deref(), caller.credentials).await
        });
        found.await.map_err(|error| told(error, reference))
    }

    /// Gives a repository a blob; digest and length. It is on disk here while it is sent.
    ///
    /// # Errors
    /// The registry does not take it.
    pub async fn send_blob(
        &self,
        repository: &ImageRef,
        body: ByteStream,
        caller: Caller,
    ) -> Result<(Digest, u64)> {
        let (node, wanted) = (Arc::clone(&self.node), repository.clone());
        let taken = blocking(move || {
            let lease = node.store.lease();
            let mut source = Source::new(body);
            let (digest, size) = node.store.blobs().take(&lease, &mut source)?;
            Ok((lease, digest, size))
        });
        let (lease, digest, size) = taken.await?;
        let sent = self.drive(async move |client| {
            let client = caller.client(client, wanted.host());
            let sent = client.send_blob(&wanted, digest, caller.credentials).await;
            drop(lease);
            sent
        });
        sent.await.map_err(|error| told(error, repository))?;
        Ok((digest, size))
    }

    /// A blob of a repository, verified.
    ///
    /// # Errors
    /// The registry does not give it, or gives something else.
    pub async fn take_blob(
        &self,
        repository: &ImageRef,
        blob: (Digest, u64),
        caller: Caller,
    ) -> Result<ByteStream> {
        let wanted = repository.clone();
        let found = self.drive(async move |client| {
            let client = caller.client(client, wanted.host());
            client.take_blob(&wanted, blob, caller.credentials).await
        });
        let mut reader = found.await.map_err(|error| told(error, repository))?;
        Ok(chunks::produce(move |out| {
            let sending = |source| EngineError::io("send a blob", source);
            std::io::copy(&mut reader, out).map(drop).map_err(sending)
        }))
    }
}
