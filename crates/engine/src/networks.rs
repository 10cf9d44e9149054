//! Networks, for those who ask about them or join containers to them.

use crate::node::Node;
use crate::{EngineError, Result};
use model::NetworkId;
use model::network::{EndpointDraft, NetworkDraft, NetworkView};
use std::sync::Arc;

const SOON: EngineError = EngineError::Unsupported("not yet");

/// Networks. Cheap to clone.
#[derive(Clone)]
pub struct Networks {
    #[allow(dead_code)]
    pub(crate) node: Arc<Node>,
}

impl Networks {
    /// Makes a network; returns a warning too, usually empty.
    pub async fn create(&self, _draft: NetworkDraft) -> Result<(NetworkId, String)> {
        Err(SOON)
    }
    /// Every network; never waits.
    pub fn list(&self) -> Vec<NetworkView> {
        Vec::new()
    }
    /// One network; never waits.
    pub fn view(&self, _query: &str) -> Result<NetworkView> {
        Err(SOON)
    }
    /// Removes it.
    pub async fn remove(&self, _query: &str) -> Result<()> {
        Err(SOON)
    }
    /// Joins a container to it, at once when the container runs.
    pub async fn connect(
        &self,
        _query: &str,
        _container: &str,
        _draft: EndpointDraft,
    ) -> Result<()> {
        Err(SOON)
    }
    /// Takes a container from it.
    pub async fn disconnect(&self, _query: &str, _container: &str, _force: bool) -> Result<()> {
        Err(SOON)
    }
    /// Removes networks that no container is on and that `keep` does not name; returns names.
    pub async fn prune(
        &self,
        _keep: &(dyn Fn(&NetworkView) -> bool + Sync),
    ) -> Result<Vec<String>> {
        Err(SOON)
    }
}
