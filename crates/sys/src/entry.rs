//! What the runtime's program does before anything else, its C library included: when it is asked
//! to enter a container, it starts over from a view of itself that nobody can write to
//! ([`crate::program`]).
//!
//! A second start costs nearly what the first one does: pointers put right, `cpuid` (which a
//! virtual machine traps), a page fault for each page that is looked at; 0.8 of the 10 ms that a
//! container takes. Here none of that has happened yet. Without a C library there is no Rust
//! either, not even `memcmp`, whose address is not known yet; so this is the kernel's own
//! interface, in sixty instructions. It decides nothing that matters: whoever comes to `main` in
//! another way, because a call failed or the machine has no such entry, is started over there.
//!
//! The linker is told that the program begins here by the build script of the program's crate.
//!
//! Sources: System V ABI, AMD64 supplement, 3.4.1 "Initial Stack and Register State"; open_tree(2),
//! mount_setattr(2), execveat(2); `AT_EXECFN` in getauxval(3).

use crate::program::{OUT_OF_REACH, VIEW};

/// The words that enter a container: `run`, `exec` and `create`, by their first bytes.
const RUN: u32 = u32::from_le_bytes(*b"run\0");
const EXEC: u32 = u32::from_le_bytes(*b"exec");
const CREA: u32 = u32::from_le_bytes(*b"crea");
const TE: u16 = u16::from_le_bytes(*b"te");

/// How the kernel names a program that was executed by its descriptor: by [`crate::clone`], or
/// from here. Such a program is where it is meant to be.
const BY_DESCRIPTOR: u64 = u64::from_le_bytes(*b"/dev/fd/");

/// What the view is made of, proc_pid_exe(5).
static EXE: [u8; 15] = *b"/proc/self/exe\0";

/// A path that says: the descriptor itself.
static EMPTY: [u8; 1] = *b"\0";

/// [`OUT_OF_REACH`] as the kernel takes it.
static FIRST_WORD: [u8; OUT_OF_REACH.len() + 1] = {
    let mut word = [0; OUT_OF_REACH.len() + 1];
    word.split_at_mut(OUT_OF_REACH.len()).0.copy_from_slice(OUT_OF_REACH.as_bytes());
    word
};

core::arch::global_asm!(
    ".pushsection .text.estiba_entry, \"ax\", @progbits",
    ".globl estiba_entry",
    ".type estiba_entry, @function",
    "estiba_entry:",
    // rsp: argc, argv…, 0, environment…, 0, auxiliary vector; rdx: what to do at exit.
    "mov r15, rdx",
    "mov r12, [rsp]",
    "lea r13, [rsp + 8]",
    "lea r14, [r13 + r12 * 8 + 8]",
    // Is one of the words of those? Strings lie below the program's name, so that a few bytes can
    // be read beyond a short one.
    "mov ebx, 1",
    "2: cmp rbx, r12",
    "jae 9f",
    "mov rsi, [r13 + rbx * 8]",
    "inc rbx",
    "mov eax, [rsi]",
    "cmp eax, {run}",
    "je 4f",
    "cmp eax, {exec}",
    "je 3f",
    "cmp eax, {crea}",
    "jne 2b",
    "cmp word ptr [rsi + 4], {te}",
    "jne 2b",
    "cmp byte ptr [rsi + 6], 0",
    "je 4f",
    "jmp 2b",
    "3: cmp byte ptr [rsi + 4], 0",
    "jne 2b",
    // Past the environment; was the program executed by a descriptor?
    "4: mov rdi, r14",
    "5: mov rax, [rdi]",
    "add rdi, 8",
    "test rax, rax",
    "jnz 5b",
    "6: mov rax, [rdi]",
    "test rax, rax",
    "jz 7f",
    "mov rsi, [rdi + 8]",
    "add rdi, 16",
    "cmp rax, {at_execfn}",
    "jne 6b",
    "mov rax, [rsi]",
    "movabs rcx, {by_descriptor}",
    "cmp rax, rcx",
    "je 9f",
    // open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    "7: mov eax, {open_tree}",
    "mov rdi, {at_fdcwd}",
    "lea rsi, [rip + {exe}]",
    "mov edx, {clone}",
    "syscall",
    "test rax, rax",
    "js 9f",
    "mov ebx, eax",
    // mount_setattr(view, "", AT_EMPTY_PATH, VIEW, size)
    "mov eax, {mount_setattr}",
    "mov edi, ebx",
    "lea rsi, [rip + {empty}]",
    "mov edx, {at_empty_path}",
    "lea r10, [rip + {view}]",
    "mov r8d, {view_size}",
    "syscall",
    "test rax, rax",
    "jnz 8f",
    // execveat(view, "", argv, environment, AT_EMPTY_PATH), by the name that says so
    "mov rbp, [r13]",
    "lea rax, [rip + {out_of_reach}]",
    "mov [r13], rax",
    "mov eax, {execveat}",
    "mov edi, ebx",
    "lea rsi, [rip + {empty}]",
    "mov rdx, r13",
    "mov r10, r14",
    "mov r8d, {at_empty_path}",
    "syscall",
    "mov [r13], rbp",
    "8: mov eax, {close}",
    "mov edi, ebx",
    "syscall",
    "9: mov rdx, r15",
    "jmp estiba_start",
    ".size estiba_entry, . - estiba_entry",
    ".popsection",
    run = const RUN,
    exec = const EXEC,
    crea = const CREA,
    te = const TE,
    at_execfn = const libc::AT_EXECFN,
    by_descriptor = const BY_DESCRIPTOR,
    open_tree = const libc::SYS_open_tree,
    mount_setattr = const libc::SYS_mount_setattr,
    execveat = const libc::SYS_execveat,
    close = const libc::SYS_close,
    at_fdcwd = const libc::AT_FDCWD,
    at_empty_path = const libc::AT_EMPTY_PATH,
    clone = const libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC,
    exe = sym EXE,
    empty = sym EMPTY,
    view = sym VIEW,
    view_size = const size_of::<crate::mount::MountAttr>(),
    out_of_reach = sym FIRST_WORD,
);
