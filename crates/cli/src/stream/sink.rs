//! Standard output and standard error, written on a thread that starts with the first bytes.

use std::io::Write;

use bytes::Bytes;
use client::Output;
use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;

/// Chunks that may wait to be written.
const CHUNKS_IN_FLIGHT: usize = 16;

/// Where output goes.
#[derive(Default)]
pub(crate) struct Sink {
    writer: Option<Writer>,
}

struct Writer {
    chunks: mpsc::Sender<(Output, Bytes)>,
    done: oneshot::Receiver<()>,
}

impl Sink {
    /// Queues bytes. A reader that went away ends the command silently.
    pub(crate) async fn write(&mut self, output: Output, bytes: Bytes) -> Result<(), Failure> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => empty.insert(start()?),
        };
        writer.chunks.send((output, bytes)).await.map_err(|_| Failure::silent(1))
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) {
        if let Some(Writer { chunks, done }) = self.writer {
            drop(chunks);
            let _ = done.await;
        }
    }
}

fn start() -> Result<Writer, Failure> {
    let (chunks, mut queue) = mpsc::channel::<(Output, Bytes)>(CHUNKS_IN_FLIGHT);
    let (report, done) = oneshot::channel();
    let write = move || {
        while let Some((output, bytes)) = queue.blocking_recv() {
            let written = match output {
                Output::Stdout => {
                    let mut out = std::io::stdout().lock();
                    out.write_all(&bytes).and_then(|()| out.flush())
                }
                _ => std::io::stderr().lock().write_all(&bytes),
            };
            if written.is_err() {
                break;
            }
        }
        let _ = report.send(());
    };
    std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(write)
        .map_err(|error| Failure::new(format!("start the output thread: {error}")))?;
    Ok(Writer { chunks, done })
}
