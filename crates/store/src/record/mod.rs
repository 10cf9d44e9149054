//! Records: small values by table and key, in one redb file with a journal beside it.
//!
//! A durable commit goes to redb and is synced; durable commits that wait at the same time share
//! one sync. A relaxed commit is one `write` to the journal: it survives the death of this process,
//! not a power cut. The next durable commit folds the journal into redb.
//!
//! ```text
//! relaxed  -> journal.<n> (append)  + overlay in memory
//! durable  -> overlay becomes `folding`, journal.<n+1> begins
//!             redb: folding + batches + sequence number  -> sync -> journals <= n removed
//! open     -> redb, then every journal record newer than redb's sequence number
//! ```
//!
//! This module knows nothing of what values mean.

mod database;
mod journal;
pub(crate) mod v1;

use crate::error::{Act, Error, Result};
use crate::store::lock;
use database::Open;
use journal::Journal;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use rustix::fs::{self, Mode, OFlags};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Journal bytes after which a relaxed commit folds it.
const FOLD_BYTES: u64 = 4 << 20;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("store.meta");
const SEQUENCE: &str = "journal-sequence";

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk when the call returns.
    Immediate,
    /// Survives the death of this process, not a power cut; costs one `write`.
    Relaxed,
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ops: Vec<Op>,
}

#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) table: String,
    pub(crate) key: String,
    /// `None` deletes.
    pub(crate) value: Option<Vec<u8>>,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Adds: set a value.
    pub fn put(mut self, table: &str, key: &str, value: &[u8]) -> Self {
        let (table, key) = (table.to_owned(), key.to_owned());
        self.ops.push(Op { table, key, value: Some(value.to_vec()) });
        self
    }

    /// Adds: delete a value; absent is fine.
    pub fn delete(mut self, table: &str, key: &str) -> Self {
        self.ops.push(Op { table: table.to_owned(), key: key.to_owned(), value: None });
        self
    }
}

type Tables = HashMap<String, BTreeMap<String, Option<Vec<u8>>>>;

/// The records of a store.
pub struct Records {
    db: Open,
    state: Mutex<State>,
    /// Durable batches that wait for a sync.
    waiting: Mutex<Vec<Waiting>>,
    /// Held by whoever commits to redb.
    writer: Mutex<()>,
}

struct State {
    journal: Journal,
    /// Newer than redb and than `folding`.
    overlay: Tables,
    /// On its way into redb.
    folding: Option<Arc<Tables>>,
}

struct Waiting {
    batch: Batch,
    outcome: Arc<Mutex<Option<Result<(), String>>>>,
}

