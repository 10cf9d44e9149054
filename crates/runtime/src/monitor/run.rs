//! The monitor's beginning: from two inherited descriptors to a created container and a loop.

use super::control::{Control, Listener};
use super::log::{LogConfig, LogWriter};
use super::process::Process;
use super::protocol::{Event, LAUNCH, ProcessId, Reply};
use super::sandbox::{Container, Sandbox};
use super::server::{Monitor, Parts};
use super::stdio::{self, Ends, Wanted};
use super::{CONTROL_FD, LAUNCH_FD};
use crate::container::{Extras, Stdio, Supplied, begin};
use crate::error::LaunchError;
use crate::facts::Host;
use crate::launch::Launch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sys::Pidfd;

/// Largest launch order in bytes.
const MAX_LAUNCH_BYTES: u64 = 16 << 20;

/// What most launch orders have room in.
const LAUNCH_BYTES: usize = 16 << 10;

/// How long a monitor that waits for its order keeps its program in memory.
const STANDBY: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// How long what was seen of the host is taken for true.
const FRESH: Duration = Duration::from_secs(10);

/// What must not end a monitor: it lives as long as its container.
const IGNORED_SIGNALS: [rustix::process::Signal; 5] = {
    use rustix::process::Signal;
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::PIPE]
};

/// `estiba-runtime monitor`: started by [`super::client::spawn`] with a control connection and a
/// launch order as descriptors 3 and 4. Returns after the container has ended, or could not be
/// created; both are told on the connection. Without an order it is a [`super::zygote`].
pub fn run() -> ExitCode {
    let Ok(control) = sys::resident::inherited_fd(CONTROL_FD) else {
        return ExitCode::FAILURE;
    };
    let Ok(order) = sys::resident::inherited_fd(LAUNCH_FD) else {
        return super::zygote::serve(control);
    };
    let status = match settle_in() {
        Ok(()) => watch_over(control, order, None),
        Err(error) => refuse(&mut Control::new(control), &error),
    };
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

/// What was seen of the host, ahead of an order.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    host: Host,
    at: Instant,
}

