//! The vocabulary of a plan: what the parent supplies and what the child does, step by step.
//!
//! Everything that a step needs is in it, in the form that the kernel takes, because the child
//! neither allocates nor decides.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use sys::clone::Argv;
use sys::cred::CapSets;
use sys::mount::Propagation;
use sys::process::SchedAttr;
use sys::seccomp::Insn;

/// Where the child keeps a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u8);

impl Slot {
    /// Standard input to be.
    pub const STDIN: Slot = Slot(0);
    /// Standard output to be.
    pub const STDOUT: Slot = Slot(1);
    /// Standard error to be.
    pub const STDERR: Slot = Slot(2);
    /// The way to the parent, later to whoever starts the container.
    pub const CHANNEL: Slot = Slot(3);
    /// What an exec joins: the pidfd of the container's first process. What a container joins:
    /// the file of a mount namespace.
    pub const TARGET: Slot = Slot(4);
    /// The socket on which somebody will say start, if it is not the parent.
    pub const GATE: Slot = Slot(5);
    /// The program of the built-in init.
    pub const INIT_PROGRAM: Slot = Slot(6);
    /// Master side of the terminal.
    pub const MASTER: Slot = Slot(7);
    /// The root of the container, once it is supplied.
    pub const ROOT: Slot = Slot(8);
    /// The masks, once they are supplied.
    pub const MASKS: Slot = Slot(9);
}

/// How many slots there are.
pub const SLOTS: usize = 240;

/// A path inside the root, with everything needed to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The absolute path.
    pub path: CString,
    /// Every directory on the way, shortest first, the path itself last.
    pub prefixes: Vec<CString>,
    /// The last component of each of `prefixes`.
    pub names: Vec<CString>,
    /// Whether symbolic links on the way are refused: true for what the runtime itself mounts on.
    pub no_symlinks: bool,
}

/// One option of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name.
    pub key: CString,
    /// Value; absent for a flag.
    pub value: Option<CString>,
}

/// A new instance of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsMount {
    /// Type, as in `/proc/filesystems`.
    pub kind: CString,
    /// Options, `source` included; what begins with `security.` is an attribute of its root.
    pub params: Vec<Param>,
    /// Attributes of the mount, see [`sys::mount::attr`].
    pub attrs: u64,
}

/// What the parent makes, detached, and hands to the child.
#[derive(Debug, Clone, PartialEq)]
pub enum Supply {
    /// The root file system.
    Root,
    /// An empty file and an empty directory that belong to the runtime.
    Masks,
    /// A directory or file of the host.
    Bind(Bind),
    /// The content of an image, read-only.
    Image {
        /// Directories of its layers, topmost first.
        lower: Vec<PathBuf>,
        /// Only this below its root.
        beneath: Option<PathBuf>,
    },
    /// A new file system, made in the parent's user namespace and in the namespace of `made_in`.
    Fs {
        /// What.
        fs: FsMount,
        /// Which namespace of the container the file system shows.
        made_in: MadeIn,
    },
    /// `/dev`.
    Dev(Dev),
    /// A device node of the host's, for who cannot make one.
    Device(Node),
    /// A tmpfs with directories and links in it.
    Tree {
        /// The tmpfs.
        fs: FsMount,
        /// Names of directories.
        dirs: Vec<String>,
        /// Names and contents of links.
        links: Vec<(String, String)>,
    },
    /// A tmpfs that begins as a copy of what it covers in the root.
    CopyUp {
        /// The tmpfs.
        fs: FsMount,
        /// The directory in the root.
        from: PathBuf,
    },
}

