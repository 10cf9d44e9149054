//! The first instructions of a program: its writable pages are brought in by one call.
//!
//! A static position-independent program puts its own pointers right before anything else, and so
//! writes to nearly every page of its data, one page fault after the other: 180 of them for the
//! command line, which touches 70 more until it ends. Asked for together
//! ([`madvise(2)`](https://man7.org/linux/man-pages/man2/madvise.2.html), `MADV_POPULATE_WRITE`,
//! Linux 5.14) they cost half, 0.15 of the 1.5 ms in which the command line starts and ends. A
//! kernel that does not know the call refuses it, and the pages come as they always did.
//!
//! The C library has not begun here, so there is no Rust either; see [`crate::entry`]. The linker
//! is told to begin here by the build scripts of the programs' crates.
//!
//! Sources: System V ABI, AMD64 supplement, 3.4.1 "Initial Stack and Register State"; elf(5) for
//! the offsets in the headers; `__ehdr_start` as ld(1) and lld define it: where the file's header
//! is in memory.

use core::mem::offset_of;

use libc::{Elf64_Ehdr, Elf64_Phdr};

core::arch::global_asm!(
    ".pushsection .text.estiba_start, \"ax\", @progbits",
    ".globl estiba_start",
    ".type estiba_start, @function",
    "estiba_start:",
    // rdx: what to do at exit; the stack is not touched.
    "mov r15, rdx",
    "lea rbx, [rip + __ehdr_start]",
    "mov r12, [rbx + {e_phoff}]",
    "add r12, rbx",
    "movzx r13d, word ptr [rbx + {e_phnum}]",
    "2: dec r13d",
    "js 4f",
    "cmp dword ptr [r12 + {p_type}], {pt_load}",
    "jne 3f",
    "test byte ptr [r12 + {p_flags}], {pf_w}",
    "jz 3f",
    // madvise(first page, length in whole pages, MADV_POPULATE_WRITE)
    "mov rdi, [r12 + {p_vaddr}]",
    "add rdi, rbx",
    "mov rsi, [r12 + {p_memsz}]",
    "lea rsi, [rsi + rdi + 4095]",
    "and rdi, -4096",
    "and rsi, -4096",
    "sub rsi, rdi",
    "mov edx, {populate_write}",
    "mov eax, {madvise}",
    "syscall",
    "3: add r12, {phdr_size}",
    "jmp 2b",
    "4: mov rdx, r15",
    "jmp _start",
    ".size estiba_start, . - estiba_start",
    ".popsection",
    e_phoff = const offset_of!(Elf64_Ehdr, e_phoff),
    e_phnum = const offset_of!(Elf64_Ehdr, e_phnum),
    p_type = const offset_of!(Elf64_Phdr, p_type),
    p_flags = const offset_of!(Elf64_Phdr, p_flags),
    p_vaddr = const offset_of!(Elf64_Phdr, p_vaddr),
    p_memsz = const offset_of!(Elf64_Phdr, p_memsz),
    phdr_size = const size_of::<Elf64_Phdr>(),
    pt_load = const libc::PT_LOAD,
    pf_w = const libc::PF_W,
    populate_write = const libc::MADV_POPULATE_WRITE,
    madvise = const libc::SYS_madvise,
);
