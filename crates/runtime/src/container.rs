//! Creating a container and letting it go: the parent's side of the first process.
//!
//! ```text
//!  parent                                   child
//!  plan, clone3 ──────────────────────────▶ (waits)
//!  id maps ───────────── Mapped ──────────▶ becomes root, makes proc, sys, devpts, …
//!  limits, control group, root, binds
//!        ─────────────── Supplies + fds ──▶ attaches, masks, pivots, finds the command
//!        ◀────────────── Prepared + tty ──  (waits at the gate)
//!  start ─────────────── Start ───────────▶ gives up privileges, loads the filter
//!        ◀────────────── Executing, EOF ──  is the command
//! ```

use crate::cgroup::{Cgroup, Hierarchy};
use crate::error::LaunchError;
use crate::facts::Host;
use crate::hooks::{self, Inside, Point};
use crate::init::message::{Message, Tag};
use crate::launch::{Launch, Scopes};
use crate::plan::step::{InitPlan, Slot};
use crate::plan::{Join, Maps, Plan, StdioKind};
use crate::rootfs::{Mapped, Supplier};
use crate::{facts, init, plan};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use wire::oci::runtime::Resources;

mod channel;
mod stdio;

pub(crate) use channel::{Doomed, Known, await_end, await_execution, await_prepared, clone_inside};
pub use stdio::Stdio;
pub(crate) use stdio::slots;

/// A container whose first process exists, is completely prepared and waits to be let go.
///
/// Dropping it without [`Created::start`] kills the process.
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
    waiting: Box<Waiting>,
}

/// What is only needed until the process is let go.
#[derive(Debug)]
struct Waiting {
    doomed: Doomed,
    channel: OwnedFd,
    plan: InitPlan,
    launch: Arc<Launch>,
    host: Host,
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
    pub(crate) launch: Arc<Launch>,
    pub(crate) host: Host,
}

/// Makes the container: namespaces, ids, mounts, control group. Its process waits just before
/// `execve`.
///
/// # Errors
/// [`LaunchError`]; nothing is left behind.
pub fn create(launch: &Launch, stdio: Stdio) -> Result<Created, LaunchError> {
    create_with(&Arc::new(launch.clone()), stdio, Extras::default())
}

/// What only the OCI command line asks for.
#[derive(Debug, Default)]
pub struct Extras {
    /// A listening socket that keeps messages apart: the process waits for a connection to it
    /// instead of for [`Created::start`], so that another process can start it, through
    /// [`start_through`].
    pub gate: Option<OwnedFd>,
    /// How many descriptors from 3 on stay open in the command.
    pub preserve_fds: u32,
}

/// As [`create`], with extras.
///
/// # Errors
/// As [`create`].
pub fn create_with(
    launch: &Arc<Launch>,
    stdio: Stdio,
    extras: Extras,
) -> Result<Created, LaunchError> {
    begin(launch, Host::look()?, stdio, extras)?.supply(launch)?.prepared()
}

/// A container whose first process exists, in namespaces of its own, and waits to be prepared.
///
/// Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Begun {
    plan: Plan,
    host: Host,
    channel: OwnedFd,
    child: sys::clone::Child,
    cgroup: Cgroup,
    doomed: Doomed,
}

/// A container whose first process has everything, and prepares itself.
///
/// Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Supplied {
    child: sys::clone::Child,
    cgroup: Cgroup,
    warnings: Vec<String>,
    waiting: Box<Waiting>,
}

