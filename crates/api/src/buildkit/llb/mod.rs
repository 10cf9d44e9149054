//! LLB, BuildKit's low-level definition (`solver/pb/ops.proto`), to the builder's graph. Bytes come
//! from clients and front ends: every count is bounded, every index checked, nothing panics.
//! Pure; knows neither sessions nor how a graph is solved.
//!
//! ```text
//! Definition.def ── decode, digest ──▶ ops by digest ── inputs first ──▶ Graph
//!                last op: no kind, one input ─────────────────────────▶ target edge
//! ```

mod exec;
mod file;
mod meta;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bollard_buildkit_proto::pb;
use build::graph::{Edge, Graph, GraphError, MAX_OPS, OpId, OpKind};
use build::platform::Platform;
use prost::Message;
use sha2::{Digest, Sha256};

/// The most inputs of one operation.
const MAX_INPUTS: usize = 4096;
/// The most mounts, actions, variables or arguments of one operation.
const MAX_PARTS: usize = 16_384;
/// The longest path, name or id.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Why a definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LlbError {
    /// The bytes are no operation.
    #[error("decode operation {0} of the definition: {1}")]
    Encoding(usize, String),
    /// A list is longer than is accepted.
    #[error("the definition has more than {1} {0}")]
    TooMany(&'static str, usize),
    /// An input that no operation of the definition has the digest of.
    #[error("operation {at} takes {digest:?} as input, which is not in the definition")]
    Missing {
        /// Place of the operation.
        at: usize,
        /// The missing digest.
        digest: String,
    },
    /// The operations need one another in a circle; possible only with broken digests.
    #[error("the operations of the definition depend on one another in a circle")]
    Circle,
    /// A field that makes no sense, in words.
    #[error("{0}")]
    Field(String),
    /// The operations do not fit together.
    #[error("invalid definition: {0}")]
    Graph(#[from] GraphError),
}

impl LlbError {
    fn field(text: impl Into<String>) -> Self {
        Self::Field(text.into())
    }
}

/// A decoded definition.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The operations.
    pub graph: Graph,
    /// What is asked for; `None` is the empty file system.
    pub target: Option<Edge>,
}

/// Decodes a definition; an empty one is the empty file system.
///
/// # Errors
/// Whatever [`LlbError`] names.
pub(crate) fn decode(definition: &pb::Definition) -> Result<Decoded, LlbError> {
    if definition.def.len() > MAX_OPS {
        return Err(LlbError::TooMany("operations", MAX_OPS));
    }
    let ops = parse(&definition.def)?;
    let Some(last) = ops.len().checked_sub(1) else {
        return Ok(Decoded { graph: Graph::new(), target: None });
    };
    let order = in_order(&ops)?;
    let describe = meta::Describe::new(definition);
    let mut graph = Graph::new();
    // Where each operation of the definition is in the graph.
    let mut placed: Vec<Option<OpId>> = vec![None; ops.len()];
    for at in order {
        let parsed = &ops[at];
        let edges = parsed.edges(&placed)?;
        if parsed.op.op.is_none() {
            if at != last {
                return Err(LlbError::field(format!("operation {at} of the definition is empty")));
            }
            continue;
        }
        let kind = kind(&parsed.op, edges.len())?;
        let vertex = describe.vertex(&parsed.digest, &kind);
        let platform = parsed.op.platform.as_ref().map(platform);
        placed[at] = Some(graph.add(kind, edges, platform, vertex)?);
    }
    let target = match (&ops[last].op.op, placed[last]) {
        (Some(_), Some(op)) => Some(Edge { op, output: 0 }),
        _ => ops[last].edges(&placed)?.first().copied(),
    };
    Ok(Decoded { graph, target })
}

/// One operation as it came.
struct Parsed {
    digest: String,
    op: pb::Op,
    /// Place and output of each input.
    inputs: Vec<(usize, usize)>,
}

impl Parsed {
    fn edges(&self, placed: &[Option<OpId>]) -> Result<Vec<Edge>, LlbError> {
        let edge = |(at, output): &(usize, usize)| {
            let op = placed.get(*at).copied().flatten().ok_or(LlbError::Circle)?;
            Ok(Edge { op, output: *output })
        };
        self.inputs.iter().map(edge).collect()
    }
}

