//! Volumes, for those who ask about them.

use crate::node::Node;
use crate::{EngineError, Result};
use model::volume::{VolumeDraft, VolumeView};
use std::sync::Arc;

const SOON: EngineError = EngineError::Unsupported("not yet");

/// Volumes. Cheap to clone.
#[derive(Clone)]
pub struct Volumes {
    #[allow(dead_code)]
    pub(crate) node: Arc<Node>,
}

impl Volumes {
    /// Makes a volume, or returns the one of that name made with the same options.
    pub async fn create(&self, _draft: VolumeDraft) -> Result<VolumeView> {
        Err(SOON)
    }
    /// Every volume.
    pub async fn list(&self) -> Result<Vec<VolumeView>> {
        Err(SOON)
    }
    /// One volume.
    pub async fn view(&self, _name: &str) -> Result<VolumeView> {
        Err(SOON)
    }
    /// Removes it. `force`: not existing is fine.
    pub async fn remove(&self, _name: &str, _force: bool) -> Result<()> {
        Err(SOON)
    }
    /// Removes volumes that no container uses: anonymous ones, or `all`. `keep` protects.
    /// Returns names and the bytes freed.
    pub async fn prune(
        &self,
        _keep: &(dyn Fn(&VolumeView) -> bool + Sync),
        _all: bool,
    ) -> Result<(Vec<String>, u64)> {
        Err(SOON)
    }
}
