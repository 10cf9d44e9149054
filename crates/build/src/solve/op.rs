//! Carrying out one operation: sources are fetched, the rest is looked up in the cache first.

use super::run::{Build, Outputs};
use super::{blocking, exec, keys, now};
use crate::cache::index;
use crate::error::{Error, Result};
use crate::files;
use crate::graph::{Op, OpKind};
use crate::progress::Event;
use crate::source;
use crate::tree::Tree;
use model::Digest;
use std::sync::Arc;

/// Carries out an operation upon its inputs.
pub(super) async fn carry_out(build: &Arc<Build>, op: &Op, inputs: Vec<Tree>) -> Result<Outputs> {
    if op.kind.is_source() {
        return source_of(build, op).await;
    }
    match &op.kind {
        OpKind::Merge => {
            build.tell(Event::Started { vertex: op.digest(), at: now() });
            let mut layers = Vec::new();
            for tree in inputs {
                layers.extend(layered(build, tree).await?);
            }
            Ok(told(build, op, Tree::Layers(layers.into())))
        }
        OpKind::Diff { lower, upper } => {
            build.tell(Event::Started { vertex: op.digest(), at: now() });
            let pick = |slot: &Option<usize>| {
                slot.and_then(|slot| inputs.get(slot).cloned()).unwrap_or(Tree::empty())
            };
            let lower = layered(build, pick(lower)).await?;
            let upper = layered(build, pick(upper)).await?;
            let over = upper.strip_prefix(lower.as_slice()).ok_or_else(|| {
                Error::unsupported("differences of unrelated file systems are not supported")
            })?;
            Ok(told(build, op, Tree::Layers(over.to_vec().into())))
        }
        _ => step(build, op, inputs).await,
    }
}

fn told(build: &Build, op: &Op, tree: Tree) -> Outputs {
    build.tell(Event::Completed { vertex: op.digest(), at: now(), error: None });
    Arc::new(vec![(0, tree)])
}

/// A tree's layers; a directory becomes one.
async fn layered(build: &Arc<Build>, tree: Tree) -> Result<Vec<Digest>> {
    let (store, lease) = (build.inner.store.clone(), Arc::clone(&build.lease));
    let options = build.layer_options();
    let tree = blocking(move || files::as_layers(&store, &lease, tree, options)).await?;
    Ok(tree.layers().unwrap_or_default().to_vec())
}

async fn source_of(build: &Arc<Build>, op: &Op) -> Result<Outputs> {
    if let Some(known) = build.known_source(op) {
        build.tell(Event::Cached { vertex: op.digest(), at: now() });
        return Ok(known);
    }
    let vertex = op.digest();
    build.tell(Event::Started { vertex, at: now() });
    let tree = match &op.kind {
        OpKind::Image(image) => {
            let platform = op.platform.clone();
            let platform = match platform.or_else(|| build.inner.worker.platforms().pop()) {
                Some(platform) => platform,
                None => crate::platform::Platform::of_this_build(),
            };
            let found = build.image(&image.reference, &platform, image.pull, vertex).await?;
            found.layers.iter().for_each(|layer| build.lease.pin(*layer));
            let limit = image.layer_limit.map_or(usize::MAX, |limit| limit as usize);
            let layers: Vec<Digest> = found.layers.into_iter().take(limit).collect();
            Tree::Layers(layers.into())
        }
        OpKind::Local(local) => source::local(build, local).await?,
        OpKind::Git(git) => source::git(build, git).await?,
        OpKind::Http(http) => source::http(build, http).await?,
        _ => return Err(Error::unsupported("OCI layouts as sources are not supported")),
    };
    build.tell(Event::Completed { vertex, at: now(), error: None });
    let outputs: Outputs = Arc::new(vec![(0, tree)]);
    build.know_source(op, &outputs);
    Ok(outputs)
}

/// A step: from the cache, or done once for everybody who wants it now.
async fn step(build: &Arc<Build>, op: &Op, inputs: Vec<Tree>) -> Result<Outputs> {
    let vertex = op.digest();
    if let OpKind::Exec(exec) = &op.kind {
        exec::check_granted(build, exec)?;
    }
    let key = {
        let (build, op, inputs) = (Arc::clone(build), op.clone(), inputs.clone());
        blocking(move || keys::key(&build, &op, &inputs)).await?
    };
    let fresh = build.no_cache || op.meta.ignore_cache;
    if !fresh && let Some(outputs) = cached(build, key).await? {
        build.tell(Event::Cached { vertex, at: now() });
        tell_result(build, op, &outputs);
        return Ok(outputs);
    }
    build.tell(Event::Started { vertex, at: now() });
    let flight = if fresh { keys::alone(key, build.number) } else { key };
    let outputs = {
        let (build, op) = (Arc::clone(build), op.clone());
        let shared = Arc::clone(&build);
        shared
            .inner
            .steps
            .join(*flight.as_bytes(), move || async move { work(&build, &op, inputs, key).await })
            .await?
    };
    // Who joined has not pinned what came of it.
    for layer in outputs.iter().flat_map(|(_, tree)| tree.layers().unwrap_or_default()) {
        build.lease.pin(*layer);
    }
    tell_result(build, op, &outputs);
    build.tell(Event::Completed { vertex, at: now(), error: None });
    Ok(outputs)
}

/// The id that legacy clients are shown: of the file system, not of an image.
fn tell_result(build: &Build, op: &Op, outputs: &Outputs) {
    if let Some((_, Tree::Layers(layers))) = outputs.first() {
        let id = crate::tree::chain(layers).hex();
        build.tell(Event::Result { vertex: op.digest(), id });
    }
}

async fn cached(build: &Arc<Build>, key: Digest) -> Result<Option<Outputs>> {
    let looking = Arc::clone(build);
    let found = blocking(move || looking.inner.cache.find(&looking.lease, key)).await?;
    Ok(found.map(|outputs| {
        let tree = |(number, layers): (usize, Vec<Digest>)| (number, Tree::Layers(layers.into()));
        Arc::new(outputs.into_iter().map(tree).collect())
    }))
}

async fn work(build: &Arc<Build>, op: &Op, inputs: Vec<Tree>, key: Digest) -> Result<Outputs> {
    let outputs: Vec<(usize, Tree)> = match &op.kind {
        OpKind::Exec(_) => exec::run(build, op, inputs).await?,
        OpKind::File(file) => {
            let (store, lease) = (build.inner.store.clone(), Arc::clone(&build.lease));
            let (file, options) = (file.clone(), build.layer_options());
            blocking(move || files::apply(&store, &lease, &file, &inputs, options)).await?
        }
        _ => return Err(Error::internal("a source is no step")),
    };
    let record: index::Outputs = outputs
        .iter()
        .map(|(number, tree)| (*number, tree.layers().unwrap_or_default().to_vec()))
        .collect();
    let (noting, name) = (Arc::clone(build), op.meta.name.clone());
    blocking(move || noting.inner.cache.put(key, &record, &name)).await?;
    Ok(Arc::new(outputs))
}
