//! The default profile: which system calls a container may make, with the reason by group, as
//! typed data. Knows names only; numbers are the compiler's matter.
//!
//! The posture: native calls only; what ordinary programs need and no more; whatever makes or
//! enters a namespace, changes mounts or loads code into the kernel needs the capability that the
//! kernel would ask for anyway. What is refused fails with EPERM; refused calls that programs
//! know how to do without, and calls that nobody knew when this was written, fail with ENOSYS, so
//! that they fall back to older ones.

use wire::oci::runtime::{Seccomp, Syscall, SyscallArg};

use crate::caps::{Cap, CapSet};

pub(super) const EPERM: u32 = 1;
pub(super) const ENOSYS: u32 = 38;

/// What a container was granted beyond the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileOptions {
    /// Socket families by number (`AF_*`) besides UNIX, INET, INET6 and NETLINK.
    pub extra_socket_families: Vec<u32>,
    /// Programs for 32-bit x86.
    pub i386: bool,
    /// Programs for the x32 ABI.
    pub x32: bool,
    /// `NET_RAW` is had for ping alone: its raw sockets are of ICMP, write no headers of their own
    /// and speak for no address but the container's.
    pub ping_only: bool,
}

/// The profile of a container that holds these capabilities.
pub fn default_profile(caps: CapSet, options: &ProfileOptions) -> Seccomp {
    let mut syscalls = Vec::new();
    if options.ping_only {
        syscalls.extend(foreign_addresses());
    }
    syscalls.push(allow(ALLOWED.iter().flat_map(|group| group.calls)));
    if options.i386 {
        syscalls.push(allow(LEGACY_32BIT));
    }
    for privileged in PRIVILEGED {
        if privileged.any_of.iter().any(|cap| caps.contains(*cap)) {
            syscalls.push(allow(privileged.calls));
        }
    }
    syscalls.extend(terminal_injection());
    syscalls.extend(namespaces(caps));
    syscalls.extend(sockets(caps, options));
    syscalls.extend(PERSONALITIES.map(|value| low_word("personality", 0, value)));
    syscalls.push(Syscall {
        names: owned(REFUSED_AS_UNKNOWN),
        action: "SCMP_ACT_ERRNO".to_owned(),
        errno_ret: Some(ENOSYS),
        args: Vec::new(),
    });
    let mut architectures = vec![NATIVE_ARCHITECTURE.to_owned()];
    architectures.extend(options.i386.then(|| "SCMP_ARCH_X86".to_owned()));
    architectures.extend(options.x32.then(|| "SCMP_ARCH_X32".to_owned()));
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(EPERM),
        architectures,
        syscalls,
        ..Seccomp::default()
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE_ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";
#[cfg(not(target_arch = "aarch64"))]
pub(super) const NATIVE_ARCHITECTURE: &str = "SCMP_ARCH_X86_64";

/// Calls that are allowed together for one reason.
pub(super) struct Group {
    /// Why; shown by nothing but this file, and that is where it is looked for.
    #[allow(dead_code, reason = "the reason stands with the data")]
    pub reason: &'static str,
    pub calls: &'static [&'static str],
}

/// Calls that need one of these capabilities in the kernel as well, or that only those who hold one
/// have a use for.
pub(super) struct Privileged {
    pub any_of: &'static [Cap],
    pub calls: &'static [&'static str],
}

