//! A process with nothing: a program executed in namespaces of its own, whose user namespace has
//! the ids that its maker gives it, and what such a process does to itself at its start. What it is
//! for, and what it may call, is not known here.

use crate::clone::{Argv, Child, clone3, execve_fd, ns};
use crate::error::{SysError, check};
use crate::{cred, process};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use std::ffi::{CStr, CString};

/// A range of ids of a user namespace, for users and groups alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id in the namespace.
    pub inside: u32,
    /// What that is outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// All namespaces but the one of clocks.
const ALONE: u64 = ns::USER | ns::MOUNT | ns::PID | ns::NET | ns::IPC | ns::UTS | ns::CGROUP;

/// Executes the open program in new namespaces, as root of a user namespace with the ids of
/// `range`, which includes 0. `keep` stays open in it under its number in the caller; nothing else
/// does but the standard descriptors. `name` is its `argv[0]`, which `args` follow; the environment
/// is empty. Returns with its user namespace.
///
/// # Errors
/// As clone3(2); `ENOSPC` when there may be no more user namespaces.
pub fn spawn(
    program: BorrowedFd<'_>,
    args: &[CString],
    keep: BorrowedFd<'_>,
    range: IdRange,
) -> Result<(Child, OwnedFd), SysError> {
    let failed = |call| move |errno| SysError::new(call, "a sandbox", errno);
    let argv = Argv::new(args.to_vec());
    let env = Argv::new(Vec::new());
    let (go, tell) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed("pipe"))?;
    let told = tell.as_raw_fd();
    let child = clone3(ALONE, || {
        close(told);
        if wait(&go).and_then(|()| become_root(keep)).is_err() {
            return 126;
        }
        execve_fd(program, &argv, &env);
        127
    })
    .map_err(failed("clone3"))?;
    drop(go);
    let userns = map(child.pid, range);
    if userns.is_ok() {
        // When it is gone already the caller sees that by its silence.
        let _ = rustix::io::write(&tell, &[1]);
    }
    Ok((child, userns?))
}

/// In the child: until the maps are written.
fn wait(go: &OwnedFd) -> rustix::io::Result<()> {
    let mut byte = [0u8];
    loop {
        match rustix::io::read(go, &mut byte) {
            Ok(1) => return Ok(()),
            Ok(_) => return Err(Errno::PIPE),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// In the child: root of its namespace, with one descriptor that stays open.
fn become_root(keep: BorrowedFd<'_>) -> rustix::io::Result<()> {
    cred::set_groups(&[])?;
    cred::set_gid(0)?;
    cred::set_uid(0)?;
    // SAFETY: takes integers; descriptors are only marked.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 1 << 2) };
    check(marked)?;
    rustix::io::fcntl_setfd(keep, FdFlags::empty())
}

fn close(fd: i32) {
    // SAFETY: in a child that only executes a program afterwards: nobody uses the number again.
    unsafe { libc::close(fd) };
}

/// The lines of a map: one, but where the ids outside are several extents in their own namespace.
fn lines(range: IdRange, own: &[crate::userns::Extent]) -> String {
    let parts = crate::userns::cut(range.outside, range.count, own);
    let line = |part: &crate::userns::Extent| {
        let inside = range.inside + (part.first - range.outside);
        format!("{inside} {} {}\n", part.first, part.count)
    };
    parts.iter().map(line).collect()
}

fn map(pid: i32, range: IdRange) -> Result<OwnedFd, SysError> {
    let users = ("uid_map", crate::userns::users());
    for (file, own) in [users, ("gid_map", crate::userns::groups())] {
        let line = lines(range, &own);
        let path = format!("/proc/{pid}/{file}");
        let failed = |errno| SysError::new("write", path.clone(), errno);
        let fd = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed)?;
        rustix::io::write(&fd, line.as_bytes()).map_err(failed)?;
    }
    let path = format!("/proc/{pid}/ns/user");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| SysError::new("open", path, errno))
}

/// Leaves every mount behind: the root becomes an empty directory that cannot be written to. The
/// process is in a mount namespace of its own.
///
/// # Errors
/// As mount(2) and pivot_root(2).
pub fn leave_root() -> Result<(), SysError> {
    // A directory that exists wherever there are processes; only this namespace sees it covered.
    const COVER: &CStr = c"/proc";
    let failed = |call| move |errno| SysError::new(call, "/proc", errno);
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", private).map_err(failed("mount"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    rustix::mount::mount(c"none", COVER, c"tmpfs", flags, Some(c"size=4k,nr_inodes=1,mode=0555"))
        .map_err(failed("mount"))?;
    rustix::process::chdir(COVER).map_err(failed("chdir"))?;
    rustix::process::pivot_root(c".", c".").map_err(failed("pivot_root"))?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).map_err(failed("umount"))?;
    rustix::process::chdir(c"/").map_err(failed("chdir"))
}

/// Keeps of all capabilities those of the mask (`1 << CAP_…`), in the bounding set too, and no
/// program executed from now on gains any.
///
/// # Errors
/// As prctl(2) and capset(2).
pub fn keep_capabilities(mask: u64) -> rustix::io::Result<()> {
    for capability in (0..64).filter(|number| mask & (1 << number) == 0) {
        match cred::drop_bounding(capability) {
            // Numbers beyond the last the kernel knows. A process without the key to the bounding
            // set has given up its privileges before.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    cred::clear_ambient()?;
    cred::set_capabilities(cred::CapSets { effective: mask, permitted: mask, inheritable: 0 })?;
    cred::set_no_new_privileges()
}

/// Standard descriptors that lead nowhere.
///
/// # Errors
/// As open(2).
pub fn close_standard() -> rustix::io::Result<()> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

/// Limits of one resource, both soft and hard.
///
/// # Errors
/// As setrlimit(2).
pub fn limit(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let limit = rustix::process::Rlimit { current: Some(value), maximum: Some(value) };
    rustix::process::setrlimit(resource, limit)
}

pub use rustix::process::Resource;

/// Nobody may look into the process, and it leaves no core behind.
///
/// # Errors
/// As prctl(2).
pub fn hide() -> rustix::io::Result<()> {
    process::set_dumpable(false)?;
    limit(Resource::Core, 0)
}

/// The most memory the process has had in RAM, KiB.
#[must_use]
pub fn peak_kib() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills in the structure; all zeros are a valid one.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0)
}

/// Changes the mode of what the descriptor is open on, an `O_PATH` one too: fchmodat2(2).
///
/// # Errors
/// As fchmodat2(2); `ENOSYS` before Linux 6.6.
pub fn chmod(file: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    const FCHMODAT2: libc::c_long = 452;
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the path is an empty string, which lives for ever.
    let result = unsafe { libc::syscall(FCHMODAT2, fd, c"".as_ptr(), mode, libc::AT_EMPTY_PATH) };
    check(result).map(drop)
}
