//! Entering a running container with another process.

use crate::container::{Running, Stdio};
use crate::error::LaunchError;
use std::os::fd::OwnedFd;
use wire::oci::runtime::Process;

/// What an exec needs beyond the process itself.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// User as Docker writes it; see [`crate::launch::Launch::user`].
    pub user: Option<String>,
}

/// A process that was started in a container. It is the caller's child to reap.
#[derive(Debug)]
pub struct Execed {
    /// Process id as the caller sees it.
    pub pid: i32,
    /// Descriptor of the process.
    pub pidfd: OwnedFd,
    /// Master side of the terminal.
    pub console: Option<OwnedFd>,
}

/// Starts `process` in the container of `target`, under everything that its first process is
/// under. Capabilities that `process` does not name are the first process's.
///
/// # Errors
/// [`LaunchError`]; nothing is left behind.
pub fn exec(
    target: &Running,
    process: &Process,
    stdio: Stdio,
    options: &ExecOptions,
) -> Result<Execed, LaunchError> {
    let _ = (target, process, stdio, options);
    Err(LaunchError::runtime("exec: being built"))
}
