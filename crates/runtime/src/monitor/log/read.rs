//! Reads a container's log across its files: the last entries, a span of time, and on as the
//! monitor writes. Blocking; to be used on a thread of its own.
//!
//! ```text
//!   <path>.2   <path>.1   <path>              all opened at the beginning, oldest first, so that
//!   [.......]──[.......]──[.......] ─follow─▶  rotation takes none of them from under us
//! ```
//! A file that is put aside while it is followed is read to its end; the file after it is found by
//! where the one in hand has gone.

use super::entry::{Entry, Line, Parser};
use super::follow::{Follow, Stop};
use super::{compress, files, tail};
use rustix::buffer::spare_capacity;
use rustix::io::retry_on_intr;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How much is read at once.
const READ_BYTES: usize = 128 * 1024;

/// A line of a file beyond this is no entry, and is skipped.
const MAX_ENTRY_BYTES: usize = 1 << 20;

/// What of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Only the last so many entries of those that are there at the beginning. As with Docker,
    /// they are counted before the times are looked at.
    pub tail: Option<usize>,
    /// Only entries of this time or later; nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// Ends before the first entry later than this, and at this time when following.
    pub until_ns: Option<i64>,
    /// Goes on with what is written, until told to [`Stop`].
    pub follow: bool,
}

/// An iterator over a log's entries, oldest first. Lines that are no entries are skipped.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    options: ReadOptions,
    /// Files still to be read after the one in hand.
    later: VecDeque<OwnedFd>,
    current: Option<OwnedFd>,
    /// Which file that is, also when it was put aside or compressed.
    identity: Option<u64>,
    /// Where in the current file reading goes on.
    offset: u64,
    /// Where the newest file is taken to end.
    end: u64,
    buffer: Vec<u8>,
    /// What of `buffer` has been handed out.
    consumed: usize,
    parser: Parser,
    /// The line in `buffer` is too long and is dropped up to its end.
    skipping: bool,
    follow: Option<Follow>,
    done: bool,
}

/// Opens the log whose newest file is `path`. One that does not exist is empty. `stop` ends the
/// reading when the container has exited (or nobody listens any more): what is in the files by
/// then still comes.
///
/// # Errors
/// When a file cannot be opened or searched.
pub fn read(path: &Path, options: ReadOptions, stop: Option<Stop>) -> io::Result<Reader> {
    open(path, options, stop, None)
}

/// As [`read`], from where another reader was. When the file it was in is gone, everything that is
/// left is newer.
///
/// # Errors
/// As [`read`].
pub fn read_from(
    path: &Path,
    options: ReadOptions,
    stop: Option<Stop>,
    from: Position,
) -> io::Result<Reader> {
    open(path, options, stop, Some(from))
}

/// Where a reader is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which file, whatever its name.
    pub file: u64,
    /// How many of its bytes were read.
    pub offset: u64,
}

fn open(
    path: &Path,
    options: ReadOptions,
    stop: Option<Stop>,
    from: Option<Position>,
) -> io::Result<Reader> {
    // Watching begins before the files are opened: nothing falls between.
    let follow = if options.follow { Some(Follow::new(path, stop)?) } else { None };
    let files = files::open_all(path)?;
    let end = files.back().map_or(Ok(0), |newest| files::size(newest.as_fd()))?;
    start(path, options, follow, (files, end), from)
}

/// A reader of `files`, the newest of which is taken to end at `end` now.
fn start(
    path: &Path,
    options: ReadOptions,
    follow: Option<Follow>,
    (mut files, end): (VecDeque<OwnedFd>, u64),
    from: Option<Position>,
) -> io::Result<Reader> {
    let mut offset = 0;
    if let Some(count) = options.tail {
        let (skip, at) = tail::position(&files, end, count)?;
        files.drain(..skip);
        offset = at;
    }
    if let Some(from) = from {
        let place = files
            .iter()
            .rposition(|file| files::identity(file).is_ok_and(|identity| identity == from.file));
        if let Some(place) = place {
            files.drain(..place);
            offset = from.offset;
        }
    }
    let done = options.tail == Some(0) && !options.follow;
    let mut reader = Reader {
        path: path.into(),
        options,
        later: files,
        current: None,
        identity: None,
        offset: 0,
        // A writer that is faster than we are must not keep us here for ever.
        end: if follow.is_some() { u64::MAX } else { end },
        buffer: Vec::new(),
        consumed: 0,
        parser: Parser::default(),
        skipping: false,
        follow,
        done,
    };
    if let Some(first) = reader.later.pop_front() {
        reader.turn_to(first)?;
        reader.offset = offset;
    }
    Ok(reader)
}

