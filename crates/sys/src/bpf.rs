//! bpf(2), as far as cgroup device programs need it: load, attach, replace, find. Knows the calls
//! and the instruction's layout, not what a program decides.
//!
//! Source: bpf(2), `include/uapi/linux/bpf.h` (`union bpf_attr`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low, source register in the high four bits.
    pub registers: u8,
    /// Jump or memory offset.
    pub offset: i16,
    /// Constant.
    pub immediate: i32,
}

/// The most programs of one type that one cgroup can have (`BPF_CGROUP_MAX_PROGS`).
pub const MAX_PROGRAMS: usize = 64;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`. It calls no helper, so that its licence
/// does not matter to the kernel.
///
/// # Errors
/// The kernel's: EPERM without CAP_BPF (or CAP_SYS_ADMIN) and CAP_NET_ADMIN, EINVAL when the
/// verifier refuses.
pub fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
        prog_ifindex: u32,
        expected_attach_type: u32,
    }
    let count = u32::try_from(program.len())
        .map_err(|_| io::Error::from(io::ErrorKind::ArgumentListTooLong))?;
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: count,
        insns: program.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        prog_name: *b"estiba_devices\0\0",
        expected_attach_type: BPF_CGROUP_DEVICE,
        ..Load::default()
    };
    // SAFETY: `Load` is the layout of `union bpf_attr` for BPF_PROG_LOAD; the pointers in it are to
    // `program` and to a static string, which both outlive the call.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?;
    // SAFETY: BPF_PROG_LOAD answers with a new descriptor (close-on-exec) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The part of `union bpf_attr` for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// Attaches a device program to a cgroup v2 directory, instead of `replaced` when one is given (in
/// one step: there is no moment without a program) and beside others otherwise.
///
/// # Errors
/// The kernel's: EPERM, ENOENT when `replaced` is not attached.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let replace = if replaced.is_some() { BPF_F_REPLACE } else { 0 };
    let mut attr = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | replace,
        replace_bpf_fd: replaced.map_or(0, number),
    };
    // SAFETY: `Attach` is the layout of `union bpf_attr` for BPF_PROG_ATTACH and holds no pointer.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(|_| ())
}

/// Detaches a device program from a cgroup v2 directory.
///
/// # Errors
/// The kernel's: ENOENT when it is not attached.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: `Attach` is the layout of `union bpf_attr` for BPF_PROG_DETACH and holds no pointer.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(|_| ())
}

/// The device programs attached to a cgroup v2 directory itself, oldest first.
///
/// # Errors
/// The kernel's: EPERM, EINVAL when cgroup BPF is not built in.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        padding: u32,
    }
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attr = Query {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().addr() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
        ..Query::default()
    };
    // SAFETY: `Query` is the layout of `union bpf_attr` for BPF_PROG_QUERY; `prog_ids` points to
    // `prog_cnt` writable words that outlive the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(0).min(MAX_PROGRAMS);
    ids[..count].iter().map(|id| program_by_id(*id)).collect()
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct ById {
        prog_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attr = ById { prog_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: `ById` is the layout of `union bpf_attr` for BPF_PROG_GET_FD_BY_ID, without pointers.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: the call answers with a new descriptor (close-on-exec) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Descriptors travel as u32 in `union bpf_attr`; an open one is never negative.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// # Safety
/// `attr` must be laid out as `union bpf_attr` is for `command`, and the pointers in it must be
/// valid for the call as the kernel uses them.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<RawFd> {
    let size = size_of::<T>();
    // SAFETY: `attr` is a live, exclusively borrowed object of `size` bytes; the rest is the
    // caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size) };
    match RawFd::try_from(answer) {
        Ok(fd) if fd >= 0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}
