//! Loading a compiled system call filter, seccomp(2). How it is compiled is not known here.

use crate::error::check;
use rustix::fd::{FromRawFd, OwnedFd};

/// One instruction of classic BPF: `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Jump distance when true.
    pub jt: u8,
    /// Jump distance when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Longest program the kernel takes, `BPF_MAXINSNS`.
pub const MAX_INSNS: usize = 4096;

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub const NEW_LISTENER: u32 = 1 << 3;

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Insn,
}

/// Reads a program from its bytes, in the host's byte order; nothing if the length is no
/// multiple of an instruction's, zero, or more than [`MAX_INSNS`].
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Insn>> {
    let (insns, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || insns.is_empty() || insns.len() > MAX_INSNS {
        return None;
    }
    let insn = |b: &[u8; 8]| Insn {
        code: u16::from_ne_bytes([b[0], b[1]]),
        jt: b[2],
        jf: b[3],
        k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
    };
    Some(insns.iter().map(insn).collect())
}

/// Installs the filter for the calling thread. Needs no_new_privs or `CAP_SYS_ADMIN` in the user
/// namespace. With [`NEW_LISTENER`] among the flags the listener is returned. Does not allocate.
///
/// # Errors
/// As seccomp(2); `EINVAL` also for a program that is too long.
pub fn load(program: &[Insn], flags: u32) -> rustix::io::Result<Option<OwnedFd>> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    if program.len() > MAX_INSNS {
        return Err(rustix::io::Errno::INVAL);
    }
    let len = u16::try_from(program.len()).map_err(|_| rustix::io::Errno::INVAL)?;
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: the program structure and the instructions that it points to outlive the call; the
    // kernel copies and verifies them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
    };
    let result = check(result)?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    let fd = i32::try_from(result).map_err(|_| rustix::io::Errno::BADF)?;
    // SAFETY: with this flag the kernel returns a new descriptor that only we know.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}
