//! One line of a log file as an [`Entry`]. Pure.
//!
//! What the monitor wrote is read by hand, field after field in the order it writes them;
//! anything else that is still a `json-file` entry (another order, other escapes) goes through a
//! JSON parser.

use super::escape::find_quote_or_backslash;
use super::{Stream, time};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One entry: a line of output, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it was written.
    pub stream: Stream,
    /// When it was read from the container, in nanoseconds since 1970.
    pub time_ns: i64,
    /// The bytes, valid UTF-8. Without a line feed at the end, the line goes on in this stream's
    /// next entry, or the container ended without one.
    pub line: Vec<u8>,
    /// The attributes that the log was configured with.
    pub attrs: BTreeMap<String, String>,
}

/// An entry as it is at hand: its bytes are its reader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// As [`Entry::stream`].
    pub stream: Stream,
    /// As [`Entry::time_ns`].
    pub time_ns: i64,
    /// As [`Entry::line`].
    pub line: &'a [u8],
    /// As [`Entry::attrs`].
    pub attrs: &'a BTreeMap<String, String>,
}

impl Line<'_> {
    pub(super) fn to_entry(self) -> Entry {
        let (stream, time_ns) = (self.stream, self.time_ns);
        Entry { stream, time_ns, line: self.line.to_vec(), attrs: self.attrs.clone() }
    }
}

/// Reads entries one after the other. What most have in common with the one before (all that were
/// written together have one time, and all of a log the same attributes) is not read again.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line in hand, its escapes resolved.
    line: Vec<u8>,
    time_text: Vec<u8>,
    time_ns: i64,
    attrs_text: Vec<u8>,
    attrs: BTreeMap<String, String>,
}

/// What stands between a line's string and its attributes or time.
const STREAM: &[u8] = br#","stream":"std"#;

impl Parser {
    /// Reads one entry; `None` if it is none.
    pub(super) fn parse(&mut self, text: &[u8]) -> Option<Line<'_>> {
        let (stream, time_ns) = match self.parse_known(text) {
            Some(known) => known,
            None => self.parse_any(text)?,
        };
        Some(Line { stream, time_ns, line: &self.line, attrs: &self.attrs })
    }

    fn parse_known(&mut self, text: &[u8]) -> Option<(Stream, i64)> {
        let rest = text.strip_prefix(br#"{"log":""#)?;
        self.line.clear();
        let rest = unescape(rest, &mut self.line)?.strip_prefix(STREAM)?;
        let (stream, rest) = match rest {
            [b'o', b'u', b't', b'"', b',', rest @ ..] => (Stream::Stdout, rest),
            [b'e', b'r', b'r', b'"', b',', rest @ ..] => (Stream::Stderr, rest),
            _ => return None,
        };
        let rest = match rest.strip_prefix(br#""attrs":"#) {
            Some(rest) => self.skip_attrs(rest)?,
            None => {
                self.attrs_text.clear();
                self.attrs.clear();
                rest
            }
        };
        let time = rest.strip_prefix(br#""time":""#)?.strip_suffix(br#""}"#)?;
        if time != self.time_text {
            self.time_ns = time::parse(time)?;
            self.time_text.clear();
            self.time_text.extend_from_slice(time);
        }
        Some((stream, self.time_ns))
    }

    /// What follows the attributes that `text` begins with, and the comma after them.
    fn skip_attrs<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(rest) = text.strip_prefix(&*self.attrs_text)
            && !self.attrs_text.is_empty()
        {
            return Some(rest);
        }
        let mut values = serde_json::Deserializer::from_slice(text).into_iter();
        self.attrs_text.clear();
        self.attrs = values.next()?.ok()?;
        let rest = text.get(values.byte_offset()..)?.strip_prefix(b",")?;
        self.attrs_text.extend_from_slice(&text[..text.len() - rest.len()]);
        Some(rest)
    }

    fn parse_any(&mut self, text: &[u8]) -> Option<(Stream, i64)> {
        let entry: AnyEntry = serde_json::from_slice(text).ok()?;
        let time_ns = time::parse(entry.time.as_bytes())?;
        self.attrs_text.clear();
        self.attrs = entry.attrs;
        self.line.clear();
        self.line.extend_from_slice(entry.log.as_bytes());
        Some((entry.stream, time_ns))
    }
}

/// Appends the string that `text` begins with to `out`, up to its closing quote, and returns
/// what follows the quote.
fn unescape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        let plain = find_quote_or_backslash(rest)?;
        out.extend_from_slice(&rest[..plain]);
        rest = match &rest[plain..] {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'n', rest @ ..] => push(out, b'\n', rest),
            [b'\\', b'r', rest @ ..] => push(out, b'\r', rest),
            [b'\\', byte @ (b'"' | b'\\' | b'/'), rest @ ..] => push(out, *byte, rest),
            [b'\\', b'u', a, b, c, d, rest @ ..] => {
                let code = [a, b, c, d].into_iter().try_fold(0, |code, digit| {
                    Some(code << 4 | char::from(*digit).to_digit(16)?)
                })?;
                // A surrogate is no character: the parser behind us puts pairs together.
                let mut buffer = [0; 4];
                let character = char::from_u32(code)?.encode_utf8(&mut buffer);
                out.extend_from_slice(character.as_bytes());
                rest
            }
            _ => return None,
        };
    }
}

