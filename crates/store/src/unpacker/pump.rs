//! One archive's way through the processes: source, decompressor, hash, extractor, all at the same
//! time. Whoever fails ends the others by the pipe that breaks; the cause is told, not its echoes.

use super::host::{Begun, Granted, Unpacked, Unpacker, Worker};
use super::message::Said;
use super::patience::Watch;
use crate::compress;
use crate::error::{Act, Error, Result};
use crate::tar::extract::Extracted;
use crate::tar::limits::{MAX_RATIO, RATIO_GRACE_BYTES};
use model::Digest;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, tee};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes on their way between two processes: what an unprivileged user may have.
const PIPE_BYTES: usize = 1 << 20;
/// Bytes that are read or written at once.
pub(super) const MAX_PIECE: usize = 256 << 10;
/// Bytes that tell how a stream is compressed.
const HEAD: usize = 6;

/// One archive on its way.
pub(super) struct Job<'a> {
    pub(super) unpacker: &'a Unpacker,
    pub(super) begun: Begun,
    pub(super) granted: Granted<'a>,
}

/// The plain bytes that went to the extractor.
#[derive(Default)]
struct Passed {
    hash: Sha256,
    bytes: u64,
}

impl Job<'_> {
    /// Runs it; gives the most memory that any process of it took, too, KiB.
    pub(super) fn run(self, source: &mut dyn Read) -> (u64, Result<Unpacked>) {
        let mut peak_kib = 0;
        let done = self.run_noting(source, &mut peak_kib);
        (peak_kib, done)
    }

    fn run_noting(self, source: &mut dyn Read, peak_kib: &mut u64) -> Result<Unpacked> {
        let mut head = [0; HEAD];
        let filled = fill(source, &mut head)?;
        let mut source = head[..filled].chain(source);
        let Self { unpacker, begun: Begun { extractor, feed }, granted } = self;
        let watch = Watch::new(unpacker.limit);
        watch.over_worker(&extractor)?;
        let (passed, said) = std::thread::scope(|scope| {
            scope.spawn(|| watch.keep());
            let said = scope.spawn(|| granted.answer(&extractor.talk, &watch));
            let mut source = watch.source(&mut source);
            let passed = if compress::is_compressed(&head[..filled]) {
                decompressed(unpacker, &mut source, (feed, &watch), peak_kib)
            } else {
                hashed(&mut source, File::from(feed), &watch)
            };
            let said = join(said.join()).and_then(|said| extractor.wait().map(|()| said));
            watch.end();
            (passed, said)
        });
        let (passed, said) = (watch.verdict(passed), watch.verdict(said));
        *peak_kib = said.as_ref().map_or(0, Said::peak_kib).max(*peak_kib);
        // Without its end the archive is bad for the extractor too: what broke it off is the cause.
        let passed = passed?;
        match said? {
            Said::Done { entries, bytes, root, .. } => {
                let digest = Digest::sha256(passed.hash.finalize().into());
                Ok((Extracted { entries, bytes, root }, digest, passed.bytes))
            }
            Said::Failed { why, .. } => Err(why.into()),
            Said::Node { .. } | Said::Opaque { .. } => Err(Error::bad("the unpacker is confused")),
        }
    }
}

/// Through a decompressor.
fn decompressed(
    unpacker: &Unpacker,
    source: &mut dyn Read,
    (to_extractor, watch): (OwnedFd, &Watch),
    peak_kib: &mut u64,
) -> Result<Passed> {
    let (packed, to_decompressor) = pipe()?;
    let (plain, from_decompressor) = pipe()?;
    let decompressor = unpacker.decompress(&packed, &from_decompressor)?;
    watch.over_worker(&decompressor)?;
    drop((packed, from_decompressor));
    let taken = AtomicU64::new(0);
    let (fed, passed) = std::thread::scope(|scope| {
        let passed = scope.spawn(|| pass(plain, &to_extractor, (&taken, watch)));
        let fed = feed(source, File::from(to_decompressor), (&taken, watch));
        (fed, join(passed.join()))
    });
    // The extractor learns of the end only when all is known of it: dropped before, the pipe would
    // say that the archive ends here, whatever broke it off.
    let said = verdict(&decompressor, peak_kib);
    fed?;
    let passed = passed?;
    said?;
    drop(to_extractor);
    Ok(passed)
}

