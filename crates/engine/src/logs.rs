//! A container's log for those who read it: on a thread of its own, at the reader's pace.

use crate::streams::{ByteStream, LogLine, LogOptions, Stream};
use crate::{EngineError, Result};
use bytes::Bytes;
use model::phase::Phase;
use model::view::ContainerView;
use runtime::monitor::log::{self, ReadOptions};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many pieces wait for a slow reader; each is what was read of a file at once.
const PIECES_DEPTH: usize = 4;

/// What a piece has room for from the beginning, in bytes.
const PIECE_BYTES: usize = 128 << 10;

/// How often a log that is followed is asked whether its container still runs.
const ENDED_POLL: std::time::Duration = std::time::Duration::from_millis(50);

/// Lines of the log of the container that `view` shows, each put to the others by `put`; with
/// `follow`, until it is over.
pub(crate) fn open(
    view: &ContainerView,
    options: &LogOptions,
    put: impl FnMut(&mut Vec<u8>, LogLine<'_>) + Send + 'static,
    current: impl Fn() -> Option<Arc<ContainerView>> + Send + 'static,
) -> Result<ByteStream> {
    if !view.spec.log.readable() {
        return Err(EngineError::Unsupported("configured logging driver does not support reading"));
    }
    let (tx, rx) = mpsc::channel(PIECES_DEPTH);
    let follow = options.follow && is_live(&view.phase);
    let failed = |source| EngineError::io("follow a log", source);
    let stop = if follow { Some(log::Stop::new().map_err(failed)?) } else { None };
    let read = ReadOptions {
        tail: options.tail.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
        since_ns: options.since_ns,
        until_ns: options.until_ns,
        follow,
    };
    let pump = Pump { path: PathBuf::from(&view.paths.log), wanted: *options, put };
    let told = stop.clone();
    tokio::task::spawn_blocking({
        let tx = tx.clone();
        move || {
            let sent = pump.run(read, told, |piece| {
                let left = |_| EngineError::Unsupported("nobody reads the log any more");
                tx.blocking_send(Ok(taken(piece))).map_err(left)
            });
            if let Err(error) = sent {
                // Whoever read may have left: then that is why.
                let _ = tx.blocking_send(Err(error));
            }
        }
    });
    if let Some(stop) = stop {
        tokio::spawn(stop_at_end(stop, tx, current));
    }
    Ok(rx)
}

/// What is in `piece`, which is empty then. The memory goes along when most of it is used.
fn taken(piece: &mut Vec<u8>) -> Bytes {
    if piece.len() > PIECE_BYTES / 4 {
        return std::mem::take(piece).into();
    }
    let few = Bytes::copy_from_slice(piece);
    piece.clear();
    few
}

/// What is in a log now, piece by piece. Blocking.
pub(crate) fn replay(
    path: PathBuf,
    options: &LogOptions,
    put: impl FnMut(&mut Vec<u8>, LogLine<'_>),
    mut send: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let pump = Pump { path, wanted: *options, put };
    pump.run(ReadOptions::default(), None, |piece| {
        send(piece)?;
        piece.clear();
        Ok(())
    })
}

/// From a log's files to pieces of what a client is sent.
struct Pump<P> {
    path: PathBuf,
    wanted: LogOptions,
    put: P,
}

impl<P: FnMut(&mut Vec<u8>, LogLine<'_>)> Pump<P> {
    /// Until there is no more. `send` leaves an empty piece behind.
    fn run(
        mut self,
        read: ReadOptions,
        stop: Option<log::Stop>,
        mut send: impl FnMut(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let failed = |source| EngineError::io("read a log", source);
        let mut reader = log::read(&self.path, read, stop).map_err(failed)?;
        let mut piece = Vec::new();
        loop {
            piece.reserve(PIECE_BYTES);
            let more = reader.next_lines(|line| self.take(&mut piece, line)).map_err(failed)?;
            if !piece.is_empty() {
                send(&mut piece)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn take(&mut self, piece: &mut Vec<u8>, line: log::Line<'_>) {
        let (stream, wanted) = match line.stream {
            log::Stream::Stdout => (Stream::Stdout, self.wanted.stdout),
            log::Stream::Stderr => (Stream::Stderr, self.wanted.stderr),
        };
        if wanted {
            let (time_ns, attributes) = (line.time_ns, line.attrs);
            (self.put)(piece, LogLine { stream, time_ns, line: line.line, attributes });
        }
    }
}

/// Ends a follower when its container is over, or nobody reads any more.
async fn stop_at_end(
    stop: log::Stop,
    tx: mpsc::Sender<Result<Bytes>>,
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
