//! One build's way through its graph: a task per operation, each waiting for its inputs.

use super::{Inner, RequestParts, now, op};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::graph::{Edge, Graph, Op, OpDigest, OpId, Pull};
use crate::platform::Platform;
use crate::progress::{Event, Progress, Status, VertexInfo};
use crate::request::Entitlements;
use crate::tree::Tree;
use crate::worker::{BaseImage, ImageAsk};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{LayerOptions, Lease};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The outputs of an operation by number.
pub(crate) type Outputs = Arc<Vec<(usize, Tree)>>;

/// A build under way.
pub(crate) struct Build {
    pub(crate) inner: Arc<Inner>,
    /// Tells builds of this process apart.
    pub(crate) number: u64,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) progress: Progress,
    /// Spares what this build has made or found.
    pub(crate) lease: Arc<Lease>,
    pub(crate) no_cache: bool,
    pub(crate) entitlements: Entitlements,
    pub(crate) network_name: String,
    pub(crate) source_date_epoch: Option<i64>,
    /// What sources gave, so that a second graph of the same build asks nobody again.
    sources: Mutex<HashMap<[u8; 32], Outputs>>,
    /// Images found; held while one is being looked for, so that each is asked for once.
    images: tokio::sync::Mutex<HashMap<(String, Platform), BaseImage>>,
}

impl Build {
    pub(crate) fn new(inner: &Arc<Inner>, parts: RequestParts) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self {
            inner: Arc::clone(inner),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            client: parts.client,
            progress: parts.progress,
            lease: Arc::new(inner.store.lease()),
            no_cache: parts.no_cache,
            entitlements: parts.entitlements,
            network_name: parts.network_name,
            source_date_epoch: parts.source_date_epoch,
            sources: Mutex::default(),
            images: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        self.progress.tell(event);
    }

    /// How this build's layers are written.
    pub(crate) fn layer_options(&self) -> LayerOptions {
        LayerOptions {
            latest_mtime: self.source_date_epoch,
            // Every instruction that may change files has a layer: images' histories count them.
            keep_empty: true,
            ..LayerOptions::default()
        }
    }

    /// What a source gave before in this build.
    pub(crate) fn known_source(&self, op: &Op) -> Option<Outputs> {
        let known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(op.digest().0.as_bytes()).cloned()
    }

    pub(crate) fn know_source(&self, op: &Op, outputs: &Outputs) {
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(*op.digest().0.as_bytes(), Arc::clone(outputs));
    }
}

impl Build {
    /// An image; asked for once in a build.
    pub(crate) async fn image(
        &self,
        reference: &str,
        platform: &Platform,
        pull: Pull,
        vertex: OpDigest,
    ) -> Result<BaseImage> {
        let key = (reference.to_owned(), platform.clone());
        let mut images = self.images.lock().await;
        if let Some(known) = images.get(&key) {
            return Ok(known.clone());
        }
        let telling = self.progress.clone();
        let progress = move |part: &str, done: u64, total: u64| {
            telling.tell(Event::Status { vertex, status: status(part, done, total) });
        };
        let ask =
            ImageAsk { reference, platform, pull, client: &*self.client, progress: &progress };
        let found = self.inner.worker.image(ask).await?;
        found.layers.iter().for_each(|layer| self.lease.pin(*layer));
        self.lease.pin(found.id);
        images.insert(key, found.clone());
        Ok(found)
    }
}

/// How far a part is, in bytes.
pub(crate) fn status(part: &str, done: u64, total: u64) -> Status {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let at = now();
    Status {
        id: part.to_owned(),
        name: String::new(),
        current: number(done),
        total: number(total),
        started: Some(at),
        completed: (total > 0 && done >= total).then_some(at),
        at,
    }
}

/// How far an operation is: its outputs, or that it cannot come to be.
type Done = Option<std::result::Result<Outputs, ()>>;

/// Runs what the edges need; gives their file systems in order.
pub(crate) async fn run(
    build: &Arc<Build>,
    graph: &Arc<Graph>,
    edges: &[Option<Edge>],
) -> Result<Vec<Tree>> {
    let needed = graph.needed(edges.iter().flatten().map(|edge| edge.op));
    tell_vertices(build, graph, &needed);
    let mut waits: Vec<Option<watch::Receiver<Done>>> = Vec::with_capacity(needed.len());
    // Dropped with this future: what runs is ended.
    let mut tasks = JoinSet::new();
    for (id, op) in graph.iter() {
        if !needed[id.0] {
            waits.push(None);
            continue;
        }
        let inputs: Vec<(watch::Receiver<Done>, usize)> = op
            .inputs
            .iter()
            .filter_map(|edge| Some((waits[edge.op.0].clone()?, edge.output)))
            .collect();
        let (tx, rx) = watch::channel(None);
        waits.push(Some(rx));
        tasks.spawn(one(Arc::clone(build), Arc::clone(graph), id, inputs, tx));
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| Error::internal(format!("an operation was abandoned: {error}")))??;
    }
    edges.iter().map(|edge| edge.map_or(Ok(Tree::empty()), |edge| result(&waits, edge))).collect()
}

fn result(waits: &[Option<watch::Receiver<Done>>], edge: Edge) -> Result<Tree> {
    let done = waits.get(edge.op.0).and_then(Option::as_ref).map(|wait| wait.borrow().clone());
    match done {
        Some(Some(Ok(outputs))) => output(&outputs, edge.output),
        _ => Err(Error::internal("an operation has no result")),
    }
}

/// One output of an operation.
pub(crate) fn output(outputs: &Outputs, number: usize) -> Result<Tree> {
    let found = outputs.iter().find(|(known, _)| *known == number);
    let found = found.map(|(_, tree)| tree.clone());
    found.ok_or_else(|| Error::internal(format!("an operation has no output {number}")))
}

async fn one(
    build: Arc<Build>,
    graph: Arc<Graph>,
    id: OpId,
    inputs: Vec<(watch::Receiver<Done>, usize)>,
    tx: watch::Sender<Done>,
) -> Result<()> {
    let mut trees = Vec::with_capacity(inputs.len());
    for (mut wait, number) in inputs {
        let done = match wait.wait_for(Option::is_some).await {
            Ok(done) => done.clone(),
            Err(_) => None,
        };
        match done {
            Some(Ok(outputs)) => trees.push(output(&outputs, number)?),
            // It has told why itself.
            _ => {
                let _ = tx.send(Some(Err(())));
                return Ok(());
            }
        }
    }
    let Some(op) = graph.op(id) else { return Ok(()) };
    match op::carry_out(&build, op, trees).await {
        Ok(outputs) => {
            // Nobody may wait for it.
            let _ = tx.send(Some(Ok(outputs)));
            Ok(())
        }
        Err(error) => {
            let _ = tx.send(Some(Err(())));
            let at = now();
            let text = Some(error.to_string());
            build.tell(Event::Completed { vertex: op.digest(), at, error: text });
            Err(Error::Vertex {
                name: op.meta.name.clone(),
                location: op.meta.location.clone(),
                source: Box::new(error),
            })
        }
    }
}

fn tell_vertices(build: &Build, graph: &Graph, needed: &[bool]) {
    let infos: Vec<VertexInfo> = graph
        .iter()
        .filter(|(id, _)| needed[id.0])
        .map(|(_, op)| VertexInfo {
            digest: op.digest(),
            name: op.meta.name.clone(),
            inputs: op.inputs.iter().filter_map(|edge| graph.op(edge.op).map(Op::digest)).collect(),
        })
        .collect();
    build.tell(Event::Vertices(infos.into()));
}
