//! Small texts as the Go programs of this field write and read them: quoted strings, durations,
//! sizes, comma separated fields, cleaned paths, and the nearest right word. Images' histories and
//! messages carry these forms, so they are part of the format. Knows no Dockerfile.

mod duration;
mod path;
mod suggest;

pub(crate) use duration::{format_duration, parse_duration};
pub(crate) use path::{base_name, clean_path, is_absolute, join_paths};
pub(crate) use suggest::{did_you_mean, nearest};

use std::fmt::Write as _;

/// `text` as Go's `%q` writes it.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list as Go's `%q` writes it: `["sh" "-c"]`.
pub(crate) fn quote_list(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(" "))
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes as `docker/go-units` reads them: a number and a power of 1024 (`64m`, `1.5GiB`).
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let power = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1024_u64.checked_pow(power)?);
    }
    let bytes = number.parse::<f64>().ok()? * 1024_f64.powi(i32::try_from(power).ok()?);
    // Beyond 2^53 a fraction of a unit says nothing any more.
    let fits = bytes.is_finite() && (0.0..9_007_199_254_740_992.0).contains(&bytes);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    fits.then_some(bytes as u64)
}

/// One record of comma separated fields, RFC 4180: fields that begin with `"` end with one.
pub(crate) fn parse_fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = quoted_field(quoted)?;
            fields.push(field);
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None if after.is_empty() => return Ok(fields),
                None => return Err("extraneous or missing \" in quoted-field".to_owned()),
            }
        } else {
            let (field, more) = match rest.split_once(',') {
                Some((field, more)) => (field, Some(more)),
                None => (rest, None),
            };
            if field.contains('"') {
                return Err("bare \" in non-quoted-field".to_owned());
            }
            fields.push(field.to_owned());
            match more {
                Some(more) => rest = more,
                None => return Ok(fields),
            }
        }
    }
}

fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, after)),
        }
    }
    Err("extraneous or missing \" in quoted-field".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        assert_eq!(quote("a\"b\\\n\u{1}é"), r#""a\"b\\\n\x01é""#);
        assert_eq!(quote_list(&["sh".into(), "-c".into()]), r#"["sh" "-c"]"#);
        assert_eq!(quote_list(&[]), "[]");
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, want) in [
            ("64", Some(64)),
            ("1k", Some(1024)),
            ("2MB", Some(2 << 20)),
            ("1.5g", Some(3 << 29)),
            ("1 GiB", Some(1 << 30)),
            ("x", None),
            ("1q", None),
            ("-1", None),
            ("99999999999999p", None),
        ] {
            assert_eq!(parse_bytes(text), want, "{text}");
        }
    }

    #[test]
    fn fields_are_comma_separated() {
        assert_eq!(parse_fields("a,b=c").unwrap(), ["a", "b=c"]);
        assert_eq!(parse_fields("\"a,\"\"b\",c").unwrap(), ["a,\"b", "c"]);
        assert_eq!(parse_fields("").unwrap(), [""]);
        assert!(parse_fields("a\"b").is_err());
        assert!(parse_fields("\"a").is_err());
        assert!(parse_fields("\"a\"b").is_err());
    }
}
