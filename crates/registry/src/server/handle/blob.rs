//! Blobs: read whole or in part, and deleted.

use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode};
use store::record::Durability;

use super::super::answer::{self, Answer, CONTENT_DIGEST, with};
use super::super::events::Kind;
use super::super::index::Change;
use super::super::name::{Digest, Name};
use super::super::refusal::{Code, Refusal};
use super::super::registry::Shared;
use super::blocking;

/// `GET` and `HEAD` of a blob, with `Range` and `If-None-Match`.
pub(crate) async fn get(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    name: &Name,
    digest: &Digest,
) -> Result<Answer, Refusal> {
    if shared.storage.read(|index| index.blob(name, digest)).is_none() {
        shared.fetch_blob(name, digest).await?;
    }
    let etag = format!("\"{digest}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == etag.as_bytes()) {
        return Ok(common(answer::empty(StatusCode::NOT_MODIFIED), digest));
    }
    let (storage, wanted) = (shared.storage.clone(), digest.clone());
    let (file, size) = blocking(move || storage.open_content(&wanted)).await?;
    let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
    let (start, end, status) = match range.map(|text| range_of(text, size)) {
        None | Some(Range::Unreadable) => (0, size, StatusCode::OK),
        Some(Range::Part(start, end)) => (start, end, StatusCode::PARTIAL_CONTENT),
        Some(Range::Outside) => {
            let refused = answer::empty(StatusCode::RANGE_NOT_SATISFIABLE);
            return Ok(with(refused, header::CONTENT_RANGE, &format!("bytes */{size}")));
        }
    };
    let length = end - start;
    let mut reply = if method == Method::HEAD {
        with(answer::empty(status), header::CONTENT_LENGTH, &length.to_string())
    } else {
        shared.metrics.sent(length);
        answer::file(file, start, length)
    };
    *reply.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", end - 1);
        reply = with(reply, header::CONTENT_RANGE, &range);
    }
    reply = with(reply, header::CONTENT_TYPE, "application/octet-stream");
    Ok(common(with(reply, header::ACCEPT_RANGES, "bytes"), digest))
}

fn common(answer: Answer, digest: &Digest) -> Answer {
    let text = digest.to_string();
    let answer = with(answer, header::ETAG, &format!("\"{text}\""));
    // What a digest names never changes.
    let answer = with(answer, header::CACHE_CONTROL, "max-age=31536000");
    with(answer, CONTENT_DIGEST, &text)
}

/// What a `Range` header asks for. Source: RFC 9110, section 14.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// From the first to before the second.
    Part(u64, u64),
    /// Nothing of it is there.
    Outside,
    /// Not understood, or several: it is ignored, as the RFC allows.
    Unreadable,
}

pub(crate) fn range_of(text: &str, size: u64) -> Range {
    let parsed = text.strip_prefix("bytes=").filter(|it| !it.contains(','));
    let Some((first, last)) = parsed.and_then(|it| it.split_once('-')) else {
        return Range::Unreadable;
    };
    let (start, end) = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(start), Some(last)) if last >= start => (start, last.saturating_add(1).min(size)),
        (Some(start), None) if last.is_empty() => (start, size),
        (None, Some(count)) if first.is_empty() => (size.saturating_sub(count), size),
        _ => return Range::Unreadable,
    };
    if start < end { Range::Part(start, end) } else { Range::Outside }
}

/// `DELETE` of a blob: this repository lets go of it.
pub(crate) async fn delete(
    shared: &Shared,
    name: &Name,
    digest: &Digest,
) -> Result<Answer, Refusal> {
    let (storage, repository, wanted) = (shared.storage.clone(), name.clone(), digest.clone());
    blocking(move || {
        storage.change(Durability::Immediate, |index| {
            if index.blob(&repository, &wanted).is_none() {
                return Err(Refusal::new(Code::BlobUnknown, "the blob is not known here"));
            }
            Ok(vec![Change::Unlink(repository.clone(), wanted.clone())])
        })
    })
    .await?;
    shared.events.tell(Kind::Delete, name, digest, None);
    Ok(answer::empty(StatusCode::ACCEPTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, want) in [
            ("bytes=0-", Range::Part(0, 10)),
            ("bytes=3-5", Range::Part(3, 6)),
            ("bytes=3-99", Range::Part(3, 10)),
            ("bytes=-4", Range::Part(6, 10)),
            ("bytes=-99", Range::Part(0, 10)),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=5-3", Range::Unreadable),
            ("bytes=0-1,3-4", Range::Unreadable),
            ("lines=0-1", Range::Unreadable),
            ("bytes=99999999999999999999-", Range::Unreadable),
        ] {
            assert_eq!(range_of(text, 10), want, "{text}");
        }
    }
}
