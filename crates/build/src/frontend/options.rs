//! What a build is asked for beside its Dockerfile, and what is known of images.

use crate::graph::{Git, Http, Limits, NetworkMode, Pull, Ulimit};
use crate::platform::Platform;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use wire::oci::image::ImageConfig;

/// What a build is asked for.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Stage to build, by name or number; `None` is the last.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--platform`; empty is `build_platform` alone.
    pub platforms: Vec<Platform>,
    /// What the builder itself is.
    pub build_platform: Platform,
    /// Where the build context is.
    pub context: ContextSource,
    /// Patterns of the context's `.dockerignore`, as [`crate::ignore::read`] gives them.
    pub ignore: Vec<String>,
    /// `--build-context`: name to address (`docker-image://…`, `oci-layout://…`, git or HTTP
    /// address, `target:stage`, `local:name` for a directory of the client).
    pub contexts: BTreeMap<String, String>,
    /// `--pull`.
    pub pull: Pull,
    /// `--no-cache`, `--no-cache-filter`.
    pub cache: CacheUse,
    /// `--network` for all steps.
    pub network: NetworkMode,
    /// `--add-host`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--shm-size`.
    pub shm_bytes: Option<u64>,
    /// `--cgroup-parent`.
    pub cgroup_parent: String,
    /// `--memory`, `--cpu-shares`, …
    pub limits: Option<Limits>,
    /// Host name of steps; empty is the builder's choice.
    pub hostname: String,
    /// How history entries are worded.
    pub history: History,
    /// Plan all stages, needed or not, for the sake of the checks (`--check`).
    pub all_stages: bool,
    /// Only one platform can be meant although several were named, or the other way round: the
    /// client wants an index (`BUILDKIT_MULTI_PLATFORM`).
    pub multi_platform: Option<bool>,
    /// Somebody will look at what the Dockerfile wants scanned. The solver fills it in.
    pub scans: bool,
}

impl PlanOptions {
    /// No options: everything from the client's directory `context`, for `build_platform`.
    pub fn new(build_platform: Platform) -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platforms: Vec::new(),
            build_platform,
            context: ContextSource::Local("context".to_owned()),
            ignore: Vec::new(),
            contexts: BTreeMap::new(),
            pull: Pull::Missing,
            cache: CacheUse::All,
            network: NetworkMode::Sandbox,
            extra_hosts: Vec::new(),
            ulimits: Vec::new(),
            shm_bytes: None,
            cgroup_parent: String::new(),
            limits: None,
            hostname: String::new(),
            history: History::BuildKit,
            all_stages: false,
            multi_platform: None,
            scans: false,
        }
    }
}

/// Where the files of a build context come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// The client's directory of that name.
    Local(String),
    /// A git tree.
    Git(Git),
    /// An archive, or a lone Dockerfile, over HTTP.
    Http(Http),
}

/// Which steps may be taken from the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// All.
    #[default]
    All,
    /// None (`--no-cache`).
    None,
    /// All but those of these stages (`--no-cache-filter`).
    Without(BTreeSet<String>),
}

/// How history entries are worded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// `RUN /bin/sh -c make # buildkit`.
    #[default]
    BuildKit,
    /// `/bin/sh -c make`, `/bin/sh -c #(nop)  CMD ["sh"]`.
    Legacy,
}

/// An image whose configuration is needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageNeed {
    /// Full reference, tag or digest always given.
    pub reference: String,
    /// For which platform.
    pub platform: Platform,
    /// The name of the OCI layout it is in; `None` is the image store or a registry.
    pub layout: Option<String>,
}

/// What is known of an image.
#[derive(Clone, Debug)]
pub struct KnownImage {
    /// The reference to build upon; with digest, unless the image is only here.
    pub reference: String,
    /// What it runs on.
    pub platform: Platform,
    /// Its configuration.
    pub config: ImageConfig,
}

/// What is known of images.
pub type KnownImages = HashMap<ImageNeed, KnownImage>;
