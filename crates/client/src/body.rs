//! Request bodies: nothing, bytes at hand, or bytes that arrive while they are sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Chunks that may wait between a body's producer and the connection.
const CHUNKS_IN_FLIGHT: usize = 4;

/// A request body.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Channel(mpsc::Receiver<Bytes>),
}

/// The producing end of a streamed body; dropping it ends the body.
pub struct BodySender(mpsc::Sender<Bytes>);

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Body(Kind::Empty)
    }

    /// Bytes at hand, sent with their length.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Body(Kind::Full(bytes.into()))
    }

    /// A body that is sent while it is produced, in chunks.
    pub fn channel() -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        (BodySender(sender), Body(Kind::Channel(receiver)))
    }

    /// The same body again, if it can be sent twice.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.0 {
            Kind::Empty => Some(Body(Kind::Empty)),
            Kind::Full(bytes) => Some(Body(Kind::Full(bytes.clone()))),
            Kind::Channel(_) => None,
        }
    }

    /// The bytes, when they are all at hand.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl BodySender {
    /// Queues a chunk. False when the connection no longer takes any.
    pub async fn send(&self, chunk: Bytes) -> bool {
        self.0.send(chunk).await.is_ok()
    }

    /// Queues a chunk from a thread outside the executor.
    pub fn blocking_send(&self, chunk: Bytes) -> bool {
        self.0.blocking_send(chunk).is_ok()
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Channel(receiver) => {
                receiver.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Channel(_) => SizeHint::default(),
        }
    }
}
