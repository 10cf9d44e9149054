//! Numbers and booleans read as Go's strconv reads them, with its error texts, and Go's quoting.
//! It never knows which flag a number came from.

/// `1 t T TRUE true True` and their opposites.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(failed("ParseBool", text, "invalid syntax")),
    }
}

/// A signed number, decimal or with a prefix (`0x`, `0o`, `0b`).
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let invalid = || failed("ParseInt", text, "invalid syntax");
    let range = || failed("ParseInt", text, "value out of range");
    let (radix, digits) = prefixed(digits);
    match magnitude(digits, radix).ok_or_else(invalid)? {
        Some(value) if negative => 0i64.checked_sub_unsigned(value).ok_or_else(range),
        Some(value) => i64::try_from(value).map_err(|_| range()),
        None => Err(range()),
    }
}

/// An unsigned number up to `max`, decimal or with a prefix.
pub(crate) fn parse_uint(text: &str, max: u64) -> Result<u64, String> {
    let (radix, digits) = prefixed(text);
    match magnitude(digits, radix) {
        None => Err(failed("ParseUint", text, "invalid syntax")),
        Some(Some(value)) if value <= max => Ok(value),
        Some(_) => Err(failed("ParseUint", text, "value out of range")),
    }
}

/// A text in double quotes, escaped as Go's `%q` does.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c == '\x7f' => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number with `precision` significant digits and no trailing zeros, as Go's `%.*g` prints it.
pub(crate) fn general(value: f64, precision: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let precision = precision.max(1);
    let exact = format!("{:.*e}", precision - 1, value);
    let (mantissa, exponent) = exact.split_once('e').unwrap_or((&exact, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let fits = usize::try_from(exponent).map_or(exponent >= -4, |exponent| exponent < precision);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if !fits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let whole = i32::try_from(precision).unwrap_or(i32::MAX) - 1;
    let decimals = usize::try_from(whole - exponent).unwrap_or_default();
    trim(&format!("{value:.decimals$}"))
}

fn failed(function: &str, text: &str, why: &str) -> String {
    format!("strconv.{function}: parsing {}: {why}", quote(text))
}

fn prefixed(digits: &str) -> (u32, &str) {
    let lower = digits.get(..2).unwrap_or_default().to_ascii_lowercase();
    match lower.as_str() {
        "0x" => (16, &digits[2..]),
        "0o" => (8, &digits[2..]),
        "0b" => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    }
}

/// Outer `None`: not a number. Inner `None`: too large.
fn magnitude(digits: &str, radix: u32) -> Option<Option<u64>> {
    if digits.is_empty() {
        return None;
    }
    let mut value = Some(0u64);
    for c in digits.chars() {
        let digit = u64::from(c.to_digit(radix)?);
        value =
            value.and_then(|v| v.checked_mul(u64::from(radix))).and_then(|v| v.checked_add(digit));
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse_int("-12"), Ok(-12));
        assert_eq!(parse_int("0x10"), Ok(16));
        assert_eq!(parse_int("010"), Ok(8));
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(
            parse_int("9223372036854775808").unwrap_err(),
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
        );
        assert_eq!(
            parse_uint("99999999", 65535).unwrap_err(),
            "strconv.ParseUint: parsing \"99999999\": value out of range"
        );
        assert_eq!(
            parse_uint("-1", 65535).unwrap_err(),
            "strconv.ParseUint: parsing \"-1\": invalid syntax"
        );
        assert_eq!(quote("a\"b\n"), "\"a\\\"b\\n\"");
    }
}
