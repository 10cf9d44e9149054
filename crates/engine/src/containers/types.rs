//! What goes in and out with orders to containers.

use crate::{EngineError, Result};
use model::ContainerId;

/// A new container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// What was not as asked.
    pub warnings: Vec<String>,
}

/// Whether an order changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// It already was so (HTTP 304).
    NotModified,
}

/// How a container is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it first when it runs.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (now counts).
    #[default]
    NotRunning,
    /// Its next exit.
    NextExit,
    /// It is gone.
    Removed,
}

/// How a container ended, for who waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitStatus {
    /// Exit code.
    pub code: i64,
    /// Why waiting or the container failed; empty otherwise.
    pub error: String,
}

/// A registered wait: nothing that happens after it was made is missed.
#[derive(Debug)]
pub struct WaitHandle {
    pub(crate) rx: tokio::sync::oneshot::Receiver<ExitStatus>,
}

impl WaitHandle {
    /// Waits. Fails when the daemon ends first.
    pub async fn done(self) -> Result<ExitStatus> {
        self.rx.await.map_err(|_| EngineError::internal("the daemon is shutting down"))
    }
}
