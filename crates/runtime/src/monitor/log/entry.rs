//! One line of a log file as an [`Entry`]. Pure.
//!
//! What the monitor wrote is read by hand, field after field in the order it writes them;
//! anything else that is still a `json-file` entry (another order, other escapes) goes through a
//! JSON parser.

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

/// Reads one entry; `None` if it is none.
pub(super) fn parse(text: &[u8]) -> Option<Entry> {
    parse_known(text).or_else(|| parse_any(text))
}

fn parse_known(text: &[u8]) -> Option<Entry> {
    let rest = text.strip_prefix(br#"{"log":""#)?;
    let mut line = Vec::with_capacity(rest.len());
    let rest = unescape(rest, &mut line)?.strip_prefix(br#","stream":"std"#)?;
    let (stream, rest) = match rest {
        [b'o', b'u', b't', b'"', rest @ ..] => (Stream::Stdout, rest),
        [b'e', b'r', b'r', b'"', rest @ ..] => (Stream::Stderr, rest),
        _ => return None,
    };
    let time = rest.strip_prefix(br#","time":""#)?.strip_suffix(br#""}"#)?;
    Some(Entry { stream, time_ns: time::parse(time)?, line, attrs: BTreeMap::new() })
}

/// Appends the string that `text` begins with to `out`, up to its closing quote, and returns
/// what follows the quote.
fn unescape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        let plain = rest.iter().position(|&byte| byte == b'"' || byte == b'\\')?;
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

fn parse_any(text: &[u8]) -> Option<Entry> {
    let entry: AnyEntry = serde_json::from_slice(text).ok()?;
    Some(Entry {
        stream: entry.stream,
        time_ns: time::parse(entry.time.as_bytes())?,
        line: entry.log.into_bytes(),
        attrs: entry.attrs,
    })
}

#[cfg(test)]
mod tests {
    use super::super::escape::escape;
    use super::*;

    #[test]
    fn reads_what_is_written() {
        let text = "plain \"quoted\" \\ \t<&>\u{2028} gr\u{fc}\u{df}e \u{1f980}\r\n";
        let mut written = br#"{"log":""#.to_vec();
        escape(&mut written, text.as_bytes());
        written.extend_from_slice(br#"","stream":"stderr","time":"1970-01-01T00:00:01.5Z"}"#);
        let entry = parse_known(&written).unwrap();
        assert_eq!(String::from_utf8(entry.line.clone()).unwrap(), text);
        assert_eq!((entry.stream, entry.time_ns), (Stream::Stderr, 1_500_000_000));
        assert_eq!(parse_any(&written).unwrap(), entry);
    }

    #[test]
    fn reads_what_others_write() {
        let check = |text: &str, line: &str| {
            assert_eq!(parse_known(text.as_bytes()), None);
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
