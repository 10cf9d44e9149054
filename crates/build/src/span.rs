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

/// A stretch of a text. Whole lines, the last included, when both columns are 0; else the
/// characters from `start` to before `end`.
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

    /// Whether it is about characters, not about whole lines.
    fn is_exact(&self) -> bool {
        (self.start.column, self.end.column) != (0, 0)
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

    /// Where `word` is in the lines of `span`: alone, else within another; else, and for no word,
    /// the first word there. `None` for empty lines.
    fn find(&self, span: Span, word: &str) -> Option<Span> {
        let first = span.start.line.max(1);
        let skip = usize::try_from(first - 1).ok()?;
        // Comments among continuations say nothing.
        let says =
            |(number, line): &(u32, &str)| *number == first || !line.trim_start().starts_with('#');
        let lines = || (first..=span.end.line.max(first)).zip(self.text.lines().skip(skip));
        let lines = || lines().filter(says);
        let exact = |(number, line): (u32, &str), at: usize, word: &str| {
            let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(0);
            let start = Position { line: number, column: count(&line[..at]) };
            let end = Position { column: start.column + count(word), ..start };
            Span { start, end }
        };
        let alone = |(number, line): (u32, &str)| {
            let at = line.match_indices(word).find(|(at, _)| stands_alone(line, *at, word))?.0;
            Some(exact((number, line), at, word))
        };
        let within =
            |(number, line): (u32, &str)| line.find(word).map(|at| exact((number, line), at, word));
        let begin = |(number, line): (u32, &str)| {
            let word = line.split_whitespace().next()?;
            line.find(word).map(|at| exact((number, line), at, word))
        };
        if word.is_empty() {
            return lines().find_map(begin);
        }
        let found = lines().find_map(alone).or_else(|| lines().find_map(within));
        found.or_else(|| lines().find_map(begin))
    }
}

/// Whether nothing beside `word` at byte `at` of `line` belongs to it.
fn stands_alone(line: &str, at: usize, word: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    !line[..at].ends_with(belongs) && !line[at + word.len()..].starts_with(belongs)
}

/// A span with the text it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The text.
    pub source: Arc<Source>,
    /// The stretches meant, first the most telling; the last holds the others.
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

    /// The same place, pointing at `word` in it, or at its first word.
    #[must_use]
    pub fn pointing_at(&self, word: &str) -> Self {
        let whole = self.spans.last().copied();
        let exact = whole.and_then(|whole| self.source.find(whole, word));
        Self { source: Arc::clone(&self.source), spans: exact.into_iter().chain(whole).collect() }
    }

    /// The lines around the place with numbers, those that are meant led by `>>>`, as Docker's
    /// clients draw them; below an exact place are marks.
    pub fn excerpt(&self) -> String {
        const AROUND: u32 = 2;
        let Some((exact, whole)) = self.spans.first().zip(self.spans.last()) else {
            return String::new();
        };
        let place = match exact.is_exact() {
            true => self.to_string(),
            false => format!("{}:{}", self.source.name, exact.start.line),
        };
        let first = whole.start.line.saturating_sub(AROUND).max(1);
        let last = whole.end.line.saturating_add(AROUND);
        let mut out = format!("{place}\n--------------------\n");
        let skip = usize::try_from(first - 1).unwrap_or(0);
        for (number, line) in (first..=last).zip(self.source.text.lines().skip(skip)) {
            let marked = whole.start.line <= number && number <= whole.end.line;
            let mark = if marked { ">>>" } else { "   " };
            out.push_str(&format!(" {number:3} | {mark} {line}\n"));
            if exact.is_exact() && number == exact.start.line {
                let (start, end) = (exact.start.column, exact.end.column);
                out.push_str(&format!("     |     {}\n", marks(line, start, end)));
            }
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

/// Marks below the characters of `line` from `start` to before `end`.
fn marks(line: &str, start: u32, end: u32) -> String {
    let count = |number: u32| usize::try_from(number).unwrap_or(0);
    // What is wide stays as wide.
    let blank = |c: char| if c == '\t' { c } else { ' ' };
    let before = line.chars().take(count(start)).map(blank);
    let marked = count(end.saturating_sub(start)).max(1);
    before.chain(std::iter::repeat_n('^', marked)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, first: u32, last: u32) -> Location {
        let source = Source { name: "D".to_owned(), text: text.to_owned() };
        Location::new(&Arc::new(source), Span::lines(first, last))
    }

    #[test]
    fn words_are_found_where_they_stand_alone() {
        let place = place("FROM ab\n\n  COPY a.b cab \\\n # b\n --from=b /b\n", 3, 5);
        for (word, wanted) in [
            ("b", "D:5:9"),
            ("/b", "D:5:11"),
            ("cab", "D:3:12"),
            ("ca", "D:3:12"),
            ("", "D:3:3"),
            ("nowhere", "D:3:3"),
            ("FROM", "D:3:3"),
        ] {
            assert_eq!(place.pointing_at(word).to_string(), wanted, "{word}");
        }
        // Once more does not lose the whole.
        let again = place.pointing_at("cab").pointing_at("b");
        assert_eq!(again.spans, place.pointing_at("b").spans);
        assert_eq!(again.spans[1], Span::lines(3, 5));
    }

    #[test]
    fn exact_places_are_marked() {
        let place = place("1\n2\n\tRUN ä x y\n4\n5\n6\n", 3, 4);
        let wanted = "D:3:8\n--------------------\n   1 |     1\n   2 |     2\n   \
             3 | >>> \tRUN ä x y\n     |     \t      ^\n   \
             4 | >>> 4\n   5 |     5\n   6 |     6\n--------------------\n";
        assert_eq!(place.pointing_at("x").excerpt(), wanted);
        let lines = place.excerpt();
        assert!(lines.starts_with("D:3\n---") && !lines.contains('^'), "{lines}");
        assert!(place.pointing_at("RUN").excerpt().contains("\n     |     \t^^^\n"));
    }

    #[test]
    fn places_that_are_not_there_are_no_places() {
        let place = place("\n\n", 1, 9);
        assert_eq!(place.pointing_at("x").spans, [Span::lines(1, 9)]);
        assert_eq!(place.excerpt().lines().count(), 5);
    }
}
