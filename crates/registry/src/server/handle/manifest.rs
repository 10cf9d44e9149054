//! Manifests: read, pushed, deleted, and found by what they are about.

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use store::record::Durability;
use wire::oci::image::media;

use super::super::answer::{self, Answer, CONTENT_DIGEST, FILTERS, SUBJECT, with};
use super::super::events::Kind;
use super::super::index::{Change, Held, Index, Tagged};
use super::super::manifest::{self, Document, MAX_BYTES};
use super::super::name::{Algorithm, Digest, Name, Reference};
use super::super::refusal::{Code, Refusal};
use super::super::registry::Shared;
use super::super::storage::digest_of;
use super::{Query, blocking};

/// `GET` and `HEAD`.
pub(crate) async fn get(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    name: &Name,
    reference: &Reference,
) -> Result<Answer, Refusal> {
    shared.fetch_manifest(name, reference).await?;
    let found = shared.storage.read(|index| find(index, name, reference));
    let (digest, media_type, size) = found.ok_or_else(|| unknown(shared, name, reference))?;
    let etag = format!("\"{digest}\"");
    let same =
        headers.get(header::IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == etag.as_bytes());
    let answer = if same {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else if method == Method::HEAD {
        let answer = with(answer::empty(StatusCode::OK), header::CONTENT_TYPE, &media_type);
        with(answer, header::CONTENT_LENGTH, &size.to_string())
    } else {
        let (storage, wanted) = (shared.storage.clone(), digest.clone());
        let bytes = blocking(move || storage.document(&wanted)).await?;
        shared.metrics.pulled();
        shared.events.tell(Kind::Pull, name, &digest, Some(reference));
        answer::whole(bytes, &media_type)
    };
    let answer = with(answer, header::ETAG, &etag);
    Ok(with(answer, CONTENT_DIGEST, &digest.to_string()))
}

fn find(index: &Index, name: &Name, reference: &Reference) -> Option<(Digest, String, u64)> {
    let digest = match reference {
        Reference::Tag(tag) => index.tagged(name, tag)?,
        Reference::Digest(digest) => digest.clone(),
    };
    let held = index.manifest(name, &digest)?;
    Some((digest, held.document.media_type.clone(), held.size))
}

fn unknown(shared: &Shared, name: &Name, reference: &Reference) -> Refusal {
    if shared.storage.read(|index| index.repository(name).is_none()) {
        let message = format!("the repository {name} is not known here");
        return Refusal::new(Code::NameUnknown, message)
            .with_detail(json!({ "name": name.as_str() }));
    }
    Refusal::new(Code::ManifestUnknown, format!("{name} has no manifest {reference}"))
        .with_detail(json!({ "reference": reference.to_string() }))
}

/// `PUT`.
pub(crate) async fn put(
    shared: &Shared,
    headers: &HeaderMap,
    name: &Name,
    reference: &Reference,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let bytes = collect(body).await?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let document = manifest::parse(&bytes, content_type)?;
    let digest = match reference {
        Reference::Tag(_) => digest_of(Algorithm::Sha256, &bytes),
        Reference::Digest(said) => {
            let digest = digest_of(said.algorithm(), &bytes);
            if digest != *said {
                let message = format!("the manifest's digest is {digest}, not {said}");
                return Err(Refusal::new(Code::DigestInvalid, message));
            }
            digest
        }
    };
    let subject = document.subject.clone();
    keep(shared, name, reference, &digest, document, bytes).await?;
    shared.metrics.pushed();
    shared.events.tell(Kind::Push, name, &digest, Some(reference));
    let location = format!("/v2/{name}/manifests/{digest}");
    let answer = with(answer::empty(StatusCode::CREATED), header::LOCATION, &location);
    let answer = with(answer, CONTENT_DIGEST, &digest.to_string());
    Ok(match subject {
        Some(subject) => with(answer, SUBJECT, &subject.to_string()),
        None => answer,
    })
}

async fn collect(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, MAX_BYTES + 1).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("a manifest has at most {MAX_BYTES} bytes");
            Err(Refusal::new(Code::SizeInvalid, message))
        }
        Err(error) => {
            Err(Refusal::new(Code::ManifestInvalid, format!("the connection broke: {error}")))
        }
    }
}

