//! Further processes in running containers.

use crate::node::Node;
use crate::streams::{ClientStream, StreamKind};
use crate::{EngineError, Result};
use model::ExecId;
use model::exec::{ExecDraft, ExecView};
use std::sync::Arc;

const SOON: EngineError = EngineError::Unsupported("not yet");

/// Further processes in containers. Cheap to clone.
#[derive(Clone)]
pub struct Execs {
    #[allow(dead_code)]
    pub(crate) node: Arc<Node>,
}

impl Execs {
    /// Registers a process to start in the container that `query` names.
    pub async fn create(&self, _query: &str, _draft: ExecDraft) -> Result<ExecId> {
        Err(SOON)
    }
    /// What is known of an exec, by id or unique prefix.
    pub async fn view(&self, _id: &str) -> Result<ExecView> {
        Err(SOON)
    }
    /// Whether it could be started now, and how output would reach a client.
    pub async fn check_start(&self, _id: &str) -> Result<StreamKind> {
        Err(SOON)
    }
    /// Starts it; with `client`, the stream is handed over.
    pub async fn start(
        &self,
        _id: &str,
        _detach: bool,
        _size: Option<(u16, u16)>,
        _client: Option<ClientStream>,
    ) -> Result<()> {
        Err(SOON)
    }
    /// Sets the size of its terminal.
    pub async fn resize(&self, _id: &str, _rows: u16, _cols: u16) -> Result<()> {
        Err(SOON)
    }
}
