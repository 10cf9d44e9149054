//! `create`, `start` and `run`.

use super::args::{Args, Usage};
use super::record::{self, Record, Status};
use super::{Failed, Global, enter, signal};
use crate::container::{Created, Extras, Stdio, create_with, start_through};
use crate::error::LaunchError;
use crate::launch::{Ids, Launch, Rootfs, VERSION};
use crate::monitor::log::LogConfig;
use crate::seccomp;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::oci::runtime::{LATEST, Spec};

/// Options of `create` and `run`.
#[derive(Debug, Default)]
struct Options {
    bundle: Option<PathBuf>,
    config: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    preserve_fds: u32,
    detach: bool,
    keep: bool,
}

impl Options {
    fn read(args: &mut Args) -> Result<Self, Usage> {
        let mut options = Self::default();
        while let Some(option) = args.option() {
            match option.as_str() {
                "--bundle" | "-b" => options.bundle = Some(args.value(&option)?.into()),
                "--config" | "-f" => options.config = Some(args.value(&option)?.into()),
                "--console-socket" => options.console_socket = Some(args.value(&option)?.into()),
                "--pid-file" => options.pid_file = Some(args.value(&option)?.into()),
                "--preserve-fds" => options.preserve_fds = args.parsed(&option)?,
                "--detach" | "-d" => options.detach = args.switch(&option)?,
                "--keep" => options.keep = args.switch(&option)?,
                // The root is never left any other way than it can be, and orphans are init's.
                "--no-pivot" | "--no-new-keyring" | "--no-subreaper" => {
                    args.switch(&option)?;
                }
                _ => return Err(Usage::UnknownOption(option)),
            }
        }
        Ok(options)
    }
}

pub(super) fn create(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let options = Options::read(&mut args)?;
    let id = args.required("the container's id")?;
    args.end()?;
    let dir = record::reserve(global, &id)?;
    let made = prepare((global, &dir), &id, &options, true);
    let (created, launch) = made.inspect_err(|_| forget(&dir))?;
    let done = announce(&created, &launch, &options, &dir);
    done.inspect_err(|_| forget(&dir))?;
    created.leave();
    Ok(0)
}

pub(super) fn run(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let options = Options::read(&mut args)?;
    let id = args.required("the container's id")?;
    args.end()?;
    let dir = record::reserve(global, &id)?;
    let ended = run_in((global, &dir), &id, &options);
    if !options.detach && !options.keep || ended.is_err() {
        forget(&dir);
    }
    ended
}

fn run_in((global, dir): (&Global, &Path), id: &str, options: &Options) -> Result<i32, Failed> {
    let (mut created, launch) = prepare((global, dir), id, options, false)?;
    announce(&created, &launch, options, dir)?;
    let console = created.console.take();
    let running = created.start()?;
    if options.detach {
        return Ok(0);
    }
    let ended = enter::attend(running.pidfd, console)?;
    if !options.keep {
        running.cgroup.delete()?;
        tell_after(&launch);
    }
    Ok(ended)
}

/// Runs the last hooks; what they fail at is only told.
pub(super) fn tell_after(launch: &Launch) {
    if let Some(error) = crate::container::after(launch) {
        eprintln!("estiba-runtime: {error}");
    }
}

pub(super) fn start(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let id = args.only_id()?;
    let record = Record::load(global, &id)?;
    let status = record.status();
    if status != Status::Created {
        let status = status.name();
        return Err(Failed::said(format!("container {id} is {status}, not created")));
    }
    let gate = record::gate(&record.launch.state_dir);
    let connection = connect(&gate)
        .map_err(|error| Failed::io(format!("reach container {id}"), &error.into()))?;
    let outcome = start_through(&connection, &record.launch, record.kind(), record.pid);
    // It runs or it is gone: in neither case it can be started again.
    let _ = fs::remove_file(&gate);
    outcome?;
    Ok(0)
}

/// Whether a start runs hooks in the container.
pub(super) fn has_inner_hooks(global: &Global, mut args: Args) -> bool {
    let record = args.only_id().ok().and_then(|id| Record::load(global, &id).ok());
    let hooks = record.and_then(|record| record.launch.spec.hooks);
    hooks.is_some_and(|hooks| !hooks.start_container.is_empty())
}

/// Creates the container of a bundle, behind a gate or not.
fn prepare(
    (global, dir): (&Global, &Path),
    id: &str,
    options: &Options,
    gated: bool,
) -> Result<(Created, Arc<Launch>), Failed> {
    let bundle = options.bundle.clone().unwrap_or_else(|| PathBuf::from("."));
    let config = options.config.clone().unwrap_or_else(|| bundle.join("config.json"));
    let launch = Arc::new(launch_of((&bundle, &config), id, dir, global.systemd)?);
    let terminal = has_terminal(&launch);
    if terminal && options.console_socket.is_none() && (gated || options.detach) {
        return Err(Failed::said("a terminal in the background needs --console-socket"));
    }
    let stdio = if terminal { Stdio::Terminal { size: None } } else { enter::inherited()? };
    let gate = match gated {
        true => Some(listen(&record::gate(dir)).map_err(|e| Failed::io("make a gate", &e.into()))?),
        false => None,
    };
    let extras = Extras { gate, preserve_fds: options.preserve_fds };
    let created = create_with(&launch, stdio, extras)?;
    for warning in &created.warnings {
        eprintln!("estiba-runtime: warning: {warning}");
    }
    Ok((created, launch))
}

