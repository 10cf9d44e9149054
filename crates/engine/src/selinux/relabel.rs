//! Labels of what is mounted into a container: its own files, volumes, and what `z` and `Z` say.
//! What is labelled is a plan, made without looking at the host; carrying it out follows no link
//! below a mount's source, so that nobody who can write there has anything else labelled.

use crate::bundle::{EtcFiles, Source};
use crate::node::Node;
use crate::{EngineError, Result};
use model::network::NetworkMode;
use model::selinux::{self, Relabel};
use model::spec::ContainerSpec;
use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The attribute of files that has their label.
const ATTRIBUTE: &str = "security.selinux";

/// Directories within directories that are labelled; each has a descriptor meanwhile. What is
/// deeper keeps the label that it has, which gives nobody more.
const MAX_DEPTH: usize = 256;

/// The most bytes of a label that are compared.
const MAX_LABEL_BYTES: usize = 512;

/// Something to label, with everything below it.
#[derive(Debug, PartialEq, Eq)]
struct Relabelling {
    root: PathBuf,
    /// The path from there, which leads nowhere else.
    beneath: Option<String>,
    label: String,
    /// A user asked: what cannot be labelled is a refusal.
    asked: bool,
}

/// Labels what a container is about to mount, where it has labels.
pub(crate) fn label_sources(
    node: &Node,
    spec: &ContainerSpec,
    sources: &[Source],
    etc: &EtcFiles,
) -> Result<()> {
    if spec.isolation.selinux.mount.is_empty() {
        return Ok(());
    }
    let home = std::env::var("HOME").ok();
    let volumes = node.options.data_root.join("volumes");
    plan(spec, sources, etc, &volumes).iter().try_for_each(|one| one.apply(home.as_deref()))
}

/// `volumes`: where the node's own volumes are.
fn plan(
    spec: &ContainerSpec,
    sources: &[Source],
    etc: &EtcFiles,
    volumes: &Path,
) -> Vec<Relabelling> {
    let labels = &spec.isolation.selinux;
    let joins = matches!(spec.network, NetworkMode::Container(_));
    let whose = if joins { Relabel::Shared } else { Relabel::Private };
    let own = [&etc.hostname, &etc.hosts, &etc.resolv_conf].into_iter().flatten();
    let own = own.filter_map(|path| {
        let (root, label) = (path.clone(), labels.files(whose)?);
        Some(Relabelling { root, beneath: None, label, asked: false })
    });
    let mounted = spec.mounts.iter().zip(sources).filter_map(|(mount, source)| {
        let (root, beneath) = match source {
            Source::Path(path) => (path, None),
            Source::Beneath { root, path } => (root, Some(path.clone())),
            Source::Image(..) | Source::Memory => return None,
        };
        let whose = selinux::relabelling(mount, root.starts_with(volumes))?;
        let (label, asked) = (labels.files(whose)?, mount.relabel.is_some());
        Some(Relabelling { root: root.clone(), beneath, label, asked })
    });
    own.chain(mounted).collect()
}

impl Relabelling {
    fn apply(&self, home: Option<&str>) -> Result<()> {
        let top = match self.open() {
            // The runtime says what is missing, in its words.
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.map_err(|errno| self.failed(errno))?,
        };
        let real = fs::readlinkat(CWD, named(top.as_fd()), Vec::new());
        let real = real.map_err(|errno| self.failed(errno))?;
        let real = real.to_string_lossy();
        if !selinux::may_relabel(&real, home) {
            return match self.asked {
                true => Err(EngineError::invalid(format!(
                    "error setting label on mount source '{}': SELinux relabeling of {real} is \
                     not allowed",
                    self.shown()
                ))),
                false => Ok(()),
            };
        }
        let label = CString::new(self.label.as_str()).map_err(|_| self.failed(Errno::INVAL))?;
        let labelled = label_tree(top.as_fd(), &label, MAX_DEPTH);
        store::failpoint::hit("engine.prepare.labelled");
        match labelled {
            // A volume that is a server's or a disc's is what it is.
            Err(Errno::ROFS) if !self.asked => Ok(()),
            labelled => labelled.map_err(|errno| self.failed(errno)),
        }
    }

    fn open(&self) -> std::result::Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = fs::open(&self.root, flags, Mode::empty())?;
        let Some(path) = &self.beneath else { return Ok(root) };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        fs::openat2(&root, path.as_str(), flags, Mode::empty(), resolve)
    }

    fn shown(&self) -> String {
        let below = self.beneath.as_ref().map(|path| self.root.join(path));
        below.as_ref().unwrap_or(&self.root).display().to_string()
    }

    fn failed(&self, errno: Errno) -> EngineError {
        EngineError::io(format!("error setting label on mount source '{}'", self.shown()), errno)
    }
}

/// A path that is what a descriptor is: also of one that can only be looked at, and of a link.
fn named(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Labels a file, or a directory and everything in it.
fn label_tree(top: BorrowedFd<'_>, label: &CString, depth: usize) -> rustix::io::Result<()> {
    set_label(top, label)?;
    let is_directory = FileType::from_raw_mode(fs::fstat(top)?.st_mode).is_dir();
    if !is_directory {
        return Ok(());
    }
    if depth == 0 {
        tracing::warn!("directories deeper than {MAX_DEPTH} below a mount keep their labels");
        return Ok(());
    }
    for name in names(top)? {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(top, &name, flags, Mode::empty()) {
            // It was removed meanwhile.
            Err(Errno::NOENT) => {}
            child => label_tree(child?.as_fd(), label, depth - 1)?,
        }
    }
    Ok(())
}

fn names(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = match fs::openat(dir, ".", flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        dir => fs::Dir::new(dir?)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Labels one inode, unless it is labelled so. File systems without labels stay without.
fn set_label(fd: BorrowedFd<'_>, label: &CString) -> rustix::io::Result<()> {
    let path = named(fd);
    let mut have = [0u8; MAX_LABEL_BYTES];
    let length = fs::getxattr(&path, ATTRIBUTE, &mut have).unwrap_or(0);
    let known = have[..length].strip_suffix(b"\0").unwrap_or(&have[..length]);
    if known == label.to_bytes() {
        return Ok(());
    }
    match fs::setxattr(&path, ATTRIBUTE, label.to_bytes_with_nul(), XattrFlags::empty()) {
        Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(()),
        set => set,
    }
}

#[cfg(test)]
mod tests;
