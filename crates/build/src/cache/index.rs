//! Finished steps by their keys. A record names layers and keeps them in the store; it is trusted
//! only on the boot that wrote it, or after the layers were read and found whole: records cost no
//! sync, and a power cut may take what they name.

use super::v1;
use super::{CacheKind, CacheRecord};
use crate::error::Result;
use model::{Digest, Timestamp};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use store::record::{Batch, Durability};
use store::{Lease, Store, kept};

/// Table of records by key.
const TABLE: &str = "build-cache";
/// Table of keys by what leads to the same step by definition alone.
const BY_DEFINITION: &str = "build-cache-definitions";

/// The outputs of a step: number, and layers base first.
pub(crate) type Outputs = Vec<(usize, Vec<Digest>)>;

/// The records of one store.
pub(crate) struct CacheIndex {
    store: Store,
    boot: String,
    /// Times in records never repeat, so that the order of uses is known.
    latest: AtomicU64,
}

/// A record with its key.
pub(crate) struct Known {
    pub(crate) key: String,
    pub(crate) record: v1::Record,
}

impl CacheIndex {
    pub(crate) fn new(store: Store) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { store, boot: boot.trim().to_owned(), latest: AtomicU64::new(0) }
    }

    /// The outputs of a finished step by its key or its definition, with the key of the record.
    /// Its layers are spared while `lease` lives. Blocking.
    pub(crate) fn find(&self, lease: &Lease, key: Digest) -> Result<Option<(String, Outputs)>> {
        let mut key = key.hex();
        let records = self.store.records();
        let mut bytes = records.get(TABLE, &key)?;
        if bytes.is_none() {
            let Some(other) = records.get(BY_DEFINITION, &key)? else { return Ok(None) };
            key = String::from_utf8_lossy(&other).into_owned();
            bytes = records.get(TABLE, &key)?;
        }
        let Some(bytes) = bytes else { return Ok(None) };
        let Ok(mut record) = serde_json::from_slice::<v1::Record>(&bytes) else {
            return Ok(None);
        };
        let Some(outputs) = record.outputs() else { return Ok(None) };
        let trusted = record.boot == self.boot;
        for layer in outputs.iter().flat_map(|(_, layers)| layers) {
            lease.pin(*layer);
            let whole = match self.store.layers().find(*layer)? {
                None => false,
                Some(_) if trusted => true,
                Some(_) => self.store.layers().write_tar(*layer, &mut io::sink()).is_ok(),
            };
            if !whole {
                self.remove(&key)?;
                return Ok(None);
            }
        }
        if !trusted {
            record.boot.clone_from(&self.boot);
            self.write(&key, &record, Batch::new())?;
        }
        Ok(Some((key, outputs)))
    }

    /// Notes that records were used, all at once. Blocking.
    pub(crate) fn used(&self, keys: &[String]) -> Result<()> {
        let mut batch = Batch::new();
        for key in keys {
            let Some(bytes) = self.store.records().get(TABLE, key)? else { continue };
            let Ok(mut record) = serde_json::from_slice::<v1::Record>(&bytes) else { continue };
            record.last_used_ns = self.now().0;
            record.uses = record.uses.saturating_add(1);
            let bytes = serde_json::to_vec(&record).map_err(crate::Error::internal)?;
            batch = batch.put(TABLE, key, &bytes);
        }
        Ok(self.store.records().commit(batch, Durability::Relaxed)?)
    }

    /// Notes that a definition leads to the step of this key. Blocking.
    pub(crate) fn alias(&self, definition: Digest, key: &str) -> Result<()> {
        let definition = definition.hex();
        if definition == key {
            return Ok(());
        }
        let records = self.store.records();
        if records.get(BY_DEFINITION, &definition)?.is_some_and(|known| known == key.as_bytes()) {
            return Ok(());
        }
        Ok(records.put(BY_DEFINITION, &definition, key.as_bytes(), Durability::Relaxed)?)
    }

    /// Forgets definitions whose steps are forgotten. Blocking.
    pub(crate) fn sweep(&self) -> Result<()> {
        let records = self.store.records();
        let mut batch = Batch::new();
        for (definition, key) in records.iter(BY_DEFINITION)? {
            if records.get(TABLE, &String::from_utf8_lossy(&key))?.is_none() {
                batch = batch.delete(BY_DEFINITION, &definition);
            }
        }
        Ok(records.commit(batch, Durability::Relaxed)?)
    }

    /// Notes a finished step. Blocking.
    pub(crate) fn put(&self, key: Digest, outputs: &Outputs, description: &str) -> Result<()> {
        let key = key.hex();
        let layers: Vec<Digest> =
            outputs.iter().flat_map(|(_, layers)| layers.iter().copied()).collect();
        let mut size = 0;
        for (_, layers) in outputs {
            if let Some(top) = layers.last() {
                size += self.store.layers().find(*top)?.map_or(0, |layer| layer.size);
            }
        }
        let now = self.now().0;
        let record = v1::Record {
            outputs: outputs
                .iter()
                .map(|(number, layers)| (*number, layers.iter().map(Digest::to_string).collect()))
                .collect(),
            description: description.to_owned(),
            created_ns: now,
            last_used_ns: now,
            uses: 1,
            size_bytes: size,
            boot: self.boot.clone(),
        };
        let batch = kept::keep(Batch::new(), &note(&key), &layers);
        self.write(&key, &record, batch)
    }

    /// Every record. Blocking.
    pub(crate) fn all(&self) -> Result<Vec<Known>> {
        let all = self.store.records().iter(TABLE)?;
        let known = |(key, bytes): (String, Vec<u8>)| {
            Some(Known { key, record: serde_json::from_slice(&bytes).ok()? })
        };
        Ok(all.into_iter().filter_map(known).collect())
    }

    /// Forgets a record; its layers go with the next collection. Blocking.
    pub(crate) fn remove(&self, key: &str) -> Result<()> {
        let batch = kept::release(Batch::new().delete(TABLE, key), &note(key));
        Ok(self.store.records().commit(batch, Durability::Relaxed)?)
    }

    fn write(&self, key: &str, record: &v1::Record, batch: Batch) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(crate::Error::internal)?;
        Ok(self.store.records().commit(batch.put(TABLE, key, &bytes), Durability::Relaxed)?)
    }

    /// The wall clock, later than whatever it gave before.
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let before = self.latest.fetch_max(now, Ordering::Relaxed);
        let now = if before >= now { self.latest.fetch_add(1, Ordering::Relaxed) + 1 } else { now };
        Timestamp(i64::try_from(now).unwrap_or(i64::MAX))
    }
}

/// The key under which a record's layers are kept.
fn note(key: &str) -> String {
    format!("build:{key}")
}

impl Known {
    /// As its users see it.
    pub(crate) fn shown(&self, shared: &dyn Fn(&Digest) -> bool) -> CacheRecord {
        let outputs = self.record.outputs().unwrap_or_default();
        let top = outputs.first().and_then(|(_, layers)| layers.last().copied());
        CacheRecord {
            id: self.key.clone(),
            parents: Vec::new(),
            kind: CacheKind::Regular,
            description: self.record.description.clone(),
            in_use: false,
            shared: top.as_ref().is_some_and(shared),
            size_bytes: self.record.size_bytes,
            created: Timestamp(self.record.created_ns),
            last_used: Some(Timestamp(self.record.last_used_ns)),
            usage_count: self.record.uses,
        }
    }
}
