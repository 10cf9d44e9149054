//! Base64, in the two alphabets that headers and configuration files use. Whole texts only.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// With `+` and `/`, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    with(STANDARD, bytes)
}

/// With `-` and `_`, padded.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    with(URL, bytes)
}

fn with(alphabet: &[u8; 64], bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            match index <= chunk.len() {
                true => out.push(char::from(alphabet[(bits >> shift & 63) as usize])),
                false => out.push('='),
            }
        }
    }
    out
}

/// Reads either alphabet, padded or not; nothing when it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'-' => 62,
            b'_' => 63,
            byte => STANDARD.iter().position(|known| *known == byte)?,
        };
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("user:pä>?", "dXNlcjpww6Q+Pw=="),
        ] {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).unwrap(), plain.as_bytes());
            assert_eq!(decode(&encode_url(plain.as_bytes())).unwrap(), plain.as_bytes());
        }
        assert_eq!(decode("a b"), None);
    }
}