#[rustfmt::skip]
pub(super) const ALLOWED: &[Group] = &[
    Group {
        reason: "read and write what is open",
        calls: &[
            "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "lseek",
            "close", "close_range", "dup", "dup2", "dup3", "fcntl", "flock", "pipe", "pipe2",
            "sendfile", "splice", "copy_file_range",
        ],
    },
    Group {
        reason: "files and directories, as the file system's permissions allow",
        calls: &[
            "open", "openat", "openat2", "creat", "stat", "lstat", "fstat", "newfstatat", "statx",
            "access", "faccessat", "faccessat2", "getdents", "getdents64", "getcwd", "chdir",
            "fchdir", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "link",
            "linkat", "unlink", "unlinkat", "symlink", "symlinkat", "readlink", "readlinkat",
            "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
            "umask", "mknod", "mknodat", "truncate", "ftruncate", "fallocate", "utime", "utimes",
            "utimensat", "statfs", "fstatfs",
        ],
    },
    Group {
        reason: "what databases and package managers ask of the page cache",
        calls: &[
            "sync", "syncfs", "fsync", "fdatasync", "sync_file_range", "fadvise64", "io_setup",
            "io_destroy", "io_submit", "io_getevents",
        ],
    },
    Group {
        reason: "extended attributes: tar, rsync, package managers; the kernel guards its own",
        calls: &[
            "setxattr", "lsetxattr", "fsetxattr", "getxattr", "lgetxattr", "fgetxattr", "listxattr",
            "llistxattr", "flistxattr", "removexattr", "lremovexattr", "fremovexattr",
        ],
    },
    Group {
        reason: "waiting for events: every server's main loop",
        calls: &[
            "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl",
            "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "signalfd4", "timerfd_create",
            "timerfd_settime", "timerfd_gettime", "inotify_init", "inotify_init1",
            "inotify_add_watch", "inotify_rm_watch",
        ],
    },
    Group {
        reason: "memory: allocators, garbage collectors, just-in-time compilers",
        calls: &[
            "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "msync", "mlock", "mlockall",
            "munlock", "munlockall", "memfd_create", "membarrier", "mseal",
        ],
    },
    Group {
        reason: "signals, to oneself and to what one may signal",
        calls: &[
            "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend",
            "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack", "kill", "tkill", "tgkill",
            "pidfd_open", "pidfd_send_signal", "pause", "alarm", "getitimer", "setitimer",
            "restart_syscall",
        ],
    },
    Group {
        reason: "processes and threads; `clone` is decided by its flags, below",
        calls: &[
            "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid",
            "getpid", "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid",
            "set_tid_address", "set_robust_list", "rseq", "futex", "prctl", "arch_prctl",
            "uretprobe",
        ],
    },
    Group {
        reason: "scheduling, within what the kernel lets an unprivileged process do",
        calls: &[
            "sched_yield", "sched_getparam", "sched_setparam", "sched_getscheduler",
            "sched_setscheduler", "sched_get_priority_max", "sched_get_priority_min",
            "sched_getaffinity", "sched_setaffinity", "getpriority", "setpriority", "ioprio_get",
            "ioprio_set", "getcpu",
        ],
    },
    Group {
        reason: "identities and limits: servers drop to their user",
        calls: &[
            "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups",
            "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid",
            "setfsgid", "setgroups", "capget", "capset", "getrlimit", "setrlimit", "prlimit64",
            "getrusage", "times", "uname", "sysinfo", "getrandom",
        ],
    },
    Group {
        reason: "clocks and timers; setting a clock needs a capability",
        calls: &[
            "gettimeofday", "time", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep",
            "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
        ],
    },
    Group {
        reason: "sockets once made; which families can be made is decided below",
        calls: &[
            "bind", "connect", "listen", "accept", "accept4", "getsockname", "getpeername",
            "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "setsockopt",
            "getsockopt", "shutdown",
        ],
    },
    Group {
        reason: "System V and POSIX IPC: postgres, oracle; the IPC namespace is the container's",
        calls: &[
            "shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl",
            "msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend",
            "mq_timedreceive", "mq_getsetattr",
        ],
    },
    Group {
        reason: "programs that confine themselves further",
        calls: &[
            "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
        ],
    },
];

#[rustfmt::skip]
pub(super) const PRIVILEGED: &[Privileged] = &[
    Privileged { any_of: &[Cap::SYS_CHROOT], calls: &["chroot"] },
    Privileged {
        any_of: &[Cap::SYS_ADMIN],
        calls: &[
            "mount", "umount2", "umount", "mount_setattr", "move_mount", "open_tree",
            "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "pivot_root", "statmount",
            "listmount", "setns", "unshare", "clone3", "sethostname", "setdomainname", "quotactl",
            "quotactl_fd", "fanotify_init", "fanotify_mark", "lookup_dcookie", "name_to_handle_at",
        ],
    },
    Privileged { any_of: &[Cap::SYS_ADMIN, Cap::BPF], calls: &["bpf"] },
    Privileged { any_of: &[Cap::SYS_ADMIN, Cap::PERFMON], calls: &["perf_event_open"] },
    Privileged { any_of: &[Cap::SYS_ADMIN, Cap::SYSLOG], calls: &["syslog"] },
    Privileged {
        any_of: &[Cap::DAC_READ_SEARCH],
        calls: &["open_by_handle_at", "name_to_handle_at"],
    },
    Privileged {
        any_of: &[Cap::SYS_PTRACE],
        calls: &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev"],
    },
    Privileged {
        any_of: &[Cap::SYS_MODULE],
        calls: &["init_module", "finit_module", "delete_module"],
    },
    Privileged {
        any_of: &[Cap::SYS_NICE],
        calls: &[
            "get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind", "move_pages",
            "migrate_pages",
        ],
    },
    Privileged {
        any_of: &[Cap::SYS_TIME],
        calls: &[
            "settimeofday", "stime", "clock_settime", "clock_settime64", "adjtimex",
            "clock_adjtime", "clock_adjtime64",
        ],
    },
    Privileged { any_of: &[Cap::SYS_BOOT], calls: &["reboot"] },
    Privileged { any_of: &[Cap::SYS_PACCT], calls: &["acct"] },
    Privileged { any_of: &[Cap::SYS_RAWIO], calls: &["iopl", "ioperm"] },
    Privileged { any_of: &[Cap::SYS_TTY_CONFIG], calls: &["vhangup"] },
];

