//! The keys that leave a container without stopping it.

/// A sequence of keys, and how much of it has just been typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    sequence: Vec<u8>,
    typed: usize,
}

impl Keys {
    /// Reads `ctrl-p,ctrl-q`: letters, or `ctrl-` with a letter or one of `@[\]^_`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = if text.is_empty() { "ctrl-p,ctrl-q" } else { text };
        let key = |word: &str| match word.strip_prefix("ctrl-") {
            _ if word.len() == 1 && word.is_ascii() => Ok(word.as_bytes()[0]),
            Some(letter) if letter.len() == 1 => match letter.as_bytes()[0] {
                letter @ b'a'..=b'z' => Ok(letter - b'a' + 1),
                letter @ (b'@' | b'['..=b'_') => Ok(letter - b'@'),
                _ => Err(format!("Unknown character: '{word}'")),
            },
            _ => Err(format!("Unknown character: '{word}'")),
        };
        let sequence = text.split(',').map(key).collect::<Result<Vec<u8>, String>>()?;
        Ok(Self { sequence, typed: 0 })
    }

    /// What of `bytes` is to be sent, and whether the sequence is complete. A beginning of the
    /// sequence is held back until it is clear what it is.
    pub(crate) fn filter(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.sequence.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.sequence.len() {
                    self.typed = 0;
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.sequence[..self.typed]);
            self.typed = 0;
            if self.sequence.first() == Some(byte) {
                self.typed = 1;
            } else {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn sequences() {
        let mut keys = Keys::parse("").unwrap();
        assert_eq!(keys.filter(b"ab"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(keys.filter(b"x\x10\x10\x11y"), (b"x\x10".to_vec(), true));
        assert_eq!(Keys::parse("ctrl-@,a").unwrap().sequence, [0, b'a']);
        assert!(Keys::parse("foo").is_err());
    }
}
