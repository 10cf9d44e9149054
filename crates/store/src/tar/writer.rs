//! Writes tar archives as Go's archive/tar would be read: ustar headers, PAX records for what does
//! not fit. Times are whole seconds, as Docker writes them. This module never touches the file
//! system.

use super::header::{self, fits, put_number, seal};
use super::{BLOCK, Entry, Kind, pax};
use crate::error::{Act, Error, Result};
use std::io::{Read, Write};

const ZEROS: [u8; BLOCK] = [0; BLOCK];
const COPY_BUFFER: usize = 128 << 10;

/// Writes entries one after the other.
pub(crate) struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    /// An entry with content. A source that ends early is filled up with zeros, and one that goes
    /// on is cut off: files of running containers change while they are read.
    pub(crate) fn file(&mut self, entry: &Entry, source: &mut dyn Read) -> Result<()> {
        self.header(entry)?;
        let mut left = entry.size;
        let mut buffer = vec![0u8; COPY_BUFFER];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let have = match source.read(&mut buffer[..want]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                done => done.act(|| format!("read {}", String::from_utf8_lossy(&entry.name)))?,
            };
            if have == 0 {
                buffer.fill(0);
                while left > 0 {
                    let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    self.put(&buffer[..want])?;
                    left -= want as u64;
                }
                break;
            }
            self.put(&buffer[..have])?;
            left -= have as u64;
        }
        self.pad(entry.size)
    }

    /// An entry without content.
    pub(crate) fn node(&mut self, entry: &Entry) -> Result<()> {
        self.header(entry)
    }

    /// A header whose content the caller writes through [`TarWriter::sink`]; then
    /// [`TarWriter::pad`].
    pub(crate) fn header(&mut self, entry: &Entry) -> Result<()> {
        let mut records = Vec::new();
        let block = encode(entry, &mut records);
        if !records.is_empty() {
            let size = records.len() as u64;
            let extended = Entry { size, ..Entry::plain(b"PaxHeaders/entry", Kind::File, 0o644) };
            let mut header = encode(&extended, &mut Vec::new());
            header[header::TYPE] = b'x';
            seal(&mut header);
            self.put(&header)?;
            self.put(&records)?;
            self.pad(size)?;
        }
        self.put(&block)
    }

    /// Where content goes.
    pub(crate) fn sink(&mut self) -> &mut W {
        &mut self.out
    }

    /// Fills the last block after `size` bytes of content.
    pub(crate) fn pad(&mut self, size: u64) -> Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if over == 0 { Ok(()) } else { self.put(&ZEROS[over..]) }
    }

    /// The end-of-archive mark; gives the stream back, flushed.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.put(&ZEROS)?;
        self.put(&ZEROS)?;
        self.out.flush().act(|| "write archive".into())?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Error::io("write archive", error))
    }
}

impl Entry {
    /// An entry of root's without content and times.
    pub(crate) fn plain(name: &[u8], kind: Kind, mode: u32) -> Self {
        Self {
            name: name.to_vec(),
            link: Vec::new(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: super::Time::default(),
            size: 0,
            major: 0,
            minor: 0,
            extents: None,
            xattrs: Vec::new(),
        }
    }
}

/// The header block, and the records for what does not fit in it.
fn encode(entry: &Entry, records: &mut Vec<u8>) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    block[header::TYPE] = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Dir => b'5',
        Kind::Fifo => b'6',
    };
    put_name(&mut block, &entry.name, records);
    if entry.link.len() <= header::LINK.len() {
        block[header::LINK.start..][..entry.link.len()].copy_from_slice(&entry.link);
    } else {
        pax::write(records, "linkpath", &entry.link);
    }
    put_number(&mut block, header::MODE, u64::from(entry.mode));
    let size = if entry.kind == Kind::File { entry.size } else { 0 };
    let mut number = |field: std::ops::Range<usize>, key: &str, value: u64| {
        if !fits(value, &field) {
            pax::write(records, key, value.to_string().as_bytes());
        }
        put_number(&mut block, field, value);
    };
    number(header::UID, "uid", u64::from(entry.uid));
    number(header::GID, "gid", u64::from(entry.gid));
    number(header::SIZE, "size", size);
    number(header::MAJOR, "SCHILY.devmajor", u64::from(entry.major));
    number(header::MINOR, "SCHILY.devminor", u64::from(entry.minor));
    match u64::try_from(entry.mtime.seconds) {
        Ok(seconds) if fits(seconds, &header::MTIME) => {
            put_number(&mut block, header::MTIME, seconds);
        }
        _ => {
            put_number(&mut block, header::MTIME, 0);
            pax::write(records, "mtime", entry.mtime.seconds.to_string().as_bytes());
        }
    }
    for (name, value) in &entry.xattrs {
        pax::write_xattr(records, name, value);
    }
    block[header::MAGIC].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Name, or prefix and name, or a PAX record.
fn put_name(block: &mut [u8; BLOCK], name: &[u8], records: &mut Vec<u8>) {
    let (prefix, rest) = if name.len() <= header::NAME.len() {
        (&b""[..], name)
    } else if let Some(split) = split_name(name) {
        split
    } else {
        pax::write(records, "path", name);
        (&b""[..], &name[..header::NAME.len()])
    };
    block[header::PREFIX.start..][..prefix.len()].copy_from_slice(prefix);
    block[..rest.len()].copy_from_slice(rest);
}

/// Where a long name can be cut into prefix and name.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let last = name.len().checked_sub(2)?;
    (1..=last.min(header::PREFIX.len()))
        .rev()
        .find(|at| name[*at] == b'/')
        .map(|at| (&name[..at], &name[at + 1..]))
        .filter(|(_, rest)| rest.len() <= header::NAME.len())
}

#[cfg(test)]
mod tests {
    use super::super::Time;
    use super::super::reader::{Discard, End, TarReader};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let base = Entry::plain(b"f", Kind::File, 0o4755);
        let cases = [
            Entry { size: 5, ..base.clone() },
            Entry { name: b"d/".repeat(60), ..base.clone() },
            Entry { name: b"x".repeat(101), ..base.clone() },
            Entry { name: b"y".repeat(4000), ..base.clone() },
            Entry { kind: Kind::Symlink, link: b"z".repeat(300), ..base.clone() },
            Entry { uid: 4_000_000_000, gid: 2_097_152, ..base.clone() },
            Entry { mtime: Time { seconds: -5, nanos: 0 }, ..base.clone() },
            Entry { mtime: Time { seconds: 1 << 40, nanos: 0 }, ..base.clone() },
            Entry { xattrs: vec![("user.a".into(), vec![0, 10, 255])], ..base.clone() },
            Entry { kind: Kind::CharDevice, major: 1, minor: 300_000, ..base.clone() },
            Entry { kind: Kind::Dir, name: "é/".into(), ..base.clone() },
        ];
        let mut writer = TarWriter::new(Vec::new());
        for case in &cases {
            writer.file(case, &mut &b"12345"[..]).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut reader = TarReader::new(&bytes[..], Discard, End::Marked);
        for case in &cases {
            assert_eq!(reader.next().unwrap().as_ref(), Some(case));
        }
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn a_file_that_shrank_is_filled_up() {
        let mut writer = TarWriter::new(Vec::new());
        let entry = Entry { size: 1000, ..Entry::plain(b"f", Kind::File, 0o644) };
        writer.file(&entry, &mut &b"abc"[..]).unwrap();
        assert_eq!(writer.finish().unwrap().len(), 512 + 1024 + 1024);
    }
}
