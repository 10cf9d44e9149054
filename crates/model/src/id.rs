//! Identifiers and names. Parsing is the only way in; a value of these types is always well-formed
//! and safe as a single path component. This module never draws random bytes: callers bring them.

use crate::digest::Digest;
use crate::error::Denied;
use std::fmt;

/// How many hex digits a short id shows.
pub const SHORT_ID_LEN: usize = 12;
/// The longest object name accepted, in bytes.
pub const MAX_NAME_LEN: usize = 255;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Makes an id of 32 bytes that the caller drew at random.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Parses exactly 64 lower-case hex digits.
            pub fn parse(text: &str) -> Result<Self, Denied> {
                let fail = || Denied::invalid(format!("invalid id {text:?}: want 64 hex digits"));
                parse_hex(text).map(Self).ok_or_else(fail)
            }

            /// The first [`SHORT_ID_LEN`] hex digits.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(SHORT_ID_LEN);
                text
            }

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}

hex_id!(
    /// Identifies a container for ever, 64 hex digits.
    ContainerId
);
hex_id!(
    /// Identifies a process started inside a running container, 64 hex digits.
    ExecId
);
hex_id!(
    /// Identifies a network, 64 hex digits.
    NetworkId
);

/// Identifies an image: the digest of its configuration.
pub type ImageId = Digest;

pub(crate) fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let raw = text.as_bytes();
    if raw.len() != 64 {
        return None;
    }
    let mut out = [0u8; 32];
    for (slot, pair) in out.iter_mut().zip(raw.chunks_exact(2)) {
        *slot = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(out)
}

fn hex_digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Parses `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, as Docker names objects.
            pub fn parse(text: &str) -> Result<Self, Denied> {
                if is_object_name(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(Denied::invalid(format!(
                    "Invalid {} name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                    $what, text
                )))
            }

            /// The name as text, without a leading slash.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A container's name, without the leading slash of the API.
    ContainerName,
    "container"
);
name_type!(
    /// A volume's name.
    VolumeName,
    "volume"
);

fn is_object_name(text: &str) -> bool {
    let raw = text.as_bytes();
    (2..=MAX_NAME_LEN).contains(&raw.len())
        && raw[0].is_ascii_alphanumeric()
        && raw.iter().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_everything_else() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(ContainerId::parse(&text).unwrap().to_string(), text);
        assert_eq!(ContainerId::parse(&text).unwrap().short(), "0123456789ab");
        for bad in ["", "abc", &text[1..], &text.to_uppercase(), &format!("{}/", &text[1..])] {
            assert!(ContainerId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_single_safe_path_components() {
        for good in ["ab", "web-1", "A_b.c-9", "0x"] {
            assert!(ContainerName::parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a", ".x", "-x", "a/b", "a b", "..", "ä1", "a\n"] {
            assert!(ContainerName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
