//! Results that are one file, on their way to the client: written on a thread, sent in chunks,
//! never whole in memory.

use crate::client::Content;
use crate::error::{Error, Result};
use crate::solve::Build;
use bytes::Bytes;
use model::{Digest, ImageId, ImageRef};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes in one chunk.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for the client.
const DEPTH: usize = 8;

/// The files as a tar.
pub(super) async fn tar(build: &Arc<Build>, number: usize, layers: Vec<Digest>) -> Result<()> {
    let store = build.inner.store.clone();
    let content = produce(move |out| Ok(store.write_tree(&layers, out)?));
    build.client.file(number, content).await
}

/// An image as an archive that is both Docker's and an OCI layout.
pub(super) async fn archive(
    build: &Arc<Build>,
    number: usize,
    image: ImageId,
    names: Vec<ImageRef>,
) -> Result<()> {
    let store = build.inner.store.clone();
    let content = produce(move |out| Ok(store.images().save_as(image, &names, out)?));
    build.client.file(number, content).await
}

pub(super) fn produce(
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) -> Content {
    let (tx, rx) = mpsc::channel(DEPTH);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, Sink(tx.clone()));
        let done = write(&mut out)
            .and_then(|()| out.flush().map_err(|source| Error::io("send a result", source)));
        if let Err(error) = done {
            // The client may have left.
            let _ = tx.blocking_send(Err(error));
        }
    });
    rx
}

struct Sink(mpsc::Sender<Result<Bytes>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