/// Which namespace a file system shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeIn {
    /// It does not matter.
    Anywhere,
    /// Network: sysfs.
    Net,
    /// IPC: mqueue.
    Ipc,
    /// Process ids: proc.
    Pid,
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// Where below the source, for what lies in a directory that others write in: no link leads
    /// out of it.
    pub beneath: Option<PathBuf>,
    /// The source is not the host's but what this process sees there; its ids are right already.
    pub process: Option<u32>,
    /// Whom the owner of the source appears as.
    pub owner: Option<Owner>,
    /// Also what is mounted below.
    pub recursive: bool,
    /// Attributes of the mount.
    pub set: u64,
    /// Attributes that are taken away.
    pub clear: u64,
    /// Attributes of the whole tree.
    pub set_recursive: u64,
    /// Attributes that are taken away from the whole tree.
    pub clear_recursive: u64,
    /// Propagation.
    pub propagation: Propagation,
    /// Whether the propagation is of the whole tree.
    pub propagation_recursive: bool,
    /// Whether ids on disk are the container's.
    pub ids: BindIds,
    /// The source must be a procfs: it is to be mounted at `/proc`.
    pub must_be_proc: bool,
}

/// Whom the files of a bind mount appear to belong to inside; absent: as they do on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// The ids of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindIds {
    /// As they are on disk.
    Host,
    /// Mapped where the file system can, otherwise as they are, with a warning.
    MapIfPossible,
    /// Mapped; failing otherwise.
    Map {
        /// With everything mounted below.
        recursive: bool,
        /// By these maps; by the container's user namespace without them.
        by: Option<super::Maps>,
    },
}

/// A `/dev` made by the runtime.
#[derive(Debug, Clone, PartialEq)]
pub struct Dev {
    /// The tmpfs.
    pub fs: FsMount,
    /// Directories, parents first.
    pub dirs: Vec<String>,
    /// Device nodes.
    pub nodes: Vec<Node>,
    /// Names and contents of links.
    pub links: Vec<(String, String)>,
    /// An empty file `console`, for the terminal to be mounted on.
    pub console: bool,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Below `/dev`.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Permissions.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
}

/// Kinds of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Character device.
    Char(u32, u32),
    /// Block device.
    Block(u32, u32),
    /// Named pipe.
    Fifo,
    /// An empty file, for the host's node to be mounted on.
    Stub,
}

/// The command of a process.
#[derive(Debug)]
pub struct Command {
    /// As it was written, for messages.
    pub name: String,
    /// Where it may be, in order.
    pub candidates: Vec<CString>,
    /// Whether the candidates come from a search path.
    pub searched: bool,
    /// Arguments, the name first.
    pub args: Argv,
    /// Environment.
    pub env: Argv,
    /// Run by the built-in init, from [`Slot::INIT_PROGRAM`], with these arguments.
    pub init: Option<Argv>,
}

