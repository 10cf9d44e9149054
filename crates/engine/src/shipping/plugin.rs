//! Log plugins of Docker's protocol (docs.docker.com, "Docker log driver plugins"): the plugin
//! opens a FIFO that it is told of, and reads messages from it, each behind its length.

use super::{Around, Origin, Sink, text};
use crate::plugins::Plugin;
use runtime::monitor::log::{Entry, Stream};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What it must implement.
pub(crate) const CAPABILITY: &str = "LogDriver";

/// How long it may leave messages unread before the connection is taken for broken.
const STUCK: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Start<'a> {
    file: &'a Path,
    info: Info<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info<'a> {
    config: &'a BTreeMap<String, String>,
    #[serde(rename = "ContainerID")]
    container_id: &'a str,
    container_name: String,
    container_entrypoint: &'a str,
    container_args: &'a [String],
    #[serde(rename = "ContainerImageID")]
    container_image_id: &'a str,
    container_image_name: &'a str,
    container_created: String,
    container_env: &'a [String],
    container_labels: &'a BTreeMap<String, String>,
    log_path: &'a Path,
    daemon_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stop<'a> {
    file: &'a Path,
}

#[derive(Deserialize)]
struct Nothing {}

/// A plugin that was told to read.
pub(super) struct Remote {
    plugin: Arc<Plugin>,
    runtime: Handle,
    fifo: PathBuf,
    /// What the plugin calls it.
    told: PathBuf,
    file: File,
}

impl Remote {
    /// Finds the plugin and tells it of a FIFO below `exec_root`.
    pub(super) fn open(
        name: &str,
        options: &BTreeMap<String, String>,
        origin: &Origin,
        around: &Around,
    ) -> io::Result<Self> {
        let Around { plugins, runtime, exec_root } = around;
        let found = plugins.find_blocking(runtime, name, CAPABILITY);
        let plugin = found.map_err(io::Error::other)?;
        let logging = crate::managed::LOGGING;
        // One with a root of its own finds the pipe by another path.
        let scoped = plugin.scope().and_then(|scope| scope.find(logging));
        let (dir, shown) = match scoped {
            Some((dir, rest)) => (dir.join(rest), PathBuf::from(logging)),
            None => (exec_root.join("logging"), exec_root.join("logging")),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).map_err(io::Error::other)?;
        let name = format!("{:016x}", u64::from_ne_bytes(unique));
        let (fifo, told) = (dir.join(&name), shown.join(&name));
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o700))?;
        // Open for both: neither end waits for the other.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&fifo, flags, Mode::empty())?);
        let remote = Self { plugin, runtime: runtime.clone(), fifo, told, file };
        let start = Start {
            file: &remote.told,
            info: Info {
                config: options,
                container_id: &origin.id,
                container_name: format!("/{}", origin.name),
                container_entrypoint: &origin.entrypoint,
                container_args: &origin.args,
                container_image_id: &origin.image_id,
                container_image_name: &origin.image,
                container_created: super::rfc3339(origin.created_ns),
                container_env: &origin.env,
                container_labels: &origin.labels,
                log_path: &origin.log_path,
                daemon_name: "docker",
            },
        };
        remote.ask("LogDriver.StartLogging", &start)?;
        Ok(remote)
    }

    fn ask<Q: Serialize + Sync>(&self, method: &str, question: &Q) -> io::Result<()> {
        let asked = self.plugin.call_blocking::<Q, Nothing>(&self.runtime, method, question);
        asked.map(|Nothing {}| ()).map_err(io::Error::other)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let limit =
            Timespec { tv_sec: i64::try_from(STUCK.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
        match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&limit))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

impl Sink for Remote {
    fn deliver(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            self.write(&message(entry))?;
        }
        Ok(())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // What was written is in the pipe; the plugin reads it before it looks at anything else.
        let stop = Stop { file: &self.told };
        if let Err(error) = self.ask("LogDriver.StopLogging", &stop) {
            tracing::warn!(%error, "end a log plugin's stream");
        }
        let _ = std::fs::remove_file(&self.fifo);
    }
}

/// `LogEntry` of Docker's `entry.proto`: source, time, line, whether it goes on.
fn message(entry: &Entry) -> Vec<u8> {
    let (line, goes_on) = text(entry);
    let source: &[u8] = match entry.stream {
        Stream::Stdout => b"stdout",
        Stream::Stderr => b"stderr",
    };
    let mut body = Vec::with_capacity(line.len() + 32);
    bytes_field(&mut body, 1, source);
    body.push(2 << 3);
    varint(&mut body, u64::from_ne_bytes(entry.time_ns.to_ne_bytes()));
    bytes_field(&mut body, 3, line);
    if goes_on {
        body.extend([4 << 3, 1]);
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_protocol_buffers() {
        let entry = Entry {
            stream: Stream::Stderr,
            time_ns: 300,
            line: b"hi".to_vec(),
            attrs: BTreeMap::new(),
        };
        let want = b"\x00\x00\x00\x11\x0a\x06stderr\x10\xac\x02\x1a\x02hi\x20\x01";
        assert_eq!(message(&entry), want);
    }
}
