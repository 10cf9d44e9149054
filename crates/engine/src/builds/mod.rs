//! Builds: the node as a [`build::worker::Worker`], and the handle that edges ask for builds, for
//! what the build cache holds, and for making room in it.

mod handed;
mod handouts;
mod history;
mod local;
mod look;
mod policy;
mod pull;
mod step;
mod worker;

pub use handed::{Handed, Handing, Valuables};
pub use history::PastBuild;
pub use look::{Look, Seen};
pub use policy::BuilderOptions;
pub(crate) use step::sweep;

use crate::node::Node;
use crate::streams::ByteStream;
use crate::{EngineError, Result};
use build::Solver;
use build::cache::{CacheRecord, PruneOptions};
use build::client::LocalDir;
use build::graph::Pull;
use build::request::{Outcome, SolveRequest};
use build::worker::ImageAsk;
use model::error::HasKind;
use model::event::EventKind;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Builds and their cache. Cheap to clone.
#[derive(Clone)]
pub struct Builds {
    pub(crate) node: Arc<Node>,
    solver: Solver,
    collections: Arc<Mutex<Collections>>,
}

/// Time between two collections that nobody asked for.
const COLLECT_EVERY: Duration = Duration::from_secs(10);

/// Collections of the cache that nobody asked for.
#[derive(Default)]
struct Collections {
    last: Option<Instant>,
    /// One is to come, and will see whatever was built before it.
    due: bool,
}

impl Collections {
    /// How long the next one has to wait; `None` when one waits already.
    fn next(&mut self) -> Option<Duration> {
        let since = self.last.map_or(COLLECT_EVERY, |last| last.elapsed());
        let wait = COLLECT_EVERY.saturating_sub(since);
        (!std::mem::replace(&mut self.due, true)).then_some(wait)
    }

    fn begin(&mut self) {
        *self = Self { last: Some(Instant::now()), due: false };
    }
}

impl Builds {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let worker = Arc::new(worker::NodeWorker::new(Arc::clone(&node)));
        let solver = Solver::new(node.store.clone(), worker);
        Self { solver, node, collections: Arc::default() }
    }

    /// Builds. Dropping the future, or [`Builds::cancel`], ends it and removes everything of it
    /// but finished steps.
    pub async fn solve(&self, request: SolveRequest) -> build::Result<Outcome> {
        self.node.options.builder.grant(request.entitlements)?;
        let outcome = self.solver.solve(request).await;
        self.collect_soon();
        let outcome = outcome?;
        for image in &outcome.images {
            let name = BTreeMap::from([("name".to_owned(), image.id.to_string())]);
            self.node.emit(EventKind::Image, "create", image.id.to_string(), name);
            self.node.emit(EventKind::Image, "build", image.id.to_string(), BTreeMap::new());
        }
        Ok(outcome)
    }

    /// Makes room in the cache by the daemon's rules: once in a while, and after the last build.
    fn collect_soon(&self) {
        if !self.node.options.builder.gc {
            return;
        }
        let Some(wait) = self.collections().next() else { return };
        let builds = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            builds.collections().begin();
            let rules = builds.node.options.builder.rules(builds.node.store.root());
            match builds.solver.collect(&rules).await {
                Ok((removed, freed)) if !removed.is_empty() => {
                    tracing::info!(records = removed.len(), freed, "build cache collected");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "collect the build cache"),
            }
        });
    }

    fn collections(&self) -> MutexGuard<'_, Collections> {
        self.collections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a build; `false` if there is none of that id.
    pub fn cancel(&self, id: &str) -> bool {
        self.solver.cancel(id)
    }

    /// What the build cache holds, last used first.
    pub async fn usage(&self) -> Result<Vec<CacheRecord>> {
        self.solver.usage().await.map_err(told)
    }

    /// Makes room; gives what was removed and the bytes freed.
    pub async fn prune(&self, options: PruneOptions) -> Result<(Vec<CacheRecord>, u64)> {
        let (removed, freed) = self.solver.prune(options).await.map_err(told)?;
        let reclaimed = BTreeMap::from([("reclaimed".to_owned(), freed.to_string())]);
        self.node.emit(EventKind::Builder, "prune", "", reclaimed);
        Ok((removed, freed))
    }

    /// The configuration of an image, without its layers; a registry is asked `always`, or when
    /// the image is not here.
    ///
    /// # Errors
    /// There is no such image, or none for that platform.
    pub async fn image_config(
        &self,
        reference: &str,
        platform: &build::platform::Platform,
        always: bool,
        client: &dyn build::client::Client,
    ) -> build::Result<build::worker::KnownConfig> {
        let pull = if always { Pull::Always } else { Pull::Missing };
        let progress = &|_: &str, _, _| {};
        let ask = ImageAsk { reference, platform, pull, client, progress };
        pull::config(&self.node, &ask).await
    }

    /// The platforms whose programs run here, the host's own first.
    pub fn platforms(&self) -> Vec<build::platform::Platform> {
        worker::platforms()
    }

    /// The addresses that `host-gateway` stands for.
    pub fn host_gateways(&self) -> Vec<std::net::IpAddr> {
        crate::actor::gateways_of_host(&self.node)
    }

    /// Takes a context in: a tar, plain or compressed, into a directory of its own.
    pub async fn receive(&self, body: ByteStream) -> Result<LocalDir> {
        let store = self.node.store.clone();
        crate::node::blocking(move || {
            let dir = Arc::new(store.temp_dir()?);
            let mut source = crate::chunks::Source::new(body);
            let options = store::archive::WriteOptions::default();
            store::archive::write(dir.dir().as_fd(), "/", &mut source, options)?;
            source.drain();
            let open = dir.dir().try_clone();
            let open = open.map_err(|source| EngineError::io("open a build context", source))?;
            Ok(LocalDir { dir: Arc::new(open), lasting: false, keep: Some(dir) })
        })
        .await
    }
}

fn told(error: build::Error) -> EngineError {
    EngineError::Denied(model::Denied { kind: error.kind(), message: error.to_string() })
}
