//! The kinds of failure every part agrees on. A kind decides the HTTP status and the exit code;
//! the message is the error's own. This module never formats for a wire.

use std::fmt;

/// What kind of failure an error is, independent of which part reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request can never succeed as asked (HTTP 400).
    Invalid,
    /// The credentials are missing or wrong (HTTP 401).
    Unauthorized,
    /// The caller may not do this (HTTP 403).
    Forbidden,
    /// The object does not exist (HTTP 404).
    NotFound,
    /// The object is in a state, or in a use, that refuses the request (HTTP 409).
    Conflict,
    /// The object already is as asked (HTTP 304 where the API says so).
    NotModified,
    /// This build or host cannot do it (HTTP 501).
    Unsupported,
    /// Something needed is not ready (HTTP 503).
    Unavailable,
    /// The disk, or a limit of ours, is full (HTTP 507 is not used by clients: HTTP 500).
    Exhausted,
    /// The host or the kernel failed us (HTTP 500).
    Internal,
}

/// Errors that know their kind. Implemented by every crate's error type.
pub trait HasKind {
    /// The kind that decides status and exit code.
    fn kind(&self) -> ErrorKind;
    /// What the user can do about it, when we know.
    fn hint(&self) -> Option<&str> {
        None
    }
}

/// A refusal decided in pure code: the reason in words, and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The kind of refusal.
    pub kind: ErrorKind,
    /// The sentence shown to the user, without full stop.
    pub message: String,
}

impl Denied {
    /// A refusal of kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into() }
    }

    /// A refusal of kind [`ErrorKind::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Conflict, message: message.into() }
    }

    /// A refusal of kind [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotFound, message: message.into() }
    }

    /// A refusal of kind [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, message: message.into() }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Denied {}

impl HasKind for Denied {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}
