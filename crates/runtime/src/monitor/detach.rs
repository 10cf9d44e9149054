//! Recognises the detach keys in what is typed. Pure; it never sees a terminal.

/// Watches one client's input for its detach sequence.
#[derive(Debug)]
pub(super) struct DetachKeys {
    keys: Vec<u8>,
    /// How many of `keys` the input ends in so far; these are held back.
    held: usize,
}

impl DetachKeys {
    /// `None` for an empty sequence, which nobody can type.
    pub(super) fn new(keys: Vec<u8>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys, held: 0 })
    }

    /// Appends to `out` what of `input` goes to the container. True when the sequence is
    /// complete; what comes after it is dropped with the client.
    pub(super) fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in input {
            while self.held > 0 && self.keys[self.held] != byte {
                let shorter = self.border();
                out.extend_from_slice(&self.keys[..self.held - shorter]);
                self.held = shorter;
            }
            if self.keys[self.held] != byte {
                out.push(byte);
                continue;
            }
            self.held += 1;
            if self.held == self.keys.len() {
                self.held = 0;
                return true;
            }
        }
        false
    }

    /// Length of the longest beginning of the sequence, shorter than what is held, that the held
    /// keys end in.
    fn border(&self) -> usize {
        let held = &self.keys[..self.held];
        (0..self.held).rev().find(|&length| held.ends_with(&self.keys[..length])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `input` typed in pieces of every size must let `passed` through and end `detached`.
    fn check(keys: &str, input: &str, passed: &str, detached: bool) {
        for size in 1..=input.len().max(1) {
            let mut watch = DetachKeys::new(keys.into()).unwrap();
            let mut out = Vec::new();
            let found = input.as_bytes().chunks(size).any(|piece| watch.filter(piece, &mut out));
            assert_eq!((String::from_utf8(out).unwrap(), found), (passed.into(), detached));
        }
    }

    #[test]
    fn sequences() {
        check("\x10\x11", "", "", false);
        check("\x10\x11", "ls\n", "ls\n", false);
        check("\x10\x11", "ls\n\x10\x11rest", "ls\n", true);
        check("\x10\x11", "a\x10b\x11c", "a\x10b\x11c", false);
        check("\x10\x11", "\x10\x10\x11", "\x10", true);
        check("\x10\x11", "a\x10", "a", false);
        check("q", "xq", "x", true);
        check("aab", "aaab", "a", true);
        check("abac", "ababac", "ab", true);
        check("abab", "abacabab", "abac", true);
    }

    #[test]
    fn no_keys_detach_nobody() {
        assert!(DetachKeys::new(Vec::new()).is_none());
    }
}
