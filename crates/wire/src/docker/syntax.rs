//! What is wrong with a JSON text, in the words of Go's `encoding/json`: Docker's clients and their
//! users know these. Knows no document; asked only after a text was refused.

use std::iter::Peekable;
use std::str::Chars;

/// Nesting that is followed; deeper texts are somebody else's to refuse.
const MAX_DEPTH: usize = 128;

/// The first fault of the first value in a text, or that something follows it. `None` when the
/// text is one well-formed value.
pub fn fault(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text.chars().peekable() };
    if let Err(fault) = reader.value(0) {
        return Some(fault);
    }
    reader.blank();
    reader.rest.peek().map(|_| "unexpected content after JSON".to_owned())
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
}

type Read = Result<(), String>;

fn end() -> String {
    "unexpected EOF".to_owned()
}

fn unexpected(found: char, place: &str) -> String {
    let shown = match found {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        control if control < ' ' && !matches!(control, '\t' | '\n' | '\r') => {
            format!("'\\x{:02x}'", u32::from(control))
        }
        other => format!("'{}'", other.escape_debug()),
    };
    format!("invalid character {shown} {place}")
}

impl Reader<'_> {
    fn blank(&mut self) {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n')).is_some() {}
    }

    fn next(&mut self) -> Result<char, String> {
        self.rest.next().ok_or_else(end)
    }

    /// The next character after blanks.
    fn word(&mut self) -> Result<char, String> {
        self.blank();
        self.next()
    }

    fn value(&mut self, depth: usize) -> Read {
        if depth > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        match self.word()? {
            '{' => self.object(depth),
            '[' => self.list(depth),
            '"' => self.string(),
            't' => self.literal("true"),
            'f' => self.literal("false"),
            'n' => self.literal("null"),
            first if first == '-' || first.is_ascii_digit() => self.number(first),
            other => Err(unexpected(other, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Read {
        let mut first = true;
        loop {
            match self.word()? {
                '}' if first => return Ok(()),
                '"' => self.string()?,
                other => {
                    return Err(unexpected(other, "looking for beginning of object key string"));
                }
            }
            first = false;
            match self.word()? {
                ':' => self.value(depth + 1)?,
                other => return Err(unexpected(other, "after object key")),
            }
            match self.word()? {
                ',' => {}
                '}' => return Ok(()),
                other => return Err(unexpected(other, "after object key:value pair")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Read {
        self.blank();
        if self.rest.next_if_eq(&']').is_some() {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            match self.word()? {
                ',' => {}
                ']' => return Ok(()),
                other => return Err(unexpected(other, "after array element")),
            }
        }
    }

    /// What follows the opening quote.
    fn string(&mut self) -> Read {
        loop {
            match self.next()? {
                '"' => return Ok(()),
                '\\' => match self.next()? {
                    '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {}
                    'u' => self.hexadecimal()?,
                    other => return Err(unexpected(other, "in string escape code")),
                },
                control if control < ' ' => {
                    return Err(unexpected(control, "in string literal"));
                }
                _ => {}
            }
        }
    }

    fn hexadecimal(&mut self) -> Read {
        for _ in 0..4 {
            let digit = self.next()?;
            if !digit.is_ascii_hexdigit() {
                return Err(unexpected(digit, "in \\u hexadecimal character escape"));
            }
        }
        Ok(())
    }

    /// What follows the first letter of `word`.
    fn literal(&mut self, word: &str) -> Read {
        for wanted in word.chars().skip(1) {
            let found = self.next()?;
            if found != wanted {
                let place = format!("in literal {word} (expecting '{wanted}')");
                return Err(unexpected(found, &place));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: char) -> Read {
        let mut leading = first;
        if first == '-' {
            leading = self.next()?;
            if !leading.is_ascii_digit() {
                return Err(unexpected(leading, "in numeric literal"));
            }
        }
        if leading != '0' {
            self.digits();
        }
        if self.rest.next_if_eq(&'.').is_some() {
            self.some_digits("after decimal point in numeric literal")?;
        }
        if self.rest.next_if(|c| matches!(c, 'e' | 'E')).is_some() {
            let _sign = self.rest.next_if(|c| matches!(c, '+' | '-'));
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn some_digits(&mut self, place: &str) -> Read {
        let digit = self.next()?;
        if !digit.is_ascii_digit() {
            return Err(unexpected(digit, place));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.rest.next_if(char::is_ascii_digit).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn faults_in_go_s_words() {
        for (text, words) in [
            ("{invalid", "invalid character 'i' looking for beginning of object key string"),
            ("{} trailing", "unexpected content after JSON"),
            ("{\"a\":1}{", "unexpected content after JSON"),
            ("{\"a\"", "unexpected EOF"),
            ("{\"a\":}", "invalid character '}' looking for beginning of value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1e", "unexpected EOF"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("\"\\u12g\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
        ] {
            assert_eq!(fault(text).as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn well_formed_texts_have_none() {
        for text in [" {\"a\": [1, -0.5e+3, true, null, \"\\u00e9\\n\"], \"b\": {}} ", "[]", "0"] {
            assert_eq!(fault(text), None, "{text}");
        }
        assert_eq!(fault(&"[".repeat(1000)).as_deref(), Some("exceeded max depth"));
    }
}
