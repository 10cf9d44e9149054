//! Engine API versions: parse, compare, negotiate. Never looks at a request.

use std::fmt;
use std::str::FromStr;

/// A version of the Engine API, such as `1.43`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The part before the dot; has been 1 since the beginning.
    pub major: u16,
    /// The part after the dot; compared as a number, so `1.9 < 1.24`.
    pub minor: u16,
}

impl ApiVersion {
    /// The oldest version this engine serves.
    pub const MIN: Self = Self::new(1, 24);
    /// The newest version this engine serves, and what a request without a version gets.
    pub const MAX: Self = Self::new(1, 56);

    /// `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Whether this version is `1.minor` or newer.
    pub fn at_least(self, minor: u16) -> bool {
        self >= Self::new(1, minor)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not `<number>.<number>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API version {0:?} is not of the form major.minor")]
pub struct InvalidVersion(pub String);

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion(text.to_owned());
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (major, minor) = text.split_once('.').ok_or_else(invalid)?;
        Ok(Self::new(number(major).ok_or_else(invalid)?, number(minor).ok_or_else(invalid)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_by_number() {
        let parse = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(parse("1.9") < parse("1.24"));
        assert!(parse("1.43") < parse("2.0"));
        assert!(parse("1.43").at_least(43));
        assert!(!parse("1.43").at_least(44));
        assert_eq!(ApiVersion::MAX.to_string(), "1.56");
    }

    #[test]
    fn refuses_what_is_not_a_version() {
        for text in ["", "1", "1.", ".1", "1.+2", "1.2.3", "v1.2", "1.99999", "1.-1"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
    }
}
