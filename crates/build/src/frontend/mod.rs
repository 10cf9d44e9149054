//! From a Dockerfile to a graph. Pure: what a base image says is asked of the caller
//! ([`Planning::Needs`]) and the plan begun anew with the answers; nothing is fetched here, and
//! no file of a context is seen.

mod options;

pub use options::{
    CacheUse, ContextSource, History, ImageNeed, KnownImage, KnownImages, PlanOptions,
};

use crate::dockerfile::Dockerfile;
use crate::graph::{Edge, Graph};
use crate::platform::Platform;
use crate::span::Location;
use model::error::{ErrorKind, HasKind};
use wire::oci::image::ImageConfig;

/// What planning came to.
#[derive(Debug)]
pub enum Planning {
    /// These images must be known first; call [`plan`] again when they are. May come several
    /// times (an ONBUILD trigger may name further images).
    Needs(Vec<ImageNeed>),
    /// The plan.
    Done(Box<Plan>),
}

/// A build, planned.
#[derive(Debug)]
pub struct Plan {
    /// What is to be done; only what the targets need.
    pub graph: Graph,
    /// One result per platform, in the order asked for.
    pub targets: Vec<Target>,
    /// What the build checks found.
    pub warnings: Vec<Warning>,
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
}

/// What a build check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// The check's name: `StageNameCasing`.
    pub rule: &'static str,
    /// What the check is about.
    pub description: &'static str,
    /// Where to read more.
    pub url: &'static str,
    /// What was found.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
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
}

impl HasKind for PlanError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Plans the build of `dockerfile`.
pub fn plan(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    known: &KnownImages,
) -> Result<Planning, PlanError> {
    let _ = (dockerfile, options, known);
    Err(PlanError {
        kind: ErrorKind::Unsupported,
        message: "the front end is not there yet".to_owned(),
        location: None,
    })
}
