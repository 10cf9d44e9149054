//! Dockerfiles as values: what was written, with the place of everything. Knows nothing of stages'
//! meaning, of images or of files.
//!
//! ```text
//! bytes ─▶ lines (continuations, comments, heredocs) ─▶ words, flags ─▶ Instruction
//! ```

mod flags;
mod heredoc;
mod instruction;
mod lines;
mod mount;
mod parse;
mod words;

mod directives;
#[cfg(test)]
mod tests;

pub(crate) use directives::check_in_comment;
pub use directives::{Directive, Directives, detect_syntax};
pub use heredoc::Heredoc;
pub use instruction::{
    ArgDefinition, Command, Copy, Exposed, From, Healthcheck, Instruction, Kind, OnBuild, Pair, Run,
};
pub use mount::{DeviceFlag, MountFlag, MountType};

use crate::span::{Location, Source, Span};
use model::error::{ErrorKind, HasKind};
use std::sync::Arc;

/// The largest Dockerfile in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// The longest line in bytes, before continuations are joined.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// The most instructions.
pub const MAX_INSTRUCTIONS: usize = 20_000;

/// A Dockerfile, parsed.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The text, for messages.
    pub source: Arc<Source>,
    /// The parser directives at its head.
    pub directives: Directives,
    /// The instructions in order.
    pub instructions: Vec<Instruction>,
    /// Lines (from 1) at which an instruction with empty lines among its continuations ends.
    pub empty_continuations: Vec<u32>,
}

/// Why a text is no Dockerfile.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The sentence shown, as Docker words it.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
}

impl HasKind for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// What went wrong at a place; the text it is in is known further out.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// The word at fault, for the column; empty for the whole instruction.
    pub(crate) word: String,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), word: String::new() }
    }

    pub(crate) fn at(message: impl Into<String>, word: impl Into<String>) -> Self {
        Self { message: message.into(), word: word.into() }
    }
}

impl Dockerfile {
    /// Parses `bytes`, which the user knows as `name`. Bytes that are no UTF-8 are replaced.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ParseError> {
        let fail = |message: &str| ParseError { message: message.to_owned(), location: None };
        if bytes.is_empty() {
            return Err(fail("the Dockerfile cannot be empty"));
        }
        if bytes.len() > MAX_BYTES {
            return Err(fail(&format!("the Dockerfile is larger than {MAX_BYTES} bytes")));
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let source = Arc::new(Source { name: name.to_owned(), text });
        parse::dockerfile(&source)
    }

    /// The syntax directive's image, which the built-in front end answers for.
    pub fn syntax(&self) -> Option<&str> {
        self.directives.syntax.as_ref().map(|directive| directive.value.as_str())
    }
}

/// Whether `text` is one here-document's sign and delimiter, and nothing else.
pub(crate) fn is_heredoc(text: &str) -> bool {
    heredoc::parse(text).is_some()
}

/// Parses one instruction of an ONBUILD trigger; its place is that of `span` in `source`.
pub(crate) fn parse_trigger(
    trigger: &str,
    source: &Arc<Source>,
    span: Span,
) -> Result<Instruction, ParseError> {
    parse::trigger(trigger, source, span)
}
