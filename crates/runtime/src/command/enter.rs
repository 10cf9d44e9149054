//! `exec`, and attending to a process in the foreground.

use super::args::{Args, Usage};
use super::record::{Record, Status};
use super::{Failed, Global};
use crate::container::{Running, Stdio};
use crate::exec::{ExecOptions, exec as enter};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use sys::Pidfd;
use wire::oci::runtime::{Capabilities, Process, User};

/// Signals that a foreground process does not get from its runtime.
const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;
const SIGURG: i32 = 23;

#[derive(Debug, Default)]
struct Options {
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    process: Option<PathBuf>,
    cwd: Option<String>,
    env: Vec<String>,
    user: Option<String>,
    groups: Vec<u32>,
    caps: Vec<String>,
    apparmor: Option<String>,
    label: Option<String>,
    tty: bool,
    detach: bool,
    no_new_privileges: bool,
    ignore_paused: bool,
    preserve_fds: u32,
}

impl Options {
    fn read(args: &mut Args) -> Result<Self, Usage> {
        let mut options = Self::default();
        while let Some(option) = args.option() {
            match option.as_str() {
                "--console-socket" => options.console_socket = Some(args.value(&option)?.into()),
                "--pid-file" => options.pid_file = Some(args.value(&option)?.into()),
                "--process" | "-p" => options.process = Some(args.value(&option)?.into()),
                "--cwd" => options.cwd = Some(args.value(&option)?),
                "--env" | "-e" => options.env.push(args.value(&option)?),
                "--user" | "-u" => options.user = Some(args.value(&option)?),
                "--additional-gids" | "-g" => options.groups.push(args.parsed(&option)?),
                "--cap" | "-c" => options.caps.push(args.value(&option)?),
                "--apparmor" => options.apparmor = Some(args.value(&option)?),
                "--process-label" => options.label = Some(args.value(&option)?),
                "--tty" | "-t" => options.tty = args.switch(&option)?,
                "--detach" | "-d" => options.detach = args.switch(&option)?,
                "--no-new-privs" => options.no_new_privileges = args.switch(&option)?,
                "--preserve-fds" => options.preserve_fds = args.parsed(&option)?,
                "--ignore-paused" => options.ignore_paused = args.switch(&option)?,
                _ => return Err(Usage::UnknownOption(option)),
            }
        }
        Ok(options)
    }

    /// The process: from a file, or the container's with changes.
    fn process(&self, first: Option<&Process>, args: Vec<String>) -> Result<Process, Failed> {
        if let Some(path) = &self.process {
            let text = fs::read(path)
                .map_err(|error| Failed::io(format!("read {}", path.display()), &error))?;
            return serde_json::from_slice(&text)
                .map_err(|error| Failed::said(format!("read {}: {error}", path.display())));
        }
        if args.is_empty() {
            return Err(Usage::Missing("the command").into());
        }
        let mut process = first.cloned().unwrap_or_default();
        process.terminal = self.tty;
        process.args = args;
        process.env.extend(self.env.iter().cloned());
        if let Some(cwd) = &self.cwd {
            process.cwd.clone_from(cwd);
        }
        if let Some(user) = &self.user {
            process.user = numeric_user(user, process.user.umask)?;
        }
        process.user.additional_gids.extend(&self.groups);
        process.no_new_privileges |= self.no_new_privileges;
        process.apparmor_profile = self.apparmor.clone().unwrap_or(process.apparmor_profile);
        process.selinux_label = self.label.clone().unwrap_or(process.selinux_label);
        if !self.caps.is_empty() {
            let caps = process.capabilities.get_or_insert_with(Capabilities::default);
            for set in [&mut caps.bounding, &mut caps.effective, &mut caps.permitted] {
                set.extend(self.caps.iter().cloned());
            }
        }
        Ok(process)
    }
}

fn numeric_user(text: &str, umask: Option<u32>) -> Result<User, Failed> {
    let bad = || Failed::said(format!("user {text:?} is not uid[:gid]"));
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    let uid = uid.parse().map_err(|_| bad())?;
    let gid = gid.parse().map_err(|_| bad())?;
    Ok(User { uid, gid, umask, ..User::default() })
}