/// The first part of [`create_with`].
pub(crate) fn begin(
    launch: &Launch,
    host: Host,
    stdio: Stdio,
    extras: Extras,
) -> Result<Begun, LaunchError> {
    if launch.version != crate::launch::VERSION {
        let version = launch.version;
        return Err(LaunchError::invalid(format!("launch of version {version} is not known")));
    }
    // Nobody in the container may trace the child or look at its memory, which is ours.
    sys::process::set_dumpable(false).map_err(|e| LaunchError::at("become undumpable", e))?;
    let facts = facts::of_launch(launch, &host)?;
    let mut plan = plan::plan(launch, &facts, stdio.kind())?;
    plan.init.preserve_fds = extras.preserve_fds;
    let (channel, theirs) = sys::socket::message_pair()
        .map_err(|errno| LaunchError::at("make a socket pair", errno))?;
    let owner = plan.maps.as_ref().map_or(Some(plan.uid), |maps| maps.host_uid(plan.uid));
    let mut slots = slots(stdio, owner)?;
    slots.put(Slot::CHANNEL, theirs);
    if let Some(join) = &plan.mount {
        let namespace = sys::netns::open(&join.path).map_err(|error| {
            LaunchError::at(format!("join mount namespace {}", join.path.display()), error.errno)
        })?;
        slots.put(Slot::TARGET, namespace);
    }
    if let Some(gate) = extras.gate {
        slots.put(Slot::GATE, gate);
    }
    if launch.init {
        let program = sys::memfd::sealed_own_program(c"estiba-runtime");
        let program = program.map_err(|e| LaunchError::at("seal the built-in init", e))?;
        slots.put(Slot::INIT_PROGRAM, program);
    }
    sys::failpoint::hit("runtime.create.planned");
    let (child, cgroup, doomed) = match launch.systemd {
        false => clone_into_group(launch, &plan, slots, (&host.hierarchy, &facts.cgroup_path))?,
        true => clone_into_scope(launch, &plan, slots, &host.hierarchy)?,
    };
    Ok(Begun { plan, host, channel, child, cgroup, doomed })
}

impl Begun {
    /// The network namespace, if the container has one of its own.
    pub(crate) fn own_network(&self) -> Option<OwnedFd> {
        if self.plan.clone & sys::clone::ns::NET == 0 {
            return None;
        }
        // The child is not reaped before `self` is gone, so its id is nobody else's.
        let path = format!("/proc/{}/ns/net", self.child.pid);
        sys::netns::open(Path::new(&path)).ok()
    }

    /// The second part of [`create_with`].
    pub(crate) fn supply(self, launch: &Arc<Launch>) -> Result<Supplied, LaunchError> {
        let Begun { plan, host, channel, child, mut cgroup, mut doomed } = self;
        let prepared = Preparation { launch, plan: &plan, channel: channel.as_fd(), child: &child };
        let warnings = prepared.run(&host.hierarchy, &mut cgroup, &mut doomed)?;
        let launch = Arc::clone(launch);
        let waiting = Box::new(Waiting { doomed, channel, plan: plan.init, launch, host });
        Ok(Supplied { child, cgroup, warnings, waiting })
    }
}

impl Supplied {
    /// The last part of [`create_with`].
    pub(crate) fn prepared(self) -> Result<Created, LaunchError> {
        let Supplied { child, cgroup, warnings, waiting } = self;
        let channel = waiting.channel.as_fd();
        let console = await_prepared(channel, &waiting.plan, child.pidfd.as_fd())?;
        sys::failpoint::hit("runtime.create.prepared");
        Ok(Created { pid: child.pid, pidfd: child.pidfd, console, cgroup, warnings, waiting })
    }
}

/// Makes the group, and the process in it.
fn clone_into_group(
    launch: &Launch,
    plan: &Plan,
    slots: init::Slots,
    (hierarchy, path): (&Hierarchy, &str),
) -> Result<(sys::clone::Child, Cgroup, Doomed), LaunchError> {
    let cgroup = Cgroup::begin(hierarchy, path).map_err(cgroup_error)?;
    sys::failpoint::hit("runtime.create.grouped");
    let mut doomed = Doomed::of_cgroup(&cgroup);
    let into = cgroup.clone_into_fd().map_err(cgroup_error)?;
    let child = clone_child(plan, slots, into.as_ref().map(AsFd::as_fd), launch.scopes)?;
    sys::failpoint::hit("runtime.create.cloned");
    doomed.with_process(child.pidfd.as_fd())?;
    Ok((child, cgroup, doomed))
}

/// Makes the process, has systemd make a scope for it, and the group in that.
fn clone_into_scope(
    launch: &Launch,
    plan: &Plan,
    slots: init::Slots,
    hierarchy: &Hierarchy,
) -> Result<(sys::clone::Child, Cgroup, Doomed), LaunchError> {
    let scope = facts::scope(launch).map_err(cgroup_error)?;
    let child = clone_child(plan, slots, None, launch.scopes)?;
    let mut doomed = Doomed::new(child.pidfd.as_fd())?;
    sys::failpoint::hit("runtime.create.cloned");
    scope.start(child.pid).map_err(cgroup_error)?;
    let cgroup = Cgroup::begin_around(hierarchy, scope.path(), child.pid).map_err(cgroup_error)?;
    doomed.with_cgroup(&cgroup);
    sys::failpoint::hit("runtime.create.grouped");
    Ok((child, cgroup, doomed))
}

