//! Loading a compiled system call filter, seccomp(2). How a container's is compiled is not
//! known here.

use crate::error::check;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

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

/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`; only with [`NEW_LISTENER`].
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// `SECCOMP_FILTER_FLAG_TSYNC`.
const TSYNC: u32 = 1;

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

/// A system call that [`allow_only`] lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Its number, `SYS_…`.
    pub number: libc::c_long,
    /// An argument (from 0) and bits that must not be set in its lower half.
    pub without: Option<(u8, u32)>,
}

/// A filter that lets these calls of the native architecture through and kills the process for
/// any other. `EPERM` answers those of `refused`, which a harmless program may try. Nothing for
/// more than the kernel takes.
#[must_use]
pub fn allow_only(allowed: &[Allowed], refused: &[libc::c_long]) -> Option<Vec<Insn>> {
    const LOAD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = 0x8000_0000;
    const EPERM: u32 = 0x0005_0001;
    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xc000_00b7;
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    let end = |k| insn(RETURN, 0, 0, k);
    // `struct seccomp_data`: number, architecture, instruction pointer, six arguments of 64 bits.
    let mut program = vec![insn(LOAD, 0, 0, 4), insn(JUMP_EQUAL, 1, 0, ARCHITECTURE), end(KILL)];
    program.push(insn(LOAD, 0, 0, 0));
    for call in allowed {
        let number = u32::try_from(call.number).ok()?;
        match call.without {
            None => program.extend([insn(JUMP_EQUAL, 0, 1, number), end(ALLOW)]),
            Some((argument, bits)) => program.extend([
                insn(JUMP_EQUAL, 0, 4, number),
                insn(LOAD, 0, 0, 16 + 8 * u32::from(argument)),
                insn(JUMP_SET, 0, 1, bits),
                end(KILL),
                end(ALLOW),
            ]),
        }
    }
    for number in refused {
        let number = u32::try_from(*number).ok()?;
        program.extend([insn(JUMP_EQUAL, 0, 1, number), end(EPERM)]);
    }
    program.push(end(KILL));
    (program.len() <= MAX_INSNS).then_some(program)
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

/// Stack of the thread that hands a listener over, bytes.
const HELPER_STACK: usize = 64 * 1024;

/// The descriptor is not there yet.
const PENDING: i32 = -1;
/// The filter was refused.
const REFUSED: i32 = -2;

/// What the loading thread and its helper tell each other.
struct Handover<'a> {
    listener: AtomicI32,
    deliver: *mut (dyn FnMut(OwnedFd) -> bool + 'a),
}

#[repr(align(16))]
struct HelperStack([std::mem::MaybeUninit<u8>; HELPER_STACK]);

/// As [`load`] with [`NEW_LISTENER`] for a process with one thread that executes a program next.
/// From the moment that the filter holds any call of this thread may wait for whoever listens,
/// so the listener is given to `deliver` by a second thread, which the filter does not bind, and
/// this one goes on, without a single system call, when `deliver` is done. If it returns false
/// the process ends with status 1. Does not allocate; `deliver` must not either.
///
/// # Errors
/// As [`load`], and as clone(2).
pub fn load_listening(
    program: &[Insn],
    flags: u32,
    deliver: &mut dyn FnMut(OwnedFd) -> bool,
) -> rustix::io::Result<()> {
    const FLAGS: libc::c_int = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_CHILD_CLEARTID;
    let mut stack = HelperStack([const { std::mem::MaybeUninit::uninit() }; HELPER_STACK]);
    let handover = Handover { listener: AtomicI32::new(PENDING), deliver };
    let alive = AtomicI32::new(1);
    // SAFETY: the helper runs on `stack` and uses `handover`; both outlive it, because this
    // function only returns when the kernel has cleared `alive` at the helper's end
    // (CLONE_CHILD_CLEARTID). It shares this thread's thread-local storage and touches none of
    // it: it makes raw system calls only.
    let made = unsafe {
        libc::clone(
            hand_over,
            stack.0.as_mut_ptr().add(HELPER_STACK).cast(),
            FLAGS,
            (&raw const handover).cast_mut().cast(),
            std::ptr::null_mut::<libc::pid_t>(),
            std::ptr::null_mut::<libc::c_void>(),
            alive.as_ptr(),
        )
    };
    check(made.into())?;
    // Bound to this thread alone: after the next exec there is no other.
    let alone = flags & !TSYNC | NEW_LISTENER;
    let loaded = load(program, alone);
    let listener = loaded.as_ref().ok().and_then(Option::as_ref).map(AsRawFd::as_raw_fd);
    handover.listener.store(listener.unwrap_or(REFUSED), Ordering::Release);
    while alive.load(Ordering::Acquire) != 0 {
        std::hint::spin_loop();
    }
    // The helper has taken the descriptor and closed it; closing it is a call, too.
    loaded.map(std::mem::forget)
}

extern "C" fn hand_over(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `load_listening` passes its own `Handover`, which lives until this thread is gone.
    let handover = unsafe { &*argument.cast::<Handover<'_>>() };
    let listener = loop {
        match handover.listener.load(Ordering::Acquire) {
            PENDING => rustix::thread::sched_yield(),
            listener => break listener,
        }
    };
    if listener == REFUSED {
        return 0;
    }
    // SAFETY: the loading thread has just been given this descriptor and forgets it.
    let listener = unsafe { OwnedFd::from_raw_fd(listener) };
    // SAFETY: the loading thread lent it for as long as this thread lives, and does not use it.
    let deliver = unsafe { &mut *handover.deliver };
    if !deliver(listener) {
        crate::clone::exit_now(1);
    }
    0
}
