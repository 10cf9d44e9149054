//! The life of a container: one enum whose variants carry what exists only then, and one
//! transition function. Docker's overlapping booleans are made from it at the edge.
//!
//! ```text
//!            Start            Spawned             Exited, policy wants it
//! Created ─────────▶ Starting ───────▶ Running ────────────────────────▶ Restarting
//!    │                  │ Failed        │  ▲ │ Stop                         │ Due
//!    │ Remove           ▼               │  │ ▼                              ▼
//!    │               Exited ◀───────────┘  │ Stopping ── Exited ──▶ Exited  Starting
//!    │                  │ Start ▶ Starting │
//!    ▼                  ▼           Paused ┘ (Pause / Unpause)
//! Removing ◀──────── Remove
//!    │ gone        │ Failed
//!    ▼             ▼
//!  (no record)    Dead
//! ```
//!
//! Pure: the clock comes in as a value, randomness never.

use crate::time::Timestamp;

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Made, never started.
    Created,
    /// Intent to start is on disk; it may or may not have a monitor yet.
    Starting,
    /// Its init runs.
    Running(Run),
    /// Its init is frozen.
    Paused(Run),
    /// It was asked to stop and still runs.
    Stopping(Run),
    /// Its init is over (or never came to be).
    Exited(Exit),
    /// Over, and starts again after a pause.
    Restarting {
        /// The last exit.
        last: Exit,
        /// When it starts again.
        due: Timestamp,
        /// The pause chosen, ns.
        delay_ns: u64,
    },
    /// Being removed.
    Removing,
    /// Removal failed; only another removal is possible.
    Dead {
        /// Why.
        error: String,
    },
}

/// What exists while a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Init's pid on the host.
    pub pid: i32,
    /// When exec succeeded.
    pub started: Timestamp,
}

/// How a container's last run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128+n for signal n; 125..=127 when it could not be started.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// When that run started; zero if it never did.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Why it could not be started; empty otherwise.
    pub error: String,
}

impl Phase {
    /// Docker's word for it (`State.Status`).
    pub fn status(&self) -> &'static str {
        match self {
            Self::Created | Self::Starting => "created",
            Self::Running(_) | Self::Stopping(_) => "running",
            Self::Paused(_) => "paused",
            Self::Exited(_) => "exited",
            Self::Restarting { .. } => "restarting",
            Self::Removing => "removing",
            Self::Dead { .. } => "dead",
        }
    }

    /// The run, when there is one.
    pub fn run(&self) -> Option<Run> {
        match self {
            Self::Running(run) | Self::Paused(run) | Self::Stopping(run) => Some(*run),
            _ => None,
        }
    }

    /// How the last run ended, when that is known.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited(exit) | Self::Restarting { last: exit, .. } => Some(exit),
            _ => None,
        }
    }
}
