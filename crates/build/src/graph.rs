//! The graph that a build is: content-addressed operations on file systems, the common form of
//! Dockerfiles and of BuildKit's LLB (`solver/pb/ops.proto`), after which its kinds are shaped.
//! Pure: knows neither where a graph comes from nor how an operation is carried out.
//!
//! ```text
//!   Image ──▶ Exec ──▶ File(copy) ──▶ target        an Edge is (operation, number of its output)
//!   Local ─────────────▲                            inputs always come before their users
//! ```

mod digest;
mod exec;
mod file;
#[cfg(test)]
mod tests;

pub use digest::OpDigest;
pub use exec::{
    Bind, CacheMount, Device, DirOwner, Exec, Mount, MountKind, NetworkMode, SecretEnv,
    SecretMount, SecurityMode, Sharing, Ulimit,
};
pub use file::{Base, Change, Copy, File, FileAction, Mode, Owner, Unpack, Who};

use crate::platform::Platform;
use crate::span::Location;
use std::collections::{BTreeMap, HashMap};

/// The most operations of one graph; beyond it is abuse, not a build.
pub const MAX_OPS: usize = 50_000;

/// The place of an operation in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub usize);

/// A file system: one output of an operation. `Image`, `Local`, `Git`, `Http`, `OciLayout`, `Merge`
/// and `Diff` have output 0 only; `Exec` and `File` number theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// The operation.
    pub op: OpId,
    /// Which of its outputs.
    pub output: usize,
}

/// Index into [`Op::inputs`].
pub type Slot = usize;

/// Why an operation cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An input names an operation that is not there (yet).
    #[error("operation {name:?} takes operation {input} as input, which does not come before it")]
    Order {
        /// Name of the operation.
        name: String,
        /// The missing input.
        input: usize,
    },
    /// An input names an output that its operation does not have.
    #[error("operation {name:?} takes output {output} of operation {input}, which has none such")]
    Output {
        /// Name of the operation.
        name: String,
        /// The input.
        input: usize,
        /// The missing output.
        output: usize,
    },
    /// The operation names a slot beyond its inputs, or an action that does not come before.
    #[error("operation {name:?} uses input {slot} of {inputs}")]
    Slot {
        /// Name of the operation.
        name: String,
        /// The slot.
        slot: usize,
        /// How many there are.
        inputs: usize,
    },
    /// More than [`MAX_OPS`].
    #[error("the build has more than {MAX_OPS} operations")]
    TooLarge,
}

