#!/usr/bin/env python3
"""What the filters of a running process let through, read back from the kernel: ptrace(2),
PTRACE_SECCOMP_GET_FILTER, and every number of a call tried in an interpreter of classic BPF.

    posture.py PID        wants root; the process is stopped for a moment

Prints one line: how many calls of x86-64, of i386 and of x32 are let through, with arguments that are
all zero, and the families of socket(2)."""
import ctypes
import os
import struct
import sys

SEIZE, INTERRUPT, DETACH, GET_FILTER = 0x4206, 0x4207, 17, 0x420C
X86_64, I386, X32 = 0xC000003E, 0x40000003, 0x40000000
ALLOW, LOG = 0x7FFF0000, 0x7FFC0000
LAST_CALL, LAST_FAMILY, SOCKET = 600, 63, 41

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def filters(pid):
    """The programs of a process, the last loaded first."""
    if libc.ptrace(SEIZE, pid, None, None) < 0:
        raise OSError(ctypes.get_errno(), f"seize {pid}")
    libc.ptrace(INTERRUPT, pid, None, None)
    os.waitpid(pid, 0x40000000)
    found = []
    try:
        while (length := libc.ptrace(GET_FILTER, pid, ctypes.c_void_p(len(found)), None)) > 0:
            raw = ctypes.create_string_buffer(8 * length)
            libc.ptrace(GET_FILTER, pid, ctypes.c_void_p(len(found)), ctypes.addressof(raw))
            found.append([struct.unpack_from("<HBBI", raw.raw, 8 * i) for i in range(length)])
    finally:
        libc.ptrace(DETACH, pid, None, None)
    return found


def run(program, data):
    """The value that a program returns; it has no loops."""
    a, x, memory, at = 0, 0, [0] * 16, 0
    while True:
        code, yes, no, k = program[at]
        at += 1
        kind, operand = code & 7, x if code & 8 else k
        if kind == 0:
            mode = code & 0xE0
            a = struct.unpack_from("<I", data, k)[0] if mode == 0x20 else memory[k] if mode == 0x60 else k
        elif kind == 1:
            x = memory[k] if code & 0xE0 == 0x60 else k
        elif kind == 2:
            memory[k] = a
        elif kind == 3:
            memory[k] = x
        elif kind == 4:
            op = code & 0xF0
            a = {0x40: a | operand, 0x50: a & operand, 0xA0: a ^ operand, 0x00: a + operand,
                 0x10: a - operand, 0x60: a << (operand & 31), 0x70: a >> (operand & 31)}[op] & 0xFFFFFFFF
        elif kind == 5:
            op = code & 0xF0
            if op == 0:
                at += k
            else:
                true = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: bool(a & operand)}[op]
                at += yes if true else no
        elif kind == 6:
            return a if code & 0x18 == 0x10 else k
        elif code & 0xF8:
            a = x
        else:
            x = a


def action(programs, number, arch, arguments=(0,) * 6):
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments)
    # The most restrictive answer counts; actions are compared as signed numbers, seccomp(2).
    return min((ctypes.c_int32(run(p, data) & 0xFFFF0000).value for p in programs), default=ALLOW)


def lets(programs, number, arch, arguments=(0,) * 6):
    return action(programs, number, arch, arguments) in (ALLOW, LOG)


programs = filters(int(sys.argv[1]))
count = lambda arch, base: sum(lets(programs, base + n, arch) for n in range(LAST_CALL))
families = [f for f in range(LAST_FAMILY) if lets(programs, SOCKET, X86_64, (f, 1, 0, 0, 0, 0))]
print(f"filters={len(programs)} x86_64={count(X86_64, 0)} i386={count(I386, 0)} "
      f"x32={count(X86_64, X32)} families={','.join(map(str, families))}")
