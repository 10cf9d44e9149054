//! Why a registry was not served, or did not serve. A message names the act and its objects; the
//! kind decides the HTTP status. This module never logs.

use model::error::HasKind;
use model::{Denied, ErrorKind};
use std::time::Duration;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure in talking to a registry, or a refusal of what it said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request that can never succeed: a bad reference, a blocked registry, …
    #[error("{0}")]
    Denied(#[from] Denied),
    /// The registry answered with an error.
    #[error("{act}: {message}")]
    Status {
        /// What was asked.
        act: String,
        /// The HTTP status.
        status: u16,
        /// The registry's words, as `code: message`.
        message: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The registry wants other credentials than it got.
    #[error("{act}: unauthorized: {message}")]
    Unauthorized {
        /// What was asked.
        act: String,
        /// The registry's words.
        message: String,
    },
    /// No connection, or one that broke.
    #[error("{act}: {why}")]
    Transport {
        /// What was being done.
        act: String,
        /// Why it failed.
        why: String,
    },
    /// What the registry said breaks a rule, and is not used.
    #[error("{0}")]
    BadContent(String),
    /// What the administrator wrote about registries cannot be meant.
    #[error("{file}: {why}")]
    Config {
        /// The file.
        file: std::path::PathBuf,
        /// What is wrong in it, and where.
        why: String,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// This host failed us.
    #[error("{act}: {source}")]
    Io {
        /// What was being done.
        act: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::BadContent(message.into())
    }

    pub(crate) fn transport(act: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Transport { act: act.into(), why: why.to_string() }
    }

    pub(crate) fn config(file: &std::path::Path, why: &dyn std::fmt::Display) -> Self {
        Self::Config { file: file.to_owned(), why: why.to_string() }
    }

    pub(crate) fn io(act: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { act: act.into(), source }
    }

    /// The status that the registry answered with.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Unauthorized { .. } => Some(401),
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }

    /// How long the registry asks us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl HasKind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(denied) => denied.kind,
            Self::Status { status: 404, .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Status { status: 403, .. } => ErrorKind::Forbidden,
            Self::Status { .. } | Self::Transport { .. } | Self::Io { .. } => ErrorKind::Internal,
            Self::BadContent(_) | Self::Config { .. } => ErrorKind::Internal,
            Self::Store(error) => match error.kind() {
                // What a registry gave is not the fault of who asked for it.
                ErrorKind::Invalid => ErrorKind::Internal,
                kind => kind,
            },
        }
    }
}
