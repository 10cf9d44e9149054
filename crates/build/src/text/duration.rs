//! Durations as Go's `time` package writes and reads them: `1h2m3.5s`, `300ms`, `0s`.

const SECOND_NS: u64 = 1_000_000_000;

/// Nanoseconds of a duration; `None` when it is none, or longer than 292 years.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total = total.checked_add(scale(number, unit)?)?;
        if total > i128::from(i64::MAX) {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn scale(number: &str, unit: &str) -> Option<i128> {
    let unit_ns: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut ns = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()?.into() };
    ns *= unit_ns;
    let mut place = unit_ns;
    for digit in fraction.chars() {
        place /= 10;
        ns += i128::from(digit.to_digit(10)?) * place;
    }
    Some(ns)
}

/// A duration as Go's `Duration.String` writes it.
pub(crate) fn format_duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    if ns == 0 {
        return "0s".to_owned();
    }
    if ns < SECOND_NS {
        let (unit, size) = match ns {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", decimal(ns, size));
    }
    let seconds = ns / SECOND_NS;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(ns % (60 * SECOND_NS), SECOND_NS);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, minutes) => format!("{sign}{minutes}m{rest}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

/// `number / size` without trailing zeros; `size` is a power of ten.
fn decimal(number: u64, size: u64) -> String {
    let (whole, rest) = (number / size, number % size);
    if rest == 0 {
        return whole.to_string();
    }
    let width = size.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, want) in [
            ("5m", "5m0s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("90s", "1m30s"),
            ("1500ms", "1.5s"),
            ("2us", "2µs"),
            ("0", "0s"),
            ("-1s", "-1s"),
            ("1h2m3s4ms", "1h2m3.004s"),
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), want, "{text}");
        }
        for bad in ["", "5", "m", "1x", ".s", "-", "999999999h", "1..2s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
