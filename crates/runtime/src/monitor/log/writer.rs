//! Writes output as log entries: cuts it into lines, escapes them, rotates the files.
//!
//! Output arrives in batches, as large as one read; each batch leaves in as few writes as the
//! rotation allows and carries one time. Nothing is synced: what runs survives no power cut either.
//! An entry that cannot be written (a full disk) is lost and counted, never torn.

use super::compress::{Compressing, SUFFIX};
use super::escape::{escape, find_line_feed};
use super::{JsonFile, LogConfig, MAX_LINE_BYTES, Stream, time};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Encoded entries are written once this many bytes have come together.
const FLUSH_BYTES: usize = 64 * 1024;

const FILE_MODE: Mode = Mode::from_bits_truncate(0o640);

/// The writing end of a container's log.
#[derive(Debug)]
pub(in crate::monitor) struct LogWriter {
    files: Option<Files>,
    stdout: Pending,
    stderr: Pending,
    encoded: Vec<u8>,
    encoded_entries: u64,
    lost_entries: u64,
}

impl LogWriter {
    /// Opens the log's newest file, creating it if need be.
    pub(in crate::monitor) fn open(config: &LogConfig) -> io::Result<Self> {
        let (files, attrs) = match config {
            LogConfig::None => (None, String::new()),
            LogConfig::JsonFile(config) => {
                let attrs = match config.attrs.is_empty() {
                    true => String::new(),
                    false => serde_json::to_string(&config.attrs)?,
                };
                (Some(Files::open(config)?), attrs)
            }
        };
        Ok(Self {
            files,
            stdout: Pending::new(Stream::Stdout, &attrs),
            stderr: Pending::new(Stream::Stderr, &attrs),
            encoded: Vec::new(),
            encoded_entries: 0,
            lost_entries: 0,
        })
    }

    /// Logs a batch of output that was read at `now_ns`.
    pub(in crate::monitor) fn write(&mut self, stream: Stream, output: &[u8], now_ns: i64) {
        if self.files.is_none() {
            return;
        }
        self.pending(stream).set_time(now_ns);
        let mut rest = output;
        while !rest.is_empty() {
            rest = self.take(stream, rest, now_ns);
        }
        self.flush();
    }

