//! Points in time as the engine writes them and as users read them. The only module here that
//! reads the clock.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds since the epoch, now.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// Seconds since the epoch of an RFC 3339 text.
pub(crate) fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// `About an hour ago` for a point in time.
pub(crate) fn ago(seconds: i64) -> String {
    format!("{} ago", crate::units::human_duration(now() - seconds))
}

/// Go's default form of a point in time: `2026-01-02 03:04:05 +0000 UTC`.
pub(crate) fn full(seconds: i64) -> String {
    display(seconds, "%Y-%m-%d %H:%M:%S +0000 UTC")
}

/// RFC 3339 without fraction.
pub(crate) fn rfc3339(seconds: i64) -> String {
    display(seconds, "%Y-%m-%dT%H:%M:%SZ")
}

/// The form of a build time: `Mon Jan  2 15:04:05 2006`; what is no time stays as it is.
pub(crate) fn build_time(text: &str) -> String {
    parse(text).map_or_else(|| text.to_owned(), |at| display(at, "%a %b %e %H:%M:%S %Y"))
}

/// RFC 3339 with nine digits of fraction.
pub(crate) fn rfc3339_nanos(nanos: i64) -> String {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    format!("{}.{fraction:09}Z", display(seconds, "%Y-%m-%dT%H:%M:%S"))
}

/// What `--since` and `--until` mean: a point in time, a number of seconds, or a span before now;
/// the result is seconds of the epoch with an optional fraction, as the engine takes it.
pub(crate) fn since(text: &str) -> Result<String, String> {
    if let Ok(nanos) = crate::units::parse_duration(text)
        && !text.is_empty()
        && text != "0"
    {
        let at = Timestamp::now().as_nanosecond() - i128::from(nanos);
        let (seconds, fraction) = (at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000));
        return Ok(format!("{seconds}.{fraction:09}"));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        let nanos = at.as_nanosecond();
        let (seconds, fraction) =
            (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        return Ok(format!("{seconds}.{fraction:09}"));
    }
    if let Some(at) = civil(text) {
        return Ok(format!("{at}.000000000"));
    }
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if number(whole) && number(fraction) {
        return Ok(text.to_owned());
    }
    Err(format!("invalid time {text:?}: give RFC 3339, seconds of the epoch or a span like 10m"))
}

/// A date, or a date and time, without a zone: taken as UTC.
fn civil(text: &str) -> Option<i64> {
    let at: jiff::civil::DateTime = match text.parse() {
        Ok(at) => at,
        Err(_) => text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0),
    };
    at.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

fn display(seconds: i64, format: &str) -> String {
    match Timestamp::from_second(seconds) {
        Ok(at) => at.to_zoned(TimeZone::UTC).strftime(format).to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(full(1_367_854_155), "2013-05-06 15:29:15 +0000 UTC");
        assert_eq!(build_time("2020-06-22T15:49:27.000000000+00:00"), "Mon Jun 22 15:49:27 2020");
        assert_eq!(rfc3339_nanos(1_500_000_000_000_000_007), "2017-07-14T02:40:00.000000007Z");
        assert_eq!(since("2013-01-02T13:23:37Z").unwrap(), "1357133017.000000000");
        assert_eq!(since("2013-01-02").unwrap(), "1357084800.000000000");
        assert_eq!(since("1357133017").unwrap(), "1357133017");
        assert!(since("nonsense").is_err());
    }
}
