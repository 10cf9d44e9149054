//! What files are by their content: digests of trees that do not depend on when or where they were
//! made. What is known of a lasting file's content is remembered with its inode, size and times, so
//! that a file that did not change is not read again. This module never changes a file.

use crate::error::{Act, Result};
use crate::walk::{self, At, Visitor};
use model::Digest;
use rustix::fs::{FileType, Stat, major, minor, readlinkat};
use sha2::{Digest as _, Sha256};
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};
use store::Store;
use store::record::{Batch, Durability};

/// Table of what is known of files: `dev:inode` to [`Known`], and of layers' trees.
pub(crate) const CONTENT: &str = "build-content";

/// A file that was changed so shortly before it was read may be changed again within the same
/// tick of the kernel's clock; it is not remembered. The slowest clock ticks every 10 ms.
const UNSURE_NS: i128 = 50_000_000;

const READ_BUFFER: usize = 256 << 10;

/// What may be read of a tree on the way, in bytes: less than waking another thread for it costs.
const LITTLE_BYTES: u64 = 1 << 20;

/// A stored fact: size, modification and change time, and what was found. Attributes cannot change
/// without the time of change.
type Known = (i64, i128, i128, Found);
/// Digest of the content, and the attributes that mean something in an image.
type Found = ([u8; 32], Vec<(String, Vec<u8>)>);

/// Whether files may be read to know what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Allowed,
    /// What is remembered counts, and a little may be read: what takes more has no digest.
    Little,
}

/// Makes the digest of a tree while it is walked.
pub(crate) struct Hasher<'a> {
    hash: Sha256,
    store: &'a Store,
    /// Inodes last: worth remembering.
    remember: bool,
    /// Owners do not count: everything is root's.
    root_owned: bool,
    /// Bytes that may still be read.
    budget: u64,
    /// More would have had to be read.
    unread: bool,
    news: Batch,
    has_news: bool,
    buffer: Vec<u8>,
    /// Names seen.
    pub(crate) entries: u64,
}

impl<'a> Hasher<'a> {
    pub(crate) fn new(
        store: &'a Store,
        remember: bool,
        root_owned: bool,
        reading: Reading,
    ) -> Self {
        Self {
            hash: Sha256::new(),
            store,
            remember,
            root_owned,
            budget: match reading {
                Reading::Allowed => u64::MAX,
                Reading::Little => LITTLE_BYTES,
            },
            unread: false,
            news: Batch::new(),
            has_news: false,
            buffer: Vec::new(),
            entries: 0,
        }
    }

    /// Something beside files that belongs to the digest.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    /// The digest, unless more would have had to be read; what was learnt is remembered.
    pub(crate) fn finish(self) -> Result<Option<Digest>> {
        if self.has_news {
            self.store.records().commit(self.news, Durability::Relaxed)?;
        }
        Ok((!self.unread).then(|| Digest::sha256(self.hash.finalize().into())))
    }

    /// What a file holds; `None` if it is not remembered and is too large to be read.
    fn file(&mut self, at: &At<'_>) -> Result<Option<Found>> {
        let key = format!("{:x}:{:x}", at.stat.st_dev, at.stat.st_ino);
        let (size, mtime, ctime) = stamp(at.stat);
        if self.remember
            && let Some(known) = self.recall(&key)?
            && (known.0, known.1, known.2) == (size, mtime, ctime)
        {
            return Ok(Some(known.3));
        }
        let Some(left) = self.budget.checked_sub(u64::try_from(size).unwrap_or(0)) else {
            return Ok(None);
        };
        self.budget = left;
        self.buffer.resize(READ_BUFFER, 0);
        let started = now_ns();
        let mut file = walk::open_file(at.parent, at.name)?;
        let mut hash = Sha256::new();
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(have) => hash.update(&self.buffer[..have]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).act(|| format!("read {}", walk::shown(at.path))),
            }
        }
        let found: Found = (hash.finalize().into(), walk::kept_xattrs(&file)?);
        if self.remember && started - mtime.max(ctime) > UNSURE_NS {
            let after = rustix::fs::fstat(&file).act(|| "read a file's times".into())?;
            if stamp(&after) == (size, mtime, ctime) {
                let known: Known = (size, mtime, ctime, found.clone());
                let bytes = serde_json::to_vec(&known).map_err(crate::Error::internal)?;
                self.news = std::mem::take(&mut self.news).put(CONTENT, &key, &bytes);
                self.has_news = true;
            }
        }
        Ok(Some(found))
    }

    fn recall(&self, key: &str) -> Result<Option<Known>> {
        let bytes = self.store.records().get(CONTENT, key)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

impl Visitor for Hasher<'_> {
    fn visit(&mut self, at: &At<'_>) -> Result<()> {
        self.entries += 1;
        if self.unread {
            return Ok(());
        }
        self.note(at.path);
        let stat = at.stat;
        let (uid, gid) = if self.root_owned { (0, 0) } else { (stat.st_uid, stat.st_gid) };
        for number in [stat.st_mode, uid, gid] {
            self.hash.update(number.to_le_bytes());
        }
        let xattrs = match at.kind() {
            FileType::RegularFile => {
                let Some((digest, attributes)) = self.file(at)? else {
                    self.unread = true;
                    return Ok(());
                };
                self.note(&digest);
                attributes
            }
            FileType::Directory => walk::kept_xattrs(walk::open_child(at.parent, at.name)?)?,
            FileType::Symlink => {
                let target = readlinkat(at.parent, at.name, Vec::new())
                    .act(|| format!("read link {}", walk::shown(at.path)))?;
                self.note(target.to_bytes());
                Vec::new()
            }
            _ => {
                self.hash.update(major(stat.st_rdev).to_le_bytes());
                self.hash.update(minor(stat.st_rdev).to_le_bytes());
                Vec::new()
            }
        };
        for (name, value) in xattrs {
            self.note(name.as_bytes());
            self.note(&value);
        }
        Ok(())
    }
}

fn stamp(stat: &Stat) -> (i64, i128, i128) {
    let time = |seconds: i64, nanos: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let mtime = time(stat.st_mtime, stat.st_mtime_nsec);
    (stat.st_size, mtime, time(stat.st_ctime, stat.st_ctime_nsec))
}

fn now_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}
