//! Variables and quotes in the words of a Dockerfile: `$v`, `${v}`, `${v:-w}` and the other forms,
//! as BuildKit expands them (a subset of POSIX.1-2024 XCU 2.6.2, and bash's `/`). Knows neither
//! instructions nor where variables come from.

mod lexer;
mod pattern;
#[cfg(test)]
mod tests;

pub(crate) use lexer::Lexer;

use std::collections::BTreeSet;

/// The longest result of one expansion in bytes. `ENV A=$A$A` doubles with each line, so something
/// must end it; the kernel takes no environment string of more than 128 KiB.
pub const MAX_EXPANDED_BYTES: usize = 1 << 20;
/// How deep `${a:-${b:-…}}` may nest.
pub const MAX_DEPTH: usize = 64;

/// Why a word cannot be expanded; messages are BuildKit's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote, brace or slash is missing.
    #[error("{0}")]
    Syntax(String),
    /// `${v?message}` of a variable that is not there.
    #[error("{name}: {message}")]
    Missing {
        /// The variable.
        name: String,
        /// The message given, or the usual one.
        message: String,
    },
    /// A limit of ours.
    #[error("{0}")]
    Limit(String),
}

/// Where values come from.
pub trait Variables {
    /// The variable's value, `None` when it is not set.
    fn value(&self, name: &str) -> Option<&str>;
}

impl<F: Fn(&str) -> Option<&'static str>> Variables for F {
    fn value(&self, name: &str) -> Option<&str> {
        self(name)
    }
}

/// What becomes of quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quotes {
    /// They quote, and go.
    #[default]
    Remove,
    /// They quote, and stay.
    Keep,
    /// They are characters as others.
    Ignore,
}

/// How words are expanded.
#[derive(Clone, Copy, Debug)]
pub struct Expander {
    /// `\` or `` ` ``.
    pub escape: char,
    /// What becomes of quotes.
    pub quotes: Quotes,
    /// Keep escape characters.
    pub keep_escapes: bool,
    /// Keep `$v` as it is when `v` is not set.
    pub keep_unset: bool,
}

/// A word, expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The whole.
    pub text: String,
    /// Split at blanks that no quote protects.
    pub words: Vec<String>,
    /// Variables that were set.
    pub matched: BTreeSet<String>,
    /// Variables that were not.
    pub unmatched: BTreeSet<String>,
}

impl Expander {
    /// Removes quotes and escapes, replaces unset variables by nothing.
    pub fn new(escape: char) -> Self {
        Self { escape, quotes: Quotes::Remove, keep_escapes: false, keep_unset: false }
    }

    /// Expands `word`.
    pub fn expand(&self, word: &str, variables: &dyn Variables) -> Result<Expanded, ExpandError> {
        Lexer::new(*self, word, variables).run().map_err(|err| match err {
            ExpandError::Limit(_) => err,
            err => ExpandError::Syntax(format!(
                "failed to process {}: {err}",
                crate::text::quote(word)
            )),
        })
    }
}