/// The same powers under the names that only 32-bit ABIs have. `socketcall` is not among them: it
/// keeps its arguments in memory, where no filter can read the family, and since Linux 4.3 libc
/// does without it.
#[rustfmt::skip]
pub(super) const LEGACY_32BIT: &[&str] = &[
    "_llseek", "_newselect", "chown32", "clock_getres_time64", "clock_gettime64",
    "clock_nanosleep_time64", "fadvise64_64", "fchown32", "fcntl64", "fstat64", "fstatat64",
    "fstatfs64", "ftruncate64", "futex_time64", "get_thread_area", "getegid32", "geteuid32",
    "getgid32", "getgroups32", "getresgid32", "getresuid32", "getuid32", "io_pgetevents_time64",
    "ipc", "lchown32", "lstat64", "mmap2", "mq_timedreceive_time64", "mq_timedsend_time64",
    "ppoll_time64", "pselect6_time64", "recvmmsg_time64", "rt_sigtimedwait_time64",
    "sched_rr_get_interval_time64", "semtimedop_time64", "sendfile64", "set_thread_area",
    "setfsgid32", "setfsuid32", "setgid32", "setgroups32", "setregid32", "setresgid32",
    "setresuid32", "setreuid32", "setuid32", "sigprocmask", "sigreturn", "stat64",
    "statfs64", "timer_gettime64", "timer_settime64", "timerfd_gettime64", "timerfd_settime64",
    "truncate64", "ugetrlimit", "utimensat_time64", "waitpid",
];

/// Refused as if the kernel did not have them, because callers know kernels without: what few use
/// and all can do without, and what is younger than Linux 5.1. The last one is the newest call
/// that this profile has an opinion on.
#[rustfmt::skip]
const REFUSED_AS_UNKNOWN: &[&str] = &[
    "mincore", "tee", "vmsplice", "readahead", "preadv2", "pwritev2", "mlock2", "sched_getattr",
    "sched_setattr", "pkey_alloc", "pkey_free", "pkey_mprotect", "io_cancel", "io_pgetevents",
    "eventfd", "signalfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_tree",
    "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "clone3", "pidfd_getfd",
    "process_madvise", "mount_setattr", "quotactl_fd", "memfd_secret", "process_mrelease",
    "futex_waitv", "set_mempolicy_home_node", "cachestat", "map_shadow_stack", "futex_wake",
    "futex_wait", "futex_requeue", "statmount", "listmount", "lsm_get_self_attr",
    "lsm_set_self_attr", "lsm_list_modules", "setxattrat", "getxattrat", "listxattrat",
    "removexattrat", "open_tree_attr", "file_getattr", "file_setattr",
];

/// `TIOCSTI` types into a terminal that the caller shares with its host, `TIOCLINUX` pastes into
/// it. The kernel takes the command from the low 32 bits, and so does the comparison.
fn terminal_injection() -> Vec<Syscall> {
    const TIOCSTI: u64 = 0x5412;
    const TIOCLINUX: u64 = 0x541c;
    let refuse = |command| Syscall {
        action: "SCMP_ACT_ERRNO".to_owned(),
        errno_ret: Some(EPERM),
        ..low_word("ioctl", 1, command)
    };
    vec![refuse(TIOCSTI), refuse(TIOCLINUX), allow(&["ioctl"])]
}

