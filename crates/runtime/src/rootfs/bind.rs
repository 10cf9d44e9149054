//! Bind mounts: clones of what lies on the host, pinned, changed while nobody can see them.

use super::{Supplier, clone_tree, made_by_child, map_ids};
use crate::error::{FailureKind, LaunchError};
use crate::plan::step::{Bind, BindIds};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::mount::MountChange;

/// `PROC_SUPER_MAGIC`, statfs(2).
const PROC_MAGIC: i64 = 0x9fa0;

impl Supplier<'_> {
    pub(super) fn bind(&mut self, bind: &Bind) -> Result<OwnedFd, LaunchError> {
        let source = bind.source.display();
        let failed = |errno| LaunchError::at(format!("bind {source}"), errno);
        let cloned = match (&bind.beneath, bind.process) {
            (None, Some(process)) => of_process(process, &bind.source, bind.recursive),
            (None, None) => clone_tree(CWD, &bind.source, bind.recursive),
            (Some(path), _) => beneath(&bind.source, path)
                .and_then(|found| clone_tree(found.as_fd(), Path::new(""), bind.recursive)),
        };
        let mount = cloned.map_err(|errno| match errno {
            Errno::XDEV | Errno::LOOP if bind.beneath.is_some() => {
                let path = bind.beneath.as_deref().unwrap_or(Path::new("")).display();
                LaunchError::invalid(format!(
                    "subpath {path} leads out of {source}: path concatenation escapes the base \
                     directory"
                ))
            }
            Errno::NOENT if let Some(path) = &bind.beneath => LaunchError::invalid(format!(
                "cannot access path {}: no such file or directory in {source}",
                path.display()
            )),
            Errno::NOENT => {
                LaunchError::invalid(format!("bind source path does not exist: {source}"))
            }
            errno => failed(errno),
        })?;
        if bind.must_be_proc && rustix::fs::fstatfs(&mount).map_err(failed)?.f_type != PROC_MAGIC {
            let message = format!("bind {source} at /proc: it is not a procfs");
            return Err(LaunchError::invalid(message).of_kind(FailureKind::Invalid));
        }
        change(mount.as_fd(), bind).map_err(failed)?;
        match &bind.owner {
            Some(owner) => {
                super::owner::show_as(mount.as_fd(), self.mapped.as_ref(), owner, bind.recursive)?;
            }
            // What a neighbour mounted shows its ids already.
            None if bind.process.is_some() => {}
            None => self.map_bind(mount.as_fd(), bind)?,
        }
        Ok(mount)
    }

    fn map_bind(&mut self, mount: BorrowedFd<'_>, bind: &Bind) -> Result<(), LaunchError> {
        let source = bind.source.display();
        let failed = |errno| LaunchError::at(format!("map the ids of {source}"), errno);
        if let BindIds::Map { recursive, by: Some(maps) } = &bind.ids {
            let userns = super::owner::namespace(&maps.uid, &maps.gid)?;
            return super::map_by(mount, userns.as_fd(), *recursive).map_err(failed);
        }
        let Some(mapped) = &self.mapped else { return Ok(()) };
        match bind.ids {
            BindIds::Host => Ok(()),
            BindIds::Map { recursive, .. } => map_ids(mount, mapped, recursive).map_err(failed),
            BindIds::MapIfPossible => {
                // One mount below that cannot be mapped spoils the tree; its top still can.
                let whole = map_ids(mount, mapped, bind.recursive);
                let done = whole.or_else(|_| map_ids(mount, mapped, false));
                if let Err(errno) = done {
                    self.warnings.push(format!(
                        "ids of bind mount {source} are the host's: its file system cannot map \
                         them ({errno})"
                    ));
                }
                Ok(())
            }
        }
    }
}

/// What a process sees at `path`: the kernel clones mounts only for who is in their namespace. No
/// link on the way is followed, for the process may be anybody's.
fn of_process(process: u32, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let namespace = sys::netns::open(Path::new(&format!("/proc/{process}/ns/mnt")))
        .map_err(|error| error.errno)?;
    let path = path.strip_prefix("/").unwrap_or(path);
    made_by_child(|| {
        sys::mount::setns(namespace.as_fd(), sys::clone::ns::MOUNT)?;
        let root = sys::Root::open(Path::new("/")).map_err(|error| error.errno)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let found = sys::root::open_how(root.as_fd(), path, OFlags::PATH, Mode::empty(), resolve)?;
        clone_tree(found.as_fd(), Path::new(""), recursive)
    })
}

/// What lies at `path` in the directory `source`, pinned. Links are followed as long as they stay
/// in it.
fn beneath(source: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let root = sys::Root::open(source).map_err(|error| error.errno)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    sys::root::open_how(root.as_fd(), path, OFlags::PATH, Mode::empty(), resolve)
}

fn change(mount: BorrowedFd<'_>, bind: &Bind) -> Result<(), Errno> {
    let propagation = MountChange {
        propagation: Some(bind.propagation),
        recursive: bind.propagation_recursive,
        ..MountChange::default()
    };
    sys::mount::change(mount, &propagation)?;
    if bind.set | bind.clear != 0 {
        let own = MountChange { set: bind.set, clear: bind.clear, ..MountChange::default() };
        sys::mount::change(mount, &own)?;
    }
    if bind.set_recursive | bind.clear_recursive != 0 {
        let all = MountChange {
            set: bind.set_recursive,
            clear: bind.clear_recursive,
            recursive: true,
            ..MountChange::default()
        };
        sys::mount::change(mount, &all)?;
    }
    Ok(())
}
