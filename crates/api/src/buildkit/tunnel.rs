//! A connection within a gRPC stream of byte messages: how sessions come without a connection of
//! their own. Knows bytes only.

use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// How much may be under way in one direction.
const BUFFER_BYTES: usize = 64 << 10;
/// How much goes into one message.
const PIECE_BYTES: usize = 32 << 10;

/// A connection over what comes in, and what goes out on it.
pub(super) fn over(
    mut incoming: Streaming<BytesMessage>,
) -> (TokioIo<DuplexStream>, ReceiverStream<Result<BytesMessage, Status>>) {
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    let (mut read, mut write) = tokio::io::split(theirs);
    let (tx, rx) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok(Some(message)) = incoming.message().await {
            if write.write_all(&message.data).await.is_err() {
                return;
            }
        }
        // The reader then sees the end; who writes sees it at the next write.
        let _ = write.shutdown().await;
    });
    tokio::spawn(async move {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = read.read(&mut piece).await {
            let message = BytesMessage { data: piece[..count].to_vec() };
            if tx.send(Ok(message)).await.is_err() {
                return;
            }
        }
    });
    (TokioIo::new(ours), ReceiverStream::new(rx))
}
