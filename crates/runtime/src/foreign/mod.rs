//! Containers of other OCI runtimes (runc, crun): a monitor drives their command line as it would
//! our own code. The root is mounted in the monitor's own mount namespace, where the runtime finds
//! it; the processes that the runtime leaves behind become the monitor's children.
//!
//! ```text
//!  bundle: config.json, rootfs ──create──▶ init waits ──start──▶ runs ──exec──▶ …
//!                                                            └─ exit, seen by pidfd ──delete──▶
//! ```
//!
//! What only our runtime can do (an own range of ids without chown, the compiled filter) is not
//! to be had here; the caller decides whether it may be missing.

mod call;
mod document;
mod orphans;

use crate::cgroup::Cgroup;
use crate::container::{Stdio, cgroup_error};
use crate::error::LaunchError;
use crate::exec::{Execed, completed, root_of};
use crate::facts::{self, Host};
use crate::launch::Launch;
use crate::plan::step::Supply;
use crate::rootfs::Supplier;
use crate::user;
use call::Caller;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Serialize;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use wire::oci::runtime::Process;

const BUNDLE: &str = "bundle";
const PID_FILE: &str = "pid";
const EXEC_PID_FILE: &str = "exec-pid";
const EXEC_PROCESS: &str = "exec.json";
const CONSOLE: &str = "console.sock";

/// A container that another runtime made.
#[derive(Debug)]
pub(crate) struct Foreign {
    /// Process id of its first process, a child of ours.
    pub(crate) pid: i32,
    /// Descriptor of that process.
    pub(crate) pidfd: OwnedFd,
    /// Its control group.
    pub(crate) cgroup: Cgroup,
    caller: Caller,
    bundle: PathBuf,
    launch: Launch,
}

/// Makes the container of `launch` by the runtime `program`; its first process waits for
/// [`Foreign::start`]. Also gives the master of its terminal, if it has one.
///
/// # Errors
/// [`LaunchError`] with the runtime's own words; nothing is left behind.
pub(crate) fn create(
    launch: &Launch,
    program: &Path,
    stdio: Stdio,
) -> Result<(Foreign, Option<OwnedFd>), LaunchError> {
    let bundle = launch.state_dir.join(BUNDLE);
    let caller = Caller::new(program, &launch.runtime_args, &bundle);
    let made = Making { launch, caller: &caller, bundle: &bundle }.run(stdio);
    match made {
        Ok((pid, pidfd, cgroup, console)) => {
            let launch = launch.clone();
            Ok((Foreign { pid, pidfd, cgroup, caller, bundle, launch }, console))
        }
        Err(error) => {
            if let Ok(null) = call::nothing() {
                // It may not have come as far as having something to delete.
                let _ = caller.call("delete", &["--force", &launch.id], [null.as_fd(); 3]);
            }
            let _ = unmount(bundle.join("rootfs"), UnmountFlags::DETACH);
            Err(error)
        }
    }
}

struct Making<'a> {
    launch: &'a Launch,
    caller: &'a Caller,
    bundle: &'a Path,
}

type Made = (i32, OwnedFd, Cgroup, Option<OwnedFd>);

