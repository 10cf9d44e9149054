//! Bytes as the inside of a JSON string, exactly as Docker's `json-file` driver writes them, so
//! that tools which compare or index those files see no difference. Pure.
//!
//! | bytes | written |
//! |---|---|
//! | `"` `\` line feed, carriage return | `\"` `\\` `\n` `\r` |
//! | other control characters, `<` `>` `&` | `\u00xx` |
//! | U+2028, U+2029 | `\u2028`, `\u2029` |
//! | a byte that is no part of valid UTF-8 | `\ufffd` |
//! | everything else | itself |

/// How many bytes are looked at together; the compiler makes vector instructions of it.
const LANES: usize = 16;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `bytes`, escaped, to `out`.
pub(super) fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = plain_prefix(bytes);
    out.extend_from_slice(&bytes[..plain]);
    if plain == bytes.len() {
        return;
    }
    for chunk in bytes[plain..].utf8_chunks() {
        escape_text(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Position of the first line feed.
pub(super) fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    find(bytes, |byte| byte == b'\n')
}

/// Position of the last line feed.
pub(super) fn find_last_line_feed(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    for chunk in bytes.rchunks_exact(LANES) {
        if chunk.iter().fold(false, |found, &byte| found | (byte == b'\n')) {
            break;
        }
        end -= LANES;
    }
    bytes[..end].iter().rposition(|&byte| byte == b'\n')
}

/// Position of the first byte that does not stand for itself in an entry's string.
pub(super) fn find_quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    find(bytes, |byte| (byte == b'"') | (byte == b'\\'))
}

fn find(bytes: &[u8], is_it: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = 0;
    for chunk in bytes.chunks_exact(LANES) {
        if chunk.iter().fold(false, |found, &byte| found | is_it(byte)) {
            break;
        }
        at += LANES;
    }
    bytes[at..].iter().position(|&byte| is_it(byte)).map(|offset| at + offset)
}

/// Escapes valid UTF-8.
fn escape_text(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        let plain = rest.iter().position(|&byte| is_escaped(byte) || byte == 0xe2);
        let Some(at) = plain else {
            out.extend_from_slice(rest);
            return;
        };
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let taken = match rest {
            [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => {
                out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                3
            }
            [0xe2, ..] => {
                out.push(0xe2);
                1
            }
            [byte, ..] => {
                escape_ascii(out, *byte);
                1
            }
            [] => return,
        };
        rest = &rest[taken..];
    }
}

fn escape_ascii(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
    }
}

/// How many bytes at the start are ASCII and stand for themselves.
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    for chunk in bytes.chunks_exact(LANES) {
        if chunk.iter().fold(false, |found, &byte| found | is_special(byte)) {
            break;
        }
        at += LANES;
    }
    at + bytes[at..].iter().take_while(|&&byte| !is_special(byte)).count()
}

const fn is_special(byte: u8) -> bool {
    is_escaped(byte) | (byte >= 0x80)
}

const fn is_escaped(byte: u8) -> bool {
    (byte < 0x20)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        // The same behind a plain run, so that both the fast and the slow way see it.
        for plain in [1, LANES - 1, LANES, LANES + 1, 3 * LANES] {
            let mut out = Vec::new();
            escape(&mut out, &[vec![b'x'; plain], bytes.to_vec()].concat());
            assert_eq!(String::from_utf8(out).unwrap(), "x".repeat(plain) + expected);
        }
    }

    #[test]
    fn as_docker_writes_them() {
        check(b"", "");
        check(b"hello", "hello");
        check(b"\"\\\n\r", r#"\"\\\n\r"#);
        check(
            b"\t\x00\x1b[0m\x08\x0c\x1f\x7f",
            "\\u0009\\u0000\\u001b[0m\\u0008\\u000c\\u001f\x7f",
        );
        check(b"<a href=\"x\">&</a>", r#"\u003ca href=\"x\"\u003e\u0026\u003c/a\u003e"#);
        check(
            "gr\u{fc}\u{df}e \u{20ac} \u{1f980}".as_bytes(),
            "gr\u{fc}\u{df}e \u{20ac} \u{1f980}",
        );
        check("\u{2028}a\u{2029}\u{2027}".as_bytes(), "\\u2028a\\u2029\u{2027}");
    }

    #[test]
    fn each_invalid_byte_is_replaced() {
        check(b"a\xffb", r"a\ufffdb");
        check(b"\xe2\x82", r"\ufffd\ufffd");
        check(b"\xe2\x82x", r"\ufffd\ufffdx");
        check(b"\xed\xa0\x80", r"\ufffd\ufffd\ufffd");
        check(b"\xc0\xaf\n", r"\ufffd\ufffd\n");
        check(b"\xf0\x9f\xa6", r"\ufffd\ufffd\ufffd");
    }

    #[test]
    fn agrees_with_a_json_parser_on_every_byte() {
        for first in 0..=u8::MAX {
            for second in [0, b'a', b'"', 0x80, 0xbf, 0xff] {
                let bytes = [first, second, b'z'];
                let mut out = vec![b'"'];
                escape(&mut out, &bytes);
                out.push(b'"');
                let parsed: String = serde_json::from_slice(&out).unwrap();
                let expected: String = bytes
                    .utf8_chunks()
                    .map(|c| c.valid().to_owned() + &"\u{fffd}".repeat(c.invalid().len()))
                    .collect();
                assert_eq!(parsed, expected);
            }
        }
    }

    #[test]
    fn line_feeds_are_found_wherever_they_are() {
        for length in 0..3 * LANES {
            assert_eq!(find_line_feed(&vec![b'x'; length]), None);
            assert_eq!(find_last_line_feed(&vec![b'x'; length]), None);
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = b'\n';
                bytes[length - 1] = b'\n';
                assert_eq!(find_line_feed(&bytes), Some(at));
                bytes[length - 1] = if at == length - 1 { b'\n' } else { b'x' };
                bytes[0] = b'\n';
                assert_eq!(find_last_line_feed(&bytes), Some(at));
            }
        }
    }
}
