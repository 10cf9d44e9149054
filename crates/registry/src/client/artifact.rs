//! What else a registry keeps: documents that refer to others (signatures, bills of materials,
//! attestations), and blobs one by one. Source: OCI distribution-spec v1.1, "Listing Referrers",
//! "Referrers Tag Schema", "Pushing Manifests with Subject". What an artifact means is nobody's
//! business here.
//!
//! ```text
//! GET referrers/<digest> ── 200: an index, pages behind it
//!   └─ 404, or no such list: a registry from before 1.1
//!        └─ GET manifests/sha256-<hex>: the same, kept by clients
//! ```

use super::blob::{self, Wanted};
use super::manifest::{self, Kind};
use super::pull::on_thread;
use super::push;
use super::session::Session;
use super::upload::{self, Content, Outbound};
use super::{Client, Credentials, Events};
use crate::error::{Error, Result};
use hyper::Method;
use model::{Digest, ImageRef};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use wire::oci::image::{Descriptor, Index, Manifest, media};

/// The most pages of referrers that are read.
const MAX_PAGES: usize = 20;
/// The most referrers of one document.
const MAX_REFERRERS: usize = 10_000;

/// A blob of a registry, here and verified.
pub type BlobReader = Box<dyn Read + Send>;

impl Client {
    /// What refers to a document of a repository, of one artifact type or of all.
    ///
    /// # Errors
    /// The registry does not say, or says more than can be true.
    pub async fn referrers(
        &self,
        (repository, subject): (&ImageRef, Digest),
        artifact_type: Option<&str>,
        credentials: Option<Credentials>,
    ) -> Result<Vec<Descriptor>> {
        let at = (repository.host(), repository.path());
        let session = Session::to_read(&self.settings, at, credentials)?;
        let mut found = match listed(&session, subject, artifact_type).await? {
            Some(found) => found,
            None => tagged(&session, subject).await?.manifests,
        };
        // Registries may pass over the filter.
        found.retain(|entry| {
            artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
        });
        for entry in &found {
            Digest::parse(&entry.digest)?;
        }
        Ok(found)
    }

    /// Sends a blob of the store to a repository that lacks it.
    ///
    /// # Errors
    /// The registry does not take it, or it is not here.
    pub async fn send_blob(
        &self,
        repository: &ImageRef,
        digest: Digest,
        credentials: Option<Credentials>,
    ) -> Result<()> {
        let at = (repository.host(), repository.path());
        let session = Session::to_write(&self.settings, at, credentials)?;
        let (file, size) = self
            .store
            .blobs()
            .open(digest)?
            .ok_or_else(|| model::Denied::not_found(format!("no blob {digest}")))?;
        let content = Content::File(Arc::new(file));
        let blob = Outbound { digest, size, content, shown: None };
        let others = self.store.images().repositories_with(&session.host, digest);
        let quiet: Events = Arc::new(|_| {});
        upload::bring(&session, &blob, &others, &quiet).await.map(drop)
    }

    /// A blob of a repository, verified before its first byte is given. It takes disk until it was
    /// read, and is not kept.
    ///
    /// # Errors
    /// The registry does not give it, or gives something else.
    pub async fn take_blob(
        &self,
        repository: &ImageRef,
        (digest, size): (Digest, u64),
        credentials: Option<Credentials>,
    ) -> Result<BlobReader> {
        if size > manifest::MAX_LAYER_BYTES {
            return Err(Error::bad(format!("{digest}: {size} bytes are too many")));
        }
        if let Some((file, _)) = self.store.blobs().open(digest)? {
            return Ok(Box::new(file));
        }
        let at = (repository.host(), repository.path());
        let session = Session::to_read(&self.settings, at, credentials)?;
        let download = self.store.downloads().begin(digest, size)?;
        let busy = || model::Denied::conflict(format!("blob {digest} is being downloaded"));
        let download = download.ok_or_else(busy)?;
        let (first, quiet): (AtomicUsize, Events) = (AtomicUsize::new(0), Arc::new(|_| {}));
        blob::fetch(&session, &first, &Wanted { digest, size }, &download, &quiet).await?;
        download.end();
        on_thread(move || {
            let verified = download.follow().drain();
            // An open file outlives its name.
            let reader = download.follow();
            download.discard()?;
            verified?;
            Ok(Box::new(reader) as BlobReader)
        })
        .await
    }
}

/// What is understood beside a list: what the specification says of registries that keep none, and
/// what those answer that take the path for something else.
const UNDERSTOOD: [u16; 5] = [200, 400, 404, 405, 501];

