//! Why the engine refused or failed. The texts are the ones users and clients of Docker search for.
//! This module never knows HTTP: a kind says what sort of failure it is.

use model::error::HasKind;
use model::{Denied, ErrorKind};

/// A request that the engine refused, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Refused by a rule of the model, or by the state of an object.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No container answers to this query.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// No exec answers to this id.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// No image answers to this reference.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No network answers to this query.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// No volume has this name.
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    /// The container's program could not be started.
    #[error("failed to create task for container: {message}")]
    Launch {
        /// 125, 126 or 127, as Docker's command line exits.
        exit_code: i32,
        /// Why, with its objects.
        message: String,
    },
    /// A further process could not be started.
    #[error("{message}")]
    Exec {
        /// 126 or 127, as Docker's command line exits.
        exit_code: i32,
        /// Why, with its objects.
        message: String,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A registry refused or failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The network refused or failed.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Not in this build, or not on this host.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A limit of ours is reached.
    #[error("{0}")]
    Exhausted(String),
    /// A system call failed.
    #[error("{act}: {source}")]
    Io {
        /// What was being done, with its objects.
        act: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Something that should not happen did.
    #[error("{0}")]
    Internal(String),
}

impl EngineError {
    /// A failed system call and what it was for.
    pub(crate) fn io(act: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::Io { act: act.into(), source: source.into() }
    }

    /// A refusal because of the state an object is in.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::Denied(Denied::conflict(message))
    }

    /// A request that can never succeed.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Denied(Denied::invalid(message))
    }

    /// Something of ours broke.
    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self::Internal(message.to_string())
    }
}

impl HasKind for EngineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(denied) => denied.kind,
            Self::NoSuchContainer(_)
            | Self::NoSuchExec(_)
            | Self::NoSuchImage(_)
            | Self::NoSuchNetwork(_)
            | Self::NoSuchVolume(_) => ErrorKind::NotFound,
            // Docker answers 400 when the program does not exist or cannot be executed.
            Self::Launch { exit_code: 126 | 127, .. } | Self::Exec { exit_code: 126 | 127, .. } => {
                ErrorKind::Invalid
            }
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Net(error) => error.kind(),
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Exhausted(_) => ErrorKind::Exhausted,
            Self::Launch { .. } | Self::Exec { .. } | Self::Io { .. } | Self::Internal(_) => {
                ErrorKind::Internal
            }
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Net(error) => error.hint(),
            _ => None,
        }
    }
}

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