/// One step of the child.
#[derive(Debug)]
pub enum InitStep {
    /// Wait until the parent has written the id maps.
    AwaitMaps,
    /// Enter the control groups of version 1 whose files came along; a process that does it by
    /// itself does not wait for all others.
    EnterGroups,
    /// Wait for the supplies; the first goes into `first`, the others follow.
    AwaitSupplies {
        /// First slot.
        first: Slot,
        /// How many.
        count: u8,
    },
    /// Join namespaces of the descriptor.
    Join {
        /// Namespace file or pidfd.
        of: Slot,
        /// Which ones, [`sys::clone::ns`].
        kinds: u64,
    },
    /// Make namespaces.
    Unshare(u64),
    /// Become user and group 0 of the user namespace, without supplementary groups.
    BecomeRoot,
    /// Lead a session of its own.
    NewSession,
    /// Nothing that is mounted here is seen elsewhere.
    DetachPropagation(Propagation),
    /// Make a file system.
    MakeFs {
        /// What.
        fs: FsMount,
        /// Where its mount goes.
        into: Slot,
    },
    /// Mount over `/`, out of sight until the root is left.
    Cover(Slot),
    /// Mount in the root; the mount point is made if it is missing.
    Attach {
        /// The mount.
        mount: Slot,
        /// Where.
        at: Target,
    },
    /// Change the mount at the path.
    Change {
        /// Where; the empty path is the root.
        at: Target,
        /// Attributes to set.
        set: u64,
        /// Attributes to clear.
        clear: u64,
        /// With everything below.
        recursive: bool,
        /// Propagation to set.
        propagation: Option<Propagation>,
    },
    /// Make the path read as empty; a missing path is fine.
    Mask(CString),
    /// Make the path read-only with everything below; a missing path is fine.
    ReadOnly(CString),
    /// Keep a directory of a file system at hand before anything is mounted over it.
    Keep {
        /// The file system.
        from: Slot,
        /// Path in it.
        path: CString,
        /// Where the descriptor goes.
        into: Slot,
    },
    /// Write a value into a file of procfs; symbolic links and mounts on the way are refused.
    WriteProc {
        /// A directory of the runtime's own procfs.
        dir: Slot,
        /// Path in it.
        path: CString,
        /// What is written.
        value: Vec<u8>,
    },
    /// Set the clocks and enter the time namespace that was unshared.
    EnterTime {
        /// The runtime's own procfs.
        proc: Slot,
        /// What is written to `timens_offsets`.
        offsets: Vec<u8>,
    },
    /// Make the root the root, and let the host's go.
    Pivot,
    /// As `Pivot`, for a root file system that cannot be left (an initramfs).
    MoveRoot,
    /// Host name.
    HostName(Vec<u8>),
    /// NIS domain name.
    DomainName(Vec<u8>),
    /// Make the directory if it is missing.
    MakeDir(Target),
    /// Change into the directory, which must lie in the root.
    ChangeDir(CString),
    /// Open a terminal of the devpts at `/dev/pts`; it becomes standard input, output and error.
    OpenTerminal {
        /// Rows and columns.
        size: Option<(u16, u16)>,
        /// Owner inside.
        owner: u32,
        /// Mount it on `/dev/console` too.
        console: bool,
    },
    /// See whether the command is there.
    FindCommand,
    /// Say that all is prepared (with the terminal, if there is one), and wait for the start.
    Gate,
    /// File mode creation mask.
    Umask(u32),
    /// Put the three standard descriptors in their places.
    Stdio,
    /// Make standard input the controlling terminal.
    TakeTerminal,
    /// Scheduling.
    Scheduler(SchedAttr),
    /// Which processors to run on, one bit each.
    Affinity(Vec<usize>),
    /// I/O priority.
    IoPriority(u32),
    /// Execution domain.
    Personality(u64),
    /// NUMA memory policy: the mode with its flags, and the nodes, one bit each.
    MemoryPolicy {
        /// Mode and flags.
        mode: u32,
        /// Nodes.
        nodes: Box<[u64; sys::process::MAX_NODES / 64]>,
    },
    /// A session keyring of its own; a kernel without keys is fine.
    Keyring(CString),
    /// Remove capabilities (one bit each) from the bounding set.
    DropBounding(u64),
    /// Ids: supplementary groups, group, user; permitted capabilities survive.
    Identity {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Supplementary groups; none: those there are stay.
        groups: Option<Vec<u32>>,
    },
    /// Capability sets, then the ambient one.
    Capabilities {
        /// Effective, permitted, inheritable.
        sets: CapSets,
        /// Ambient, one bit each.
        ambient: u64,
    },
    /// No new privileges.
    NoNewPrivileges,
    /// Label of the security module, written to the named file of `/proc/thread-self/attr` and
    /// read back at exec by the kernel.
    Label {
        /// The runtime's own procfs.
        proc: Slot,
        /// Path of the file.
        path: CString,
        /// The value.
        value: Vec<u8>,
    },
    /// Every other descriptor closes at exec; signals are as a fresh program expects them.
    Seal,
    /// Load the system call filter.
    Filter {
        /// The program.
        program: Vec<Insn>,
        /// Flags of seccomp(2).
        flags: u32,
    },
    /// Execute the command.
    Execute,
}

/// A child's whole way. Steps are numbered by their place.
#[derive(Debug)]
pub struct InitPlan {
    /// The steps.
    pub steps: Vec<InitStep>,
    /// The command.
    pub command: Command,
    /// How many descriptors from 3 on stay open.
    pub preserve_fds: u32,
    /// Who listens to what the filter hands over.
    pub agent: Option<Agent>,
}