/// The registry's own list; nothing when it keeps none.
async fn listed(
    session: &Session,
    subject: Digest,
    artifact_type: Option<&str>,
) -> Result<Option<Vec<Descriptor>>> {
    let endpoint = session.endpoint(session.endpoints() - 1).await?;
    let mut rest = format!("referrers/{subject}");
    if let Some(wanted) = artifact_type {
        rest.push_str("?artifactType=");
        rest.push_str(&super::url::encode(wanted));
    }
    let mut ask = session.ask(endpoint, Method::GET, &rest);
    let mut found = Vec::new();
    for page in 0..MAX_PAGES {
        let answer = session.retry(|| session.expect(&ask, &UNDERSTOOD)).await?;
        let next = answer.next_page().transpose()?;
        let unknown = answer.status.as_u16() != 200;
        let is_index =
            answer.header("content-type").is_some_and(|it| it.starts_with(media::OCI_INDEX));
        let bytes = answer.bytes(manifest::MAX_MANIFEST_BYTES).await?;
        if unknown {
            return Ok((page > 0).then_some(found));
        }
        let index: Index = match manifest::json("referrers", &bytes) {
            Ok(index) => index,
            // Servers of web pages have one for every path.
            Err(_) if page == 0 && !is_index => return Ok(None),
            Err(error) => return Err(error),
        };
        if index.schema_version != 2 || found.len() + index.manifests.len() > MAX_REFERRERS {
            return Err(Error::bad(format!("referrers of {subject}: not a list of referrers")));
        }
        found.extend(index.manifests);
        match next {
            Some(next) if next.origin == endpoint.origin => ask.url = next,
            _ => return Ok(Some(found)),
        }
    }
    Err(Error::bad(format!("{subject}: too many pages of referrers")))
}

/// What clients keep where the registry does not: an index under a tag made of the digest.
async fn tagged(session: &Session, subject: Digest) -> Result<Index> {
    let empty = || Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        ..Index::default()
    };
    let (at, tag) = (session.endpoints() - 1, tag(subject));
    match session.retry(|| session.manifest(at, &tag, None)).await {
        Ok(document) => match document.kind {
            Kind::Index(index) => Ok(index),
            Kind::Manifest(_) => Err(Error::bad(format!("{tag}: not an index of referrers"))),
        },
        Err(Error::Status { status: 404, .. }) => Ok(empty()),
        Err(error) => Err(error),
    }
}

/// The tag that stands for a document's referrers.
fn tag(subject: Digest) -> String {
    subject.to_string().replace(':', "-")
}

/// Gives a registry a document; one with a subject is listed among its referrers also where the
/// registry keeps no such list.
pub(super) async fn put(
    session: &Session,
    name: &str,
    document: &manifest::Document,
) -> Result<()> {
    let taken = push::put(session, name, &document.media_type, &document.bytes).await?;
    let Some(subject) = subject(document)? else { return Ok(()) };
    if taken.lists_referrers {
        return Ok(());
    }
    let mut index = tagged(session, subject).await?;
    let digest = document.digest.to_string();
    if index.manifests.iter().any(|entry| entry.digest == digest) {
        return Ok(());
    }
    index.manifests.push(describe(document));
    let bytes = serde_json::to_vec(&index)
        .map_err(|error| Error::bad(format!("write the referrers of {subject}: {error}")))?;
    push::put(session, &tag(subject), media::OCI_INDEX, &bytes).await.map(drop)
}

/// What a document refers to.
fn subject(document: &manifest::Document) -> Result<Option<Digest>> {
    let extra = match &document.kind {
        Kind::Index(index) => &index.extra,
        Kind::Manifest(own) => &own.extra,
    };
    let digest = extra.get("subject").and_then(|subject| subject.get("digest"));
    let Some(digest) = digest else { return Ok(None) };
    let text = digest.as_str().ok_or_else(|| Error::bad("subject: the digest is not a text"))?;
    Ok(Some(Digest::parse(text)?))
}

/// A document as lists of referrers show it: with its artifact type and annotations.
fn describe(document: &manifest::Document) -> Descriptor {
    let typed = |extra: &serde_json::Map<String, serde_json::Value>| {
        extra.get("artifactType").and_then(|kind| kind.as_str()).map(str::to_owned)
    };
    let (artifact_type, annotations) = match &document.kind {
        Kind::Index(index) => (typed(&index.extra), index.annotations.clone()),
        Kind::Manifest(own) => {
            let Manifest { extra, config, annotations, .. } = own.as_ref();
            (typed(extra).or_else(|| Some(config.media_type.clone())), annotations.clone())
        }
    };
    Descriptor {
        media_type: document.media_type.clone(),
        digest: document.digest.to_string(),
        size: document.bytes.len() as u64,
        artifact_type,
        annotations,
        ..Descriptor::default()
    }
}
