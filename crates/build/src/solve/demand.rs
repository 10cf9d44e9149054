//! One build's way through its graph: a task per operation. Each first finds out what it is (by
//! its definition and the content of the sources below it), which may be known already; it is
//! carried out only when somebody needs its result.
//!
//! ```text
//! survey ─▶ identify (inputs' names ─▶ own name ─▶ known?) ─── up the graph
//! targets ── demand ─▶ known: there it is
//!                      else: demand inputs ─▶ wait ─▶ look by content, or do it
//! ```
//! What nobody asked for in the end is what a known step made needless.

use super::keys::{self, Input};
use super::run::{Build, Outputs, output};
use super::{blocking, now, op, survey};
use crate::error::{Error, Result};
use crate::graph::{Edge, Graph, Op, OpDigest, OpId};
use crate::progress::{Event, VertexInfo};
use crate::tree::Tree;
use model::Digest;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What an operation is, before it is carried out.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) definition: Digest,
    /// It, or something below it, is not to be taken from the cache: its name says nothing about
    /// its content.
    pub(super) fresh: bool,
}

/// Something that comes to be, or cannot.
type Coming<T> = watch::Sender<Option<std::result::Result<T, ()>>>;

/// An operation, as others see it.
struct Place {
    name: Coming<Name>,
    demand: watch::Sender<bool>,
    done: Coming<Outputs>,
    /// What it was found to be without being asked for it.
    known: Mutex<Option<op::Known>>,
}

impl Place {
    fn new() -> Self {
        Self {
            name: watch::Sender::new(None),
            demand: watch::Sender::new(false),
            done: watch::Sender::new(None),
            known: Mutex::default(),
        }
    }

    /// It cannot come to be; why was told.
    fn fail(&self) {
        self.name.send_replace(Some(Err(())));
        self.done.send_replace(Some(Err(())));
    }
}

async fn wait<T: Clone>(coming: &Coming<T>) -> std::result::Result<T, ()> {
    let mut coming = coming.subscribe();
    match coming.wait_for(Option::is_some).await {
        Ok(came) => came.clone().unwrap_or(Err(())),
        Err(_) => Err(()),
    }
}

struct Way {
    build: Arc<Build>,
    graph: Arc<Graph>,
    places: Vec<Option<Place>>,
}

/// Runs what the edges need; gives their file systems in order.
pub(crate) async fn run(
    build: &Arc<Build>,
    graph: &Arc<Graph>,
    edges: &[Option<Edge>],
) -> Result<Vec<Tree>> {
    let needed = graph.needed(edges.iter().flatten().map(|edge| edge.op));
    tell_vertices(build, graph, &needed);
    let places = needed.iter().map(|needed| needed.then(Place::new)).collect();
    let way = Arc::new(Way { build: Arc::clone(build), graph: Arc::clone(graph), places });
    way.survey(&needed).await;
    edges.iter().flatten().for_each(|edge| way.demand(*edge));
    if !way.take_known(edges)? {
        carry_on(&way, edges).await?;
    }
    way.tell_needless();
    edges.iter().map(|edge| edge.map_or(Ok(Tree::empty()), |edge| way.result(edge))).collect()
}

/// A task for each operation that is not done, until the edges are.
async fn carry_on(way: &Arc<Way>, edges: &[Option<Edge>]) -> Result<()> {
    // Dropped with this future: what runs is ended.
    let mut tasks = JoinSet::new();
    for (id, _) in way.graph.iter() {
        let left = way.place(id).is_ok_and(|place| place.done.borrow().is_none());
        if left {
            tasks.spawn(one(Arc::clone(way), id));
        }
    }
    while !way.all_done(edges) {
        match tasks.join_next().await {
            Some(done) => done.map_err(|error| {
                Error::internal(format!("an operation was abandoned: {error}"))
            })??,
            None => break,
        }
    }
    Ok(())
}

