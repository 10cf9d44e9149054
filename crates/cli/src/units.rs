//! Sizes and spans of time, read and written as Docker's users know them (`512m`, `1.5GB`,
//! `About an hour`). It never reads a clock.

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Bytes from `12`, `512m`, `1.5gb`, `1GiB`: suffixes are powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<i64, String> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == ' ';
    let Some(last) = text.rfind(is_number) else {
        return Err(format!("invalid size: '{text}'"));
    };
    let number = if text.as_bytes()[last] == b' ' { &text[..last] } else { &text[..=last] };
    let suffix = &text[last + 1..];
    let value: f64 = number.parse().map_err(|_| {
        let number = crate::number::quote(number);
        format!("strconv.ParseFloat: parsing {number}: invalid syntax")
    })?;
    if value < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    let factor = byte_factor(suffix).ok_or_else(|| format!("invalid suffix: '{suffix}'"))?;
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    Ok((value * factor) as i64)
}

fn byte_factor(suffix: &str) -> Option<f64> {
    let lower = suffix.to_ascii_lowercase();
    if lower.is_empty() || lower == "b" {
        return Some(1.0);
    }
    let (unit, rest) = lower.split_at_checked(1)?;
    if !matches!(rest, "" | "b" | "ib") {
        return None;
    }
    let power = ["k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    Some(1024f64.powi(i32::try_from(power).ok()? + 1))
}

/// Billionths from `1.5`, `1/2` or `2`; more than nine decimals are refused.
pub(crate) fn parse_nano(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse {text} as a rational number");
    let (numerator, denominator) = match text.split_once('/') {
        Some((n, d)) => (n.parse().map_err(|_| bad())?, d.parse::<i128>().map_err(|_| bad())?),
        None => decimal(text).ok_or_else(bad)?,
    };
    if denominator <= 0 {
        return Err(bad());
    }
    let scaled = i128::checked_mul(numerator, i128::from(NANOS_PER_SECOND)).ok_or_else(bad)?;
    if scaled % denominator != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(scaled / denominator).map_err(|_| bad())
}

fn decimal(text: &str) -> Option<(i128, i128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let sign_free = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !digits(sign_free) || !digits(fraction) || sign_free.len() + fraction.len() == 0 {
        return None;
    }
    let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 30)?;
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some((value, 10i128.checked_pow(places)?))
}

/// Nanoseconds from Go's notation: `1h2m3.5s`, `300ms`, `-1s`, `0`.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let quoted = || crate::number::quote(text);
    let invalid = || format!("time: invalid duration {}", quoted());
    let (sign, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..end];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quoted()));
        }
        let nanos = nanos_in(unit).ok_or_else(|| {
            let unit = crate::number::quote(unit);
            format!("time: unknown unit {unit} in duration {}", quoted())
        })?;
        total += value * nanos;
        rest = &rest[end..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    Ok((sign * total).round() as i64)
}

fn nanos_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

/// A span in words, rounded: `Less than a second`, `About an hour`, `3 weeks`. Input: seconds.
pub(crate) fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800).div_euclid(3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// A size in powers of 1000 with `precision` significant digits: `1.23MB` (3), `12.3MB` (4: 12.34).
pub(crate) fn human_size(bytes: f64, precision: usize) -> String {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    scaled(bytes, 1000.0, precision, &UNITS)
}

/// A size in powers of 1024 with 4 significant digits: `1.5MiB`.
pub(crate) fn bytes_size(bytes: f64) -> String {
    const UNITS: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    scaled(bytes, 1024.0, 4, &UNITS)
}

fn scaled(mut value: f64, base: f64, precision: usize, units: &[&str; 9]) -> String {
    let mut index = 0;
    while value >= base && index < units.len() - 1 {
        value /= base;
        index += 1;
    }
    format!("{}{}", crate::number::general(value, precision), units[index])
}

/// Nanoseconds as Go's `time.Duration` prints them: `1h0m7.5s`, `300ms`.
pub(crate) fn go_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let (whole, rest) = (value / unit, value % unit);
        let digits = unit.ilog10() as usize;
        let text = format!("{whole}.{rest:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match all {
        0 => return "0s".to_owned(),
        1..1_000 => format!("{all}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", decimal(all, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(all, 1_000_000)),
        _ => {
            let (minutes, rest) = (all / 60_000_000_000, all % 60_000_000_000);
            let seconds = format!("{}s", decimal(rest, 1_000_000_000));
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        for (text, expected) in [
            ("12", 12),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("1GiB", 1 << 30),
            ("2kb", 2048),
            ("7b", 7),
            ("1 k", 1024),
        ] {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_bytes("x").unwrap_err(), "invalid size: 'x'");
        assert_eq!(parse_bytes("1x").unwrap_err(), "invalid suffix: 'x'");
        assert_eq!(parse_bytes("1mbb").unwrap_err(), "invalid suffix: 'mbb'");
    }

    #[test]
    fn nanos() {
        assert_eq!(parse_nano("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_nano(".5"), Ok(500_000_000));
        assert_eq!(parse_nano("1/2"), Ok(500_000_000));
        assert_eq!(parse_nano("0.0000000001").unwrap_err(), "value is too precise");
        assert_eq!(parse_nano("abc").unwrap_err(), "failed to parse abc as a rational number");
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1m30s"), Ok(90 * NANOS_PER_SECOND));
        assert_eq!(parse_duration("1.5h"), Ok(5400 * NANOS_PER_SECOND));
        assert_eq!(parse_duration("300ms"), Ok(300_000_000));
        assert_eq!(parse_duration("0"), Ok(0));
        assert_eq!(parse_duration("3").unwrap_err(), "time: missing unit in duration \"3\"");
        assert_eq!(
            parse_duration("3x").unwrap_err(),
            "time: unknown unit \"x\" in duration \"3x\""
        );
    }

    #[test]
    fn durations_as_go_prints_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5\u{b5}s"),
            (300_000_000, "300ms"),
            (7_000_000_000, "7s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (-10_000_000_000, "-10s"),
        ] {
            assert_eq!(go_duration(nanoseconds), text);
        }
    }

    #[test]
    fn words() {
        for (seconds, expected) in [
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
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(human_size(0.0, 3), "0B");
        assert_eq!(human_size(999.0, 3), "999B");
        assert_eq!(human_size(1234.0, 3), "1.23kB");
        assert_eq!(human_size(4_493_000.0, 3), "4.49MB");
        assert_eq!(human_size(123_456_789.0, 3), "123MB");
        assert_eq!(bytes_size(1_572_864.0), "1.5MiB");
        assert_eq!(bytes_size(4_124_672.0), "3.934MiB");
    }
}