impl Making<'_> {
    fn run(&self, stdio: Stdio) -> Result<Made, LaunchError> {
        let Self { launch, caller, bundle } = *self;
        let host = Host::look()?;
        let facts = facts::of_launch(launch, &host)?;
        self.mount_root()?;
        let init = if launch.init { Some(self.copy_init()?) } else { None };
        let spec = document::of_container(
            &launch.spec,
            &document::Given {
                rootfs: &bundle.join("rootfs").to_string_lossy(),
                user: facts.user.as_ref(),
                init: init.as_deref(),
                cgroup: &facts.cgroup_path,
            },
        );
        write_json(&bundle.join("config.json"), &spec)?;
        let words = ["--bundle", ".", "--pid-file", PID_FILE];
        let command = launch.spec.process.as_ref().and_then(|p| p.args.first().cloned());
        let (pid, pidfd, console) = Call { caller, command: "create", pid_file: PID_FILE, bundle }
            .run(&words, &[&launch.id], stdio)
            .map_err(|error| call::about_command(error, command.as_deref().unwrap_or("")))?;
        let cgroup = Cgroup::open(&host.hierarchy, &facts.cgroup_path).map_err(cgroup_error)?;
        Ok((pid, pidfd, cgroup, console))
    }

    /// The root file system, where the runtime finds it and the host does not.
    fn mount_root(&self) -> Result<(), LaunchError> {
        let at = self.bundle.join("rootfs");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&at)
            .map_err(|error| LaunchError::io(format!("make {}", at.display()), &error))?;
        let mut supplier = Supplier {
            launch: self.launch,
            mapped: None,
            pid: 0,
            pid_namespace: None,
            warnings: Vec::new(),
            spent: Vec::new(),
        };
        for root in supplier.make_all(&[Supply::Root])? {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&root, "", rustix::fs::CWD, &at, flags)
                .map_err(|errno| LaunchError::at("attach the root file system", errno))?;
        }
        Ok(())
    }

    /// A copy: the original is ours, and sealed.
    fn copy_init(&self) -> Result<String, LaunchError> {
        let path = self.bundle.join("init");
        let failed = |error: std::io::Error| LaunchError::io("copy the built-in init", &error);
        let mut own = fs::File::open("/proc/self/exe").map_err(failed)?;
        let mut copy = fs::File::create(&path).map_err(failed)?;
        std::io::copy(&mut own, &mut copy).map_err(failed)?;
        copy.set_permissions(fs::Permissions::from_mode(0o555)).map_err(failed)?;
        Ok(path.to_string_lossy().into_owned())
    }
}

/// A call that leaves a process behind, which becomes a child of ours.
struct Call<'a> {
    caller: &'a Caller,
    command: &'static str,
    pid_file: &'static str,
    bundle: &'a Path,
}

impl Call<'_> {
    fn run(
        &self,
        options: &[&str],
        words: &[&str],
        stdio: Stdio,
    ) -> Result<(i32, OwnedFd, Option<OwnedFd>), LaunchError> {
        let dir = self.bundle;
        let mut all = options.to_vec();
        let (listener, fds) = match stdio {
            Stdio::Terminal { .. } => {
                let failed = |errno| LaunchError::at("listen for the terminal", errno);
                let listener = listen(dir).map_err(failed)?;
                all.extend(["--console-socket", CONSOLE]);
                (Some(listener), [call::nothing()?, call::nothing()?, call::nothing()?])
            }
            Stdio::Null => (None, [call::nothing()?, call::nothing()?, call::nothing()?]),
            Stdio::Fds { stdin, stdout, stderr } => (None, [stdin, stdout, stderr]),
        };
        all.extend(words);
        let [stdin, stdout, stderr] = &fds;
        let reaper = |on| {
            sys::process::set_subreaper(on)
                .map_err(|errno| LaunchError::at("adopt the container's process", errno))
        };
        let before = orphans::children();
        reaper(true)?;
        let called =
            self.caller.call(self.command, &all, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
        // Other orphans of the container are not ours to reap.
        reaper(false)?;
        let console = listener.map(|listener| console(&listener)).transpose();
        // Its name may be bound again.
        let _ = fs::remove_file(dir.join(CONSOLE));
        let left = called.and_then(|()| self.left_behind(&dir.join(self.pid_file)));
        let wanted = left.as_ref().ok().map(|(pid, _)| *pid);
        orphans::reap(&before, wanted);
        let (pid, pidfd) = left?;
        Ok((pid, pidfd, console?))
    }

    fn left_behind(&self, pid_file: &Path) -> Result<(i32, OwnedFd), LaunchError> {
        let text = fs::read_to_string(pid_file);
        let text = text.map_err(|e| LaunchError::io(format!("read {}", pid_file.display()), &e))?;
        let _ = fs::remove_file(pid_file);
        let name = self.caller.name();
        let bad = || LaunchError::runtime(format!("{name} wrote no process id: {text:?}"));
        let pid: i32 = text.trim().parse().map_err(|_| bad())?;
        // A child that nobody waits for keeps its number.
        let pidfd = sys::Pidfd::open(pid)
            .map_err(|error| LaunchError::at(format!("open process {pid}"), error.errno))?;
        Ok((pid, pidfd.into_fd()))
    }
}

