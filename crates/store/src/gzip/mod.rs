//! gzip by all processors: the same bytes for the same input and level, however many there are.
//! Knows nothing of layers.
//!
//! ```text
//!           ┌─▶ worker ─┐
//! pieces ───┼─▶ worker ─┼──▶ in order ──▶ out
//!   1 MiB   └─▶ worker ─┘     a queue of answers, as long as there may be pieces at work
//! ```
//!
//! A piece becomes one or more gzip members (RFC 1952, section 2.2: a file is a sequence of them;
//! every reader of layers takes that, as estargz has been relying on). Blocks that cannot shrink
//! ([`density`]) are stored as they are.

mod density;

use density::{BLOCK_BYTES, Judge};
use libdeflater::{CompressionLvl, Compressor};
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Bytes that are compressed on their own. Part of what makes the digest of a layer.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that may be at work or waiting, for each worker: what bounds the memory.
const PIECES_PER_WORKER: usize = 2;
/// The most threads for one stream.
const MAX_WORKERS: usize = 8;
/// The most bytes of a stored block (RFC 1951, section 3.2.4).
const MAX_STORED: usize = 0xffff;
/// A member without name, time and flags, from no certain system (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A part of the stream, and what came of it. Used again and again: fresh memory costs as much as
/// packing what is dense.
#[derive(Default)]
struct Piece {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// What came of a piece.
type Done = io::Result<Piece>;
/// A piece, and where to say what came of it.
type Order = (Piece, SyncSender<Done>);

/// As many threads as a stream is worth here.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(MAX_WORKERS)
}

/// Compresses what `source` writes, at a level of 0 to 9.
pub(crate) fn compress<E: From<io::Error> + Send>(
    level: u8,
    workers: usize,
    out: &mut dyn Write,
    source: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send,
) -> Result<(), E> {
    let level = CompressionLvl::new(i32::from(level.min(9))).unwrap_or_default();
    let (orders, todo) = sync_channel::<Order>(workers);
    let (promise, promised) = sync_channel(workers * PIECES_PER_WORKER);
    let (used, spare) = channel();
    let todo = Mutex::new(todo);
    std::thread::scope(|scope| {
        let todo = &todo;
        for _ in 0..workers.max(1) {
            scope.spawn(move || work(todo, level));
        }
        let reading = scope.spawn(move || {
            let piece = Piece::default();
            let mut pieces = Pieces { orders, promise, spare, piece, sent: false };
            source(&mut pieces)?;
            Ok(pieces.end()?)
        });
        let written = write_in_order(&promised, &used, out);
        // The reader ends when nobody waits for its pieces, and the workers when it has ended.
        drop(promised);
        let gone = |_| Err(E::from(io::Error::other("the reading thread panicked")));
        let read: Result<(), E> = reading.join().unwrap_or_else(gone);
        written.map_err(E::from).and(read)
    })
}