/// Operations in topological order: an operation's inputs come before it. Two operations of the
/// same digest are one.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    ops: Vec<Op>,
    by_digest: HashMap<OpDigest, OpId>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation and gives its place; an operation that is there already (same definition,
    /// same inputs) is not added again, only its `ignore_cache` is widened.
    pub fn add(
        &mut self,
        kind: OpKind,
        inputs: Vec<Edge>,
        platform: Option<Platform>,
        meta: Vertex,
    ) -> Result<OpId, GraphError> {
        self.verify(&kind, &inputs, &meta)?;
        let own = digest::own(&kind, platform.as_ref());
        let edges = inputs.iter().map(|edge| (self.ops[edge.op.0].digest, edge.output));
        let digest = own.with_inputs(edges);
        if let Some(id) = self.by_digest.get(&digest) {
            self.ops[id.0].meta.ignore_cache |= meta.ignore_cache;
            return Ok(*id);
        }
        if self.ops.len() >= MAX_OPS {
            return Err(GraphError::TooLarge);
        }
        let id = OpId(self.ops.len());
        self.ops.push(Op { kind, inputs, platform, meta, own, digest });
        self.by_digest.insert(digest, id);
        Ok(id)
    }

    /// All operations, inputs before users.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// All operations with their places, inputs before users.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &Op)> {
        self.ops.iter().enumerate().map(|(index, op)| (OpId(index), op))
    }

    /// The operation at `id`; ids of another graph may be beyond this one.
    pub fn op(&self, id: OpId) -> Option<&Op> {
        self.ops.get(id.0)
    }

    /// The operation of that digest.
    pub fn find(&self, digest: &OpDigest) -> Option<OpId> {
        self.by_digest.get(digest).copied()
    }

    /// Marks `id` as not to be taken from the cache.
    pub fn ignore_cache(&mut self, id: OpId) {
        if let Some(op) = self.ops.get_mut(id.0) {
            op.meta.ignore_cache = true;
        }
    }

    /// Which operations `targets` need, themselves included; indexed by place.
    pub fn needed(&self, targets: impl IntoIterator<Item = OpId>) -> Vec<bool> {
        let mut needed = vec![false; self.ops.len()];
        for OpId(index) in targets {
            if let Some(flag) = needed.get_mut(index) {
                *flag = true;
            }
        }
        for index in (0..self.ops.len()).rev() {
            if needed[index] {
                for edge in &self.ops[index].inputs {
                    needed[edge.op.0] = true;
                }
            }
        }
        needed
    }

    /// Only the operations that `needed` says (their inputs must be among them), and where each
    /// has gone.
    pub fn retain(self, needed: &[bool]) -> (Self, Vec<Option<OpId>>) {
        let mut out = Self::default();
        let mut places: Vec<Option<OpId>> = Vec::with_capacity(self.ops.len());
        for (index, mut op) in self.ops.into_iter().enumerate() {
            let moved = |edge: &Edge| Some(Edge { op: places[edge.op.0]?, ..*edge });
            let inputs: Option<Vec<Edge>> = op.inputs.iter().map(moved).collect();
            let wanted = needed.get(index).copied().unwrap_or(false);
            let Some(inputs) = inputs.filter(|_| wanted) else {
                places.push(None);
                continue;
            };
            op.inputs = inputs;
            let id = OpId(out.ops.len());
            out.by_digest.insert(op.digest, id);
            out.ops.push(op);
            places.push(Some(id));
        }
        (out, places)
    }

    fn verify(&self, kind: &OpKind, inputs: &[Edge], meta: &Vertex) -> Result<(), GraphError> {
        let name = || meta.name.clone();
        for edge in inputs {
            let Some(op) = self.ops.get(edge.op.0) else {
                return Err(GraphError::Order { name: name(), input: edge.op.0 });
            };
            if !op.kind.has_output(edge.output) {
                let (input, output) = (edge.op.0, edge.output);
                return Err(GraphError::Output { name: name(), input, output });
            }
        }
        match kind.slots().into_iter().find(|slot| *slot >= inputs.len()) {
            Some(slot) => Err(GraphError::Slot { name: name(), slot, inputs: inputs.len() }),
            None => kind
                .forward_action()
                .map_or(Ok(()), |slot| Err(GraphError::Slot { name: name(), slot, inputs: 0 })),
        }
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// The file systems it works on; kinds name them by [`Slot`].
    pub inputs: Vec<Edge>,
    /// The platform it runs on or resolves for; `None` where that makes no difference.
    pub platform: Option<Platform>,
    /// How it is shown and treated; no part of its digest.
    pub meta: Vertex,
    own: OpDigest,
    digest: OpDigest,
}

impl Op {
    /// Digest of the operation with its inputs' digests: equal digests, equal definitions.
    pub fn digest(&self) -> OpDigest {
        self.digest
    }

    /// Digest of the operation without its inputs, to be combined
    /// ([`OpDigest::with_inputs`]) with digests of the inputs' content.
    pub fn own_digest(&self) -> OpDigest {
        self.own
    }
}

/// How an operation is shown and treated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vertex {
    /// As shown: `[stage 2/5] RUN make`.
    pub name: String,
    /// Where it was asked for.
    pub location: Option<Location>,
    /// Never taken from the cache.
    pub ignore_cache: bool,
    /// Shown as part of a group.
    pub group: Option<Group>,
    /// Limits of the step's processes; do not change its result.
    pub limits: Option<Limits>,
    /// Free texts that a front end attaches (LLB `OpMetadata.description`).
    pub description: BTreeMap<String, String>,
}

impl Vertex {
    /// A vertex that has only a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Vertices shown as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Identifies the group.
    pub id: String,
    /// As shown.
    pub name: String,
    /// The group may be dissolved when only one vertex of it runs.
    pub weak: bool,
}

/// Limits of a step's processes; zero and empty mean none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, bytes.
    pub memory_bytes: i64,
    /// Memory and swap together, bytes.
    pub memory_swap_bytes: i64,
    /// Relative CPU weight.
    pub cpu_shares: u64,
    /// CFS period, microseconds.
    pub cpu_period_us: u64,
    /// CFS quota, microseconds.
    pub cpu_quota_us: i64,
    /// CPUs, `0-3`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq)]
