//! The two things in a tree that only the first user namespace may do: device nodes and the mark of
//! an opaque directory in a layer. Whoever extracts does them himself or asks; what an entry means
//! is decided elsewhere.

use super::name::TreePath;
use super::node::overlay_xattr;
use super::{Entry, Kind};
use rustix::fs::{self, FileType, Mode, XattrFlags, makedev};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// How an extractor comes by what wants privileges.
pub(crate) trait Doors {
    /// Makes the device of an entry under a name in a directory, which has this path.
    fn node(
        &self,
        at: (BorrowedFd<'_>, &CStr),
        path: &TreePath,
        entry: &Entry,
    ) -> rustix::io::Result<()>;
    /// Marks a directory, open for reading, at this path.
    fn opaque(&self, dir: BorrowedFd<'_>, path: &TreePath) -> rustix::io::Result<()>;
}

/// By ourselves.
pub(crate) struct Own;

impl Doors for Own {
    fn node(
        &self,
        (dir, name): (BorrowedFd<'_>, &CStr),
        _: &TreePath,
        entry: &Entry,
    ) -> rustix::io::Result<()> {
        let (block, mode) = (entry.kind == Kind::BlockDevice, entry.mode);
        make_node(dir, name, Node { block, mode, device: (entry.major, entry.minor) })
    }

    fn opaque(&self, dir: BorrowedFd<'_>, _: &TreePath) -> rustix::io::Result<()> {
        mark_opaque(dir)
    }
}

/// A device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) block: bool,
    pub(crate) mode: u32,
    /// Major and minor number.
    pub(crate) device: (u32, u32),
}

/// Makes a node directly below `dir`; `EXIST` when something is there. Only the first user
/// namespace has devices: in any other an empty file stands in its place, so that the name is
/// there, and the runtime mounts over it what a container may use.
pub(crate) fn make_node(dir: impl AsFd, name: &CStr, node: Node) -> rustix::io::Result<()> {
    let (kind, device) = match (sys::userns::is_first(), node.block) {
        (false, _) => (FileType::RegularFile, 0),
        (true, true) => (FileType::BlockDevice, makedev(node.device.0, node.device.1)),
        (true, false) => (FileType::CharacterDevice, makedev(node.device.0, node.device.1)),
    };
    fs::mknodat(&dir, name, kind, Mode::from_raw_mode(node.mode & 0o7777), device)?;
    super::node::set_mode(&super::node::open(dir, name)?, node.mode & 0o7777)
}

/// Marks a directory of a layer as hiding what lower layers have at its place.
pub(crate) fn mark_opaque(dir: impl AsFd) -> rustix::io::Result<()> {
    fs::fsetxattr(dir, overlay_xattr("opaque").as_str(), b"y", XattrFlags::empty())
}
