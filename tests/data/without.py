"""Runs a command on a kernel that has not the system calls named: they answer ENOSYS.
   without.py NAME[,NAME…] COMMAND…"""
import errno, os, sys
import seccomp

answers = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
answers.set_attr(seccomp.Attr.CTL_NNP, False)
for name in sys.argv[1].split(","):
    number = int(name) if name.isdigit() else name
    answers.add_rule(seccomp.ERRNO(errno.ENOSYS), number)
answers.load()
os.execvp(sys.argv[2], sys.argv[2:])
