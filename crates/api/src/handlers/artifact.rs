//! What registries keep besides images, for the command line's `artifact`: routes of our own.

use engine::transfer::Caller;
use hyper::StatusCode;
use model::{Digest, ImageRef};
use wire::docker::registry::BlobTaken;
use wire::oci::image::{Index, media};

use super::registry::credentials;
use crate::body::into_engine;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply::{self, Reply};

/// Whom the request is about and for, after the rules allowed it.
fn asked(call: &Call) -> Result<(ImageRef, Caller), Failure> {
    let caller = Caller { credentials: credentials(call)?, insecure: call.query.flag("insecure") };
    let reference = ImageRef::parse(&call.target)?.or_latest();
    call.guard.image(&reference.to_string())?;
    Ok((reference, caller))
}

/// `GET /distribution/{name}/referrers?artifactType=`: an index of what refers to a document.
pub(crate) async fn referrers(call: Call) -> Reply {
    let (reference, caller) = asked(&call)?;
    let wanted = call.query.text("artifactType").filter(|text| !text.is_empty());
    let wanted = wanted.map(str::to_owned);
    let manifests = call.engine.images.referrers(&reference, wanted, caller).await?;
    reply::json(&Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        manifests,
        ..Index::default()
    })
}

/// `POST /distribution/{name}/blobs`: the body becomes a blob of the repository.
pub(crate) async fn send(call: Call) -> Reply {
    let (reference, caller) = asked(&call)?;
    let body = into_engine(call.body);
    let (digest, size) = call.engine.images.send_blob(&reference, body, caller).await?;
    reply::json_status(StatusCode::CREATED, &BlobTaken { digest: digest.to_string(), size })
}

/// `GET /distribution/{name}/blobs?digest=&size=`: a blob of the repository.
pub(crate) async fn take(call: Call) -> Reply {
    let (reference, caller) = asked(&call)?;
    let digest = Digest::parse(call.query.text_or_empty("digest"))?;
    let size = call.query.text_or_empty("size").parse::<u64>();
    let size = size.map_err(|_| Failure::invalid("size: a number of bytes is needed"))?;
    let blob = call.engine.images.take_blob(&reference, (digest, size), caller).await?;
    Ok(reply::blob(blob))
}
