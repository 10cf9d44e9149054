//! Why a plugin could not be found or did not do what it was asked.

use model::error::HasKind;
use model::{Denied, ErrorKind};

/// A plugin that is not there, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The name cannot be one.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// In none of the places.
    #[error("plugin {0:?} not found")]
    NotFound(String),
    /// It is installed, and does not run.
    #[error("plugin {0} found but disabled")]
    Disabled(String),
    /// It is there, and something else.
    #[error("plugin {plugin:?} does not implement {capability}")]
    Lacks {
        /// Its name.
        plugin: String,
        /// What was looked for.
        capability: String,
    },
    /// Its file says nothing usable.
    #[error("read plugin specification {path}: {why}")]
    Specification {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// It did not answer, or answered with an error.
    #[error("plugin {plugin:?}: {method}: {why}")]
    Failed {
        /// Its name.
        plugin: String,
        /// What it was asked.
        method: String,
        /// In its words, or ours.
        why: String,
    },
}

impl HasKind for PluginError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(denied) => denied.kind,
            Self::NotFound(_) | Self::Lacks { .. } => ErrorKind::NotFound,
            Self::Disabled(_) => ErrorKind::Conflict,
            Self::Specification { .. } | Self::Failed { .. } => ErrorKind::Internal,
        }
    }
}

impl From<PluginError> for crate::EngineError {
    fn from(error: PluginError) -> Self {
        Self::Denied(Denied { kind: error.kind(), message: error.to_string() })
    }
}
