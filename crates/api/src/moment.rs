//! Times as the API writes and reads them: RFC 3339 with nanoseconds, Unix seconds with a fraction,
//! Go durations, and durations for people. Never reads a clock.

use jiff::tz::TimeZone;
use model::Timestamp;

use crate::failure::Failure;

/// What Docker shows for "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 in UTC, the fraction without trailing zeros (Go's `RFC3339Nano`).
pub(crate) fn rfc3339(time: Timestamp) -> String {
    if time.is_zero() {
        return NEVER.to_owned();
    }
    let fixed = rfc3339_fixed(time.0);
    let (seconds, fraction) = fixed.split_at("0000-00-00T00:00:00".len());
    let fraction = fraction.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{seconds}{fraction}Z")
}

/// RFC 3339 in UTC with all nine digits of the fraction, as log lines have it.
pub(crate) fn rfc3339_fixed(nanoseconds: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default();
    let civil = time.to_zoned(TimeZone::UTC).datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        civil.subsec_nanosecond()
    )
}

/// Reads `since` and `until`: Unix seconds with an optional fraction, RFC 3339, or a Go duration
/// before now.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    unix(text)
        .or_else(|| text.parse::<jiff::Timestamp>().ok().and_then(nanoseconds))
        .or_else(|| duration_ns(text).and_then(|ago| now.0.checked_sub(ago)))
        .map(Timestamp)
        .ok_or_else(|| Failure::invalid(format!("invalid timestamp: {text}")))
}

fn nanoseconds(time: jiff::Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok()
}

/// `seconds[.fraction]`; a fraction counts from the left, so `.5` is half a second. Beyond nine
/// digits it is less than any time here; Docker reads as many as a 64-bit number has.
fn unix(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || fraction.len() > 19 {
        return None;
    }
    let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let whole = seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?;
    whole.checked_add(padded.parse().ok()?)
}

/// A Go duration such as `1h30m` or `-1.5s`, in nanoseconds.
pub(crate) fn duration_ns(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
        ("d", 86_400e9),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &tail[..end])?;
        total += number * unit;
        rest = &tail[end..];
    }
    let total = sign * total;
    // Beyond 2^63 ns, some 292 years, it is no duration.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    (total.abs() < 9.2e18).then_some(total as i64)
}

/// `About an hour`, `3 weeks`: how `ps` tells a duration.
pub(crate) fn human(seconds: u64) -> String {
    let minutes = seconds / 60;
    // Rounded to the nearest hour, as Docker does from an hour on.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        for (at, text) in [
            (0, NEVER),
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
            (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(at)), text);
        }
        let fixed = rfc3339_fixed(1_700_000_000_120_000_000);
        assert_eq!(fixed, "2023-11-14T22:13:20.120000000Z");
    }

    #[test]
    fn reads_every_form() {
        let now = Timestamp(1_700_000_000_000_000_000);
        for (text, want) in [
            ("1700000000", 1_700_000_000_000_000_000),
            ("1700000000.5", 1_700_000_000_500_000_000),
            ("1700000000.000000001", 1_700_000_000_000_000_001),
            ("1700000000.1700000000123456789", 1_700_000_000_170_000_000),
            ("0", 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
            ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500_000_000),
            ("10m", 1_699_999_400_000_000_000),
            ("1h30m", 1_699_994_600_000_000_000),
            ("-10s", 1_700_000_010_000_000_000),
        ] {
            assert_eq!(parse(text, now).unwrap(), Timestamp(want), "{text}");
        }
        for text in ["", "x", "1.x", "10", "1e3", "5 m", "99999999999999999999", "h"] {
            assert_eq!(parse(text, now).is_ok(), text == "10", "{text}");
        }
    }

    #[test]
    fn tells_durations_as_docker_does() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (730 * 86_400, "2 years"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }
}
