//! Compiled system call filters, kept as files that runtimes read: one per set of capabilities,
//! made when it is first needed.

use crate::{EngineError, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Which filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Docker's profile, not ours.
    pub docker: bool,
    /// Raw sockets are for ping alone.
    pub ping_only: bool,
    /// The capabilities it was made for.
    pub caps: u64,
}

/// The filters made since the daemon started.
#[derive(Debug)]
pub(crate) struct Filters {
    dir: PathBuf,
    made: Mutex<BTreeMap<Key, PathBuf>>,
}

impl Filters {
    /// Filters kept in `dir`, which is made when the first is.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), made: Mutex::default() }
    }

    /// The file of a filter, made by `compile` if there is none yet.
    pub(crate) fn path(
        &self,
        key: Key,
        compile: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<PathBuf> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = made.get(&key) {
            return Ok(path.clone());
        }
        let profile = match key {
            Key { docker: true, .. } => "docker",
            Key { ping_only: true, .. } => "estiba-ping",
            Key { .. } => "estiba",
        };
        let name = format!("{profile}-{:016x}.bpf", key.caps);
        let path = self.dir.join(&name);
        let fresh = self.dir.join(format!("{name}.new"));
        let program = compile()?;
        // Written anew by each daemon: an older one may have compiled another profile.
        std::fs::create_dir_all(&self.dir)
            .and_then(|()| std::fs::write(&fresh, program))
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|source| EngineError::io(format!("write {}", path.display()), source))?;
        made.insert(key, path.clone());
        Ok(path)
    }
}
