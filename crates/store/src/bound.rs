//! Directories that may not grow beyond a size, by project quotas of the file system below. A
//! project belongs to one directory: its number is drawn, and free when nothing counts under it.
//! What is bounded, and why, is not known here.

use crate::error::{Act, Error, Result};
use crate::tree;
use model::Denied;
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use sys::quota;

/// Numbers of projects that are made here; people number theirs from below.
const PROJECTS: std::ops::Range<u32> = 1 << 30..1 << 31;
/// How many numbers are tried.
const MAX_DRAWS: usize = 32;

/// A bound that goes again unless it is kept.
pub(crate) struct Bound {
    /// Somewhere on the file system.
    place: OwnedFd,
    project: u32,
    kept: bool,
}

impl Bound {
    /// Bounds an empty directory of ours, and whatever will be made in it. `what` names it.
    pub(crate) fn set(dir: &OwnedFd, bytes: u64, what: &str) -> Result<Self> {
        match quota::enforced(dir.as_fd()) {
            Ok(true) => {}
            Ok(false) => return Err(unbounded(dir, what)),
            Err(errno) => return Err(errno).act(|| format!("ask for the quotas of {what}")),
        }
        let place = rustix::io::fcntl_dupfd_cloexec(dir, 3).act(|| format!("bound {what}"))?;
        let project = draw(dir.as_fd())?;
        let bound = Self { place, project, kept: false };
        let bounding = || format!("bound {what} to {bytes} bytes");
        quota::limit(dir.as_fd(), project, bytes).act(bounding)?;
        sys::failpoint::hit("store.bound.limited");
        quota::assign(dir.as_fd(), project).act(bounding)?;
        sys::failpoint::hit("store.bound.assigned");
        Ok(bound)
    }

    /// It lasts as long as its directory.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// The bound of the directory `name`, which is about to be removed.
    pub(crate) fn of(parent: &OwnedFd, name: &CStr) -> Option<Self> {
        let dir = tree::child_dir(parent, name).ok()?;
        let project = quota::project(dir.as_fd()).ok().filter(|it| PROJECTS.contains(it))?;
        let place = rustix::io::fcntl_dupfd_cloexec(parent, 3).ok()?;
        Some(Self { place, project, kept: false })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = quota::limit(self.place.as_fd(), self.project, 0) {
            tracing::warn!(project = self.project, %error, "lift a bound");
        }
    }
}

fn draw(dir: BorrowedFd<'_>) -> Result<u32> {
    for _ in 0..MAX_DRAWS {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::io("draw random bytes", std::io::Error::other(error.to_string()))
        })?;
        let project = PROJECTS.start | u32::from_ne_bytes(bytes) & (PROJECTS.start - 1);
        match quota::usage(dir, project) {
            Ok(usage) if usage == quota::Usage::default() => return Ok(project),
            Ok(_) => {}
            Err(Errno::NOENT | Errno::SRCH) => return Ok(project),
            Err(errno) => return Err(errno).act(|| "ask for a quota".into()),
        }
    }
    Err(Error::Damaged("no number of a project is free".into()))
}

/// What is missing, and how to get it.
fn unbounded(dir: &OwnedFd, what: &str) -> Error {
    let kind = file_system(dir).unwrap_or_else(|| "file system".into());
    let remedy = match kind.as_str() {
        "ext4" => {
            "make it with \"mkfs.ext4 -O quota,project\" (or tune2fs of the same) and mount it \
             with \"prjquota\""
        }
        "xfs" => "mount it with \"prjquota\"",
        _ => "put the data root on ext4 or xfs, mounted with \"prjquota\"",
    };
    Denied::unsupported(format!(
        "size of {what}: the {kind} below the data root holds no project to a quota: {remedy}"
    ))
    .into()
}

/// The type of the file system that a directory lies on, from the kernel's table of mounts.
fn file_system(dir: &OwnedFd) -> Option<String> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_raw_fd())).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().to_owned();
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().find(|line| line.split(' ').next() == Some(&mount))?;
    let (_, behind) = line.split_once(" - ")?;
    behind.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_holds_a_bound_the_refusal_says_what_is_missing() {
        let memory = tree::open_dir("/proc".as_ref()).unwrap();
        let refused = Bound::set(&memory, 1 << 20, "volume db").err().unwrap();
        let text = refused.to_string();
        assert!(text.starts_with("size of volume db: the proc below the data root"), "{text}");
        assert!(text.contains("ext4 or xfs"), "{text}");
    }
}
