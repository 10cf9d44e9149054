//! From a Dockerfile to a graph. Pure: what a base image says is asked of the caller
//! ([`Planning::Needs`]) and the plan begun anew with the answers; nothing is fetched here, and
//! no file of a context is seen.
//!
//! ```text
//! globals ─▶ stages ─▶ reachable? ─▶ images known? ──no──▶ Needs
//!                                        │ yes (ONBUILD triggers may add stages: again)
//!                                        ▼
//!                  instructions, stage by stage ─▶ operations, configuration, history
//! ```

mod copy;
mod env;
mod globals;
mod options;
mod outline;
mod plan;
mod ports;
mod run;
mod scan;
mod sources;
mod stages;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod wrong;

pub use crate::check::Warning;
pub use options::{
    CacheUse, ContextSource, History, ImageNeed, KnownImage, KnownImages, PlanOptions,
};

pub(crate) use globals::is_multi_platform;
pub use outline::{Outline, Taken, TakenArg, outline};
pub use scan::Scan;

use crate::dockerfile::{Dockerfile, Kind, ParseError};
use crate::graph::{Edge, Graph};
use crate::platform::Platform;
use crate::span::Location;
use model::error::{ErrorKind, HasKind};
use std::collections::BTreeMap;
use wire::oci::image::ImageConfig;

/// What planning came to.
#[derive(Debug)]
pub enum Planning {
    /// These images must be known first; call [`plan`] again when they are. May come several
    /// times (an ONBUILD trigger may name further images).
    Needs(Needs),
    /// The plan.
    Done(Box<Plan>),
}

/// Images, each with the place that names it first.
pub type Needs = BTreeMap<ImageNeed, Location>;

/// A build, planned.
#[derive(Debug)]
pub struct Plan {
    /// What is to be done; only what the targets need.
    pub graph: Graph,
    /// One result per platform, in the order asked for.
    pub targets: Vec<Target>,
    /// What the build checks found.
    pub warnings: Vec<Warning>,
    /// `--build-arg` names that no ARG takes, sorted.
    pub unused_args: Vec<String>,
}

/// A result.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it runs on.
    pub platform: Platform,
    /// Its file system; `None` is the empty one.
    pub result: Option<Edge>,
    /// Its configuration with the history of every instruction. What only the outcome can say is
    /// left for the exporter: `rootfs`, and `created` of the config and of the new history entries.
    /// Entries that are not `empty_layer` stand for one layer each, base image's first.
    pub config: ImageConfig,
    /// Base image as it was asked for and, if known, its digest: for provenance.
    pub base: Option<String>,
    /// What is scanned beside it; only with [`PlanOptions::scans`].
    pub scans: Vec<Scan>,
}

/// Why a Dockerfile cannot be planned; the message is what users of BuildKit know.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    /// The kind.
    pub kind: ErrorKind,
    /// The sentence shown.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
    /// What the build checks found before.
    pub warnings: Vec<Warning>,
}

impl HasKind for PlanError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl std::convert::From<ParseError> for PlanError {
    fn from(err: ParseError) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            message: err.message,
            location: err.location,
            warnings: Vec::new(),
        }
    }
}

/// Plans the build of `dockerfile`. The same arguments give the same plan.
pub fn plan(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    known: &KnownImages,
) -> Result<Planning, PlanError> {
    plan::plan(dockerfile, options, known)
}

/// A stage that can be built, for `--call=targets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageInfo {
    /// Its name; `None` is only numbered.
    pub name: Option<String>,
    /// What it is built upon, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// The comment `# <name> <description>` before it.
    pub description: Option<String>,
    /// It is built when none is named.
    pub default: bool,
}

/// The stages of a file, in order.
pub fn stages(dockerfile: &Dockerfile) -> Vec<StageInfo> {
    let froms = dockerfile.instructions.iter().filter_map(|instruction| match &instruction.kind {
        Kind::From(from) => Some((from, &instruction.comments)),
        _ => None,
    });
    let mut stages: Vec<StageInfo> = froms
        .map(|(from, comments)| StageInfo {
            name: from.name.clone(),
            base: from.base.clone(),
            platform: from.platform.clone(),
            description: from.name.as_ref().and_then(|name| {
                let after = |comment: &String| {
                    Some(comment.strip_prefix(name)?.strip_prefix(' ')?.to_owned())
                };
                comments.iter().find_map(after)
            }),
            default: false,
        })
        .collect();
    if let Some(last) = stages.last_mut() {
        last.default = true;
    }
    stages
}