fn clone_child(
    plan: &Plan,
    slots: init::Slots,
    into: Option<BorrowedFd<'_>>,
    scopes: Scopes,
) -> Result<sys::clone::Child, LaunchError> {
    let mut inside = Vec::with_capacity(plan.joins.len());
    let open = |join: &Join| sys::netns::open(&join.path);
    let userns = plan.userns.as_ref().map(open).transpose();
    let userns = userns.map_err(|error| LaunchError::at("open the user namespace", error.errno))?;
    // The user namespace first: it gives the right to the others.
    let mut ahead: Vec<(OwnedFd, u64)> =
        userns.into_iter().map(|userns| (userns, sys::clone::ns::USER)).collect();
    let returns = sys::userns::is_first();
    for join in &plan.joins {
        let failed = |errno| {
            LaunchError::at(format!("join {} namespace {}", join.name, join.path.display()), errno)
        };
        let namespace = open(join).map_err(|error| failed(error.errno))?;
        if !returns {
            // For who is not the machine's root there is no way back: a child goes.
            ahead.push((namespace, join.kind));
            continue;
        }
        let file = if join.kind == sys::clone::ns::PID { "pid" } else { join.name };
        let entered = sys::netns::enter_kind(namespace.as_fd(), join.kind, file);
        inside.push(entered.map_err(|error| failed(error.errno))?);
    }
    // Not earlier: nobody's namespaces can be opened from inside. Not later: what is cloned is
    // inside with its maker, and so is every process that enters.
    sys::landlock::scope(scopes.signals, scopes.abstract_sockets)
        .map_err(|errno| LaunchError::at("confine signals and abstract sockets", errno))?;
    let made = match ahead.is_empty() {
        true => sys::clone::clone3_into(plan.clone, into, || init::run(&plan.init, slots)),
        false => channel::clone_inside(&ahead, plan.clone, || init::run(&plan.init, slots)),
    };
    // The visited namespaces are left in reverse order.
    while inside.pop().is_some() {}
    made.map_err(|errno| LaunchError::at("make the container's process", errno))
}

/// What the parent does while the child prepares itself.
struct Preparation<'a> {
    launch: &'a Launch,
    plan: &'a Plan,
    channel: BorrowedFd<'a>,
    child: &'a sys::clone::Child,
}