/// A socket in `dir`, whose path may be longer than an address can be.
fn listen(dir: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let _ = fs::remove_file(dir.join(CONSOLE));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{CONSOLE}", dir.as_raw_fd()));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 1)?;
    Ok(socket)
}

/// The terminal's master, which has been sent by now.
fn console(listener: &OwnedFd) -> Result<OwnedFd, LaunchError> {
    let failed = |errno| LaunchError::at("receive the terminal", errno);
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC).map_err(failed)?;
    let (mut name, mut master) = ([0; 4096], None);
    sys::socket::recv_with_fds(socket.as_fd(), &mut name, |fd| master = Some(fd))
        .map_err(failed)?;
    master.ok_or_else(|| LaunchError::runtime("the runtime sent no terminal"))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), LaunchError> {
    let failed =
        |error: std::io::Error| LaunchError::io(format!("write {}", path.display()), &error);
    let text = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    fs::write(path, text).map_err(failed)
}

impl Foreign {
    /// Lets the first process run its command.
    ///
    /// # Errors
    /// [`LaunchError`] with the runtime's words.
    pub(crate) fn start(&self) -> Result<(), LaunchError> {
        let null = call::nothing()?;
        let command = self.launch.spec.process.as_ref().and_then(|p| p.args.first());
        self.caller
            .call("start", &[&self.launch.id], [null.as_fd(); 3])
            .map_err(|error| call::about_command(error, command.map_or("", String::as_str)))
    }

    /// Starts another process in the container.
    ///
    /// # Errors
    /// [`LaunchError`] with the runtime's words.
    pub(crate) fn exec(
        &self,
        process: &Process,
        user: Option<&str>,
        stdio: Stdio,
    ) -> Result<Execed, LaunchError> {
        let process = completed(process, self.launch.spec.process.as_ref());
        let user = match user {
            Some(user) => {
                let root = root_of(self.pid, self.pidfd.as_fd())?;
                Some(user::resolve(root.as_fd(), user)?)
            }
            None => None,
        };
        let document = document::of_exec(&process, user.as_ref());
        write_json(&self.bundle.join(EXEC_PROCESS), &document)?;
        let words = ["--detach", "--process", EXEC_PROCESS, "--pid-file", EXEC_PID_FILE];
        let call = Call {
            caller: &self.caller,
            command: "exec",
            pid_file: EXEC_PID_FILE,
            bundle: &self.bundle,
        };
        let command = process.args.first().map_or("", String::as_str);
        let (pid, pidfd, console) = call
            .run(&words, &[&self.launch.id], stdio)
            .map_err(|error| call::about_command(error, command))?;
        Ok(Execed { pid, pidfd, console })
    }

    /// Removes what is left of a container that has ended, or ends it.
    pub(crate) fn remove(self) {
        // What cannot be removed now is found by its name and removed by the next daemon.
        let _ = self.cgroup.kill_all(rustix::process::Signal::KILL);
        if let Ok(null) = call::nothing() {
            let words = ["--force", &self.launch.id];
            let _ = self.caller.call("delete", &words, [null.as_fd(); 3]);
        }
        let _ = self.cgroup.delete();
        let _ = unmount(self.bundle.join("rootfs"), UnmountFlags::DETACH);
    }
}
