//! Making processes: clone3(2), and the ends of a child.

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ffi::CStr;
use std::mem::size_of;

/// Namespaces as clone(2), unshare(2) and setns(2) name them; combine with `|`.
pub mod ns {
    /// Mounts.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Control groups.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// Host and domain name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// System V IPC and POSIX message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Users and capabilities.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// Process ids.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// Network.
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
    /// Clocks.
    pub const TIME: u64 = 0x80;
}

/// Child of the caller's parent instead of the caller.
pub const CLONE_PARENT: u64 = libc::CLONE_PARENT as u64;

/// A new process, as its maker sees it.
#[derive(Debug)]
pub struct Child {
    /// Process id in the maker's pid namespace.
    pub pid: i32,
    /// Descriptor of the process, close-on-exec.
    pub pidfd: OwnedFd,
    /// Whether it began in the control group that was asked for.
    pub entered: bool,
}

/// Begin in the control group of `CloneArgs::cgroup`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a process in the new namespaces of `flags` (see [`ns`]), with a copy of the caller's
/// memory and descriptors, as fork(2) would. The child runs `child` and ends with the status that
/// it returns.
///
/// If the caller has other threads, `child` must neither allocate nor take locks: a thread that
/// held one at this moment does not exist in the child.
///
/// # Errors
/// As clone3(2).
pub fn clone3(flags: u64, child: impl FnOnce() -> i32) -> rustix::io::Result<Child> {
    clone3_into(flags, None, child)
}

/// As [`clone3`]; the child begins in the v2 control group `cgroup` where the kernel can do that
/// (since 5.7) and lets it be done. [`Child::entered`] tells.
///
/// # Errors
/// As clone3(2).
pub fn clone3_into(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> rustix::io::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    // A child made with CLONE_PARENT has its siblings' exit signal; naming one is an error.
    let signal = if flags & CLONE_PARENT == 0 { libc::SIGCHLD } else { 0 };
    let args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: signal as u64,
        ..CloneArgs::default()
    };
    let made = cgroup.and_then(|cgroup| {
        let into = CloneArgs {
            flags: args.flags | CLONE_INTO_CGROUP,
            cgroup: cgroup.as_raw_fd().unsigned_abs().into(),
            ..args
        };
        clone_raw(&into).ok()
    });
    let entered = made.is_some();
    let pid = match made {
        Some(pid) => pid,
        None => clone_raw(&args)?,
    };
    if pid == 0 {
        exit_now(child());
    }
    // SAFETY: the kernel has just made this descriptor for us (CLONE_PIDFD) and nobody else
    // knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd, entered })
}

/// clone3(2) as fork(2): 0 in the child. `args.pidfd` must point to a live integer.
fn clone_raw(args: &CloneArgs) -> rustix::io::Result<i32> {
    // SAFETY: the structure lives through the call and has the size that is passed. No memory is
    // shared with the child (no CLONE_VM), so it goes on with its own copy of this stack, and
    // `pidfd` is written in the parent only.
    let pid = unsafe {
        check(libc::syscall(libc::SYS_clone3, std::ptr::from_ref(args), size_of::<CloneArgs>()))?
    };
    Ok(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// Ends the process at once: no destructor, no exit handler, no flush.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) is always callable and does not return.
    unsafe { libc::_exit(status) }
}

/// Arguments or environment of a program in the form that the kernel reads: made before a fork,
/// used after it.
#[derive(Debug)]
pub struct Argv {
    pointers: Vec<*const libc::c_char>,
    strings: Vec<std::ffi::CString>,
}

impl Argv {
    /// From owned strings.
    #[must_use]
    pub fn new(strings: Vec<std::ffi::CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { pointers, strings }
    }

    /// The strings.
    #[must_use]
    pub fn strings(&self) -> &[std::ffi::CString] {
        &self.strings
    }
}

/// execve(2); returns only with an error. Does not allocate.
pub fn execve(path: &CStr, args: &Argv, env: &Argv) -> rustix::io::Errno {
    // SAFETY: all three point to null-terminated strings that outlive the call, and both arrays
    // end with a null pointer.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    crate::error::last()
}

/// Executes the open file `program`, execveat(2) with `AT_EMPTY_PATH`; returns only with an
/// error. Does not allocate.
pub fn execve_fd(program: BorrowedFd<'_>, args: &Argv, env: &Argv) -> rustix::io::Errno {
    use rustix::fd::AsRawFd;
    // SAFETY: as in `execve`; the empty path is a static string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    crate::error::last()
}
