//! The parent's end of the conversation with a child, and what becomes of a child that nobody
//! wants any more.

use crate::cgroup::Cgroup;
use crate::error::LaunchError;
use crate::failure::explain;
use crate::init::message::{Message, Tag};
use crate::plan::Resctrl;
use crate::plan::step::{Agent, InitPlan};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use sys::Pidfd;
use wire::oci::runtime::ContainerProcessState;

/// A process that is killed, and whose control group is removed, unless it is pardoned.
#[derive(Debug)]
pub(crate) struct Doomed {
    process: Option<Pidfd>,
    cgroup: Option<Cgroup>,
    resctrl: Option<Resctrl>,
}

impl Doomed {
    pub(crate) fn new(pidfd: BorrowedFd<'_>) -> Result<Self, LaunchError> {
        let mut doomed = Self { process: None, cgroup: None, resctrl: None };
        doomed.with_process(pidfd)?;
        Ok(doomed)
    }

    /// A control group that has no process yet.
    pub(crate) fn of_cgroup(cgroup: &Cgroup) -> Self {
        Self { process: None, cgroup: Some(cgroup.clone()), resctrl: None }
    }

    pub(crate) fn with_process(&mut self, pidfd: BorrowedFd<'_>) -> Result<(), LaunchError> {
        let pidfd = rustix::io::fcntl_dupfd_cloexec(pidfd, 3)
            .map_err(|errno| LaunchError::at("keep the process", errno))?;
        self.process = Some(pidfd.into());
        Ok(())
    }

    pub(crate) fn with_cgroup(&mut self, cgroup: &Cgroup) {
        self.cgroup = Some(cgroup.clone());
    }

    pub(crate) fn with_resctrl(&mut self, resctrl: &Resctrl) {
        self.resctrl = Some(resctrl.clone());
    }

    pub(crate) fn pardon(&mut self) {
        self.process = None;
        self.cgroup = None;
        self.resctrl = None;
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // It may have ended by itself, or been waited for elsewhere.
            let _ = sys::process::kill(process.as_fd());
            let _ = process.wait();
        }
        if let Some(cgroup) = &self.cgroup {
            // What stays is found by whoever lists control groups.
            let _ = cgroup.delete();
        }
        if let Some(resctrl) = &self.resctrl {
            crate::resctrl::leave(resctrl);
        }
    }
}

/// Waits until the child is at its gate; gives the terminal's master that came along.
pub(crate) fn await_prepared(
    channel: BorrowedFd<'_>,
    plan: &InitPlan,
    pidfd: BorrowedFd<'_>,
) -> Result<Option<OwnedFd>, LaunchError> {
    let mut console = None;
    match receive(channel, |fd| console = Some(fd))? {
        Some(message) if message.tag == Tag::Prepared => Ok(console),
        Some(message) if message.tag == Tag::Failed => Err(explain(plan, message)),
        Some(_) => Err(LaunchError::runtime("the container's process talks out of turn")),
        None => Err(ended(pidfd)),
    }
}

/// What a child that tells only a step's place is understood by. Whoever made the child has its
/// plan; whoever only starts it makes the plan again, if it comes to that.
pub(crate) enum Known<'a> {
    /// The child's plan.
    Plan(&'a InitPlan),
    /// How to make it.
    Make(&'a dyn Fn() -> Result<InitPlan, LaunchError>),
}

impl Known<'_> {
    fn with<T>(&self, look: impl FnOnce(&InitPlan) -> T) -> Result<T, LaunchError> {
        match self {
            Known::Plan(plan) => Ok(look(plan)),
            Known::Make(make) => make().map(|plan| look(&plan)),
        }
    }
}

