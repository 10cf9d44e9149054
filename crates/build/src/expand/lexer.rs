//! The machine that reads one word.

use super::pattern::Pattern;
use super::{ExpandError, Expanded, Expander, MAX_DEPTH, MAX_EXPANDED_BYTES, Quotes, Variables};

type Result<T> = std::result::Result<T, ExpandError>;

/// Reads a text once, from left to right.
pub(crate) struct Lexer<'a> {
    how: Expander,
    variables: &'a dyn Variables,
    chars: Vec<char>,
    at: usize,
    depth: usize,
    out: Expanded,
}

/// Text gathered, whole and in words.
#[derive(Default)]
struct Gathered {
    text: String,
    words: Vec<String>,
    word: String,
    in_word: bool,
}

impl Gathered {
    /// A character that ends a word when it is blank.
    fn plain(&mut self, c: char) {
        self.text.push(c);
        self.split(c);
    }

    fn split(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
            self.in_word = true;
        } else if self.in_word && !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    /// Text that belongs to the word whatever it is.
    fn quoted(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
        self.in_word = true;
    }

    /// The value of a variable: its blanks end words.
    fn value(&mut self, text: &str) {
        self.text.push_str(text);
        text.chars().for_each(|c| self.split(c));
    }

    fn finish(mut self) -> (String, Vec<String>) {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        (self.text, self.words)
    }
}