/// A seccomp agent: it answers system calls in the kernel's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its socket, on the host.
    pub path: PathBuf,
    /// What the profile tells it.
    pub metadata: String,
    /// The container's state; a process id of 0 stands for the process that is made.
    pub state: wire::oci::runtime::State,
}

impl fmt::Display for InitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |p: &CString| p.to_string_lossy().into_owned();
        match self {
            InitStep::AwaitMaps => f.write_str("wait for the id maps"),
            InitStep::EnterGroups => f.write_str("enter the control groups"),
            InitStep::AwaitSupplies { .. } => f.write_str("receive the mounts"),
            InitStep::Join { kinds, .. } => write!(f, "join namespaces {kinds:#x}"),
            InitStep::Unshare(kinds) => write!(f, "make namespaces {kinds:#x}"),
            InitStep::BecomeRoot => f.write_str("become root of the user namespace"),
            InitStep::NewSession => f.write_str("make a session"),
            InitStep::DetachPropagation(_) => f.write_str("make mounts private"),
            InitStep::MakeFs { fs, .. } => write!(f, "make file system {}", path(&fs.kind)),
            InitStep::Cover(_) => f.write_str("attach the root file system"),
            InitStep::Attach { at, .. } => write!(f, "mount at {}", path(&at.path)),
            InitStep::Change { at, .. } => write!(f, "change mount {}", path(&at.path)),
            InitStep::Mask(at) => write!(f, "mask {}", path(at)),
            InitStep::ReadOnly(at) => write!(f, "make {} read-only", path(at)),
            InitStep::Keep { path: at, .. } => write!(f, "open {} of procfs", path(at)),
            InitStep::WriteProc { path: at, value, .. } => {
                let value = String::from_utf8_lossy(value);
                write!(f, "write {value:?} to /proc/{}", path(at))
            }
            InitStep::EnterTime { .. } => f.write_str("enter the time namespace"),
            InitStep::Pivot | InitStep::MoveRoot => f.write_str("change the root"),
            InitStep::HostName(_) => f.write_str("set the host name"),
            InitStep::DomainName(_) => f.write_str("set the domain name"),
            InitStep::MakeDir(at) => write!(f, "make directory {}", path(&at.path)),
            InitStep::ChangeDir(at) => {
                write!(f, "chdir to cwd ({:?}) set in config.json failed", path(at))
            }
            InitStep::OpenTerminal { .. } => f.write_str("open a terminal"),
            InitStep::FindCommand => f.write_str("find the command"),
            InitStep::Gate => f.write_str("wait for the start"),
            InitStep::Umask(_) => f.write_str("set the file mode mask"),
            InitStep::Stdio => f.write_str("set standard input and output"),
            InitStep::TakeTerminal => f.write_str("take the terminal"),
            InitStep::Scheduler(_) => f.write_str("set the scheduler"),
            InitStep::Affinity(_) => f.write_str("set the processors"),
            InitStep::IoPriority(_) => f.write_str("set the I/O priority"),
            InitStep::Personality(_) => f.write_str("set the execution domain"),
            InitStep::MemoryPolicy { .. } => f.write_str("set the memory policy"),
            InitStep::Keyring(_) => f.write_str("make a session keyring"),
            InitStep::DropBounding(_) => f.write_str("bound the capabilities"),
            InitStep::Identity { uid, gid, .. } => write!(f, "become user {uid}, group {gid}"),
            InitStep::Capabilities { .. } => f.write_str("set the capabilities"),
            InitStep::NoNewPrivileges => f.write_str("give up new privileges"),
            InitStep::Label { value, .. } => {
                write!(f, "set security label {:?}", String::from_utf8_lossy(value))
            }
            InitStep::Seal => f.write_str("close descriptors"),
            InitStep::Filter { .. } => f.write_str("load the system call filter"),
            InitStep::Execute => f.write_str("execute the command"),
        }
    }
}
