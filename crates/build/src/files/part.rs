//! Parts of trees as copies in directories of our own, for what can only be mounted from there.

use super::copy;
use crate::error::{Act, Result};
use crate::graph::{Base, Copy, Unpack};
use crate::tree::Tree;
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;
use store::Store;

/// The name under which [`copy_part`] makes its copy.
pub(crate) const PART: &str = "part";

/// A copy of one file, or of everything in one directory, to `dest`.
pub(crate) fn plain(part: &str, dest: &str) -> Copy {
    Copy {
        from: Base::Empty,
        src: format!("/{}", part.trim_matches('/')),
        dest: dest.to_owned(),
        owner: None,
        mode: None,
        follow_symlinks: true,
        contents_only: true,
        unpack: Unpack::Never,
        create_dest: true,
        wildcard: false,
        allow_empty: false,
        time_ns: None,
        include: Vec::new(),
        exclude: Vec::new(),
        required: Vec::new(),
        replace: false,
    }
}

/// Copies a file, or everything in a directory, into `dir` as [`PART`]. Blocking.
pub(crate) fn copy_part(store: &Store, tree: &Tree, part: &str, dir: &OwnedFd) -> Result<()> {
    copy::copy((store, tree), dir, &plain(part, &format!("/{PART}")), None)
}

/// Copies everything in a directory of a tree into a directory of ours. Blocking.
pub(crate) fn fill(store: &Store, tree: &Tree, part: &str, into: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, into, flags, Mode::empty())
        .act(|| format!("open {}", into.display()))?;
    copy::copy((store, tree), &dir, &plain(part, "/"), None)
}

/// Copies everything in a tree into a new directory of that name. Blocking.
pub(crate) fn fill_dir(store: &Store, tree: &Tree, root: &OwnedFd, name: &str) -> Result<()> {
    copy::copy((store, tree), root, &plain("", &format!("/{name}")), None)
}
