//! Parser directives: `# name=value` at the head of a file, before anything else.

use super::Fault;

/// The directives of a Dockerfile.
#[derive(Clone, Debug, Default)]
pub struct Directives {
    /// `syntax`: the front end's image.
    pub syntax: Option<Directive>,
    /// `escape`: `\` or `` ` ``.
    pub escape: Option<Directive>,
    /// `check`: which build checks are run.
    pub check: Option<Directive>,
}

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Its value, blanks around it removed.
    pub value: String,
    /// Its line, from 1.
    pub line: u32,
}

impl Directives {
    /// The escape character.
    pub fn escape_char(&self) -> char {
        match &self.escape {
            Some(directive) if directive.value == "`" => '`',
            _ => '\\',
        }
    }

    /// Takes a line (from the first of the file on). `Ok(false)`: this is none, and none can
    /// follow.
    pub(super) fn take(&mut self, line: &str, number: u32) -> Result<bool, Fault> {
        let Some((name, value)) = line.trim_start().strip_prefix('#').and_then(split) else {
            return Ok(false);
        };
        let place = match name.as_str() {
            "syntax" => &mut self.syntax,
            "escape" => &mut self.escape,
            "check" => &mut self.check,
            _ => return Ok(false),
        };
        if place.is_some() {
            return Err(Fault::new(format!("only one {name} parser directive can be used")));
        }
        if name == "escape" && value != "`" && value != "\\" {
            return Err(Fault::at(
                format!("invalid escape token '{value}' does not match ` or \\"),
                value,
            ));
        }
        *place = Some(Directive { value: value.to_owned(), line: number });
        Ok(true)
    }
}

/// `name = value` with a name of letters and digits; the name in lower case.
fn split(text: &str) -> Option<(String, &str)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    (word && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

/// The value of a `check` directive in a comment beside an instruction.
pub(crate) fn check_in_comment(comment: &str) -> Option<&str> {
    match split(comment) {
        Some((name, value)) if name == "check" => value.split(' ').next(),
        _ => None,
    }
}

/// The front end that a file asks for, in any of its forms: `# syntax=`, `// syntax=`, or a JSON
/// object with that member; a first line that begins with `#!` is skipped.
pub fn detect_syntax(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes.get(..64 << 10).unwrap_or(bytes));
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let body = match text.strip_prefix("#!") {
        Some(rest) => rest.split_once('\n').map_or("", |(_, body)| body),
        None => text,
    };
    ["#", "//"].iter().find_map(|sign| syntax_after(sign, body)).or_else(|| {
        let value: serde_json::Value = serde_json::from_str(body).ok()?;
        value.get("syntax")?.as_str().map(str::to_owned)
    })
}

fn syntax_after(sign: &str, text: &str) -> Option<String> {
    let directives = text.lines().map_while(|line| line.strip_prefix(sign).and_then(split));
    let known =
        directives.take_while(|(name, _)| matches!(name.as_str(), "syntax" | "escape" | "check"));
    let mut values = known.filter(|(name, _)| name == "syntax").map(|(_, value)| value);
    values.next().and_then(|value| value.split(' ').next()).map(str::to_owned)
}
