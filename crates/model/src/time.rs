//! A point in time as a value. This module never reads a clock and never formats: RFC 3339 is the
//! business of the edges.

/// Nanoseconds since the Unix epoch, UTC. `Timestamp::ZERO` stands for Docker's "never"
/// (`0001-01-01T00:00:00Z` on the wire).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// "Never happened".
    pub const ZERO: Self = Self(0);

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// The nanoseconds within the second, 0..1e9.
    pub fn subsec_nanos(self) -> i64 {
        self.0.rem_euclid(1_000_000_000)
    }

    /// Whether this is "never".
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Nanoseconds from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}