/// Lets the child go and waits until it has become the command.
pub(crate) fn await_execution(
    channel: BorrowedFd<'_>,
    plan: &Known<'_>,
    (pid, pidfd): (i32, BorrowedFd<'_>),
) -> Result<(), LaunchError> {
    match Message::of(Tag::Start).send(channel, &[]) {
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(errno) => return Err(LaunchError::at("start the container's process", errno)),
    }
    await_end(channel, plan, (pid, pidfd))
}

/// Waits until the child has become the command, without letting it go first.
pub(crate) fn await_end(
    channel: BorrowedFd<'_>,
    plan: &Known<'_>,
    (pid, pidfd): (i32, BorrowedFd<'_>),
) -> Result<(), LaunchError> {
    let mut executing = false;
    loop {
        let mut listener = None;
        match receive(channel, |fd| listener = Some(fd))? {
            Some(message) if message.tag == Tag::Listener => {
                plan.with(|plan| listen(channel, plan.agent.as_ref(), listener, pid))??;
            }
            Some(message) if message.tag == Tag::Failed => {
                return Err(plan.with(|plan| explain(plan, message))?);
            }
            Some(message) if message.tag == Tag::Executing => executing = true,
            Some(_) => return Err(LaunchError::runtime("the process talks out of turn")),
            // The channel closes at exec.
            None if executing => return Ok(()),
            None => return Err(ended(pidfd)),
        }
    }
}

/// Gives the filter's listener to its agent, and lets the child go on.
fn listen(
    channel: BorrowedFd<'_>,
    agent: Option<&Agent>,
    listener: Option<OwnedFd>,
    pid: i32,
) -> Result<(), LaunchError> {
    let (Some(agent), Some(listener)) = (agent, listener) else {
        return Err(LaunchError::runtime("the process talks out of turn"));
    };
    notify(agent, &listener, pid)?;
    match Message::of(Tag::Listened).send(channel, &[]) {
        // How it ended is heard next.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(errno) => Err(LaunchError::at("talk to the container's process", errno)),
    }
}

/// One connection, one message, `config-linux.md` "The Container Process State".
fn notify(agent: &Agent, listener: &OwnedFd, pid: i32) -> Result<(), LaunchError> {
    let act = || format!("send the listener of system calls to {}", agent.path.display());
    let mut state = agent.state.clone();
    if state.pid == 0 {
        state.pid = pid;
    }
    let message = ContainerProcessState {
        oci_version: state.oci_version.clone(),
        fds: vec!["seccompFd".to_owned()],
        pid,
        metadata: agent.metadata.clone(),
        state,
    };
    let message = serde_json::to_vec(&message)
        .map_err(|error| LaunchError::runtime(format!("{}: {error}", act())))?;
    let mut socket =
        UnixStream::connect(&agent.path).map_err(|error| LaunchError::io(act(), &error))?;
    let sent = sys::socket::send_with_fds(socket.as_fd(), &message, &[listener.as_fd()])
        .map_err(|errno| LaunchError::at(act(), errno))?;
    socket.write_all(&message[sent..]).map_err(|error| LaunchError::io(act(), &error))
}

fn receive(
    channel: BorrowedFd<'_>,
    take: impl FnMut(OwnedFd),
) -> Result<Option<Message>, LaunchError> {
    Message::receive(channel, take)
        .map_err(|errno| LaunchError::at("listen to the container's process", errno))
}

/// The child went without a word.
fn ended(pidfd: BorrowedFd<'_>) -> LaunchError {
    use rustix::process::{WaitId, WaitIdOptions};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = rustix::process::waitid(WaitId::PidFd(pidfd), options);
    let how = match status {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("with status {code}"),
            (_, Some(signal)) => format!("by signal {signal}"),
            _ => "somehow".to_owned(),
        },
        _ => "without leaving a status".to_owned(),
    };
    LaunchError::runtime(format!("the container's process ended before its command ran, {how}"))
}

/// Makes a process in existing namespaces, joined in their order, and in new ones that belong to
/// the user namespace among them: a first child goes there and makes the second, a child of ours
/// too, and ends.
pub(crate) fn clone_inside<N: AsFd>(
    existing: &[(N, u64)],
    namespaces: u64,
    child: impl FnOnce() -> i32,
) -> rustix::io::Result<sys::clone::Child> {
    let (ours, theirs) = sys::socket::message_pair()?;
    let ours_too = ours.as_fd();
    let first = sys::clone::clone3(0, || {
        let made = existing
            .iter()
            .try_for_each(|(namespace, kind)| sys::mount::setns(namespace.as_fd(), *kind))
            .and_then(|()| sys::clone::clone3(namespaces | sys::clone::CLONE_PARENT, child));
        let said = match made {
            Ok(second) => {
                // Its number here would be one of the pid namespace that is joined.
                Message::of(Tag::Prepared).send(theirs.as_fd(), &[second.pidfd.as_fd()])
            }
            Err(errno) => Message { errno: errno.raw_os_error(), ..Message::of(Tag::Failed) }
                .send(theirs.as_fd(), &[]),
        };
        let _ = ours_too;
        i32::from(said.is_err())
    })?;
    let mut pidfd = None;
    let message = Message::receive(ours.as_fd(), |fd| pidfd = Some(fd));
    let _ = Pidfd::from(first.pidfd).wait();
    match (message?, pidfd) {
        (Some(message), Some(pidfd)) if message.tag == Tag::Prepared => {
            let pidfd = Pidfd::from(pidfd);
            let pid = pidfd.id().map_err(|error| error.errno)?;
            Ok(sys::clone::Child { pid, pidfd: pidfd.into_fd(), entered: false })
        }
        (Some(message), _) => Err(Errno::from_raw_os_error(message.errno)),
        (None, _) => Err(Errno::CHILD),
    }
}
