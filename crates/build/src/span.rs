//! Places in a source text, and how an error at such a place is shown: file, line, column and the
//! line itself. Never knows what language the text is in.

use std::fmt;
use std::sync::Arc;

/// A position in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 0 (shown from 1).
    pub column: u32,
}

/// A stretch of a text, ends included by line; an `end` equal to `start` marks one character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

impl Span {
    /// From the start of line `first` to the start of line `last`.
    pub fn lines(first: u32, last: u32) -> Self {
        Self { start: Position { line: first, column: 0 }, end: Position { line: last, column: 0 } }
    }
}

/// A text with the name it is shown under.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Name shown to the user, e.g. `Dockerfile`.
    pub name: String,
    /// The whole text; bytes that are no UTF-8 were replaced.
    pub text: String,
}

impl Source {
    /// Line `number` (from 1) without its line end.
    pub fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.text.lines().nth(index)
    }
}

/// A span with the text it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The text.
    pub source: Arc<Source>,
    /// The stretches meant, first the most telling.
    pub spans: Vec<Span>,
}

impl Location {
    /// One stretch of `source`.
    pub fn new(source: &Arc<Source>, span: Span) -> Self {
        Self { source: Arc::clone(source), spans: vec![span] }
    }

    /// The first position, `1:0` when there is no span.
    pub fn start(&self) -> Position {
        self.spans.first().map_or(Position { line: 1, column: 0 }, |span| span.start)
    }

    /// The lines around the place with numbers, the marked ones led by `>>>`, as Docker's clients
    /// draw them.
    pub fn excerpt(&self) -> String {
        const AROUND: u32 = 2;
        let Some(span) = self.spans.first() else { return String::new() };
        let first = span.start.line.saturating_sub(AROUND).max(1);
        let last = span.end.line.saturating_add(AROUND);
        let mut out = format!("{}:{}\n--------------------\n", self.source.name, span.start.line);
        let skip = usize::try_from(first - 1).unwrap_or(0);
        for (number, line) in (first..=last).zip(self.source.text.lines().skip(skip)) {
            let marked = span.start.line <= number && number <= span.end.line;
            let mark = if marked { ">>>" } else { "   " };
            out.push_str(&format!(" {number:3} | {mark} {line}\n"));
        }
        out.push_str("--------------------\n");
        out
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.start();
        write!(f, "{}:{line}:{}", self.source.name, column + 1)
    }
}
