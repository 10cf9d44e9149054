//! A stream's plain bytes, decompressed by a process that can do nothing else, for those who read
//! on by themselves. The source is read by whoever reads this, no thread is needed: what the
//! decompressor takes and what it gives are waited for together.

use super::host::{Unpacker, Worker};
use super::patience::{self, Patience};
use super::pump::{self, MAX_PIECE};
use crate::error::{Act, Error, Result};
use crate::tar::limits::{MAX_RATIO, RATIO_GRACE_BYTES};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Plain bytes on their way from a decompressor.
pub(crate) struct Plain<R> {
    source: R,
    /// Where packed bytes go; nothing after the source's end.
    feed: Option<OwnedFd>,
    plain: OwnedFd,
    worker: Worker,
    /// Packed bytes that the decompressor has not taken yet.
    pending: Vec<u8>,
    at: usize,
    taken: u64,
    given: u64,
    patience: Patience,
    limit: Duration,
}

impl<R: Read> Plain<R> {
    /// `source` is compressed.
    pub(crate) fn new(unpacker: &Unpacker, source: R) -> Result<Self> {
        let (packed, feed) = pump::pipe()?;
        let (plain, out) = pump::pipe()?;
        let worker = unpacker.decompress(&packed, &out)?;
        rustix::io::ioctl_fionbio(&feed, true).act(|| "feed a decompressor".into())?;
        let (feed, pending) = (Some(feed), Vec::new());
        let limit = unpacker.limit;
        let patience = Patience::new(limit);
        let (at, taken, given) = (0, 0, 0);
        Ok(Self { source, feed, plain, worker, pending, at, taken, given, patience, limit })
    }

    /// Passes on what the decompressor takes now.
    fn feed(&mut self) -> io::Result<()> {
        if self.at == self.pending.len() {
            self.pending.resize(MAX_PIECE, 0);
            self.at = 0;
            let have = loop {
                match self.source.read(&mut self.pending) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => break done,
                }
            };
            self.pending.truncate(*have.as_ref().unwrap_or(&0));
            if have? == 0 {
                self.feed = None;
                return Ok(());
            }
        }
        let Some(feed) = &self.feed else { return Ok(()) };
        match rustix::io::write(feed, &self.pending[self.at..]) {
            Ok(done) => {
                self.at += done;
                self.taken += done as u64;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It wants no more, and says why.
            Err(Errno::PIPE) => self.feed = None,
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    fn end(&self) -> io::Result<usize> {
        if !self.worker.speaks(self.limit).map_err(Error::into_io)? {
            return Err(patience::hung(self.limit).into_io());
        }
        match pump::verdict(&self.worker, &mut 0) {
            Ok(()) => Ok(0),
            Err(Error::BadContent(why)) => Err(io::Error::new(io::ErrorKind::InvalidData, why)),
            Err(error) => Err(error.into_io()),
        }
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let mut polled = vec![PollFd::new(&self.plain, PollFlags::IN)];
            polled.extend(self.feed.iter().map(|feed| PollFd::new(feed, PollFlags::OUT)));
            let (tick, began) = (Timespec { tv_sec: 1, tv_nsec: 0 }, Instant::now());
            let ready = match poll(&mut polled, Some(&tick)) {
                Err(Errno::INTR) => continue,
                done => done?,
            };
            let passed = began.elapsed().min(2 * patience::TICK);
            if !self.patience.look(passed, self.taken + self.given, false) {
                return Err(patience::hung(self.limit).into_io());
            }
            if ready == 0 {
                continue;
            }
            if polled[0].revents().is_empty() {
                self.feed()?;
                continue;
            }
            let have = match rustix::io::read(&self.plain, &mut *buffer) {
                Ok(0) => return self.end(),
                Err(Errno::INTR) => continue,
                done => done?,
            };
            self.given += have as u64;
            let most = RATIO_GRACE_BYTES.saturating_add(self.taken.saturating_mul(MAX_RATIO));
            if self.given > most {
                let limit = format!("archive decompresses to more than {MAX_RATIO} times its size");
                return Err(Error::bad(limit).into_io());
            }
            return Ok(have);
        }
    }
}
