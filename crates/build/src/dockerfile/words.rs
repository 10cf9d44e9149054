//! Splitting an instruction's text: name, flags, words, `name=value` pairs, JSON arrays. Quotes
//! and escapes stay in the words; expansion removes them.

use super::Fault;
use crate::text::quote;

/// Blanks between words, as Docker's splitter knows them.
pub(super) const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// An instruction's text, split.
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    /// Flags with their quotes removed: `--chown=1:2`.
    pub(super) flags: Vec<String>,
    /// All behind the flags, blanks around it removed.
    pub(super) rest: &'a str,
}

pub(super) fn split(text: &str, escape: char) -> Parts<'_> {
    let text = text.trim();
    let (name, rest) = match text.split_once(BLANKS) {
        Some((name, rest)) => (name, rest.trim_start_matches(BLANKS)),
        None => (text, ""),
    };
    let (flags, rest) = flags(rest, escape);
    Parts { name, flags, rest: rest.trim() }
}

/// The leading words that begin with `--`; a lone `--` ends them.
fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let (word, after) = flag_word(rest, escape);
        rest = after;
        match word.as_str() {
            "--" => return (flags, rest),
            _ => flags.push(word),
        }
    }
}

/// One word; quotes and escapes are taken away.
fn flag_word(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => return (word, &text[at..]),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (_, c) if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            (_, c) => word.push(c),
        }
    }
    (word, "")
}

/// Words at blanks that no quote protects; quotes and escapes stay.
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            // Nothing is escaped between single quotes.
            (quote, c) if c == escape && quote != Some('\'') => {
                // At the very end an escape character goes.
                if let Some(next) = chars.next() {
                    word.push(c);
                    word.push(next);
                }
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                word.push(c);
            }
            (open, c) => {
                if open == Some(c) {
                    quote = None;
                }
                word.push(c);
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Words at blanks, whatever quotes say.
pub(super) fn plain(text: &str) -> Vec<String> {
    text.split(BLANKS).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Name, value, and whether a blank instead of `=` was between them.
pub(super) fn pairs(
    text: &str,
    instruction: &str,
    escape: char,
) -> Result<Vec<(String, String, bool)>, Fault> {
    let words = words(text, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let two = text.split_once(BLANKS).map(|(name, value)| {
            (name.to_owned(), value.trim_start_matches(BLANKS).to_owned(), true)
        });
        let missing = || Fault::new(format!("{instruction} must have two arguments"));
        return two.map(|pair| vec![pair]).ok_or_else(missing);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned(), false)),
            None => Err(Fault::at(
                format!(
                    "Syntax error - can't find = in {}. Must be of the form: name=value",
                    quote(word)
                ),
                word,
            )),
        })
        .collect()
}

/// A JSON array of strings; `None` when the text is no JSON array, so that it is shell form.
pub(super) fn json(text: &str) -> Result<Option<Vec<String>>, Fault> {
    if !text.trim_start().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(Fault::new(
            "when using JSON array syntax, arrays must be comprised of strings only",
        )),
    });
    strings.collect::<Result<Vec<_>, _>>().map(Some)
}
