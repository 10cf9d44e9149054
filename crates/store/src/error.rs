//! Why the store refused or failed. A message names the act and its objects; the kind decides the
//! HTTP status. This module never logs.

use model::error::HasKind;
use model::{Denied, ErrorKind};
use std::io;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A refusal with its kind: not found, conflict, ambiguous, invalid name, …
    #[error("{0}")]
    Denied(#[from] Denied),
    /// Content from outside is malformed, hostile or beyond a limit.
    #[error("{0}")]
    BadContent(String),
    /// A digest does not match its content.
    #[error("{what}: want {want}, have {have}")]
    DigestMismatch {
        /// What was verified.
        what: String,
        /// The digest promised.
        want: String,
        /// The digest of the bytes.
        have: String,
    },
    /// The disk (or quota) is full.
    #[error("{act}: no space left on device")]
    Full {
        /// What was being done.
        act: String,
    },
    /// The kernel refused an operation.
    #[error("{act}: {source}")]
    Io {
        /// What was being done, to what.
        act: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The data below the root is not what this crate wrote.
    #[error("{0}")]
    Damaged(String),
}

impl Error {
    /// Content from outside that cannot be taken.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::BadContent(message.into())
    }

    /// A failed system call, with a full disk told apart and refusals carried inside an
    /// [`io::Error`] (see [`Error::into_io`]) restored.
    pub(crate) fn io(act: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if source.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            let inner = source.into_inner().and_then(|inner| inner.downcast::<Self>().ok());
            return inner.map_or_else(|| Self::Damaged(act.into()), |inner| *inner);
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { act: act.into() }
            }
            _ => Self::Io { act: act.into(), source },
        }
    }

    /// Wraps the error so that it passes through a [`std::io::Read`] or [`std::io::Write`].
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

impl HasKind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(denied) => denied.kind,
            Self::BadContent(_) | Self::DigestMismatch { .. } => ErrorKind::Invalid,
            Self::Full { .. } => ErrorKind::Exhausted,
            Self::Io { .. } | Self::Damaged(_) => ErrorKind::Internal,
        }
    }
}

/// Names the act when a system call or a read fails.
pub(crate) trait Act<T> {
    /// Turns the failure into [`Error::Io`] (or [`Error::Full`]) with this act.
    fn act(self, act: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Act<T> for std::result::Result<T, E> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::io(act(), source))
    }
}