fn has_terminal(launch: &Launch) -> bool {
    launch.spec.process.as_ref().is_some_and(|process| process.terminal)
}

/// Tells the rest of the world: the state file, the terminal, the process id.
fn announce(
    created: &Created,
    launch: &Launch,
    options: &Options,
    dir: &Path,
) -> Result<(), Failed> {
    Record::new(launch, created.pid, has_terminal(launch)).save(dir)?;
    if let (Some(socket), Some(console)) = (&options.console_socket, &created.console) {
        enter::send_console(socket, console)?;
    }
    if let Some(path) = &options.pid_file {
        enter::write_pid(path, created.pid)?;
    }
    Ok(())
}

fn launch_of(
    (bundle, path): (&Path, &Path),
    id: &str,
    state_dir: &Path,
    systemd: bool,
) -> Result<Launch, Failed> {
    let bundle = std::path::absolute(bundle)
        .map_err(|error| Failed::io(format!("find bundle {}", bundle.display()), &error))?;
    let text =
        fs::read(path).map_err(|error| Failed::io(format!("read {}", path.display()), &error))?;
    let mut spec: Spec = serde_json::from_slice(&text)
        .map_err(|error| Failed::said(format!("read {}: {error}", path.display())))?;
    check_version(&spec)?;
    // Relative sources of bind mounts begin at the bundle, config.md "Mounts".
    for mount in &mut spec.mounts {
        let bound = mount.kind == "bind" || mount.options.iter().any(|o| o.ends_with("bind"));
        if bound && !mount.source.starts_with('/') {
            mount.source = bundle.join(&mount.source).display().to_string();
        }
    }
    let seccomp = keep_filter(&mut spec, state_dir)?;
    let root = spec.root.as_ref().map_or("rootfs", |root| root.path.as_str());
    let root = bundle.join(root);
    Ok(Launch {
        version: VERSION,
        id: id.to_owned(),
        spec,
        rootfs: Rootfs::Directory(root),
        ids: Ids::Host,
        user: None,
        seccomp,
        state_dir: state_dir.to_owned(),
        log: LogConfig::None,
        stdin_open: false,
        stdin_once: false,
        init: false,
        stop_timeout_s: None,
        // Whoever enters later is another process, in another domain.
        scopes: Default::default(),
        systemd,
        runtime: None,
        runtime_args: Vec::new(),
        bundle: Some(bundle),
    })
}

/// Compiles the filter into a file of the container's directory. Its rules, which are most of the
/// document, are dropped: no later command needs to read or compile them again.
fn keep_filter(spec: &mut Spec, state_dir: &Path) -> Result<Option<PathBuf>, Failed> {
    let profile = spec.linux.as_mut().and_then(|linux| linux.seccomp.as_mut());
    let Some(profile) = profile else { return Ok(None) };
    let program = seccomp::compile(profile, seccomp::Arch::NATIVE)
        .map_err(|error| LaunchError::invalid(error.to_string()))?;
    profile.syscalls.clear();
    let path = record::filter(state_dir);
    let path = std::path::absolute(&path)
        .and_then(|path| fs::write(&path, program.to_bytes()).map(|()| path))
        .map_err(|error| Failed::io(format!("write {}", path.display()), &error))?;
    Ok(Some(path))
}

/// Whether the document follows a version of the specification that is known here. Later minor
/// versions only add to it, `spec.md` "Notational Conventions" (semantic versioning).
pub(crate) fn check_version(spec: &Spec) -> Result<(), Failed> {
    let version = spec.oci_version.as_str();
    let mut parts = version.split(['-', '+']).next().unwrap_or("").split('.');
    let numbers = [parts.next(), parts.next(), parts.next()];
    let sound = parts.next().is_none()
        && numbers.iter().all(|part| part.is_some_and(|part| part.parse::<u32>().is_ok()));
    match sound && numbers[0] == Some("1") {
        true => Ok(()),
        false => Err(Failed::said(format!(
            "ociVersion {version:?} is not known: this runtime follows 1.0.0 to {LATEST}"
        ))),
    }
}

fn forget(dir: &Path) {
    signal::remove(dir);
}

fn socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The address of a socket whose path may be longer than an address can be: by a descriptor of
/// its directory.
fn address(path: &Path) -> rustix::io::Result<(OwnedFd, SocketAddrUnix)> {
    use rustix::fs::{Mode, OFlags};
    let dir = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((dir, SocketAddrUnix::new(short)?))
}

fn listen(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = socket()?;
    let (_dir, address) = address(path)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(socket.as_fd(), 1)?;
    Ok(socket)
}

fn connect(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = socket()?;
    let (_dir, address) = address(path)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}
