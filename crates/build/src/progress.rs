//! What a build tells while it runs: typed events, in order, drawn by whoever listens. Secrets
//! never come near this module; what steps print does.

use crate::graph::OpDigest;
use bytes::Bytes;
use model::Timestamp;
use std::sync::Arc;

/// One piece of news. Vertices are named by the digest of their operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Vertices that this build consists of, inputs before users. Told before anything else of
    /// them; may come more than once, with further vertices.
    Vertices(Arc<[VertexInfo]>),
    /// Work on a vertex began.
    Started {
        /// Which.
        vertex: OpDigest,
        /// When.
        at: Timestamp,
    },
    /// A vertex was taken from the cache: it counts as started and completed.
    Cached {
        /// Which.
        vertex: OpDigest,
        /// When.
        at: Timestamp,
    },
    /// A vertex is done.
    Completed {
        /// Which.
        vertex: OpDigest,
        /// When.
        at: Timestamp,
        /// Why it failed.
        error: Option<String>,
    },
    /// How far a part of a vertex is (a download, an export).
    Status {
        /// Which.
        vertex: OpDigest,
        /// The part.
        status: Status,
    },
    /// Output of a step's process, as it came.
    Log {
        /// Which.
        vertex: OpDigest,
        /// Where it was written.
        stream: Stream,
        /// The bytes.
        data: Bytes,
        /// When.
        at: Timestamp,
    },
    /// Something about the Dockerfile that is no error.
    Warning(Warning),
    /// The instructions of the Dockerfile that this build goes through, in order; told once it is
    /// planned, to those who want them ([`Progress::with_steps`]).
    Steps(Arc<[StepInfo]>),
    /// What a vertex gave: the id shown as ` ---> <id>` by legacy clients.
    Result {
        /// Which.
        vertex: OpDigest,
        /// Short or full id.
        id: String,
    },
}

/// A vertex as told before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VertexInfo {
    /// Its operation's digest.
    pub digest: OpDigest,
    /// As shown: `[stage 2/5] RUN make`.
    pub name: String,
    /// Vertices whose results it takes.
    pub inputs: Vec<OpDigest>,
}

/// An instruction as told before it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// On one line, as written.
    pub text: String,
    /// What it comes to; nothing for what only changes an image's configuration.
    pub vertices: Vec<OpDigest>,
    /// It comes to nothing, and the same was done before in the same place.
    pub known: bool,
}

/// How far a part of a vertex is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Names the part within its vertex: `sha256:…`, `exporting layers`.
    pub id: String,
    /// What is being done to it; empty if the id says it.
    pub name: String,
    /// Units done.
    pub current: i64,
    /// Units in all; 0 is unknown.
    pub total: i64,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it was done.
    pub completed: Option<Timestamp>,
    /// When this was true.
    pub at: Timestamp,
}

/// An output stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something about the Dockerfile that is no error (a build check).
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// The vertex it belongs to, if any.
    pub vertex: Option<OpDigest>,
    /// `Rule: sentence`.
    pub short: String,
    /// Further sentences.
    pub detail: Vec<String>,
    /// Where to read more.
    pub url: String,
    /// Where in the Dockerfile.
    pub location: Option<crate::span::Location>,
}

/// Who is told. Events come in order and must not block; a listener that left is ignored.
#[derive(Clone)]
pub struct Progress {
    listener: Arc<dyn Fn(Event) + Send + Sync>,
    steps: bool,
}

impl Progress {
    /// Tells this function.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { listener: Arc::new(listener), steps: false }
    }

    /// Also tells the instructions ([`Event::Steps`]), which takes a look at what was gone through
    /// before.
    pub fn with_steps(mut self) -> Self {
        self.steps = true;
        self
    }

    /// Whether the instructions are wanted.
    pub(crate) fn wants_steps(&self) -> bool {
        self.steps
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(drop)
    }

    /// Tells through a channel.
    pub fn channel() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (tx, rx) = tokio::sync::mpsc::unbounded_channel();
        // Whoever listened may have left.
        (Self::new(move |event| drop(tx.send(event))), rx)
    }

    /// Tells.
    pub fn tell(&self, event: Event) {
        (self.listener)(event);
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}
