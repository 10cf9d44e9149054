//! Sizes as Docker's users write them: `4096`, `10m`, `1.5G`, `20kb`, `1GiB`. Units are powers of
//! 1024. What a size bounds is not known here.

use crate::error::Denied;

/// The bytes that a text means; nothing, and what is no size, is refused.
pub fn bytes(text: &str) -> Result<u64, Denied> {
    let invalid = || Denied::invalid(format!("invalid size: '{text}'"));
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &lower[number.len()..];
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match letter {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(invalid()),
    };
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let whole = whole.parse::<u64>().map_err(|_| invalid())?;
    let whole = whole.checked_mul(1 << shift).ok_or_else(invalid)?;
    let bytes = whole.checked_add(part(fraction, shift).ok_or_else(invalid)?);
    bytes.filter(|size| *size > 0).ok_or_else(invalid)
}

/// What the digits behind a point add, in whole bytes.
fn part(digits: &str, shift: u32) -> Option<u64> {
    const MAX_DIGITS: usize = 6;
    if digits.is_empty() {
        return Some(0);
    }
    let places = u32::try_from(digits.len()).ok().filter(|_| digits.len() <= MAX_DIGITS)?;
    let value =
        digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse::<u128>().ok())??;
    u64::try_from((value << shift) / 10u128.pow(places)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [
            ("4096", 4096),
            ("1b", 1),
            ("10k", 10 << 10),
            ("20kb", 20 << 10),
            ("1.5m", 3 << 19),
            ("1GiB", 1 << 30),
            ("2T", 2 << 40),
            ("0.25g", 1 << 28),
        ] {
            assert_eq!(bytes(text).ok(), Some(want), "{text}");
        }
        let long = "1.0000001g";
        for text in ["", "0", "-1", "x", "1x", "1bb", "1..5g", ".5g", "1.-5g", "99999999p", long] {
            assert!(bytes(text).unwrap_err().message.contains("invalid size"), "{text}");
        }
    }
}
