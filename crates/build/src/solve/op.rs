//! Carrying out one operation: sources are fetched, the rest is looked up in the cache first.

use super::keys::{self, Input};
use super::run::{Build, Outputs};
use super::{blocking, exec, now};
use crate::cache::index;
use crate::error::{Error, Result};
use crate::files;
use crate::graph::{Op, OpKind};
use crate::progress::Event;
use crate::source;
use crate::tree::Tree;
use model::Digest;
use std::sync::Arc;

/// A step whose result is known.
#[derive(Clone)]
pub(crate) struct Known {
    /// Names of it in caches: its key, its definition.
    pub(crate) keys: Vec<Digest>,
    /// Its record in this node's cache; none for one of another cache.
    pub(crate) record: Option<String>,
    /// As shown.
    pub(crate) title: String,
    /// Its result.
    pub(crate) outputs: Outputs,
}

impl Known {
    /// Puts what another cache knew into this node's. Blocking.
    pub(crate) fn keep(&self, build: &Build) -> Result<()> {
        let record: index::Outputs = layers_of(&self.outputs);
        let layers = build.inner.store.layers();
        for layer in record.iter().flat_map(|(_, layers)| layers) {
            if layers.find(*layer)?.is_none() {
                // Never fetched, because nothing needed it.
                return Ok(());
            }
        }
        match self.keys.first() {
            Some(key) => build.inner.cache.put(*key, &record, &self.title),
            None => Ok(()),
        }
    }
}

fn layers_of(outputs: &Outputs) -> index::Outputs {
    let layers = |tree: &Tree| tree.layers().unwrap_or_default().to_vec();
    outputs.iter().map(|(number, tree)| (*number, layers(tree))).collect()
}

/// Whether an operation is looked up in caches.
pub(super) fn is_step(op: &Op) -> bool {
    matches!(op.kind, OpKind::Exec(_) | OpKind::File(_))
}

/// What a step may do beyond the default has to be granted, known or not.
pub(super) fn check_granted(build: &Build, op: &Op) -> Result<()> {
    match &op.kind {
        OpKind::Exec(exec) => exec::check_granted(build, exec),
        _ => Ok(()),
    }
}

