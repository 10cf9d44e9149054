//! What the solver needs from a node: images by name, and processes run as containers are (same
//! runtime, same posture: law E4). The engine implements it; this crate never knows how.

use crate::client::{Client, Future, Secret};
use crate::error::Result;
use crate::graph::{Limits, NetworkMode, Pull, SecurityMode, Ulimit};
use crate::platform::Platform;
use crate::progress::Stream;
use bytes::Bytes;
use model::{Digest, ImageId};
use std::path::PathBuf;
use std::sync::Arc;
use wire::oci::image::ImageConfig;

/// A node that carries out operations.
pub trait Worker: Send + Sync + 'static {
    /// Finds an image, asking a registry as `ask.pull` says. Its layers are in the store when this
    /// returns.
    fn image<'a>(&'a self, ask: ImageAsk<'a>) -> Future<'a, Result<BaseImage>>;

    /// The configuration of an image, without its layers; asks a registry as `ask.pull` says.
    fn config<'a>(&'a self, ask: ImageAsk<'a>) -> Future<'a, Result<KnownConfig>>;

    /// Runs a process to its end and takes in what it changed. When the future is dropped, the
    /// process and everything made for it is removed.
    fn run<'a>(&'a self, step: Step) -> Future<'a, Result<Ran>>;

    /// Pushes an image of the store under a name, with the client's credentials; gives the digest
    /// of its manifest.
    fn push<'a>(&'a self, push: Push<'a>) -> Future<'a, Result<Digest>>;

    /// How registries and other hosts are reached.
    fn registry(&self) -> registry::Client;

    /// The platforms whose programs run here, the host's own first.
    fn platforms(&self) -> Vec<Platform>;
}

/// An image asked for.
pub struct ImageAsk<'a> {
    /// The reference, as the Dockerfile or the graph has it.
    pub reference: &'a str,
    /// The platform wanted.
    pub platform: &'a Platform,
    /// Whether a registry is asked.
    pub pull: Pull,
    /// For credentials.
    pub client: &'a dyn Client,
    /// Told about downloads: part, bytes done, bytes in all.
    pub progress: &'a (dyn Fn(&str, u64, u64) + Send + Sync),
}

/// An image that is in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseImage {
    /// Digest of its configuration.
    pub id: ImageId,
    /// Its whole configuration.
    pub config: Arc<ImageConfig>,
    /// Its layers' diff ids, base first.
    pub layers: Vec<Digest>,
}

/// The configuration of an image that need not be in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownConfig {
    /// Digest by which the registry knows the image, if it came from one.
    pub digest: Option<Digest>,
    /// Its whole configuration, as it came.
    pub config: Bytes,
}

/// An image to be pushed.
pub struct Push<'a> {
    /// Which.
    pub image: ImageId,
    /// Under which name (with a tag).
    pub name: &'a model::ImageRef,
    /// Speak plain HTTP.
    pub insecure: bool,
    /// For credentials.
    pub client: &'a dyn Client,
    /// Told about uploads: part, bytes done, bytes in all.
    pub progress: &'a (dyn Fn(&str, u64, u64) + Send + Sync),
}

/// A process to be run. Everything in it is decided; paths of mounts are the solver's own.
pub struct Step {
    /// Shown in lists of what runs.
    pub name: String,
    /// Layers of its root file system, base first.
    pub layers: Vec<Digest>,
    /// Whether the root is read-only.
    pub readonly_root: bool,
    /// Command and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, in order; secrets are apart.
    pub env: Vec<String>,
    /// Variables whose values are secrets.
    pub secret_env: Vec<(String, Secret)>,
    /// Absolute working directory; made if missing.
    pub cwd: String,
    /// `user[:group]`, looked up in the root file system; empty is root.
    pub user: String,
    /// Host name; empty is the worker's choice.
    pub hostname: String,
    /// The network it sees.
    pub network: NetworkMode,
    /// A network of the node's by name instead (legacy builds' `networkmode`); empty for none.
    pub network_name: String,
    /// How far it is confined.
    pub security: SecurityMode,
    /// Names with addresses for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`; `None` is the worker's choice.
    pub shm_bytes: Option<u64>,
    /// Limits of the control group.
    pub limits: Option<Limits>,
    /// Parent control group; empty is the worker's choice.
    pub cgroup_parent: String,
    /// Devices by their names in the Container Device Interface; each is required or not.
    pub devices: Vec<(String, bool)>,
    /// Mounts, in order.
    pub mounts: Vec<StepMount>,
    /// Nothing of the layer is dated later, seconds since the epoch.
    pub latest_mtime: Option<i64>,
    /// Spares the layer that comes of it.
    pub lease: Arc<store::Lease>,
    /// Told what the process writes.
    pub output: Arc<dyn Fn(Stream, Bytes) + Send + Sync>,
}

/// A mount of a [`Step`].
pub struct StepMount {
    /// Absolute path in the step.
    pub target: String,
    /// What is there.
    pub source: MountSource,
}

/// What a mount of a [`Step`] shows.
pub enum MountSource {
    /// A directory or file of the host, with ids as in the store (0-based).
    Path {
        /// Where; a path of the solver's, no part of which others can change.
        path: PathBuf,
        /// Refuse writes.
        readonly: bool,
    },
    /// What layers show together, or a part of it. Read-only.
    Layers {
        /// The layers, base first.
        layers: Vec<Digest>,
        /// A directory or file in them, relative, no link on the way; empty is all.
        path: String,
    },
    /// Memory.
    Tmpfs {
        /// Largest size in bytes; `None` is the kernel's choice.
        size_bytes: Option<u64>,
    },
    /// A file with a secret. Never on disk.
    Secret {
        /// Its content.
        secret: Secret,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// The socket of an SSH agent of the client's.
    Ssh {
        /// Who has the agent.
        client: Arc<dyn Client>,
        /// Which agent.
        id: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
}

/// A process that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i64,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// What it changed, as a layer, if it changed anything. Also after a failure.
    pub layer: Option<Digest>,
}
