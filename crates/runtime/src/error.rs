//! What can go wrong on the way to a process: which step, on which object, and which exit code a
//! command line answers with. It never decides what to do about it.

use rustix::io::Errno;
use std::fmt;

/// Exit code of a command line when the runtime itself failed.
pub const EXIT_RUNTIME: i32 = 125;
/// Exit code when the command was found and cannot be executed.
pub const EXIT_CANNOT_EXECUTE: i32 = 126;
/// Exit code when the command was not found.
pub const EXIT_NOT_FOUND: i32 = 127;

/// What kind of failure, where a caller may act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request itself is wrong: a bad option, an unknown user, a name that is not a path.
    Invalid,
    /// The command exists and cannot be executed.
    CannotExecute,
    /// The command, or something it needs, does not exist.
    NotFound,
    /// Anything else: the kernel, the host, a limit.
    Runtime,
}

/// Why a process could not be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchError {
    /// The act that failed, with its objects, as in `mount tmpfs at /run`; also names the whole
    /// message when there is no error number.
    pub step: String,
    /// Error number of the system call, if one failed.
    pub errno: Option<i32>,
    /// Kind of failure.
    pub kind: FailureKind,
}

impl LaunchError {
    /// The request cannot be served as it stands.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { step: message.into(), errno: None, kind: FailureKind::Invalid }
    }

    /// A failure of the runtime without an error number.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self { step: message.into(), errno: None, kind: FailureKind::Runtime }
    }

    /// A system call failed while doing `step`.
    pub fn at(step: impl Into<String>, errno: Errno) -> Self {
        Self { step: step.into(), errno: Some(errno.raw_os_error()), kind: FailureKind::Runtime }
    }

    /// As [`LaunchError::at`], for errors that came through the standard library.
    pub fn io(step: impl Into<String>, error: &std::io::Error) -> Self {
        Self { step: step.into(), errno: error.raw_os_error(), kind: FailureKind::Runtime }
    }

    /// The same failure, said to be of another kind.
    #[must_use]
    pub fn of_kind(self, kind: FailureKind) -> Self {
        Self { kind, ..self }
    }

    /// 125, 126 or 127, as Docker's command line answers.
    pub fn exit_code(&self) -> i32 {
        match self.kind {
            FailureKind::CannotExecute => EXIT_CANNOT_EXECUTE,
            FailureKind::NotFound => EXIT_NOT_FOUND,
            FailureKind::Invalid | FailureKind::Runtime => EXIT_RUNTIME,
        }
    }

    /// The whole message.
    pub fn message(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "{}: {}", self.step, describe(errno)),
            None => f.write_str(&self.step),
        }
    }
}

impl std::error::Error for LaunchError {}

/// The kernel's words for an error number, without Rust's `(os error N)`.
fn describe(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}