impl Records {
    /// Opens or creates the records below `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("estiba.redb");
        make(&path)?;
        let db = Open::new(&path)?;
        let folded = folded_sequence(&db)?;
        let mut overlay = Tables::new();
        let journal = Journal::open(root, folded, |ops| apply(&mut overlay, ops))?;
        let state = Mutex::new(State { journal, overlay, folding: None });
        Ok(Self { db, state, waiting: Mutex::default(), writer: Mutex::default() })
    }

    /// One value.
    pub fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let found = {
            let state = lock(&self.state);
            let layers = [Some(&state.overlay), state.folding.as_deref()];
            layers.into_iter().flatten().find_map(|tables| tables.get(table)?.get(key).cloned())
        };
        match found {
            Some(value) => Ok(value),
            None => self.stored(table, key),
        }
    }

    /// All values of a table, by key.
    pub fn iter(&self, table: &str) -> Result<Vec<(String, Vec<u8>)>> {
        // In this order a fold that ends in between cannot hide a value.
        let newer: Vec<BTreeMap<String, Option<Vec<u8>>>> = {
            let state = lock(&self.state);
            let layers = [state.folding.as_deref(), Some(&state.overlay)];
            layers.into_iter().flatten().filter_map(|t| t.get(table).cloned()).collect()
        };
        let mut values = self.stored_all(table)?;
        for (key, value) in newer.into_iter().flatten() {
            match value {
                Some(value) => drop(values.insert(key, value)),
                None => drop(values.remove(&key)),
            }
        }
        Ok(values.into_iter().collect())
    }

    /// Sets one value.
    pub fn put(&self, table: &str, key: &str, value: &[u8], durability: Durability) -> Result<()> {
        self.commit(Batch::new().put(table, key, value), durability)
    }

    /// Deletes one value; absent is fine.
    pub fn delete(&self, table: &str, key: &str, durability: Durability) -> Result<()> {
        self.commit(Batch::new().delete(table, key), durability)
    }

    /// Makes all changes of a batch, or none.
    pub fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        match durability {
            Durability::Immediate => self.commit_durably(batch),
            Durability::Relaxed => {
                sys::failpoint::hit("store.record.append");
                let bytes = {
                    let mut state = lock(&self.state);
                    state.journal.append(&batch.ops)?;
                    apply(&mut state.overlay, batch.ops);
                    state.journal.bytes()
                };
                sys::failpoint::hit("store.record.appended");
                if bytes > FOLD_BYTES { self.flush() } else { Ok(()) }
            }
        }
    }

    /// Whether everything committed so far is durable, and nothing of it is kept in memory.
    pub fn is_settled(&self) -> bool {
        let state = lock(&self.state);
        state.overlay.is_empty() && state.folding.is_none()
    }

    /// Makes everything committed so far durable.
    pub fn flush(&self) -> Result<()> {
        self.commit_durably(Batch::new())
    }

    fn commit_durably(&self, batch: Batch) -> Result<()> {
        let outcome = Arc::new(Mutex::new(None));
        lock(&self.waiting).push(Waiting { batch, outcome: Arc::clone(&outcome) });
        let writer = lock(&self.writer);
        if lock(&outcome).is_none() {
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            let result = self.fold(&waiting).map_err(|error| error.to_string());
            for other in waiting {
                *lock(&other.outcome) = Some(result.clone());
            }
        }
        drop(writer);
        let result = lock(&outcome).take();
        result.unwrap_or_else(|| Err("commit records: no outcome".into())).map_err(Error::Damaged)
    }

    /// Writes journal and batches into redb.
    fn fold(&self, waiting: &[Waiting]) -> Result<()> {
        let (folding, sequence, journal) = {
            let mut state = lock(&self.state);
            let (sequence, journal) = state.journal.rotate()?;
            let folding = Arc::new(std::mem::take(&mut state.overlay));
            state.folding = Some(Arc::clone(&folding));
            (folding, sequence, journal)
        };
        sys::failpoint::hit("store.record.fold");
        let done = self.write(&folding, waiting, sequence).map_err(|error| {
            let error = std::io::Error::other(error.to_string());
            Error::io("commit records", error)
        });
        let mut state = lock(&self.state);
        state.folding = None;
        match done {
            Ok(()) => {
                state.journal.remove_up_to(journal);
                sys::failpoint::hit("store.record.folded");
            }
            Err(_) => {
                let mut merged =
                    Arc::try_unwrap(folding).unwrap_or_else(|shared| (*shared).clone());
                for (table, values) in std::mem::take(&mut state.overlay) {
                    merged.entry(table).or_default().extend(values);
                }
                state.overlay = merged;
            }
        }
        done
    }

    fn write(
        &self,
        folding: &Tables,
        waiting: &[Waiting],
        sequence: u64,
    ) -> Result<(), redb::Error> {
        self.db.with(|db| {
            let mut txn = db.begin_write()?;
            txn.set_quick_repair(true);
            txn.open_table(META)?.insert(SEQUENCE, sequence)?;
            for (table, values) in folding {
                let mut table = txn.open_table(TableDefinition::<&str, &[u8]>::new(table))?;
                for (key, value) in values {
                    set(&mut table, key, value.as_deref())?;
                }
            }
            for op in waiting.iter().flat_map(|waiting| &waiting.batch.ops) {
                let mut table = txn.open_table(TableDefinition::<&str, &[u8]>::new(&op.table))?;
                set(&mut table, &op.key, op.value.as_deref())?;
            }
            sys::failpoint::hit("store.record.commit");
            txn.commit()?;
            sys::failpoint::hit("store.record.committed");
            Ok(())
        })
    }

    fn stored(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let read = |db: &Database| -> Result<Option<Vec<u8>>, redb::Error> {
            let txn = db.begin_read()?;
            let table = match txn.open_table(TableDefinition::<&str, &[u8]>::new(table)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        };
        let found = self.db.with(read);
        found.map_err(|error| Error::Damaged(format!("read record {table}/{key}: {error}")))
    }

    fn stored_all(&self, table: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let read = |db: &Database| -> Result<BTreeMap<String, Vec<u8>>, redb::Error> {
            let txn = db.begin_read()?;
            let table = match txn.open_table(TableDefinition::<&str, &[u8]>::new(table)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
                table => table?,
            };
            let mut values = BTreeMap::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                values.insert(key.value().to_owned(), value.value().to_vec());
            }
            Ok(values)
        };
        let found = self.db.with(read);
        found.map_err(|error| Error::Damaged(format!("read records {table}: {error}")))
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Records")
    }
}

