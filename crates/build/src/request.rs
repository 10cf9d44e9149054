//! A build as asked for, and what came of it. Parsed once at the edge; nothing here is parsed
//! again further in.

use crate::attest::Attestations;
use crate::client::Client;
use crate::graph::{Edge, Graph};
use crate::platform::Platform;
use crate::progress::Progress;
use model::{Digest, ImageId, ImageRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Packing;

/// Says whether whoever asks for a build may take an image of a name, or send one: registry,
/// repository, and tag or digest.
pub type ImageReview = Arc<dyn Fn(&str) -> std::result::Result<(), model::Denied> + Send + Sync>;

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
    /// What is said about the result beside it; nothing unless asked for.
    pub attest: Attestations,
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
    /// Which images it may take, and under which names it may send some; `None` for any.
    pub review: Option<ImageReview>,
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
    /// Nothing: a question about a Dockerfile is answered. The answer is the outcome's answers.
    Question(crate::call::Call, Box<crate::dockerfile_build::DockerfileBuild>),
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
    /// What its SBOM covers beside it.
    pub scans: Vec<crate::frontend::Scan>,
}

impl Target {
    /// The file systems that must come to be, its own first.
    pub(crate) fn edges(&self) -> impl Iterator<Item = Option<Edge>> {
        std::iter::once(self.edge).chain(self.scans.iter().map(|scan| scan.tree))
    }
}

/// What steps may do beyond the default. Denied unless granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entitlements {
    /// `RUN --network=host`.
    pub network_host: bool,
    /// `RUN --security=insecure`.
    pub security_insecure: bool,
    /// `RUN --device`.
    pub device: bool,
}

/// What becomes of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// An image of this node's.
    Image {
        /// Its names; may be empty.
        names: Vec<ImageRef>,
        /// Whether and how it goes to registries.
        push: Push,
        /// Named in this node's store.
        store: bool,
        /// How its documents and layers are written.
        form: Form,
    },
    /// The files of the result, given to the client as a directory.
    Local {
        /// Each platform in a directory of its own; `None`: when there are several.
        platform_split: Option<bool>,
    },
    /// The files of the result as a tar.
    Tar {
        /// As for a directory.
        platform_split: Option<bool>,
    },
    /// An image in an OCI layout.
    Oci {
        /// Its names; may be empty.
        names: Vec<ImageRef>,
        /// As a tar; otherwise as a directory.
        tar: bool,
        /// How its documents and layers are written.
        form: Form,
    },
    /// An archive as `docker load` takes it.
    Docker {
        /// Its names; may be empty.
        names: Vec<ImageRef>,
        /// How its documents and layers are written.
        form: Form,
    },
}

/// Whether and how an image goes to registries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Push {
    /// It does not.
    #[default]
    No,
    /// Under its names.
    Named,
    /// Without a tag, by its digest.
    ByDigest,
}

/// How an image's documents and layers are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Form {
    /// The form of the layers.
    pub packing: Packing,
    /// Whether `packing` was asked for; else what is here serves as it is.
    pub packing_asked: bool,
    /// Docker's media types instead of OCI's.
    pub docker_types: bool,
    /// Free annotations.
    pub annotations: Vec<Annotation>,
}

/// A free annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Where it is written.
    pub place: AnnotationPlace,
    /// Only for this platform; `None` is every one.
    pub platform: Option<Platform>,
    /// Its name.
    pub key: String,
    /// What it says.
    pub value: String,
}

/// Where an annotation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationPlace {
    /// Into the manifest.
    Manifest,
    /// Into the manifest's descriptor in the index.
    ManifestDescriptor,
    /// Into the index.
    Index,
    /// Into the index's (or the only manifest's) descriptor in a layout.
    IndexDescriptor,
}

/// Where finished steps may be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSource {
    /// An image of this node or of a registry with an inline cache, or a cache of a registry.
    Registry(String),
    /// An image of this node's with an inline cache.
    Here(String),
    /// A layout of the client's (`type=local,src=`).
    Local {
        /// The client's name for it: the directory as it was written.
        store: String,
        /// Which of the documents in it.
        pick: LayoutPick,
    },
}

/// One of a layout's documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutPick {
    /// By digest.
    Digest(Digest),
    /// By tag; `latest` unless something else was said.
    Tag(String),
}

/// Where finished steps are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheTarget {
    /// Into the configuration of the image.
    Inline,
    /// A layout of the client's (`type=local,dest=`).
    Local {
        /// The client's name for it: the directory as it was written.
        store: String,
        /// The name of the document in it.
        tag: String,
        /// How it is written.
        form: CacheForm,
    },
    /// A registry.
    Registry {
        /// Under this name.
        name: ImageRef,
        /// How it is written.
        form: CacheForm,
    },
}

/// How a cache is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheForm {
    /// Whether steps that are no part of the result go too (`mode=max`).
    pub all: bool,
    /// As an image manifest rather than an index, which some registries refuse.
    pub image_manifest: bool,
    /// Docker's media types instead of OCI's.
    pub docker_types: bool,
    /// A failure is told, and fails nothing.
    pub ignore_error: bool,
    /// The form of the layers.
    pub packing: Packing,
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
    /// Digest of its manifest, if one was written.
    pub manifest: Option<Digest>,
}
