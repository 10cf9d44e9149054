//! Log lines on their way to receivers: syslog, the journal, Graylog, Fluentd, plugins.
//!
//! ```text
//!  monitor ──▶ <id>-json.log, .1.gz, … ──▶ one thread per receiver ──▶ receiver
//!              (written whatever happens)    │  ▲ where it is, kept beside the log
//!                                            └──┘
//! ```
//! The files are the buffer: a receiver that hangs or is away holds nobody up, neither the
//! container nor the other receivers, and gets what is still there when it comes back, also after
//! the daemon was restarted. What was delivered before a crash may come twice; nothing is skipped
//! unless the files were full.
//!
//! This module never knows how a container is run, and each receiver's module knows nothing but its
//! protocol.

mod connection;
mod fluentd;
mod gelf;
mod journald;
mod msgpack;
mod plugin;
mod syslog;

pub(crate) use plugin::CAPABILITY;

use crate::node::Node;
use crate::plugins::Plugins;
use crate::record::Definition;
use crate::{EngineError, Result};
use model::log::{LogSink, SinkKind};
use runtime::monitor::log::{self, Entry, Position, ReadOptions, Reader, Stop, Stream};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How many lines are delivered at once.
const BATCH: usize = 256;

/// The pauses before a receiver that failed is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long what is left is tried to be delivered once the container is over.
const AT_END: Duration = Duration::from_secs(60);

/// Stack of a thread that sends.
const STACK_BYTES: usize = 256 << 10;

/// Somebody who gets log lines.
trait Sink: Send {
    /// Delivers lines, in their order; all of them again after a failure.
    fn deliver(&mut self, entries: &[Entry]) -> io::Result<()>;
}

/// Whose lines they are: what receivers are told of the container.
#[derive(Clone, Debug)]
struct Origin {
    id: String,
    name: String,
    image: String,
    image_id: String,
    command: String,
    created_ns: i64,
    entrypoint: String,
    args: Vec<String>,
    env: Vec<String>,
    labels: std::collections::BTreeMap<String, String>,
    host: String,
    log_path: PathBuf,
}

impl Origin {
    fn of(definition: &Definition, log_path: &Path) -> Self {
        let spec = &definition.spec;
        let (program, args) = match spec.command.split_first() {
            Some((program, args)) => (program.clone(), args.to_vec()),
            None => Default::default(),
        };
        Self {
            id: definition.id.to_string(),
            name: definition.name.to_string(),
            image: definition.draft.image.clone(),
            image_id: spec.image.to_string(),
            command: spec.command.join(" "),
            created_ns: definition.created.0,
            entrypoint: program,
            args,
            env: spec.env.clone(),
            labels: spec.labels.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            log_path: log_path.to_owned(),
        }
    }
}

/// What a plugin is reached with.
struct Around {
    plugins: Arc<Plugins>,
    runtime: Handle,
    exec_root: PathBuf,
}

/// The receivers of one container's output. Dropped when the container's owner is: what is in
/// its log is still delivered.
#[derive(Debug)]
pub(crate) struct Shipping {
    stops: Vec<Stop>,
    abandoned: Arc<AtomicBool>,
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shipping {
    /// Begins to deliver the log at `path`, from where the last delivery was; nothing for a log
    /// that goes nowhere.
    pub(crate) fn begin(node: &Node, definition: &Definition, path: &Path) -> Result<Option<Self>> {
        let sinks = definition.spec.log.sinks();
        if sinks.is_empty() {
            return Ok(None);
        }
        let abandoned = Arc::new(AtomicBool::new(false));
        let mut shipping = Self { stops: Vec::new(), abandoned: Arc::clone(&abandoned) };
        for sink in sinks {
            let failed =
                |source| EngineError::io(format!("ship logs to {}", sink.kind.name()), source);
            let stop = Stop::new().map_err(failed)?;
            let route = Route {
                sink: sink.clone(),
                origin: Origin::of(definition, path),
                path: path.to_owned(),
                place: Place::new(path, sink.kind.name()),
                around: Around {
                    plugins: Arc::clone(&node.plugins),
                    runtime: Handle::current(),
                    exec_root: node.options.exec_root.clone(),
                },
                stop: stop.clone(),
                abandoned: Arc::clone(&abandoned),
            };
            let reader = route.reader().map_err(failed)?;
            let thread = std::thread::Builder::new().name("log".to_owned());
            thread.stack_size(STACK_BYTES).spawn(move || route.run(reader)).map_err(failed)?;
            shipping.stops.push(stop);
        }
        Ok(Some(shipping))
    }

    /// The container is over: what is in its log is delivered, and that is all.
    pub(crate) fn finish(&self) {
        self.stops.iter().for_each(Stop::stop);
    }

    /// The container is gone.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.finish();
    }
}

