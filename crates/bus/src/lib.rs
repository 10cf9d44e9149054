//! As much of D-Bus as calling methods takes (D-Bus specification 0.43: "Message Protocol",
//! "Authentication Protocol"): one connection, one call at a time. Knows nothing of who is called:
//! firewalld and systemd are their callers' affair. Own rather than a crate: a few hundred bytes
//! are said to two services, and every crate that can say them brings an async runtime or libdbus.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest answer that is read, bytes.
const MESSAGE_MAX: usize = 1 << 20;
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
/// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A value of an argument.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `s`
    Text(&'a str),
    /// `b`
    Truth(bool),
    /// `i`
    Number(i32),
    /// `au`
    Numbers(&'a [u32]),
    /// `as`
    Texts(&'a [&'a str]),
    /// `a{sv}`
    Map(&'a [(&'a str, Value<'a>)]),
    /// `a(sv)`: what systemd takes properties as.
    Pairs(&'a [(&'a str, Value<'a>)]),
    /// `a(sa(sv))`, empty.
    NoUnits,
}

impl Value<'_> {
    fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Truth(_) => "b",
            Self::Number(_) => "i",
            Self::Numbers(_) => "au",
            Self::Texts(_) => "as",
            Self::Map(_) => "a{sv}",
            Self::Pairs(_) => "a(sv)",
            Self::NoUnits => "a(sa(sv))",
        }
    }
}

/// Whom to call.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    /// The name of the service; empty where the peer is no bus but the service itself.
    pub service: &'a str,
    /// The object's path.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method's name.
    pub name: &'a str,
}

/// What came back: the body of an answer, or the message of a refusal.
#[derive(Debug)]
pub enum Answer {
    /// Its bytes, in this host's byte order.
    Body(Vec<u8>),
    /// The name of the error and its message.
    Refused(String),
}

/// A connection to a bus, or to a service that listens itself.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    /// Connects to a bus as the user that this process is.
    ///
    /// # Errors
    /// As connect(2); and when the bus does not know this user.
    pub fn connect(socket: &Path) -> Result<Self> {
        let mut bus = Self::connect_peer(socket)?;
        bus.call_bus("Hello", &[])?;
        Ok(bus)
    }

    /// Connects to a service that listens itself.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub fn connect_peer(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self { stream, serial: 0 };
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        if !bus.line()?.starts_with("OK ") {
            return Err(Error::new(ErrorKind::PermissionDenied, "the bus does not know us"));
        }
        bus.stream.write_all(b"BEGIN\r\n")?;
        Ok(bus)
    }

    /// Whether somebody has this name now.
    ///
    /// # Errors
    /// When the bus cannot be asked.
    pub fn has(&mut self, service: &str) -> Result<bool> {
        match self.call_bus("NameHasOwner", &[Value::Text(service)])? {
            Answer::Body(body) => Ok(body.first() == Some(&1)),
            Answer::Refused(_) => Ok(false),
        }
    }

    fn call_bus(&mut self, name: &str, arguments: &[Value<'_>]) -> Result<Answer> {
        let service = "org.freedesktop.DBus";
        let path = "/org/freedesktop/DBus";
        self.call(Method { service, path, interface: service, name }, arguments)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < 512 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// When nothing comes back within twenty seconds, or nothing that is D-Bus. What the service
    /// refuses is an [`Answer`].
    pub fn call(&mut self, method: Method<'_>, arguments: &[Value<'_>]) -> Result<Answer> {
        self.serial += 1;
        let message = encode(method, arguments, self.serial);
        self.stream.write_all(&message)?;
        loop {
            let mut head = [0; 16];
            self.stream.read_exact(&mut head)?;
            let nonsense = || Error::new(ErrorKind::InvalidData, "the bus talks nonsense");
            let read = Reader { bytes: &head, big: head[0] == b'B' };
            let body_len = read.number(4).ok_or_else(nonsense)? as usize;
            let fields_len = read.number(12).ok_or_else(nonsense)? as usize;
            let rest = fields_len.next_multiple_of(8).saturating_add(body_len);
            if rest > MESSAGE_MAX {
                return Err(nonsense());
            }
            let mut bytes = vec![0; rest];
            self.stream.read_exact(&mut bytes)?;
            let whole = Reader { bytes: &bytes, big: read.big };
            let fields = whole.fields(fields_len).ok_or_else(nonsense)?;
            // Signals, and answers to what was given up, are passed over.
            if fields.answers != Some(self.serial) {
                continue;
            }
            let body = bytes.split_off(fields_len.next_multiple_of(8));
            match head[1] {
                METHOD_RETURN => return Ok(Answer::Body(body)),
                ERROR => {
                    let said = Reader { bytes: &body, big: read.big }.text(0);
                    let said = said.map(|(text, _)| text).unwrap_or_default();
                    let why = format!("{} {said}", fields.error.unwrap_or_default());
                    return Ok(Answer::Refused(why.trim().to_owned()));
                }
                _ => {}
            }
        }
    }
}

