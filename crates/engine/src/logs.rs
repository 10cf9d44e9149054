//! A container's log for those who read it: on a thread of its own, at the reader's pace.

use crate::streams::{LogEntry, LogOptions, LogStream, STREAM_DEPTH, Stream};
use crate::{EngineError, Result};
use bytes::Bytes;
use model::phase::Phase;
use model::view::ContainerView;
use runtime::monitor::log::{self, ReadOptions};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many lines wait for a slow reader.
const LINES_DEPTH: usize = 16 * STREAM_DEPTH;

/// How often a log that is followed is asked whether its container still runs.
const ENDED_POLL: std::time::Duration = std::time::Duration::from_millis(50);

/// Lines of the log of the container that `view` shows; with `follow`, until it is over.
pub(crate) fn open(
    view: &ContainerView,
    options: &LogOptions,
    current: impl Fn() -> Option<Arc<ContainerView>> + Send + 'static,
) -> Result<LogStream> {
    if !view.spec.log.readable() {
        return Err(EngineError::Unsupported("configured logging driver does not support reading"));
    }
    let (tx, rx) = mpsc::channel(LINES_DEPTH);
    let follow = options.follow && is_live(&view.phase);
    let failed = |source| EngineError::io("follow a log", source);
    let stop = if follow { Some(log::Stop::new().map_err(failed)?) } else { None };
    let read = ReadOptions {
        tail: options.tail.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
        since_ns: options.since_ns,
        until_ns: options.until_ns,
        follow,
    };
    let path = PathBuf::from(&view.paths.log);
    let wanted = *options;
    let told = stop.clone();
    tokio::task::spawn_blocking({
        let tx = tx.clone();
        move || {
            let lines = match log::read(&path, read, told) {
                Ok(lines) => lines,
                Err(error) => {
                    let _ = tx.blocking_send(Err(EngineError::io("read a log", error)));
                    return;
                }
            };
            for line in lines {
                let line = line.map(entry).map_err(|error| EngineError::io("read a log", error));
                if line.as_ref().is_ok_and(|entry| !is_wanted(&wanted, entry.stream)) {
                    continue;
                }
                if tx.blocking_send(line).is_err() {
                    return;
                }
            }
        }
    });
    if let Some(stop) = stop {
        tokio::spawn(stop_at_end(stop, tx, current));
    }
    Ok(LogStream { tty: view.spec.tty, rx })
}

/// Ends a follower when its container is over, or nobody reads any more.
async fn stop_at_end(
    stop: log::Stop,
    tx: mpsc::Sender<Result<LogEntry>>,
    current: impl Fn() -> Option<Arc<ContainerView>>,
) {
    loop {
        tokio::select! {
            () = tx.closed() => break,
            () = tokio::time::sleep(ENDED_POLL) => {}
        }
        if !current().is_some_and(|view| is_live(&view.phase)) {
            break;
        }
    }
    stop.stop();
}

fn is_live(phase: &Phase) -> bool {
    !matches!(phase, Phase::Created | Phase::Exited(_) | Phase::Removing | Phase::Dead { .. })
}

fn entry(entry: log::Entry) -> LogEntry {
    LogEntry {
        stream: match entry.stream {
            log::Stream::Stdout => Stream::Stdout,
            log::Stream::Stderr => Stream::Stderr,
        },
        time_ns: entry.time_ns,
        line: Bytes::from(entry.line),
        attributes: entry.attrs,
    }
}

fn is_wanted(options: &LogOptions, stream: Stream) -> bool {
    match stream {
        Stream::Stdout => options.stdout,
        Stream::Stderr => options.stderr,
    }
}

/// What is in a log now, piece by piece. Blocking.
pub(crate) fn replay(
    path: PathBuf,
    options: &LogOptions,
    mut each: impl FnMut(Stream, &[u8]) -> Result<()>,
) -> Result<()> {
    let failed = |source| EngineError::io("read a log", source);
    for line in log::read(&path, ReadOptions::default(), None).map_err(failed)? {
        let entry = entry(line.map_err(failed)?);
        if is_wanted(options, entry.stream) {
            each(entry.stream, &entry.line)?;
        }
    }
    Ok(())
}
