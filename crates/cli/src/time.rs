//! Points in time as the engine writes them and as users read them: in the user's time zone, as
//! the stock client shows them. The only module here that reads the clock and the time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::path::Path;
use std::sync::OnceLock;

/// Where time zones are described, tzfile(5).
const ZONES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ"];

/// Largest description of a time zone that is read.
const MAX_ZONE_BYTES: u64 = 1 << 20;

/// The user's time zone, tzset(3): what `TZ` names, else the machine's; UTC when there is none.
fn local() -> TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    LOCAL.get_or_init(|| zone(std::env::var("TZ").ok().as_deref())).clone()
}

fn zone(asked: Option<&str>) -> TimeZone {
    let found = match asked.map(|name| name.strip_prefix(':').unwrap_or(name)) {
        None => described(Path::new("/etc/localtime")),
        Some("") | Some("UTC") => None,
        Some(path) if path.starts_with('/') => described(Path::new(path)),
        Some(name) if name.split('/').any(|part| part == "..") => None,
        Some(name) => ZONES.iter().find_map(|dir| described(&Path::new(dir).join(name))),
    };
    found.unwrap_or(TimeZone::UTC)
}

fn described(path: &Path) -> Option<TimeZone> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_ZONE_BYTES).read_to_end(&mut bytes).ok()?;
    TimeZone::tzif("Local", &bytes).ok()
}

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
    full_in(seconds, &local())
}

fn full_in(seconds: i64, zone: &TimeZone) -> String {
    display(seconds, "%Y-%m-%d %H:%M:%S %z %Z", zone)
}

/// RFC 3339 without fraction.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let zone = local();
    format!("{}{}", display(seconds, "%Y-%m-%dT%H:%M:%S", &zone), offset(seconds, &zone))
}

/// The end of a time in RFC 3339.
fn offset(seconds: i64, zone: &TimeZone) -> String {
    let text = display(seconds, "%:z", zone);
    if text == "+00:00" { "Z".to_owned() } else { text }
}

/// The form of a build time: `Mon Jan  2 15:04:05 2006`; what is no time stays as it is.
pub(crate) fn build_time(text: &str) -> String {
    let form = "%a %b %e %H:%M:%S %Y";
    parse(text).map_or_else(|| text.to_owned(), |at| display(at, form, &TimeZone::UTC))
}

/// RFC 3339 with nine digits of fraction.
pub(crate) fn rfc3339_nanos(nanos: i64) -> String {
    rfc3339_nanos_in(nanos, &local())
}

fn rfc3339_nanos_in(nanos: i64, zone: &TimeZone) -> String {
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let whole = display(seconds, "%Y-%m-%dT%H:%M:%S", zone);
    format!("{whole}.{fraction:09}{}", offset(seconds, zone))
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
    Err(format!("failed to parse value as time or duration: {text:?}"))
}

/// A date, or a date and time, without a zone: the user's.
fn civil(text: &str) -> Option<i64> {
    civil_in(text, local())
}

fn civil_in(text: &str, zone: TimeZone) -> Option<i64> {
    let at: jiff::civil::DateTime = match text.parse() {
        Ok(at) => at,
        Err(_) => text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0),
    };
    at.to_zoned(zone).ok().map(|zoned| zoned.timestamp().as_second())
}

fn display(seconds: i64, format: &str, zone: &TimeZone) -> String {
    match Timestamp::from_second(seconds) {
        Ok(at) => at.to_zoned(zone.clone()).strftime(format).to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let utc = TimeZone::UTC;
        assert_eq!(full_in(1_367_854_155, &utc), "2013-05-06 15:29:15 +0000 UTC");
        assert_eq!(build_time("2020-06-22T15:49:27.000000000+00:00"), "Mon Jun 22 15:49:27 2020");
        let nanos = 1_500_000_000_000_000_007;
        assert_eq!(rfc3339_nanos_in(nanos, &utc), "2017-07-14T02:40:00.000000007Z");
        assert_eq!(since("2013-01-02T13:23:37Z").unwrap(), "1357133017.000000000");
        assert_eq!(civil_in("2013-01-02", utc).unwrap(), 1_357_084_800);
        assert_eq!(since("1357133017").unwrap(), "1357133017");
        assert!(since("nonsense").is_err());
    }

    #[test]
    fn the_users_zone() {
        // A zone of one kind of time, tzfile(5) version 2: east of Greenwich by an hour.
        let block = |times: u8| {
            let mut out = b"TZif2".to_vec();
            out.extend([0; 15]);
            for count in [0, 0, 0, 0, u32::from(times), 4 * u32::from(times)] {
                out.extend(count.to_be_bytes());
            }
            out
        };
        let mut file = block(1);
        let kind = [&3600_i32.to_be_bytes()[..], &[0, 0], b"CET\0"].concat();
        file.extend(&kind);
        file.extend(block(1));
        file.extend(&kind);
        file.extend(b"\nCET-1\n");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zone");
        std::fs::write(&path, file).unwrap();
        let east = zone(path.to_str());
        assert_eq!(full_in(1_367_854_155, &east), "2013-05-06 16:29:15 +0100 CET");
        assert_eq!(rfc3339_nanos_in(7, &east), "1970-01-01T01:00:00.000000007+01:00");
        assert_eq!(civil_in("1970-01-01T01:00:05", east), Some(5));
        for none in ["", "UTC", "No/Such", "../../etc/passwd", "/dev/null"] {
            assert_eq!(zone(Some(none)), TimeZone::UTC, "{none}");
        }
    }
}
