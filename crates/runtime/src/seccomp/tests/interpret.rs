//! A classic BPF interpreter for tests: says what a program answers to a call, independently of
//! how it was laid out. Checks what the kernel would check on the way.

use sys::seccomp::Insn;

use crate::seccomp::assemble::{AND, JEQ, JGE, JGT, JUMP, LOAD, RETURN};

/// A call as the kernel shows it to a filter.
#[derive(Clone, Copy, Default)]
pub(super) struct Call {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let half = |value: u64, high: bool| {
            u32::try_from(if high { value >> 32 } else { value & 0xffff_ffff }).unwrap()
        };
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let at = usize::try_from((offset - 16) / 8).unwrap();
                half(self.args[at], offset % 8 == 4)
            }
            _ => panic!("load from offset {offset}"),
        }
    }
}

/// The answer, and the number of instructions that it took.
pub(super) fn run(program: &[Insn], call: &Call) -> (u32, usize) {
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1.. {
        let it = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { it.jt } else { it.jf });
        match it.code {
            LOAD => accumulator = call.word(it.k),
            AND => accumulator &= it.k,
            JUMP => at += usize::try_from(it.k).unwrap(),
            JEQ => at += jump(accumulator == it.k),
            JGT => at += jump(accumulator > it.k),
            JGE => at += jump(accumulator >= it.k),
            RETURN => return (it.k, steps),
            code => panic!("unknown instruction {code:#x}"),
        }
    }
    unreachable!("jumps lead forward only")
}
