//! Calls about volumes.

use bytes::Bytes;
use wire::docker::volume::{Volume, VolumeCreateBody, VolumeList, VolumesPruneReport};

use crate::request::segment;
use crate::{Body, Client, Response, Result};

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

    /// A volume's content as a tar.
    pub async fn volume_export(&self, name: &str) -> Result<Response<'_>> {
        self.get(format!("/estiba/volumes/{}/export", segment(name))).send().await
    }

    /// Makes a volume of a tar.
    pub async fn volume_import(&self, name: &str, archive: Body) -> Result<Volume> {
        let path = format!("/estiba/volumes/{}/import", segment(name));
        self.post(path).body("application/x-tar", archive).fetch().await
    }

    /// Makes a volume with what another has now.
    pub async fn volume_copy(&self, from: &str, to: &str) -> Result<Volume> {
        let path = format!("/estiba/volumes/{}/copy", segment(from));
        self.post(path).query("to", to).fetch().await
    }

    /// Gives a volume another name.
    pub async fn volume_rename(&self, from: &str, to: &str) -> Result<()> {
        let path = format!("/estiba/volumes/{}/rename", segment(from));
        self.post(path).query("to", to).run().await
    }
}
