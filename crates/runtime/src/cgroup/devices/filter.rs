//! The device policy as an eBPF program on a v2 cgroup: one block of comparisons per exception.
//!
//! Source: `include/uapi/linux/bpf.h` (`struct bpf_cgroup_dev_ctx`), `cgroup-v2.rst` ("Device
//! controller").

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sys::bpf::{self, Instruction};

use super::{ALL, Device, Kind, Policy};

/// Loads the program of `policy` and makes it the only device program of the cgroup `dir`; there is
/// no moment at which less is refused than the old or the new program refuses.
pub(super) fn attach(dir: &Path, policy: &Policy) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroup = rustix::fs::open(dir, flags, Mode::empty())?;
    let attached = bpf::device_programs(cgroup.as_fd())?;
    let detach = |old| bpf::detach_device_program(cgroup.as_fd(), old);
    if *policy == Policy::everything() {
        return attached.iter().try_for_each(|old| detach(old.as_fd()));
    }
    let program = bpf::load_device_program(&compile(policy))?;
    // All attached programs must agree to an access: adding one first and removing the others
    // afterwards is as tight as replacing the single one.
    match attached.as_slice() {
        [one] => bpf::attach_device_program(cgroup.as_fd(), program.as_fd(), Some(one.as_fd())),
        others => {
            bpf::attach_device_program(cgroup.as_fd(), program.as_fd(), None)?;
            others.iter().try_for_each(|old| detach(old.as_fd()))
        }
    }
}

const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_EQUAL: u8 = 0x16;
const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`.
const DEV_BLOCK: i32 = 1;
const DEV_CHAR: i32 = 2;

fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | (from << 4), offset, immediate }
}

/// The program: 1 allows, 0 refuses. `access_type` is the access in the upper and the kind of node
/// in the lower half.
pub(super) fn compile(policy: &Policy) -> Vec<Instruction> {
    let mut program = vec![
        op(LOAD_WORD, KIND, CONTEXT, 0, 0),
        op(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        op(AND, KIND, 0, 0, 0xffff),
        op(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        op(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        op(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for (device, access) in &policy.exceptions {
        program.extend(exception(policy.allow_all, device, *access));
    }
    program.extend([op(MOVE, RESULT, 0, 0, i32::from(policy.allow_all)), op(EXIT, 0, 0, 0, 0)]);
    program
}

/// One block. When all is refused, an exception must hold every access that is wanted; when all is
/// allowed, one that holds any of them refuses.
fn exception(allow_all: bool, device: &Device, access: u8) -> Vec<Instruction> {
    let kind = if device.kind == Kind::Block { DEV_BLOCK } else { DEV_CHAR };
    let mut tests = vec![(JUMP_NOT_EQUAL, KIND, kind)];
    let numbers = [(MAJOR, device.major), (MINOR, device.minor)];
    for (register, number) in numbers.into_iter().filter_map(|(r, n)| Some((r, n?))) {
        tests.push((JUMP_NOT_EQUAL, register, number.cast_signed()));
    }
    let mut block: Vec<Instruction> =
        tests.into_iter().map(|(code, register, value)| op(code, register, 0, 0, value)).collect();
    if access != ALL || allow_all {
        // Denied bits among the wanted ones, or wanted bits that are not allowed.
        let (mask, skip) = match allow_all {
            true => (access, JUMP_EQUAL),
            false => (ALL & !access, JUMP_NOT_EQUAL),
        };
        block.push(op(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
        block.push(op(AND, SCRATCH, 0, 0, i32::from(mask)));
        block.push(op(skip, SCRATCH, 0, 0, 0));
    }
    block.push(op(MOVE, RESULT, 0, 0, i32::from(!allow_all)));
    block.push(op(EXIT, 0, 0, 0, 0));
    let length = block.len();
    for (at, instruction) in block.iter_mut().enumerate() {
        if [JUMP_NOT_EQUAL, JUMP_EQUAL].contains(&instruction.code) {
            instruction.offset =
                i16::try_from(length - at - 1).expect("a block has at most eight instructions");
        }
    }
    block
}