/// From one log to one receiver.
struct Route {
    sink: LogSink,
    origin: Origin,
    path: PathBuf,
    place: Place,
    around: Around,
    stop: Stop,
    abandoned: Arc<AtomicBool>,
}

impl Route {
    fn run(self, reader: Reader) {
        if let Err(error) = self.deliver_all(reader) {
            let receiver = self.sink.kind.name();
            tracing::warn!(container = %self.origin.id, receiver, %error, "ship logs");
        }
    }

    /// The log, opened: its files may be gone before the receiver is found, with a container that
    /// removes itself.
    fn reader(&self) -> io::Result<Reader> {
        let options = ReadOptions { follow: true, ..ReadOptions::default() };
        let stop = Some(self.stop.clone());
        match self.place.read() {
            Some(place) => log::read_from(&self.path, options, stop, place),
            None => log::read(&self.path, options, stop),
        }
    }

    fn deliver_all(&self, mut reader: Reader) -> io::Result<()> {
        let mut sink = self.open()?;
        let mut ended: Option<Instant> = None;
        while let Some(batch) = next_batch(&mut reader)? {
            if self.stop.is_given() {
                ended.get_or_insert_with(Instant::now);
            }
            if !self.insist(sink.as_mut(), &batch, &mut ended) {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "lines were left when the container was over",
                ));
            }
            if let Some(position) = reader.position() {
                self.place.write(position);
            }
        }
        Ok(())
    }

    /// Delivers until it is done; false when nobody waits for it any more.
    fn insist(&self, sink: &mut dyn Sink, batch: &[Entry], ended: &mut Option<Instant>) -> bool {
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            let Err(error) = sink.deliver(batch) else { return true };
            // What can be delivered at once is, from a container that is gone too.
            if self.abandoned.load(Ordering::Relaxed) {
                return false;
            }
            if !std::mem::replace(&mut told, true) {
                let receiver = self.sink.kind.name();
                tracing::warn!(container = %self.origin.id, receiver, %error, "deliver logs");
            }
            if self.stop.is_given() && ended.get_or_insert_with(Instant::now).elapsed() > AT_END {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn open(&self) -> io::Result<Box<dyn Sink>> {
        let (origin, sink) = (&self.origin, &self.sink);
        Ok(match &sink.kind {
            SinkKind::Syslog { address, facility, format } => {
                Box::new(syslog::Syslog::new(address, *facility, *format, &sink.tag, origin)?)
            }
            SinkKind::Journald => Box::new(journald::Journal::new(sink, origin)),
            SinkKind::Gelf { address, compression, level } => {
                Box::new(gelf::Gelf::new(address, *compression, *level, sink, origin)?)
            }
            SinkKind::Fluentd { address, sub_second, acknowledge } => {
                let form = fluentd::Form { sub_second: *sub_second, acknowledge: *acknowledge };
                Box::new(fluentd::Fluentd::new(address, form, sink, origin))
            }
            SinkKind::Plugin { name, options } => {
                Box::new(plugin::Remote::open(name, options, origin, &self.around)?)
            }
        })
    }
}

/// The next lines, without waiting for more than one; nothing at the end.
fn next_batch(reader: &mut Reader) -> io::Result<Option<Vec<Entry>>> {
    let Some(first) = reader.next() else { return Ok(None) };
    let mut batch = vec![first?];
    while batch.len() < BATCH && reader.has_more() {
        match reader.next() {
            Some(entry) => batch.push(entry?),
            None => break,
        }
    }
    Ok(Some(batch))
}

/// Where a receiver is in the log, in a file beside it.
struct Place(PathBuf);

impl Place {
    fn new(log: &Path, receiver: &str) -> Self {
        let name: String =
            receiver.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Self(log.with_file_name(format!("{name}.sent")))
    }

    fn read(&self) -> Option<Position> {
        let text = std::fs::read_to_string(&self.0).ok()?;
        let (file, offset) = text.trim().split_once(' ')?;
        Some(Position { file: file.parse().ok()?, offset: offset.parse().ok()? })
    }

    /// Half a number is none: the next reader begins at the oldest line then.
    fn write(&self, Position { file, offset }: Position) {
        // The container's directory may be gone already.
        let _ = std::fs::write(&self.0, format!("{file} {offset}\n"));
    }
}

/// RFC 3339 with nanoseconds.
fn rfc3339(time_ns: i64) -> String {
    let at = jiff::Timestamp::from_nanosecond(time_ns.into()).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()
}

/// RFC 5424's severity, section 6.2.1, as Docker assigns it: an error or for information.
fn severity(stream: Stream) -> u8 {
    match stream {
        Stream::Stderr => 3,
        Stream::Stdout => 6,
    }
}

/// A line without its end, and whether it goes on in another entry.
fn text(entry: &Entry) -> (&[u8], bool) {
    match entry.line.strip_suffix(b"\n") {
        Some(line) => (line, false),
        None => (&entry.line, true),
    }
}

#[cfg(test)]
mod tests;