/// Cuts a stream into pieces.
struct Pieces {
    orders: SyncSender<Order>,
    promise: SyncSender<Receiver<Done>>,
    spare: Receiver<Piece>,
    piece: Piece,
    sent: bool,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let (answer, promised) = sync_channel(1);
        let gone = io::ErrorKind::BrokenPipe;
        self.promise.send(promised).map_err(|_| gone)?;
        let next = self.spare.try_recv().unwrap_or_default();
        let piece = std::mem::replace(&mut self.piece, next);
        self.orders.send((piece, answer)).map_err(|_| gone)?;
        self.sent = true;
        Ok(())
    }

    /// The last piece; a stream of nothing has one, too.
    fn end(mut self) -> io::Result<()> {
        if self.sent && self.piece.plain.is_empty() { Ok(()) } else { self.send() }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let plain = &mut self.piece.plain;
        plain.reserve_exact(PIECE_BYTES - plain.len());
        let taken = bytes.len().min(PIECE_BYTES - plain.len());
        plain.extend_from_slice(&bytes[..taken]);
        if plain.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_in_order(
    promised: &Receiver<Receiver<Done>>,
    used: &Sender<Piece>,
    out: &mut dyn Write,
) -> io::Result<()> {
    while let Ok(done) = promised.recv() {
        let gone = |_| io::Error::other("a compressing thread ended");
        let mut piece = done.recv().map_err(gone)??;
        out.write_all(&piece.packed)?;
        piece.plain.clear();
        piece.packed.clear();
        // After its end the reader wants no more.
        let _ = used.send(piece);
    }
    Ok(())
}

fn work(todo: &Mutex<Receiver<Order>>, level: CompressionLvl) {
    let mut packer = Packer { deflate: Compressor::new(level), judge: Judge::new(), level };
    loop {
        let order = crate::store::lock(todo).recv();
        let Ok((mut piece, answer)) = order else { return };
        let packed = packer.pack(&piece.plain, &mut piece.packed);
        // Who does not wait any more has failed.
        let _ = answer.send(packed.map(|()| piece));
    }
}

/// Makes members of pieces.
struct Packer {
    deflate: Compressor,
    judge: Judge,
    level: CompressionLvl,
}

impl Packer {
    fn pack(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.reserve(plain.len() + plain.len() / 64);
        let mut rest = plain;
        loop {
            let (run, dense) = self.run(rest);
            if dense {
                store(out, run)
            } else {
                self.shrink(out, run)?
            }
            rest = &rest[run.len()..];
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// The blocks at the beginning that are of one kind, and whether they are dense.
    fn run<'a>(&mut self, piece: &'a [u8]) -> (&'a [u8], bool) {
        if self.level == CompressionLvl::new(0).unwrap_or_default() {
            return (piece, true);
        }
        let mut blocks = piece.chunks(BLOCK_BYTES);
        let Some(first) = blocks.next() else { return (piece, false) };
        let dense = self.judge.is_dense(first);
        let more = blocks.take_while(|block| self.judge.is_dense(block) == dense);
        let len = first.len() + more.map(<[u8]>::len).sum::<usize>();
        (&piece[..len], dense)
    }

    fn shrink(&mut self, out: &mut Vec<u8>, run: &[u8]) -> io::Result<()> {
        let at = out.len();
        out.resize(at + self.deflate.gzip_compress_bound(run.len()), 0);
        let size = self.deflate.gzip_compress(run, &mut out[at..]).map_err(io::Error::other)?;
        out.truncate(at + size);
        Ok(())
    }
}

/// A member of stored blocks.
fn store(out: &mut Vec<u8>, run: &[u8]) {
    out.extend(HEADER);
    let count = run.len().div_ceil(MAX_STORED).max(1);
    for number in 0..count {
        let block = &run[number * MAX_STORED..run.len().min((number + 1) * MAX_STORED)];
        // Never cut: a block has at most as many bytes as the field can say.
        let size = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(number + 1 == count));
        out.extend(size.to_le_bytes());
        out.extend((!size).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend(libdeflater::crc32(run).to_le_bytes());
    // Pieces are far smaller than what the field counts to.
    out.extend(u32::try_from(run.len()).unwrap_or(u32::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn gzip(data: &[u8], level: u8, workers: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let write = |to: &mut dyn Write| {
            // In uneven bits, as layers are written.
            data.chunks(70_001).try_for_each(|part| to.write_all(part))
        };
        compress::<io::Error>(level, workers, &mut out, write).unwrap();
        out
    }

    fn plain(packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut out).unwrap();
        out
    }

    /// Text, noise, text …, in stretches that do not end with blocks.
    fn mixed(len: usize) -> Vec<u8> {
        let mut noise = vec![0; len];
        getrandom::fill(&mut noise).unwrap();
        for (number, part) in noise.chunks_mut(150_000).enumerate() {
            if number % 2 == 0 {
                let text = b"a line of a program;\n".iter().cycle();
                part.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            }
        }
        noise
    }

    #[test]
    fn what_goes_in_comes_out_whatever_its_size() {
        for len in [0, 1, 4096, BLOCK_BYTES + 1, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 5]
        {
            for data in [vec![7; len], mixed(len)] {
                assert!(plain(&gzip(&data, 4, 3)) == data, "{len}");
            }
        }
    }

    #[test]
    fn the_number_of_processors_does_not_show() {
        let data = mixed(5 * PIECE_BYTES + 12345);
        for level in [1, 4] {
            let one = gzip(&data, level, 1);
            for workers in [2, 8] {
                assert!(gzip(&data, level, workers) == one, "level {level}, {workers} workers");
            }
        }
    }

    #[test]
    fn noise_costs_next_to_nothing_and_text_shrinks() {
        let data = mixed(6_000_000);
        let packed = gzip(&data, 4, 2);
        assert!(packed.len() > 3_000_000 && packed.len() < 3_250_000, "{}", packed.len());
        // Level 0 stores.
        let stored = gzip(&data, 0, 2);
        assert!(stored.len() >= data.len() && stored.len() < data.len() + 1000, "{}", stored.len());
        assert!(plain(&stored) == data);
        assert!(gzip(&b"ab".repeat(1 << 20), 9, 2).len() < 10_000);
    }

    #[test]
    fn a_writer_that_fails_ends_it_and_so_does_the_source() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let endless = |to: &mut dyn Write| loop {
            to.write_all(&[1; 4096])?;
        };
        let error = compress::<io::Error>(1, 2, &mut Full(3), endless).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let broken = |to: &mut dyn Write| {
            to.write_all(&vec![1; 3 << 20])?;
            Err(io::Error::from(io::ErrorKind::InvalidData))
        };
        let error = compress::<io::Error>(1, 2, &mut Vec::new(), broken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
