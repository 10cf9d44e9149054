//! Why a build was refused or failed. A message names the act and its objects; what a step printed
//! is progress, not error. This module never logs.

use crate::span::Location;
use model::error::HasKind;
use model::{Denied, ErrorKind};
use std::io;
use std::sync::Arc;

/// The result of everything in this crate that acts.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed build. Cheap to clone: several builds may wait for the same step.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Refused by a rule.
    #[error("{0}")]
    Denied(Denied),
    /// A process of a step ended with a code that is no success.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Step {
        /// The command as the instruction has it.
        command: String,
        /// The exit code.
        code: i64,
    },
    /// An operation failed; `source` says why.
    #[error("failed to solve: {source}")]
    Vertex {
        /// Name of the vertex.
        name: String,
        /// Where the operation was asked for.
        location: Option<Location>,
        /// Why it failed.
        source: Box<Error>,
    },
    /// What an operation takes is not in its input.
    #[error("\"/{path}\": not found")]
    Missing {
        /// Where it should be, from the input's root.
        path: String,
    },
    /// Whoever asked left, or asked to stop.
    #[error("context canceled")]
    Cancelled,
    /// The store refused or failed.
    #[error("{0}")]
    Store(Arc<store::Error>),
    /// The kernel refused an operation.
    #[error("{act}: {source}")]
    Io {
        /// What was being done, to what.
        act: String,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// Something else failed: the worker, a program of the host, a client.
    #[error("{message}")]
    Failed {
        /// The kind that decides the HTTP status.
        kind: ErrorKind,
        /// The sentence for the user.
        message: String,
    },
}

impl Error {
    /// A request that can never succeed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Denied(Denied::invalid(message))
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Denied(Denied::not_found(message))
    }

    /// Not in this build, or not on this host.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Denied(Denied::unsupported(message))
    }

    /// Something of ours or of the host broke.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::Failed { kind: ErrorKind::Internal, message: message.to_string() }
    }

    /// A path that is not in a tree.
    pub(crate) fn missing(path: &str) -> Self {
        Self::Missing { path: path.trim_matches('/').to_owned() }
    }

    /// A failed system call and what it was for.
    pub fn io(act: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { act: act.into(), source: Arc::new(source.into()) }
    }

    /// The innermost error: without the vertex it happened in.
    pub fn root(&self) -> &Self {
        match self {
            Self::Vertex { source, .. } => source.root(),
            error => error,
        }
    }

    /// Where in the Dockerfile it was, if that is known.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Vertex { location, source, .. } => location.as_ref().or(source.location()),
            _ => None,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Denied(denied) => Self::Denied(denied),
            error => Self::Store(Arc::new(error)),
        }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl HasKind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(denied) => denied.kind,
            Self::Vertex { source, .. } => source.kind(),
            Self::Store(error) => error.kind(),
            Self::Failed { kind, .. } => *kind,
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::Step { .. } | Self::Cancelled | Self::Io { .. } => ErrorKind::Internal,
        }
    }
}

/// Gives a failed call its act.
pub(crate) trait Act<T> {
    /// Names what was being done.
    fn act(self, act: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Act<T> for std::result::Result<T, E> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::io(act(), source))
    }
}
