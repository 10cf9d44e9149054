//! A build of a Dockerfile as asked for: where the Dockerfile and its context are, and everything
//! that decides what the front end makes of them. The front end itself is pure; fetching what it
//! needs is the solver's.

use crate::frontend::PlanOptions;

/// A build of a Dockerfile.
#[derive(Clone, Debug)]
pub struct DockerfileBuild {
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// The main context as an address (git tree, archive or lone Dockerfile); `None`: it is the
    /// directory that `options.context` says.
    pub remote: Option<String>,
    /// Everything else. The solver fills in `ignore` (from the context's `.dockerignore`), and
    /// `context` when there is a `remote`.
    pub options: PlanOptions,
}

/// Where a Dockerfile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileSource {
    /// In a directory of the client's.
    Local {
        /// The directory's name with the client, usually `dockerfile`.
        name: String,
        /// The file's path in it.
        path: String,
    },
    /// In the main context, wherever that is.
    Context {
        /// The file's path in it.
        path: String,
    },
    /// This text.
    Text(String),
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::Context { path: "Dockerfile".to_owned() }
    }
}
