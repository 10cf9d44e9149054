//! The solver: takes a graph to file systems and file systems to outputs. Operations whose inputs
//! are ready run at the same time; each is looked up in the cache by its own definition and the
//! content of what it takes, and what two builds want at the same time is done once.
//!
//! ```text
//! request ─▶ front (Dockerfile ─▶ Graph) ─▶ run: one task per operation ─▶ export
//!                             (demand)       │ sources: image, local, git, http
//!                                            │ file:    files::apply
//!                                            └ exec:    Worker::run
//! key(op) = sha256(own definition, content of inputs)      cache: key ─▶ layers
//! ```
//! Dropping the future of [`Solver::solve`] ends the build; finished steps stay in the cache.

mod demand;
mod exec;
pub(crate) mod failed;
mod flight;
mod front;
mod keys;
mod op;
mod prune;
mod question;
mod run;
mod steps;
mod survey;

pub(crate) use run::{Build, Outputs};

use crate::cache::index::CacheIndex;
use crate::cache::mounts::CacheMounts;
use crate::error::{Error, Result};
use crate::export::{Asked, Export};
use crate::progress::{Event, Status, VertexInfo};
use crate::request::{Definition, Outcome, Output, Push, SolveRequest, Target};
use crate::worker::Worker;
use flight::Flights;
use model::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use store::Store;
use tokio::sync::{Semaphore, watch};

/// Builds on one node. Cheap to clone.
#[derive(Clone)]
pub struct Solver {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) worker: Arc<dyn Worker>,
    pub(crate) cache: CacheIndex,
    pub(crate) mounts: Arc<CacheMounts>,
    pub(crate) steps: Flights<Outputs>,
    /// Processes of steps that may run at the same time.
    pub(crate) slots: Semaphore,
    builds: Mutex<HashMap<String, watch::Sender<bool>>>,
}

impl Solver {
    /// A solver for the builds of a store, whose steps this worker runs.
    pub fn new(store: Store, worker: Arc<dyn Worker>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(2, usize::from);
        let inner = Inner {
            cache: CacheIndex::new(store.clone()),
            mounts: Arc::new(CacheMounts::new(store.clone())),
            steps: Flights::new(),
            slots: Semaphore::new(cpus * 2),
            builds: Mutex::default(),
            store,
            worker,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Builds. Dropping the future, or [`Solver::cancel`], ends it and removes everything of it
    /// but finished steps.
    pub async fn solve(&self, request: SolveRequest) -> Result<Outcome> {
        let (tx, mut cancelled) = watch::channel(false);
        let _registered = self.register(&request.id, tx);
        tokio::select! {
            done = self.go(request) => done,
            Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(Error::Cancelled),
        }
    }

    /// Ends a build; `false` if there is none of that id.
    pub fn cancel(&self, id: &str) -> bool {
        match self.builds().get(id) {
            Some(build) => build.send(true).is_ok(),
            None => false,
        }
    }

    fn builds(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<bool>>> {
        self.inner.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, id: &str, cancel: watch::Sender<bool>) -> Registered<'_> {
        if !id.is_empty() {
            self.builds().insert(id.to_owned(), cancel);
        }
        Registered { solver: self, id: id.to_owned() }
    }

    async fn go(&self, request: SolveRequest) -> Result<Outcome> {
        let SolveRequest { mut definition, outputs, cache_from, cache_to, attest, .. } = request;
        let keep_failed = match &definition {
            Definition::Dockerfile(dockerfile) => failed::name(&dockerfile.options.build_args)?,
            Definition::Graph { .. } | Definition::Question(..) => None,
        };
        let build = Arc::new(Build::new(
            &self.inner,
            RequestParts {
                client: request.client,
                progress: request.progress,
                no_cache: request.no_cache,
                entitlements: request.entitlements,
                network_name: request.network_name,
                source_date_epoch: request.source_date_epoch,
                review: request.review,
                keep_failed,
            },
        ));
        for output in &outputs {
            if let Output::Image { names, push: Push::Named | Push::ByDigest, .. } = output {
                names.iter().try_for_each(|name| build.allow(name))?;
            }
        }
        let (mut index, mut asked) = (false, Asked::default());
        if let Definition::Dockerfile(dockerfile) = &mut definition {
            dockerfile.options.scans = attest.sbom.is_some();
            index = crate::frontend::is_multi_platform(&dockerfile.options);
            asked = Asked::of(dockerfile);
        }
        (asked.id, asked.started) = (request.id, now());
        let (graph, targets): (_, Vec<Target>) = match definition {
            Definition::Graph { graph, targets } => (graph, targets),
            Definition::Dockerfile(dockerfile) => front::plan(&build, *dockerfile).await?,
            Definition::Question(call, dockerfile) => {
                let answer = question::answer(&build, call, *dockerfile).await?;
                return Ok(Outcome { answers: answer.metadata(), ..Outcome::default() });
            }
        };
        let platforms: Vec<_> = targets.iter().map(|target| target.platform.clone()).collect();
        crate::cache::remote::import(&build, cache_from, &platforms).await;
        let edges: Vec<_> = targets.iter().flat_map(Target::edges).collect();
        let trees = demand::run(&build, &graph, &edges).await?;
        let work = Export { graph, targets, trees, outputs, cache_to, attest, index, asked };
        // What came of other caches is kept only once its layers are fetched.
        let (outcome, settled) = match build.imports.is_empty() {
            true => tokio::join!(work.run(&build), build.settle()),
            false => (work.run(&build).await, build.settle().await),
        };
        settled?;
        outcome
    }
}

/// The request without what is built and what becomes of it.
pub(crate) struct RequestParts {
    pub(crate) client: Arc<dyn crate::client::Client>,
    pub(crate) progress: crate::progress::Progress,
    pub(crate) no_cache: bool,
    pub(crate) entitlements: crate::request::Entitlements,
    pub(crate) network_name: String,
    pub(crate) source_date_epoch: Option<i64>,
    pub(crate) review: Option<crate::request::ImageReview>,
    pub(crate) keep_failed: Option<model::ImageRef>,
}

/// A build that can be cancelled by its id.
struct Registered<'a> {
    solver: &'a Solver,
    id: String,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.solver.builds().remove(&self.id);
    }
}

