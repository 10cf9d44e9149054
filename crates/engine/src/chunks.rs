//! Between the store's blocking readers and writers and the edge's streams of chunks.

use crate::streams::{ByteStream, STREAM_DEPTH};
use crate::{EngineError, Result};
use bytes::Bytes;
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

/// Bytes in one chunk.
const CHUNK_BYTES: usize = 64 << 10;

/// Runs `write` on a thread and gives what it writes as a stream. A failure is its last item.
pub(crate) fn produce(
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) -> ByteStream {
    let (tx, rx) = mpsc::channel(STREAM_DEPTH);
    tokio::task::spawn_blocking(move || {
        let mut sink = Sink { tx: tx.clone(), buffer: Vec::with_capacity(CHUNK_BYTES) };
        let outcome = write(&mut sink)
            .and_then(|()| sink.flush().map_err(|source| EngineError::io("send a stream", source)));
        if let Err(error) = outcome {
            // Whoever read may have left.
            let _ = tx.blocking_send(Err(error));
        }
    });
    rx
}

struct Sink {
    tx: mpsc::Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.tx.blocking_send(Ok(full.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A stream of chunks as a reader for a blocking thread.
pub(crate) struct Source {
    rx: ByteStream,
    chunk: Bytes,
}

impl Source {
    pub(crate) fn new(rx: ByteStream) -> Self {
        Self { rx, chunk: Bytes::new() }
    }

    /// Reads and drops what is left, so that a client that still sends is not cut off.
    pub(crate) fn drain(mut self) {
        while let Some(Ok(_)) = self.rx.blocking_recv() {}
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.rx.blocking_recv() {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let taken = self.chunk.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.chunk.split_to(taken));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_a_failure_comes_last() {
        let mut stream = produce(|out| {
            out.write_all(&vec![7; CHUNK_BYTES * 2 + 5]).unwrap();
            out.flush().unwrap();
            Err(EngineError::Unsupported("over"))
        });
        let mut sizes = Vec::new();
        while let Some(Ok(chunk)) = stream.recv().await {
            sizes.push(chunk.len());
        }
        assert_eq!(sizes, [CHUNK_BYTES, CHUNK_BYTES, 5]);
        let (tx, rx) = mpsc::channel(4);
        for part in [&b"ab"[..], b"", b"cde"] {
            tx.send(Ok(Bytes::from_static(part))).await.unwrap();
        }
        drop(tx);
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            Source::new(rx).read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(read.await.unwrap(), "abcde");
    }
}