fn parse(def: &[Vec<u8>]) -> Result<Vec<Parsed>, LlbError> {
    let mut ops = Vec::with_capacity(def.len());
    let mut places = HashMap::with_capacity(def.len());
    for (at, bytes) in def.iter().enumerate() {
        let op = pb::Op::decode(bytes.as_slice())
            .map_err(|error| LlbError::Encoding(at, error.to_string()))?;
        if op.inputs.len() > MAX_INPUTS {
            return Err(LlbError::TooMany("inputs of one operation", MAX_INPUTS));
        }
        let digest = digest_of(bytes);
        places.entry(digest.clone()).or_insert(at);
        ops.push(Parsed { digest, op, inputs: Vec::new() });
    }
    for (at, parsed) in ops.iter_mut().enumerate() {
        for input in &parsed.op.inputs {
            let place = places.get(&input.digest).copied();
            let missing = || LlbError::Missing { at, digest: input.digest.clone() };
            let place = place.filter(|place| *place != at).ok_or_else(missing)?;
            let output = usize::try_from(input.index)
                .map_err(|_| LlbError::field(format!("operation {at}: output {}", input.index)))?;
            parsed.inputs.push((place, output));
        }
    }
    Ok(ops)
}

/// The digest by which operations name one another.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in Sha256::digest(bytes) {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

/// Places so that inputs come before their users. Without recursion: a chain may be long.
fn in_order(ops: &[Parsed]) -> Result<Vec<usize>, LlbError> {
    let mut waiting: Vec<usize> = ops.iter().map(|parsed| parsed.inputs.len()).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); ops.len()];
    for (at, parsed) in ops.iter().enumerate() {
        for (input, _) in &parsed.inputs {
            users[*input].push(at);
        }
    }
    let mut order: Vec<usize> = (0..ops.len()).filter(|at| waiting[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for user in &users[at] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                order.push(*user);
            }
        }
    }
    match order.len() == ops.len() {
        true => Ok(order),
        false => Err(LlbError::Circle),
    }
}

fn kind(op: &pb::Op, inputs: usize) -> Result<OpKind, LlbError> {
    match &op.op {
        Some(pb::op::Op::Exec(exec)) => exec::exec(exec),
        Some(pb::op::Op::Source(source)) => source::source(source),
        Some(pb::op::Op::File(file)) => file::file(file, inputs),
        Some(pb::op::Op::Merge(merge)) => {
            // The operation's inputs are the layers, in this order.
            let numbered = merge.inputs.iter().map(|input| usize::try_from(input.input).ok());
            match numbered.eq((0..inputs).map(Some)) {
                true => Ok(OpKind::Merge),
                false => Err(LlbError::field("merge: its inputs are out of order")),
            }
        }
        Some(pb::op::Op::Diff(diff)) => Ok(OpKind::Diff {
            lower: slot(diff.lower.as_ref().map_or(-1, |lower| lower.input))?,
            upper: slot(diff.upper.as_ref().map_or(-1, |upper| upper.input))?,
        }),
        Some(pb::op::Op::Build(_)) => {
            Err(LlbError::field("operations of kind build are not supported"))
        }
        None => Err(LlbError::field("an operation without a kind")),
    }
}

/// The number of an input; -1 is none.
fn slot(number: i64) -> Result<Option<usize>, LlbError> {
    match number {
        -1 => Ok(None),
        number => usize::try_from(number)
            .map(Some)
            .map_err(|_| LlbError::field(format!("invalid input {number}"))),
    }
}

fn platform(platform: &pb::Platform) -> Platform {
    Platform::new(&platform.os, &platform.architecture, &platform.variant)
}

/// A text that may become part of a path or an environment: bounded, without NUL.
fn text(what: &str, text: &str) -> Result<String, LlbError> {
    if text.len() > MAX_TEXT_BYTES || text.contains('\0') {
        return Err(LlbError::field(format!("{what}: too long, or it contains NUL")));
    }
    Ok(text.to_owned())
}

/// A list of such texts.
fn texts(what: &'static str, list: &[String]) -> Result<Vec<String>, LlbError> {
    if list.len() > MAX_PARTS {
        return Err(LlbError::TooMany(what, MAX_PARTS));
    }
    list.iter().map(|one| text(what, one)).collect()
}