fn set(
    table: &mut redb::Table<'_, &str, &[u8]>,
    key: &str,
    value: Option<&[u8]>,
) -> Result<(), redb::StorageError> {
    match value {
        Some(value) => drop(table.insert(key, value)?),
        None => drop(table.remove(key)?),
    }
    Ok(())
}

fn apply(tables: &mut Tables, ops: Vec<Op>) {
    for op in ops {
        tables.entry(op.table).or_default().insert(op.key, op.value);
    }
}

/// Makes the database where there is none. One that was not finished cannot be opened any more, so
/// it gets its name when it is whole.
fn make(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let making = || format!("make records {}", path.display());
    // What a start that was cut off has left goes, under whatever process id.
    let dir = path.parent().unwrap_or(Path::new("/"));
    for entry in std::fs::read_dir(dir).act(making)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("estiba.redb.") {
            std::fs::remove_file(entry.path()).act(making)?;
        }
    }
    let new = path.with_extension(format!("redb.{}", std::process::id()));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = fs::openat(fs::CWD, &new, flags, Mode::RUSR | Mode::WUSR).act(making)?;
    let made = FileBackend::new(File::from(file))
        .and_then(|file| Database::builder().create_with_backend(file));
    drop(made.map_err(|error| Error::Damaged(format!("{}: {error}", making())))?);
    sys::failpoint::hit("store.records.made");
    fs::rename(&new, path).act(making)
}

fn folded_sequence(db: &Open) -> Result<u64> {
    let read = |db: &Database| -> Result<u64, redb::Error> {
        let txn = db.begin_read()?;
        match txn.open_table(META) {
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            table => Ok(table?.get(SEQUENCE)?.map_or(0, |value| value.value())),
        }
    };
    db.with(read).map_err(|error| Error::Damaged(format!("read records: {error}")))
}

/// Writes `meta.json` into a directory that is not yet published.
pub(crate) fn write_meta(dir: &OwnedFd, meta: &impl Serialize) -> Result<()> {
    let writing = || "write meta.json".to_owned();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = fs::openat(dir, c"meta.json", flags, Mode::RUSR | Mode::WUSR).act(writing)?;
    let bytes = serde_json::to_vec(meta).map_err(|e| Error::Damaged(e.to_string()))?;
    File::from(file).write_all(&bytes).act(writing)
}

/// The same, on disk when the call returns.
pub(crate) fn write_meta_durably(dir: &OwnedFd, meta: &impl Serialize) -> Result<()> {
    write_meta(dir, meta)?;
    let file = crate::tree::beneath(dir, c"meta.json", OFlags::RDONLY);
    file.and_then(fs::fsync).act(|| "sync meta.json".into())
}

