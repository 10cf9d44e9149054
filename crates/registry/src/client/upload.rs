//! One blob from the store into a registry. What the registry has is not sent; what another of its
//! repositories has is mounted; what is cut off goes on from where the registry says it is.
//!
//! ```text
//! HEAD blob ── 200: held
//!   └─ POST uploads/?mount&from ── 201: mounted
//!        └─ 202: PATCH … ── cut? GET where are we ── PATCH the rest ── PUT ?digest
//! ```

use super::body::Payload;
use super::endpoint::Endpoint;
use super::session::{Ask, Session};
use super::transport::Answer;
use super::url::Url;
use super::{Event, Events, LayerState, Progress};
use crate::error::{Error, Result};
use bytes::Bytes;
use hyper::Method;
use model::Digest;
use std::fs::File;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Blobs up to this size travel in one request.
const SMALL_BYTES: usize = 1 << 20;
/// Repositories a mount is tried from.
const MAX_MOUNTS: usize = 3;
/// Time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) content: Content,
    /// Under which name progress is told; nothing tells none.
    pub(crate) shown: Option<String>,
}

/// Where the bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    File(Arc<File>),
    Bytes(Bytes),
}

/// How the registry came to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Had {
    Before,
    Mounted(String),
    Sent,
}

/// Whether the registry has a blob.
pub(crate) async fn holds(session: &Session, digest: Digest) -> Result<bool> {
    let endpoint = session.endpoint(0).await?;
    let ask = session.ask(endpoint, Method::HEAD, &format!("blobs/{digest}"));
    let answer = session.expect(&ask, &[200, 404]).await?;
    let held = answer.status.as_u16() == 200;
    answer.finish();
    Ok(held)
}

/// Brings a blob there. `others` are repositories of the same registry that may have it.
pub(crate) async fn bring(
    session: &Session,
    blob: &Outbound,
    others: &[String],
    events: &Events,
) -> Result<Had> {
    if session.retry(|| holds(session, blob.digest)).await? {
        return Ok(Had::Before);
    }
    let others: Vec<String> =
        others.iter().filter(|other| **other != session.path).cloned().collect();
    let mut begun = match mounted(session, blob.digest, &others).await {
        Mount::Done(other) => return Ok(Had::Mounted(other)),
        Mount::Begun(place) => Some(place),
        Mount::Refused => None,
    };
    let mut failures = 0;
    let sent = Arc::new(AtomicU64::new(0));
    loop {
        let before = sent.load(Ordering::Relaxed);
        let outcome = send(session, blob, &mut begun, &sent, events).await;
        let Err(error) = outcome else { return Ok(Had::Sent) };
        if sent.load(Ordering::Relaxed) >= before + SMALL_BYTES as u64 {
            failures = 0;
        }
        failures += 1;
        // A session that the registry forgot, or lost count of, is begun again.
        let lost = matches!(error.status(), Some(404 | 416)) && failures > 0 && begun.is_some();
        if lost {
            begun = None;
        }
        if !(error.is_passing() || lost) || failures >= session.settings.attempts {
            return Err(error);
        }
        tracing::debug!(%error, failures, "the upload goes on later");
        tokio::time::sleep(session.pause(failures, &error)).await;
    }
}

/// What became of a try to mount.
pub(crate) enum Mount {
    /// It is there, from this repository.
    Done(String),
    /// It has to be sent, to here.
    Begun(Url),
    /// Nothing came of it.
    Refused,
}

/// Tries to mount a blob from one of these repositories.
pub(crate) async fn mounted(session: &Session, digest: Digest, others: &[String]) -> Mount {
    for other in others.iter().take(MAX_MOUNTS) {
        match session.retry(|| mount(session, digest, other)).await {
            Ok(None) => return Mount::Done(other.clone()),
            Ok(Some(place)) => return Mount::Begun(place),
            // Not allowed to read there, or not able to mount: it is sent.
            Err(error) => tracing::debug!(%error, other, "mount"),
        }
    }
    Mount::Refused
}

/// Asks to take a blob from another repository. Where to send it when that cannot be.
async fn mount(session: &Session, digest: Digest, other: &str) -> Result<Option<Url>> {
    let endpoint = session.endpoint(0).await?;
    let rest = format!("blobs/uploads/?mount={digest}&from={other}");
    let mut ask = session.ask(endpoint, Method::POST, &rest);
    ask.scopes.push(format!("repository:{other}:pull"));
    ask.headers.push(("Content-Length", "0".into()));
    let answer = session.expect(&ask, &[201, 202]).await?;
    let place = match answer.status.as_u16() {
        201 => None,
        _ => Some(place(&answer)?),
    };
    answer.finish();
    Ok(place)
}

