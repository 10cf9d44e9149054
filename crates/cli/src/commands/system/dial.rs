//! `system dial-stdio`: standard input and output joined to the engine's socket, for whoever comes
//! through ssh. It does not look at what passes.

use client::{RawReader, RawWriter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::command::Outcome;
use crate::failure::Failure;
use crate::invocation::Invocation;

/// How much is carried at a time.
const COPY_BYTES: usize = 32 << 10;

/// `system dial-stdio`.
pub(crate) async fn dial_stdio(invocation: &Invocation) -> Outcome {
    carry(invocation.client()?.tunnel().await?).await
}

/// Copies between a connection and the standard streams until the engine ends it.
pub(crate) async fn carry((mut from, mut to): (RawReader, RawWriter)) -> Outcome {
    let sending = async move {
        let (mut input, mut buffer) = (tokio::io::stdin(), vec![0; COPY_BYTES]);
        while let Ok(read @ 1..) = input.read(&mut buffer).await {
            if to.send(&buffer[..read]).await.is_err() {
                return;
            }
        }
        // The engine may have ended the connection first.
        let _ = to.finish().await;
    };
    let receiving = async {
        let mut output = tokio::io::stdout();
        while let Some(bytes) = from.next().await? {
            output.write_all(&bytes).await?;
            output.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::spawn(sending);
    // The engine's end is the end, whatever else would come in.
    receiving.await.map_err(|error| Failure::new(format!("carry the connection: {error}")))?;
    Ok(0)
}
