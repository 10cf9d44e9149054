//! Answers: JSON, nothing, archives, streams. Every answer gets the headers that clients negotiate
//! by; they are added in [`crate::service`].

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use wire::docker::error::ErrorResponse;

use crate::body::{Chunks, ReplyBody};
use crate::failure::Failure;

/// What a handler answers.
pub(crate) type Reply = Result<Response<ReplyBody>, Failure>;

/// A tar archive.
pub(crate) const TAR: &str = "application/x-tar";
/// Bytes of any kind.
const BYTES: &str = "application/octet-stream";
/// JSON, one document or one after another.
pub(crate) const JSON: &str = "application/json";
/// A terminal's bytes as they are.
pub(crate) const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Output in Docker's frames.
pub(crate) const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";

/// 200 and a JSON document.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Reply {
    json_status(StatusCode::OK, value)
}

/// A JSON document with another status.
pub(crate) fn json_status<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Reply {
    Ok(with_type(status, JSON, ReplyBody::Whole(Some(json_line(value)?))))
}

/// A JSON document and the newline that Go's encoder ends it with.
pub(crate) fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Failure> {
    let mut text = serde_json::to_vec(value).map_err(|error| {
        let message = format!("encode the answer: {error}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    text.push(b'\n');
    Ok(text.into())
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut response = Response::new(ReplyBody::Whole(None));
    *response.status_mut() = status;
    Ok(response)
}

/// 204.
pub(crate) fn no_content() -> Reply {
    empty(StatusCode::NO_CONTENT)
}

/// 204, or 304 when nothing changed.
pub(crate) fn outcome(outcome: engine::Outcome) -> Reply {
    match outcome {
        engine::Outcome::Done => no_content(),
        engine::Outcome::NotModified => empty(StatusCode::NOT_MODIFIED),
    }
}

/// 200, plain text.
pub(crate) fn text(text: &'static str) -> Reply {
    let body = ReplyBody::Whole(Some(Bytes::from_static(text.as_bytes())));
    Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", body))
}

/// 200 and an archive from the engine, once it has begun: what cannot even begin has another
/// status.
///
/// # Errors
/// Why there is no archive.
pub(crate) async fn archive(mut stream: engine::ByteStream) -> Reply {
    let first = stream.recv().await.transpose()?;
    Ok(with_type(StatusCode::OK, TAR, ReplyBody::Engine(first, stream)))
}

/// 200 and bytes that mean what their asker knows, from the engine.
pub(crate) fn blob(stream: engine::ByteStream) -> Response<ReplyBody> {
    with_type(StatusCode::OK, BYTES, ReplyBody::Engine(None, stream))
}

/// 200 and a body that another task writes.
pub(crate) fn stream(content_type: &'static str) -> (Chunks, Response<ReplyBody>) {
    let (chunks, body) = Chunks::channel();
    (chunks, with_type(StatusCode::OK, content_type, body))
}

/// An error's answer.
pub(crate) fn failure(failure: Failure) -> Response<ReplyBody> {
    if failure.status == StatusCode::NOT_MODIFIED {
        let mut response = Response::new(ReplyBody::Whole(None));
        *response.status_mut() = failure.status;
        return response;
    }
    let document = ErrorResponse { message: failure.message };
    // A document of one string always has a JSON form.
    let text = json_line(&document).unwrap_or_default();
    with_type(failure.status, JSON, ReplyBody::Whole(Some(text)))
}

/// A response with a content type.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: ReplyBody,
) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
