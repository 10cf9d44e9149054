//! Content digests (`sha256:<hex>`), OCI image-spec "Digests". This module never hashes: the store
//! does.

use crate::error::Denied;
use crate::id::{SHORT_ID_LEN, parse_hex, write_hex};
use std::fmt;

/// A sha256 digest. Other algorithms are refused until the store can verify them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest of 32 raw sha256 bytes.
    pub fn sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Parses `sha256:` and 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, Denied> {
        match text.split_once(':') {
            Some(("sha256", hex)) => parse_hex(hex).map(Self).ok_or_else(|| {
                Denied::invalid(format!("invalid digest {text:?}: want sha256:<64 hex digits>"))
            }),
            Some((algorithm, _)) if !algorithm.is_empty() => {
                Err(Denied::unsupported(format!("unsupported digest algorithm {algorithm:?}")))
            }
            _ => Err(Denied::invalid(format!("invalid digest {text:?}"))),
        }
    }

    /// The 64 hex digits without the algorithm.
    pub fn hex(&self) -> String {
        self.to_string().split_off("sha256:".len())
    }

    /// The first 12 hex digits.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(SHORT_ID_LEN);
        hex
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}