impl Preparation<'_> {
    fn run(
        &self,
        hierarchy: &Hierarchy,
        cgroup: &mut Cgroup,
        doomed: &mut Doomed,
    ) -> Result<Vec<String>, LaunchError> {
        let pid = self.child.pid;
        let mapped = self.map()?;
        if self.plan.maps.is_some() {
            self.tell(Tag::Mapped, &[])?;
        }
        sys::failpoint::hit("runtime.create.mapped");
        let mut warnings = Vec::new();
        let none = Resources::default();
        let linux = self.launch.spec.linux.as_ref();
        let resources = linux.and_then(|linux| linux.resources.as_ref()).unwrap_or(&none);
        let completed = cgroup.complete(hierarchy, resources);
        doomed.with_cgroup(cgroup);
        completed.map_err(cgroup_error)?;
        sys::failpoint::hit("runtime.create.limited");
        if let Some(resctrl) = &self.plan.resctrl {
            crate::resctrl::enter(resctrl, pid)?;
            doomed.with_resctrl(resctrl);
        }
        if !self.plan.net_devices.is_empty() {
            crate::netdev::adopt(&self.plan.net_devices, pid)?;
        }
        let doors = self.doors(cgroup)?;
        apply_limits(pid, &self.plan.rlimits, self.plan.oom_score_adj, &mut warnings)?;
        let pid_join = self.plan.joins.iter().find(|join| join.kind == sys::clone::ns::PID);
        let pid_namespace = pid_join.map(|join| sys::netns::open(&join.path)).transpose();
        let pid_namespace = pid_namespace
            .map_err(|error| LaunchError::at("open the pid namespace", error.errno))?;
        let spent = Vec::new();
        let mut supplier =
            Supplier { launch: self.launch, mapped, pid, pid_namespace, warnings, spent };
        let supplies = supplier.make_all(&self.plan.supplies)?;
        sys::failpoint::hit("runtime.create.supplied");
        hooks::run(self.launch, Point::CreateRuntime, pid, None)?;
        let inside = Inside { pidfd: self.child.pidfd.as_fd(), kinds: sys::clone::ns::MOUNT };
        hooks::run(self.launch, Point::CreateContainer, pid, Some(inside))?;
        let fds: Vec<BorrowedFd<'_>> = supplies.iter().chain(&doors).map(AsFd::as_fd).collect();
        let detail = u32::try_from(doors.len()).unwrap_or(u32::MAX);
        self.send(Message { detail, ..Message::of(Tag::Supplies) }, &fds)?;
        sys::failpoint::hit("runtime.create.sent");
        Ok(supplier.warnings)
    }

    /// Brings the child into its control group, or gives what it enters it by.
    fn doors(&self, cgroup: &Cgroup) -> Result<Vec<OwnedFd>, LaunchError> {
        let pid = self.child.pid;
        if !self.child.entered {
            cgroup.join_unified(pid).map_err(cgroup_error)?;
        }
        let hooks = self.launch.spec.hooks.is_some();
        let doors = if hooks { Vec::new() } else { cgroup.doors().map_err(cgroup_error)? };
        // Hooks find the process where it will be.
        if hooks || doors.len() > init::DOORS {
            cgroup.join_legacy(pid).map_err(cgroup_error)?;
            return Ok(Vec::new());
        }
        Ok(doors)
    }

    fn tell(&self, tag: Tag, fds: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        self.send(Message::of(tag), fds)
    }

    fn send(&self, message: Message, fds: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        match message.send(self.channel, fds) {
            // The child is gone; why, it has said on its side of the channel.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(LaunchError::at("talk to the container's process", errno)),
        }
    }

    /// Writes the id maps, and opens the user namespace for mounts to be mapped by it.
    fn map(&self) -> Result<Option<Mapped>, LaunchError> {
        let proc = format!("/proc/{}", self.child.pid);
        let open = || {
            sys::netns::open(Path::new(&format!("{proc}/ns/user")))
                .map_err(|error| LaunchError::at("open the user namespace", error.errno))
        };
        let maps = match (&self.plan.maps, &self.plan.userns) {
            (Some(maps), _) => {
                write_map(&format!("{proc}/uid_map"), &maps.uid)?;
                write_map(&format!("{proc}/gid_map"), &maps.gid)?;
                maps.clone()
            }
            (None, Some(_)) => Maps::read(Path::new(&proc))?,
            (None, None) => return Ok(None),
        };
        let unmapped = || LaunchError::invalid("the user namespace does not map id 0");
        let uid = maps.host_uid(0).ok_or_else(unmapped)?;
        let gid = maps.host_gid(0).ok_or_else(unmapped)?;
        Ok(Some(Mapped { userns: open()?, uid, gid, maps }))
    }
}

pub(crate) fn write_map(
    path: &str,
    map: &[wire::oci::runtime::IdMapping],
) -> Result<(), LaunchError> {
    let mut text = String::new();
    for line in map {
        text.push_str(&format!("{} {} {}\n", line.container_id, line.host_id, line.size));
    }
    write_proc(path, text.as_bytes())
        .map_err(|errno| LaunchError::at(format!("write {path}"), errno))
}

pub(crate) fn write_proc(path: &str, value: &[u8]) -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value).map(drop)
}

/// Sets the limits of a process that is not yet let go.
pub(crate) fn apply_limits(
    pid: i32,
    rlimits: &[(u32, u64, u64)],
    oom_score_adj: Option<i32>,
    warnings: &mut Vec<String>,
) -> Result<(), LaunchError> {
    for (resource, soft, hard) in rlimits {
        sys::process::set_rlimit(pid, *resource, *soft, *hard).map_err(|errno| {
            LaunchError::at(format!("set resource limit {resource} to {soft}:{hard}"), errno)
        })?;
    }
    let Some(score) = oom_score_adj else { return Ok(()) };
    match write_proc(&format!("/proc/{pid}/oom_score_adj"), score.to_string().as_bytes()) {
        Ok(()) => Ok(()),
        // Going below one's own score is a privilege that the runtime itself may lack.
        Err(Errno::ACCESS | Errno::PERM) => {
            warnings.push(format!("oom_score_adj {score} needs CAP_SYS_RESOURCE; left as it is"));
            Ok(())
        }
        Err(errno) => Err(LaunchError::at(format!("set oom_score_adj to {score}"), errno)),
    }
}

