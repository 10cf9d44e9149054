//! What the monitor needs of a container, and the real one. Tests drive the monitor with plain
//! processes instead.

use crate::cgroup::{Cgroup, OomWatch};
use crate::container::{Created, Running, Stdio};
use crate::error::LaunchError;
use crate::exec::{ExecOptions, Execed};
use crate::foreign::Foreign;
use wire::oci::runtime::Process;

/// A created container.
pub(super) trait Sandbox {
    /// Lets init run its program. After an error there is no init any more.
    fn start(&mut self) -> Result<(), LaunchError>;

    /// Starts another process.
    fn exec(
        &mut self,
        process: &Process,
        user: Option<&str>,
        stdio: Stdio,
    ) -> Result<Execed, LaunchError>;

    /// Process ids of everything in the container.
    fn processes(&self) -> Vec<i32>;

    /// The cgroup's name.
    fn cgroup_path(&self) -> String;

    /// Kills everything in the container, also what it forks meanwhile.
    fn kill(&self);

    /// Tells of the kernel's kills for want of memory; `None` where it cannot.
    fn watch_oom(&self) -> Option<OomWatch>;

    /// How many processes of the container the kernel has killed for want of memory.
    fn oom_kills(&self) -> u64;

    /// Removes what the kernel keeps of the container after its last process.
    fn remove(&mut self);
}

/// A real container.
#[derive(Debug)]
pub(super) enum Container {
    /// Its init waits.
    Created(Box<Created>),
    /// Its program was started.
    Running(Box<Running>),
    /// Another runtime made it.
    Foreign(Box<Foreign>),
    /// Its start has failed.
    Gone,
}

impl Container {
    fn cgroup(&self) -> Option<&Cgroup> {
        match self {
            Self::Created(created) => Some(&created.cgroup),
            Self::Running(running) => Some(&running.cgroup),
            Self::Foreign(foreign) => Some(&foreign.cgroup),
            Self::Gone => None,
        }
    }
}

impl Sandbox for Container {
    fn start(&mut self) -> Result<(), LaunchError> {
        match std::mem::replace(self, Self::Gone) {
            Self::Created(created) => {
                *self = Self::Running(Box::new(created.start()?));
                Ok(())
            }
            Self::Foreign(foreign) => match foreign.start() {
                Ok(()) => {
                    *self = Self::Foreign(foreign);
                    Ok(())
                }
                Err(error) => {
                    foreign.remove();
                    Err(error)
                }
            },
            other => {
                *self = other;
                Err(LaunchError::runtime("start container: it is not in the created phase"))
            }
        }
    }

    fn exec(
        &mut self,
        process: &Process,
        user: Option<&str>,
        stdio: Stdio,
    ) -> Result<Execed, LaunchError> {
        let running = match self {
            Self::Running(running) => running,
            Self::Foreign(foreign) => return foreign.exec(process, user, stdio),
            _ => return Err(LaunchError::runtime("exec in container: it is not running")),
        };
        let options = ExecOptions { user: user.map(str::to_owned), preserve_fds: 0 };
        crate::exec::exec(running, process, stdio, &options)
    }

    fn processes(&self) -> Vec<i32> {
        self.cgroup().and_then(|cgroup| cgroup.processes().ok()).unwrap_or_default()
    }

    fn cgroup_path(&self) -> String {
        self.cgroup().map(|cgroup| cgroup.path().to_owned()).unwrap_or_default()
    }

    fn kill(&self) {
        // What is not there any more cannot be killed; nothing else can go wrong for root.
        let _ = self.cgroup().map(|cgroup| cgroup.kill_all(rustix::process::Signal::KILL));
    }

    fn watch_oom(&self) -> Option<OomWatch> {
        // Without the watch the exit still tells.
        self.cgroup()?.watch_oom().ok().flatten()
    }

    fn oom_kills(&self) -> u64 {
        self.cgroup().and_then(|cgroup| cgroup.oom_kills().ok()).unwrap_or(0)
    }

    fn remove(&mut self) {
        match std::mem::replace(self, Self::Gone) {
            Self::Created(created) => created.abort(),
            // What cannot be removed now is found by its name and removed by the next daemon.
            Self::Running(running) => drop(running.cgroup.delete()),
            Self::Foreign(foreign) => foreign.remove(),
            Self::Gone => {}
        }
    }
}