/// Keeps a document that is complete here, and names it.
pub(crate) async fn keep(
    shared: &Shared,
    name: &Name,
    reference: &Reference,
    digest: &Digest,
    document: Document,
    bytes: Bytes,
) -> Result<(), Refusal> {
    let size = bytes.len() as u64;
    shared.allow_bytes(name, size, true)?;
    let at = shared.now();
    let complete = shared.is_complete_needed();
    let (storage, name, reference, digest) =
        (shared.storage.clone(), name.clone(), reference.clone(), digest.clone());
    blocking(move || {
        storage.change(Durability::Immediate, |index| {
            if complete {
                is_complete(index, &name, &document)?;
            }
            storage.place_document(&digest, &bytes)?;
            let held = Box::new(Held { document, size, at });
            let mut changes = vec![Change::Keep(name.clone(), digest.clone(), held)];
            if let Reference::Tag(tag) = reference {
                let tagged = Tagged { digest: digest.clone(), at };
                changes.push(Change::Tag(name.clone(), tag, tagged));
            }
            Ok(changes)
        })
    })
    .await
}

/// Whether all that a document is made of is in its repository.
fn is_complete(index: &Index, name: &Name, document: &Document) -> Result<(), Refusal> {
    let lost_blob = document.blobs.iter().find(|it| index.blob(name, it).is_none());
    let lost = lost_blob
        .or_else(|| document.manifests.iter().find(|it| index.manifest(name, it).is_none()));
    match lost {
        None => Ok(()),
        Some(lost) => {
            let message = format!("{lost} is not in {name}: push it before what is made of it");
            let detail = json!({ "digest": lost.to_string() });
            Err(Refusal::new(Code::ManifestBlobUnknown, message).with_detail(detail))
        }
    }
}

/// `DELETE` of a tag, or of a manifest with all its tags.
pub(crate) async fn delete(
    shared: &Shared,
    name: &Name,
    reference: &Reference,
) -> Result<Answer, Refusal> {
    let found = shared.storage.read(|index| find(index, name, reference));
    let (digest, ..) = found.ok_or_else(|| unknown(shared, name, reference))?;
    let (storage, repository, wanted) = (shared.storage.clone(), name.clone(), reference.clone());
    blocking(move || {
        storage.change(Durability::Immediate, |_| {
            Ok(vec![match wanted {
                Reference::Tag(tag) => Change::Untag(repository, tag),
                Reference::Digest(digest) => Change::Drop(repository, digest),
            }])
        })
    })
    .await?;
    shared.events.tell(Kind::Delete, name, &digest, Some(reference));
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// `GET /v2/<name>/referrers/<digest>`
pub(crate) fn referrers(
    shared: &Shared,
    name: &Name,
    subject: &Digest,
    query: &Query,
) -> Result<Answer, Refusal> {
    let wanted = query.value("artifactType");
    let manifests: Vec<Value> = shared.storage.read(|index| {
        let found = index.referrers(name, subject).into_iter();
        let fits = |held: &Held| {
            wanted.is_none_or(|it| held.document.artifact_type.as_deref() == Some(it))
        };
        found
            .filter(|(_, held)| fits(held))
            .map(|(digest, held)| descriptor(digest, held))
            .collect()
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_INDEX,
        "manifests": manifests,
    });
    let answer = with(answer::json(&index)?, header::CONTENT_TYPE, media::OCI_INDEX);
    Ok(if wanted.is_some() { with(answer, FILTERS, "artifactType") } else { answer })
}

fn descriptor(digest: &Digest, held: &Held) -> Value {
    let mut descriptor = json!({
        "mediaType": held.document.media_type,
        "digest": digest.to_string(),
        "size": held.size,
    });
    if let Some(artifact_type) = &held.document.artifact_type {
        descriptor["artifactType"] = json!(artifact_type);
    }
    if !held.document.annotations.is_empty() {
        descriptor["annotations"] = json!(held.document.annotations);
    }
    descriptor
}
