//! A container's streams and this terminal's: what is typed goes in, what is written comes out,
//! until one side ends or the user detaches.
//!
//! ```text
//! stdin ── thread ── channel ── keys ──> raw connection ──> demux ── channel ── thread ──> stdout
//!                                detach ┘                                            └───> stderr
//! ```
//! Standard streams are read and written on threads, so that a slow reader of the output never
//! keeps signals from being forwarded.

pub(crate) mod keys;
pub(crate) mod signals;
mod sink;
mod source;

use bytes::Bytes;
use client::{Demux, Output, Raw, RawWriter};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::terminal::RawMode;
use keys::Keys;
use sink::Sink;

/// A status above this is the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// What is connected to what.
pub(crate) struct Plan {
    /// Standard input is sent.
    pub(crate) stdin: bool,
    /// Standard output or standard error is received.
    pub(crate) output: bool,
    /// The container has a terminal: nothing is multiplexed, keys are sent raw.
    pub(crate) tty: bool,
    /// What detaches; only with a terminal.
    pub(crate) keys: Keys,
    /// Signals are forwarded; otherwise those that end a process end this one.
    pub(crate) proxied: bool,
}

/// How the streams ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The engine ended the stream, or all input was sent and no output was asked for.
    Closed,
    /// The user typed the detach keys.
    Detached,
}

/// Carries bytes both ways until one side ends. The terminal is in raw mode meanwhile, when the
/// container has one and standard input is one.
pub(crate) async fn carry(raw: Raw, plan: Plan) -> Result<End, Failure> {
    let stdin = rustix::stdio::stdin();
    let raw_mode = match plan.tty && plan.stdin && crate::terminal::is_terminal(stdin) {
        true => Some(RawMode::enter()?),
        false => None,
    };
    let proxied = plan.proxied;
    let ended = async {
        match proxied {
            true => std::future::pending().await,
            false => signals::deadly().await,
        }
    };
    let outcome = tokio::select! {
        outcome = exchange(raw, plan) => outcome,
        number = ended => Err(Failure::silent(SIGNALLED + number)),
    };
    drop(raw_mode);
    outcome
}

async fn exchange(raw: Raw, plan: Plan) -> Result<End, Failure> {
    let (mut reader, writer) = raw.split();
    let typed = plan.stdin.then(source::stdin);
    let input = send(writer, typed, plan.keys, plan.tty);
    tokio::pin!(input);
    let mut sink = Sink::default();
    let mut demux = Demux::default();
    let mut sending = true;
    let end = loop {
        tokio::select! {
            chunk = reader.next() => match chunk {
                Ok(Some(chunk)) if plan.tty => sink.write(Output::Stdout, chunk).await?,
                Ok(Some(chunk)) => separate(&mut demux, &chunk, &mut sink).await?,
                Ok(None) => break End::Closed,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    break End::Closed;
                }
                Err(error) => return Err(Failure::new(format!("read the stream: {error}"))),
            },
            end = &mut input, if sending => {
                sending = false;
                match end {
                    End::Detached => break End::Detached,
                    End::Closed if plan.output => {}
                    End::Closed => break End::Closed,
                }
            }
        }
    };
    sink.finish().await;
    Ok(end)
}

/// Takes a chunk of a multiplexed stream apart. A failure that the engine reports in the stream
/// ends it.
pub(crate) async fn separate(
    demux: &mut Demux,
    chunk: &Bytes,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let mut rest: &[u8] = chunk;
    // Each line of a log has a frame of its own; they are written together.
    let mut run = (Output::Stdout, Run::Empty);
    while let Some((output, piece)) = demux.next(&mut rest).map_err(Failure::new)? {
        if output != run.0 {
            write(sink, std::mem::replace(&mut run, (output, Run::Empty)), chunk).await?;
        }
        if output == Output::Failure {
            let words = String::from_utf8_lossy(piece);
            return Err(Failure::new(format!("error from daemon in stream: {words}")));
        }
        run.1.add(piece, chunk.len());
    }
    write(sink, run, chunk).await
}

/// Pieces of a chunk that go to the same output, one after the other.
enum Run<'a> {
    Empty,
    One(&'a [u8]),
    Many(Vec<u8>),
}

impl<'a> Run<'a> {
    /// Adds a piece of a chunk that has so many bytes.
    fn add(&mut self, piece: &'a [u8], chunk: usize) {
        match self {
            Self::Empty => *self = Self::One(piece),
            Self::One(first) => {
                let mut many = Vec::with_capacity(chunk);
                many.extend_from_slice(first);
                many.extend_from_slice(piece);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.extend_from_slice(piece),
        }
    }
}

async fn write(
    sink: &mut Sink,
    (output, run): (Output, Run<'_>),
    chunk: &Bytes,
) -> Result<(), Failure> {
    match run {
        Run::Empty => Ok(()),
        Run::One(piece) => sink.write(output, chunk.slice_ref(piece)).await,
        Run::Many(pieces) => sink.write(output, pieces.into()).await,
    }
}

/// Copies a whole answer to the standard streams, taken apart unless it comes from a terminal.
pub(crate) async fn copy(answer: &mut client::Response<'_>, tty: bool) -> Result<(), Failure> {
    let (mut sink, mut demux) = (Sink::default(), Demux::default());
    while let Some(chunk) = answer.chunk().await? {
        match tty {
            true => sink.write(Output::Stdout, chunk).await?,
            false => separate(&mut demux, &chunk, &mut sink).await?,
        }
    }
    sink.finish().await;
    Ok(())
}

/// Sends what is typed, until there is no more of it or the detach keys are.
async fn send(
    mut writer: RawWriter,
    typed: Option<mpsc::Receiver<Bytes>>,
    mut keys: Keys,
    tty: bool,
) -> End {
    let Some(mut typed) = typed else {
        // The direction stays open: an engine may take its end for a detach.
        std::future::pending::<()>().await;
        return End::Closed;
    };
    while let Some(chunk) = typed.recv().await {
        let (bytes, detach) = match tty {
            true => keys.filter(&chunk),
            false => (chunk.to_vec(), false),
        };
        if !bytes.is_empty() && writer.send(&bytes).await.is_err() {
            return End::Closed;
        }
        if detach {
            return End::Detached;
        }
    }
    let _ = writer.finish().await;
    // Keep the connection's half until the stream ends.
    End::Closed
}
