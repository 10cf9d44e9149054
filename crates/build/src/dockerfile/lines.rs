//! From the text to one logical line per instruction: continuations joined, comments taken out.

use super::{Directives, Fault, MAX_LINE_BYTES};

/// What an instruction was written as.
#[derive(Debug)]
pub(super) struct Logical {
    /// The joined text.
    pub(super) text: String,
    /// First line, from 1.
    pub(super) first: u32,
    /// Last line.
    pub(super) last: u32,
    /// The comments right before, oldest first.
    pub(super) comments: Vec<String>,
    /// There was an empty line among the continuations.
    pub(super) empty_continuation: bool,
}

/// Reads a text line by line.
pub(super) struct Reader<'a> {
    rest: &'a str,
    /// The number of the line read last.
    pub(super) line: u32,
    in_head: bool,
    comments: Vec<String>,
    pub(super) directives: Directives,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 0,
            in_head: true,
            comments: Vec::new(),
            directives: Directives::default(),
        }
    }

    /// The next physical line with its end.
    pub(super) fn raw(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let len = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(len);
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    fn bounded(&mut self) -> Result<Option<&'a str>, Fault> {
        match self.raw() {
            Some(line) if line.len() > MAX_LINE_BYTES => Err(Fault::new(format!(
                "dockerfile line greater than max allowed size of {MAX_LINE_BYTES}"
            ))),
            line => Ok(line.map(|line| line.trim_end_matches(['\r', '\n']))),
        }
    }

    /// The next instruction's text.
    pub(super) fn next(&mut self) -> Result<Option<Logical>, Fault> {
        while let Some(line) = self.bounded()? {
            let text = line.trim_start();
            if self.in_head {
                self.in_head = self.directives.take(text, self.line)?;
                if self.in_head {
                    continue;
                }
            }
            if let Some(comment) = text.strip_prefix('#') {
                match comment.trim() {
                    "" => self.comments.clear(),
                    comment => self.comments.push(comment.to_owned()),
                }
                continue;
            }
            if text.is_empty() {
                continue;
            }
            if let Some(logical) = self.join(text)? {
                return Ok(Some(logical));
            }
        }
        Ok(None)
    }

    fn join(&mut self, text: &str) -> Result<Option<Logical>, Fault> {
        let escape = self.directives.escape_char();
        let (part, mut more) = continued(text, escape);
        let mut out = Logical {
            text: part.to_owned(),
            first: self.line,
            last: self.line,
            comments: Vec::new(),
            empty_continuation: false,
        };
        while more {
            let Some(line) = self.bounded()? else { break };
            let bare = line.trim_start();
            if bare.starts_with('#') {
                continue;
            }
            if bare.is_empty() {
                out.empty_continuation = true;
                continue;
            }
            let part;
            (part, more) = continued(line, escape);
            out.text.push_str(part);
        }
        out.last = self.line;
        if out.text.trim().is_empty() {
            return Ok(None);
        }
        out.comments = std::mem::take(&mut self.comments);
        Ok(Some(out))
    }
}

/// A line without the escape character that continues it, and whether it had one: the last
/// character but blanks, not itself escaped.
fn continued(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}