    /// Logs what never ended in a line feed; there will be no more output.
    pub(in crate::monitor) fn finish(&mut self, now_ns: i64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = self.pending(stream);
            pending.set_time(now_ns);
            let line = std::mem::take(&mut pending.line);
            if !line.is_empty() {
                self.entry(stream, &line, false);
            }
        }
        self.flush();
    }

    /// How many entries could not be written.
    pub(in crate::monitor) fn lost_entries(&self) -> u64 {
        self.lost_entries
    }

    /// Looks after what goes on beside the writing.
    pub(in crate::monitor) fn tend(&mut self) {
        if let Some(files) = &mut self.files {
            files.compressing.take_if(Compressing::is_over);
        }
    }

    /// Gives back the memory that a burst of output has taken.
    pub(in crate::monitor) fn release_memory(&mut self) {
        self.encoded = Vec::new();
        for pending in [&mut self.stdout, &mut self.stderr] {
            pending.line.shrink_to_fit();
        }
    }

    /// Takes a line, or as much of one as there is or fits, off the front of `rest`.
    fn take<'a>(&mut self, stream: Stream, rest: &'a [u8], now_ns: i64) -> &'a [u8] {
        let pending = self.pending(stream);
        let room = MAX_LINE_BYTES - pending.line.len();
        match find_line_feed(&rest[..rest.len().min(room + 1)]) {
            Some(at) if pending.line.is_empty() => {
                self.entry(stream, &rest[..at], true);
                &rest[at + 1..]
            }
            Some(at) => {
                let mut line = std::mem::take(&mut pending.line);
                line.extend_from_slice(&rest[..at]);
                self.entry(stream, &line, true);
                line.clear();
                self.pending(stream).line = line;
                &rest[at + 1..]
            }
            None if rest.len() <= room => {
                pending.line.extend_from_slice(rest);
                &[]
            }
            None => {
                pending.begun_ns.get_or_insert(now_ns);
                let mut line = std::mem::take(&mut pending.line);
                line.extend_from_slice(&rest[..room]);
                let cut = character_boundary(&line, rest[room]);
                self.entry(stream, &line[..cut], false);
                line.drain(..cut);
                self.pending(stream).line = line;
                &rest[room..]
            }
        }
    }

    fn entry(&mut self, stream: Stream, line: &[u8], ended: bool) {
        let Some(files) = &mut self.files else {
            return;
        };
        if files.is_full(self.encoded.len()) {
            self.flush();
            if let Some(files) = &mut self.files {
                files.rotate();
            }
        }
        self.encoded.extend_from_slice(br#"{"log":""#);
        escape(&mut self.encoded, line);
        if ended {
            self.encoded.extend_from_slice(b"\\n");
        }
        let pending = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        match pending.begun_ns {
            None => self.encoded.extend_from_slice(&pending.tail),
            Some(begun_ns) => {
                self.encoded.extend_from_slice(&pending.tail[..pending.tail_fixed]);
                finish_tail(&mut self.encoded, begun_ns);
            }
        }
        if ended {
            pending.begun_ns = None;
        }
        self.encoded_entries += 1;
        if self.encoded.len() >= FLUSH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(files) = &mut self.files
            && !self.encoded.is_empty()
            && files.append(&self.encoded).is_err()
        {
            self.lost_entries += self.encoded_entries;
        }
        self.encoded.clear();
        self.encoded_entries = 0;
    }

    fn pending(&mut self, stream: Stream) -> &mut Pending {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// What one stream has in hand.
#[derive(Debug)]
struct Pending {
    /// The beginning of a line whose end has not been read; at most [`MAX_LINE_BYTES`].
    line: Vec<u8>,
    /// When a line that is being logged in pieces was begun: all its pieces carry that time.
    begun_ns: Option<i64>,
    /// What follows the line in an entry of the current batch.
    tail: Vec<u8>,
    /// How much of `tail` comes before the time.
    tail_fixed: usize,
}

impl Pending {
    fn new(stream: Stream, attrs: &str) -> Self {
        let mut tail = format!(r#"","stream":"{}","#, stream.name());
        if !attrs.is_empty() {
            tail.push_str(&format!(r#""attrs":{attrs},"#));
        }
        tail.push_str(r#""time":""#);
        let tail_fixed = tail.len();
        Self { line: Vec::new(), begun_ns: None, tail: tail.into_bytes(), tail_fixed }
    }

    fn set_time(&mut self, now_ns: i64) {
        self.tail.truncate(self.tail_fixed);
        finish_tail(&mut self.tail, now_ns);
    }
}

fn finish_tail(tail: &mut Vec<u8>, time_ns: i64) {
    time::write(tail, time_ns);
    tail.extend_from_slice(b"\"}\n");
}

/// Where to cut `line`, which `next` follows, so that no UTF-8 sequence is torn.
fn character_boundary(line: &[u8], next: u8) -> usize {
    let continues = |byte: u8| byte & 0xc0 == 0x80;
    if !continues(next) {
        return line.len();
    }
    let tail = line.iter().rev().take(3).take_while(|&&byte| continues(byte)).count() + 1;
    match line.len().checked_sub(tail) {
        Some(at) if tail <= 3 && line[at] >= 0xc0 => at,
        _ => line.len(),
    }
}

/// The log's files.
#[derive(Debug)]
struct Files {
    directory: OwnedFd,
    name: String,
    newest: OwnedFd,
    size: u64,
    max_size: u64,
    max_file: u32,
    compress: bool,
    compressing: Option<Compressing>,
}

impl Files {
    fn open(config: &JsonFile) -> io::Result<Self> {
        let name = config.path.file_name().and_then(std::ffi::OsStr::to_str);
        let name = name.ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = config.path.parent().filter(|path| !path.as_os_str().is_empty());
        let directory = rustix::fs::open(
            parent.unwrap_or(Path::new(".")),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let newest = open_file(&directory, &name, OFlags::empty())?;
        let mut files = Self {
            size: file_size(&newest)?,
            directory,
            name,
            newest,
            max_size: config.max_size.unwrap_or(u64::MAX),
            max_file: config.max_file.max(1),
            compress: config.compress,
            compressing: None,
        };
        files.end_torn_entry()?;
        Ok(files)
    }

    /// A monitor that was killed while it wrote may have left half an entry at the end.
    fn end_torn_entry(&mut self) -> io::Result<()> {
        let mut last = [b'\n'];
        if self.size > 0 {
            rustix::io::pread(&self.newest, &mut last, self.size - 1)?;
        }
        if last == *b"\n" { Ok(()) } else { Ok(self.append(b"\n")?) }
    }

    fn is_full(&self, unwritten: usize) -> bool {
        self.size + unwritten as u64 >= self.max_size
    }

    fn append(&mut self, bytes: &[u8]) -> rustix::io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::write(&self.newest, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(error) => {
                    // Better no entry than half of one.
                    let _ = rustix::fs::ftruncate(&self.newest, self.size);
                    return Err(error);
                }
            }
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Puts the newest file aside and begins another. The other exists before anything is
    /// renamed: when it cannot be had, the log stays in one piece and grows over its limit.
    fn rotate(&mut self) {
        // Somebody may have cut the file from outside; then it is not full after all.
        if let Ok(size) = file_size(&self.newest)
            && size < self.size
        {
            self.size = size;
            return;
        }
        // One that takes so long stays as it is.
        if let Some(compressing) = self.compressing.take() {
            compressing.give_up(self.directory.as_fd(), &self.aside(1));
        }
        let next = format!("{}.next", self.name);
        let Ok(file) = open_file(&self.directory, &next, OFlags::TRUNC) else {
            return;
        };
        for index in (1..self.max_file).rev() {
            let from = if index == 1 { self.name.clone() } else { self.aside(index - 1) };
            self.put_aside(&from, index);
        }
        if self.rename(&next, &self.name) {
            self.newest = file;
            self.size = 0;
        }
        if self.compress && self.max_file > 1 {
            self.compressing = Compressing::begin(self.directory.as_fd(), &self.aside(1));
        }
    }

    /// Moves the file `from`, plain or compressed, to its next place.
    fn put_aside(&self, from: &str, index: u32) {
        let to = self.aside(index);
        let (from_gz, to_gz) = (format!("{from}{SUFFIX}"), format!("{to}{SUFFIX}"));
        if index > 1 && self.rename(&from_gz, &to_gz) {
            // Whatever was compressed while its plain form could not be removed.
            self.remove(&to);
            self.remove(from);
        } else if self.rename(from, &to) {
            self.remove(&to_gz);
        }
    }

    fn remove(&self, name: &str) {
        // Mostly it is not there.
        let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
    }

    fn aside(&self, index: u32) -> String {
        format!("{}.{index}", self.name)
    }

    fn rename(&self, from: &str, to: &str) -> bool {
        rustix::fs::renameat(&self.directory, from, &self.directory, to).is_ok()
    }
}

fn open_file(directory: &OwnedFd, name: &str, more: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK;
    let file = rustix::fs::openat(directory, name, flags | more, FILE_MODE)?;
    // Whatever the umask.
    rustix::fs::fchmod(&file, FILE_MODE)?;
    Ok(file)
}

fn file_size(file: &OwnedFd) -> rustix::io::Result<u64> {
    let stat = rustix::fs::statat(file, c"", AtFlags::EMPTY_PATH)?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    struct Log {
        _directory: tempfile::TempDir,
        config: JsonFile,
    }

    impl Log {
        fn new(max_size: Option<u64>, max_file: u32) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("c-json.log");
            let attrs = BTreeMap::new();
            let config = JsonFile { path, max_size, max_file, compress: false, attrs };
            Self { _directory: directory, config }
        }

        fn writer(&self) -> LogWriter {
            LogWriter::open(&LogConfig::JsonFile(self.config.clone())).unwrap()
        }

        fn text(&self, suffix: &str) -> String {
            std::fs::read_to_string(format!("{}{suffix}", self.config.path.display())).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.config.path.parent().unwrap()).unwrap();
            let mut names: Vec<_> =
                entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn the_format_is_dockers() {
        let mut log = Log::new(None, 1);
        let mut writer = log.writer();
        writer.write(Stream::Stdout, b"hello\nwor", 1_500_000_000);
        writer.write(Stream::Stderr, b"\x1b[1m<err>\n", 2_000_000_001);
        writer.write(Stream::Stdout, b"ld\n\nno end", 3_000_000_000);
        writer.finish(4_000_000_000);
        let expected = concat!(
            r#"{"log":"hello\n","stream":"stdout","time":"1970-01-01T00:00:01.5Z"}"#,
            "\n",
            r#"{"log":"\u001b[1m\u003cerr\u003e\n","stream":"stderr","#,
            r#""time":"1970-01-01T00:00:02.000000001Z"}"#,
            "\n",
            r#"{"log":"world\n","stream":"stdout","time":"1970-01-01T00:00:03Z"}"#,
            "\n",
            r#"{"log":"\n","stream":"stdout","time":"1970-01-01T00:00:03Z"}"#,
            "\n",
            r#"{"log":"no end","stream":"stdout","time":"1970-01-01T00:00:04Z"}"#,
            "\n",
        );
        assert_eq!(log.text(""), expected);
        let mode = std::fs::metadata(&log.config.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);

        log.config.attrs = BTreeMap::from([("tag".into(), "a\"b".into())]);
        log.writer().write(Stream::Stdout, b"x\n", 0);
        let last = r#"{"log":"x\n","stream":"stdout","attrs":{"tag":"a\"b"},"#;
        let last = format!("{last}\"time\":\"1970-01-01T00:00:00Z\"}}\n");
        assert_eq!(log.text(""), expected.to_owned() + &last);
    }

    fn entries(text: &str) -> Vec<(String, String)> {
        text.lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                let field = |name: &str| value[name].as_str().unwrap().to_owned();
                (field("log"), field("time"))
            })
            .collect()
    }

    #[test]
    fn long_lines_come_in_pieces_of_one_time() {
        for length in [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 50_000] {
            for step in [1, 7, 4096, 65_536] {
                let log = Log::new(None, 1);
                let mut writer = log.writer();
                let line = "x".repeat(length) + "\nshort\n";
                for (now, batch) in (0..).zip(line.as_bytes().chunks(step)) {
                    writer.write(Stream::Stdout, batch, now);
                }
                let entries = entries(&log.text(""));
                let pieces: Vec<_> = entries.iter().map(|(text, _)| text.as_str()).collect();
                assert_eq!(pieces.concat(), line, "length {length}, step {step}");
                assert_eq!(pieces.len() - 1, length.div_ceil(MAX_LINE_BYTES));
                for piece in &pieces[..pieces.len() - 2] {
                    assert_eq!(piece.len(), MAX_LINE_BYTES);
                }
                for (_, time) in &entries[..entries.len() - 1] {
                    assert_eq!(time, &entries[0].1);
                }
            }
        }
    }

    #[test]
    fn pieces_and_batches_tear_no_character() {
        let line = format!("ab{}\n", "\u{20ac}\u{1f980}\u{e9}".repeat(8000));
        for step in [1, 5, 65_536] {
            let log = Log::new(None, 1);
            let mut writer = log.writer();
            for batch in line.as_bytes().chunks(step) {
                writer.write(Stream::Stdout, batch, 0);
            }
            let text: String = entries(&log.text("")).into_iter().map(|(text, _)| text).collect();
            assert!(text == line, "step {step}");
        }
        assert_eq!(character_boundary(b"\x80\x80\x80\x80", 0x80), 4);
        assert_eq!(character_boundary(b"a\xf0\x9f\xa6", 0x80), 1);
    }

    #[test]
    fn rotation_keeps_the_newest_files() {
        let log = Log::new(Some(200), 3);
        let mut writer = log.writer();
        for number in 0..20 {
            writer.write(Stream::Stdout, format!("line {number}\n").as_bytes(), 0);
        }
        assert_eq!(log.names(), ["c-json.log", "c-json.log.1", "c-json.log.2"]);
        let text = log.text(".2") + &log.text(".1") + &log.text("");
        let lines: Vec<_> = entries(&text).into_iter().map(|(text, _)| text).collect();
        assert_eq!(lines.last().unwrap(), "line 19\n");
        let first = 20 - lines.len();
        let expected: Vec<_> = (first..20).map(|number| format!("line {number}\n")).collect();
        assert_eq!(lines, expected);
        // Full means that the limit is reached or passed by one entry, as with Docker.
        assert!((200..300).contains(&log.text(".1").len()));
    }

    #[test]
    fn one_file_is_replaced_when_full() {
        let log = Log::new(Some(100), 1);
        let mut writer = log.writer();
        for number in 0..5 {
            writer.write(Stream::Stdout, format!("line {number}\n").as_bytes(), 0);
        }
        assert_eq!(log.names(), ["c-json.log"]);
        assert!(log.text("").ends_with("\"}\n") && log.text("").contains("line 4"));
    }

    #[test]
    fn a_torn_entry_does_not_spoil_the_next() {
        let log = Log::new(None, 1);
        std::fs::write(&log.config.path, r#"{"log":"half"#).unwrap();
        log.writer().write(Stream::Stdout, b"whole\n", 0);
        let text = log.text("");
        let (torn, whole) = text.split_once('\n').unwrap();
        assert_eq!(torn, r#"{"log":"half"#);
        assert_eq!(entries(whole)[0].0, "whole\n");
    }

    #[test]
    fn a_cut_file_is_filled_again_before_it_is_put_aside() {
        let log = Log::new(Some(500), 2);
        let mut writer = log.writer();
        for _ in 0..6 {
            writer.write(Stream::Stdout, b"line\n", 0);
        }
        std::fs::File::options().write(true).open(&log.config.path).unwrap().set_len(0).unwrap();
        for _ in 0..3 {
            writer.write(Stream::Stdout, b"after\n", 0);
        }
        assert_eq!(log.names(), ["c-json.log"]);
        assert_eq!(entries(&log.text("")).len(), 3);
    }
}
