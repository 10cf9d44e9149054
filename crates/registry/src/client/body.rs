//! What is sent: nothing, a few bytes, or a piece of a file, read as it goes out.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// Bytes read from a file at once.
const PIECE_BYTES: u64 = 64 << 10;

/// A request's body. Clones send the same bytes.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    File { file: Arc<File>, at: u64, end: u64, sent: Arc<AtomicU64> },
}

impl Payload {
    /// Bytes `at..end` of a file; `sent` counts what went out.
    pub(crate) fn file(file: &Arc<File>, at: u64, end: u64, sent: &Arc<AtomicU64>) -> Self {
        Self::File { file: Arc::clone(file), at, end, sent: Arc::clone(sent) }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { at, end, .. } => end - at,
        }
    }

    /// What counts the bytes that went out.
    pub(crate) fn sent(&self) -> u64 {
        match self {
            Self::File { sent, .. } => sent.load(Ordering::Relaxed),
            _ => 0,
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        Poll::Ready(match this {
            Self::Empty => None,
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Self::File { at, end, .. } if *at >= *end => None,
            // A blob of ours on a local disk, sent from a thread made for it: it may wait.
            Self::File { file, at, end, sent } => {
                let want = usize::try_from((*end - *at).min(PIECE_BYTES)).unwrap_or(0);
                let mut piece = vec![0; want];
                Some(file.read_exact_at(&mut piece, *at).map(|()| {
                    *at += want as u64;
                    sent.fetch_add(want as u64, Ordering::Relaxed);
                    Frame::data(piece.into())
                }))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
