//! Calls about volumes.

use bytes::Bytes;
use wire::docker::volume::{Volume, VolumeCreateBody, VolumeList, VolumesPruneReport};

use crate::request::segment;
use crate::{Client, Result};

/// Every function fails when the connection does, or with the engine's refusal.
#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Lists volumes.
    pub async fn volume_list(&self, filters: &[(String, String)]) -> Result<VolumeList> {
        self.get("/volumes").filters(filters).fetch().await
    }

    /// Everything about a volume, as the engine wrote it.
    pub async fn volume_inspect_raw(&self, name: &str) -> Result<Bytes> {
        self.get(format!("/volumes/{}", segment(name))).send().await?.bytes().await
    }

    /// Creates a volume.
    pub async fn volume_create(&self, body: &VolumeCreateBody) -> Result<Volume> {
        self.post("/volumes/create").json(body)?.fetch().await
    }

    /// Removes a volume.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        self.delete(format!("/volumes/{}", segment(name))).flag("force", force).run().await
    }

    /// Removes volumes that nothing uses.
    pub async fn volume_prune(&self, filters: &[(String, String)]) -> Result<VolumesPruneReport> {
        self.post("/volumes/prune").filters(filters).fetch().await
    }
}
