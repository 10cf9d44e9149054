//! Here-documents: `<<EOF`, `<<-EOF`, `<<"EOF"`, several in one instruction.

use super::Fault;
use crate::expand::{Expander, Quotes, Variables};

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// Its delimiter, which COPY and ADD take as file name.
    pub name: String,
    /// Its lines as written, line ends included.
    pub content: String,
    /// `<<-`: leading tabs do not belong to it.
    pub chomp: bool,
    /// No part of the delimiter was quoted: variables are expanded.
    pub expand: bool,
}

impl Heredoc {
    /// The content without the leading tabs that `<<-` takes away.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        let lines = self.content.split_inclusive('\n');
        lines.map(|line| line.trim_start_matches('\t')).collect()
    }
}

struct Nothing;

impl Variables for Nothing {
    fn value(&self, _: &str) -> Option<&str> {
        None
    }
}

const RAW: Expander =
    Expander { escape: '\\', quotes: Quotes::Keep, keep_escapes: true, keep_unset: true };

/// The here-documents that `line` opens, in order, without content.
pub(super) fn find(line: &str) -> Vec<Heredoc> {
    // A line that is no list of words (an odd quote) opens none; the shell will judge it.
    let words = RAW.expand(line, &Nothing).map(|expanded| expanded.words).unwrap_or_default();
    words.iter().filter_map(|word| parse(word)).collect()
}

/// The here-document that a word opens.
pub(super) fn parse(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let plain = Expander { quotes: Quotes::Remove, keep_escapes: false, ..RAW };
    let kept = Expander { keep_escapes: false, ..RAW };
    let (plain, kept) = (plain.expand(rest, &Nothing).ok()?, kept.expand(rest, &Nothing).ok()?);
    let ([name], [raw]) = (plain.words.as_slice(), kept.words.as_slice()) else { return None };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Some(Heredoc {
        expand: quotes(name) == quotes(raw),
        name: name.clone(),
        content: String::new(),
        chomp,
    })
}

/// Takes the content of `docs` from `lines` (with their ends). Gives how many lines were eaten.
pub(super) fn fill<'a>(
    docs: &mut [Heredoc],
    lines: impl Iterator<Item = &'a str>,
) -> Result<u32, Fault> {
    let mut lines = lines;
    let mut eaten = 0;
    for doc in docs {
        loop {
            let Some(line) = lines.next() else { return Err(Fault::new("unterminated heredoc")) };
            eaten += 1;
            let bare = line.trim_end_matches(['\r', '\n']);
            let bare = if doc.chomp { bare.trim_start_matches('\t') } else { bare };
            if bare == doc.name {
                break;
            }
            doc.content.push_str(line);
        }
    }
    Ok(eaten)
}