/// The texts of an answer that is `as`.
#[must_use]
pub fn texts(body: &[u8]) -> Vec<String> {
    // Answers come in the byte order of who answers, which is this host's.
    let read = Reader { bytes: body, big: cfg!(target_endian = "big") };
    let mut found = Vec::new();
    let end = read.number(0).map_or(0, |len| 4 + len as usize).min(body.len());
    let mut at = 4;
    while at < end {
        let Some((text, next)) = read.text(at) else { break };
        found.push(text);
        at = next.next_multiple_of(4);
    }
    found
}

fn encode(method: Method<'_>, arguments: &[Value<'_>], serial: u32) -> Vec<u8> {
    let mut body = Writer::default();
    arguments.iter().for_each(|value| body.value(value));
    let signature: String = arguments.iter().map(Value::signature).collect();
    let mut out = Writer::default();
    out.0.extend([b'l', METHOD_CALL, 0, 1]);
    out.number(u32::try_from(body.0.len()).unwrap_or(u32::MAX));
    out.number(serial);
    let fields = [
        (PATH, "o", method.path),
        (DESTINATION, "s", method.service),
        (INTERFACE, "s", method.interface),
        (MEMBER, "s", method.name),
        (SIGNATURE, "g", &signature),
    ];
    out.sized(8, |out| {
        for (code, kind, text) in fields {
            if matches!(code, SIGNATURE | DESTINATION) && text.is_empty() {
                continue;
            }
            out.align(8);
            out.0.push(code);
            out.short_text(kind);
            match kind {
                "g" => out.short_text(text),
                _ => out.text(text),
            }
        }
    });
    out.align(8);
    out.0.extend(body.0);
    out.0
}

/// Bytes being written, little-endian.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// A signature: its length is one byte.
    fn short_text(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// An array of elements with this alignment: its length counts from the first of them.
    fn sized(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.number(0);
        let slot = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        write(self);
        let len = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[slot..slot + 4].copy_from_slice(&len.to_le_bytes());
    }

    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Truth(truth) => self.number(u32::from(*truth)),
            Value::Number(number) => self.number(number.cast_unsigned()),
            Value::Numbers(numbers) => {
                self.sized(4, |out| numbers.iter().for_each(|number| out.number(*number)));
            }
            Value::NoUnits => self.sized(8, |_| {}),
            Value::Texts(texts) => {
                self.sized(4, |out| texts.iter().for_each(|text| out.text(text)));
            }
            Value::Map(entries) | Value::Pairs(entries) => self.sized(8, |out| {
                for (key, value) in *entries {
                    out.align(8);
                    out.text(key);
                    out.short_text(value.signature());
                    out.value(value);
                }
            }),
        }
    }
}

/// What the header of an answer says.
#[derive(Default)]
struct HeaderFields {
    answers: Option<u32>,
    error: Option<String>,
}

