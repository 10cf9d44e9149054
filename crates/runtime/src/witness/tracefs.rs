//! An instance of the kernel's tracing for the processes of one container: made, read by a thread
//! of its own until the container ends, and removed. Source: `Documentation/trace/ftrace.rst`.
//!
//! The instance names the daemon that made it: what a killed daemon left is removed by the next.

use super::files::Files;
use super::line;
use super::seen::Seen;
use crate::error::LaunchError;
use crate::seccomp::Abi;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Room for events, for each processor.
const BUFFER_KIB: &str = "8192";
/// How often the instance is looked into.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How much is read before anything else is looked at, in pieces of 64 KiB.
const CHUNKS: usize = 64;
/// Calls that the profiles decide about by their arguments: both their ends are seen.
const PAIRS: [&str; 8] =
    ["clone", "clone3", "ioctl", "personality", "prctl", "setns", "socket", "unshare"];
/// The longest expression that the kernel takes, with some room.
const MAX_FILTER: usize = 4000;

/// From when on what a container does counts.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// When this process, which is the runtime's still, has become the command.
    TheCommand(i32),
    /// At once; this is its first process.
    Now(i32),
}

/// Whether watching is possible for this process.
///
/// # Errors
/// [`LaunchError`], saying why not.
pub fn available() -> Result<(), LaunchError> {
    mounted().map(drop)
}

/// Begins to watch the threads `pids` and all that come from them, for `during` or until the
/// first process is gone. What was seen so far is in the answer.
///
/// # Errors
/// [`LaunchError`] where the kernel's tracing cannot be had.
pub fn begin(
    pids: &[i32],
    since: Since,
    during: Option<Duration>,
) -> Result<Arc<Mutex<Seen>>, LaunchError> {
    let (first, waiting) = match since {
        Since::TheCommand(pid) => (pid, Some(pid)),
        Since::Now(pid) => (pid, None),
    };
    let gone = |error: sys::SysError| LaunchError::invalid(format!("watch a process: {error}"));
    let process = sys::Pidfd::open(first).map_err(gone)?;
    let instance = Instance::make(pids)?;
    let files = Files::of(first).ok();
    let seen = Arc::new(Mutex::new(Seen::new(waiting, instance.capabilities)));
    let shared = Arc::clone(&seen);
    let watcher = Watcher { instance, process, files, until: during.map(|d| Instant::now() + d) };
    std::thread::Builder::new()
        .name("witness".into())
        .spawn(move || watcher.run(&shared))
        .map_err(|error| LaunchError::io("begin to watch", &error))?;
    Ok(seen)
}

struct Watcher {
    instance: Instance,
    process: sys::Pidfd,
    files: Option<Files>,
    until: Option<Instant>,
}

impl Watcher {
    fn run(mut self, seen: &Mutex<Seen>) {
        loop {
            let over = self.wait() || self.until.is_some_and(|until| Instant::now() >= until);
            self.read(seen);
            if over {
                break;
            }
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).done = true;
    }

    /// Waits a little; whether the container is gone.
    fn wait(&self) -> bool {
        let mut wait = [PollFd::new(&self.process, PollFlags::IN)];
        matches!(rustix::event::poll(&mut wait, Some(&PAUSE)), Ok(1..))
    }

    fn read(&mut self, seen: &Mutex<Seen>) {
        let mut chunk = vec![0u8; 1 << 16];
        // A busy container never lets the instance run dry.
        for _ in 0..CHUNKS {
            let count = match rustix::io::read(&self.instance.pipe, &mut chunk) {
                Ok(count @ 1..) => count,
                Err(Errno::INTR) => continue,
                _ => break,
            };
            self.instance.rest.extend_from_slice(&chunk[..count]);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            self.instance.take_lines(&mut seen);
            self.instance.narrow(&seen);
        }
        if let Some(files) = &mut self.files {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let counting = seen.counting();
            for path in files.take() {
                if counting {
                    seen.opened(path);
                }
            }
        }
    }
}