fn push<'a>(out: &mut Vec<u8>, byte: u8, rest: &'a [u8]) -> &'a [u8] {
    out.push(byte);
    rest
}

#[derive(Deserialize)]
struct AnyEntry {
    #[serde(default)]
    log: String,
    stream: Stream,
    time: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::super::escape::escape;
    use super::*;

    fn known(text: &[u8]) -> Option<Entry> {
        let mut parser = Parser::default();
        let (stream, time_ns) = parser.parse_known(text)?;
        Some(Entry { stream, time_ns, line: parser.line, attrs: parser.attrs })
    }

    fn any(text: &[u8]) -> Option<Entry> {
        let mut parser = Parser::default();
        let (stream, time_ns) = parser.parse_any(text)?;
        Some(Entry { stream, time_ns, line: parser.line, attrs: parser.attrs })
    }

    fn parse(text: &[u8]) -> Option<Entry> {
        Parser::default().parse(text).map(Line::to_entry)
    }

    #[test]
    fn reads_what_is_written() {
        let text = "plain \"quoted\" \\ \t<&>\u{2028} gr\u{fc}\u{df}e \u{1f980}\r\n";
        let mut written = br#"{"log":""#.to_vec();
        escape(&mut written, text.as_bytes());
        let bare = [&written[..], br#"","stream":"stderr","time":"1970-01-01T00:00:01.5Z"}"#];
        let written = bare.concat();
        let entry = known(&written).unwrap();
        assert_eq!(String::from_utf8(entry.line.clone()).unwrap(), text);
        assert_eq!((entry.stream, entry.time_ns), (Stream::Stderr, 1_500_000_000));
        assert_eq!(any(&written).unwrap(), entry);
    }

    #[test]
    fn nothing_of_one_entry_is_left_in_the_next() {
        let entry = |log: &str, attrs: &str, time: &str| {
            format!(r#"{{"log":"{log}","stream":"stdout",{attrs}"time":"1970-01-01T{time}Z"}}"#)
        };
        let one = r#""attrs":{"a":"1"},"#;
        let longer = r#""attrs":{"a":"1","b":"}\",2"},"#;
        let texts = [
            entry("long line", one, "00:00:01"),
            entry("x", one, "00:00:01"),
            entry("x", longer, "00:00:01"),
            entry("y", one, "00:00:02"),
            entry("y", "", "00:00:02"),
            r#"{"stream":"stderr","log":"z","attrs":{"c":"3"},"time":"1970-01-01T00:00:03Z"}"#
                .into(),
            entry("half", r#""attrs":{"a":"#, "00:00:02"),
            entry("y", "", "00:00:04"),
            entry("y", longer, "00:00:04"),
        ];
        let mut parser = Parser::default();
        for text in &texts {
            let alone = any(text.as_bytes());
            assert_eq!(parser.parse(text.as_bytes()).map(Line::to_entry), alone, "{text}");
        }
        assert_eq!(known(texts[2].as_bytes()), any(texts[2].as_bytes()));
    }

    #[test]
    fn reads_what_others_write() {
        let check = |text: &str, line: &str| {
            assert_eq!(known(text.as_bytes()), None);
            let entry = parse(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(entry.line).unwrap(), line);
        };
        check(
            r#"{"log":"\ud83e\udd80","stream":"stdout","time":"1970-01-01T00:00:01Z"}"#,
            "\u{1f980}",
        );
        check(r#"{"log":"\tx","stream":"stdout","time":"1970-01-01T00:00:01Z"}"#, "\tx");
        check(r#"{"stream":"stdout","time":"1970-01-01T00:00:01Z"}"#, "");
        check(
            r#"{ "time": "1970-01-01T00:00:01Z", "stream": "stdout", "log": "x", "new": [1] }"#,
            "x",
        );
        let attrs = r#"{"log":"x\n","stream":"stdout","attrs":{"tag":"t"},"time":"#;
        let entry = parse(format!("{attrs}\"1970-01-01T00:00:01Z\"}}").as_bytes()).unwrap();
        assert_eq!(entry.attrs["tag"], "t");
    }

    #[test]
    fn nonsense_is_no_entry() {
        for text in [
            "",
            "{}",
            "null",
            r#"{"log":"x"#,
            r#"{"log":"x","stream":"stdin","time":"1970-01-01T00:00:01Z"}"#,
            r#"{"log":"x","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"\ud83e","stream":"stdout","time":"1970-01-01T00:00:01Z"}"#,
            r#"{"log":"\u12"#,
            r#"{"log":"x","stream":"stdout","time":"1970-01-01T00:00:01Z"}{"#,
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