impl Reader {
    /// Where the entry after the last one begins.
    pub fn position(&self) -> Option<Position> {
        let unread = (self.buffer.len() - self.consumed) as u64;
        Some(Position { file: self.identity?, offset: self.offset - unread })
    }

    /// Whether there is another entry without waiting for the file.
    pub fn has_more(&self) -> bool {
        super::escape::find_line_feed(&self.buffer[self.consumed..]).is_some()
    }
}

/// What is done with a line in the buffer.
enum Taken<'a> {
    /// It is wanted.
    Wanted(Line<'a>),
    /// It is no entry, or not of the wanted time.
    Passed,
    /// It is later than all that is wanted.
    Over,
}

impl Reader {
    /// Hands out the lines that are at hand, at least one; waits only when there is none. What is
    /// read of a file at once is handed out at once, without a copy for each line. False at the
    /// end.
    ///
    /// # Errors
    /// When a file cannot be read; there is nothing after that.
    pub fn next_lines(&mut self, mut each: impl FnMut(Line<'_>)) -> io::Result<bool> {
        let mut some = false;
        while !self.done {
            while let Some(line) = self.line() {
                match take(&mut self.parser, &self.options, &self.buffer[line]) {
                    Taken::Wanted(line) => {
                        some = true;
                        each(line);
                    }
                    Taken::Passed => {}
                    Taken::Over => self.done = true,
                }
                if self.done {
                    break;
                }
            }
            if some {
                return Ok(true);
            }
            self.refill()?;
        }
        Ok(some)
    }

    /// As [`Self::advance`], and notes the end.
    fn refill(&mut self) -> io::Result<()> {
        let more = self.done || self.advance().inspect_err(|_| self.done = true)?;
        self.done |= !more;
        Ok(())
    }
}

/// Reads one line and asks whether it is wanted.
fn take<'a>(parser: &'a mut Parser, options: &ReadOptions, text: &'a [u8]) -> Taken<'a> {
    match parser.parse(text) {
        None => Taken::Passed,
        Some(line) if options.since_ns.is_some_and(|since| line.time_ns < since) => Taken::Passed,
        Some(line) if options.until_ns.is_some_and(|until| line.time_ns > until) => Taken::Over,
        Some(line) => Taken::Wanted(line),
    }
}

impl Iterator for Reader {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            while let Some(line) = self.line() {
                match take(&mut self.parser, &self.options, &self.buffer[line]) {
                    Taken::Wanted(line) => return Some(Ok(line.to_entry())),
                    Taken::Passed => {}
                    Taken::Over => {
                        self.done = true;
                        return None;
                    }
                }
            }
            if let Err(error) = self.refill() {
                return Some(Err(error));
            }
        }
        None
    }
}

impl Reader {
    /// The next complete line in the buffer, without its line feed.
    fn line(&mut self) -> Option<std::ops::Range<usize>> {
        loop {
            let start = self.consumed;
            let end = start + super::escape::find_line_feed(&self.buffer[start..])?;
            self.consumed = end + 1;
            if !std::mem::take(&mut self.skipping) {
                return Some(start..end);
            }
        }
    }

    /// Gets more into the buffer: from this file, from the next one, or by waiting. False when
    /// there is no more.
    fn advance(&mut self) -> io::Result<bool> {
        if self.fill()? {
            return Ok(true);
        }
        if let Some(next) = self.later.pop_front() {
            self.turn_to(next)?;
            return Ok(true);
        }
        let Some(follow) = &mut self.follow else {
            return Ok(false);
        };
        // What is seen here happened before the next look at the file, or wakes the next wait.
        let stopped = follow.is_stopped();
        if let Some(next) = files::after(&self.path, self.identity)? {
            // The last words of the old file may have been written since it was at its end.
            if !self.fill()? {
                self.turn_to(next)?;
            }
            return Ok(true);
        }
        if self.fill()? {
            return Ok(true);
        }
        match &mut self.follow {
            Some(follow) if !stopped => follow.wait(self.options.until_ns),
            _ => Ok(false),
        }
    }

