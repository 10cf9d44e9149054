//! Answers: their bodies and the headers of the protocol.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use super::refusal::Refusal;

/// An answer.
pub(crate) type Answer = Response<BoxBody<Bytes, io::Error>>;

/// `Docker-Content-Digest`
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// `Docker-Upload-UUID`
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// `OCI-Subject`
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// `OCI-Filters-Applied`
pub(crate) const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;
/// Chunks between the disk and the connection.
const DEPTH: usize = 4;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Empty::new().map_err(never).boxed());
    *answer.status_mut() = status;
    answer
}

/// An answer that is one piece.
pub(crate) fn whole(bytes: impl Into<Bytes>, media_type: &str) -> Answer {
    let answer = Response::new(Full::new(bytes.into()).map_err(never).boxed());
    with(answer, header::CONTENT_TYPE, media_type)
}

/// A JSON document.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<Answer, Refusal> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Refusal::internal(format!("write an answer: {error}")))?;
    Ok(whole(bytes, "application/json"))
}

/// A part of a file, read while it is sent.
pub(crate) fn file(mut file: File, start: u64, length: u64) -> Answer {
    let (chunks, received) = mpsc::channel(DEPTH);
    tokio::task::spawn_blocking(move || {
        let mut left = length;
        let mut sought = file.seek(SeekFrom::Start(start)).map(drop);
        while left > 0 {
            let chunk = sought.and_then(|()| read(&mut file, left));
            sought = Ok(());
            let read = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            let failed = chunk.is_err();
            left = left.saturating_sub(read);
            if chunks.blocking_send(chunk.map(Frame::data)).is_err() || failed {
                return;
            }
        }
    });
    let answer = Response::new(Chunks(received).boxed());
    with(answer, header::CONTENT_LENGTH, &length.to_string())
}

/// A body in pieces; an error breaks the connection off, which tells the client.
struct Chunks(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}

/// The next piece of a file; an error when it ends early.
fn read(file: &mut File, left: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(left.min(CHUNK as u64)).unwrap_or(CHUNK);
    let mut buffer = vec![0u8; wanted];
    file.read_exact(&mut buffer)?;
    Ok(Bytes::from(buffer))
}

/// With one more header; a value that no header can hold is left out.
pub(crate) fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// The answer to a refused request.
pub(crate) fn refused(refusal: Refusal) -> Answer {
    refusal.response().map(|body| body.map_err(never).boxed())
}

fn never(never: std::convert::Infallible) -> io::Error {
    match never {}
}