pub(super) fn exec(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let options = Options::read(&mut args)?;
    let id = args.required("the container's id")?;
    let record = Record::load(global, &id)?;
    match record.status() {
        Status::Running | Status::Created => {}
        Status::Paused if options.ignore_paused => {}
        status => {
            let status = status.name();
            return Err(Failed::said(format!("container {id} is {status}, not running")));
        }
    }
    let process = options.process(record.launch.spec.process.as_ref(), args.rest())?;
    if process.terminal && options.detach && options.console_socket.is_none() {
        return Err(Failed::said("a terminal in the background needs --console-socket"));
    }
    let stdio = if process.terminal { Stdio::Terminal { size: None } } else { inherited()? };
    let target = Running::open(record.launch, record.pid)?;
    let extras = ExecOptions { preserve_fds: options.preserve_fds, ..ExecOptions::default() };
    let execed = enter(&target, &process, stdio, &extras)?;
    let mut console = execed.console;
    if let Some(socket) = &options.console_socket
        && let Some(console) = console.take()
    {
        send_console(socket, &console)?;
    }
    if let Some(path) = &options.pid_file {
        write_pid(path, execed.pid)?;
    }
    if options.detach {
        return Ok(0);
    }
    attend(execed.pidfd, console)
}

/// The runtime's own standard descriptors, for a process that takes them over.
pub(super) fn inherited() -> Result<Stdio, Failed> {
    let copy = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned().map_err(|error| Failed::io("take over standard input", &error))
    };
    Ok(Stdio::Fds {
        stdin: copy(rustix::stdio::stdin())?,
        stdout: copy(rustix::stdio::stdout())?,
        stderr: copy(rustix::stdio::stderr())?,
    })
}

/// Hands the master of a terminal to whoever listens at `path`, runc's protocol: one message with
/// the terminal's name and the descriptor.
pub(super) fn send_console(path: &Path, console: &OwnedFd) -> Result<(), Failed> {
    let failed = |error: std::io::Error| {
        Failed::io(format!("send the terminal to {}", path.display()), &error)
    };
    let socket = UnixStream::connect(path).map_err(failed)?;
    sys::socket::send_with_fds(socket.as_fd(), b"/dev/ptmx", &[console.as_fd()])
        .map(drop)
        .map_err(|errno| failed(errno.into()))
}

/// Writes a process id, complete as soon as it can be seen.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<(), Failed> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    fs::write(&new, pid.to_string())
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| Failed::io(format!("write {}", path.display()), &error))
}

/// Stays with a process to its end: passes signals on to it and its terminal to ours.
pub(super) fn attend(pidfd: OwnedFd, console: Option<OwnedFd>) -> Result<i32, Failed> {
    let failed = |errno: Errno| Failed::io("attend to the process", &errno.into());
    let signals = sys::signal::all().map_err(failed)?;
    let raw = console.as_ref().map(|_| Raw::new()).transpose().map_err(failed)?.flatten();
    let process = Pidfd::from(pidfd);
    if let Some(console) = &console {
        resize(console);
    }
    let mut open = true;
    loop {
        let mut wait =
            vec![PollFd::new(&process, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        if let Some(console) = &console {
            wait.push(PollFd::new(console, PollFlags::IN));
            if open {
                wait.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
            }
        }
        match rustix::event::poll(&mut wait, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let ready: Vec<bool> = wait.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(wait);
        let is_ready = |place: usize| ready.get(place).copied().unwrap_or(false);
        if let Some(console) = &console {
            if is_ready(2) {
                pass(console.as_fd(), rustix::stdio::stdout());
            }
            if is_ready(3) {
                open = pass(rustix::stdio::stdin(), console.as_fd());
            }
        }
        if is_ready(1) {
            forward(&signals, &process, console.as_ref());
        }
        if is_ready(0) {
            let ended = process.wait().map_err(|error| Failed::said(error.to_string()))?;
            if let Some(console) = &console {
                drain(console);
            }
            drop(raw);
            return Ok(ended.code());
        }
    }
}

fn forward(signals: &OwnedFd, process: &Pidfd, console: Option<&OwnedFd>) {
    while let Ok(Some(received)) = sys::signal::take(signals.as_fd()) {
        match received.signal {
            SIGCHLD | SIGURG => {}
            SIGWINCH => console.into_iter().for_each(resize),
            // It may have ended; then the loop sees that next.
            signal => drop(process.send_signal(signal)),
        }
    }
}

/// Copies what is there; false when there is nothing more to come.
fn pass(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut chunk = [0u8; 4096];
    let Ok(count @ 1..) = rustix::io::read(from, &mut chunk) else { return false };
    let mut rest = &chunk[..count];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// What the terminal still holds after the process has ended.
fn drain(console: &OwnedFd) {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        let mut wait = [PollFd::new(console, PollFlags::IN)];
        let there = matches!(rustix::event::poll(&mut wait, Some(&now)), Ok(1..));
        if !there || !pass(console.as_fd(), rustix::stdio::stdout()) {
            return;
        }
    }
}

fn resize(console: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        // A terminal that is gone needs no size.
        let _ = sys::tty::set_size(console.as_fd(), size.ws_row, size.ws_col);
    }
}

/// Our own terminal passes every key on, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn new() -> rustix::io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        if !rustix::termios::isatty(stdin) {
            return Ok(None);
        }
        let before = rustix::termios::tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no attributes.
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}
