//! Builds: the node as a [`build::worker::Worker`], and the handle that edges ask for builds, for
//! what the build cache holds, and for making room in it.

mod local;

use crate::node::Node;
use crate::{EngineError, Result};
use build::cache::{CacheRecord, PruneOptions};
use build::request::{Outcome, SolveRequest};
use std::sync::Arc;

/// Builds and their cache. Cheap to clone.
#[derive(Clone)]
pub struct Builds {
    pub(crate) node: Arc<Node>,
}

impl Builds {
    /// Builds. Dropping the future, or [`Builds::cancel`], ends it and removes everything of it
    /// but finished steps.
    pub async fn solve(&self, request: SolveRequest) -> build::Result<Outcome> {
        let _ = (&self.node, request);
        Err(build::Error::unsupported("builds are not supported by this build"))
    }

    /// Ends a build; `false` if there is none of that id.
    pub fn cancel(&self, id: &str) -> bool {
        let _ = id;
        false
    }

    /// What the build cache holds, newest first.
    pub async fn usage(&self) -> Result<Vec<CacheRecord>> {
        Err(EngineError::Unsupported("builds are not supported by this build"))
    }

    /// Makes room; gives what was removed and the bytes freed.
    pub async fn prune(&self, options: PruneOptions) -> Result<(Vec<CacheRecord>, u64)> {
        let _ = options;
        Err(EngineError::Unsupported("builds are not supported by this build"))
    }
}