pub enum OpKind {
    /// The file system of an image.
    Image(Image),
    /// The file system of an image in an OCI layout.
    OciLayout(OciLayout),
    /// A directory of whoever asked for the build.
    Local(Local),
    /// A git tree.
    Git(Git),
    /// One file fetched over HTTP.
    Http(Http),
    /// A process that changes file systems.
    Exec(Box<Exec>),
    /// Changes of files without a process.
    File(File),
    /// All inputs on top of one another, the first lowest.
    Merge,
    /// What `upper` has over `lower`, as a layer; `None` is the empty file system.
    Diff {
        /// The lower file system.
        lower: Option<Slot>,
        /// The upper file system.
        upper: Option<Slot>,
    },
}

impl OpKind {
    /// Whether it brings content from outside, which its digest may not fix.
    pub fn is_source(&self) -> bool {
        match self {
            Self::Image(_) | Self::OciLayout(_) | Self::Local(_) | Self::Git(_) | Self::Http(_) => {
                true
            }
            Self::Exec(_) | Self::File(_) | Self::Merge | Self::Diff { .. } => false,
        }
    }

    /// Whether it has an output of that number.
    pub fn has_output(&self, output: usize) -> bool {
        match self {
            Self::Exec(exec) => exec.outputs().any(|(number, _)| number == output),
            Self::File(file) => file.actions.iter().any(|action| action.output == Some(output)),
            _ => output == 0,
        }
    }

    fn slots(&self) -> Vec<Slot> {
        match self {
            Self::Exec(exec) => exec.slots().collect(),
            Self::File(file) => file.slots().collect(),
            Self::Diff { lower, upper } => lower.iter().chain(upper).copied().collect(),
            _ => Vec::new(),
        }
    }

    /// An action that uses the result of one that does not come before it.
    fn forward_action(&self) -> Option<usize> {
        let Self::File(file) = self else { return None };
        let numbered = file.actions.iter().enumerate();
        numbered.flat_map(|(at, action)| action.uses().map(move |used| (at, used))).find_map(
            |(at, used)| match used {
                Base::Action(number) if number >= at => Some(number),
                _ => None,
            },
        )
    }
}

/// An image as source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Full reference (`docker.io/library/debian:12`), with digest when it was resolved.
    pub reference: String,
    /// Whether the registry is asked.
    pub pull: Pull,
    /// Only the lowest so many layers; `None` is all.
    pub layer_limit: Option<u32>,
}

/// Whether the registry is asked for an image that is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pull {
    /// The local image if there is one for the platform, else the registry.
    #[default]
    Missing,
    /// Always the registry.
    Always,
    /// Never the registry.
    Never,
}

/// An image in an OCI layout that the client or the daemon keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciLayout {
    /// `name@digest` or `name:tag` within the layout.
    pub reference: String,
    /// The layout's name with whoever keeps it.
    pub store: String,
    /// Only the lowest so many layers; `None` is all.
    pub layer_limit: Option<u32>,
}

/// A directory of the client (see `client::Client`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Its name: `context`, `dockerfile`, or a named context's.
    pub name: String,
    /// Only paths that match one of these; empty is all.
    pub include: Vec<String>,
    /// Not paths that match these (`.dockerignore` patterns, in order, with `!`).
    pub exclude: Vec<String>,
    /// Paths (may have wildcards) that are wanted, symbolic links on the way followed and taken
    /// along; if there are any, nothing else is.
    pub follow: Vec<String>,
    /// Builds with the same key may share what was transferred.
    pub shared_key: String,
}

/// A git tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Git {
    /// The remote: `https://…`, `git@host:…`, `ssh://…`, `git://…`.
    pub remote: String,
    /// Branch, tag or commit; empty is the remote's HEAD.
    pub reference: String,
    /// Directory within the tree; empty is all of it.
    pub subdir: String,
    /// The commit (or a leading part of it) that `reference` must give.
    pub checksum: String,
    /// Keep `.git`.
    pub keep_git_dir: bool,
    /// Do not fetch submodules.
    pub skip_submodules: bool,
    /// Secret that holds a token (HTTP basic authentication).
    pub token_secret: String,
    /// Secret that holds an `Authorization` header.
    pub header_secret: String,
    /// SSH agent to use; empty for none.
    pub ssh: String,
    /// `known_hosts` lines for ssh.
    pub known_hosts: String,
}

/// One file over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The address.
    pub url: String,
    /// The digest it must have, `sha256:…`; empty for any.
    pub checksum: String,
    /// Its name in the resulting file system; empty: from the answer or the address.
    pub filename: String,
    /// Its permission bits; `None` is 0600.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Secret that holds an `Authorization` header.
    pub header_secret: String,
    /// Unpack the answer when it is an archive (a build context).
    pub unpack: bool,
    /// Further request headers.
    pub headers: BTreeMap<String, String>,
}
