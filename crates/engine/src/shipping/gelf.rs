//! Graylog's extended log format (docs.graylog.org, "GELF"): JSON in UDP datagrams, compressed and
//! cut into chunks, or over TCP, each message ended by a NUL.

use super::connection::Connection;
use super::{Origin, Sink, severity, text};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use model::log::{GelfCompression, LogSink, SinkAddress};
use runtime::monitor::log::Entry;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Bytes of a message in one datagram: what fits an Ethernet frame with its headers.
const CHUNK_BYTES: usize = 1420 - CHUNK_HEADER_BYTES;

/// Magic, id of the message, number and count of the chunk.
const CHUNK_HEADER_BYTES: usize = 12;

/// Most chunks of one message.
const MAX_CHUNKS: usize = 128;

/// A Graylog input.
pub(super) struct Gelf {
    address: SinkAddress,
    connection: Option<Connection>,
    compression: GelfCompression,
    level: Compression,
    /// What every message says.
    fields: Map<String, Value>,
    /// Id of the next message in chunks.
    next_id: u64,
}

impl Gelf {
    /// An input at `address`; connected when there is something to say.
    pub(super) fn new(
        address: &SinkAddress,
        compression: GelfCompression,
        level: Option<u8>,
        sink: &LogSink,
        origin: &Origin,
    ) -> io::Result<Self> {
        let created = super::rfc3339(origin.created_ns);
        let mut fields = Map::new();
        for (name, value) in [
            ("version", "1.1"),
            ("host", &origin.host),
            ("_container_id", &origin.id),
            ("_container_name", &origin.name),
            ("_image_id", &origin.image_id),
            ("_image_name", &origin.image),
            ("_command", &origin.command),
            ("_tag", &sink.tag),
            ("_created", &created),
        ] {
            fields.insert(name.to_owned(), json!(value));
        }
        for (name, value) in &sink.attributes {
            fields.insert(format!("_{name}"), json!(value));
        }
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let level = level.map_or_else(Compression::fast, |level| Compression::new(level.into()));
        let (address, next_id) = (address.clone(), u64::from_ne_bytes(seed));
        Ok(Self { address, connection: None, compression, level, fields, next_id })
    }

    fn message(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut fields = self.fields.clone();
        let line = String::from_utf8_lossy(text(entry).0).into_owned();
        fields.insert("short_message".to_owned(), json!(line));
        // Seconds with milliseconds: what a float holds exactly enough.
        let millis = entry.time_ns.div_euclid(1_000_000);
        let time = format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
        let time: Value = serde_json::from_str(&time)?;
        fields.insert("timestamp".to_owned(), time);
        fields.insert("level".to_owned(), json!(severity(entry.stream)));
        Ok(serde_json::to_vec(&Value::Object(fields))?)
    }

    fn compressed(&self, message: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.compression {
            GelfCompression::None => Ok(message),
            GelfCompression::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), self.level);
                out.write_all(&message)?;
                out.finish()
            }
            GelfCompression::Zlib => {
                let mut out = ZlibEncoder::new(Vec::new(), self.level);
                out.write_all(&message)?;
                out.finish()
            }
        }
    }
}

impl Sink for Gelf {
    fn deliver(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address)?,
        };
        for entry in entries {
            // A line without anything is no message to Graylog.
            if text(entry).0.is_empty() {
                continue;
            }
            let mut message = self.message(entry)?;
            if !matches!(self.address, SinkAddress::Udp(_)) {
                message.push(0);
                connection.send(&message)?;
                continue;
            }
            let message = self.compressed(message)?;
            if message.len() <= CHUNK_BYTES + CHUNK_HEADER_BYTES {
                connection.send(&message)?;
                continue;
            }
            self.next_id = self.next_id.wrapping_add(1);
            for chunk in chunks(&message, self.next_id) {
                connection.send(&chunk)?;
            }
        }
        self.connection = Some(connection);
        Ok(())
    }
}

/// Cuts a message up; one that is too long for the protocol is not sent.
fn chunks(message: &[u8], id: u64) -> Vec<Vec<u8>> {
    let count = message.len().div_ceil(CHUNK_BYTES);
    let Some(total) = u8::try_from(count).ok().filter(|_| count <= MAX_CHUNKS) else {
        tracing::warn!(bytes = message.len(), "a log line is too long for GELF over UDP");
        return Vec::new();
    };
    let cut = |(number, part): (u8, &[u8])| {
        let mut chunk = vec![0x1e, 0x0f];
        chunk.extend(id.to_be_bytes());
        chunk.extend([number, total]);
        chunk.extend(part);
        chunk
    };
    (0..).zip(message.chunks(CHUNK_BYTES)).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_numbered_and_bounded() {
        let message: Vec<u8> = (0..4000_u32).flat_map(u32::to_le_bytes).collect();
        let all = chunks(&message, 7);
        let total = u8::try_from(all.len()).unwrap();
        for (number, chunk) in (0..).zip(&all) {
            assert!(chunk.len() <= 1420);
            assert_eq!(chunk[..12], [0x1e, 0x0f, 0, 0, 0, 0, 0, 0, 0, 7, number, total]);
        }
        let joined: Vec<u8> = all.iter().flat_map(|chunk| chunk[12..].to_vec()).collect();
        assert_eq!(joined, message);
        assert!(chunks(&vec![0; CHUNK_BYTES * 128 + 1], 7).is_empty());
    }
}
