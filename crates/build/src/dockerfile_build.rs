//! A build of a Dockerfile as asked for: where the Dockerfile and its context are, and everything
//! that decides what the front end makes of them. The front end itself is pure; fetching what it
//! needs is the solver's.

use crate::platform::Platform;
use std::collections::BTreeMap;

/// A build of a Dockerfile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DockerfileBuild {
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// The main context.
    pub context: ContextSource,
    /// Further contexts by name, as given (`docker-image://…`, `https://…`, `local:name`).
    pub contexts: BTreeMap<String, String>,
    /// The stage that is built; empty for the last.
    pub target: String,
    /// Values of `ARG`s.
    pub build_args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// What the image is for; empty for the worker's own platform.
    pub platforms: Vec<Platform>,
    /// Ask registries for base images that are here.
    pub pull: bool,
    /// Stages that are taken from no cache; empty and `no_cache` of the request decides for all.
    pub no_cache_filter: Vec<String>,
    /// The network of `RUN`s that say none.
    pub network: crate::graph::NetworkMode,
    /// Namespace of cache mounts; empty for none.
    pub cache_namespace: String,
    /// Host name of steps; empty for the default.
    pub hostname: String,
    /// Proxy variables of this node, for steps that are not told others.
    pub proxy: Vec<String>,
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

/// Where the main context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory of the client's, by the name it has there.
    Local(String),
    /// A git tree, or an archive or a Dockerfile to be fetched over HTTP.
    Remote(String),
    /// There is none.
    Empty,
}

impl Default for ContextSource {
    fn default() -> Self {
        Self::Local("context".to_owned())
    }
}
