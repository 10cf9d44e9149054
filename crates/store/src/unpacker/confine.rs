//! What a process for one archive gives up before it sees the first byte of it. Order matters: each
//! step needs what the next one takes away. This module knows the roles, and nothing of archives.

use super::message::Role;
use crate::error::{Act, Result};
use std::os::fd::BorrowedFd;
use sys::sandbox::{self, Resource};
use sys::seccomp::Allowed;

/// `CAP_CHOWN`, `CAP_DAC_OVERRIDE`, `CAP_FOWNER`, `CAP_FSETID` and `CAP_SETFCAP`: what it takes to
/// give files the owners, modes and capabilities that an archive says.
pub(super) const FILE_CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31;

/// Memory of a decompressor: xz at its strongest takes 65 MiB and may ask for 128, zstd's largest
/// window is as much.
const DECOMPRESS_BYTES: u64 = 288 << 20;
/// Memory of an extractor: what it remembers of a million directories.
const EXTRACT_BYTES: u64 = 384 << 20;
/// Descriptors: tree walks that remove what an entry replaces hold one a level.
const OPEN_FILES: u64 = 256;

/// `PROT_EXEC`, the third argument of mmap(2) and mprotect(2).
const EXEC: Option<(u8, u32)> = Some((2, 4));

/// Calls of every role: memory, its pipe, and the end.
const COMMON: [Allowed; 19] = [
    call(libc::SYS_read),
    call(libc::SYS_write),
    call(libc::SYS_close),
    call(libc::SYS_sendmsg),
    call(libc::SYS_brk),
    Allowed { number: libc::SYS_mmap, without: EXEC },
    Allowed { number: libc::SYS_mprotect, without: EXEC },
    call(libc::SYS_mremap),
    call(libc::SYS_munmap),
    call(libc::SYS_madvise),
    call(libc::SYS_futex),
    call(libc::SYS_getrandom),
    call(libc::SYS_getrusage),
    call(libc::SYS_clock_gettime),
    call(libc::SYS_rt_sigreturn),
    call(libc::SYS_rt_sigprocmask),
    call(libc::SYS_sigaltstack),
    call(libc::SYS_exit),
    call(libc::SYS_exit_group),
];

/// What an extractor does to its target, and the answers to what it asks.
const FILES: [Allowed; 25] = [
    call(libc::SYS_recvmsg),
    call(libc::SYS_openat),
    call(libc::SYS_openat2),
    call(libc::SYS_fstat),
    call(libc::SYS_newfstatat),
    call(libc::SYS_statx),
    call(libc::SYS_lseek),
    call(libc::SYS_pwrite64),
    call(libc::SYS_ftruncate),
    call(libc::SYS_sync_file_range),
    call(libc::SYS_splice),
    call(libc::SYS_getdents64),
    call(libc::SYS_mkdirat),
    call(libc::SYS_mknodat),
    call(libc::SYS_symlinkat),
    call(libc::SYS_linkat),
    call(libc::SYS_unlinkat),
    call(libc::SYS_renameat),
    call(libc::SYS_renameat2),
    call(libc::SYS_fchown),
    call(libc::SYS_fchownat),
    call(libc::SYS_fchmod),
    call(libc::SYS_utimensat),
    call(libc::SYS_fsetxattr),
    call(FCHMODAT2),
];

const FCHMODAT2: i64 = 452;

/// Tried by the C library and the removal of immutable files; they go on without.
const REFUSED: [i64; 5] =
    [libc::SYS_ioctl, libc::SYS_fcntl, libc::SYS_sched_yield, libc::SYS_gettid, libc::SYS_getpid];

const fn call(number: i64) -> Allowed {
    Allowed { number, without: None }
}

/// Gives up what `role` does not need; `target` is what it works on.
pub(super) fn enter(role: &Role, target: BorrowedFd<'_>) -> Result<()> {
    let confining = || "confine the unpacker".to_owned();
    let decompresses = *role == Role::Decompress;
    let memory = if decompresses { DECOMPRESS_BYTES } else { EXTRACT_BYTES };
    sandbox::hide().act(confining)?;
    sandbox::limit(Resource::Data, memory).act(confining)?;
    sandbox::limit(Resource::Nofile, OPEN_FILES).act(confining)?;
    sandbox::limit(Resource::Nproc, 0).act(confining)?;
    sandbox::limit(Resource::Memlock, 0).act(confining)?;
    sandbox::keep_capabilities(if decompresses { 0 } else { FILE_CAPABILITIES }).act(confining)?;
    // A kernel without Landlock leaves the empty root and the filter; the rest does not depend on
    // it.
    sys::landlock::confine((!decompresses).then_some(target)).act(confining)?;
    let mut allowed = COMMON.to_vec();
    if !decompresses {
        allowed.extend(FILES);
    }
    let filter = sys::seccomp::allow_only(&allowed, &REFUSED).unwrap_or_default();
    sys::seccomp::load(&filter, 0).act(confining)?;
    Ok(())
}
