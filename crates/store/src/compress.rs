//! Plain bytes out of a stream that may be compressed, recognised by its first bytes, with a limit
//! on what it may blow up to. Decompressors are linked in: no program of the host is run for it.
//! This module knows nothing of archives.

use crate::error::{Error, Result};
use crate::tar::limits::{MAX_RATIO, RATIO_GRACE_BYTES};
use crate::unpacker;
use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

const INPUT_BUFFER: usize = 64 << 10;
/// Bytes that tell every compression.
const LONGEST_MAGIC: usize = 6;
/// The largest zstd window accepted, as a power of two: what `zstd -d` accepts by default.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// Memory for xz: enough for `xz -9`, whose decoder takes 65 MiB.
const MAX_XZ_MEMORY_BYTES: u64 = 128 << 20;

/// A stream of plain bytes, whatever the compression of the source. Bytes behind the compressed
/// data that are no further member are an error. Decompressed where archives are taken apart
/// ([`crate::unpacker`]).
pub fn plain<'a>(mut source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let Some(unpacker) = unpacker::installed() else { return here(source) };
    let (mut head, mut filled) = ([0; LONGEST_MAGIC], 0);
    while filled < head.len() {
        match source.read(&mut head[filled..]) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => filled += done.map_err(crate::tar::reader::blame)?,
        }
    }
    let source = io::Cursor::new(head[..filled].to_vec()).chain(source);
    if !is_compressed(&head[..filled]) {
        return Ok(Box::new(source));
    }
    Ok(Box::new(unpacker::Plain::new(unpacker, source)?))
}

/// The same in this process.
pub(crate) fn here<'a>(source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let taken = Rc::new(Cell::new(0));
    let counted = Counted { source, taken: Rc::clone(&taken) };
    let mut input = BufReader::with_capacity(INPUT_BUFFER, counted);
    let head = peek(&mut input)?;
    let decoded: Box<dyn Read + 'a> = match Method::of(&head) {
        None => return Ok(Box::new(input)),
        Some(Method::Gzip) => Box::new(MultiGzDecoder::new(input)),
        Some(Method::Zstd) => {
            let fail = |error| Error::io("start zstd decompression", error);
            let mut decoder = zstd::Decoder::with_buffer(input).map_err(fail)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(fail)?;
            Box::new(Blamed(decoder))
        }
        Some(Method::Xz) => {
            let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY_BYTES, CONCATENATED)
                .map_err(|error| Error::io("start xz decompression", error))?;
            Box::new(Blamed(XzDecoder::new_stream(input, stream)))
        }
        Some(Method::Bzip2) => Box::new(Blamed(MultiBzDecoder::new(input))),
    };
    Ok(Box::new(Bounded { source: decoded, given: 0, taken }))
}

/// Whether a stream that begins like this is compressed.
pub(crate) fn is_compressed(head: &[u8]) -> bool {
    Method::of(head).is_some()
}

/// The compressions that Docker takes.
enum Method {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Method {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A frame, or a frame to be skipped before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            _ => None,
        }
    }
}

/// The first bytes, without consuming them. A source may give them in pieces smaller than a magic
/// number only at its end or when it is a slow pipe, so the buffer is asked as long as it grows.
fn peek<R: Read>(input: &mut BufReader<Counted<R>>) -> Result<Vec<u8>> {
    loop {
        match input.fill_buf() {
            Ok(bytes) => return Ok(bytes[..bytes.len().min(6)].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read archive", error)),
        }
    }
}

/// Counts what is taken from the source, and fills whole buffers so that a magic number is never
/// split by a slow pipe.
struct Counted<R> {
    source: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.source.read(buffer)?;
        while filled > 0 && self.taken.get() == 0 && filled < buffer.len().min(6) {
            match self.source.read(&mut buffer[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        self.taken.set(self.taken.get() + filled as u64);
        Ok(filled)
    }
}

/// Some decompressors report damaged input as `Other`: it is the input's fault.
struct Blamed<R>(R);

impl<R: Read> Read for Blamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Other if error.get_ref().is_none_or(|inner| !inner.is::<Error>()) => {
                io::Error::new(io::ErrorKind::InvalidData, error.to_string())
            }
            _ => error,
        })
    }
}

