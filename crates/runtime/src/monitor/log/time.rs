//! Instants as the log spells them: RFC 3339 in UTC with up to nine decimals, trailing zeros cut,
//! as Go's `RFC3339Nano`. Arithmetic only; it never asks a clock.

const NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAYS: i64 = 719_468;

/// Appends the instant `ns` (nanoseconds since 1970) to `out`.
pub(super) fn write(out: &mut Vec<u8>, ns: i64) {
    let seconds = ns.div_euclid(NS);
    let (day, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil(day);
    decimal(out, year, 4);
    out.push(b'-');
    decimal(out, month, 2);
    out.push(b'-');
    decimal(out, day, 2);
    out.push(b'T');
    decimal(out, second / 3600, 2);
    out.push(b':');
    decimal(out, second / 60 % 60, 2);
    out.push(b':');
    decimal(out, second % 60, 2);
    let fraction = ns.rem_euclid(NS);
    if fraction != 0 {
        out.push(b'.');
        decimal(out, fraction, 9);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

/// Reads what [`write`] writes, and any numeric zone offset in place of the `Z`.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let field = |from: usize, to: usize| -> Option<i64> {
        text.get(from..to)?.iter().try_fold(0, |value: i64, digit| {
            digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
        })
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| text.get(*at) != Some(byte)) {
        return None;
    }
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let bounds = [(month, 1, 12), (day, 1, 31), (hour, 0, 23), (minute, 0, 59), (second, 0, 60)];
    if bounds.iter().any(|(value, least, most)| value < least || value > most) {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut fraction = 0;
    if let [b'.', decimals @ ..] = rest {
        let count = decimals.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 || count > 9 {
            return None;
        }
        fraction = field(20, 20 + count)? * 10_i64.pow(9 - u32::try_from(count).ok()?);
        rest = &decimals[count..];
    }
    let offset = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let minutes = field(at, at + 2)? * 60 + field(at + 3, at + 5)?;
            if *sign == b'+' { minutes * 60 } else { -minutes * 60 }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(NS)?.checked_add(fraction)
}

/// Year, month and day of a day counted from 1970-01-01. The year begins in March, so that the
/// leap day is its last.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH_DAYS;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

fn decimal(out: &mut Vec<u8>, value: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value.unsigned_abs();
    for place in out[start..].iter_mut().rev() {
        *place = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ns: i64, text: &str) {
        let mut out = Vec::new();
        write(&mut out, ns);
        assert_eq!(String::from_utf8(out).unwrap(), text);
        assert_eq!(parse(text.as_bytes()), Some(ns), "{text}");
    }

    #[test]
    fn both_ways() {
        check(0, "1970-01-01T00:00:00Z");
        check(1, "1970-01-01T00:00:00.000000001Z");
        check(1_500_000_000, "1970-01-01T00:00:01.5Z");
        check(951_782_400 * NS, "2000-02-29T00:00:00Z");
        check(951_868_800 * NS - 1, "2000-02-29T23:59:59.999999999Z");
        check(1_709_164_800 * NS, "2024-02-29T00:00:00Z");
        check(1_735_689_599 * NS + 120_000_000, "2024-12-31T23:59:59.12Z");
        check(4_107_542_400 * NS, "2100-03-01T00:00:00Z");
        check(-1, "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn every_day_is_the_one_after_the_day_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..80_000 {
            let (year, month, date) = civil(day);
            assert_eq!((year, month, date), expected);
            assert_eq!(days(year, month, date), day);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, date) {
                (12, 31) => (year + 1, 1, 1),
                _ if date == length => (year, month + 1, 1),
                _ => (year, month, date + 1),
            };
        }
    }

    #[test]
    fn zones_are_understood_and_nonsense_is_not() {
        let utc = parse(b"2024-05-06T07:08:09.25Z");
        assert_eq!(parse(b"2024-05-06T09:08:09.25+02:00"), utc);
        assert_eq!(parse(b"2024-05-06T06:38:09.25-00:30"), utc);
        for bad in [
            "",
            "2024-05-06",
            "2024-05-06T07:08:09",
            "2024-05-06T07:08:09.Z",
            "2024-05-06T07:08:09.1234567890Z",
            "2024-13-06T07:08:09Z",
            "2024-05-06T24:08:09Z",
            "2024-05-06 07:08:09Z",
            "2024-05-06T07:08:09+0200",
            "20x4-05-06T07:08:09Z",
            "2024-05-06T07:08:09ZZ",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
