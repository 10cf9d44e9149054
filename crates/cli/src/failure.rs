//! Why a command failed: what to print on standard error and with which status to exit. It never
//! prints and never exits by itself.

use std::fmt;

/// Exit status when the command line or the daemon is at fault, not the container's program.
pub(crate) const DAEMON_FAILED: i32 = 125;
/// Exit status when the container's program exists but cannot be run.
pub(crate) const CANNOT_RUN: i32 = 126;
/// Exit status when the container's program does not exist.
pub(crate) const NOT_FOUND: i32 = 127;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) code: i32,
    /// What is printed on standard error; nothing when empty.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with the usual status 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// A status without words: everything was said already.
    pub(crate) fn silent(code: i32) -> Self {
        Self { code, message: String::new() }
    }

    /// The same failure with another exit status.
    pub(crate) fn with_code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}
