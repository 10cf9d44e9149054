//! A Dockerfile's instructions as the steps that clients of old are shown, and which of those that
//! only change a configuration were gone through before.

use super::blocking;
use super::run::Build;
use crate::dockerfile::{Dockerfile, Instruction, Kind};
use crate::error::Result;
use crate::frontend::PlanOptions;
use crate::graph::{Graph, Op, OpDigest};
use crate::progress::{Event, StepInfo};
use model::Digest;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use store::record::{Batch, Durability};

/// Table of instructions that were gone through, by what led there.
const TABLE: &str = "build-steps-known";

/// Tells the steps of the stages that are needed.
pub(super) async fn tell(
    build: &Arc<Build>,
    file: &Dockerfile,
    options: &PlanOptions,
    graph: &Graph,
) -> Result<()> {
    if !build.progress.wants_steps() {
        return Ok(());
    }
    let mut stages: Vec<Vec<&Instruction>> = vec![Vec::new()];
    for instruction in &file.instructions {
        if matches!(instruction.kind, Kind::From(_)) {
            stages.push(Vec::new());
        }
        if let Some(stage) = stages.last_mut() {
            stage.push(instruction);
        }
    }
    // What comes before the first FROM goes with it.
    let globals = stages.remove(0);
    let target = target(&stages, options);
    let mut steps: Vec<(StepInfo, Digest)> = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let needed = number == target || stage.iter().any(|it| !vertices(graph, it).is_empty());
        if number > target || !needed {
            continue;
        }
        let mut led = Sha256::digest(format!("{:?}{:?}", options.build_args, options.labels));
        let before = if steps.is_empty() { globals.as_slice() } else { &[] };
        for instruction in before.iter().chain(stage) {
            let vertices = vertices(graph, instruction);
            let mut hash = Sha256::new();
            hash.update(led);
            hash.update(instruction.original.as_bytes());
            vertices.iter().for_each(|vertex| hash.update(vertex.0.as_bytes()));
            led = hash.finalize();
            let text = instruction.original.clone();
            let step = StepInfo { text, vertices, known: false };
            steps.push((step, Digest::sha256(led.into())));
        }
    }
    let telling = Arc::clone(build);
    blocking(move || {
        let records = telling.inner.store.records();
        let mut news = Batch::new();
        for (step, key) in steps.iter_mut().filter(|(step, _)| step.vertices.is_empty()) {
            let key = key.hex();
            let known = records.get(TABLE, &key)?.is_some();
            step.known = known && !telling.no_cache;
            if !known {
                news = news.put(TABLE, &key, b"");
            }
        }
        if !news.is_empty() {
            records.commit(news, Durability::Relaxed)?;
        }
        let steps: Vec<StepInfo> = steps.into_iter().map(|(step, _)| step).collect();
        telling.tell(Event::Steps(steps.into()));
        Ok(())
    })
    .await
}

/// The stage that is built: the last, or the one of this name or number.
fn target(stages: &[Vec<&Instruction>], options: &PlanOptions) -> usize {
    let last = stages.len().saturating_sub(1);
    let Some(wanted) = options.target.as_deref().filter(|text| !text.is_empty()) else {
        return last;
    };
    let named = stages.iter().position(|stage| match stage.first().map(|it| &it.kind) {
        Some(Kind::From(from)) => {
            from.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        }
        _ => false,
    });
    named.or_else(|| wanted.parse().ok()).unwrap_or(last).min(last)
}

/// What an instruction comes to: the operations that were asked for in its lines.
fn vertices(graph: &Graph, instruction: &Instruction) -> Vec<OpDigest> {
    let lines =
        instruction.span.start.line..=instruction.span.end.line.max(instruction.span.start.line);
    let is_from = matches!(instruction.kind, Kind::From(_));
    let within = |op: &&Op| {
        let own = is_from || !op.kind.is_source();
        let location = op.meta.location.as_ref();
        own && location
            .is_some_and(|it| it.spans.first().is_some_and(|it| lines.contains(&it.start.line)))
    };
    graph.ops().iter().filter(within).map(Op::digest).collect()
}
