//! Names beyond ASCII as programs ask for them: either the bytes of UTF-8, or punycode (RFC 3492)
//! behind `xn--`. Pure. Knows no normalisation: a name is what its owner typed, in lower case.

const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 128;

/// The ASCII form of a name in lower case; `None` when it is ASCII already, or too long for one.
pub(super) fn to_ascii(name: &str) -> Option<String> {
    if name.is_ascii() {
        return None;
    }
    let label = |label: &str| match label.is_ascii() {
        true => Some(label.to_owned()),
        false => encode(label).map(|code| format!("xn--{code}")).filter(|label| label.len() < 64),
    };
    name.split('.').map(label).collect::<Option<Vec<String>>>().map(|labels| labels.join("."))
}

/// RFC 3492 6.3.
fn encode(label: &str) -> Option<String> {
    let points: Vec<u32> = label.chars().map(u32::from).collect();
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (INITIAL_N, 0_u32, INITIAL_BIAS, basic);
    while usize::try_from(handled).ok()? < points.len() {
        let next = points.iter().copied().filter(|point| *point >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for point in &points {
            if *point < n {
                delta = delta.checked_add(1)?;
            }
            if *point == n {
                write_number(&mut out, delta, bias);
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(out)
}

fn write_number(out: &mut String, mut rest: u32, bias: u32) {
    let mut k = BASE;
    loop {
        let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if rest < threshold {
            out.push(digit(rest));
            return;
        }
        out.push(digit(threshold + (rest - threshold) % (BASE - threshold)));
        rest = (rest - threshold) / (BASE - threshold);
        k += BASE;
    }
}

/// 0 to 25 are letters, 26 to 35 digits.
fn digit(value: u32) -> char {
    let byte = u8::try_from(value).unwrap_or(0);
    char::from(if byte < 26 { b'a' + byte } else { b'0' + byte - 26 })
}

fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_browsers_and_libraries_do() {
        for (name, ascii) in [
            ("müller", "xn--mller-kva"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("例え", "xn--r8jz45g"),
            ("база", "xn--80aabz"),
            ("ü", "xn--tda"),
        ] {
            assert_eq!(to_ascii(name).as_deref(), Some(ascii), "{name}");
        }
        assert_eq!(to_ascii("plain"), None);
        assert_eq!(to_ascii(&"ü".repeat(200)), None, "longer than a label may be");
    }
}