/// How a decompressor says it went.
pub(super) fn verdict(decompressor: &Worker, peak_kib: &mut u64) -> Result<()> {
    let said = super::message::receive::<Said>(&decompressor.talk)
        .act(|| "listen to a decompressor".into())?;
    match said {
        Some((Said::Done { peak_kib: took, .. }, _)) => {
            *peak_kib = took;
            Ok(())
        }
        Some((Said::Failed { why, peak_kib: took }, _)) => {
            *peak_kib = took;
            Err(why.into())
        }
        _ => Err(Error::bad("the decompressor died of the archive")),
    }
}

/// Gives the decompressor what it takes. One that does not take everything says why.
fn feed(source: &mut dyn Read, mut to: File, (taken, watch): (&AtomicU64, &Watch)) -> Result<()> {
    let mut buffer = vec![0; MAX_PIECE];
    loop {
        let have = some(source, &mut buffer)?;
        if have == 0 {
            return Ok(());
        }
        taken.fetch_add(have as u64, Ordering::Relaxed);
        match to.write_all(&buffer[..have]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            done => done.act(|| "feed a decompressor".into())?,
        }
        watch.moved(have as u64);
    }
}

/// Hashes plain bytes on their way from the decompressor to the extractor, who get the same pages.
fn pass(plain: OwnedFd, to: &OwnedFd, (taken, watch): (&AtomicU64, &Watch)) -> Result<Passed> {
    let passing = || "pass plain bytes on".to_owned();
    let mut plain = File::from(plain);
    let mut passed = Passed::default();
    let mut buffer = vec![0; MAX_PIECE];
    loop {
        let mut left = match tee(&plain, to, PIPE_BYTES, SpliceFlags::empty()) {
            Ok(0) => return Ok(passed),
            // The extractor has failed, and says why itself.
            Err(Errno::PIPE) => return Ok(passed),
            Err(Errno::INTR) => continue,
            done => done.act(passing)?,
        };
        while left > 0 {
            let want = left.min(MAX_PIECE);
            plain.read_exact(&mut buffer[..want]).act(passing)?;
            passed.take(&buffer[..want]);
            watch.moved(want as u64);
            left -= want;
        }
        let taken = taken.load(Ordering::Relaxed);
        if passed.bytes > RATIO_GRACE_BYTES.saturating_add(taken.saturating_mul(MAX_RATIO)) {
            let limit = format!("archive decompresses to more than {MAX_RATIO} times its size");
            return Err(Error::bad(limit));
        }
    }
}

/// Hashes a stream that is plain already.
fn hashed(source: &mut dyn Read, mut to: File, watch: &Watch) -> Result<Passed> {
    let mut passed = Passed::default();
    let mut buffer = vec![0; MAX_PIECE];
    loop {
        let have = some(source, &mut buffer)?;
        if have == 0 {
            return Ok(passed);
        }
        passed.take(&buffer[..have]);
        match to.write_all(&buffer[..have]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(passed),
            done => done.act(|| "feed an extractor".into())?,
        }
        watch.moved(have as u64);
    }
}

impl Passed {
    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

/// Reads something, or nothing at the end.
fn some(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map_err(crate::tar::reader::blame),
        }
    }
}

fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match some(source, &mut buffer[filled..])? {
            0 => break,
            have => filled += have,
        }
    }
    Ok(filled)
}

pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).act(|| "make a pipe".into())?;
    // Beyond the user's share it stays small, which is only slower.
    let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
    Ok((read, write))
}

fn join<T>(joined: std::thread::Result<Result<T>>) -> Result<T> {
    joined.unwrap_or_else(|_| Err(Error::Damaged("a thread for an archive panicked".into())))
}
