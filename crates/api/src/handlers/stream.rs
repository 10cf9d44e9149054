//! Containers: what takes its time. Attaching, logs, waiting.

use bytes::{BufMut, BytesMut};
use engine::{AttachOptions, LogEntry, LogOptions, LogStream, Stream, StreamKind, WaitCondition};
use model::phase::Phase;
use wire::docker::ApiVersion;
use wire::docker::container::{WaitError, WaitResponse};

use super::time;
use crate::body::Chunks;
use crate::call::Call;
use crate::failure::{Failure, describe};
use crate::hijack::Hijack;
use crate::moment::rfc3339_fixed;
use crate::reply::{self, JSON, MULTIPLEXED_STREAM, RAW_STREAM, Reply};

/// How many lines of a log are put into one chunk at most.
const LOG_BATCH: usize = 64;

/// The content type of a container's output.
pub(super) fn content_type(kind: StreamKind, version: ApiVersion) -> &'static str {
    match kind {
        StreamKind::Framed if version.at_least(42) => MULTIPLEXED_STREAM,
        StreamKind::Framed | StreamKind::Raw => RAW_STREAM,
    }
}

/// `POST /containers/{id}/attach`.
pub(crate) async fn attach(call: Call) -> Reply {
    let query = &call.query;
    let kind = call.engine.containers.check_attach(&call.target).await?;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: query.text_or_empty("detachKeys").to_owned(),
        framed: kind == StreamKind::Framed,
    };
    let (engine, target) = (call.engine.clone(), call.target.clone());
    let content_type = content_type(kind, call.version);
    let fresh = matches!(call.engine.containers.view(&call.target)?.phase, Phase::Created);
    let hijack = Hijack::of(call);
    let hijack = if fresh { hijack.without_pause() } else { hijack };
    hijack.answer(content_type, async move |client| {
        if let Err(error) = engine.containers.attach(&target, options, client).await {
            tracing::warn!(container = target, error = describe(&error), "attach");
        }
    })
}

/// `GET /containers/{id}/logs`.
pub(crate) async fn logs(call: Call) -> Reply {
    let query = &call.query;
    let options = LogOptions {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        follow: query.flag("follow"),
        since_ns: time(query, "since")?.map(|time| time.0).filter(|ns| *ns != 0),
        until_ns: time(query, "until")?.map(|time| time.0).filter(|ns| *ns != 0),
        // Whatever is not a number means all, as in Docker.
        tail: query.text("tail").and_then(|text| text.parse().ok()),
    };
    if !options.stdout && !options.stderr {
        return Err(Failure::invalid("Bad parameters: you must choose at least one stream"));
    }
    let form = LineForm { timestamps: query.flag("timestamps"), details: query.flag("details") };
    let log = call.engine.containers.logs(&call.target, options).await?;
    let kind = if log.tty { StreamKind::Raw } else { StreamKind::Framed };
    let (chunks, response) = reply::stream(content_type(kind, call.version));
    tokio::spawn(send_log(log, form, chunks));
    Ok(response)
}

/// What stands before each line.
#[derive(Clone, Copy, Debug)]
struct LineForm {
    timestamps: bool,
    details: bool,
}

/// Sends lines until the log ends or the client is gone.
async fn send_log(mut log: LogStream, form: LineForm, chunks: Chunks) {
    let mut batch = Vec::with_capacity(LOG_BATCH);
    loop {
        let received = tokio::select! {
            received = log.rx.recv_many(&mut batch, LOG_BATCH) => received,
            () = chunks.gone() => return,
        };
        if received == 0 {
            return;
        }
        let mut chunk = BytesMut::new();
        for entry in batch.drain(..) {
            match entry {
                Ok(entry) => put_line(&mut chunk, &entry, form, log.tty),
                Err(error) => {
                    let text = format!("Error grabbing logs: {}\n", describe(&error));
                    put_frame(&mut chunk, Stream::Stderr, text.as_bytes(), log.tty);
                }
            }
        }
        if chunks.send(chunk.freeze()).await.is_err() {
            return;
        }
    }
}

fn put_line(out: &mut BytesMut, entry: &LogEntry, form: LineForm, tty: bool) {
    let mut line = BytesMut::with_capacity(entry.line.len() + 64);
    if form.timestamps {
        line.put(rfc3339_fixed(entry.time_ns).as_bytes());
        line.put_u8(b' ');
    }
    if form.details {
        let pairs = entry.attributes.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v)));
        line.put(pairs.collect::<Vec<_>>().join(",").as_bytes());
        line.put_u8(b' ');
    }
    line.put(entry.line.as_ref());
    put_frame(out, entry.stream, &line, tty);
}

/// Docker's frame: the stream, three zeros, the length, big endian, then the bytes.
fn put_frame(out: &mut BytesMut, stream: Stream, mut bytes: &[u8], raw: bool) {
    if raw {
        out.put(bytes);
        return;
    }
    while !bytes.is_empty() {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (head, rest) = bytes.split_at(length as usize);
        out.put_u8(if stream == Stream::Stderr { 2 } else { 1 });
        out.put(&[0; 3][..]);
        out.put_u32(length);
        out.put(head);
        bytes = rest;
    }
}

/// Go's `url.QueryEscape`, which Docker applies to log attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// `POST /containers/{id}/wait`: the head of the answer goes out as soon as the wait is registered,
/// because clients start the container only then.
pub(crate) async fn wait(call: Call) -> Reply {
    let condition = match call.query.text_or_empty("condition") {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Failure::invalid(format!("invalid condition: {other:?}"))),
    };
    let wait = call.engine.containers.wait(&call.target, condition).await?;
    let (chunks, response) = reply::stream(JSON);
    tokio::spawn(async move {
        let done = tokio::select! {
            done = wait.done() => done,
            () = chunks.gone() => return,
        };
        let answer = match done {
            // Why a start failed is told to whoever asked for the start.
            Ok(status) => WaitResponse { status_code: status.code, error: None },
            Err(error) => WaitResponse {
                status_code: -1,
                error: Some(WaitError { message: describe(&error) }),
            },
        };
        if let Ok(line) = reply::json_line(&answer) {
            // A client that left does not need the answer.
            let _ = chunks.send(line).await;
        }
    });
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::collections::BTreeMap;

    fn line(form: LineForm, tty: bool) -> Vec<u8> {
        let entry = LogEntry {
            stream: Stream::Stderr,
            time_ns: 1_700_000_000_120_000_000,
            line: Bytes::from_static(b"hi\n"),
            attributes: BTreeMap::from([("a b".to_owned(), "c=d".to_owned())]),
        };
        let mut out = BytesMut::new();
        put_line(&mut out, &entry, form, tty);
        out.to_vec()
    }

    #[test]
    fn frames() {
        let plain = LineForm { timestamps: false, details: false };
        assert_eq!(line(plain, false), b"\x02\0\0\0\0\0\0\x03hi\n");
        assert_eq!(line(plain, true), b"hi\n");
        let full = LineForm { timestamps: true, details: true };
        assert_eq!(line(full, true), b"2023-11-14T22:13:20.120000000Z a+b=c%3Dd hi\n");
    }
}
