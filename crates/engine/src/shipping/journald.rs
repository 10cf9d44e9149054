//! systemd's journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): fields in a
//! datagram, or in sealed memory whose descriptor is sent when they are too many bytes.

use super::{Origin, Sink, severity, text};
use model::log::LogSink;
use runtime::monitor::log::Entry;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// How long the journal may leave a datagram waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// The journal.
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// What every entry says.
    fields: Vec<u8>,
    /// When delivery began; tells runs of numbers apart.
    ordinal: u64,
}

impl Journal {
    /// This machine's journal.
    pub(super) fn new(sink: &LogSink, origin: &Origin) -> Self {
        Self::at(SOCKET.into(), sink, origin)
    }

    /// A journal that listens at `path`.
    pub(super) fn at(path: PathBuf, sink: &LogSink, origin: &Origin) -> Self {
        let mut fields = Vec::new();
        let short = origin.id.get(..12).unwrap_or(&origin.id);
        for (name, value) in [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", &origin.id),
            ("CONTAINER_NAME", &origin.name),
            ("CONTAINER_TAG", &sink.tag),
            ("IMAGE_NAME", &origin.image),
            ("SYSLOG_IDENTIFIER", &sink.tag),
        ] {
            field(&mut fields, name, value.as_bytes());
        }
        for (name, value) in &sink.attributes {
            field(&mut fields, &field_name(name), value.as_bytes());
        }
        Self { path, socket: None, fields, ordinal: 0 }
    }

    fn message(&mut self, entry: &Entry) -> Vec<u8> {
        self.ordinal += 1;
        let mut out = self.fields.clone();
        let (line, goes_on) = text(entry);
        field(&mut out, "MESSAGE", line);
        field(&mut out, "PRIORITY", severity(entry.stream).to_string().as_bytes());
        field(&mut out, "SYSLOG_TIMESTAMP", super::rfc3339(entry.time_ns).as_bytes());
        field(&mut out, "CONTAINER_LOG_ORDINAL", self.ordinal.to_string().as_bytes());
        if goes_on {
            field(&mut out, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        out
    }
}

impl Sink for Journal {
    fn deliver(&mut self, entries: &[Entry]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket
            }
        };
        for entry in entries {
            let message = self.message(entry);
            match socket.send(&message) {
                Err(error) if too_long(&error) => send_memory(&socket, &message)?,
                sent => drop(sent?),
            }
        }
        self.socket = Some(socket);
        Ok(())
    }
}

fn too_long(error: &io::Error) -> bool {
    let codes = [Errno::MSGSIZE, Errno::NOBUFS].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

fn send_memory(socket: &UnixDatagram, message: &[u8]) -> io::Result<()> {
    let memory = runtime::sealed_data(c"journal", message)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [memory.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let nothing = [IoSlice::new(&[])];
    rustix::net::sendmsg(socket, &nothing, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// `NAME=value`, or with a length where the value has line feeds.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A name that the journal takes: capitals, digits and underscores, a letter first.
fn field_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(plain).collect();
    name.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).chars().take(64).collect()
}
