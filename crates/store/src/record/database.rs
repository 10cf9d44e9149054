//! The redb file: opened, and opened again after input or output failed. redb refuses everything
//! from then on, while a disk that was full has room again later. Knows no table and no journal.

use crate::error::{Act, Error, Result};
use redb::Database;
use redb::backends::FileBackend;
use rustix::fs::{self, Mode, OFlags};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// How often, and after which pauses, a file that somebody else has is tried again.
const LOCK_ATTEMPTS: u32 = 40;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);
/// Bytes of redb's page cache.
const CACHE_BYTES: usize = 2 << 20;

/// An open redb file.
pub(super) struct Open {
    path: PathBuf,
    /// `None` after it could not be opened again.
    db: RwLock<Option<Database>>,
}

impl Open {
    /// Opens the file, which is there.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let db = RwLock::new(Some(open(path)?));
        Ok(Self { path: path.to_owned(), db })
    }

    /// Does something with it. When the disk fails, the next call finds it opened anew.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let done = {
            let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
            db.as_ref().map_or(Err(redb::Error::PreviousIo), work)
        };
        if matches!(done, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            self.reopen();
        }
        done
    }

    fn reopen(&self) {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // One process opens it once: the old one goes first.
        *db = None;
        *db = open(&self.path).ok();
    }
}

fn open(path: &Path) -> Result<Database> {
    let opening = || format!("open records {}", path.display());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let open = || {
        let file = fs::openat(fs::CWD, path, flags, Mode::empty()).act(opening)?;
        Ok::<_, Error>(FileBackend::new(File::from(file)).and_then(|file| {
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file)
        }))
    };
    // A process killed while it was starting another leaves its descriptors with that one
    // until it executes its program.
    let mut db = open()?;
    for _ in 0..LOCK_ATTEMPTS {
        if !matches!(db, Err(redb::DatabaseError::DatabaseAlreadyOpen)) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        db = open()?;
    }
    db.map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => Error::Denied(model::Denied::conflict(
            format!("{}: another process uses it", opening()),
        )),
        other => Error::Damaged(format!("{}: {other}", opening())),
    })
}
