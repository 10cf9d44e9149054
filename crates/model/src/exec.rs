//! Processes started inside a running container, as asked and as they are.

use crate::id::{ContainerId, ExecId};

/// A further process as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecDraft {
    /// Program and arguments; must not be empty.
    pub command: Vec<String>,
    /// `NAME=value`, added to the container's.
    pub env: Vec<String>,
    /// Absolute directory; empty for the container's.
    pub workdir: String,
    /// `user[:group]`; empty for the container's.
    pub user: String,
    /// Allocate a pseudo terminal.
    pub tty: bool,
    /// Attach standard input.
    pub attach_stdin: bool,
    /// Attach standard output.
    pub attach_stdout: bool,
    /// Attach standard error.
    pub attach_stderr: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Key sequence that detaches; empty for the default.
    pub detach_keys: String,
    /// Initial terminal size, rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// A further process as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecView {
    /// Its id.
    pub id: ExecId,
    /// Its container.
    pub container: ContainerId,
    /// As asked.
    pub draft: ExecDraft,
    /// Its state.
    pub state: ExecState,
}

/// The state of a further process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecState {
    /// Not started.
    Created,
    /// Running.
    Running {
        /// Its pid on the host.
        pid: i32,
    },
    /// Over.
    Exited {
        /// Its pid on the host, while it ran.
        pid: i32,
        /// Exit code, 128+n for a signal.
        code: i32,
    },
}
