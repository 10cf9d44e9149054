//! Landlock, landlock(7): a process gives up, for good, what it does not need of the file system,
//! of TCP, and of signals and abstract sockets beyond itself. Who confines himself, and to what, is
//! not known here.

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::mem::size_of;

/// Rights to files that each version of the interface knows, all of them together.
const FILES: [u64; 5] = [(1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1];
/// Execution.
const EXECUTE: u64 = 1;
/// Binding and connecting of TCP, since version 4.
const TCP: u64 = 0b11;
/// Connecting to abstract sockets outside the domain, since version 6.
const ABSTRACT_SOCKETS: u64 = 0b01;
/// Signals to outside the domain, since version 6.
const SIGNALS: u64 = 0b10;
const OUTSIDE: u64 = ABSTRACT_SOCKETS | SIGNALS;
/// The version that knows scopes, Linux 6.12.
const SCOPES_SINCE: u32 = 6;
const PATH_BENEATH: u32 = 1;

#[repr(C)]
#[derive(Default)]
struct RulesetAttr {
    files: u64,
    network: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed: u64,
    parent: i32,
}

/// The version of the interface that the running kernel has; nothing when it has none or was
/// started without.
#[must_use]
pub fn version() -> Option<u32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no structure and makes no descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION)
    };
    check(result).ok().and_then(|version| u32::try_from(version).ok()).filter(|&v| v > 0)
}

/// Confines the calling thread for good: files are reached only below `dir` (or nowhere), where
/// everything but execution is allowed; no TCP port is bound or connected to; signals and abstract
/// sockets stay inside. The thread has no_new_privs. What the kernel's version does not know is
/// left out. `false`: the kernel has no Landlock.
///
/// # Errors
/// As landlock_restrict_self(2).
pub fn confine(dir: Option<BorrowedFd<'_>>) -> rustix::io::Result<bool> {
    let Some(version) = version() else { return Ok(false) };
    let known = usize::try_from(version).unwrap_or(FILES.len()).min(FILES.len());
    let attr = RulesetAttr {
        files: FILES[known - 1],
        network: if version >= 4 { TCP } else { 0 },
        scoped: if version >= SCOPES_SINCE { OUTSIDE } else { 0 },
    };
    // The kernel takes a longer structure whose unknown end is zero.
    let ruleset = create(&attr)?;
    if let Some(dir) = dir {
        allow(&ruleset, dir, attr.files & !EXECUTE)?;
    }
    restrict(&ruleset).map(|()| true)
}

/// Whether [`scope`] confines anything on this kernel: Linux 6.12 and later.
#[must_use]
pub fn has_scopes() -> bool {
    version().is_some_and(|version| version >= SCOPES_SINCE)
}

/// Makes a domain of the calling thread and of all that it clones from now on, for good: nobody in
/// it sends signals to processes outside, or connects to their abstract sockets. Inside, and from
/// outside to inside, nothing changes; but who is inside cannot trace who is outside, and that is
/// what looking at another's /proc/PID/ns takes. Files and mounts are not touched. The thread has
/// no_new_privs or CAP_SYS_ADMIN. `false`: the kernel has no scopes, or none was asked for.
///
/// # Errors
/// As landlock_restrict_self(2).
pub fn scope(signals: bool, abstract_sockets: bool) -> rustix::io::Result<bool> {
    let wanted = |wanted: bool, bit: u64| if wanted { bit } else { 0 };
    let scoped = wanted(signals, SIGNALS) | wanted(abstract_sockets, ABSTRACT_SOCKETS);
    if scoped == 0 || !has_scopes() {
        return Ok(false);
    }
    restrict(&create(&RulesetAttr { scoped, ..RulesetAttr::default() })?).map(|()| true)
}

fn restrict(ruleset: &OwnedFd) -> rustix::io::Result<()> {
    // SAFETY: takes a descriptor and flags.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
    check(result).map(drop)
}

fn create(attr: &RulesetAttr) -> rustix::io::Result<OwnedFd> {
    // SAFETY: the structure lives through the call and has the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(attr),
            size_of::<RulesetAttr>(),
            0u32,
        )
    };
    let fd = i32::try_from(check(result)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn allow(ruleset: &OwnedFd, dir: BorrowedFd<'_>, allowed: u64) -> rustix::io::Result<()> {
    let rule = PathBeneathAttr { allowed, parent: dir.as_raw_fd() };
    // SAFETY: the structure is of the kind that is named, and lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            PATH_BENEATH,
            std::ptr::from_ref(&rule),
            0u32,
        )
    };
    check(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_lies_beside_the_directory_is_out_of_reach() {
        if version().is_none() {
            return;
        }
        let confined = std::thread::spawn(|| {
            crate::cred::set_no_new_privileges().unwrap();
            let dir = std::fs::File::open("/etc").unwrap();
            assert!(confine(Some(dir.as_fd())).unwrap());
            let reads = |path: &str| std::fs::read(path).map_err(|error| error.kind());
            (reads("/etc/passwd").is_ok(), reads("/proc/self/status").err())
        });
        let (inside, outside) = confined.join().unwrap();
        assert!(inside);
        assert_eq!(outside, Some(std::io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn who_is_scoped_reaches_nobody_outside_and_his_own() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
        if !has_scopes() {
            return;
        }
        let name = |part: &str| {
            let name = format!("estiba-scope-{part}-{}", std::process::id());
            SocketAddr::from_abstract_name(name).unwrap()
        };
        let (outside, inside) = (name("outside"), name("inside"));
        let _listener = UnixListener::bind_addr(&outside).unwrap();
        let connect = |to: &SocketAddr| UnixStream::connect_addr(to).map_err(|error| error.kind());
        let confined = std::thread::spawn(move || {
            crate::cred::set_no_new_privileges().unwrap();
            assert!(!scope(false, false).unwrap(), "nothing was asked for");
            assert!(connect(&outside).is_ok());
            assert!(scope(true, true).unwrap());
            let _own = UnixListener::bind_addr(&inside).unwrap();
            let parent = rustix::process::getppid().unwrap();
            let signal = rustix::process::test_kill_process(parent);
            (connect(&outside).err(), connect(&inside).is_ok(), signal.err())
        });
        let (denied, own, signal) = confined.join().unwrap();
        assert_eq!(denied, Some(std::io::ErrorKind::PermissionDenied));
        assert!(own, "its own are reached");
        assert_eq!(signal, Some(Errno::PERM));
    }
}
