#!/usr/bin/env python3
"""OCI runtimes side by side: create, start, wait for the end and delete, the same bundle for all, in rounds that
take turns with the floor. Run through scripts/bench-runtime.sh; only ratios of one run mean anything.

  runtime.py BUSYBOX_TAR RUNTIME...
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TAR, RUNTIMES = os.path.abspath(sys.argv[1]), sys.argv[2:]
ROUNDS, COUNT = int(os.environ.get("ROUNDS", "5")), int(os.environ.get("COUNT", "20"))
LAB = tempfile.mkdtemp(prefix="estiba-bench-")
GROUP = os.path.basename(LAB)


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")
    return done.stdout


def bundle():
    root = f"{LAB}/bundle/rootfs"
    os.makedirs(root)
    run("tar", "-C", root, "-xf", TAR)
    for name in ("proc", "sys", "dev/pts", "dev/shm", "dev/mqueue"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    run("runc", "spec", cwd=f"{LAB}/bundle")
    spec = json.load(open(f"{LAB}/bundle/config.json"))
    spec["process"].update(terminal=False, args=["/bin/busybox", "true"], rlimits=[])
    calls = open(f"{LAB}/allow").read().split()
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
                                "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}]}
    spec["linux"]["resources"]["pids"] = {"limit": 100}
    json.dump(spec, open(f"{LAB}/spec.json", "w"))
    return spec


def floor():
    out = run(f"{LAB}/floor", "-r", f"{LAB}/bundle/rootfs", "-w", f"{LAB}/work", "-n", str(COUNT), "-t", "incs",
              "-s", f"{LAB}/allow", "-c", GROUP, "/bin/busybox", "true")
    return json.loads(out)["median_ms"]


def once(runtime, spec, name):
    """create + start + wait + delete; the wait is on the first process itself."""
    spec["linux"]["cgroupsPath"] = f"/{GROUP}/{name}"
    json.dump(spec, open(f"{LAB}/bundle/config.json", "w"))
    words = [runtime, "--root", f"{LAB}/state-{os.path.basename(runtime)}"]
    start = time.perf_counter()
    subprocess.check_call([*words, "create", "-b", f"{LAB}/bundle", "--pid-file", f"{LAB}/pid", name],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    process = os.pidfd_open(int(open(f"{LAB}/pid").read()))
    subprocess.check_call([*words, "start", name])
    import select
    select.select([process], [], [])
    os.close(process)
    subprocess.check_call([*words, "delete", name])
    return (time.perf_counter() - start) * 1e3


def main():
    run("gcc", "-O2", "-w", "-static", "-o", f"{LAB}/floor", f"{HERE}/floor.c", "-lseccomp")
    import re
    names = re.findall(r"#define __NR_(\w+)", open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read())
    open(f"{LAB}/allow", "w").write("\n".join(names[:300]))
    os.makedirs(f"{LAB}/work")
    spec = bundle()
    floors, times = [], {runtime: [] for runtime in RUNTIMES}
    for turn in range(ROUNDS):
        floors.append(floor())
        for runtime in RUNTIMES:
            mine = [once(runtime, spec, f"c{turn}-{n}") for n in range(COUNT)]
            times[runtime].append(statistics.median(mine))
    base = statistics.median(floors)
    print(f"floor {base:.2f} ms (rounds {' '.join(f'{f:.2f}' for f in floors)})")
    for runtime, rounds in times.items():
        ratio = statistics.median(a / b for a, b in zip(rounds, floors))
        print(f"{runtime}: {statistics.median(rounds):.2f} ms, {ratio:.2f} x the floor")


try:
    main()
finally:
    for tree in os.listdir("/sys/fs/cgroup"):
        subprocess.call(["find", f"/sys/fs/cgroup/{tree}/{GROUP}", "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
                        stderr=subprocess.DEVNULL)
    shutil.rmtree(LAB, ignore_errors=True)
