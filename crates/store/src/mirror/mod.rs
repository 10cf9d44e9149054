//! Mirrors: directories that follow a client's directory, told entry by entry, and directories told
//! to a client in the same way. Only content that changed is asked for again.
//!
//! ```text
//! <root>/mirrors/<hash of key>/     held with flock(2) while a build uses it
//!   tree/                           what the client has, as of the last update
//!   incoming/                       content on its way; renamed into the tree when it is whole
//!
//! entry ──▶ same kind, size, mode, owner, time? ── yes ─▶ kept
//!                                                └ no ──▶ wanted ─ data … end ─▶ renamed in
//! ```
//!
//! A file in the tree is always whole and dated as the client has it, so that an update that was
//! killed costs nothing but what it had not finished. Paths are the client's: only single names
//! are resolved, from the descriptor of the directory they are in, through no link. This module
//! never knows a protocol.

mod deliver;
mod entry;
mod listing;
#[cfg(test)]
mod tests;
mod update;

pub use deliver::deliver;
pub use entry::{Entry, Kind};
pub use listing::{Listed, Listing};
pub use update::Update;

use crate::error::{Act, Result};
use crate::store::Store;
use crate::tree;
use crate::work::TempDir;
use rustix::fs::{self, FlockOperation, Mode};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// A directory that follows a client's. It is this one's alone while it lives.
pub struct Mirror {
    dir: OwnedFd,
    /// The one of a client that has no lasting mirror, or whose mirror is in use.
    temporary: Option<TempDir>,
}

/// A mirror that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorUsage {
    /// Names it.
    pub name: String,
    /// Bytes of disk blocks.
    pub bytes: u64,
    /// When it was last used, seconds since the epoch.
    pub used_s: i64,
}

impl Store {
    /// The mirror kept under `key`, or one for the moment when the key is empty or its mirror is
    /// in use.
    pub fn mirror(&self, key: &str) -> Result<Mirror> {
        if !key.is_empty()
            && let Some(dir) = self.lasting_mirror(key)?
        {
            return Mirror::over(dir, None);
        }
        let temporary = self.temp_dir()?;
        let dir = tree::open_dir(&temporary.path()).act(|| "open a temporary mirror".into())?;
        Mirror::over(dir, Some(temporary))
    }

    /// Removes all mirrors that no build uses; they only save time.
    pub fn remove_mirrors(&self) -> Result<()> {
        let all = self.mirrors()?;
        for name in tree::names(&all).act(|| "list mirrors".into())? {
            let dir = tree::child_dir(&all, &name).act(|| "open a mirror".into())?;
            if hold(&dir)? {
                tree::remove(&all, &name).act(|| "remove a mirror".into())?;
            }
        }
        Ok(())
    }

    /// The mirrors there are. Measures them: takes a while for large ones.
    pub fn mirror_usage(&self) -> Result<Vec<MirrorUsage>> {
        let all = self.mirrors()?;
        let mut found = Vec::new();
        for name in tree::names(&all).act(|| "list mirrors".into())? {
            // Removed meanwhile.
            let Ok(dir) = tree::child_dir(&all, &name) else { continue };
            let stat = fs::fstat(&dir).act(|| "look at a mirror".into())?;
            let used = tree::lstat(&dir, c"incoming").map_or(stat.st_mtime, |it| it.st_mtime);
            found.push(MirrorUsage {
                name: name.to_string_lossy().into_owned(),
                bytes: tree::measure(&dir).map_or(0, |size| size.disk),
                used_s: used,
            });
        }
        Ok(found)
    }

    /// Removes a mirror, unless a build uses it: whether it is gone.
    pub fn remove_mirror(&self, name: &str) -> Result<bool> {
        let all = self.mirrors()?;
        let name = CString::new(name).unwrap_or_default();
        // No name leads anywhere else.
        if name.to_bytes().contains(&b'/') || name.to_bytes().starts_with(b".") {
            return Ok(false);
        }
        let Ok(dir) = tree::child_dir(&all, &name) else { return Ok(false) };
        let free = hold(&dir)?;
        if free {
            tree::remove(&all, &name).act(|| "remove a mirror".into())?;
        }
        Ok(free)
    }

    fn mirrors(&self) -> Result<OwnedFd> {
        let top = tree::open_dir(self.root()).act(|| "open the store".into())?;
        child(&top, c"mirrors")
    }

    fn lasting_mirror(&self, key: &str) -> Result<Option<OwnedFd>> {
        let all = self.mirrors()?;
        let digest = Sha256::digest(key.as_bytes());
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let name = CString::new(name).unwrap_or_default();
        let dir = child(&all, &name)?;
        if !hold(&dir)? {
            return Ok(None);
        }
        // It may have been removed between the open and the lock.
        let there = match tree::lstat(&all, &name) {
            Ok(stat) => fs::fstat(&dir).is_ok_and(|own| own.st_ino == stat.st_ino),
            Err(_) => false,
        };
        Ok(there.then_some(dir))
    }
}

impl Mirror {
    fn over(dir: OwnedFd, temporary: Option<TempDir>) -> Result<Self> {
        let mirror = Self { dir, temporary };
        drop(mirror.tree()?);
        Ok(mirror)
    }

    /// The directory as of the last update.
    pub fn tree(&self) -> Result<OwnedFd> {
        child(&self.dir, c"tree")
    }

    /// Whether files keep their inodes from one update to the next.
    pub fn is_lasting(&self) -> bool {
        self.temporary.is_none()
    }

    /// Begins to follow the client's directory as it is now.
    pub fn update(&self) -> Result<Update> {
        let incoming = child(&self.dir, c"incoming")?;
        tree::remove_contents(&incoming).act(|| "empty a mirror's incoming files".into())?;
        Update::begin(self.tree()?, incoming)
    }
}

/// Takes a directory's lock; false if somebody has it.
fn hold(dir: &OwnedFd) -> Result<bool> {
    match fs::flock(dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).act(|| "lock a mirror".into()),
    }
}

/// A directory of ours below `parent`, made if missing.
fn child(parent: &OwnedFd, name: &std::ffi::CStr) -> Result<OwnedFd> {
    match fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).act(|| format!("make directory {name:?}")),
    }
    tree::child_dir(parent, name).act(|| format!("open directory {name:?}"))
}
