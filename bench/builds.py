#!/usr/bin/env python3
"""Builds against a pipeline that does no more than the work itself, and against a peer, in one run.

    ROUNDS=9 bench/builds.py BIN_DIR IMAGES_DIR [WORK_DIR [PEER]]

The floor of ten cached steps is `tar c . | sha256sum` over their context; of 1,000 files (200 MB) with one changed, a tar that
is hashed and unpacked again; of two independent stages, their two loops at once. PEER is a search path with Docker's engine and
buildx (see bench/docker.py): `docker build` builds the same there, by BuildKit, in turns. Both engines have namespaces, data
roots and control groups of their own; WORK_DIR (a directory on a real disk) is emptied at the end.
"""
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import docker

BIN, IMAGES = (os.path.abspath(p) for p in sys.argv[1:3])
LAB = tempfile.mkdtemp(prefix="estiba-builds-", dir=os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None)
ROUNDS = int(os.environ.get("ROUNDS", "7"))
PEER = sys.argv[4] if len(sys.argv) > 4 else None
LOOP = "i=0; while [ $i -lt 1500000 ]; do i=$((i + 1)); done"
OWN = {"DOCKER_HOST": f"unix://{LAB}/estiba.sock", "HOME": LAB, "PATH": os.environ["PATH"]}
ESTIBA = f"{BIN}/estiba"
times = {}


def sh(command, env=OWN):
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: status {done.returncode}\n{done.stderr}")


def timed(what, who, command, env=OWN):
    start = time.perf_counter()
    sh(command, env)
    times.setdefault(what, {}).setdefault(who, []).append((time.perf_counter() - start) * 1e3)


def contexts():
    steps, big = f"{LAB}/steps", f"{LAB}/big"
    os.makedirs(f"{steps}/src")
    for number in range(50):
        with open(f"{steps}/src/f{number}", "wb") as file:
            file.write(os.urandom(4000))
    runs = "".join(f"RUN echo {number} > /w/s{number}\n" for number in range(5))
    with open(f"{steps}/Dockerfile", "w") as file:
        file.write(f"FROM deb\nENV A=1\nWORKDIR /w\n{runs}COPY src /w/src\nRUN ls /w/src > /w/list\n")
    for number in range(1000):
        os.makedirs(f"{big}/d{number % 40}", exist_ok=True)
        with open(f"{big}/d{number % 40}/f{number}", "wb") as file:
            file.write(os.urandom(200_000))
    with open(f"{big}/Dockerfile", "w") as file:
        file.write("FROM busybox\nCOPY . /data\n")
    stages = f"{LAB}/stages"
    os.makedirs(stages)
    with open(f"{stages}/Dockerfile", "w") as file:
        for name in ("left", "right"):
            file.write(f"FROM busybox AS {name}\nRUN {LOOP}; echo $i > /{name}\n")
        file.write("FROM scratch\nCOPY --from=left /left /\nCOPY --from=right /right /\n")
    return steps, big, stages


def change(path):
    with open(path, "w") as file:
        file.write(str(time.time_ns()))


def measure(builders, steps, big, stages):
    for _, build, env in builders:
        sh(f"{build} -t bench-steps {steps}", env)
        sh(f"{build} -t bench-big {big}", env)
    copied = f"{LAB}/copied"
    for _ in range(ROUNDS):
        for who, build, env in builders:
            timed("ten steps, all cached", who, f"{build} -t bench-steps {steps}", env)
        timed("ten steps, all cached", "floor", f"cd {steps} && tar c . | sha256sum")
        change(f"{steps}/src/f0")
        for who, build, env in builders:
            timed("last COPY changed, one RUN", who, f"{build} -t bench-steps {steps}", env)
    for _ in range(max(2, ROUNDS // 2)):
        change(f"{big}/d0/f0")
        what = "1,000 files, 200 MB, one changed"
        for who, build, env in builders:
            timed(what, who, f"{build} -t bench-big {big}", env)
        pipe = f"tar c -C {big} . | tee >(sha256sum >/dev/null) | tar x -C {copied}"
        timed(what, "floor", f"mkdir {copied}; {pipe}; rm -rf {copied}")
        for who, build, env in builders:
            timed("the same, nothing changed", who, f"{build} -t bench-big {big}", env)
    for _ in range(max(2, ROUNDS // 2)):
        what = "two independent stages"
        for who, build, env in builders:
            timed(what, who, f"{build} --no-cache -t bench-stages {stages}", env)
        timed(what, "floor", f"busybox sh -c '{LOOP}' & busybox sh -c '{LOOP}' & wait")


def images(command, env=OWN):
    for name, archive in (("deb", "debian"), ("busybox", "busybox")):
        sh(f"{command} import {IMAGES}/{archive}.tar {name}", env)


def start():
    arguments = f"--data-root {LAB}/data --exec-root {LAB}/run --pidfile {LAB}/pid --config-file {LAB}/none"
    group = os.path.basename(LAB)
    inside = f"ip link set lo up; exec {ESTIBA} daemon {arguments} -H unix://{LAB}/estiba.sock --cgroup-parent /{group}"
    words = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", inside]
    with open(f"{LAB}/log", "wb") as log:
        daemon = subprocess.Popen(words, env=OWN, stdout=log, stderr=log)
    while not os.path.exists(f"{LAB}/estiba.sock") and daemon.poll() is None:
        time.sleep(0.05)
    return daemon


def report(largest):
    print("| what | estiba | floor | × floor | BuildKit | faster than it |\n|---|---|---|---|---|---|")
    for what, by in times.items():
        median = {who: statistics.median(all) for who, all in by.items()}
        own, floor, peer = median["estiba"], median.get("floor"), median.get("BuildKit")
        cells = [f"{own:.1f} ms", f"{floor:.1f}" if floor else "", f"{own / floor:.2f}" if floor else ""]
        cells += [f"{peer:.1f}" if peer else "", f"{peer / own:.1f} ×" if peer else ""]
        print(f"| {what} | {' | '.join(cells)} |")
    print(f"| the daemon's largest memory | {largest / 1024:.1f} MB |  |  |  | under 64 |")


def main():
    daemon, engine = start(), None
    try:
        images(ESTIBA)
        builders = [("estiba", f"{ESTIBA} build -q", OWN)]
        if PEER:
            engine = docker.Engine(PEER, LAB)
            client = engine.client(f"{LAB}/config")
            images("docker", client)
            builders.append(("BuildKit", "docker build -q", client))
        measure(builders, *contexts())
        with open(f"/proc/{daemon.pid}/status") as status:
            report(int(next(line.split()[1] for line in status if line.startswith("VmHWM"))))
    finally:
        if engine:
            engine.end()
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        docker.remove_group(os.path.basename(LAB))
        shutil.rmtree(LAB, ignore_errors=True)


main()
