//! The container's log: Docker's `json-file` format, written by the monitor and read by the
//! daemon. It knows bytes, streams and times, and nothing of containers.
//!
//! ```text
//!  {"log":"line\n","stream":"stdout","attrs":{…},"time":"2006-01-02T15:04:05.999999999Z"}
//!
//!  <path>        the newest entries, appended to
//!  <path>.1      the entries before those
//!  <path>.n      the oldest, n < max_file; `<path>.n.gz` once it is compressed
//! ```
//! A line longer than [`MAX_LINE_BYTES`] becomes several entries, of which only the last ends in
//! a line feed.

mod compress;
mod entry;
mod escape;
mod files;
mod follow;
mod read;
mod tail;
mod time;
mod writer;

pub use entry::{Entry, Line};
pub use follow::Stop;
pub use read::{Position, ReadOptions, Reader, read, read_from};
pub(super) use writer::LogWriter;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Longest piece of a line in one entry, the line feed not counted; Docker's own number.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Where a container's output is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "kebab-case")]
pub enum LogConfig {
    /// Nowhere: only attached clients see it.
    #[default]
    None,
    /// In files.
    JsonFile(JsonFile),
}

/// The `json-file` driver's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFile {
    /// The newest file; its directory exists.
    pub path: PathBuf,
    /// A file is put aside once it has this many bytes; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// How many files there are at most, the newest included; at least 1.
    #[serde(default = "one")]
    pub max_file: u32,
    /// Files put aside are compressed, as `<path>.n.gz`.
    #[serde(default)]
    pub compress: bool,
    /// Repeated in every entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// Which of its two outputs a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output; a terminal's whole output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name that entries carry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}