/// Refuses streams that grow out of all proportion.
struct Bounded<'a> {
    source: Box<dyn Read + 'a>,
    given: u64,
    taken: Rc<Cell<u64>>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let have = self.source.read(buffer)?;
        self.given += have as u64;
        if self.given > RATIO_GRACE_BYTES.saturating_add(self.taken.get() * MAX_RATIO) {
            let limit = format!("archive decompresses to more than {MAX_RATIO} times its size");
            return Err(Error::bad(limit).into_io());
        }
        Ok(have)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(data).unwrap();
        out.finish().unwrap()
    }

    fn read(data: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        plain(data)?.read_to_end(&mut out).map_err(|e| Error::io("read", e))?;
        Ok(out)
    }

    #[test]
    fn every_compression_gives_the_same_bytes() {
        let data = b"some bytes ".repeat(1000);
        assert_eq!(read(&data).unwrap(), data);
        assert_eq!(read(&gzip(&data)).unwrap(), data);
        assert_eq!(read(&[gzip(&data), gzip(b"x")].concat()).unwrap(), [&data[..], b"x"].concat());
        assert_eq!(read(&zstd::encode_all(&data[..], 1).unwrap()).unwrap(), data);
        assert_eq!(read(b"").unwrap(), b"");
        let mut xz = Vec::new();
        liblzma::bufread::XzEncoder::new(&data[..], 6).read_to_end(&mut xz).unwrap();
        assert_eq!(read(&xz).unwrap(), data);
        assert!(read(&xz[..xz.len() - 1]).is_err());
        let mut bz = Vec::new();
        let best = bzip2::Compression::best();
        bzip2::bufread::BzEncoder::new(&data[..], best).read_to_end(&mut bz).unwrap();
        assert_eq!(read(&bz).unwrap(), data);
        assert!(read(&bz[..bz.len() - 1]).is_err());
    }

    /// zstd:chunked is a frame for each file, and the table of contents in frames that decoders
    /// pass over (RFC 8878, section 3.1.2); estargz is the same with members of gzip.
    #[test]
    fn what_is_packed_in_chunks_is_one_stream() {
        let chunks = [b"header".repeat(90), b"a file".repeat(5000), Vec::new(), b"end".repeat(512)];
        let skipped = |text: &[u8]| {
            let len = u32::try_from(text.len()).unwrap().to_le_bytes();
            [&[0x50, 0x2a, 0x4d, 0x18], &len[..], text].concat()
        };
        let frame = |chunk: &Vec<u8>| zstd::encode_all(&chunk[..], 3).unwrap();
        let frames: Vec<u8> = chunks.iter().flat_map(frame).collect();
        let toc = skipped(&zstd::encode_all(&b"{\"version\":1}"[..], 3).unwrap());
        let footer = skipped(&[7; 64]);
        assert_eq!(read(&[&frames[..], &toc, &footer].concat()).unwrap(), chunks.concat());
        assert_eq!(read(&[&toc[..], &frames, &footer].concat()).unwrap(), chunks.concat());
        assert!(read(&[&frames[..], &toc[..toc.len() - 1]].concat()).is_err());
        let members: Vec<u8> = chunks.iter().flat_map(|chunk| gzip(chunk)).collect();
        assert_eq!(read(&members).unwrap(), chunks.concat());
    }

    #[test]
    fn damaged_streams_are_errors() {
        let whole = gzip(&b"some bytes ".repeat(1000));
        assert!(read(&whole[..whole.len() - 1]).is_err());
        let mut flipped = whole.clone();
        let at = whole.len() - 6;
        flipped[at] ^= 0xff;
        assert!(read(&flipped).is_err());
        let whole = zstd::encode_all(&b"some bytes ".repeat(1000)[..], 1).unwrap();
        assert!(read(&whole[..whole.len() - 1]).is_err());
        assert!(read(b"\xfd7zXZ\0....").is_err());
        assert!(read(b"BZh9....").is_err());
    }

    #[test]
    fn a_bomb_is_stopped() {
        let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
        let zeros = vec![0u8; 1 << 20];
        for _ in 0..600 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 200 << 10);
        let mut total = 0u64;
        let mut source = plain(&bomb[..]).unwrap();
        let mut buffer = vec![0u8; 1 << 20];
        let error = loop {
            match source.read(&mut buffer) {
                Ok(0) => panic!("bomb went off: {total}"),
                Ok(have) => total += have as u64,
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("times its size"), "{error}");
        assert!(total < 512 << 20);
    }
}
