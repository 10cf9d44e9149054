//! One line of comma-separated fields with double quotes, as `--mount` and `--network` take it.
//! It never knows what the fields mean.

/// The fields of one line. A quoted field may contain commas; `""` inside it is one quote.
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            quoted(&mut chars, &mut field)?;
            match chars.next() {
                None => {
                    fields.push(field);
                    return Ok(fields);
                }
                Some(',') => fields.push(field),
                Some(_) => return Err(malformed("extraneous or missing \" in quoted-field")),
            }
            continue;
        }
        loop {
            match chars.next() {
                None => {
                    fields.push(field);
                    return Ok(fields);
                }
                Some(',') => break,
                Some('"') => return Err(malformed("bare \" in non-quoted-field")),
                Some(c) => field.push(c),
            }
        }
        fields.push(field);
    }
}

fn quoted(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    field: &mut String,
) -> Result<(), String> {
    loop {
        match chars.next() {
            Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
            Some('"') => return Ok(()),
            Some(c) => field.push(c),
            None => return Err(malformed("extraneous or missing \" in quoted-field")),
        }
    }
}

fn malformed(why: &str) -> String {
    format!("parse error on line 1: {why}")
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn fields() {
        let ok = |line: &str| split(line).unwrap();
        assert_eq!(ok("a,b"), ["a", "b"]);
        assert_eq!(ok(""), [""]);
        assert_eq!(ok("a,"), ["a", ""]);
        assert_eq!(ok("\"x,y\",z"), ["x,y", "z"]);
        assert_eq!(ok("\"a\"\"b\""), ["a\"b"]);
        assert!(split("a\"b").is_err());
        assert!(split("\"ab").is_err());
    }
}
