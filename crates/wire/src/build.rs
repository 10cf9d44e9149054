//! A build between this product's own command line and daemon, on one host: the request, whose
//! descriptors follow on the connection, and the lines that come back. Free-text attributes and
//! progress are BuildKit's (its front end's options, its `SolveStatus`), so that
//! `--progress=rawjson` prints what tools already read.
//!
//! ```text
//! POST /estiba/build, Upgrade: tcp, BuildOrder ──▶
//!                                              ◀── 101
//! descriptors, eight to a byte, SCM_RIGHTS ────▶
//!                                              ◀── BuildLine, one a line … Done or Failed
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A build asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildOrder {
    /// Names the build.
    pub id: String,
    /// Options of the Dockerfile front end (`build-arg:NAME`, `target`, `filename`, …).
    pub attrs: BTreeMap<String, String>,
    /// What becomes of the result.
    pub outputs: Vec<Typed>,
    /// Caches that steps may be taken from.
    pub cache_from: Vec<Typed>,
    /// Caches that steps are put into.
    pub cache_to: Vec<Typed>,
    /// What steps are granted: `network.host`, `security.insecure`.
    pub allow: Vec<String>,
    /// What the descriptors that follow are for, in order.
    pub handings: Vec<HandingOrder>,
    /// Secrets by id, in base64.
    pub secrets: BTreeMap<String, String>,
    /// Credentials by registry host.
    pub credentials: BTreeMap<String, Login>,
    /// The Dockerfile itself, when it is in no directory.
    pub dockerfile: Option<String>,
    /// Progress is told only when the build has failed, for what its last words were.
    pub quiet: bool,
}

/// Something of a kind, with attributes: an output, a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
    /// The kind: `image`, `local`, `registry`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its attributes.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
}

/// What a descriptor is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum HandingOrder {
    /// A directory of that name.
    Directory {
        /// `context`, `dockerfile`, or a named context's.
        name: String,
    },
    /// The socket file of an SSH agent.
    Agent {
        /// Its id.
        id: String,
    },
    /// A directory that takes the output of that number.
    OutputDirectory {
        /// From 0.
        number: usize,
    },
    /// A file or pipe that takes the output of that number.
    OutputFile {
        /// From 0.
        number: usize,
    },
}

/// Credentials for a registry.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Identity token instead of a password.
    pub identity_token: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// One line of the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BuildLine {
    /// Progress.
    Status(SolveStatus),
    /// The build is done.
    Done(BuildDone),
    /// The build failed.
    Failed(BuildFailed),
}

/// What a build came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildDone {
    /// Ids of the images, one per platform.
    pub images: Vec<String>,
    /// What exporters answer (`containerimage.digest`, …).
    pub answers: BTreeMap<String, String>,
}

/// Why a build failed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildFailed {
    /// For a person.
    pub message: String,
    /// The lines of the Dockerfile it is about, as they are shown; empty if it is about none.
    pub excerpt: String,
    /// The step that failed, as shown; empty if none did.
    pub step: String,
    /// The exit code to end with, if a step's process decided it.
    pub code: Option<i64>,
}

/// Progress since the last line, in BuildKit's form (`client.SolveStatus`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SolveStatus {
    /// Vertices that are new or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vertexes: Vec<Vertex>,
    /// Parts of vertices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<VertexStatus>,
    /// Output of steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<VertexLog>,
    /// What is odd about the Dockerfile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vertex {
    /// Identifies it.
    pub digest: String,
    /// Digests of those whose results it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// As shown: `[stage 2/5] RUN make`.
    pub name: String,
    /// When it began, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it was done, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    /// It was taken from the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Why it failed; empty if it did not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How far a part of a step is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexStatus {
    /// Names the part.
    pub id: String,
    /// The step.
    pub vertex: String,
    /// What is being done to it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Units in all; 0 is unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: i64,
    /// Units done.
    pub current: i64,
    /// When this was true, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// When it began, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it was done, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
}

/// Output of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexLog {
    /// The step.
    pub vertex: String,
    /// 1 is standard output, 2 is standard error.
    #[serde(skip_serializing_if = "is_zero")]
    pub stream: i64,
    /// The bytes, in base64.
    pub data: String,
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// Something odd about the Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexWarning {
    /// The step; empty if it is about none.
    pub vertex: String,
    /// How grave.
    pub level: i64,
    /// `Rule: sentence`, in base64.
    pub short: String,
    /// Further sentences, in base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// Where to read more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The lines of the Dockerfile, as they are shown. Not BuildKit's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub excerpt: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}
