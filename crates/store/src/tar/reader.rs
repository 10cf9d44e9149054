//! Takes a tar stream apart: entries with bounded claims, their content, and every byte that is
//! neither (headers, padding, trailer) handed to a [`RawSink`], so that the stream can be written
//! again bit by bit. This module never touches the file system.

use super::header::{self, Dialect, Header};
use super::limits::{
    MAX_CONTENT_BYTES, MAX_ENTRIES, MAX_EXTENSION_BYTES, MAX_FILE_BYTES, MAX_PATH_BYTES,
    MAX_SKIPPED_BYTES, MAX_TRAILER_BYTES,
};
use super::pax::{self, Extended};
use super::sparse::{self, MapReader};
use super::{BLOCK, Entry, Extent, Kind, Time};
use crate::error::{Error, Result};
use std::io::{self, Read};

/// Receives the bytes of the stream that are no content of files.
pub(crate) trait RawSink {
    /// Takes bytes in stream order.
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A sink for those who never write the stream again.
pub(crate) struct Discard;

impl RawSink for Discard {
    fn raw(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a stream must say where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Without the end-of-archive mark the stream was cut off.
    Marked,
    /// The stream may end after any entry: its digest is known beforehand.
    Anywhere,
}

/// Reads entries one after the other.
pub(crate) struct TarReader<R, S> {
    source: R,
    sink: S,
    end: End,
    /// Bytes of content not yet read.
    left: u64,
    /// Padding after the content.
    padding: usize,
    entries: u64,
    content: u64,
    finished: bool,
}

/// Extension headers seen before an entry.
#[derive(Default)]
struct Pending {
    extended: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read, S: RawSink> TarReader<R, S> {
    pub(crate) fn new(source: R, sink: S, end: End) -> Self {
        let (left, padding, entries, content) = (0, 0, 0, 0);
        Self { source, sink, end, left, padding, entries, content, finished: false }
    }

    /// The sink, for those who record more than raw bytes.
    pub(crate) fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Gives the source and the sink back.
    pub(crate) fn into_parts(self) -> (R, S) {
        (self.source, self.sink)
    }

    /// The next entry, after skipping what is left of the one before. At the end the rest of the
    /// stream is read, so that digests and checksums of the source are complete.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        self.skip()?;
        let mut pending = Pending::default();
        while !self.finished {
            let Some(block) = self.header_block()? else { break };
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(Error::bad(format!("archive has more than {MAX_ENTRIES} entries")));
            }
            let header = Header::parse(&block)?;
            let size = header.unsigned(header::SIZE, "size")?;
            match header.type_flag() {
                b'x' => pending.extended = Some(pax::parse(&self.extension(size)?)?),
                b'g' => drop(pax::parse(&self.extension(size)?)?),
                b'L' => pending.long_name = Some(long_text(self.extension(size)?)?),
                b'K' => pending.long_link = Some(long_text(self.extension(size)?)?),
                _ => return self.entry(&header, size, pending).map(Some),
            }
        }
        self.finished = true;
        if pending.extended.is_some() || pending.long_name.is_some() || pending.long_link.is_some()
        {
            return Err(Error::bad("archive ends after an extension header"));
        }
        Ok(None)
    }

    /// Content of the current entry; 0 at its end. Of sparse files: the extents, one after the
    /// other.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let have = retry(|| self.source.read(&mut buffer[..want]))?;
        if have == 0 {
            return Err(cut_off());
        }
        self.left -= have as u64;
        Ok(have)
    }