/// Reads `<name>/meta.json`; `None` when it does not exist.
pub(crate) fn read_meta<T: serde::de::DeserializeOwned>(
    dir: &OwnedFd,
    name: &str,
) -> Result<Option<T>> {
    let path = format!("{name}/meta.json");
    let reading = || format!("read {path}");
    let file = match crate::tree::beneath(dir, path.as_str(), OFlags::RDONLY) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        file => File::from(file.act(reading)?),
    };
    serde_json::from_reader(std::io::BufReader::new(file))
        .map(Some)
        .map_err(|error| Error::Damaged(format!("{}: {error}", reading())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(records: &Records, table: &str) -> Vec<(String, String)> {
        let values = records.iter(table).unwrap();
        values.into_iter().map(|(k, v)| (k, String::from_utf8(v).unwrap())).collect()
    }

    #[test]
    fn a_start_that_was_cut_off_is_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join("estiba.redb.4711");
        std::fs::write(&half, b"half made").unwrap();
        let records = Records::open(dir.path()).unwrap();
        let batch = Batch::new().put("t", "k", b"v");
        records.commit(batch, Durability::Immediate).unwrap();
        drop(records);
        assert!(!half.exists());
        assert_eq!(Records::open(dir.path()).unwrap().get("t", "k").unwrap().unwrap(), b"v");
    }

    #[test]
    fn relaxed_values_survive_the_process_and_are_folded() {
        let home = tempfile::tempdir().unwrap();
        let records = Records::open(home.path()).unwrap();
        records.put("t", "a", b"1", Durability::Relaxed).unwrap();
        records.put("t", "b", b"2", Durability::Immediate).unwrap();
        records.put("t", "a", b"3", Durability::Relaxed).unwrap();
        records.delete("t", "b", Durability::Relaxed).unwrap();
        let want = vec![("a".to_owned(), "3".to_owned())];
        assert_eq!(dump(&records, "t"), want);
        assert_eq!(records.get("t", "b").unwrap(), None);
        drop(records);
        let records = Records::open(home.path()).unwrap();
        assert_eq!(dump(&records, "t"), want);
        records.flush().unwrap();
        assert!(lock(&records.state).overlay.is_empty());
        drop(records);
        assert_eq!(dump(&Records::open(home.path()).unwrap(), "t"), want);
    }

    #[test]
    fn a_journal_that_was_folded_already_is_not_applied_again() {
        let home = tempfile::tempdir().unwrap();
        let records = Records::open(home.path()).unwrap();
        records.put("t", "a", b"old", Durability::Relaxed).unwrap();
        let journal = std::fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_str().unwrap().contains("journal"))
            .unwrap();
        let bytes = std::fs::read(&journal).unwrap();
        records.put("t", "a", b"new", Durability::Immediate).unwrap();
        drop(records);
        // As if the process had died before removing it.
        std::fs::write(&journal, bytes).unwrap();
        let records = Records::open(home.path()).unwrap();
        assert_eq!(records.get("t", "a").unwrap().unwrap(), b"new");
    }

    #[test]
    fn the_journal_keeps_its_space_across_processes() {
        use std::os::unix::fs::MetadataExt;
        let home = tempfile::tempdir().unwrap();
        let mut inode = None;
        for round in 0..3_u8 {
            let records = Records::open(home.path()).unwrap();
            records.put("t", &round.to_string(), b"1", Durability::Relaxed).unwrap();
            let journals: Vec<_> = std::fs::read_dir(home.path())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.to_str().unwrap().contains("journal"))
                .collect();
            assert_eq!(journals.len(), 1, "one file goes on: {journals:?}");
            let meta = journals[0].metadata().unwrap();
            assert!(meta.len() < 4096 && meta.blocks() * 512 > 100_000, "{meta:?}");
            assert_eq!(*inode.get_or_insert(meta.ino()), meta.ino());
        }
        assert_eq!(dump(&Records::open(home.path()).unwrap(), "t").len(), 3);
    }

    #[test]
    fn a_torn_journal_loses_only_its_tail() {
        for cut in 1..40 {
            let home = tempfile::tempdir().unwrap();
            let records = Records::open(home.path()).unwrap();
            records.put("t", "a", b"1", Durability::Relaxed).unwrap();
            let batch = Batch::new().put("t", "b", b"2").put("t", "c", b"3");
            records.commit(batch, Durability::Relaxed).unwrap();
            drop(records);
            let path = home.path().join("estiba.journal.1");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
            let records = Records::open(home.path()).unwrap();
            assert_eq!(dump(&records, "t"), [("a".to_owned(), "1".to_owned())], "cut {cut}");
            records.put("t", "d", b"4", Durability::Relaxed).unwrap();
            drop(records);
            let records = Records::open(home.path()).unwrap();
            assert_eq!(dump(&records, "t").len(), 2);
        }
    }

    #[test]
    fn many_threads_commit_together() {
        let home = tempfile::tempdir().unwrap();
        let records = Records::open(home.path()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let records = &records;
                scope.spawn(move || {
                    for n in 0..20 {
                        let durability =
                            if n % 2 == 0 { Durability::Immediate } else { Durability::Relaxed };
                        let key = format!("{thread}-{n}");
                        records.put("t", &key, b"x", durability).unwrap();
                        assert!(records.get("t", &key).unwrap().is_some());
                    }
                });
            }
        });
        assert_eq!(dump(&records, "t").len(), 160);
        drop(records);
        assert_eq!(dump(&Records::open(home.path()).unwrap(), "t").len(), 160);
    }

    #[test]
    fn a_second_opener_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let _records = Records::open(home.path()).unwrap();
        assert!(Records::open(home.path()).is_err());
    }
}
