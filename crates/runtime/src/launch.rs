//! What a container is launched from: everything the runtime is told, in one value that can be
//! written down. It never says how a thing is done.

use crate::monitor::log::LogConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use wire::oci::runtime::Spec;

/// The version of [`Launch`] that this runtime writes and reads.
pub const VERSION: u32 = 1;

/// One container, completely. Engines hand it to a monitor; the OCI command line makes it from a
/// bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// [`VERSION`].
    pub version: u32,
    /// Id of the container: 64 hexadecimal digits from an engine; any valid OCI id otherwise.
    pub id: String,
    /// The specification. `root.path` is ignored in favour of [`Launch::rootfs`]; a `user` without
    /// `uidMappings` means the host's user namespace.
    pub spec: Spec,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Whose ids the files of the root and of bind mounts carry on disk.
    #[serde(default)]
    pub ids: Ids,
    /// User as Docker writes it, `name|uid[:group|gid]`, resolved in the root when the container
    /// is created. It replaces `process.user` and sets `HOME` if the environment has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the compiled system call filter (an array of `struct sock_filter`, native byte
    /// order). Without it `linux.seccomp` is compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<PathBuf>,
    /// Existing directory of this container's run-time files, 0700.
    pub state_dir: PathBuf,
    /// Where output goes.
    #[serde(default)]
    pub log: LogConfig,
    /// Keep standard input open without a client.
    #[serde(default)]
    pub stdin_open: bool,
    /// Close standard input after the first client left.
    #[serde(default)]
    pub stdin_once: bool,
    /// Run the built-in init as process 1: it forwards signals and reaps.
    #[serde(default)]
    pub init: bool,
    /// Seconds that a stop waits before it kills, when the stop says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_s: Option<i64>,
    /// Program of the OCI runtime that a monitor drives for this container; none for our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<PathBuf>,
    /// Its words before each command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_args: Vec<String>,
    /// The control group is in a scope that systemd makes; `linux.cgroupsPath` is
    /// `slice:prefix:name`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub systemd: bool,
    /// What the container's processes have only among themselves. The process that creates the
    /// container is confined with them, for good, and may have no other.
    #[serde(default, skip_serializing_if = "Scopes::is_none")]
    pub scopes: Scopes,
    /// The bundle directory, told to hooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
}

/// What processes of a container reach only among themselves, landlock(7). They share one domain,
/// whichever way they were started: it is their maker's. Kernels before 6.12 have no scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// Nobody outside gets signals.
    #[serde(default)]
    pub signals: bool,
    /// No abstract socket outside is connected to.
    #[serde(default)]
    pub abstract_sockets: bool,
}

impl Scopes {
    /// Whether nothing is kept apart.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// Layers under overlayfs.
    Overlay {
        /// Directories of the read-only layers, topmost first; at least one.
        lower: Vec<PathBuf>,
        /// Directory that takes the writes.
        upper: PathBuf,
        /// overlayfs's own directory, empty, on the file system of `upper`.
        work: PathBuf,
        /// Whether the root is read-only inside.
        readonly: bool,
        /// What is written is thrown away with the container: nothing of it is brought to disk
        /// for its own sake, and after a power cut it is worth nothing.
        #[serde(default)]
        volatile: bool,
    },
    /// A directory as it is.
    Directory(PathBuf),
}

/// Whose ids files carry on disk when the container has a user namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// The container's: root's files are 0 on disk; layers and bind mounts are mapped by the
    /// kernel. What engines use.
    #[default]
    Container,
    /// The host's: root's files carry the host id that container root maps to. What the OCI
    /// specification means unless a mount says `idmap`.
    Host,
}
