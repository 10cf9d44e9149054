//! Containers, for those who ask about them or give them orders.

use crate::node::Node;
use crate::streams::*;
use crate::{EngineError, Result, Stats};
use model::draft::UpdateDraft;
use model::image::{ImageConfig, ImageDraft};
use model::signal::Signal;
use model::view::ContainerView;
use model::{ContainerId, ContainerName, Draft, ImageId};
use std::sync::Arc;

const SOON: EngineError = EngineError::Unsupported("not yet");

/// Containers and their lives. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    #[allow(dead_code)]
    pub(crate) node: Arc<Node>,
}

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
    /// Remove a legacy link instead of the container.
    pub link: bool,
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

impl Containers {
    /// Makes a container.
    pub async fn create(&self, _name: Option<ContainerName>, _draft: Draft) -> Result<Created> {
        Err(SOON)
    }
    /// Every container, newest first, as of now; never waits.
    pub fn list(&self) -> Vec<Arc<ContainerView>> {
        Vec::new()
    }
    /// One container as of now; never waits.
    pub fn view(&self, _query: &str) -> Result<Arc<ContainerView>> {
        Err(SOON)
    }
    /// Bytes of the writable layer, and of the whole root.
    pub async fn sizes(&self, _query: &str) -> Result<(u64, u64)> {
        Err(SOON)
    }
    /// Starts it.
    pub async fn start(&self, _query: &str) -> Result<Outcome> {
        Err(SOON)
    }
    /// Stops it: `signal` (the container's own when absent), then SIGKILL after `timeout_s`
    /// (the container's own when absent; -1 waits for ever).
    pub async fn stop(
        &self,
        _query: &str,
        _signal: Option<Signal>,
        _timeout_s: Option<i64>,
    ) -> Result<Outcome> {
        Err(SOON)
    }
    /// Stops it when it runs, and starts it.
    pub async fn restart(
        &self,
        _query: &str,
        _signal: Option<Signal>,
        _timeout_s: Option<i64>,
    ) -> Result<()> {
        Err(SOON)
    }
    /// Sends a signal to its init; SIGKILL when absent.
    pub async fn kill(&self, _query: &str, _signal: Option<Signal>) -> Result<()> {
        Err(SOON)
    }
    /// Freezes it.
    pub async fn pause(&self, _query: &str) -> Result<()> {
        Err(SOON)
    }
    /// Thaws it.
    pub async fn unpause(&self, _query: &str) -> Result<()> {
        Err(SOON)
    }
    /// Gives it another name.
    pub async fn rename(&self, _query: &str, _name: ContainerName) -> Result<()> {
        Err(SOON)
    }
    /// Changes its limits and restart policy; returns warnings.
    pub async fn update(&self, _query: &str, _change: UpdateDraft) -> Result<Vec<String>> {
        Err(SOON)
    }
    /// Removes it.
    pub async fn remove(&self, _query: &str, _options: RemoveOptions) -> Result<()> {
        Err(SOON)
    }
    /// Registers a wait.
    pub async fn wait(&self, _query: &str, _condition: WaitCondition) -> Result<WaitHandle> {
        Err(SOON)
    }
    /// Sets the size of its terminal.
    pub async fn resize(&self, _query: &str, _rows: u16, _cols: u16) -> Result<()> {
        Err(SOON)
    }
    /// Whether a client could attach, and how output would reach it.
    pub async fn check_attach(&self, _query: &str) -> Result<StreamKind> {
        Err(SOON)
    }
    /// Attaches a client; returns when its stream was handed over.
    pub async fn attach(
        &self,
        _query: &str,
        _options: AttachOptions,
        _client: ClientStream,
    ) -> Result<()> {
        Err(SOON)
    }
    /// Lines of its log.
    pub async fn logs(&self, _query: &str, _options: LogOptions) -> Result<LogStream> {
        Err(SOON)
    }
    /// Its processes, as `ps` with these arguments lists them.
    pub async fn top(&self, _query: &str, _ps_args: &str) -> Result<Top> {
        Err(SOON)
    }
    /// How its root differs from its image.
    pub async fn changes(&self, _query: &str) -> Result<Vec<Change>> {
        Err(SOON)
    }
    /// One sample of what it uses.
    pub async fn stats(&self, _query: &str) -> Result<Stats> {
        Err(SOON)
    }
    /// Its root as a tar archive.
    pub async fn export(&self, _query: &str) -> Result<ByteStream> {
        Err(SOON)
    }
    /// What is known of a path in it.
    pub async fn path_stat(&self, _query: &str, _path: &str) -> Result<PathStat> {
        Err(SOON)
    }
    /// A path in it as a tar archive.
    pub async fn archive_get(&self, _query: &str, _path: &str) -> Result<(PathStat, ByteStream)> {
        Err(SOON)
    }
    /// Unpacks a tar archive into a directory of it.
    pub async fn archive_put(
        &self,
        _query: &str,
        _path: &str,
        _options: ArchivePut,
        _body: ByteStream,
    ) -> Result<()> {
        Err(SOON)
    }
    /// Makes an image of it. `config` replaces the container's configuration.
    pub async fn commit(
        &self,
        _query: &str,
        _pause: bool,
        _draft: ImageDraft,
        _config: Option<ImageConfig>,
    ) -> Result<ImageId> {
        Err(SOON)
    }
    /// Removes every container that does not run and that `keep` does not name; returns them and
    /// the bytes freed.
    pub async fn prune(
        &self,
        _keep: &(dyn Fn(&ContainerView) -> bool + Sync),
    ) -> Result<(Vec<ContainerId>, u64)> {
        Err(SOON)
    }
}
