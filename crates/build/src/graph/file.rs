//! Changes of files that need no process. Never knows what a file system is made of.

use super::Slot;

/// Changes of files, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// The changes.
    pub actions: Vec<FileAction>,
}

impl File {
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.actions.iter().flat_map(FileAction::uses).filter_map(|base| match base {
            Base::Input(slot) => Some(slot),
            Base::Empty | Base::Action(_) => None,
        })
    }
}

/// A file system within a [`File`] operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// The empty one.
    Empty,
    /// An input of the operation.
    Input(Slot),
    /// The result of an action before this one.
    Action(usize),
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct FileAction {
    /// The file system that is changed (a new one comes of it).
    pub base: Base,
    /// The change.
    pub change: Change,
    /// The output that the result becomes.
    pub output: Option<usize>,
}

impl FileAction {
    /// The file systems it works on: the base, a copy's source, the ones that names are looked
    /// up in.
    pub fn uses(&self) -> impl Iterator<Item = Base> {
        let (from, owner) = match &self.change {
            Change::Copy(copy) => (Some(copy.from), &copy.owner),
            Change::Mkdir { owner, .. }
            | Change::Mkfile { owner, .. }
            | Change::Symlink { owner, .. } => (None, owner),
            Change::Remove { .. } => (None, &None),
        };
        let owner = owner.iter().flat_map(|owner| [&owner.user, &owner.group]);
        let named = owner.flatten().filter_map(|who| match who {
            Who::Name { within, .. } => Some(*within),
            Who::Id(_) => None,
        });
        [self.base].into_iter().chain(from).chain(named)
    }
}

/// What a change does; paths are absolute within the file system.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Copies from one file system to another.
    Copy(Box<Copy>),
    /// Makes a directory; one that is there stays as it is.
    Mkdir {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Make missing parents.
        parents: bool,
        /// Owner; `None` is root.
        owner: Option<Owner>,
        /// Modification time, nanoseconds since the epoch; `None` is the build's.
        time_ns: Option<i64>,
    },
    /// Makes or replaces a file.
    Mkfile {
        /// Where; its directory must be there.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Content.
        data: Vec<u8>,
        /// Owner; `None` is root.
        owner: Option<Owner>,
        /// Modification time, nanoseconds since the epoch; `None` is the build's.
        time_ns: Option<i64>,
    },
    /// Makes a symbolic link.
    Symlink {
        /// Where the link is.
        path: String,
        /// What it says.
        target: String,
        /// Owner; `None` is root.
        owner: Option<Owner>,
        /// Modification time, nanoseconds since the epoch; `None` is the build's.
        time_ns: Option<i64>,
    },
    /// Removes a file or a tree.
    Remove {
        /// Which; may have wildcards if `wildcard`.
        path: String,
        /// It is no error if there is none.
        allow_missing: bool,
        /// `path` is a pattern.
        wildcard: bool,
    },
}

/// A copy, with the fields of LLB's `FileActionCopy`.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The file system copied from.
    pub from: Base,
    /// What is copied, absolute; may have wildcards if `wildcard`.
    pub src: String,
    /// Where to, absolute; a trailing slash (or several sources) means into a directory.
    pub dest: String,
    /// Owner of what is made; `None` keeps the source's.
    pub owner: Option<Owner>,
    /// Mode of what is made; `None` keeps the source's.
    pub mode: Option<Mode>,
    /// Follow a symbolic link that `src` is.
    pub follow_symlinks: bool,
    /// A directory's content is copied, not the directory.
    pub contents_only: bool,
    /// What happens to archives.
    pub unpack: Unpack,
    /// Make missing parents of `dest`.
    pub create_dest: bool,
    /// `src` is a pattern (Go's `filepath.Match`).
    pub wildcard: bool,
    /// It is no error if the pattern matches nothing.
    pub allow_empty: bool,
    /// Modification time of what is made, nanoseconds since the epoch; `None` keeps the source's.
    pub time_ns: Option<i64>,
    /// Only paths (relative to `src`) that match one of these; empty is all. Parent directories of
    /// what matches are made (`--parents`).
    pub include: Vec<String>,
    /// Not paths that match these.
    pub exclude: Vec<String>,
    /// Paths that must be among what is copied; an error otherwise.
    pub required: Vec<String>,
    /// Replace a file by a directory and the other way round, instead of failing.
    pub replace: bool,
}

/// What a copy does with archives (tar, plain or gzip, bzip2, xz, zstd).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unpack {
    /// Copies them.
    #[default]
    Never,
    /// Unpacks what turns out to be one.
    Detect,
}

/// Mode bits of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// These bits.
    Bits(u32),
    /// As `chmod` takes them: `u=rwX,go=rX`.
    Symbolic(String),
}

/// An owner. Without a group it is the user's: of a number the same number, of a name the group
/// that `/etc/passwd` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub user: Option<Who>,
    /// Group.
    pub group: Option<Who>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// By number.
    Id(u32),
    /// By name in `/etc/passwd` or `/etc/group` of a file system.
    Name {
        /// The name.
        name: String,
        /// Where it is looked up.
        within: Base,
    },
}
