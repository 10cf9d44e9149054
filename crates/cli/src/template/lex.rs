//! Template text to tokens: what stands between the braces, and what does not.

/// A token, with the place it begins at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Bytes from the beginning of the source.
    pub(super) at: usize,
    /// Counted from 1.
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Outside braces.
    Text(String),
    /// The end of an action.
    Close,
    /// A name: keyword or function.
    Word(String),
    /// `.`: the value at hand.
    Dot,
    /// `.Name`.
    Field(String),
    /// `$`, `$name`.
    Variable(String),
    /// A quoted text.
    Str(String),
    /// A number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// `|`.
    Pipe,
    /// `(`.
    Open,
    /// `)`.
    Shut,
    /// `:=`.
    Declare,
    /// `=`.
    Assign,
    /// `,`.
    Comma,
    /// Blanks, which matter before a field.
    Space,
}

/// Cuts a source into tokens.
pub(super) fn split(source: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new() };
    let mut trim_next = false;
    loop {
        let rest = &source[lexer.at..];
        let open = rest.find("{{");
        let mut text = &rest[..open.unwrap_or(rest.len())];
        let start = lexer.at;
        if trim_next {
            text = text.trim_start();
        }
        let Some(open) = open else {
            lexer.text(text, start);
            return Ok(lexer.tokens);
        };
        lexer.at += open + 2;
        if trims_left(&source[lexer.at..]) {
            text = text.trim_end();
            lexer.at += 1;
        }
        lexer.text(text, start);
        trim_next = lexer.action()?;
    }
}

fn trims_left(inner: &str) -> bool {
    inner.starts_with('-') && inner[1..].starts_with(char::is_whitespace)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn text(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.push(Kind::Text(text.to_owned()), at);
        }
    }

    fn push(&mut self, kind: Kind, at: usize) {
        let line = self.line(at);
        self.tokens.push(Token { kind, at, line });
    }

    fn line(&self, at: usize) -> usize {
        self.source[..at].matches('\n').count() + 1
    }

    fn fail<T>(&self, why: &str) -> Result<T, String> {
        Err(format!("template: :{}: {why}", self.line(self.at.min(self.source.len()))))
    }

    /// Reads to the end of an action. True when it trims the text behind it.
    fn action(&mut self) -> Result<bool, String> {
        if self.rest().trim_start().starts_with("/*") {
            return self.comment();
        }
        loop {
            let rest = self.rest();
            let start = self.at;
            let Some(c) = rest.chars().next() else { return self.fail("unclosed action") };
            if rest.starts_with("}}") {
                self.at += 2;
                self.push(Kind::Close, start);
                return Ok(false);
            }
            if c.is_whitespace() {
                let blank = rest.len() - rest.trim_start().len();
                self.at += blank;
                if self.rest().starts_with("-}}") {
                    self.at += 3;
                    self.push(Kind::Close, start);
                    return Ok(true);
                }
                self.push(Kind::Space, start);
                continue;
            }
            let kind = self.token(c)?;
            self.push(kind, start);
        }
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn comment(&mut self) -> Result<bool, String> {
        let Some(end) = self.rest().find("*/") else { return self.fail("unclosed comment") };
        self.at += end + 2;
        let trim = self.rest().trim_start().starts_with("-}}");
        let Some(close) = self.rest().find("}}") else {
            return self.fail("comment ends before closing delimiter");
        };
        self.at += close + 2;
        Ok(trim)
    }

    fn token(&mut self, c: char) -> Result<Kind, String> {
        let simple = match c {
            '|' => Some(Kind::Pipe),
            '(' => Some(Kind::Open),
            ')' => Some(Kind::Shut),
            '=' => Some(Kind::Assign),
            ',' => Some(Kind::Comma),
            _ => None,
        };
        if let Some(kind) = simple {
            self.at += 1;
            return Ok(kind);
        }
        match c {
            ':' if self.rest().starts_with(":=") => {
                self.at += 2;
                Ok(Kind::Declare)
            }
            '"' => self.quoted(),
            '`' => {
                let Some(end) = self.rest()[1..].find('`') else {
                    return self.fail("unterminated raw quoted string");
                };
                let text = self.rest()[1..=end].to_owned();
                self.at += end + 2;
                Ok(Kind::Str(text))
            }
            '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.at += 1;
                let name = self.name();
                Ok(if name.is_empty() { Kind::Dot } else { Kind::Field(name) })
            }
            '$' => {
                self.at += 1;
                Ok(Kind::Variable(self.name()))
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            c if c.is_alphabetic() || c == '_' => Ok(Kind::Word(self.name())),
            c => self.fail(&format!("unexpected {c:?} in command")),
        }
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        name
    }

    fn number(&mut self) -> Result<Kind, String> {
        let rest = self.rest();
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        let end = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
        let text = rest[..end].to_owned();
        self.at += end;
        if let Ok(int) = crate::number::parse_int(&text) {
            return Ok(Kind::Int(int));
        }
        match text.parse() {
            Ok(float) => Ok(Kind::Float(float)),
            Err(_) => self.fail(&format!("bad number syntax: {text:?}")),
        }
    }

    fn quoted(&mut self) -> Result<Kind, String> {
        let mut text = String::new();
        let rest = self.source[self.at + 1..].to_owned();
        let mut chars = rest.char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += index + 2;
                    return Ok(Kind::Str(text));
                }
                '\n' => break,
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c @ ('"' | '\\' | '\'')) => text.push(c),
                    _ => return self.fail("invalid escape in quoted string"),
                },
                c => text.push(c),
            }
        }
        self.fail("unterminated quoted string")
    }
}
