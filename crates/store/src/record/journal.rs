//! The journal: batches appended without sync, numbered, each with a checksum. A record that is
//! torn ends its file. This module knows nothing of redb.
//!
//! ```text
//! file   = record*
//! record = len:u32le crc32:u32le payload[len]
//! payload= sequence:u64le op*
//! op     = table:str key:str (0 | 1 value:bytes)          str, bytes = len:u32le bytes
//! ```

use super::Op;
use crate::error::{Act, Error, Result};
use rustix::fs::{self, CWD, FallocateFlags, Mode, OFlags};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const NAME: &str = "estiba.journal.";
/// The largest record accepted when reading.
const MAX_RECORD_BYTES: usize = 64 << 20;
/// Space taken in advance, so that containers can be stopped and removed on a full disk: that is
/// what makes room.
const RESERVE_BYTES: u64 = 256 << 10;

/// The file that relaxed commits go to.
pub(super) struct Journal {
    root: PathBuf,
    file: File,
    number: u64,
    /// Older files that still hold what redb does not.
    older: Vec<u64>,
    /// Bytes in all files.
    bytes: u64,
    /// Bytes in the file written to.
    file_bytes: u64,
    /// Up to where that file has its space already.
    reserved: u64,
    sequence: u64,
}

impl Journal {
    /// Reads what earlier processes left and redb does not have, and goes on in the last file, for
    /// the space it has in advance.
    pub(super) fn open(root: &Path, folded: u64, mut apply: impl FnMut(Vec<Op>)) -> Result<Self> {
        let mut older = numbers(root)?;
        older.sort_unstable();
        let mut sequence = folded;
        let (mut bytes, mut file_bytes) = (0, 0);
        let mut torn = false;
        for number in &older {
            let path = path(root, *number);
            let data = std::fs::read(&path).act(|| format!("read {}", path.display()))?;
            file_bytes = data.len() as u64;
            bytes += file_bytes;
            let mut rest = data.as_slice();
            while let Some((record, ops, tail)) = record(rest) {
                if record > folded {
                    apply(ops);
                }
                sequence = sequence.max(record);
                rest = tail;
            }
            torn = !rest.is_empty();
        }
        // What follows a torn record would not be read.
        let last = if torn { None } else { older.pop() };
        let (number, file) = match last {
            Some(number) => (number, create(root, number, OFlags::empty())?),
            None => {
                file_bytes = 0;
                let number = older.last().copied().unwrap_or(0) + 1;
                (number, create(root, number, OFlags::EXCL)?)
            }
        };
        let root = root.to_owned();
        let mut journal =
            Self { root, file, number, older, bytes, file_bytes, reserved: 0, sequence };
        journal.reserve();
        Ok(journal)
    }

    /// Appends one batch.
    pub(super) fn append(&mut self, ops: &[Op]) -> Result<()> {
        let mut payload = (self.sequence + 1).to_le_bytes().to_vec();
        for op in ops {
            put(&mut payload, op.table.as_bytes())?;
            put(&mut payload, op.key.as_bytes())?;
            payload.push(u8::from(op.value.is_some()));
            if let Some(value) = &op.value {
                put(&mut payload, value)?;
            }
        }
        let mut record = length(payload.len())?.to_le_bytes().to_vec();
        record.extend_from_slice(&checksum(&payload).to_le_bytes());
        record.extend_from_slice(&payload);
        if let Err(error) = self.file.write_all(&record) {
            // What was written of it would end the file for readers: take it back.
            let _ = self.file.set_len(self.file_bytes);
            self.reserved = self.file_bytes;
            return Err(Error::io("append to the journal", error));
        }
        self.bytes += record.len() as u64;
        self.file_bytes += record.len() as u64;
        self.sequence += 1;
        self.reserve();
        Ok(())
    }

    /// Takes space ahead of what is written, when half of the last is used. A disk that has none
    /// just now, or a file system that cannot, leaves what was taken before.
    fn reserve(&mut self) {
        let want = self.file_bytes + RESERVE_BYTES;
        if want - self.reserved.min(want) < RESERVE_BYTES / 2 {
            return;
        }
        let (offset, length) = (self.file_bytes, RESERVE_BYTES);
        if fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, length).is_ok() {
            self.reserved = want;
        }
    }

    /// Bytes that wait to be folded.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Begins a new file. Gives the last sequence number and file number of the old ones.
    pub(super) fn rotate(&mut self) -> Result<(u64, u64)> {
        let old = self.number;
        if self.file_bytes > 0 {
            self.file = create(&self.root, old + 1, OFlags::EXCL)?;
            self.older.push(old);
            self.number = old + 1;
            self.file_bytes = 0;
            self.reserved = 0;
            self.reserve();
            return Ok((self.sequence, old));
        }
        Ok((self.sequence, old - 1))
    }

    /// Removes files whose content redb has. One that stays is skipped by its sequence numbers.
    pub(super) fn remove_up_to(&mut self, number: u64) {
        let root = &self.root;
        self.older
            .retain(|older| *older > number || std::fs::remove_file(path(root, *older)).is_err());
        self.bytes = self.file_bytes;
    }
}

fn path(root: &Path, number: u64) -> PathBuf {
    root.join(format!("{NAME}{number}"))
}

fn numbers(root: &Path) -> Result<Vec<u64>> {
    let listing = || format!("list {}", root.display());
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(root).act(listing)? {
        let name = entry.act(listing)?.file_name();
        if let Some(number) = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse().ok()) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

fn create(root: &Path, number: u64, more: OFlags) -> Result<File> {
    let path = path(root, number);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    fs::openat(CWD, &path, flags | more, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .act(|| format!("create {}", path.display()))
}

/// The first record: its sequence number, its changes and what follows; `None` at the end or at
/// anything torn.
fn record(data: &[u8]) -> Option<(u64, Vec<Op>, &[u8])> {
    let (len, data) = number(data)?;
    let (want, data) = number(data)?;
    let len = usize::try_from(len).ok().filter(|len| *len <= MAX_RECORD_BYTES)?;
    let (payload, tail) = data.split_at_checked(len)?;
    if checksum(payload) != want {
        return None;
    }
    let (sequence, mut rest) = payload.split_first_chunk::<8>()?;
    let mut ops = Vec::new();
    while !rest.is_empty() {
        let (table, key, value);
        (table, rest) = bytes(rest)?;
        (key, rest) = bytes(rest)?;
        let (present, after) = rest.split_first()?;
        rest = after;
        if *present == 1 {
            let (bytes, after) = bytes(rest)?;
            value = Some(bytes.to_vec());
            rest = after;
        } else {
            value = None;
        }
        let (table, key) = (text(table)?, text(key)?);
        ops.push(Op { table, key, value });
    }
    Some((u64::from_le_bytes(*sequence), ops, tail))
}

fn number(data: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = data.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn bytes(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, data) = number(data)?;
    data.split_at_checked(usize::try_from(len).ok()?)
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    out.extend_from_slice(&length(bytes.len())?.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn length(len: usize) -> Result<u32> {
    u32::try_from(len)
        .ok()
        .filter(|_| len <= MAX_RECORD_BYTES)
        .ok_or_else(|| Error::Denied(model::Denied::invalid("record is too large")))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
