//! Containers: what takes its time. Attaching, logs, waiting.

use engine::{AttachOptions, ByteStream, LogLine, LogOptions, Stream, StreamKind, WaitCondition};
use model::phase::Phase;
use std::collections::BTreeMap;
use wire::docker::ApiVersion;
use wire::docker::container::{WaitError, WaitResponse};

use super::time;
use crate::body::Chunks;
use crate::call::Call;
use crate::failure::{Failure, describe};
use crate::hijack::Hijack;
use crate::moment::rfc3339_fixed;
use crate::reply::{self, JSON, MULTIPLEXED_STREAM, RAW_STREAM, Reply};

/// The content type of a container's output.
pub(super) fn content_type(kind: StreamKind, version: ApiVersion) -> &'static str {
    match kind {
        StreamKind::Framed if version.at_least(42) => MULTIPLEXED_STREAM,
        StreamKind::Framed | StreamKind::Raw => RAW_STREAM,
    }
}

/// `POST /containers/{id}/attach`.
pub(crate) async fn attach(call: Call) -> Reply {
    call.guard.review_known(&call.engine, &call.target)?;
    let query = &call.query;
    let keys = query.text_or_empty("detachKeys");
    let kind = call.engine.containers.check_attach(&call.target, keys).await?;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: keys.to_owned(),
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
    let view = call.engine.containers.view(&call.target)?;
    let kind = if view.spec.tty { StreamKind::Raw } else { StreamKind::Framed };
    let (timestamps, details) = (query.flag("timestamps"), query.flag("details"));
    let mut form = LineForm { kind, timestamps, details, stamp: (i64::MIN, String::new()) };
    let put = move |out: &mut Vec<u8>, line: LogLine<'_>| form.put(out, line);
    let log = call.engine.containers.logs(&view.id.to_string(), options, put).await?;
    let (chunks, response) = reply::stream(content_type(kind, call.version));
    tokio::spawn(send_log(log, kind, chunks));
    Ok(response)
}

/// Sends lines until the log ends or the client is gone.
async fn send_log(mut log: ByteStream, kind: StreamKind, chunks: Chunks) {
    loop {
        let received = tokio::select! {
            received = log.recv() => received,
            () = chunks.gone() => return,
        };
        let chunk = match received {
            None => return,
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                let mut frame = Vec::new();
                let text = format!("Error grabbing logs: {}\n", describe(&error));
                put_frame(&mut frame, kind, Stream::Stderr, text.len());
                frame.extend_from_slice(text.as_bytes());
                frame.into()
            }
        };
        if chunks.send(chunk).await.is_err() {
            return;
        }
    }
}

/// How a line is written, and what stands before it.
#[derive(Clone, Debug)]
struct LineForm {
    kind: StreamKind,
    timestamps: bool,
    details: bool,
    /// The last time and how it is written: lines come in bursts.
    stamp: (i64, String),
}

impl LineForm {
    fn put(&mut self, out: &mut Vec<u8>, line: LogLine<'_>) {
        if self.timestamps && self.stamp.0 != line.time_ns {
            self.stamp = (line.time_ns, rfc3339_fixed(line.time_ns));
        }
        let stamp = if self.timestamps { self.stamp.1.as_bytes() } else { b"" };
        let details = if self.details { details(line.attributes) } else { String::new() };
        let heads = [(self.timestamps, stamp), (self.details, details.as_bytes())];
        let heads = heads.iter().filter(|(wanted, _)| *wanted);
        let length = heads.clone().map(|(_, head)| head.len() + 1).sum::<usize>();
        put_frame(out, self.kind, line.stream, length + line.line.len());
        for (_, head) in heads {
            out.extend_from_slice(head);
            out.push(b' ');
        }
        out.extend_from_slice(line.line);
    }
}

fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs = attributes.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v)));
    pairs.collect::<Vec<_>>().join(",")
}

/// The head of Docker's frame: the stream, three zeros, the length, big endian. A terminal's
/// output has none.
fn put_frame(out: &mut Vec<u8>, kind: StreamKind, stream: Stream, length: usize) {
    if kind == StreamKind::Raw {
        return;
    }
    out.extend_from_slice(&[if stream == Stream::Stderr { 2 } else { 1 }, 0, 0, 0]);
    // A line of a log is far shorter than 4 GB.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
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

    #[test]
    fn frames() {
        let attributes = BTreeMap::from([("a b".to_owned(), "c=d".to_owned())]);
        let check = |kind, prefixed, lines: &[(i64, &str)], expected: &[u8]| {
            let stamp = (i64::MIN, String::new());
            let mut form = LineForm { kind, timestamps: prefixed, details: prefixed, stamp };
            let mut out = Vec::new();
            for (time_ns, line) in lines {
                let (stream, time_ns, line) = (Stream::Stderr, *time_ns, line.as_bytes());
                form.put(&mut out, LogLine { stream, time_ns, line, attributes: &attributes });
            }
            assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
        };
        let at = 1_700_000_000_120_000_000;
        let lines = [(at, "hi\n"), (at, "there")];
        check(
            StreamKind::Framed,
            false,
            &lines,
            b"\x02\0\0\0\0\0\0\x03hi\n\x02\0\0\0\0\0\0\x05there",
        );
        check(StreamKind::Raw, false, &lines, b"hi\nthere");
        check(
            StreamKind::Raw,
            true,
            &[(at, "hi\n"), (at + 1, "there\n")],
            b"2023-11-14T22:13:20.120000000Z a+b=c%3Dd hi\n\
              2023-11-14T22:13:20.120000001Z a+b=c%3Dd there\n",
        );
        check(
            StreamKind::Framed,
            true,
            &lines[..1],
            b"\x02\0\0\0\0\0\0\x2c2023-11-14T22:13:20.120000000Z a+b=c%3Dd hi\n",
        );
    }
}