    /// Reads on in the current file; false at its end.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(file) = &self.current else {
            return Ok(false);
        };
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        if self.buffer.len() > MAX_ENTRY_BYTES {
            self.buffer.clear();
            self.skipping = true;
        }
        let end = if self.later.is_empty() { self.end } else { u64::MAX };
        let left = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let old = self.buffer.len();
        self.buffer.reserve(READ_BYTES);
        retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut self.buffer), self.offset))?;
        self.buffer.truncate(old.saturating_add(left));
        let length = self.buffer.len() - old;
        self.offset += length as u64;
        if length == 0 {
            self.rewind_if_cut()?;
        }
        Ok(length > 0)
    }

    /// Somebody may have emptied the file from outside.
    fn rewind_if_cut(&mut self) -> io::Result<()> {
        if let Some(file) = &self.current
            && files::size(file.as_fd())? < self.offset
        {
            self.offset = 0;
            self.buffer.clear();
            self.skipping = false;
        }
        Ok(())
    }

    fn turn_to(&mut self, file: OwnedFd) -> io::Result<()> {
        self.identity = Some(files::identity(&file)?);
        self.current = Some(match compress::is_compressed(file.as_fd()) {
            true => compress::expand(&file)?,
            false => file,
        });
        self.offset = 0;
        // Half an entry at a file's end stays half.
        self.buffer.clear();
        self.consumed = 0;
        self.skipping = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{JsonFile, LogConfig, LogWriter, Stream};
    use super::*;
    use std::time::Duration;

    struct Log {
        directory: tempfile::TempDir,
        writer: LogWriter,
    }

    impl Log {
        fn new(max_size: u64, max_file: u32) -> Self {
            Self::with(max_size, max_file, false)
        }

        fn with(max_size: u64, max_file: u32, compress: bool) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            let max_size = Some(max_size);
            let attrs = Default::default();
            let config = JsonFile { path, max_size, max_file, compress, attrs };
            let writer = LogWriter::open(&LogConfig::JsonFile(config)).unwrap();
            Self { directory, writer }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("log")
        }

        /// Writes one line for each number, at that second.
        fn write(&mut self, numbers: std::ops::Range<i64>) {
            for number in numbers {
                let line = format!("{number}\n");
                self.writer.write(Stream::Stdout, line.as_bytes(), number * 1_000_000_000);
            }
        }

        fn read(&self, options: ReadOptions) -> Vec<i64> {
            numbers(read(&self.path(), options, None).unwrap())
        }
    }

    fn numbers(reader: Reader) -> Vec<i64> {
        reader.map(|entry| number(&entry.unwrap())).collect()
    }

    fn number(entry: &Entry) -> i64 {
        let number = std::str::from_utf8(&entry.line).unwrap().trim_end().parse().unwrap();
        assert_eq!(entry.time_ns, number * 1_000_000_000);
        number
    }

    fn range(numbers: std::ops::Range<i64>) -> Vec<i64> {
        numbers.collect()
    }

    #[test]
    fn everything_across_files_oldest_first() {
        let mut log = Log::new(500, 4);
        assert_eq!(log.read(ReadOptions::default()), range(0..0));
        log.write(0..20);
        assert!(log.directory.path().join("log.2").exists());
        assert_eq!(log.read(ReadOptions::default()), range(0..20));
    }

    #[test]
    fn tails_of_every_length() {
        for total in [0, 1, 7, 20] {
            let mut log = Log::new(500, 10);
            log.write(0..total);
            for count in 0..22 {
                let tail = usize::try_from(count).unwrap();
                let options = ReadOptions { tail: Some(tail), ..ReadOptions::default() };
                assert_eq!(log.read(options), range((total - count).max(0)..total));
            }
        }
    }

    #[test]
    fn tails_over_many_blocks() {
        let mut log = Log::new(u64::MAX, 1);
        log.write(0..20_000);
        for count in [1, 999, 1000, 15_000, 20_000, 20_001] {
            let tail = usize::try_from(count).unwrap();
            let options = ReadOptions { tail: Some(tail), ..ReadOptions::default() };
            assert_eq!(log.read(options), range((20_000 - count).max(0)..20_000));
        }
    }

    #[test]
    fn times_bound_what_the_tail_leaves() {
        let mut log = Log::new(500, 10);
        log.write(0..20);
        let options = |tail, since: Option<i64>, until: Option<i64>| ReadOptions {
            tail,
            since_ns: since.map(|s| s * 1_000_000_000),
            until_ns: until.map(|s| s * 1_000_000_000),
            follow: false,
        };
        assert_eq!(log.read(options(None, Some(5), None)), range(5..20));
        assert_eq!(log.read(options(None, None, Some(5))), range(0..6));
        assert_eq!(log.read(options(None, Some(3), Some(5))), range(3..6));
        assert_eq!(log.read(options(Some(10), Some(5), Some(12))), range(10..13));
        assert_eq!(log.read(options(Some(2), None, Some(5))), range(0..0));
    }

    #[test]
    fn lines_at_hand_are_the_entries() {
        let mut log = Log::new(5000, 50);
        log.write(0..3000);
        let seconds = |s: i64| Some(s * 1_000_000_000);
        for (since_ns, until_ns) in [(None, None), (seconds(40), seconds(2000))] {
            let options = ReadOptions { since_ns, until_ns, ..ReadOptions::default() };
            let mut reader = read(&log.path(), options.clone(), None).unwrap();
            let (mut lines, mut turns) = (Vec::new(), 0);
            while reader.next_lines(|line| lines.push(number(&line.to_entry()))).unwrap() {
                turns += 1;
            }
            assert_eq!(lines, log.read(options));
            assert!(turns < lines.len() / 10, "{turns} turns");
        }
    }

    #[test]
    fn what_is_no_entry_is_skipped() {
        let mut log = Log::new(u64::MAX, 1);
        log.write(0..2);
        let path = log.path();
        let append = |bytes: &[u8]| {
            let mut file = std::fs::File::options().append(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, bytes).unwrap();
        };
        append(b"garbage\n\n{\"log\":\"half\n");
        append(&vec![b'x'; 3 * MAX_ENTRY_BYTES]);
        append(b"\n");
        log.writer.write(Stream::Stdout, b"2\n", 2_000_000_000);
        append(br#"{"log":"not yet whole"#);
        assert_eq!(log.read(ReadOptions::default()), range(0..3));
    }

    #[test]
    fn a_follower_loses_nothing_to_rotation() {
        for max_file in [1, 2, 5] {
            // Small enough to rotate some hundred times, large enough for a reader to keep up.
            let mut log = Log::new(100_000, max_file);
            log.write(0..100);
            let stop = Stop::new().unwrap();
            let options = ReadOptions { follow: true, ..ReadOptions::default() };
            let reader = read(&log.path(), options, Some(stop.clone())).unwrap();
            let seen = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
            let progress = seen.clone();
            let thread = std::thread::spawn(move || {
                let mut expected = 0;
                for entry in reader {
                    assert_eq!(number(&entry.unwrap()), expected);
                    expected += 1;
                    progress.store(expected, std::sync::atomic::Ordering::SeqCst);
                }
                expected
            });
            for start in (100..60_000).step_by(100) {
                log.write(start..start + 100);
                // Within one file of the writer: with `max_file` 1 there is no other.
                while start - seen.load(std::sync::atomic::Ordering::SeqCst) > 500 {
                    assert!(!thread.is_finished(), "the reader has failed");
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            stop.stop();
            assert_eq!(thread.join().unwrap(), 60_000, "max_file {max_file}");
        }
    }

    #[test]
    fn lines_written_while_a_log_is_opened_hide_none_before_them() {
        for (max_size, max_file) in [(u64::MAX, 1), (500, 10)] {
            let mut log = Log::new(max_size, max_file);
            log.write(0..20);
            let files = || {
                let files = files::open_all(&log.path()).unwrap();
                let end = files::size(files.back().unwrap().as_fd()).unwrap();
                (files, end)
            };
            let then: Vec<_> = (0..22).map(|tail| (tail, files())).collect();
            log.write(20..25);
            for (tail, files) in then {
                let options = ReadOptions {
                    tail: Some(usize::try_from(tail).unwrap()),
                    ..ReadOptions::default()
                };
                let reader = start(&log.path(), options, None, files, None).unwrap();
                assert_eq!(numbers(reader), range((20 - tail).max(0)..20));
            }
        }
    }

    #[test]
    fn whoever_reads_during_rotations_sees_a_piece_without_holes() {
        let mut log = Log::new(20_000, 5);
        let path = log.path();
        log.write(0..10);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for start in (10..60_000).step_by(10) {
                    log.write(start..start + 10);
                }
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                for tail in [None, Some(1), Some(700)] {
                    let options = ReadOptions { tail, ..ReadOptions::default() };
                    let seen = numbers(read(&path, options, None).unwrap());
                    let (first, last) = (seen[0], *seen.last().unwrap());
                    assert_eq!(seen, range(first..last + 1), "tail {tail:?}");
                }
            }
        });
    }

    #[test]
    fn files_put_aside_are_compressed_and_read_all_the_same() {
        // Many: a file that is not compressed before the next is put aside stays as it is.
        let mut log = Log::with(5000, 100, true);
        let stop = Stop::new().unwrap();
        let options = ReadOptions { follow: true, ..ReadOptions::default() };
        let follower = read(&log.path(), options, Some(stop.clone())).unwrap();
        let compressed = |log: &Log| {
            let entries = std::fs::read_dir(log.directory.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(".gz")).count()
        };
        let (mut last, mut places) = (0, Vec::new());
        while compressed(&log) < 3 {
            assert!(last < 7000, "files are not compressed");
            log.write(last..last + 40);
            last += 40;
            let mut reader = read(&log.path(), ReadOptions::default(), None).unwrap();
            let next = usize::try_from(last / 2).unwrap();
            assert_eq!(number(&reader.nth(next).unwrap().unwrap()), last / 2);
            places.push((last / 2 + 1, reader.position().unwrap()));
            // On a busy machine the compressor is late; one that never comes is given up.
            let begun = std::time::Instant::now();
            let plain = log.directory.path().join("log.1");
            while plain.exists() && begun.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(log.read(ReadOptions::default()), range(0..last));
        for tail in [1, 39, 80, 200] {
            let count = i64::try_from(tail).unwrap().min(last);
            let options = ReadOptions { tail: Some(tail), ..ReadOptions::default() };
            assert_eq!(log.read(options), range(last - count..last));
        }
        // Where a reader was is found again, whatever became of its file.
        for (next, place) in places {
            let reader = read_from(&log.path(), ReadOptions::default(), None, place).unwrap();
            assert_eq!(numbers(reader), range(next..last));
        }
        stop.stop();
        assert_eq!(numbers(follower), range(0..last));
    }

    #[test]
    fn a_follower_of_nothing_sees_the_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let stop = Stop::new().unwrap();
        let options = ReadOptions { follow: true, tail: Some(0), ..ReadOptions::default() };
        let mut reader = read(&path, options, Some(stop.clone())).unwrap();
        let attrs = Default::default();
        let config = JsonFile { path, max_size: None, max_file: 1, compress: false, attrs };
        let mut writer = LogWriter::open(&LogConfig::JsonFile(config)).unwrap();
        writer.write(Stream::Stderr, b"0\n", 0);
        assert_eq!(number(&reader.next().unwrap().unwrap()), 0);
        stop.stop();
        assert!(reader.next().is_none());
    }

    #[test]
    fn a_follower_sees_an_emptied_file_from_its_beginning() {
        let mut log = Log::new(u64::MAX, 1);
        log.write(0..10);
        let stop = Stop::new().unwrap();
        let options = ReadOptions { follow: true, ..ReadOptions::default() };
        let mut reader = read(&log.path(), options, Some(stop.clone())).unwrap();
        for expected in 0..10 {
            assert_eq!(number(&reader.next().unwrap().unwrap()), expected);
        }
        std::fs::File::options().write(true).open(log.path()).unwrap().set_len(0).unwrap();
        log.write(10..12);
        stop.stop();
        assert_eq!(numbers(reader), [10, 11]);
    }

    #[test]
    fn following_ends_at_its_time() {
        let mut log = Log::new(u64::MAX, 1);
        log.write(0..3);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let until = (now.tv_sec + 1) * 1_000_000_000;
        let options = ReadOptions { follow: true, until_ns: Some(until), ..ReadOptions::default() };
        assert_eq!(log.read(options), range(0..3));
    }
}
