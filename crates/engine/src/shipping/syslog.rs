//! Syslog: RFC 3164, RFC 5424, and the form that local programs use.

use super::connection::Connection;
use super::{Origin, Sink, severity, text};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::log::{SinkAddress, SyslogFormat};
use runtime::monitor::log::Entry;
use std::io;

/// A syslog daemon.
pub(super) struct Syslog {
    address: SinkAddress,
    connection: Option<Connection>,
    header: Header,
}

/// What every message begins with, but for its severity and time.
struct Header {
    facility: u8,
    format: SyslogFormat,
    tag: String,
    host: String,
    pid: u32,
    /// RFC 5425: messages are counted, not ended by a line feed.
    counted: bool,
}

impl Syslog {
    /// A daemon at `address`; connected when there is something to say.
    pub(super) fn new(
        address: &SinkAddress,
        facility: u8,
        format: SyslogFormat,
        tag: &str,
        origin: &Origin,
    ) -> io::Result<Self> {
        let rfc5424 = matches!(format, SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro);
        let header = Header {
            facility,
            format,
            tag: tag.chars().filter(|c| !c.is_control()).collect(),
            host: origin.host.clone(),
            pid: std::process::id(),
            counted: rfc5424 && matches!(address, SinkAddress::Tls { .. }),
        };
        Ok(Self { address: address.clone(), connection: None, header })
    }
}

impl Sink for Syslog {
    fn deliver(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address)?,
        };
        for entry in entries {
            connection.send(&self.header.message(entry))?;
        }
        self.connection = Some(connection);
        Ok(())
    }
}

impl Header {
    fn message(&self, entry: &Entry) -> Vec<u8> {
        let Self { facility, tag, host, pid, .. } = self;
        let priority = u32::from(*facility) * 8 + u32::from(severity(entry.stream));
        let at = Timestamp::from_nanosecond(entry.time_ns.into()).unwrap_or_default();
        let time = |form: &str| at.to_zoned(TimeZone::UTC).strftime(form).to_string();
        let mut message = match self.format {
            SyslogFormat::Local => {
                format!("<{priority}>{} {tag}[{pid}]: ", time("%b %e %H:%M:%S"))
            }
            SyslogFormat::Rfc3164 => {
                format!("<{priority}>{} {host} {tag}[{pid}]: ", time("%b %e %H:%M:%S"))
            }
            SyslogFormat::Rfc5424 => {
                let time = time("%Y-%m-%dT%H:%M:%SZ");
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
            SyslogFormat::Rfc5424Micro => {
                let time = time("%Y-%m-%dT%H:%M:%S%.6fZ");
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
        }
        .into_bytes();
        message.extend_from_slice(text(entry).0);
        if self.counted {
            let mut counted = format!("{} ", message.len()).into_bytes();
            counted.append(&mut message);
            return counted;
        }
        message.push(b'\n');
        message
    }
}
