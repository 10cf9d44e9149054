//! Shell patterns of `${v#…}`, `${v%…}` and `${v/…}`: `*` and `?` (neither matches a line end) and
//! `\` before them. No brackets, as in BuildKit.

use super::{ExpandError, MAX_EXPANDED_BYTES};

/// Comparisons that one expansion may cost.
const MAX_STEPS: usize = 5_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Any text without line end.
    Many,
    /// Any character but a line end.
    One,
    /// This one.
    Char(char),
}

/// A pattern, parsed.
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, ExpandError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.next() {
                    // `}` and `/` are escaped only because they would end the expression.
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    other => {
                        let other = other.map(String::from).unwrap_or_default();
                        return Err(ExpandError::Syntax(format!(
                            "invalid pattern ({text}) in substitution: invalid escape '\\{other}'"
                        )));
                    }
                },
                c => Token::Char(c),
            });
        }
        // `**` matches what `*` does and would only cost.
        tokens.dedup_by(|b, a| *a == Token::Many && *b == Token::Many);
        Ok(Self(tokens))
    }

    pub(super) fn trim_start(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let end = self.end(&chars, longest, &mut 0)?.unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    pub(super) fn trim_end(&self, value: &str, longest: bool) -> Result<String, ExpandError> {
        let reversed = Self(self.0.iter().rev().copied().collect());
        let chars: Vec<char> = value.chars().rev().collect();
        let end = reversed.end(&chars, longest, &mut 0)?.unwrap_or(0);
        Ok(chars[end..].iter().rev().collect())
    }

    pub(super) fn replace(
        &self,
        value: &str,
        text: &str,
        all: bool,
    ) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let (mut at, mut steps) = (0, 0);
        // An empty match right behind another match does not count.
        let mut behind = false;
        while at <= chars.len() {
            let found = self.end(&chars[at..], true, &mut steps)?;
            match found {
                Some(len) if len > 0 || !behind => {
                    out.push_str(text);
                    if len == 0 {
                        out.extend(chars.get(at));
                    }
                    at += len.max(1);
                    behind = len > 0;
                    if !all {
                        break;
                    }
                }
                _ => {
                    out.extend(chars.get(at));
                    at += 1;
                    behind = false;
                }
            }
            if out.len() > MAX_EXPANDED_BYTES {
                return Err(ExpandError::Limit(format!(
                    "the expansion is longer than {MAX_EXPANDED_BYTES} bytes"
                )));
            }
        }
        out.extend(chars.get(at..).unwrap_or_default());
        Ok(out)
    }

    /// Where a match that begins at the start ends.
    fn end(
        &self,
        chars: &[char],
        longest: bool,
        steps: &mut usize,
    ) -> Result<Option<usize>, ExpandError> {
        let tokens = &self.0;
        let mut states = vec![false; tokens.len() + 1];
        states[0] = true;
        let mut found = None;
        for at in 0..=chars.len() {
            *steps += tokens.len() + 1;
            if *steps > MAX_STEPS {
                let message = "the pattern in the substitution costs too much to match";
                return Err(ExpandError::Limit(message.to_owned()));
            }
            // `Many` may match nothing.
            for (index, token) in tokens.iter().enumerate() {
                if states[index] && *token == Token::Many {
                    states[index + 1] = true;
                }
            }
            if states[tokens.len()] {
                found = Some(at);
                if !longest {
                    return Ok(found);
                }
            }
            let Some(c) = chars.get(at) else { break };
            let mut next = vec![false; tokens.len() + 1];
            for (index, token) in tokens.iter().enumerate().filter(|(index, _)| states[*index]) {
                match token {
                    Token::Many if *c != '\n' => next[index] = true,
                    Token::One if *c != '\n' => next[index + 1] = true,
                    Token::Char(wanted) if wanted == c => next[index + 1] = true,
                    _ => {}
                }
            }
            if !next.contains(&true) {
                break;
            }
            states = next;
        }
        Ok(found)
    }
}
