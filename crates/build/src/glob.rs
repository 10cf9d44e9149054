//! File name patterns: `*`, `?`, `[a-z]`, `[^a-z]` and `\`, as Go's `path/filepath.Match` reads
//! them; COPY and ADD take them. Never looks at a file system: the caller brings the names.

/// The longest pattern in characters, as the longest path (`PATH_MAX`).
pub const MAX_PATTERN_LEN: usize = 4096;

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// An open bracket, an empty one, or a `\` at the end.
    #[error("syntax error in pattern {0:?}")]
    Syntax(String),
    /// More than [`MAX_PATTERN_LEN`].
    #[error("pattern is longer than {MAX_PATTERN_LEN} characters: {0:.40}…")]
    Long(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// This character.
    Char(char),
    /// `?`: one character but a slash.
    One,
    /// `*`: any text without a slash.
    Many,
    /// `**`: nothing, or any text that ends with a slash.
    Dirs,
    /// `**` at the end: any text.
    Rest,
    /// `[…]`.
    Class(Class),
}

/// A bracket expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    not: bool,
    ranges: Vec<(char, char)>,
    slash: bool,
}

impl Class {
    fn contains(&self, c: char) -> bool {
        if c == '/' && !self.slash {
            return false;
        }
        self.not != self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c))
    }
}

/// A pattern without `**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

impl Glob {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        tokens(text, false, false).map(Self)
    }

    /// Whether the whole of `name` matches. No `*` matches a slash.
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, name)
    }

    /// Whether `text` has anything to match by.
    pub fn is_pattern(text: &str) -> bool {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' | '?' | '[' => return true,
                '\\' => {
                    chars.next();
                }
                _ => {}
            }
        }
        false
    }
}

/// Parses `text`; `stars` gives `**` a meaning, `slash` lets brackets match slashes.
pub(crate) fn tokens(text: &str, stars: bool, slash: bool) -> Result<Vec<Token>, GlobError> {
    if text.chars().count() > MAX_PATTERN_LEN {
        return Err(GlobError::Long(text.to_owned()));
    }
    let fail = || GlobError::Syntax(text.to_owned());
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(match c {
            '*' if stars && chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() { Token::Dirs } else { Token::Rest }
            }
            '*' => Token::Many,
            '?' => Token::One,
            '\\' => Token::Char(chars.next().ok_or_else(fail)?),
            '[' => Token::Class(class(&mut chars, slash).ok_or_else(fail)?),
            c => Token::Char(c),
        });
    }
    out.dedup_by(|b, a| *a == Token::Many && *b == Token::Many);
    Ok(out)
}

/// What follows `[`, up to and with `]`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, slash: bool) -> Option<Class> {
    let not = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Class { not, ranges, slash });
        }
        let low = class_char(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Whether all of `name` matches: all ways are followed at once, so the cost is at most the product
/// of the lengths.
pub(crate) fn matches(tokens: &[Token], name: &str) -> bool {
    run(tokens, name, false)
}

/// Whether all of `path`, or of a directory that it is in, matches; costs as much as one match.
pub(crate) fn matches_or_parent(tokens: &[Token], path: &str) -> bool {
    run(tokens, path, true)
}

fn run(tokens: &[Token], name: &str, or_parent: bool) -> bool {
    let end = tokens.len();
    let mut states = vec![false; end + 1];
    let mut next = vec![false; end + 1];
    // `Dirs` in progress (text that has yet to end with a slash).
    let mut inside = vec![false; end + 1];
    states[0] = true;
    skip(tokens, &mut states);
    for (index, c) in name.chars().enumerate() {
        if or_parent && c == '/' && index > 0 && states[end] {
            return true;
        }
        next.fill(false);
        let mut alive = false;
        for (at, token) in tokens.iter().enumerate() {
            if inside[at] {
                alive = true;
                next[at + 1] |= c == '/';
            }
            if !states[at] {
                continue;
            }
            let (stay, go) = match token {
                Token::Char(wanted) => (false, *wanted == c),
                Token::One => (false, c != '/'),
                Token::Many => (c != '/', false),
                Token::Rest => (true, false),
                Token::Class(class) => (false, class.contains(c)),
                Token::Dirs => {
                    inside[at] = true;
                    (false, c == '/')
                }
            };
            next[at] |= stay;
            next[at + 1] |= go;
            alive |= stay || go || inside[at];
        }
        if !alive {
            return false;
        }
        skip(tokens, &mut next);
        std::mem::swap(&mut states, &mut next);
    }
    states[end]
}

/// Goes past what may match nothing.
fn skip(tokens: &[Token], states: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if states[at] && matches!(token, Token::Many | Token::Rest | Token::Dirs) {
            states[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_gos_do() {
        for (pattern, name, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("a[^x]b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("", "", true),
            ("", "a", false),
            ("*x", "xxx", true),
            ("**", "a/b", false),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(name), want, "{pattern} {name}");
        }
        for bad in ["[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a[", "a[^", "\\", "[^]"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_patterns_are_cheap_or_refused() {
        let pattern = "*a".repeat(MAX_PATTERN_LEN / 2);
        assert!(!Glob::parse(&pattern).unwrap().matches(&"a".repeat(1000)));
        assert!(Glob::parse(&"a".repeat(MAX_PATTERN_LEN + 1)).is_err());
        assert!(Glob::is_pattern("a*") && !Glob::is_pattern("a\\*"));
    }
}
