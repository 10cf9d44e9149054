//! Entering a running container with another process.
//!
//! The process is the caller's child: the caller visits the container's pid namespace while it
//! makes it. It joins the other namespaces itself, all at once, and cannot be traced or looked
//! into before it has become the command (law B3).

use crate::container::{
    Doomed, Known, Running, Stdio, apply_limits, await_end, await_execution, await_prepared,
    cgroup_error, clone_inside, slots,
};
use crate::error::LaunchError;
use crate::init::message::{Message, Tag};
use crate::plan::step::Slot;
use crate::plan::{InitPlan, Maps, StdioKind, namespaces_of, plan_exec, rlimits_of};
use crate::{facts, init};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::clone::ns;
use wire::oci::runtime::Process;

/// What an exec needs beyond the process itself.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// User as Docker writes it; see [`crate::launch::Launch::user`].
    pub user: Option<String>,
    /// How many descriptors from 3 on stay open in the command.
    pub preserve_fds: u32,
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
/// under. Capabilities, security labels and `noNewPrivileges` that `process` does not name are
/// the first process's.
///
/// # Errors
/// [`LaunchError`]; nothing is left behind.
pub fn exec(
    target: &Running,
    process: &Process,
    stdio: Stdio,
    options: &ExecOptions,
) -> Result<Execed, LaunchError> {
    sys::process::set_dumpable(false).map_err(|e| LaunchError::at("become undumpable", e))?;
    let launch = target.launch();
    let process = completed(process, launch.spec.process.as_ref());
    let pidfd = target.pidfd.as_fd();
    let root = options.user.as_ref().map(|_| root_of(target.pid, pidfd)).transpose()?;
    let root = root.as_ref().map(AsFd::as_fd);
    let facts = facts::of_exec(launch, &target.host, root, options.user.as_deref())?;
    let joined = namespaces_of(launch)?;
    let kind = stdio.kind();
    let mut plan = plan_exec(launch, &process, &facts, kind, joined)?;
    plan.preserve_fds = options.preserve_fds;
    if let Some(agent) = &mut plan.agent {
        agent.state.pid = target.pid;
    }
    let limits = rlimits_of(&process)?;
    let uid = facts.user.as_ref().map_or(process.user.uid, |user| user.uid);
    let (channel, theirs) = sys::socket::message_pair()
        .map_err(|errno| LaunchError::at("make a socket pair", errno))?;
    let mut slots = slots(stdio, host_uid(target, joined, uid)?)?;
    slots.put(Slot::CHANNEL, theirs);
    slots.put(Slot::TARGET, copy(target.pidfd.as_fd())?);
    let doors = target.cgroup.doors().map_err(cgroup_error)?;
    let many = doors.len() > init::DOORS;
    doors.into_iter().filter(|_| !many).for_each(|door| slots.put_door(door));
    sys::failpoint::hit("runtime.exec.planned");
    let child = clone_in(target, joined, &plan, slots)?;
    let mut doomed = Doomed::new(child.pidfd.as_fd())?;
    if !child.entered {
        target.cgroup.join_unified(child.pid).map_err(cgroup_error)?;
    }
    if many {
        target.cgroup.join_legacy(child.pid).map_err(cgroup_error)?;
    }
    sys::failpoint::hit("runtime.exec.cloned");
    // What cannot be had is told when the container is created.
    apply_limits(child.pid, &limits, process.oom_score_adj, &mut Vec::new())?;
    let channel = channel.as_fd();
    match Message::of(Tag::Mapped).send(channel, &[]) {
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(errno) => return Err(LaunchError::at("talk to the process", errno)),
    }
    let console = match kind {
        StdioKind::Terminal(_) => {
            let console = await_prepared(channel, &plan, child.pidfd.as_fd())?;
            await_execution(channel, &Known::Plan(&plan), (child.pid, child.pidfd.as_fd()))?;
            console
        }
        StdioKind::Provided => {
            await_end(channel, &Known::Plan(&plan), (child.pid, child.pidfd.as_fd()))?;
            None
        }
    };
    doomed.pardon();
    Ok(Execed { pid: child.pid, pidfd: child.pidfd, console })
}

/// The process with what it leaves to the container's first.
pub(crate) fn completed<'a>(process: &'a Process, first: Option<&Process>) -> Cow<'a, Process> {
    let Some(first) = first else { return Cow::Borrowed(process) };
    let mut process = process.clone();
    process.capabilities = process.capabilities.or_else(|| first.capabilities.clone());
    process.no_new_privileges |= first.no_new_privileges;
    if process.apparmor_profile.is_empty() {
        process.apparmor_profile.clone_from(&first.apparmor_profile);
    }
    if process.selinux_label.is_empty() {
        process.selinux_label.clone_from(&first.selinux_label);
    }
    if process.rlimits.is_empty() {
        process.rlimits.clone_from(&first.rlimits);
    }
    if process.user.additional_gids.is_empty() {
        process.user.additional_gids.clone_from(&first.user.additional_gids);
    }
    process.oom_score_adj = process.oom_score_adj.or(first.oom_score_adj);
    Cow::Owned(process)
}

fn clone_in(
    target: &Running,
    joined: u64,
    plan: &InitPlan,
    slots: init::Slots,
) -> Result<sys::clone::Child, LaunchError> {
    let failed = |errno| match errno {
        // The namespace's first process has ended, pid_namespaces(7).
        Errno::NOMEM => LaunchError::runtime("the container is not running"),
        errno => LaunchError::at("make a process in the container", errno),
    };
    if joined & ns::PID != 0 && !sys::userns::is_first() {
        // For who is not the machine's root there is no way back from another pid namespace: a
        // child goes, and makes the process.
        let namespaces = [(target.pidfd.as_fd(), ns::PID)];
        return clone_inside(&namespaces, 0, || init::run(plan, slots)).map_err(failed);
    }
    let inside = match joined & ns::PID {
        0 => None,
        kind => {
            let entered = sys::netns::enter_kind(target.pidfd.as_fd(), kind, "pid");
            let not = |e: sys::SysError| LaunchError::at("join the pid namespace", e.errno);
            Some(entered.map_err(not)?)
        }
    };
    let into = target.cgroup.clone_into_fd().map_err(cgroup_error)?;
    let into = into.as_ref().map(AsFd::as_fd);
    let made = sys::clone::clone3_into(0, into, || init::run(plan, slots));
    drop(inside);
    made.map_err(failed)
}

fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, LaunchError> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| LaunchError::at("copy a descriptor", e))
}

/// The container's root as its first process sees it.
pub(crate) fn root_of(pid: i32, pidfd: BorrowedFd<'_>) -> Result<OwnedFd, LaunchError> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &path, flags, Mode::empty())
        .map_err(|errno| LaunchError::at("open the container's root", errno))?;
    // The number may have come to mean another process; the descriptor cannot.
    sys::process::send_signal(pidfd, 0)
        .map_err(|_| LaunchError::runtime("the container is not running"))?;
    Ok(root)
}

/// The host's id of a user of the container.
fn host_uid(target: &Running, joined: u64, uid: u32) -> Result<Option<u32>, LaunchError> {
    if joined & ns::USER == 0 {
        return Ok(Some(uid));
    }
    let linux = target.launch().spec.linux.as_ref();
    let maps = match linux.filter(|linux| !linux.uid_mappings.is_empty()) {
        Some(linux) => Maps { uid: linux.uid_mappings.clone(), gid: linux.gid_mappings.clone() },
        None => Maps::read(std::path::Path::new(&format!("/proc/{}", target.pid)))?,
    };
    Ok(maps.host_uid(uid))
}