    fn entry(&mut self, header: &Header<'_>, size: u64, pending: Pending) -> Result<Entry> {
        let extended = pending.extended.unwrap_or_default();
        if pending.long_name.is_some() && extended.path.is_some() {
            return Err(Error::bad("archive entry has two long names"));
        }
        let size = extended.size.unwrap_or(size);
        let (major, minor) = header.device()?;
        let mut entry = Entry {
            name: pending.long_name.or(extended.path).unwrap_or_else(|| header.name()),
            link: pending.long_link.or(extended.link).unwrap_or_else(|| header.link()),
            kind: Kind::File,
            mode: narrow(header.unsigned(header::MODE, "mode")? & 0o7777, "mode")?,
            uid: owner(extended.uid, || header.unsigned(header::UID, "uid"))?,
            gid: owner(extended.gid, || header.unsigned(header::GID, "gid"))?,
            mtime: match extended.mtime {
                Some(time) => time,
                None => Time { seconds: header.mtime()?, nanos: 0 },
            },
            size,
            major: narrow(major, "device")?,
            minor: narrow(minor, "device")?,
            extents: None,
            xattrs: extended.xattrs,
        };
        entry.kind = kind(header.type_flag(), &entry.name)?;
        if entry.kind != Kind::File {
            // As Go reads it: only files have content, whatever the header claims.
            entry.size = 0;
        }
        self.begin(entry.size)?;
        if header.type_flag() == b'S' {
            self.gnu_sparse(header, &mut entry)?;
        } else if entry.kind == Kind::File && extended.sparse.is_present() {
            self.pax_sparse(extended.sparse, &mut entry)?;
        }
        if entry.size > MAX_FILE_BYTES {
            return Err(Error::bad("archive entry: file is too large"));
        }
        Ok(entry)
    }

    /// Notes how much content follows.
    fn begin(&mut self, size: u64) -> Result<()> {
        self.content = self.content.saturating_add(size);
        if self.content > MAX_CONTENT_BYTES {
            return Err(Error::bad(format!("archive holds more than {MAX_CONTENT_BYTES} bytes")));
        }
        self.left = size;
        self.padding = padding(size);
        Ok(())
    }

    fn gnu_sparse(&mut self, header: &Header<'_>, entry: &mut Entry) -> Result<()> {
        if header.dialect != Dialect::Gnu {
            return Err(Error::bad("archive entry: sparse file in a header that is not GNU's"));
        }
        let mut extents = Vec::new();
        sparse::gnu_extents(header, &mut extents)?;
        let mut extended = header.bytes(header::GNU_EXTENDED..header::GNU_EXTENDED + 1) != [0];
        while extended {
            let block = self.block()?.ok_or_else(cut_off)?;
            self.raw(&block)?;
            extended = sparse::gnu_continuation(&block, &mut extents)?;
        }
        let real_size = header.unsigned(header::GNU_REAL_SIZE, "real size")?;
        entry.extents = Some(sparse::check(extents, real_size, entry.size)?);
        entry.size = real_size;
        Ok(())
    }

    fn pax_sparse(&mut self, sparse: pax::Sparse, entry: &mut Entry) -> Result<()> {
        let extents = match (sparse.major, sparse.minor, sparse.map) {
            (Some(1), Some(0), None) => self.leading_map()?,
            (None | Some(0), _, Some(map)) => map,
            _ => return Err(Error::bad("archive entry: unknown sparse format")),
        };
        let real_size = sparse
            .real_size
            .ok_or_else(|| Error::bad("archive entry: sparse file without its size"))?;
        entry.extents = Some(sparse::check(extents, real_size, self.left)?);
        entry.size = real_size;
        if let Some(name) = sparse.name {
            entry.name = name;
        }
        Ok(())
    }

    /// The map of PAX format 1.0 is the first part of the content.
    fn leading_map(&mut self) -> Result<Vec<Extent>> {
        let mut map = MapReader::default();
        loop {
            if self.left < BLOCK as u64 {
                return Err(Error::bad("archive entry: malformed sparse map"));
            }
            let block = self.block()?.ok_or_else(cut_off)?;
            self.raw(&block)?;
            self.left -= BLOCK as u64;
            if let Some(extents) = map.block(&block)? {
                return Ok(extents);
            }
        }
    }