impl Way {
    /// Notes what can be said without a task.
    async fn survey(&self, needed: &[bool]) {
        let sources = survey::sources(&self.build, &self.graph, needed).await;
        if sources.iter().all(Option::is_none) {
            return;
        }
        let steps = survey::steps(&self.build, &self.graph, needed, &sources).await;
        for (place, source) in self.places.iter().zip(sources) {
            if let (Some(place), Some(outputs)) = (place, source) {
                place.done.send_replace(Some(Ok(outputs)));
            }
        }
        for (place, step) in self.places.iter().zip(steps) {
            if let (Some(place), Some((name, known))) = (place, step) {
                *place.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
                place.name.send_replace(Some(Ok(name)));
            }
        }
    }

    /// Takes every edge's result from the cache, if all are known.
    fn take_known(&self, edges: &[Option<Edge>]) -> Result<bool> {
        let mut known = Vec::new();
        for edge in edges.iter().flatten() {
            let place = self.place(edge.op)?;
            let found = place.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match found {
                Some(found) => known.push((edge.op, found)),
                None if place.done.borrow().is_some() => {}
                None => return Ok(false),
            }
        }
        for (id, known) in known {
            let (Some(op), place) = (self.graph.op(id), self.place(id)?) else { continue };
            if place.done.borrow().is_none() {
                let outputs = taken(&self.build, op, known).map_err(|error| failed(op, error))?;
                place.done.send_replace(Some(Ok(outputs)));
            }
        }
        Ok(true)
    }

    fn place(&self, id: OpId) -> Result<&Place> {
        let place = self.places.get(id.0).and_then(Option::as_ref);
        place.ok_or_else(|| Error::internal("an operation has no place"))
    }

    fn demand(&self, edge: Edge) {
        if let Ok(place) = self.place(edge.op) {
            place.demand.send_replace(true);
        }
    }

    /// Whether every result is there. One that cannot come to be is not: the task that failed has
    /// yet to say why.
    fn all_done(&self, edges: &[Option<Edge>]) -> bool {
        let done = |edge: &Edge| {
            self.place(edge.op).is_ok_and(|it| matches!(&*it.done.borrow(), Some(Ok(_))))
        };
        edges.iter().flatten().all(done)
    }

    fn result(&self, edge: Edge) -> Result<Tree> {
        match &*self.place(edge.op)?.done.borrow() {
            Some(Ok(outputs)) => output(outputs, edge.output),
            _ => Err(Error::internal("an operation has no result")),
        }
    }

    /// What a known step made needless counts as taken from the cache.
    fn tell_needless(&self) {
        for (id, op) in self.graph.iter() {
            let Ok(place) = self.place(id) else { continue };
            if place.done.borrow().is_some() || *place.demand.borrow() {
                continue;
            }
            self.build.tell(Event::Cached { vertex: op.digest(), at: now() });
            let known = place.known.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(known) = known {
                op::tell_result(&self.build, op, &known.outputs);
                self.build.note(known);
            }
        }
    }

    /// What the operation takes, by name; `None` if an input cannot come to be.
    async fn named_inputs(&self, op: &Op) -> Result<Option<(Vec<Input>, bool)>> {
        let mut inputs = Vec::with_capacity(op.inputs.len());
        let mut fresh = self.build.no_cache || op.meta.ignore_cache;
        for edge in &op.inputs {
            let place = self.place(edge.op)?;
            if self.graph.op(edge.op).is_some_and(|op| op.kind.is_source()) {
                match wait(&place.done).await {
                    Ok(outputs) => inputs.push(Input::Tree(output(&outputs, edge.output)?)),
                    Err(()) => return Ok(None),
                }
                continue;
            }
            match wait(&place.name).await {
                Ok(name) => {
                    fresh |= name.fresh;
                    let definition = keys::output_of(name.definition, edge.output);
                    inputs.push(Input::Definition(definition));
                }
                Err(()) => return Ok(None),
            }
        }
        Ok(Some((inputs, fresh)))
    }

    /// What the operation takes; `None` if an input cannot come to be.
    async fn inputs(&self, op: &Op) -> Result<Option<Vec<Tree>>> {
        op.inputs.iter().for_each(|edge| self.demand(*edge));
        let mut trees = Vec::with_capacity(op.inputs.len());
        for edge in &op.inputs {
            match wait(&self.place(edge.op)?.done).await {
                Ok(outputs) => trees.push(output(&outputs, edge.output)?),
                Err(()) => return Ok(None),
            }
        }
        Ok(Some(trees))
    }
}

