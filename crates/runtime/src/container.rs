//! Creating a container and letting it go: the parent's side of the first process.

use crate::cgroup::Cgroup;
use crate::error::LaunchError;
use crate::launch::Launch;
use std::os::fd::OwnedFd;

/// Where the three standard descriptors of a process lead.
#[derive(Debug)]
pub enum Stdio {
    /// All to the null device.
    Null,
    /// The given descriptors.
    Fds {
        /// Descriptor 0.
        stdin: OwnedFd,
        /// Descriptor 1.
        stdout: OwnedFd,
        /// Descriptor 2.
        stderr: OwnedFd,
    },
    /// A pseudo-terminal of the container's own devpts; its master side is given back.
    Terminal {
        /// Rows and columns to begin with.
        size: Option<(u16, u16)>,
    },
}

/// A container whose first process exists, is completely prepared and waits to be let go.
///
/// Dropping it without [`Created::start`] is [`Created::abort`] without waiting.
#[derive(Debug)]
pub struct Created {
    /// Process id as the caller sees it.
    pub pid: i32,
    /// Descriptor of the process.
    pub pidfd: OwnedFd,
    /// Master side of the terminal.
    pub console: Option<OwnedFd>,
    /// The control group.
    pub cgroup: Cgroup,
    /// What could not be done and does not matter enough to fail; for people to read.
    pub warnings: Vec<String>,
}

/// A container whose command runs.
#[derive(Debug)]
pub struct Running {
    /// Process id as the caller sees it.
    pub pid: i32,
    /// Descriptor of the process.
    pub pidfd: OwnedFd,
    /// The control group.
    pub cgroup: Cgroup,
}

/// Makes the container: namespaces, ids, mounts, control group. Its process waits just before
/// `execve`.
///
/// # Errors
/// [`LaunchError`]; nothing is left behind.
pub fn create(launch: &Launch, stdio: Stdio) -> Result<Created, LaunchError> {
    let _ = (launch, stdio);
    Err(LaunchError::runtime("create container: being built"))
}

impl Created {
    /// Lets the process go; returns once the command was executed.
    ///
    /// # Errors
    /// [`LaunchError`] when the command cannot be executed; the process is gone then.
    pub fn start(self) -> Result<Running, LaunchError> {
        Err(LaunchError::runtime("start container: being built"))
    }

    /// Kills the process, waits for it and removes the control group.
    pub fn abort(self) {}
}