    /// Content of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION_BYTES {
            return Err(Error::bad("archive extension header is too large"));
        }
        let len = usize::try_from(size).map_err(|_| cut_off())?;
        let mut data = vec![0u8; len + padding(size)];
        if fill(&mut self.source, &mut data)? != data.len() {
            return Err(cut_off());
        }
        self.raw(&data)?;
        data.truncate(len);
        Ok(data)
    }

    /// Passes over what is left of the current entry: unread content goes to the sink.
    fn skip(&mut self) -> Result<()> {
        if self.left > MAX_SKIPPED_BYTES && !self.finished {
            return Err(Error::bad("archive entry without a file has too much content"));
        }
        let mut buffer = [0u8; 4096];
        while self.left > 0 {
            let have = self.read(&mut buffer)?;
            self.raw(&buffer[..have])?;
        }
        let padding = std::mem::take(&mut self.padding);
        if fill(&mut self.source, &mut buffer[..padding])? != padding {
            return Err(cut_off());
        }
        self.raw(&buffer[..padding])
    }

    /// A header block, or `None` at the end of the archive.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let Some(block) = self.block()? else {
            return match self.end {
                End::Anywhere => Ok(None),
                // Nothing at all is an archive of nothing, as for Go.
                End::Marked if self.entries == 0 => Ok(None),
                End::Marked => Err(cut_off()),
            };
        };
        self.raw(&block)?;
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        // One block of zeros is no end for Go, a second one or the end of the stream is.
        match self.block()? {
            Some(second) if second != [0; BLOCK] => {
                Err(Error::bad("archive header: half an end-of-archive mark"))
            }
            Some(second) => {
                self.raw(&second)?;
                self.trailer()?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn trailer(&mut self) -> Result<()> {
        let mut buffer = [0u8; 8192];
        let mut total = 0u64;
        loop {
            let have = retry(|| self.source.read(&mut buffer))?;
            if have == 0 {
                return Ok(());
            }
            total += have as u64;
            if total > MAX_TRAILER_BYTES {
                return Err(Error::bad("archive goes on after its end"));
            }
            self.raw(&buffer[..have])?;
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0u8; BLOCK];
        match fill(&mut self.source, &mut block)? {
            BLOCK => Ok(Some(block)),
            0 => Ok(None),
            _ => Err(cut_off()),
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.raw(bytes).map_err(|error| Error::io("record archive", error))
    }
}

fn kind(flag: u8, name: &[u8]) -> Result<Kind> {
    Ok(match flag {
        b'\0' if name.ends_with(b"/") => Kind::Dir,
        b'0' | b'\0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Dir,
        b'6' => Kind::Fifo,
        other => {
            let shown = String::from_utf8_lossy(name);
            let flag = char::from(other);
            return Err(Error::bad(format!("archive entry {shown:?}: unknown type {flag:?}")));
        }
    })
}

fn long_text(data: Vec<u8>) -> Result<Vec<u8>> {
    let text = header::text(&data).to_vec();
    if text.len() > MAX_PATH_BYTES || text.is_empty() {
        return Err(Error::bad("archive entry: bad long name"));
    }
    Ok(text)
}

/// The owner of PAX, or of the header. `u32::MAX` is no id for the kernel.
fn owner(extended: Option<u64>, plain: impl FnOnce() -> Result<u64>) -> Result<u32> {
    let id = match extended {
        Some(id) => id,
        None => plain()?,
    };
    match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Error::bad(format!("archive entry: owner {id} is out of range"))),
    }
}

fn narrow(value: u64, what: &str) -> Result<u32> {
    u32::try_from(value)
        .map_err(|_| Error::bad(format!("archive header: {what} {value} is out of range")))
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

fn cut_off() -> Error {
    Error::bad("archive is cut off: unexpected end")
}

/// Reads until the buffer is full or the source ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match retry(|| source.read(&mut buffer[filled..]))? {
            0 => break,
            have => filled += have,
        }
    }
    Ok(filled)
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map_err(blame),
        }
    }
}

/// A failed read as an error. What decompressors say of damaged input is the input's fault, not the
/// machine's.
pub(crate) fn blame(error: io::Error) -> Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        InvalidData | InvalidInput | UnexpectedEof => Error::bad(format!("read archive: {error}")),
        _ => Error::io("read archive", error),
    }
}
