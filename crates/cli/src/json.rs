//! JSON text as Go writes it: indentation that keeps what the engine wrote. It never parses into
//! values.

/// Re-indents a JSON document without touching names, numbers or strings.
pub(crate) fn indent(text: &str, unit: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut chars = text.chars().peekable();
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(unit, depth));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                string(&mut chars, &mut out);
            }
            '{' | '[' => {
                let close = if c == '{' { '}' } else { ']' };
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if chars.next_if_eq(&close).is_some() {
                    out.push(close);
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// A JSON document without blanks between its parts.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '"' {
            out.push(c);
            string(&mut chars, &mut out);
        } else if !c.is_ascii_whitespace() {
            out.push(c);
        }
    }
    out
}

/// JSON text with the characters escaped that mean something in a web page, as Go does.
pub(crate) fn escape_html(text: &str) -> String {
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

fn string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '"' => return,
            '\\' => out.extend(chars.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::indent;

    #[test]
    fn only_the_layout_changes() {
        assert_eq!(
            indent(r#"{"a":1.50,"b":[],"c":{"d":"x,{y}\"z"},"e":[1,2]}"#, "  "),
            "{\n  \"a\": 1.50,\n  \"b\": [],\n  \"c\": {\n    \"d\": \"x,{y}\\\"z\"\n  },\n  \
             \"e\": [\n    1,\n    2\n  ]\n}"
        );
        assert_eq!(indent(" [ ] ", " "), "[]");
        assert_eq!(super::compact("{ \"a b\" : [ 1 ] }"), "{\"a b\":[1]}");
    }
}