fn syntax(message: &str) -> ExpandError {
    ExpandError::Syntax(message.to_owned())
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(how: Expander, text: &str, variables: &'a dyn Variables) -> Self {
        let chars = text.chars().collect();
        Self { how, variables, chars, at: 0, depth: 0, out: Expanded::default() }
    }

    pub(crate) fn run(mut self) -> Result<Expanded> {
        let (text, words) = self.until(None, self.how.keep_escapes)?;
        Ok(Expanded { text, words, ..self.out })
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    /// Reads up to `stop` (which is eaten) or, without, to the end.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool) -> Result<(String, Vec<String>)> {
        if self.depth >= MAX_DEPTH {
            return Err(ExpandError::Limit(format!("substitutions nest deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.how.keep_escapes, keep_escapes);
        let mut gathered = Gathered::default();
        let done = self.gather(stop, &mut gathered);
        self.how.keep_escapes = before;
        self.depth -= 1;
        done.map(|()| gathered.finish())
    }

    fn gather(&mut self, stop: Option<char>, to: &mut Gathered) -> Result<()> {
        let quotes = self.how.quotes != Quotes::Ignore;
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                return Ok(());
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    to.value(&value);
                }
                '<' => {
                    let text = self.heredoc_sign();
                    to.quoted(&text);
                }
                '\'' if quotes => {
                    let text = self.single_quoted()?;
                    to.quoted(&text);
                }
                '"' if quotes => {
                    let text = self.double_quoted()?;
                    to.quoted(&text);
                }
                c if c == self.how.escape => self.escaped(to),
                c => {
                    self.next();
                    to.plain(c);
                }
            }
            if to.text.len() > MAX_EXPANDED_BYTES {
                return Err(ExpandError::Limit(format!(
                    "the expansion is longer than {MAX_EXPANDED_BYTES} bytes"
                )));
            }
        }
        match stop {
            Some(stop) => Err(ExpandError::Syntax(format!(
                "unexpected end of statement while looking for matching {stop}"
            ))),
            None => Ok(()),
        }
    }

    /// An escape character protects the next; at the end it goes.
    fn escaped(&mut self, to: &mut Gathered) {
        let mut text = String::new();
        let escape = self.next();
        if self.how.keep_escapes {
            text.extend(escape);
        }
        text.extend(self.next());
        if !text.is_empty() {
            to.quoted(&text);
        }
    }

    /// `<<` and blanks after it belong to the word after them.
    fn heredoc_sign(&mut self) -> String {
        let mut text = String::from("<");
        self.next();
        if self.peek() == Some('<') {
            text.extend(self.next());
            while let Some(c @ ('\t' | '\r' | ' ')) = self.peek() {
                text.push(c);
                self.next();
            }
        }
        text
    }

    fn single_quoted(&mut self) -> Result<String> {
        let keep = self.how.quotes == Quotes::Keep;
        let mut text = String::new();
        text.extend(self.next().filter(|_| keep));
        loop {
            match self.next() {
                None => {
                    let what =
                        "unexpected end of statement while looking for matching single-quote";
                    return Err(syntax(what));
                }
                Some('\'') => {
                    text.extend(keep.then_some('\''));
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String> {
        let keep = self.how.quotes == Quotes::Keep;
        let mut text = String::new();
        text.extend(self.next().filter(|_| keep));
        loop {
            match self.peek() {
                None => {
                    let what =
                        "unexpected end of statement while looking for matching double-quote";
                    return Err(syntax(what));
                }
                Some('"') => {
                    text.extend(self.next().filter(|_| keep));
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.how.escape => {
                    self.next();
                    let protects = |next| matches!(next, '"' | '$') || next == self.how.escape;
                    match self.peek() {
                        None => text.extend(self.how.keep_escapes.then_some(c)),
                        Some(next) if protects(next) => {
                            text.extend(self.how.keep_escapes.then_some(c));
                            text.push(next);
                            self.next();
                        }
                        Some(_) => {
                            text.extend(self.how.keep_escapes.then_some(c));
                            text.push(c);
                        }
                    }
                }
                Some(c) => {
                    text.push(c);
                    self.next();
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.value(&name) {
                Some(value) => value,
                None if self.how.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.next();
        match self.peek() {
            None => return Err(syntax("syntax error: missing '}'")),
            Some('{' | '}' | ':') => return Err(syntax("syntax error: bad substitution")),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            None => Err(syntax("syntax error: missing '}'")),
            Some('}') => Ok(match self.value(&name) {
                Some(value) => value,
                None if self.how.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => match self.next() {
                Some(sign @ ('+' | '-' | '?')) => self.conditional(&name, sign, true),
                other => {
                    let sign = other.map(String::from).unwrap_or_default();
                    Err(unsupported(&format!(":{sign}")))
                }
            },
            Some(sign @ ('+' | '-' | '?')) => self.conditional(&name, sign, false),
            Some(sign @ ('#' | '%')) => self.trimmed(&name, sign),
            Some('/') => self.replaced(&name),
            Some(other) => Err(unsupported(&other.to_string())),
        }
    }

    /// `${name:-word}`, `${name+word}`, `${name?word}`.
    fn conditional(&mut self, name: &str, sign: char, empty_is_unset: bool) -> Result<String> {
        let word = self.brace_word('}', false)?;
        let value = self.value(name);
        if value.is_none() && self.how.keep_unset {
            let colon = if empty_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{sign}{word}}}"));
        }
        let set = value.as_ref().is_some_and(|value| !(empty_is_unset && value.is_empty()));
        match (sign, value) {
            ('-', Some(value)) if set => Ok(value),
            ('-', _) => Ok(word),
            ('+', _) => Ok(if set { word } else { String::new() }),
            (_, Some(value)) if set => Ok(value),
            (_, value) => {
                let usual = match value {
                    Some(_) => "is not allowed to be empty",
                    None => "is not allowed to be unset",
                };
                let message = if word.is_empty() { usual.to_owned() } else { word };
                Err(ExpandError::Missing { name: name.to_owned(), message })
            }
        }
    }

    /// `${name#pattern}`, `${name##pattern}`, `${name%pattern}`, `${name%%pattern}`.
    fn trimmed(&mut self, name: &str, sign: char) -> Result<String> {
        let word = self.brace_word('}', true)?;
        let Some(value) = self.value_or_kept(name, &format!("{sign}{word}")) else {
            return Ok(String::new());
        };
        let value = match value {
            Ok(value) => value,
            Err(kept) => return Ok(kept),
        };
        let (longest, text) = match word.strip_prefix(sign) {
            Some(rest) => (true, rest),
            None => (false, word.as_str()),
        };
        let pattern = Pattern::parse(text)?;
        if sign == '#' {
            pattern.trim_start(&value, longest)
        } else {
            pattern.trim_end(&value, longest)
        }
    }

    /// `${name/pattern/text}`, `${name//pattern/text}`.
    fn replaced(&mut self, name: &str) -> Result<String> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.brace_word('/', true)?;
        let text = self.brace_word('}', true)?;
        match self.value_or_kept(name, &format!("/{pattern}/{text}")) {
            None => Ok(String::new()),
            Some(Err(kept)) => Ok(kept),
            Some(Ok(value)) => Pattern::parse(&pattern)?.replace(&value, &text, all),
        }
    }

    /// The value; or the whole expression when it is to be kept; `None` when it is nothing.
    fn value_or_kept(
        &mut self,
        name: &str,
        modifier: &str,
    ) -> Option<std::result::Result<String, String>> {
        match self.value(name) {
            Some(value) => Some(Ok(value)),
            None if self.how.keep_unset => Some(Err(format!("${{{name}{modifier}}}"))),
            None => None,
        }
    }

    fn brace_word(&mut self, stop: char, keep_escapes: bool) -> Result<String> {
        match self.until(Some(stop), keep_escapes) {
            Ok((word, _)) => Ok(word),
            Err(ExpandError::Syntax(_)) if self.peek().is_none() => Err(syntax(match stop {
                '/' => "syntax error: missing '/' in ${}",
                _ => "syntax error: missing '}'",
            })),
            Err(err) => Err(err),
        }
    }

    /// A name, digits, or one special character; may be empty.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                    name.push(c);
                    self.next();
                }
            }
            Some(c @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                name.push(c);
                self.next();
            }
            _ => {
                while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.next();
                }
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.variables.value(name);
        let set = if value.is_some() { &mut self.out.matched } else { &mut self.out.unmatched };
        if !set.contains(name) {
            set.insert(name.to_owned());
        }
        value.map(str::to_owned)
    }
}

fn unsupported(modifier: &str) -> ExpandError {
    ExpandError::Syntax(format!("unsupported modifier ({modifier}) in substitution"))
}
