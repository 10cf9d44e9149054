//! Hooks: programs that are told the state of a container at points of its life, config.md
//! "POSIX-platform Hooks".

use crate::error::LaunchError;
use crate::launch::Launch;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::clone::Argv;
use wire::oci::runtime::{Hook, Hooks, LATEST, State};

/// Where in the life of a container hooks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// After the namespaces were made; `prestart` too.
    CreateRuntime,
    /// The same, in the container's namespaces.
    CreateContainer,
    /// In the container, just before its command.
    StartContainer,
    /// After its command was executed.
    Poststart,
    /// After it is gone.
    Poststop,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Point::CreateRuntime => "createRuntime",
            Point::CreateContainer => "createContainer",
            Point::StartContainer => "startContainer",
            Point::Poststart => "poststart",
            Point::Poststop => "poststop",
        })
    }
}

/// The container's namespaces, for hooks that run there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside<'a> {
    pub(crate) pidfd: BorrowedFd<'a>,
    pub(crate) kinds: u64,
}

/// Runs the hooks of `point`, one after the other; the first that fails ends it.
pub(crate) fn run(
    launch: &Launch,
    point: Point,
    pid: i32,
    inside: Option<Inside<'_>>,
) -> Result<(), LaunchError> {
    let Some(hooks) = &launch.spec.hooks else { return Ok(()) };
    let all = of(hooks, point);
    if all.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(&state(launch, point, pid))
        .map_err(|error| LaunchError::runtime(format!("write the state for hooks: {error}")))?;
    for hook in all {
        run_one(hook, &state, inside).map_err(|error| {
            LaunchError::runtime(format!("{point} hook {}: {error}", hook.path))
        })?;
    }
    Ok(())
}

fn of(hooks: &Hooks, point: Point) -> Vec<&Hook> {
    match point {
        Point::CreateRuntime => hooks.prestart.iter().chain(&hooks.create_runtime).collect(),
        Point::CreateContainer => hooks.create_container.iter().collect(),
        Point::StartContainer => hooks.start_container.iter().collect(),
        Point::Poststart => hooks.poststart.iter().collect(),
        Point::Poststop => hooks.poststop.iter().collect(),
    }
}

/// Everything that would be run, and what it would be told.
#[cfg(test)]
pub(crate) fn all(launch: &Launch) -> String {
    let points = [
        Point::CreateRuntime,
        Point::CreateContainer,
        Point::StartContainer,
        Point::Poststart,
        Point::Poststop,
    ];
    let hooks = launch.spec.hooks.clone().unwrap_or_default();
    let each = points.map(|point| (of(&hooks, point).len(), state(launch, point, 1)));
    format!("{each:?} {hooks:?}")
}

fn state(launch: &Launch, point: Point, pid: i32) -> State {
    let status = match point {
        Point::CreateRuntime | Point::CreateContainer => "creating",
        Point::StartContainer => "created",
        Point::Poststart => "running",
        Point::Poststop => "stopped",
    };
    State {
        oci_version: LATEST.to_owned(),
        id: launch.id.clone(),
        status: status.to_owned(),
        pid: if point == Point::Poststop { 0 } else { pid },
        bundle: launch.bundle.as_ref().map(|b| b.display().to_string()).unwrap_or_default(),
        annotations: launch.spec.annotations.clone(),
    }
}

fn run_one(hook: &Hook, state: &[u8], inside: Option<Inside<'_>>) -> Result<(), String> {
    let words = |list: &[String]| -> Result<Argv, String> {
        let strings = list.iter().map(|word| CString::new(word.as_str()));
        Ok(Argv::new(strings.collect::<Result<_, _>>().map_err(|error| error.to_string())?))
    };
    let path = CString::new(hook.path.as_str()).map_err(|error| error.to_string())?;
    let args = match hook.args.is_empty() {
        true => words(std::slice::from_ref(&hook.path))?,
        false => words(&hook.args)?,
    };
    let env = words(&hook.env)?;
    let input = input(state).map_err(|errno| errno.to_string())?;
    let child = sys::clone::clone3(0, || {
        let ready = inside
            .map_or(Ok(()), |inside| sys::mount::setns(inside.pidfd, inside.kinds))
            .and_then(|()| rustix::stdio::dup2_stdin(&input))
            .and_then(|()| sys::process::close_on_exec_from(3))
            .and_then(|()| sys::process::reset_signals());
        if ready.is_ok() {
            sys::clone::execve(&path, &args, &env);
        }
        crate::error::EXIT_NOT_FOUND
    })
    .map_err(|errno| errno.to_string())?;
    await_end(&child.pidfd, hook.timeout)?;
    match sys::Pidfd::from(child.pidfd).wait() {
        Ok(sys::Ended::Exited(0)) => Ok(()),
        Ok(ended) => Err(format!("ended with status {}", ended.code())),
        Err(error) => Err(error.to_string()),
    }
}

/// The state in a file without a name, read from its beginning: nobody has to keep writing.
fn input(state: &[u8]) -> rustix::io::Result<OwnedFd> {
    let file = sys::memfd::sealed_bytes(c"state", state)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}

fn await_end(pidfd: &OwnedFd, timeout_s: Option<i64>) -> Result<(), String> {
    let Some(seconds) = timeout_s.filter(|seconds| *seconds > 0) else { return Ok(()) };
    let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut wait = [PollFd::new(pidfd, PollFlags::IN)];
    match rustix::event::poll(&mut wait, Some(&limit)) {
        Ok(0) => {
            // It may end at this very moment; then the kill does nothing.
            let _ = sys::process::kill(pidfd.as_fd());
            let _ = sys::Pidfd::from(pidfd.try_clone().map_err(|e| e.to_string())?).wait();
            Err(format!("took longer than {seconds} s"))
        }
        _ => Ok(()),
    }
}
