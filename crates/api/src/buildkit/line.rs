//! The upgrade of a request's connection to HTTP/2, after which `buildkit::line` speaks on it.
//! Knows no service.

use std::future::Future;

use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Response, StatusCode};

use crate::body::ReplyBody;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply::Reply;

/// Answers 101 and gives the connection to `take` as soon as that is out.
///
/// # Errors
/// The client did not ask for `h2c`.
pub(crate) fn switch<F, Fut>(call: Call, take: F) -> Reply
where
    F: FnOnce(Upgraded) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let Some(upgrade) = call.h2c else {
        return Err(Failure::invalid("no upgrade proto in request: want Upgrade: h2c"));
    };
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => take(upgraded).await,
            Err(error) => tracing::debug!(%error, "a client left while upgrading"),
        }
    });
    let mut response = Response::new(ReplyBody::Whole(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("h2c"));
    response.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
    Ok(response)
}
