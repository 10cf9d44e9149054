//! How long an unpacker may do nothing. One that was taken over could hold its archive for ever;
//! one that is honest always takes or gives bytes, or asks, unless the source has none for it.
//!
//! The time that the source keeps everybody waiting does not count, and it is not enough to move a
//! byte now and then.

use super::host::Worker;
use crate::error::{Act, Error, Result};
use crate::store::lock;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long it may take to move [`LEAST_BYTES`]. Only removing what an archive replaces takes an
/// honest one any time without a byte, and a disk that slow is out of order.
pub(super) const LIMIT: Duration = Duration::from_secs(180);
/// What counts as having done something.
const LEAST_BYTES: u64 = 64 << 10;
/// What a question is worth: the header of the entry that it is about.
pub(super) const QUESTION_BYTES: u64 = 512;
/// Time between two looks.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// How long nothing worth mentioning has moved. Pure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    limit: Duration,
    idle: Duration,
    moved: u64,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, idle: Duration::ZERO, moved: 0 }
    }

    /// `passed` is the time since the last look, `moved` all bytes so far, `excused` whether the
    /// source was waited for. Whether to wait on.
    pub(super) fn look(&mut self, passed: Duration, moved: u64, excused: bool) -> bool {
        if moved.saturating_sub(self.moved) >= LEAST_BYTES {
            (self.moved, self.idle) = (moved, Duration::ZERO);
        } else if !excused {
            self.idle += passed;
        }
        self.idle < self.limit
    }
}

/// What is seen of one archive's way, by those who carry it and by who watches them.
pub(super) struct Watch {
    limit: Duration,
    moved: AtomicU64,
    excused: AtomicBool,
    workers: Mutex<Vec<OwnedFd>>,
    over: (Mutex<bool>, Condvar),
    given_up: AtomicBool,
}

impl Watch {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            moved: AtomicU64::new(0),
            excused: AtomicBool::new(false),
            workers: Mutex::default(),
            over: Default::default(),
            given_up: AtomicBool::new(false),
        }
    }

    /// Who is ended when patience is.
    pub(super) fn over_worker(&self, worker: &Worker) -> Result<()> {
        let process = worker.process().try_clone_to_owned();
        lock(&self.workers).push(process.act(|| "watch an unpacker".into())?);
        Ok(())
    }

    /// Something moved.
    pub(super) fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The source, whose slowness is nobody's fault here.
    pub(super) fn source<'a>(&'a self, source: &'a mut dyn Read) -> impl Read + 'a {
        Excusing { source, watch: self }
    }

    /// Watches until [`Self::end`], and ends the workers when nothing moves.
    pub(super) fn keep(&self) {
        let (mut patience, mut last) = (Patience::new(self.limit), Instant::now());
        let mut over = lock(&self.over.0);
        loop {
            let waited = self.over.1.wait_timeout(over, TICK.min(self.limit));
            over = waited.unwrap_or_else(PoisonError::into_inner).0;
            if *over {
                return;
            }
            // What stopped the whole machine stopped the unpackers, too.
            let passed = last.elapsed().min(2 * TICK);
            last = Instant::now();
            let moved = self.moved.load(Ordering::Relaxed);
            if !patience.look(passed, moved, self.excused.load(Ordering::Relaxed)) {
                self.given_up.store(true, Ordering::Relaxed);
                for worker in lock(&self.workers).iter() {
                    // It may just have ended.
                    let _ = sys::process::send_signal(worker.as_fd(), libc::SIGKILL);
                }
                return;
            }
        }
    }

    /// All has ended.
    pub(super) fn end(&self) {
        *lock(&self.over.0) = true;
        self.over.1.notify_all();
    }

    /// The outcome, or that it was given up: what broke by that is an echo.
    pub(super) fn verdict<T>(&self, outcome: Result<T>) -> Result<T> {
        if self.given_up.load(Ordering::Relaxed) { Err(hung(self.limit)) } else { outcome }
    }
}

/// What is said of an unpacker that was ended.
pub(super) fn hung(limit: Duration) -> Error {
    let seconds = limit.as_secs();
    Error::bad(format!("the unpacker got stuck with the archive, and was ended after {seconds} s"))
}

struct Excusing<'a> {
    source: &'a mut dyn Read,
    watch: &'a Watch,
}

impl Read for Excusing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.excused.store(true, Ordering::Relaxed);
        let have = self.source.read(buffer);
        self.watch.excused.store(false, Ordering::Relaxed);
        have
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn patience_ends_when_nothing_moves() {
        let mut patience = Patience::new(3 * SECOND);
        assert!(patience.look(SECOND, 0, false) && patience.look(SECOND, 0, false));
        assert!(!patience.look(SECOND, 0, false));
    }

    #[test]
    fn what_moves_is_waited_for_and_a_trickle_is_not() {
        let mut patience = Patience::new(3 * SECOND);
        for second in 1..1000 {
            assert!(patience.look(SECOND, second * LEAST_BYTES, false), "{second}");
        }
        let so_far = 999 * LEAST_BYTES;
        let trickle = (1..10).take_while(|n| patience.look(SECOND, so_far + n, false)).count();
        assert_eq!(trickle, 2);
    }

    #[test]
    fn the_source_s_slowness_is_excused() {
        let mut patience = Patience::new(3 * SECOND);
        assert!((0..1000).all(|_| patience.look(SECOND, 0, true)));
        // What was used up before is still used up after.
        assert!(patience.look(2 * SECOND, 0, false) && patience.look(SECOND, 0, true));
        assert!(!patience.look(SECOND, 0, false));
    }
}