/// A vertex that is no operation of the graph: a front end's or an exporter's act.
pub(crate) struct Act<'a> {
    build: &'a Build,
    vertex: crate::graph::OpDigest,
    over: bool,
}

impl<'a> Act<'a> {
    /// Tells that it began.
    pub(crate) fn begin(build: &'a Build, name: &str) -> Self {
        use sha2::Digest as _;
        let text = format!("{}\n{name}", build.number);
        let digest = sha2::Sha256::digest(text.as_bytes());
        let vertex = crate::graph::OpDigest(model::Digest::sha256(digest.into()));
        let info = VertexInfo { digest: vertex, name: name.to_owned(), inputs: Vec::new() };
        build.tell(Event::Vertices(Arc::from([info])));
        build.tell(Event::Started { vertex, at: now() });
        Self { build, vertex, over: false }
    }

    /// Which vertex it is.
    pub(crate) fn vertex(&self) -> crate::graph::OpDigest {
        self.vertex
    }

    /// Tells of a part of it while `work` goes on: what clients show below its name.
    pub(crate) async fn part<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started = Some(now());
        let tell = |completed: Option<Timestamp>| {
            let (id, at) = (name.to_owned(), now());
            let status = Status { id, started, completed, at, ..Status::default() };
            self.build.tell(Event::Status { vertex: self.vertex, status });
        };
        tell(None);
        let done = work.await;
        if done.is_ok() {
            tell(Some(now()));
        }
        done
    }

    /// Tells that it is over, and passes its outcome on.
    pub(crate) fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        self.over = true;
        let error = outcome.as_ref().err().map(Error::to_string);
        self.build.tell(Event::Completed { vertex: self.vertex, at: now(), error });
        outcome
    }
}

impl Drop for Act<'_> {
    fn drop(&mut self) {
        if !self.over {
            let error = Some(Error::Cancelled.to_string());
            self.build.tell(Event::Completed { vertex: self.vertex, at: now(), error });
        }
    }
}

/// Runs blocking work on a thread made for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::internal(format!("work was abandoned: {error}"))),
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
