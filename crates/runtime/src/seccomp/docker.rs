//! Docker's default profile, for `--security-opt profile=docker`: what this product's own allows,
//! and what Docker's documentation lists beyond it.
//!
//! Source: Docker's manual, "Seccomp security profiles for Docker".

use wire::oci::runtime::{Seccomp, Syscall, SyscallArg};

use super::profile::{
    ALLOWED, ENOSYS, EPERM, LEGACY_32BIT, NATIVE_ARCHITECTURE, PRIVILEGED, allow, low_word,
    namespaces,
};
use crate::caps::{Cap, CapSet};

/// Docker's profile for a container that holds these capabilities.
pub fn docker_profile(caps: CapSet) -> Seccomp {
    let mut syscalls = vec![
        allow(ALLOWED.iter().flat_map(|group| group.calls)),
        allow(LEGACY_32BIT),
        allow(BEYOND),
    ];
    for privileged in PRIVILEGED {
        if privileged.any_of.iter().any(|cap| caps.contains(*cap)) {
            syscalls.push(allow(privileged.calls));
        }
    }
    syscalls.extend(namespaces(caps));
    if !caps.contains(Cap::SYS_ADMIN) {
        syscalls.push(refuse(Syscall { ..allow(&["clone3"]) }, ENOSYS));
    }
    // Families with a history: virtual machines' sockets and the kernel's crypto interface.
    syscalls.extend(REFUSED_FAMILIES.map(|family| refuse(low_word("socket", 0, family), EPERM)));
    syscalls.push(allow(&["socket"]));
    syscalls.extend(PERSONALITIES.map(|value| Syscall {
        args: vec![SyscallArg { value, op: "SCMP_CMP_EQ".to_owned(), ..SyscallArg::default() }],
        ..allow(&["personality"])
    }));
    let subordinate: &[&str] = match NATIVE_ARCHITECTURE {
        "SCMP_ARCH_X86_64" => &["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        _ => &["SCMP_ARCH_ARM"],
    };
    let architectures = [NATIVE_ARCHITECTURE].iter().chain(subordinate);
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(EPERM),
        architectures: architectures.map(|name| (*name).to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

/// AF_ALG and AF_VSOCK.
const REFUSED_FAMILIES: [u64; 2] = [38, 40];

/// Plain Linux, `linux32`, the same with the version 2.6 shown, and asking.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// Allowed by Docker whatever the capabilities are, and not by this product's own profile.
#[rustfmt::skip]
const BEYOND: &[&str] = &[
    "adjtimex", "cachestat", "clock_adjtime", "clock_adjtime64", "epoll_ctl_old", "epoll_wait_old",
    "eventfd", "fanotify_mark", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake",
    "futimesat", "get_robust_list", "getxattrat", "io_cancel", "io_pgetevents", "ioctl",
    "listxattrat", "map_shadow_stack", "memfd_secret", "mincore", "mlock2", "modify_ldt",
    "mq_notify", "name_to_handle_at", "pkey_alloc", "pkey_free", "pkey_mprotect", "preadv2",
    "process_mrelease", "process_vm_readv", "process_vm_writev", "ptrace", "pwritev2", "readahead",
    "recv", "remap_file_pages", "removexattrat", "rt_tgsigqueueinfo", "sched_getattr",
    "sched_rr_get_interval", "sched_setattr", "send", "setxattrat", "signalfd", "socketcall",
    "socketpair", "tee", "vmsplice",
];

fn refuse(rule: Syscall, errno: u32) -> Syscall {
    Syscall { action: "SCMP_ACT_ERRNO".to_owned(), errno_ret: Some(errno), ..rule }
}
