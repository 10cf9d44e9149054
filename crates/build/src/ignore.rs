//! `.dockerignore` files and their patterns, matched as Docker does (`moby/patternmatcher`): `!`
//! makes exceptions, `**` crosses directories, a directory that matches takes all below it along.
//! COPY's and ADD's `--exclude`, and `--parents`, match so too. Pure: never opens a file.
//!
//! ```
//! use build::ignore::{Matcher, read};
//! let matcher = Matcher::new(&read(b"*.log\n!keep.log\n").unwrap()).unwrap();
//! assert!(matcher.matches("a.log") && !matcher.matches("keep.log"));
//! ```

#[cfg(test)]
mod tests;

use crate::glob::{self, GlobError, Token};
use crate::text::clean_path;

/// The name of the file in a context's root.
pub const DOCKERIGNORE: &str = ".dockerignore";
/// The largest such file in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Why patterns are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A lone `!`.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneBang,
    /// No pattern.
    #[error(transparent)]
    Pattern(#[from] GlobError),
    /// More than [`MAX_FILE_BYTES`].
    #[error(".dockerignore is larger than {MAX_FILE_BYTES} bytes")]
    Large,
}

/// The names of the files that may say what a build with this Dockerfile ignores, the one that
/// counts first: `<Dockerfile>.dockerignore` beside the Dockerfile, then the context's.
pub fn candidates(dockerfile: &str) -> [String; 2] {
    [format!("{dockerfile}{DOCKERIGNORE}"), DOCKERIGNORE.to_owned()]
}

/// The patterns of a file: no comments (`#` in the first column), no empty lines, cleaned, without
/// leading slashes.
pub fn read(file: &[u8]) -> Result<Vec<String>, IgnoreError> {
    if file.len() > MAX_FILE_BYTES {
        return Err(IgnoreError::Large);
    }
    let text = String::from_utf8_lossy(file);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.map(str::trim).filter(|line| !line.is_empty()).map(normalise).collect())
}

fn normalise(line: &str) -> String {
    let (bang, pattern) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if pattern.is_empty() {
        return bang.to_owned();
    }
    let cleaned = clean_path(pattern);
    let relative = match cleaned.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest,
        _ => &cleaned,
    };
    format!("{bang}{relative}")
}

/// Patterns, ready to match; the last that matches decides.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    exception: bool,
    how: How,
}

/// The cheap ways to match, and the general one.
#[derive(Clone, Debug)]
enum How {
    Exact,
    /// `text` up to its final `**`.
    Prefix,
    /// `text` behind its leading `**`.
    Suffix,
    Tokens(Vec<Token>),
}

/// Which patterns a directory matched; its children begin there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(Vec<bool>);

impl Matcher {
    /// Patterns as [`read`] gives them.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, IgnoreError> {
        let mut out = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let trimmed = pattern.as_ref().trim();
            if trimmed.is_empty() {
                continue;
            }
            let cleaned = clean_path(trimmed);
            let (exception, text) = match cleaned.strip_prefix('!') {
                Some("") => return Err(IgnoreError::LoneBang),
                Some(rest) => (true, rest),
                None => (false, cleaned.as_str()),
            };
            out.push(Pattern { how: how(text)?, text: text.to_owned(), exception });
        }
        Ok(Self { patterns: out })
    }

    /// Whether there is any `!`.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the root's every entry is ignored (`*`, `**`).
    pub fn takes_all(&self) -> bool {
        let all = |pattern: &&Pattern| matches!(pattern.text.as_str(), "*" | "**" | "**/*");
        self.patterns.iter().filter(|pattern| !pattern.exception).any(|pattern| all(&pattern))
    }

    /// Whether `path` (relative, slashes) or a directory it is in is ignored.
    pub fn matches(&self, path: &str) -> bool {
        self.step(path, None).0
    }

    /// The same for a walk down a tree: `parent` is what the step for the directory that `path` is
    /// in gave; `None` in the root.
    pub fn step(&self, path: &str, parent: Option<&State>) -> (bool, State) {
        let mut ignored = false;
        let mut state = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.and_then(|state| state.0.get(index)).copied();
            let mut matched = inherited == Some(true);
            if !matched {
                // A pattern that could only confirm what is decided is not asked.
                if pattern.exception != ignored {
                    continue;
                }
                matched = match inherited {
                    Some(_) => pattern.matches(path),
                    None => pattern.matches_or_parent(path),
                };
            }
            state[index] = matched;
            if matched {
                ignored = !pattern.exception;
            }
        }
        (ignored, State(state))
    }

    /// Whether nothing below the ignored directory `dir` can be an exception, so that a walk need
    /// not enter it.
    pub fn prunes(&self, dir: &str) -> bool {
        let below = format!("{}/", dir.trim_end_matches('/'));
        self.patterns.iter().filter(|pattern| pattern.exception).all(|pattern| {
            let fixed_len = pattern.text.find(['*', '?', '[', '\\']);
            match fixed_len {
                None => !format!("{}/", pattern.text).starts_with(&below),
                Some(len) => {
                    let fixed = &pattern.text[..len];
                    !fixed.starts_with(&below) && !below.starts_with(fixed)
                }
            }
        })
    }
}

impl Pattern {
    fn matches(&self, path: &str) -> bool {
        match &self.how {
            How::Exact => path == self.text,
            How::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            How::Suffix => {
                let suffix = &self.text[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|name| path == name)
            }
            How::Tokens(tokens) => glob::matches(tokens, path),
        }
    }

    fn matches_or_parent(&self, path: &str) -> bool {
        match &self.how {
            How::Tokens(tokens) => glob::matches_or_parent(tokens, path),
            _ => self.matches(path) || parents(path).any(|dir| self.matches(dir)),
        }
    }
}

/// Chooses the cheapest way that says the same.
fn how(text: &str) -> Result<How, IgnoreError> {
    // Go's filepath.Match judges the syntax before anything is made of the stars.
    glob::tokens(text, false, false)?;
    let special = |text: &str| text.contains(['*', '?', '[', ']', '\\']);
    if !special(text) {
        return Ok(How::Exact);
    }
    if let Some(rest) = text.strip_prefix("**").filter(|rest| !special(rest)) {
        // `**name` matches every path that ends so, `**/name` only whole names.
        return Ok(if rest == "/" { How::Prefix } else { How::Suffix });
    }
    if text.strip_suffix("**").is_some_and(|rest| !special(rest)) {
        return Ok(How::Prefix);
    }
    Ok(How::Tokens(glob::tokens(text, true, true)?))
}

/// The directories that `path` is in, the topmost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).filter(|dir| !dir.is_empty())
}
