//! Images, for those who ask about them.

use crate::node::Node;
use crate::streams::{ByteStream, LoadProgress};
use crate::{EngineError, Result};
use model::image::{HistoryLine, ImageDraft, ImageView, Removed};
use model::{ImageId, ImageRef};
use std::sync::Arc;
use tokio::sync::mpsc;

const SOON: EngineError = EngineError::Unsupported("not yet");

/// Images. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    #[allow(dead_code)]
    pub(crate) node: Arc<Node>,
}

impl Images {
    /// Every image, newest first.
    pub async fn list(&self) -> Result<Vec<ImageView>> {
        Err(SOON)
    }
    /// One image.
    pub async fn view(&self, _query: &str) -> Result<ImageView> {
        Err(SOON)
    }
    /// How it was made, newest line first.
    pub async fn history(&self, _query: &str) -> Result<Vec<HistoryLine>> {
        Err(SOON)
    }
    /// Names it.
    pub async fn tag(&self, _query: &str, _name: &ImageRef) -> Result<()> {
        Err(SOON)
    }
    /// Removes a name, and the image with its last.
    pub async fn remove(
        &self,
        _query: &str,
        _force: bool,
        _prune_children: bool,
    ) -> Result<Vec<Removed>> {
        Err(SOON)
    }
    /// Makes an image of one layer from a tar archive of a root filesystem.
    pub async fn import(&self, _draft: ImageDraft, _body: ByteStream) -> Result<ImageId> {
        Err(SOON)
    }
    /// Takes images in from an archive as `save` writes it.
    pub async fn load(
        &self,
        _body: ByteStream,
        _quiet: bool,
    ) -> Result<mpsc::Receiver<Result<LoadProgress>>> {
        Err(SOON)
    }
    /// Images as an archive.
    pub async fn save(&self, _queries: &[String]) -> Result<ByteStream> {
        Err(SOON)
    }
    /// Removes images that no container uses: those without a name, or all. `keep` protects.
    /// Returns what went and the bytes freed.
    pub async fn prune(
        &self,
        _dangling_only: bool,
        _keep: &(dyn Fn(&ImageView) -> bool + Sync),
    ) -> Result<(Vec<Removed>, u64)> {
        Err(SOON)
    }
}
