//! Steps: a process with its file systems, its variables and what it may do. Never knows how one
//! is started.

use super::Slot;

/// A process that changes file systems.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exec {
    /// Command and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// Environment variables whose values are secrets.
    pub secret_env: Vec<SecretEnv>,
    /// Working directory; empty is `/`.
    pub cwd: String,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Host name; empty is the builder's choice.
    pub hostname: String,
    /// The root file system.
    pub root: Bind,
    /// Other mounts, in the order in which they are made.
    pub mounts: Vec<Mount>,
    /// The network it sees.
    pub network: NetworkMode,
    /// How far it is confined.
    pub security: SecurityMode,
    /// Names with addresses for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Size of `/dev/shm` in bytes; `None` is the builder's choice.
    pub shm_bytes: Option<u64>,
    /// CDI devices.
    pub devices: Vec<Device>,
    /// Proxy variables, `NAME=value`: set for the process, no part of the digest.
    pub proxy: Vec<String>,
    /// The parent cgroup; empty is the builder's choice. No part of the digest.
    pub cgroup_parent: String,
    /// Exit codes that are success; empty is `[0]`.
    pub valid_exit_codes: Vec<i32>,
    /// Remove all empty directories that were made to mount upon, not only the last ones.
    pub remove_mount_stubs: bool,
}

impl Exec {
    /// The outputs with the mounts that become them (`None` is the root).
    pub fn outputs(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        let mounts = self.mounts.iter().enumerate();
        let others = mounts.filter_map(|(at, mount)| match &mount.kind {
            MountKind::Bind(bind) => bind.output.map(|number| (number, Some(at))),
            _ => None,
        });
        self.root.output.map(|number| (number, None)).into_iter().chain(others)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let others = self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Bind(bind) => bind.input,
            MountKind::Cache(cache) => cache.input,
            MountKind::Tmpfs { .. } | MountKind::Secret(_) | MountKind::Ssh(_) => None,
        });
        self.root.input.into_iter().chain(others)
    }
}

/// A mount of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Absolute path in the step, or relative to its working directory.
    pub dest: String,
    /// What is mounted.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq)]
pub enum MountKind {
    /// A file system of the graph.
    Bind(Bind),
    /// A directory that survives the build.
    Cache(CacheMount),
    /// Memory.
    Tmpfs {
        /// Largest size in bytes; `None` is the builder's choice.
        size_bytes: Option<u64>,
    },
    /// A secret as a file.
    Secret(SecretMount),
    /// The socket of an SSH agent.
    Ssh(SecretMount),
}

/// A file system of the graph, mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// Which; `None` is an empty one.
    pub input: Option<Slot>,
    /// The file or directory within it; empty is its root.
    pub selector: String,
    /// Refuse writes.
    pub readonly: bool,
    /// The output that the changed file system becomes. Writes to a mount without output are
    /// thrown away.
    pub output: Option<usize>,
}

/// A directory that survives the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheMount {
    /// Names the directory; namespaced, normalised.
    pub id: String,
    /// Who may use it at the same time.
    pub sharing: Sharing,
    /// Refuse writes.
    pub readonly: bool,
    /// What a new directory begins as; `None` is empty.
    pub input: Option<Slot>,
    /// The directory within `input`.
    pub selector: String,
    /// Owner and mode of a new directory that has no `input`.
    pub dir: Option<DirOwner>,
}

/// Owner and mode of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirOwner {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Who may use a cache mount at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// A second writer gets a directory of its own.
    Private,
    /// A second writer waits.
    Locked,
}

/// A secret or an agent's socket as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMount {
    /// Which.
    pub id: String,
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
    /// Permission bits of the file.
    pub mode: u32,
    /// The step fails without it; else the mount is left out.
    pub required: bool,
}

/// A secret as environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEnv {
    /// Which.
    pub id: String,
    /// The variable.
    pub name: String,
    /// The step fails without it; else the variable is left out.
    pub required: bool,
}

/// The network of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NetworkMode {
    /// A network of its own with a way out.
    #[default]
    Sandbox,
    /// The host's; needs to be granted.
    Host,
    /// Loopback only.
    None,
}

/// How far a step is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SecurityMode {
    /// As a container is.
    #[default]
    Sandbox,
    /// As a privileged container is; needs to be granted.
    Insecure,
}

/// A resource limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// `nofile`, …
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// A CDI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `vendor/class=name`.
    pub name: String,
    /// The step fails without it.
    pub required: bool,
}