/// New namespaces need CAP_SYS_ADMIN. `clone3` keeps its flags in memory, where no filter can read
/// them: without the capability it is among [`REFUSED_AS_UNKNOWN`], and libc uses `clone`.
pub(super) fn namespaces(caps: CapSet) -> Vec<Syscall> {
    /// CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}.
    const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
    if caps.contains(Cap::SYS_ADMIN) {
        return vec![allow(&["clone"])];
    }
    let arg = masked(0, NAMESPACE_FLAGS, 0);
    vec![Syscall { args: vec![arg], ..allow(&["clone"]) }]
}

const UNIX: u32 = 1;
const INET: u32 = 2;
const INET6: u32 = 10;
const NETLINK: u32 = 16;
const PACKET: u32 = 17;

/// Families are allowed one by one: a family that the kernel learns later is refused.
fn sockets(caps: CapSet, options: &ProfileOptions) -> Vec<Syscall> {
    let mut families = vec![UNIX, NETLINK];
    let mut rules = Vec::new();
    if options.ping_only {
        rules.extend([(INET, ICMP), (INET6, ICMPV6)].map(internet).concat());
    } else {
        families.extend([INET, INET6]);
        families.extend(caps.contains(Cap::NET_RAW).then_some(PACKET));
    }
    let known = [&families[..], &[INET, INET6]].concat();
    families.extend(options.extra_socket_families.iter().filter(|family| !known.contains(family)));
    rules.extend(families.iter().map(|family| low_word("socket", 0, u64::from(*family))));
    // Only UNIX has pairs (and TIPC).
    rules.push(low_word("socketpair", 0, u64::from(UNIX)));
    rules
}

const ICMP: u32 = 1;
const ICMPV6: u32 = 58;

/// Sockets of a family of the internet: streams, datagrams, sequences of packets (SCTP), and raw
/// ones of a single protocol. The kernel makes a packet socket of what asks for `SOCK_PACKET`.
fn internet((family, protocol): (u32, u32)) -> Vec<Syscall> {
    /// `SOCK_TYPE_MASK`: the other bits are flags.
    const TYPE: u64 = 0xf;
    const RAW: u64 = 3;
    const PLAIN: [u64; 3] = [1, 2, 5];
    let of_type = |kind| {
        let args = vec![masked(0, 0xffff_ffff, family.into()), masked(1, TYPE, kind)];
        Syscall { args, ..allow(&["socket"]) }
    };
    let mut raw = of_type(RAW);
    raw.args.push(masked(2, 0xffff_ffff, protocol.into()));
    PLAIN.map(of_type).into_iter().chain([raw]).collect()
}

/// Who may have raw sockets may have them take headers as they are written, and may have any socket
/// speak for addresses of others (ip(7), ipv6(7)): neither is needed for ping.
fn foreign_addresses() -> Vec<Syscall> {
    /// Level and option: `IP_HDRINCL`, `IP_TRANSPARENT`; `IPV6_HDRINCL`, which `SOL_RAW` has as
    /// well, and `IPV6_TRANSPARENT`.
    const OPTIONS: [(u64, u64); 5] = [(0, 3), (0, 19), (41, 36), (255, 36), (41, 75)];
    let refuse = |(level, option)| Syscall {
        action: "SCMP_ACT_ERRNO".to_owned(),
        errno_ret: Some(EPERM),
        args: vec![masked(1, 0xffff_ffff, level), masked(2, 0xffff_ffff, option)],
        ..allow(&["setsockopt"])
    };
    OPTIONS.map(refuse).to_vec()
}

/// The plain one, the one of `setarch linux32`, and asking which one it is.
const PERSONALITIES: [u64; 3] = [0, 0x0008, 0xffff_ffff];

/// Allows calls whatever their arguments are.
pub(super) fn allow<'a>(calls: impl IntoIterator<Item = &'a &'a str>) -> Syscall {
    Syscall { names: owned(calls), action: "SCMP_ACT_ALLOW".to_owned(), ..Syscall::default() }
}

/// Allows a call when an argument that the kernel takes as a 32-bit integer has this value;
/// callers may leave anything in the upper half.
pub(super) fn low_word(call: &str, index: u32, value: u64) -> Syscall {
    Syscall { args: vec![masked(index, 0xffff_ffff, value)], ..allow(&[call]) }
}

fn masked(index: u32, mask: u64, value: u64) -> SyscallArg {
    let op = "SCMP_CMP_MASKED_EQ".to_owned();
    SyscallArg { index, value: mask, value_two: value, op }
}

fn owned<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> Vec<String> {
    names.into_iter().map(|name| (*name).to_owned()).collect()
}
