//! Bodies: answers that are whole or come in chunks, and requests that are streamed into the
//! engine. Knows bytes, never what they mean.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine::{ByteStream, EngineError, STREAM_DEPTH};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

/// How long the rest of a refused request body is read and thrown away.
const LINGER: Duration = Duration::from_secs(30);

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// All of it; taken when it was sent.
    Whole(Option<Bytes>),
    /// Chunks from another task.
    Chunks(mpsc::Receiver<Bytes>),
    /// An archive from the engine, its beginning taken out already; an error breaks the connection
    /// off, which tells the client that the archive is incomplete.
    Engine(Option<Bytes>, ByteStream),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Chunks(chunks) => {
                chunks.poll_recv(cx).map(|item| item.map(|chunk| Ok(Frame::data(chunk))))
            }
            Self::Engine(first @ Some(_), _) => Poll::Ready(first.take().map(Frame::data).map(Ok)),
            Self::Engine(None, stream) => stream.poll_recv(cx).map(|item| {
                item.map(|chunk| chunk.map(Frame::data).map_err(|error| broken(&error)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Chunks(_) | Self::Engine(..) => SizeHint::default(),
        }
    }
}

/// The status has been sent: all that is left is to say it in the log and break off.
fn broken(error: &EngineError) -> io::Error {
    tracing::warn!(%error, "an archive broke off");
    io::Error::other(error.to_string())
}

/// The body of a request.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Still at the client's.
    Live(Incoming),
    /// Read already, to be shown to somebody before; taken when it is read again.
    Read(Option<Bytes>),
}

impl RequestBody {
    /// Whether nothing comes any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_end_stream()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Live(body) => Pin::new(body).poll_frame(cx),
            Self::Read(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Live(body) => body.is_end_stream(),
            Self::Read(bytes) => bytes.is_none(),
        }
    }
}

/// The writing end of a streamed answer. Dropping it ends the answer.
#[derive(Debug)]
pub(crate) struct Chunks(mpsc::Sender<Bytes>);

/// The client is gone; whoever writes to it stops.
#[derive(Debug)]
pub(crate) struct Gone;

impl Chunks {
    /// A streamed body and its writing end. The writer waits when the client is slow.
    pub(crate) fn channel() -> (Self, ReplyBody) {
        let (tx, rx) = mpsc::channel(STREAM_DEPTH);
        (Self(tx), ReplyBody::Chunks(rx))
    }

    /// Sends one chunk.
    pub(crate) async fn send(&self, chunk: Bytes) -> Result<(), Gone> {
        self.0.send(chunk).await.map_err(|_| Gone)
    }

    /// Returns when the client is gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

/// Streams a request's body into the engine, chunk by chunk, without holding it.
pub(crate) fn into_engine(mut body: RequestBody) -> ByteStream {
    let (tx, rx) = mpsc::channel(STREAM_DEPTH);
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            let item = match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    Err(_trailers) => continue,
                },
                Err(error) => Err(EngineError::Io {
                    act: "read the request body".to_owned(),
                    source: io::Error::other(error),
                }),
            };
            if item.is_err() {
                // Whoever took the body may have given up already.
                let _ = tx.send(item).await;
                return;
            }
            if tx.send(item).await.is_err() {
                // A client in the middle of its body reads no answer before it could send the rest:
                // cut off, it would report a broken pipe instead of why it was refused.
                let _ = tokio::time::timeout(LINGER, discard(body)).await;
                return;
            }
        }
    });
    rx
}

/// Reads what is left of a refused body.
async fn discard(mut body: RequestBody) {
    while let Some(Ok(_)) = body.frame().await {}
}
