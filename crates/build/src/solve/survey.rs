//! What can be said of a graph at once: where what it begins with is at hand and little has to be
//! read, one thread goes through its operations in order, instead of a task for each that waits for
//! those before it. A build of which everything is known is over then; whatever has to be fetched,
//! read or done is left to the tasks, which run side by side.

use super::demand::Name;
use super::keys::{self, Input};
use super::op::{self, Known};
use super::run::{Build, Outputs, output};
use super::{blocking, op::source_of};
use crate::graph::{Graph, Op, OpKind};
use std::sync::Arc;

/// What was found of an operation: what it is, and its result if that is known. Nothing of what
/// was left to the tasks.
pub(super) type Found = Option<(Name, Option<Known>)>;

/// Sources that cost nothing, by their place: images that this build has looked for already, and
/// directories that the client has put into our hands.
pub(super) async fn sources(
    build: &Arc<Build>,
    graph: &Graph,
    needed: &[bool],
) -> Vec<Option<Outputs>> {
    let mut found = Vec::with_capacity(needed.len());
    for (id, op) in graph.iter() {
        let at_hand = match &op.kind {
            OpKind::Image(image) => {
                build.has_image(&image.reference, &op::platform_of(build, op)).await
            }
            OpKind::Local(_) => build.client.is_near(),
            _ => false,
        };
        found.push(match at_hand && needed[id.0] {
            // A task will say what is wrong.
            true => source_of(build, op).await.ok(),
            false => None,
        });
    }
    found
}

/// Goes through the operations that stand on such sources.
pub(super) async fn steps(
    build: &Arc<Build>,
    graph: &Arc<Graph>,
    needed: &[bool],
    sources: &[Option<Outputs>],
) -> Vec<Found> {
    let (going, graph) = (Arc::clone(build), Arc::clone(graph));
    let (needed, sources) = (needed.to_vec(), sources.to_vec());
    let through = move || {
        let mut found: Vec<Found> = Vec::with_capacity(needed.len());
        for (id, op) in graph.iter() {
            let step = match needed[id.0] && !op.kind.is_source() {
                true => one(&going, &graph, op, (&sources, &found)),
                false => None,
            };
            found.push(step);
        }
        Ok(found)
    };
    blocking(through).await.unwrap_or_default()
}

fn one(
    build: &Build,
    graph: &Graph,
    op: &Op,
    (sources, found): (&[Option<Outputs>], &[Found]),
) -> Found {
    let mut fresh = build.no_cache || op.meta.ignore_cache;
    let mut inputs = Vec::with_capacity(op.inputs.len());
    for edge in &op.inputs {
        inputs.push(match graph.op(edge.op)?.kind.is_source() {
            true => Input::Tree(output(sources[edge.op.0].as_ref()?, edge.output).ok()?),
            false => {
                let (name, _) = found[edge.op.0].as_ref()?;
                fresh |= name.fresh;
                Input::Definition(keys::output_of(name.definition, edge.output))
            }
        });
    }
    let definition = keys::key_at_hand(build, op, &inputs).ok()??;
    let known = match op::is_step(op) && !fresh {
        true => op::look(build, op, definition).ok()?,
        false => None,
    };
    Some((Name { definition, fresh }, known))
}