async fn one(way: Arc<Way>, id: OpId) -> Result<()> {
    let (Some(op), Ok(place)) = (way.graph.op(id), way.place(id)) else { return Ok(()) };
    match goes(&way, op, place).await {
        Ok(Some(outputs)) => {
            place.done.send_replace(Some(Ok(outputs)));
            Ok(())
        }
        // What it needed has told why itself.
        Ok(None) => {
            place.fail();
            Ok(())
        }
        Err(error) => {
            place.fail();
            let text = Some(error.to_string());
            way.build.tell(Event::Completed { vertex: op.digest(), at: now(), error: text });
            Err(failed(op, error))
        }
    }
}

fn failed(op: &Op, error: Error) -> Error {
    let word = match error.root() {
        Error::Missing { path } => path.as_str(),
        _ => "",
    };
    Error::Vertex {
        name: op.meta.name.clone(),
        location: op.meta.location.as_ref().map(|location| location.pointing_at(word)),
        source: Box::new(error),
    }
}

/// A result from the cache: told and noted.
fn taken(build: &Build, op: &Op, known: op::Known) -> Result<Outputs> {
    op::check_granted(build, op)?;
    build.tell(Event::Cached { vertex: op.digest(), at: now() });
    op::tell_result(build, op, &known.outputs);
    let outputs = Arc::clone(&known.outputs);
    build.note(known);
    Ok(outputs)
}

async fn goes(way: &Way, op: &Op, place: &Place) -> Result<Option<Outputs>> {
    let build = &way.build;
    if op.kind.is_source() {
        return op::source_of(build, op).await.map(Some);
    }
    let Some((definition, known)) = identified(way, op, place).await? else { return Ok(None) };
    // Without other caches than this node's, what it does not know has to be done.
    let eager = known.is_none() && build.imports.is_empty();
    if !eager {
        let mut demand = place.demand.subscribe();
        if demand.wait_for(|demand| *demand).await.is_err() {
            return Ok(None);
        }
    }
    if let Some(known) = known {
        return taken(build, op, known).map(Some);
    }
    let Some(trees) = way.inputs(op).await? else { return Ok(None) };
    op::carry_out(build, op, trees, definition).await.map(Some)
}

/// Its name and what is known of it, found out now unless the survey did; `None` if an input cannot
/// come to be.
async fn identified(
    way: &Way,
    op: &Op,
    place: &Place,
) -> Result<Option<(Digest, Option<op::Known>)>> {
    let surveyed = *place.name.borrow();
    if let Some(Ok(name)) = surveyed {
        let known = place.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        return Ok(Some((name.definition, known)));
    }
    let build = &way.build;
    let Some((inputs, fresh)) = way.named_inputs(op).await? else { return Ok(None) };
    let (definition, known) = {
        let (build, op) = (Arc::clone(build), op.clone());
        blocking(move || {
            let definition = keys::key(&build, &op, &inputs)?;
            let known = match op::is_step(&op) && !fresh {
                true => op::look(&build, &op, definition)?,
                false => None,
            };
            Ok((definition, known))
        })
        .await?
    };
    *place.known.lock().unwrap_or_else(PoisonError::into_inner) = known.clone();
    place.name.send_replace(Some(Ok(Name { definition, fresh })));
    Ok(Some((definition, known)))
}

fn tell_vertices(build: &Build, graph: &Graph, needed: &[bool]) {
    let infos: Vec<VertexInfo> = graph
        .iter()
        .filter(|(id, _)| needed[id.0])
        .map(|(_, op)| VertexInfo {
            digest: op.digest(),
            name: op.meta.name.clone(),
            inputs: inputs_of(graph, op),
        })
        .collect();
    build.tell(Event::Vertices(infos.into()));
}

fn inputs_of(graph: &Graph, op: &Op) -> Vec<OpDigest> {
    op.inputs.iter().filter_map(|edge| graph.op(edge.op).map(Op::digest)).collect()
}