/// Bytes being read.
struct Reader<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Reader<'_> {
    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// A text and where it ends.
    fn text(&self, at: usize) -> Option<(String, usize)> {
        let at = at.next_multiple_of(4);
        let len = self.number(at)? as usize;
        let text = self.bytes.get(at + 4..(at + 4).checked_add(len)?)?;
        Some((String::from_utf8_lossy(text).into_owned(), at + 4 + len + 1))
    }

    /// Header fields in the first `len` bytes; those of other kinds than the known are strings,
    /// numbers or signatures.
    fn fields(&self, len: usize) -> Option<HeaderFields> {
        let mut fields = HeaderFields::default();
        let mut at = 0;
        while at < len {
            at = at.next_multiple_of(8);
            let code = *self.bytes.get(at)?;
            let kind = *self.bytes.get(at + 2)?;
            at += 4;
            match kind {
                b'u' => {
                    at = at.next_multiple_of(4);
                    let number = self.number(at)?;
                    if code == REPLY_SERIAL {
                        fields.answers = Some(number);
                    }
                    at += 4;
                }
                b'g' => at += usize::from(*self.bytes.get(at)?) + 2,
                b's' | b'o' => {
                    let (text, end) = self.text(at)?;
                    if code == ERROR_NAME {
                        fields.error = Some(text);
                    }
                    at = end;
                }
                _ => return None,
            }
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_written_as_specified() {
        let method = Method { service: "a.b", path: "/", interface: "c.d", name: "E" };
        let message = encode(method, &[Value::Text("x")], 7);
        assert_eq!(message[..8], [b'l', 1, 0, 1, 6, 0, 0, 0]);
        assert_eq!(message[8..12], [7, 0, 0, 0]);
        assert_eq!(message[16..24], [PATH, 1, b'o', 0, 1, 0, 0, 0]);
        assert!(message.ends_with(&[1, 0, 0, 0, b'x', 0]));
        assert_eq!((message.len() - 6) % 8, 0, "the body is aligned");
    }

    #[test]
    fn maps_and_lists_are_aligned() {
        let mut out = Writer::default();
        out.value(&Value::Map(&[("k", Value::Texts(&["v"])), ("n", Value::Number(-1))]));
        let want = [
            40, 0, 0, 0, 0, 0, 0, 0, // length, padding
            1, 0, 0, 0, b'k', 0, 2, b'a', b's', 0, 0, 0, // key, signature
            6, 0, 0, 0, 1, 0, 0, 0, b'v', 0, 0, 0, // list
            1, 0, 0, 0, b'n', 0, 1, b'i', 0, 0, 0, 0, 255, 255, 255, 255,
        ];
        assert_eq!(out.0, want);
    }

    #[test]
    fn properties_of_units_are_written_as_specified() {
        let mut out = Writer::default();
        out.value(&Value::Pairs(&[("D", Value::Truth(true)), ("P", Value::Numbers(&[7]))]));
        out.value(&Value::NoUnits);
        let want = [
            36, 0, 0, 0, 0, 0, 0, 0, // length, padding
            1, 0, 0, 0, b'D', 0, 1, b'b', 0, 0, 0, 0, 1, 0, 0, 0, // the first
            1, 0, 0, 0, b'P', 0, 2, b'a', b'u', 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, // the second
            0, 0, 0, 0, // no units
        ];
        assert_eq!(out.0, want);
        assert_eq!(Value::Pairs(&[]).signature(), "a(sv)");
    }

    #[test]
    fn answers_are_read_and_nonsense_is_not() {
        let mut body = Writer::default();
        body.value(&Value::Texts(&["public", "docker"]));
        assert_eq!(texts(&body.0), ["public", "docker"]);
        for len in 0..body.0.len() {
            let _ = texts(&body.0[..len]);
            let _ = Reader { bytes: &body.0[..len], big: false }.fields(len);
        }
        let mut fields = Writer::default();
        fields.0.extend([REPLY_SERIAL, 1, b'u', 0]);
        fields.number(9);
        fields.0.extend([ERROR_NAME, 1, b's', 0]);
        fields.text("e.f");
        let read = Reader { bytes: &fields.0, big: false }.fields(fields.0.len()).unwrap();
        assert_eq!((read.answers, read.error.as_deref()), (Some(9), Some("e.f")));
    }
}
