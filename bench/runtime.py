#!/usr/bin/env python3
"""OCI runtimes side by side: create, start, wait for the end and delete, the same bundle for all, in rounds that
take turns with the floor. Run through scripts/bench-runtime.sh; only ratios of one run mean anything. The floor makes
the same namespaces, mounts, masks, filter and groups (bench/floor.c) in one program; what the three programs of a
caller cost by themselves, when they do nothing, is measured beside it. bench/oci.c is the caller.

  runtime.py BUSYBOX_TAR RUNTIME...
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

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
    out = run(f"{LAB}/floor", "-r", f"{LAB}/bundle/rootfs", "-w", f"{LAB}/work", "-n", str(COUNT), "-t", "ifncs",
              "-s", f"{LAB}/allow", "-c", GROUP, "/bin/busybox", "true")
    return json.loads(out)


def programs():
    return json.loads(run(f"{LAB}/oci", "-n", str(COUNT), "-e", f"{LAB}/true"))


def caller(runtime, spec, name):
    spec["linux"]["cgroupsPath"] = f"/{GROUP}/{name}"
    json.dump(spec, open(f"{LAB}/bundle/config.json", "w"))
    with open(os.devnull) as nothing:
        return json.loads(run(f"{LAB}/oci", "-n", str(COUNT), os.path.abspath(runtime), f"{LAB}/state-{name}",
                              f"{LAB}/bundle", f"{LAB}/pid", name, stdin=nothing))


def main():
    run("gcc", "-O2", "-w", "-static", "-o", f"{LAB}/floor", f"{HERE}/floor.c", "-lseccomp")
    import re
    names = re.findall(r"#define __NR_(\w+)", open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read())
    open(f"{LAB}/allow", "w").write("\n".join(names[:300]))
    run("gcc", "-O2", "-static", "-o", f"{LAB}/oci", f"{HERE}/oci.c")
    open(f"{LAB}/true.c", "w").write("int main(void) { return 0; }\n")
    run("gcc", "-O2", "-static", "-o", f"{LAB}/true", f"{LAB}/true.c")
    os.makedirs(f"{LAB}/work")
    spec = bundle()
    floors, empties, times = [], [], {runtime: [] for runtime in RUNTIMES}
    for turn in range(ROUNDS):
        floors.append(floor())
        empties.append(programs())
        for place, runtime in enumerate(RUNTIMES):
            times[runtime].append(caller(runtime, spec, f"c{turn}-{place}"))

    def median(rows, what):
        return statistics.median(row[what] for row in rows)

    def ratio(rows, what, beside=None):
        below = [f[what] + (b[what] if beside else 0) for f, b in zip(floors, beside or floors)]
        return statistics.median(row[what] / b for row, b in zip(rows, below))
    print(f"floor: {median(floors, 'median_ms'):.2f} ms, processors {median(floors, 'cpu_ms'):.2f} ms")
    print(f"three programs that do nothing: {median(empties, 'median_ms'):.2f} ms")
    for runtime, rows in times.items():
        parts = ", ".join(f"{part} {median(rows, part + '_ms'):.2f}" for part in ("create", "start", "wait", "delete"))
        print(f"{runtime}: {median(rows, 'median_ms'):.2f} ms ({parts}), {ratio(rows, 'median_ms'):.2f} x the floor, "
              f"{ratio(rows, 'median_ms', empties):.2f} x floor and programs; "
              f"processors {median(rows, 'cpu_ms'):.2f} ms, {ratio(rows, 'cpu_ms'):.2f} x")


try:
    main()
finally:
    for tree in os.listdir("/sys/fs/cgroup"):
        subprocess.call(["find", f"/sys/fs/cgroup/{tree}/{GROUP}", "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
                        stderr=subprocess.DEVNULL)
    shutil.rmtree(LAB, ignore_errors=True)
