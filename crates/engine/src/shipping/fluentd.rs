//! Fluentd's forward protocol, specification v1, in forward mode: one array of entries at a time.

use super::connection::Connection;
use super::msgpack::Writer;
use super::{Origin, Sink, text};
use model::log::{LogSink, SinkAddress};
use runtime::monitor::log::{Entry, Stream};
use std::io::{self, Read};

/// Longest answer to a batch.
const MAX_ACK_BYTES: usize = 256;

/// How entries are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Times have nanoseconds.
    pub(super) sub_second: bool,
    /// Every batch is acknowledged.
    pub(super) acknowledge: bool,
}

/// A Fluentd daemon.
pub(super) struct Fluentd {
    address: SinkAddress,
    connection: Option<Connection>,
    form: Form,
    tag: String,
    /// What every record says.
    fields: Vec<(String, String)>,
    batch: u64,
}

impl Fluentd {
    /// A daemon at `address`; connected when there is something to say.
    pub(super) fn new(address: &SinkAddress, form: Form, sink: &LogSink, origin: &Origin) -> Self {
        let mut fields = vec![
            ("container_id".to_owned(), origin.id.clone()),
            ("container_name".to_owned(), format!("/{}", origin.name)),
        ];
        fields.extend(sink.attributes.clone());
        let (address, tag) = (address.clone(), sink.tag.clone());
        Self { address, connection: None, form, tag, fields, batch: 0 }
    }

    fn message(&self, entries: &[Entry], chunk: Option<&str>) -> Vec<u8> {
        let mut out = Writer::default();
        out.array(if chunk.is_some() { 3 } else { 2 });
        out.text(self.tag.as_bytes());
        out.array(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        for entry in entries {
            out.array(2);
            let seconds = entry.time_ns.div_euclid(1_000_000_000);
            let nanos = entry.time_ns.rem_euclid(1_000_000_000);
            match (self.form.sub_second, u32::try_from(seconds), u32::try_from(nanos)) {
                (true, Ok(seconds), Ok(nanos)) => out.event_time(seconds, nanos),
                _ => out.integer(seconds),
            }
            let (line, goes_on) = text(entry);
            let source = match entry.stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let own: u32 = if goes_on { 3 } else { 2 };
            out.map(own + u32::try_from(self.fields.len()).unwrap_or(0));
            for (name, value) in &self.fields {
                out.text(name.as_bytes());
                out.text(value.as_bytes());
            }
            out.text(b"source");
            out.text(source.as_bytes());
            out.text(b"log");
            out.text(line);
            if goes_on {
                out.text(b"partial_message");
                out.text(b"true");
            }
        }
        if let Some(chunk) = chunk {
            out.map(1);
            out.text(b"chunk");
            out.text(chunk.as_bytes());
        }
        out.0
    }
}

impl Sink for Fluentd {
    fn deliver(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address)?,
        };
        self.batch += 1;
        let chunk = self.form.acknowledge.then(|| format!("{}-{}", std::process::id(), self.batch));
        connection.send(&self.message(entries, chunk.as_deref()))?;
        if let Some(chunk) = chunk {
            await_ack(&mut connection, &chunk)?;
        }
        self.connection = Some(connection);
        Ok(())
    }
}

/// Waits for `{"ack": chunk}`.
fn await_ack(connection: &mut Connection, chunk: &str) -> io::Result<()> {
    let Connection::Stream(stream) = connection else {
        return Err(io::Error::other("acknowledgements need a stream"));
    };
    let mut want = Writer::default();
    want.map(1);
    want.text(b"ack");
    want.text(chunk.as_bytes());
    let mut have = Vec::new();
    let mut byte = [0];
    while have.len() < MAX_ACK_BYTES {
        stream.read_exact(&mut byte)?;
        have.push(byte[0]);
        if have == want.0 {
            return Ok(());
        }
    }
    Err(io::Error::other("the batch was not acknowledged"))
}
