//! Processes by descriptor, and attributes of the calling process.

use crate::error::{SysError, check};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

/// A process by descriptor: it cannot come to mean another process.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(i32),
    /// It was killed by this signal.
    Killed(i32),
}

impl Ended {
    /// The code a shell would report: the status, or 128 and the signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Ended::Exited(status) => status,
            Ended::Killed(signal) => 128 + signal,
        }
    }
}

impl Pidfd {
    /// The process that has the id `pid` now, pidfd_open(2).
    ///
    /// # Errors
    /// `ESRCH` when there is none.
    pub fn open(pid: i32) -> Result<Self, SysError> {
        let failed = |errno| SysError::new("pidfd_open", pid.to_string(), errno);
        let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
        let pid = pid.ok_or_else(|| failed(Errno::INVAL))?;
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
        Ok(Self(fd))
    }

    /// Sends a signal, also a real-time one; `0` only asks whether it could be sent.
    ///
    /// # Errors
    /// `ESRCH` when the process has ended.
    pub fn send_signal(&self, signal: i32) -> Result<(), SysError> {
        send_signal(self.0.as_fd(), signal)
    }

    /// Waits for the end of the process, which must be a child of the caller.
    ///
    /// # Errors
    /// `ECHILD` when it is not.
    pub fn wait(&self) -> Result<Ended, SysError> {
        loop {
            if let Some(ended) = self.wait_with(WaitIdOptions::EXITED)? {
                return Ok(ended);
            }
        }
    }

    /// As [`Pidfd::wait`], without waiting: nothing if the process still runs.
    ///
    /// # Errors
    /// `ECHILD` when it is not a child.
    pub fn try_wait(&self) -> Result<Option<Ended>, SysError> {
        self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait_with(&self, options: WaitIdOptions) -> Result<Option<Ended>, SysError> {
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.0.as_fd()), options) {
                Ok(None) => return Ok(None),
                Ok(Some(status)) => return Ok(ended(&status)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(SysError::new("waitid", "P_PIDFD", errno)),
            }
        }
    }

    /// The id of the process in the pid namespace that `/proc` shows, proc_pid_fdinfo(5).
    ///
    /// # Errors
    /// `ESRCH` when the process has been waited for, or has no id there.
    pub fn id(&self) -> Result<i32, SysError> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let failed = |errno| SysError::new("read", path.as_str(), errno);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let id = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        id.filter(|id| *id > 0).ok_or_else(|| failed(Errno::SRCH))
    }

    /// The descriptor itself; it is readable once the process has ended.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl From<OwnedFd> for Pidfd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn ended(status: &rustix::process::WaitIdStatus) -> Option<Ended> {
    if let Some(code) = status.exit_status() {
        return Some(Ended::Exited(code));
    }
    status.terminating_signal().map(Ended::Killed)
}

/// pidfd_send_signal(2) with any signal number.
///
/// # Errors
/// `ESRCH` when the process has ended, `EINVAL` for a number that is no signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), SysError> {
    // SAFETY: the descriptor is open, the information pointer may be null, there are no flags.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result)
        .map(drop)
        .map_err(|errno| SysError::new("pidfd_send_signal", format!("signal {signal}"), errno))
}

/// Whether the kernel may dump the process: with `false` only a process that has
/// `CAP_SYS_PTRACE` in the initial user namespace may trace it or look into its `/proc` directory.
///
/// # Errors
/// As prctl(2).
pub fn set_dumpable(dumpable: bool) -> rustix::io::Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes one integer.
    let result =
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0) };
    check(result.into()).map(drop)
}

/// Whether this process becomes the parent of orphaned descendants, `PR_SET_CHILD_SUBREAPER`.
///
/// # Errors
/// As prctl(2).
pub fn set_subreaper(on: bool) -> rustix::io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one integer.
    let result =
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(on), 0, 0, 0) };
    check(result.into()).map(drop)
}

/// Asks for `signal` when the parent (thread) ends; 0 for none.
///
/// # Errors
/// As prctl(2).
pub fn set_parent_death_signal(signal: i32) -> rustix::io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
    check(result.into()).map(drop)
}

/// Execution domain, personality(2); returns the one before.
///
/// # Errors
/// As personality(2).
pub fn personality(persona: u64) -> rustix::io::Result<u64> {
    // SAFETY: takes one integer.
    let result = unsafe { libc::syscall(libc::SYS_personality, persona) };
    check(result).map(|before| before.unsigned_abs())
}

/// I/O priority of the calling process, ioprio_set(2); `value` is class and data combined.
///
/// # Errors
/// As ioprio_set(2).
pub fn set_io_priority(value: u32) -> rustix::io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: takes three integers.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    check(result).map(drop)
}

