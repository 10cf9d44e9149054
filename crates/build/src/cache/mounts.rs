//! Directories of cache mounts: each id has one, and further ones while `private` users work at the
//! same time. Names on disk are digests of ids, so no id can name anything else.
//!
//! ```text
//! shared   waits for a `locked` user              many at once
//! locked   waits for everybody                    one at a time
//! private  takes the first directory nobody uses  one per directory
//! ```

use super::v1::MountRecord;
use super::{CacheKind, CacheRecord};
use crate::error::{Act, Result};
use crate::graph::{DirOwner, Sharing};
use model::Timestamp;
use rustix::fs::{Gid, Mode, Uid};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use store::record::Durability;
use tokio::sync::Notify;

/// Table of directories by name.
const TABLE: &str = "build-mounts";

/// The directories of one store.
pub(crate) struct CacheMounts {
    store: Store,
    home: PathBuf,
    users: Mutex<HashMap<String, Users>>,
    /// Held by who makes a directory: steps that share one may come at the same time.
    making: Mutex<()>,
    changed: Notify,
}

#[derive(Clone, Copy, Default)]
struct Users {
    count: usize,
    exclusive: bool,
}

/// The use of a directory; over when dropped.
pub(crate) struct InUse {
    mounts: Arc<CacheMounts>,
    name: String,
    /// The directory was just made, and is empty.
    pub(crate) fresh: bool,
}

impl CacheMounts {
    pub(crate) fn new(store: Store) -> Self {
        let home = store.root().join("build-mounts");
        Self {
            store,
            home,
            users: Mutex::default(),
            making: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Users>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A directory for a mount, when it may be used.
    pub(crate) async fn take(
        self: &Arc<Self>,
        id: &str,
        sharing: Sharing,
        owner: Option<DirOwner>,
    ) -> Result<InUse> {
        let name = loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(name) = self.claim(id, sharing) {
                break name;
            }
            changed.await;
        };
        let mut using = InUse { mounts: Arc::clone(self), name, fresh: false };
        let (mounts, name, id) = (Arc::clone(self), using.name.clone(), id.to_owned());
        let made = tokio::task::spawn_blocking(move || mounts.make(&name, &id, owner));
        using.fresh = made.await.map_err(crate::Error::internal)??;
        Ok(using)
    }

    fn claim(&self, id: &str, sharing: Sharing) -> Option<String> {
        let mut users = self.users();
        let base = Sha256::digest(id.as_bytes());
        let base: String = base.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut number = 0;
        loop {
            let name = if number == 0 { base.clone() } else { format!("{base}-{number}") };
            let entry = users.entry(name.clone()).or_default();
            let free = match sharing {
                Sharing::Shared => !entry.exclusive,
                Sharing::Locked | Sharing::Private => entry.count == 0,
            };
            if free {
                entry.count += 1;
                entry.exclusive = sharing != Sharing::Shared;
                return Some(name);
            }
            if sharing != Sharing::Private {
                return None;
            }
            number += 1;
        }
    }

    fn make(&self, name: &str, id: &str, owner: Option<DirOwner>) -> Result<bool> {
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.home.join(name);
        let making = || format!("make the cache mount {id}");
        let now = crate::solve::now().0;
        let key = name.to_owned();
        let known = self.store.records().get(TABLE, &key)?;
        let known = known.and_then(|bytes| serde_json::from_slice::<MountRecord>(&bytes).ok());
        let mut record = known.unwrap_or(MountRecord {
            id: id.to_owned(),
            created_ns: now,
            last_used_ns: now,
            uses: 0,
            measured: None,
        });
        record.last_used_ns = now;
        record.uses += 1;
        let bytes = serde_json::to_vec(&record).map_err(crate::Error::internal)?;
        self.store.records().put(TABLE, &key, &bytes, Durability::Relaxed)?;
        if path.exists() {
            return Ok(false);
        }
        std::fs::create_dir_all(&self.home).act(making)?;
        rustix::fs::chmod(&self.home, Mode::RWXU).act(making)?;
        std::fs::create_dir(&path).act(making)?;
        let owner = owner.unwrap_or(DirOwner { uid: 0, gid: 0, mode: 0o755 });
        let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        rustix::fs::chown(&path, uid, gid).act(making)?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(owner.mode & 0o7777)).act(making)?;
        Ok(true)
    }

    /// Every directory as its users see it. Blocking.
    pub(crate) fn all(&self) -> Result<Vec<CacheRecord>> {
        let mut all = Vec::new();
        for (name, bytes) in self.store.records().iter(TABLE)? {
            let Ok(record) = serde_json::from_slice::<MountRecord>(&bytes) else { continue };
            let size_bytes = self.size(&name, &record)?;
            all.push(CacheRecord {
                in_use: self.users().get(&name).is_some_and(|users| users.count > 0),
                id: name,
                parents: Vec::new(),
                kind: CacheKind::CacheMount,
                description: format!("cached mount {}", record.id),
                shared: false,
                size_bytes,
                created: Timestamp(record.created_ns),
                last_used: Some(Timestamp(record.last_used_ns)),
                usage_count: record.uses,
            });
        }
        Ok(all)
    }

    /// The bytes in a directory, counted once after each use.
    fn size(&self, name: &str, record: &MountRecord) -> Result<u64> {
        let users = self.users().get(name).map_or(0, |users| users.count);
        if let Some((bytes, at)) = record.measured.filter(|_| users == 0)
            && at > record.last_used_ns
        {
            return Ok(bytes);
        }
        let at = crate::solve::now().0;
        let bytes = self.store.measure(&self.home.join(name)).unwrap_or(0);
        // Whoever uses it now changes it still.
        if users == 0 && self.users().get(name).is_none_or(|users| users.count == 0) {
            let record = MountRecord { measured: Some((bytes, at)), ..record.clone() };
            let record = serde_json::to_vec(&record).map_err(crate::Error::internal)?;
            self.store.records().put(TABLE, name, &record, Durability::Relaxed)?;
        }
        Ok(bytes)
    }

    /// Removes a directory that nobody uses. Blocking.
    pub(crate) fn remove(&self, name: &str) -> Result<bool> {
        {
            let mut users = self.users();
            let entry = users.entry(name.to_owned()).or_default();
            if entry.count > 0 {
                return Ok(false);
            }
            // Nobody gets it while it goes.
            *entry = Users { count: 1, exclusive: true };
        }
        let removed = self.store.remove_tree(&self.home.join(name));
        self.store.records().delete(TABLE, name, Durability::Relaxed)?;
        self.users().remove(name);
        self.changed.notify_waiters();
        removed?;
        Ok(true)
    }
}

impl InUse {
    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.mounts.home.join(&self.name)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut users = self.mounts.users();
        if let Some(entry) = users.get_mut(&self.name) {
            entry.count -= 1;
            if entry.count == 0 {
                users.remove(&self.name);
            }
        }
        drop(users);
        self.mounts.changed.notify_waiters();
    }
}
