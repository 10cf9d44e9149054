//! A compiled filter: made from a profile, kept as bytes, told apart by its hash. Knows no
//! profile by name and loads nothing.

use sys::seccomp::{Insn, MAX_INSNS};
use wire::oci::runtime::Seccomp;

use super::assemble::{RETURN, assemble};
use super::policy::{self, NOTIFY, SeccompError};

/// The machine that a filter is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86, which may also run i386 and x32 programs.
    X86_64,
    /// 64-bit Arm. Its 32-bit mode is not supported: such programs are killed.
    Aarch64,
}

impl Arch {
    /// The machine that this code was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Arch = Arch::X86_64;
    /// The machine that this code was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Arch = Arch::Aarch64;
}

/// A classic BPF program for seccomp(2), never empty and never too long for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Insn>,
}

/// Compiles a profile for a machine; takes tens of microseconds.
///
/// # Errors
/// [`SeccompError`], naming the word that is not understood or the bound that is exceeded.
pub fn compile(profile: &Seccomp, arch: Arch) -> Result<Program, SeccompError> {
    let sections = policy::decide(profile, arch)?;
    let instructions = assemble(&sections, policy::FOREIGN);
    match instructions.len() {
        count @ 0..=MAX_INSNS => {
            debug_assert!(count > 0, "a program has at least its default");
            Ok(Program { instructions })
        }
        count => Err(SeccompError::TooMany { what: "instructions", count, limit: MAX_INSNS }),
    }
}

impl Program {
    /// The instructions, in the kernel's layout.
    pub fn instructions(&self) -> &[Insn] {
        &self.instructions
    }

    /// Whether calls may be handed to a listener, so that loading must make one.
    pub fn notifies(&self) -> bool {
        notifies(&self.instructions)
    }

    /// The program as `struct sock_filter[]` in this machine's byte order: 8 bytes an instruction.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.instructions.len() * size_of::<Insn>());
        for it in &self.instructions {
            bytes.extend_from_slice(&it.code.to_ne_bytes());
            bytes.extend_from_slice(&[it.jt, it.jf]);
            bytes.extend_from_slice(&it.k.to_ne_bytes());
        }
        bytes
    }

    /// Reads back [`Program::to_bytes`]. What the instructions do is the kernel's to check.
    ///
    /// # Errors
    /// [`ProgramError`] when the length is not that of a program.
    pub fn from_bytes(bytes: &[u8]) -> Result<Program, ProgramError> {
        match sys::seccomp::from_bytes(bytes) {
            Some(instructions) => Ok(Program { instructions }),
            None => Err(ProgramError { bytes: bytes.len() }),
        }
    }

    /// A 64-bit FNV-1a hash of [`Program::to_bytes`], to tell programs apart; not for trust.
    pub fn hash(&self) -> u64 {
        self.to_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// Whether a program may hand calls to a listener.
pub fn notifies(program: &[Insn]) -> bool {
    program.iter().any(|it| it.code == RETURN && it.k == NOTIFY)
}

/// Bytes that are no program.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{bytes} bytes are no seccomp program")]
pub struct ProgramError {
    /// How many bytes were given.
    pub bytes: usize,
}
