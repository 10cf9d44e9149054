//! Blobs coming in: in one request, in chunks, or from another repository. Source: OCI
//! distribution-spec v1.1, "Pushing Blobs".

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use store::record::Durability;

use super::super::answer::{self, Answer, CONTENT_DIGEST, UPLOAD_UUID, with};
use super::super::events::Kind;
use super::super::index::{Blob, Change};
use super::super::name::{Algorithm, Digest, Name};
use super::super::refusal::{Code, Refusal};
use super::super::registry::Shared;
use super::super::route::UploadId;
use super::super::uploads::Source;
use super::{Query, blocking};

/// `POST`: begins an upload, takes a whole blob, or takes it from another repository.
/// `may_read` says whether the client may read that one.
pub(crate) async fn start(
    shared: &Shared,
    name: &Name,
    query: &Query,
    may_read: impl Fn(&Name) -> bool,
    body: Incoming,
) -> Result<Answer, Refusal> {
    if let Some(wanted) = query.value("mount")
        && let Some(digest) = Digest::parse(wanted)
        && let Some(answer) = mount(shared, name, &digest, query.value("from"), may_read).await?
    {
        return Ok(answer);
    }
    let algorithm = match query.value("digest-algorithm") {
        Some(text) => Algorithm::parse(text)
            .ok_or_else(|| Refusal::new(Code::DigestInvalid, "digests are sha256 or sha512"))?,
        None => Algorithm::Sha256,
    };
    let digest = query.value("digest").map(parse).transpose()?;
    let algorithm = digest.as_ref().map_or(algorithm, Digest::algorithm);
    let uploads = shared.uploads.clone();
    let repository = name.clone();
    let id = blocking(move || uploads.start(&repository, algorithm)).await?;
    match digest {
        None => Ok(progress(StatusCode::ACCEPTED, name, &id, 0)),
        Some(digest) => {
            let done = complete(shared, name, &id, &digest, body).await;
            if done.is_err() {
                // The client was not told of the upload: it cannot go on with it.
                shared.uploads.forget(&id);
            }
            done
        }
    }
}

/// Takes a blob from a repository that has it. Nothing when there is none, or none to be seen.
async fn mount(
    shared: &Shared,
    name: &Name,
    digest: &Digest,
    from: Option<&str>,
    may_read: impl Fn(&Name) -> bool,
) -> Result<Option<Answer>, Refusal> {
    let named = from.and_then(Name::parse);
    let source = shared.storage.read(|index| match &named {
        Some(from) => may_read(from).then(|| index.blob(from, digest)).flatten(),
        // Without a source, any repository that the client may read will do.
        None if from.is_none() => index
            .repositories()
            .filter(|(other, _)| may_read(other))
            .find_map(|(_, repository)| repository.blobs.get(digest).copied()),
        None => None,
    });
    let Some(blob) = source else { return Ok(None) };
    shared.allow_bytes(name, blob.size, false)?;
    let blob = Blob { at: shared.now(), ..blob };
    let (storage, repository, wanted) = (shared.storage.clone(), name.clone(), digest.clone());
    let linked = blocking(move || {
        let mut linked = true;
        storage.change(Durability::Relaxed, |index| {
            // Its last holder may have let go of it in between.
            linked = index.is_held(&wanted);
            let change = Change::Link(repository.clone(), wanted.clone(), blob);
            Ok(if linked { vec![change] } else { Vec::new() })
        })?;
        Ok(linked)
    })
    .await?;
    shared.metrics.mounted();
    Ok(linked.then(|| created(name, digest)))
}

/// `GET`: how much arrived.
pub(crate) fn status(shared: &Shared, name: &Name, id: &UploadId) -> Result<Answer, Refusal> {
    let upload = shared.uploads.take(name, id)?;
    Ok(progress(StatusCode::NO_CONTENT, name, id, upload.size()))
}

/// `PATCH`: the next chunk, or all of it in one stream.
pub(crate) async fn append(
    shared: &Shared,
    name: &Name,
    id: &UploadId,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let upload = shared.uploads.take(name, id)?;
    in_order(headers, upload.size(), name, id)?;
    let before = upload.size();
    let upload = shared.uploads.receive(upload, Source::Request(body)).await?;
    shared.metrics.received(upload.size() - before);
    Ok(progress(StatusCode::ACCEPTED, name, id, upload.size()))
}