/// Carries out an operation upon its inputs; `definition` is its name.
pub(super) async fn carry_out(
    build: &Arc<Build>,
    op: &Op,
    inputs: Vec<Tree>,
    definition: Digest,
) -> Result<Outputs> {
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
        _ => step(build, op, inputs, definition).await,
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

/// What a source gives.
pub(super) async fn source_of(build: &Arc<Build>, op: &Op) -> Result<Outputs> {
    if let Some(known) = build.known_source(op) {
        build.tell(Event::Cached { vertex: op.digest(), at: now() });
        return Ok(known);
    }
    let vertex = op.digest();
    build.tell(Event::Started { vertex, at: now() });
    let tree = match &op.kind {
        OpKind::Image(image) => {
            let platform = platform_of(build, op);
            let found = build.image(&image.reference, &platform, image.pull, vertex).await?;
            found.layers.iter().for_each(|layer| build.lease.pin(*layer));
            let limit = image.layer_limit.map_or(usize::MAX, |limit| limit as usize);
            let layers: Vec<Digest> = found.layers.into_iter().take(limit).collect();
            Tree::Layers(layers.into())
        }
        OpKind::Local(local) => source::local(build, local).await?,
        OpKind::Git(git) => source::git(build, git).await?,
        OpKind::Http(http) => source::http(build, http).await?,
        OpKind::OciLayout(layout) => {
            let platform = platform_of(build, op);
            source::oci_layout(build, layout, &platform).await?
        }
        _ => return Err(Error::internal("a step is no source")),
    };
    build.tell(Event::Completed { vertex, at: now(), error: None });
    let outputs: Outputs = Arc::new(vec![(0, tree)]);
    build.know_source(op, &outputs);
    Ok(outputs)
}

/// What a source is for: what it says, or this host.
pub(super) fn platform_of(build: &Build, op: &Op) -> crate::platform::Platform {
    let host = || build.inner.worker.platforms().into_iter().next();
    let own = op.platform.clone().or_else(host);
    own.unwrap_or_else(crate::platform::Platform::of_this_build)
}

/// A step: from the cache by the content of what it takes, or done once for everybody who wants it
/// now.
async fn step(
    build: &Arc<Build>,
    op: &Op,
    inputs: Vec<Tree>,
    definition: Digest,
) -> Result<Outputs> {
    let vertex = op.digest();
    check_granted(build, op)?;
    for tree in &inputs {
        build.fetch(tree.layers().unwrap_or_default()).await?;
    }
    let key = {
        let (build, op) = (Arc::clone(build), op.clone());
        let inputs: Vec<Input> = inputs.iter().cloned().map(Input::Tree).collect();
        blocking(move || keys::key(&build, &op, &inputs)).await?
    };
    let fresh = build.no_cache || op.meta.ignore_cache;
    if !fresh
        && definition != key
        && let Some(mut found) = known(build, op, key).await?
    {
        if let Some(record) = found.record.clone() {
            let build = Arc::clone(build);
            blocking(move || build.inner.cache.alias(definition, &record)).await?;
            found.keys.push(definition);
        }
        build.tell(Event::Cached { vertex, at: now() });
        tell_result(build, op, &found.outputs);
        let outputs = Arc::clone(&found.outputs);
        build.note(found);
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
    // Also when it was done anew on purpose: from now on this is what the definition gives.
    let noting = Arc::clone(build);
    blocking(move || noting.inner.cache.alias(definition, &key.hex())).await?;
    tell_result(build, op, &outputs);
    build.note(Known {
        keys: if definition == key { vec![key] } else { vec![key, definition] },
        record: Some(key.hex()),
        title: op.meta.name.clone(),
        outputs: Arc::clone(&outputs),
    });
    build.tell(Event::Completed { vertex, at: now(), error: None });
    Ok(outputs)
}

/// The id that legacy clients are shown: of the file system, not of an image.
pub(super) fn tell_result(build: &Build, op: &Op, outputs: &Outputs) {
    if let Some((_, Tree::Layers(layers))) = outputs.first() {
        let id = crate::tree::chain(layers).hex();
        build.tell(Event::Result { vertex: op.digest(), id });
    }
}

/// A step that this node's cache knows by its key or its definition, or another one by either.
pub(super) async fn known(build: &Arc<Build>, op: &Op, key: Digest) -> Result<Option<Known>> {
    let (build, op) = (Arc::clone(build), op.clone());
    blocking(move || look(&build, &op, key)).await
}

/// The same. Blocking.
pub(super) fn look(build: &Build, op: &Op, key: Digest) -> Result<Option<Known>> {
    let title = op.meta.name.clone();
    if let Some((record, outputs)) = build.inner.cache.find(&build.lease, key)? {
        let tree = |(number, layers): (usize, Vec<Digest>)| (number, Tree::Layers(layers.into()));
        let outputs = Arc::new(outputs.into_iter().map(tree).collect());
        return Ok(Some(Known { keys: vec![key], record: Some(record), title, outputs }));
    }
    // Other caches know steps with one result only.
    let number = match &op.kind {
        OpKind::Exec(exec) => exec.root.output,
        OpKind::File(file) => file.actions.iter().find_map(|action| action.output),
        _ => None,
    };
    let (Some(number), Some(layers)) = (number, build.imports.find(key)) else { return Ok(None) };
    let outputs: Outputs = Arc::new(vec![(number, Tree::Layers(layers.into()))]);
    Ok(Some(Known { keys: vec![key], record: None, title, outputs }))
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
    let outputs: Outputs = Arc::new(outputs);
    let record = layers_of(&outputs);
    store::failpoint::hit("build.step.done");
    let (noting, name) = (Arc::clone(build), op.meta.name.clone());
    blocking(move || noting.inner.cache.put(key, &record, &name)).await?;
    store::failpoint::hit("build.step.noted");
    Ok(outputs)
}
