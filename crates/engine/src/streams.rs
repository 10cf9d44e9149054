//! The streams that cross the engine's border: a client's socket handed over whole, archives in
//! chunks, log lines. This module never reads or writes them.

use crate::Result;
use bytes::Bytes;
use model::Timestamp;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use tokio::sync::mpsc;

/// Bytes in chunks, ended by the sender's drop; an error is the last item.
pub type ByteStream = mpsc::Receiver<Result<Bytes>>;

/// How many chunks wait in a [`ByteStream`].
pub const STREAM_DEPTH: usize = 8;

/// A client's connection, given away: who holds it answers on it.
#[derive(Debug)]
pub struct ClientStream {
    /// The socket to the client; the head of the answer is already written.
    pub fd: OwnedFd,
    /// What was already read from it beyond the request.
    pub read_ahead: Bytes,
}

/// Which streams of a container a client wants, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// What the client sends becomes standard input.
    pub stdin: bool,
    /// The client receives standard output (with a terminal: everything).
    pub stdout: bool,
    /// The client receives standard error.
    pub stderr: bool,
    /// First what was logged so far.
    pub logs: bool,
    /// Then what is written from now on.
    pub stream: bool,
    /// Key sequence that detaches (`ctrl-p,ctrl-q`); empty for the default.
    pub detach_keys: String,
    /// Output in Docker's frames; ignored with a terminal.
    pub framed: bool,
}

/// How output reaches a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// As it is: there is a terminal.
    Raw,
    /// In Docker's frames, eight bytes of head each.
    Framed,
}

/// Which lines of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Lines of standard output.
    pub stdout: bool,
    /// Lines of standard error.
    pub stderr: bool,
    /// Stay and wait for more.
    pub follow: bool,
    /// Not before, ns since the epoch.
    pub since_ns: Option<i64>,
    /// Not after, ns since the epoch.
    pub until_ns: Option<i64>,
    /// Only the last so many lines.
    pub tail: Option<u64>,
}

/// One line of a log, for whoever writes it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Where it was written.
    pub stream: Stream,
    /// When, ns since the epoch.
    pub time_ns: i64,
    /// The line with its newline, if it had one.
    pub line: &'a [u8],
    /// Attributes logged with it (`--log-opt labels=…`).
    pub attributes: &'a BTreeMap<String, String>,
}

/// An output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is known of a path in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// Last component.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode` bits.
    pub mode: u32,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Where a symbolic link leads; empty otherwise.
    pub link_target: String,
}

/// How an archive is unpacked into a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchivePut {
    /// Refuse to replace a directory by something else, or the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything becomes the container's user's, where it has one, instead of staying the
    /// archive's owners'. Docker's rule, whatever the name says.
    pub copy_uidgid: bool,
}

/// Processes of a container as `ps` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Column heads.
    pub titles: Vec<String>,
    /// One row per process.
    pub processes: Vec<Vec<String>>,
}

/// A path that differs from the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute path in the container.
    pub path: String,
    /// How it differs.
    pub kind: ChangeKind,
}

/// How a path differs from the image; the numbers are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// Changed.
    Modified = 0,
    /// New.
    Added = 1,
    /// Gone.
    Deleted = 2,
}

/// Progress of loading an archive of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadProgress {
    /// A layer is being unpacked.
    Layer {
        /// Its digest.
        id: String,
        /// Bytes taken in.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An image is there.
    Loaded {
        /// A familiar `name:tag`, or the image's id when it has none.
        reference: String,
    },
}