impl Seen {
    /// Looks, unless what was seen last is true enough.
    pub(super) fn recently(last: Option<Self>) -> Option<Self> {
        last.filter(Self::is_fresh)
            .or_else(|| Some(Self { host: Host::look().ok()?, at: Instant::now() }))
    }

    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

/// [`run`] in a process that has settled in, with the two descriptors and what was seen already.
/// Returns the status to end with.
pub(super) fn watch_over(control: OwnedFd, order: OwnedFd, seen: Option<Seen>) -> i32 {
    let mut control = Control::new(control);
    match launch(&mut control, &order, seen) {
        Ok(Some(parts)) => {
            drop(order);
            Monitor::new(parts, control).run();
            0
        }
        // Whoever would have given an order is gone.
        Ok(None) => 0,
        Err(error) => refuse(&mut control, &error),
    }
}

fn refuse(control: &mut Control, error: &LaunchError) -> i32 {
    let reply = Reply::Failed { exit_code: error.exit_code(), message: error.message() };
    control.reply(LAUNCH, reply, &[]);
    error.exit_code()
}

/// Whether a mount of the container passes on to the host what is mounted there. The mounts of
/// other runtimes are made in the monitor's namespace, which must then be its own.
fn shows_mounts(launch: &Launch) -> bool {
    let root = launch.spec.linux.as_ref().map(|linux| linux.rootfs_propagation.as_str());
    launch.runtime.is_none() && matches!(root, Some("shared" | "rshared"))
}

/// Creates the container and tells so. Kept out of [`run`], whose frame stays for the monitor's
/// whole life: what is on the stack only here can be given back.
#[inline(never)]
fn launch(
    control: &mut Control,
    order: &OwnedFd,
    seen: Option<Seen>,
) -> Result<Option<Parts<Container>>, LaunchError> {
    // A session of its own, unless the one who started us has given us one.
    let _ = rustix::process::setsid();
    // The program may come from a memfd, whose name says nothing in a process list.
    let _ = rustix::thread::set_name(c"estiba-monitor");
    let Some(launch) = read_launch(order)? else { return Ok(None) };
    let seen = seen.filter(Seen::is_fresh);
    // Only now: it may have waited, and the host may have mounted something meanwhile. What the
    // host is to see mounted in the container has to be a share of the host's own mount.
    if !shows_mounts(&launch) {
        sys::resident::own_mount_namespace()
            .map_err(|errno| LaunchError::at("enter a mount namespace", errno))?;
    }
    let state_dir = rustix::fs::open(
        &launch.state_dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| {
        LaunchError::at(format!("open state directory {}", launch.state_dir.display()), errno)
    })?;
    sys::failpoint::hit("runtime.monitor.settled");
    let process = launch.spec.process.as_ref();
    let process =
        process.ok_or_else(|| LaunchError::invalid("create container: no process is given"))?;
    let wanted = Wanted::new(process, launch.stdin_open);
    let (stdio, ends) = stdio::open(wanted).map_err(stdio_failed)?;
    let making = match &launch.runtime {
        Some(program) => Making::Foreign(program, stdio),
        None => {
            let host = seen.map_or_else(Host::look, |seen| Ok(seen.host))?;
            Making::Own(supply(&launch, host, stdio, control)?)
        }
    };
    // While the container's process prepares itself.
    let log = open_log(&launch.log)?;
    sys::failpoint::hit("runtime.monitor.logged");
    let listener = state_dir.as_fd().try_clone_to_owned().map(Listener::bind);
    let listener = listener
        .map_err(|error| LaunchError::io("open state directory again", &error))?
        .map_err(|errno| LaunchError::at("bind the monitor's socket", errno))?;
    sys::failpoint::hit("runtime.monitor.bound");
    let made = making.finish(&launch, wanted, ends);
    let (sandbox, init, warnings) = made.inspect_err(|_| listener.unlink())?;
    sys::failpoint::hit("runtime.monitor.created");
    let reply = Reply::Created { pid: init.pid, cgroup: sandbox.cgroup_path(), warnings };
    control.reply(LAUNCH, reply, &[init.pidfd.as_fd()]);
    sys::failpoint::hit("runtime.monitor.told");
    Ok(Some(Parts { id: launch.id.clone(), state_dir, sandbox, listener, init, log }))
}

/// Makes this process fit to stay, and its children.
pub(super) fn settle_in() -> Result<(), LaunchError> {
    let at = |step: &'static str| move |errno| LaunchError::at(step, errno);
    sys::resident::ignore_signals(&IGNORED_SIGNALS.map(rustix::process::Signal::as_raw))
        .map_err(|error| LaunchError::io("ignore signals", &error))?;
    rustix::process::chdir(c"/").map_err(at("change to /"))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// The order, as soon as there is one: a monitor may be started ahead of it. `None` when there will
/// be none.
fn read_launch(order: &OwnedFd) -> Result<Option<Arc<Launch>>, LaunchError> {
    await_order(order);
    let failed = |error: std::io::Error| LaunchError::io("read the launch order", &error);
    let mut text = Vec::with_capacity(LAUNCH_BYTES);
    let order = std::fs::File::from(order.try_clone().map_err(failed)?);
    order.take(MAX_LAUNCH_BYTES).read_to_end(&mut text).map_err(failed)?;
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&text)
        .map(|launch| Some(Arc::new(launch)))
        .map_err(|error| LaunchError::invalid(format!("decode the launch order: {error}")))
}

/// Waits for the order. Who waits for long does so without memory.
fn await_order(order: &OwnedFd) {
    let mut ready = [PollFd::new(order, PollFlags::IN)];
    if rustix::event::poll(&mut ready, Some(&STANDBY)) == Ok(0) {
        sys::resident::forget_program();
        sys::resident::trim_stack();
        sys::resident::trim_memory();
    }
}

fn open_log(config: &LogConfig) -> Result<LogWriter, LaunchError> {
    LogWriter::open(config).map_err(|error| match config {
        LogConfig::None => LaunchError::io("make a log", &error),
        LogConfig::JsonFile(file) => {
            LaunchError::io(format!("open log {}", file.path.display()), &error)
        }
    })
}

fn stdio_failed(error: std::io::Error) -> LaunchError {
    LaunchError::io("make standard streams", &error)
}

/// A container on its way.
enum Making<'a> {
    /// Its process prepares itself.
    Own(Supplied),
    /// Another runtime's program will make it.
    Foreign(&'a Path, Stdio),
}

/// Begins a container, says so, and gives its process what it needs.
fn supply(
    launch: &Arc<Launch>,
    host: Host,
    stdio: Stdio,
    control: &mut Control,
) -> Result<Supplied, LaunchError> {
    let begun = begin(launch, host, stdio, Extras::default())?;
    if let Some(network) = begun.own_network() {
        control.tell_with(&Event::Begun, &[network.as_fd()]);
    }
    sys::failpoint::hit("runtime.monitor.begun");
    begun.supply(launch)
}

impl Making<'_> {
    fn finish(
        self,
        launch: &Launch,
        wanted: Wanted,
        ends: Ends,
    ) -> Result<(Container, Process, Vec<String>), LaunchError> {
        match self {
            Self::Foreign(program, stdio) => {
                let (foreign, console) = crate::foreign::create(launch, program, stdio)?;
                let made = (foreign.pid, foreign.pidfd.as_fd().try_clone_to_owned(), console);
                let init = keep(launch, wanted, made, ends).map_err(stdio_failed)?;
                Ok((Container::Foreign(Box::new(foreign)), init, Vec::new()))
            }
            Self::Own(supplied) => {
                let mut created = supplied.prepared()?;
                let made = (created.pid, created.pidfd.try_clone(), created.console.take());
                let init = keep(launch, wanted, made, ends).map_err(stdio_failed)?;
                let warnings = std::mem::take(&mut created.warnings);
                Ok((Container::Created(Box::new(created)), init, warnings))
            }
        }
    }
}

/// The first process, of which the monitor is the keeper now.
fn keep(
    launch: &Launch,
    wanted: Wanted,
    (pid, pidfd, console): (i32, std::io::Result<OwnedFd>, Option<OwnedFd>),
    ends: Ends,
) -> std::io::Result<Process> {
    let ends = match console {
        Some(console) => Ends::of_terminal(console, wanted.stdin)?,
        None => ends,
    };
    let mut init = Process::new(ProcessId::Init, 0, pid, Pidfd::from(pidfd?), ends);
    init.terminal = wanted.terminal.is_some();
    init.stdin_once = launch.stdin_once;
    Ok(init)
}