pub(crate) fn cgroup_error(error: crate::cgroup::CgroupError) -> LaunchError {
    LaunchError::runtime(error.to_string())
}

impl Created {
    /// Lets the process go; returns once the command was executed.
    ///
    /// # Errors
    /// [`LaunchError`] when the command cannot be executed; the process is gone then.
    pub fn start(self) -> Result<Running, LaunchError> {
        let Created { pid, pidfd, cgroup, mut waiting, .. } = self;
        start_hooks(&waiting.launch, pid, pidfd.as_fd())?;
        sys::failpoint::hit("runtime.start.go");
        let plan = Known::Plan(&waiting.plan);
        await_execution(waiting.channel.as_fd(), &plan, (pid, pidfd.as_fd()))?;
        sys::failpoint::hit("runtime.start.executed");
        waiting.doomed.pardon();
        // What runs already is not stopped by a hook that comes after it.
        let _ = hooks::run(&waiting.launch, Point::Poststart, pid, None);
        Ok(Running { pid, pidfd, cgroup, launch: waiting.launch, host: waiting.host })
    }

    /// Leaves the process waiting at its gate for somebody else to start it, and forgets it.
    pub fn leave(mut self) {
        self.waiting.doomed.pardon();
    }

    /// Kills the process, waits for it and removes the control group.
    pub fn abort(self) {
        drop(self);
    }
}

fn start_hooks(launch: &Launch, pid: i32, pidfd: BorrowedFd<'_>) -> Result<(), LaunchError> {
    let kinds = plan::namespaces_of(launch)?;
    hooks::run(launch, Point::StartContainer, pid, Some(Inside { pidfd, kinds }))
}

/// Lets go of what outlives the processes of a container that is gone, and runs the hooks that
/// come then. Failures are for people to read.
pub fn after(launch: &Launch) -> Option<LaunchError> {
    if let Some(resctrl) = plan::resctrl_of(launch) {
        crate::resctrl::leave(&resctrl);
    }
    hooks::run(launch, Point::Poststop, 0, None).err()
}

impl Running {
    /// A container that another process of this runtime created, by its process id.
    ///
    /// # Errors
    /// [`LaunchError`] when the process or its control group is gone.
    pub fn open(launch: Launch, pid: i32) -> Result<Self, LaunchError> {
        let pidfd = sys::Pidfd::open(pid)
            .map_err(|error| LaunchError::at(format!("open process {pid}"), error.errno))?;
        let host = Host::look()?;
        let path = facts::cgroup_path(&launch);
        let cgroup = Cgroup::open(&host.hierarchy, &path).map_err(cgroup_error)?;
        Ok(Self { pid, pidfd: pidfd.into_fd(), cgroup, launch: Arc::new(launch), host })
    }

    /// What the container was launched from.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }
}

/// Starts a container whose process waits behind a gate, over a connection to it. `launch` and
/// `kind` are those of its creation.
///
/// # Errors
/// As [`Created::start`].
pub fn start_through(
    connection: &OwnedFd,
    launch: &Launch,
    kind: StdioKind,
    pid: i32,
) -> Result<(), LaunchError> {
    let plan = || {
        let facts = facts::of_launch(launch, &Host::look()?)?;
        plan::plan(launch, &facts, kind).map(|plan| plan.init)
    };
    let pidfd = sys::Pidfd::open(pid)
        .map_err(|error| LaunchError::at(format!("open process {pid}"), error.errno))?;
    start_hooks(launch, pid, pidfd.as_fd())?;
    await_execution(connection.as_fd(), &Known::Make(&plan), (pid, pidfd.as_fd()))?;
    // What runs already is not stopped by a hook that comes after it.
    let _ = hooks::run(launch, Point::Poststart, pid, None);
    Ok(())
}
