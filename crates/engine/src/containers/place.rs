//! Where a path in a container lies on the host. While the container runs, its own root has every
//! mount in it; while it does not, nothing is mounted, and a path under a volume or a bound
//! directory is looked for there. This module reads and writes no file.

use crate::node::Node;
use crate::volume_uses::Act;
use crate::{EngineError, Result};
use model::mount::{Mount, MountSource};
use model::view::ContainerView;
use runtime::error::FailureKind;
use runtime::user::User;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// A path, and the directory that it cannot leave.
pub(super) struct Place {
    /// The root of the container, or of a mount of it.
    pub(super) root: OwnedFd,
    /// What is added to the ids that the container sees, for uids and gids.
    pub(super) shift: (u32, u32),
    /// The path from there.
    pub(super) path: String,
    /// What the container calls it, where `path` is the root.
    pub(super) name: Option<String>,
    /// What is mounted for as long as it is looked at.
    _held: Option<Act>,
}

/// Finds it.
pub(super) fn find(node: &Arc<Node>, view: &ContainerView, path: &str) -> Result<Place> {
    if let Some(run) = view.phase.run() {
        let (root, shift) = running(run.pid, view)?;
        return Ok(Place { root, shift, path: path.to_owned(), name: None, _held: None });
    }
    if let Some((mount, under)) = mount_of(&view.spec.mounts, path)
        && let Some((root, _held)) = directory_of(node, mount)?
    {
        let name = mount.target.rsplit('/').next().filter(|_| under == "/").map(str::to_owned);
        return Ok(Place { root, shift: (0, 0), path: under, name, _held });
    }
    let root = node.store.snapshots().mount(view.id)?;
    Ok(Place { root, shift: (0, 0), path: path.to_owned(), name: None, _held: None })
}

/// Who a user is in the container, by the files it has itself.
pub(crate) fn user(node: &Arc<Node>, view: &ContainerView, name: &str) -> Result<User> {
    let root = find(node, view, "/")?.root;
    runtime::user::resolve(root.as_fd(), name).map_err(|error| match error.kind {
        FailureKind::Invalid => EngineError::invalid(error.to_string()),
        _ => EngineError::internal(error.to_string()),
    })
}

/// The root of a running container is what its processes see, mounts included.
fn running(pid: i32, view: &ContainerView) -> Result<(OwnedFd, (u32, u32))> {
    let root = open(&format!("/proc/{pid}/root"))?;
    check_whose(pid, view)?;
    // The mounts are idmapped: a file of the container's root shows the first id of its range.
    let first = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    Ok((root, (first("uid_map"), first("gid_map"))))
}

/// Opens a directory that is tied to another: no link on the way leads out of that one.
fn open_within(within: &str, dir: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let top = open(within)?;
    let rest = dir.strip_prefix(within).unwrap_or(dir);
    let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&top, rest, flags, Mode::empty(), resolve)
        .map_err(|errno| EngineError::io(format!("open {} in {within}", dir.display()), errno))
}

fn open(path: &str) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| EngineError::io(format!("open {path}"), errno))
}

/// A pid may be another's by now: the container's processes are those of its cgroup. Asked after
/// the root was opened, so that what was opened is the container's if the answer is yes.
fn check_whose(pid: i32, view: &ContainerView) -> Result<()> {
    let path = format!("/proc/{pid}/cgroup");
    let groups = std::fs::read_to_string(&path)
        .map_err(|source| EngineError::io(format!("read {path}"), source))?;
    if groups.contains(&view.id.to_string()) {
        return Ok(());
    }
    Err(EngineError::conflict(format!("container {} is not running", view.id)))
}

/// The innermost mount that a path would lead into, and the path from its root. What follows the
/// last component (`/`, `/.`) keeps its meaning.
fn mount_of<'m>(mounts: &'m [Mount], path: &str) -> Option<(&'m Mount, String)> {
    let mut clean = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    let under = |mount: &Mount| {
        let target: Vec<&str> = mount.target.split('/').filter(|part| !part.is_empty()).collect();
        clean.starts_with(&target).then_some(target.len())
    };
    let (depth, mount) =
        mounts.iter().filter_map(|mount| Some((under(mount)?, mount))).max_by_key(|it| it.0)?;
    let end = match path.trim_end_matches('/').rsplit('/').next() {
        Some(".") => "/.",
        _ if path.ends_with('/') => "/",
        _ => "",
    };
    let rest = clean[depth..].join("/");
    Some((
        mount,
        match (rest.as_str(), end) {
            ("", "/.") => end.to_owned(),
            ("", _) => "/".to_owned(),
            (rest, end) => format!("/{rest}{end}"),
        },
    ))
}

/// The directory that would be mounted, and what is mounted to look at it. Files and file systems
/// of the container's own are not looked into.
fn directory_of(node: &Arc<Node>, mount: &Mount) -> Result<Option<(OwnedFd, Option<Act>)>> {
    match &mount.source {
        MountSource::Bind { path, .. } if !Path::new(path).is_dir() => Ok(None),
        MountSource::Bind { path, within: Some(within), .. } => {
            Ok(Some((open_within(within, Path::new(path))?, None)))
        }
        MountSource::Bind { path, .. } => Ok(Some((open(path)?, None))),
        MountSource::Volume { name, subpath, .. } => {
            let act = Act::begin(node)?;
            let dir = crate::volumes::opened(node, &act, name, subpath)?;
            Ok(dir.map(|dir| (dir, Some(act))))
        }
        MountSource::Tmpfs { .. } | MountSource::Image { .. } | MountSource::Layers { .. } => {
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_has_the_path() {
        let mount = |target: &str| Mount {
            target: target.to_owned(),
            writable: true,
            source: MountSource::Tmpfs { options: Vec::new() },
            mode: String::new(),
            owner: Default::default(),
            relabel: None,
        };
        let mounts = [mount("/data"), mount("/data/inner"), mount("/other")];
        let found = |path: &str| {
            mount_of(&mounts, path).map(|(mount, under)| (mount.target.as_str(), under))
        };
        for (path, want) in [
            ("/data", Some(("/data", "/"))),
            ("/data/", Some(("/data", "/"))),
            ("/data/.", Some(("/data", "/."))),
            ("/data/./", Some(("/data", "/."))),
            ("data/a/b", Some(("/data", "/a/b"))),
            ("/data/a/", Some(("/data", "/a/"))),
            ("/data/a/.", Some(("/data", "/a/."))),
            ("/x/../data/./a", Some(("/data", "/a"))),
            ("/data/inner/c", Some(("/data/inner", "/c"))),
            ("/database", None),
            ("/data/../etc", None),
            ("/", None),
        ] {
            let want = want.map(|(target, under)| (target, under.to_owned()));
            assert_eq!(found(path), want, "{path}");
        }
    }
}