/// Where an upload goes on.
fn place(answer: &Answer) -> Result<Url> {
    let location = answer.header("location");
    answer.url.follow(location.ok_or_else(|| Error::bad("upload: the registry gives no Location"))?)
}

/// One attempt, from where the registry is.
async fn send(
    session: &Session,
    blob: &Outbound,
    begun: &mut Option<Url>,
    sent: &Arc<AtomicU64>,
    events: &Events,
) -> Result<()> {
    let endpoint = session.endpoint(0).await?;
    let resumed = begun.is_some() && sent.load(Ordering::Relaxed) > 0;
    let mut offset = 0;
    let mut url = match begun.clone() {
        Some(url) if resumed => {
            let (url, at) = position(session, endpoint, url).await?;
            offset = at;
            url
        }
        Some(url) => url,
        None => {
            let mut ask = session.ask(endpoint, Method::POST, "blobs/uploads/");
            ask.headers.push(("Content-Length", "0".into()));
            let answer = session.expect(&ask, &[202]).await?;
            let url = place(&answer)?;
            answer.finish();
            url
        }
    };
    if offset > blob.size {
        return Err(Error::bad(format!("upload {}: the registry has too much", blob.digest)));
    }
    *begun = Some(url.clone());
    if let Content::File(file) = &blob.content
        && offset < blob.size
    {
        sent.store(offset, Ordering::Relaxed);
        let body = Payload::file(file, offset, blob.size, sent);
        let mut ask = at(session, endpoint, Method::PATCH, url, body);
        ask.headers.push(("Content-Type", "application/octet-stream".into()));
        if offset > 0 {
            ask.headers.push(("Content-Range", format!("{offset}-{}", blob.size - 1)));
        }
        let answer = reported(session.expect(&ask, &[202, 204]), blob, sent, events).await?;
        url = place(&answer)?;
        answer.finish();
        *begun = Some(url.clone());
    }
    let body = match &blob.content {
        Content::Bytes(bytes) => Payload::Bytes(bytes.clone()),
        Content::File(_) => Payload::Empty,
    };
    let url = url.with("digest", &blob.digest.to_string());
    let mut ask = at(session, endpoint, Method::PUT, url, body.clone());
    ask.headers.push(("Content-Type", "application/octet-stream".into()));
    if body.len() == 0 {
        ask.headers.push(("Content-Length", "0".into()));
    }
    session.expect(&ask, &[201, 204]).await?.finish();
    Ok(())
}

/// Where the registry says an upload is.
async fn position(session: &Session, endpoint: &Endpoint, url: Url) -> Result<(Url, u64)> {
    let ask = at(session, endpoint, Method::GET, url.clone(), Payload::Empty);
    let answer = session.expect(&ask, &[204, 202, 200]).await?;
    let next = place(&answer).unwrap_or(url);
    let range = answer.header("range").unwrap_or("0-0");
    let last = range.trim_start_matches("bytes=").split_once('-').and_then(|(_, l)| l.parse().ok());
    answer.finish();
    let last: u64 = last.ok_or_else(|| Error::bad("upload: the registry's Range is none"))?;
    // `0-0` is what registries say of nothing, too.
    Ok((next, if last == 0 { 0 } else { last + 1 }))
}

/// A request to where a `Location` led.
fn at<'a>(
    session: &Session,
    endpoint: &'a Endpoint,
    method: Method,
    url: Url,
    body: Payload,
) -> Ask<'a> {
    Ask { url, body, ..session.ask(endpoint, method, "") }
}

/// Waits for an answer and tells how far the sending is.
async fn reported(
    sending: impl Future<Output = Result<Answer>>,
    blob: &Outbound,
    sent: &AtomicU64,
    events: &Events,
) -> Result<Answer> {
    let mut sending = std::pin::pin!(sending);
    loop {
        match tokio::time::timeout(REPORT_EVERY, &mut sending).await {
            Ok(answer) => return answer,
            Err(_) => {
                let Some(id) = blob.shown.clone() else { continue };
                let current = sent.load(Ordering::Relaxed).min(blob.size);
                let state = LayerState::Uploading(Progress { current, total: blob.size });
                events(Event::Layer { id, state });
            }
        }
    }
}
