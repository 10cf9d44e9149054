//! A build as asked for, and what came of it. Parsed once at the edge; nothing here is parsed
//! again further in.

use crate::client::Client;
use crate::graph::{Edge, Graph};
use crate::platform::Platform;
use crate::progress::Progress;
use model::{Digest, ImageId, ImageRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One build.
pub struct SolveRequest {
    /// Names this build, chosen by whoever asks; for cancelling it.
    pub id: String,
    /// What is built.
    pub definition: Definition,
    /// What becomes of the result; empty leaves it in the cache.
    pub outputs: Vec<Output>,
    /// Where finished steps may be taken from, beside this node's cache.
    pub cache_from: Vec<CacheSource>,
    /// Where finished steps are put, beside this node's cache.
    pub cache_to: Vec<CacheTarget>,
    /// What every step may do beyond the default.
    pub entitlements: Entitlements,
    /// Take nothing from the cache.
    pub no_cache: bool,
    /// The network of steps, by name with this node, that ask for none (legacy builds'
    /// `networkmode`); empty for the default.
    pub network_name: String,
    /// Seconds since the epoch that files and documents of the result are dated with, at the
    /// latest.
    pub source_date_epoch: Option<i64>,
    /// Whoever asks.
    pub client: Arc<dyn Client>,
    /// Who is told.
    pub progress: Progress,
}

/// What is built.
pub enum Definition {
    /// File systems of a graph, each with the configuration of the image it becomes.
    Graph {
        /// The operations.
        graph: Arc<Graph>,
        /// The results, one per platform.
        targets: Vec<Target>,
    },
    /// A Dockerfile in a directory of the client's, in a git tree, or given as text.
    Dockerfile(Box<crate::dockerfile_build::DockerfileBuild>),
}

/// One result of a graph.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is for.
    pub platform: Platform,
    /// Its file system; `None` is the empty one.
    pub edge: Option<Edge>,
    /// The configuration of the image it becomes, without layers and with history; `None` for one
    /// that says nothing but the platform.
    pub config: Option<wire::oci::image::ImageConfig>,
}

/// What steps may do beyond the default. Denied unless granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entitlements {
    /// `RUN --network=host`.
    pub network_host: bool,
    /// `RUN --security=insecure`.
    pub security_insecure: bool,
}

/// What becomes of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// An image of this node's.
    Image {
        /// Its names; may be empty.
        names: Vec<ImageRef>,
        /// Pushed under them.
        push: bool,
        /// Push over plain HTTP.
        insecure: bool,
        /// Annotations of its manifest.
        annotations: BTreeMap<String, String>,
    },
    /// The files of the result, given to the client as a directory.
    Local {
        /// With several platforms, each in a directory of its own.
        platform_split: bool,
    },
    /// The files of the result as a tar.
    Tar,
    /// An image in an OCI layout, as a tar.
    Oci {
        /// Its names; may be empty.
        names: Vec<ImageRef>,
        /// As a tar; otherwise as a directory.
        tar: bool,
        /// Annotations of its manifest.
        annotations: BTreeMap<String, String>,
    },
    /// An archive as `docker load` takes it.
    Docker {
        /// Its names; may be empty.
        names: Vec<ImageRef>,
    },
}

/// Where finished steps may be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSource {
    /// An image of this node or of a registry, with an inline cache.
    Image(String),
    /// A directory of this host or of the client's (`type=local,src=`), as an OCI layout.
    Local {
        /// The client's name for it.
        name: String,
        /// Digest of the document in it; empty for its only one.
        digest: String,
    },
}

/// Where finished steps are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheTarget {
    /// Into the configuration of the image.
    Inline,
    /// A directory of the client's (`type=local,dest=`).
    Local {
        /// Whether steps that are no part of the result go too (`mode=max`).
        all: bool,
    },
    /// A registry.
    Registry {
        /// Under this name.
        name: String,
        /// Whether steps that are no part of the result go too (`mode=max`).
        all: bool,
    },
}

/// What came of a build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The images, one per target, if images were asked for.
    pub images: Vec<BuiltImage>,
    /// Free answers for the client (`containerimage.digest`, …).
    pub answers: BTreeMap<String, String>,
}

/// An image that was built.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltImage {
    /// What it is for.
    pub platform: Platform,
    /// Its id, the digest of its configuration.
    pub id: ImageId,
    /// Digest of its manifest.
    pub manifest: Option<Digest>,
}