/// A chunk begins where the last one ended.
fn in_order(headers: &HeaderMap, size: u64, name: &Name, id: &UploadId) -> Result<(), Refusal> {
    let Some(range) = headers.get(header::CONTENT_RANGE) else { return Ok(()) };
    let text = range.to_str().unwrap_or_default();
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let start = text.split('-').next().and_then(|it| it.parse::<u64>().ok());
    if start == Some(size) {
        return Ok(());
    }
    let message = format!("the chunk {text:?} does not begin at {size}, where the last one ended");
    let mut refusal = Refusal::new(Code::RangeInvalid, message);
    for (name, value) in progress(StatusCode::ACCEPTED, name, id, size).headers() {
        refusal = refusal.with_header(name.clone(), value.clone());
    }
    Err(refusal)
}

/// `PUT`: the last chunk, if any, and the digest that all of it must have.
pub(crate) async fn finish(
    shared: &Shared,
    (name, id): (&Name, &UploadId),
    query: &Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let missing = || Refusal::new(Code::DigestInvalid, "the query names no digest");
    let digest = parse(query.value("digest").ok_or_else(missing)?)?;
    let upload = shared.uploads.take(name, id)?;
    in_order(headers, upload.size(), name, id)?;
    drop(upload);
    complete(shared, name, id, &digest, body).await
}

async fn complete(
    shared: &Shared,
    name: &Name,
    id: &UploadId,
    digest: &Digest,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let mut upload = shared.uploads.take(name, id)?;
    let before = upload.size();
    upload = shared.uploads.receive(upload, Source::Request(body)).await?;
    shared.metrics.received(upload.size() - before);
    let known = shared.storage.read(|index| index.is_held(digest));
    shared.allow_bytes(name, upload.size(), !known)?;
    let (storage, repository, wanted) = (shared.storage.clone(), name.clone(), digest.clone());
    let blob = Blob { size: upload.size(), at: shared.now() };
    let good = blocking(move || {
        let failed = |error| Refusal::internal(format!("finish an upload: {error}"));
        if !upload.verify(&wanted).map_err(failed)? {
            return Ok(false);
        }
        storage.change(Durability::Relaxed, |_| {
            storage.place(upload.path(), &wanted).map_err(failed)?;
            Ok(vec![Change::Link(repository.clone(), wanted.clone(), blob)])
        })?;
        Ok(true)
    })
    .await?;
    shared.uploads.forget(id);
    if !good {
        return Err(Refusal::new(
            Code::DigestInvalid,
            format!("what was uploaded does not have the digest {digest}"),
        ));
    }
    shared.events.tell(Kind::Push, name, digest, None);
    Ok(created(name, digest))
}

/// `DELETE`: the upload is forgotten.
pub(crate) fn cancel(shared: &Shared, name: &Name, id: &UploadId) -> Result<Answer, Refusal> {
    drop(shared.uploads.take(name, id)?);
    shared.uploads.forget(id);
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn parse(text: &str) -> Result<Digest, Refusal> {
    let invalid = || Refusal::new(Code::DigestInvalid, "the digest is no sha256 and no sha512");
    Digest::parse(text).ok_or_else(invalid)
}

fn progress(status: StatusCode, name: &Name, id: &UploadId, size: u64) -> Answer {
    let location = format!("/v2/{name}/blobs/uploads/{}", id.as_str());
    let answer = with(answer::empty(status), header::LOCATION, &location);
    // Inclusive, so nothing and one byte look the same: that is the protocol.
    let answer = with(answer, header::RANGE, &format!("0-{}", size.saturating_sub(1)));
    with(answer, UPLOAD_UUID, id.as_str())
}

fn created(name: &Name, digest: &Digest) -> Answer {
    let location = format!("/v2/{name}/blobs/{digest}");
    let answer = with(answer::empty(StatusCode::CREATED), header::LOCATION, &location);
    with(answer, CONTENT_DIGEST, &digest.to_string())
}
