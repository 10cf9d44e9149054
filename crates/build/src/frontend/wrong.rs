//! Why a file that can be parsed makes no plan, and where in it. Never knows what a file may say.

use super::PlanError;
use crate::dockerfile::{Dockerfile, Fault};
use crate::span::{Location, Span};
use model::ErrorKind;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) message: String,
    /// `None`: it is not the file that is wrong.
    span: Option<Span>,
    /// The word at fault, as it is written in `span`; else the whole is.
    word: String,
}

impl Wrong {
    /// Something that no line of the file says.
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, word: String::new() }
    }

    /// Points at a word.
    pub(super) fn about(self, word: impl Into<String>) -> Self {
        Self { word: word.into(), ..self }
    }

    /// The error, in `file`.
    pub(super) fn refuse(self, file: &Dockerfile) -> PlanError {
        let place = |span| Location::new(&file.source, span).pointing_at(&self.word);
        PlanError {
            kind: ErrorKind::Invalid,
            location: self.span.map(place),
            message: self.message,
            warnings: Vec::new(),
        }
    }
}

impl From<(String, Span)> for Wrong {
    fn from((message, span): (String, Span)) -> Self {
        Self { message, span: Some(span), word: String::new() }
    }
}

impl From<(Fault, Span)> for Wrong {
    fn from((fault, span): (Fault, Span)) -> Self {
        Self { message: fault.message, span: Some(span), word: fault.word }
    }
}