/// Scheduling attributes, sched_setattr(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// Size of this structure; filled in by [`set_scheduler`].
    pub size: u32,
    /// Policy.
    pub policy: u32,
    /// Flags.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Deadline policy, nanoseconds.
    pub runtime: u64,
    /// Deadline policy, nanoseconds.
    pub deadline: u64,
    /// Deadline policy, nanoseconds.
    pub period: u64,
}

/// Sets the scheduling attributes of the calling thread.
///
/// # Errors
/// As sched_setattr(2).
pub fn set_scheduler(attr: &SchedAttr) -> rustix::io::Result<()> {
    let attr = SchedAttr { size: 48, ..*attr };
    // SAFETY: the structure has the layout and size of the kernel's first version of it.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attr), 0) };
    check(result).map(drop)
}

/// Makes a session keyring of the caller's own, keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`.
///
/// # Errors
/// As keyctl(2); `ENOSYS` where the kernel has no keys.
pub fn join_session_keyring(name: &std::ffi::CStr) -> rustix::io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name is a null-terminated string that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(result).map(drop)
}

/// Closes every descriptor from `first` to `last`, close_range(2). Only for a process that owns
/// none of them: a child that was cloned and has copies of its parent's.
///
/// # Errors
/// As close_range(2).
pub fn close_copies(first: u32, last: u32) -> rustix::io::Result<()> {
    // SAFETY: takes integers only; that nobody owns the descriptors is the caller's promise, and
    // the worst of a broken one is an error of a later call.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(result).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec, close_range(2).
///
/// # Errors
/// As close_range(2).
pub fn close_on_exec_from(first: u32) -> rustix::io::Result<()> {
    const CLOEXEC: libc::c_uint = 4;
    // SAFETY: only flags of descriptors change; none is closed under its owner.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOEXEC) };
    check(result).map(drop)
}

/// Default dispositions for every signal and an empty mask, as a fresh program expects.
///
/// # Errors
/// As sigprocmask(2).
pub fn reset_signals() -> rustix::io::Result<()> {
    // The C library keeps two signals to itself and would refuse them; the kernel does not. Its
    // `struct sigaction` with everything zero is the default disposition.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the structure has the kernel's layout (four words here) and size of the mask;
        // the default disposition runs no code of ours. The two signals that cannot be changed
        // only fail.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    // SAFETY: an all-zero signal set is the empty set, and the old one is not asked for.
    let result = unsafe {
        let empty: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut())
    };
    check(result.into()).map(drop)
}

/// Resource limit of another process, prlimit(2), by the kernel's number of the resource.
///
/// # Errors
/// As prlimit(2).
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> rustix::io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the new limit lives through the call; the old one is not asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            std::ptr::from_ref(&limit),
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    check(result).map(drop)
}

/// Kills with a signal that ends a process.
///
/// # Errors
/// As pidfd_send_signal(2).
pub fn kill(pidfd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::process::pidfd_send_signal(pidfd, Signal::KILL)
}

/// Whether the working directory lies in the caller's root, getcwd(2): outside of it the kernel
/// answers with a path that does not begin with a slash. Does not allocate.
///
/// # Errors
/// As getcwd(2); `ENOENT` when the directory has been removed.
pub fn cwd_is_in_root() -> rustix::io::Result<bool> {
    let mut path = [0u8; 4097];
    // SAFETY: the kernel writes at most the given number of bytes.
    check(unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    Ok(path[0] == b'/')
}

/// Opens `/dev/null` for whichever of the descriptors 0, 1 and 2 are not open, so that no other
/// file can come to lie there.
///
/// # Errors
/// As open(2).
pub fn ensure_stdio() -> rustix::io::Result<()> {
    use rustix::fd::IntoRawFd;
    use rustix::fs::{Mode, OFlags};
    loop {
        let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It stays open on purpose: this is its place.
        let _ = null.into_raw_fd();
    }
}

/// Most memory nodes of a policy; the kernel's own bound is its `CONFIG_NODES_SHIFT`, at most 10.
pub const MAX_NODES: usize = 1024;

/// NUMA memory policy of the calling thread, kept across exec: set_mempolicy(2). `mode` has its
/// flags in it; `nodes` has one bit for each node, lowest first. Does not allocate.
///
/// # Errors
/// As set_mempolicy(2); `ENOSYS` on kernels without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64; MAX_NODES / 64]) -> rustix::io::Result<()> {
    let any = nodes.iter().any(|word| *word != 0);
    let mask = if any { nodes.as_ptr() } else { std::ptr::null() };
    // The kernel counts one bit more than it looks at.
    let bits = if any { MAX_NODES + 1 } else { 0 };
    // SAFETY: the mask has `MAX_NODES` bits and outlives the call; without one none is read.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    check(result).map(drop)
}
