//! One blob from a registry into the store: ranged, so that a cut costs nothing that had arrived;
//! with pauses while it does not go on; from the next endpoint where one does not have it.

use super::session::Session;
use super::{Event, Events, LayerState, Progress};
use crate::error::{Error, Result};
use hyper::Method;
use model::Digest;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::download::Download;
use tokio::time::Instant;

/// A connection that brought this much has earned a new count of failures.
const WORTH_BYTES: u64 = 64 << 10;
/// Time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// A blob that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Small blobs: fetched whole, verified.
pub(crate) async fn document(session: &Session, at: usize, wanted: &Wanted) -> Result<Vec<u8>> {
    let endpoint = session.endpoint(at).await?;
    let ask = session.ask(endpoint, Method::GET, &format!("blobs/{}", wanted.digest));
    let answer = session.expect(&ask, &[200]).await?;
    let limit = usize::try_from(wanted.size).unwrap_or(usize::MAX);
    let bytes = answer.bytes(limit).await?;
    let have = super::manifest::digest(&bytes);
    if bytes.len() as u64 != wanted.size || have != wanted.digest {
        let (len, size) = (bytes.len(), wanted.size);
        return Err(Error::bad(format!(
            "blob {}: have {have} of {len} bytes, want {size} bytes",
            wanted.digest
        )));
    }
    Ok(bytes)
}

/// The same from the first endpoint from `first` on that gives it.
pub(crate) async fn from_any(session: &Session, first: usize, wanted: &Wanted) -> Result<Vec<u8>> {
    let mut failure = None;
    for at in session.sources(first) {
        match session.retry(|| document(session, at, wanted)).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::bad("no endpoint serves content")))
}

/// Fetches what is missing of a download. `first` is the endpoint that is asked first.
pub(crate) async fn fetch(
    session: &Session,
    first: &AtomicUsize,
    wanted: &Wanted,
    download: &Download,
    events: &Events,
) -> Result<()> {
    let mut failures = 0;
    let mut lacking = 0;
    while download.len() < wanted.size {
        let before = download.len();
        let at = first.load(Ordering::Relaxed);
        let Err(error) = stream(session, at, wanted, download, events).await else { continue };
        if download.len() >= before + WORTH_BYTES {
            failures = 0;
        }
        let gone = matches!(error.status(), Some(400..=499)) || failures > 0;
        // A mirror that does not have it, or does not work: the next one.
        if let Some(next) = session.sources(at + 1).next().filter(|_| gone) {
            lacking += 1;
            if lacking <= session.endpoints() {
                tracing::debug!(%error, "the next endpoint is asked");
                first.store(next, Ordering::Relaxed);
                failures = 0;
                continue;
            }
        }
        failures += 1;
        if !error.is_passing() || failures >= session.settings.attempts {
            return Err(error);
        }
        let pause = session.pause(failures, &error);
        tracing::debug!(%error, failures, have = download.len(), "the download goes on later");
        if failures > 1 {
            let state = LayerState::Retrying(pause.as_secs().max(1));
            events(Event::Layer { id: wanted.digest.short(), state });
        }
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// One connection's worth.
async fn stream(
    session: &Session,
    at: usize,
    wanted: &Wanted,
    download: &Download,
    events: &Events,
) -> Result<()> {
    let endpoint = session.endpoint(at).await?;
    let mut ask = session.ask(endpoint, Method::GET, &format!("blobs/{}", wanted.digest));
    let have = download.len();
    if have > 0 {
        ask.headers.push(("Range", format!("bytes={have}-")));
    }
    let mut answer = session.expect(&ask, &[200, 206]).await?;
    // What a registry that knows no ranges sends again.
    let mut skip = match answer.status.as_u16() {
        206 => {
            let range = answer.header("content-range").unwrap_or_default();
            if range_start(range, wanted.size) != Some(have) {
                return Err(Error::bad(format!("blob {}: wrong range {range:?}", wanted.digest)));
            }
            0
        }
        _ => have,
    };
    let length = answer.header("content-length").and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length != wanted.size - have + skip) {
        return Err(Error::bad(format!(
            "blob {}: {} bytes are offered, {} are wanted",
            wanted.digest,
            length.unwrap_or_default(),
            wanted.size - have + skip
        )));
    }
    let mut reported = Instant::now();
    while let Some(mut chunk) = answer.chunk().await? {
        let again = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        bytes::Buf::advance(&mut chunk, again);
        skip -= again as u64;
        download.append(&chunk)?;
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            let progress = Progress { current: download.len(), total: wanted.size };
            let state = LayerState::Downloading(progress);
            events(Event::Layer { id: wanted.digest.short(), state });
        }
    }
    if download.len() < wanted.size {
        return Err(Error::transport(
            format!("blob {}", wanted.digest),
            format!("cut off after {} of {} bytes", download.len(), wanted.size),
        ));
    }
    answer.finish();
    Ok(())
}

/// Where a `Content-Range` begins, if it ends where the blob does.
fn range_start(text: &str, size: u64) -> Option<u64> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let whole = total == "*" || total.parse() == Ok(size);
    (whole && end.parse::<u64>().ok()?.checked_add(1)? == size).then(|| start.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::range_start;

    #[test]
    fn ranges_must_reach_the_end() {
        for (text, start) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 5-9/*", Some(5)),
            ("bytes 5-8/10", None),
            ("bytes 5-9/11", None),
            ("bytes */10", None),
            ("5-9/10", None),
            ("bytes 5-18446744073709551615/10", None),
        ] {
            assert_eq!(range_start(text, 10), start, "{text}");
        }
    }
}