/// One directory of `instances`, gone when dropped.
struct Instance {
    root: OwnedFd,
    dir: OwnedFd,
    name: String,
    pipe: OwnedFd,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    /// Calls whose beginnings are not told any more.
    known: BTreeSet<&'static str>,
    capabilities: bool,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Instance {
    fn make(pids: &[i32]) -> Result<Self, LaunchError> {
        let root = mounted()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("instances/estiba-{}-{number}", std::process::id());
        rustix::fs::mkdirat(&root, name.as_str(), Mode::RWXU).map_err(|e| failed(&name, e))?;
        Self::prepare(&root, &name, pids).inspect_err(|_| {
            // The first failure is the one to tell.
            let _ = rustix::fs::unlinkat(&root, name.as_str(), AtFlags::REMOVEDIR);
        })
    }

    fn prepare(root: &OwnedFd, name: &str, pids: &[i32]) -> Result<Self, LaunchError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir =
            rustix::fs::openat(root, name, flags, Mode::empty()).map_err(|e| failed(name, e))?;
        let set = |file: &str, value: &str| write(&dir, file, value).map_err(|e| failed(file, e));
        set("buffer_size_kb", BUFFER_KIB)?;
        set("options/event-fork", "1")?;
        let list: Vec<String> = pids.iter().map(i32::to_string).collect();
        set("set_event_pid", &list.join(" "))?;
        set("events/raw_syscalls/sys_exit/filter", &exits())?;
        set("events/raw_syscalls/sys_exit/enable", "1")?;
        set("events/raw_syscalls/sys_enter/enable", "1")?;
        // Since Linux 6.14.
        let capabilities = set("events/capability/cap_capable/enable", "1").is_ok();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let pipe = rustix::fs::openat(&dir, "trace_pipe", flags, Mode::empty())
            .map_err(|errno| failed("trace_pipe", errno))?;
        let root = root.try_clone().map_err(|e| LaunchError::io("copy a descriptor", &e))?;
        let (rest, known) = (Vec::new(), BTreeSet::new());
        Ok(Self { root, dir, name: name.to_owned(), pipe, rest, known, capabilities })
    }

    fn take_lines(&mut self, seen: &mut Seen) {
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for text in self.rest[..whole].split(|byte| *byte == b'\n') {
            if let Some(event) = line::parse(text) {
                seen.note(&event, |name| PAIRS.contains(&name));
            } else if let Some(count) = line::lost(text) {
                seen.lost += count;
            }
        }
        self.rest.drain(..whole);
    }

    /// What is known already needs not to be told again: a busy container stays fast, and nothing
    /// is lost for want of room.
    fn narrow(&mut self, seen: &Seen) {
        let fresh = |name: &&&str| !PAIRS.contains(*name) && !self.known.contains(*name);
        let fresh: Vec<&'static str> = seen.calls.iter().filter(fresh).copied().collect();
        if !seen.counting() || fresh.is_empty() {
            return;
        }
        self.known.extend(fresh);
        let numbers = self.known.iter().filter_map(|name| Abi::NATIVE.number(name));
        let parts: Vec<String> = numbers.map(|number| format!("id != {number}")).collect();
        let filter = parts.join(" && ");
        if filter.len() <= MAX_FILTER {
            // Without it there is only more to read.
            let _ = write(&self.dir, "events/raw_syscalls/sys_enter/filter", &filter);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // An instance that is read cannot be removed.
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let _ = write(&self.dir, "events/enable", "0");
        let Ok(null) = null else { return };
        drop(std::mem::replace(&mut self.pipe, null));
        // What stays goes with the next watch after this process.
        let _ = rustix::fs::unlinkat(&self.root, self.name.as_str(), AtFlags::REMOVEDIR);
    }
}

/// Ends that tell something: errors of which some option may be the cure, new programs, and all of
/// the calls in pairs.
fn exits() -> String {
    let number = |name: &str| Abi::NATIVE.number(name);
    let ids = ["execve", "execveat"].into_iter().chain(PAIRS).filter_map(number);
    let ids = ids.map(|number| format!("id == {number}"));
    let errors = [1, 13, 24, 30, 38].map(|errno: i32| format!("ret == -{errno}"));
    let forks = ["fork", "vfork"].into_iter().filter_map(number);
    let forks = forks.map(|number| format!("(ret == -11 && id == {number})"));
    errors.into_iter().chain(ids).chain(forks).collect::<Vec<_>>().join(" || ")
}

/// A tracefs of our own, mounted nowhere; left-overs of daemons that are gone are removed from it.
fn mounted() -> Result<OwnedFd, LaunchError> {
    let mount = || {
        let context = rustix::mount::fsopen(c"tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&context)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        rustix::mount::fsmount(&context, flags, MountAttrFlags::empty())
    };
    let refused =
        |why: String| LaunchError::invalid(format!("a container cannot be watched: {why}"));
    let root = mount().map_err(|errno: Errno| {
        refused(format!("tracefs, which only the machine's root may use: {errno}"))
    })?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    if ids.is_some_and(|ids| ids.split_whitespace().count() > 1) {
        return Err(refused("the kernel's tracing knows only the first pid namespace".into()));
    }
    sweep(&root);
    Ok(root)
}

fn sweep(root: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::openat(root, "instances", flags, Mode::empty()) else { return };
    let Ok(entries) = rustix::fs::Dir::read_from(&dir) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().to_str() else { continue };
        let pid = name.strip_prefix("estiba-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            // Somebody else may have been faster.
            let _ = rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR);
        }
    }
}

fn write(dir: &OwnedFd, file: &str, value: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, file, flags, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}

fn failed(what: &str, errno: Errno) -> LaunchError {
    LaunchError::at(format!("prepare tracing ({what})"), errno)
}
