#!/usr/bin/env python3
"""Ratios against the kernel's floor, in one run. Run through scripts/bench.sh (`make bench`).

The floor is floor.c: what the kernel alone charges for the same isolation, with no program around it. Floor and
product are measured in interleaved rounds; only their ratio means anything, the milliseconds are this machine's.
Everything runs in network and mount namespaces of its own, with a data root and control groups of its own.
"""
import concurrent.futures
import glob
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BIN, IMAGES = (os.path.abspath(p) for p in sys.argv[1:3])
ROUNDS = int(os.environ.get("ROUNDS", "5"))
COUNT = int(os.environ.get("COUNT", "20"))
# Not part of the usual minute: seconds over which 100 containers with a health check each second are watched.
HEALTH = int(os.environ.get("HEALTH", "0"))
# Nor this: how long others wait beside what hangs.
HUNG = int(os.environ.get("HUNG", "0"))
MANY = 1000
LAB = tempfile.mkdtemp(prefix="estiba-bench-")
GROUP = os.path.basename(LAB)
ESTIBA = f"{BIN}/estiba"
ENV = {"PATH": os.environ["PATH"], "HOME": LAB, "DOCKER_HOST": f"unix://{LAB}/estiba.sock"}
rows = []


def sh(*words, check=True, **more):
    done = subprocess.run(words, env=ENV, capture_output=True, text=True, **more)
    if check and done.returncode:
        sys.exit(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")
    return done.stdout.strip()


def timed(words, count):
    """Wall times of whole processes, in ms."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        status = subprocess.call(words, env=ENV, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - start) * 1e3)
        if status:
            sys.exit(f"{' '.join(words)}: status {status}")
    return times


def cpu_ms(daemon):
    """Processor time so far, in ms: of every command run from here, and of the daemon with the monitors and
    containers that it has outlived. Unlike wall times it does not grow with what else the machine does."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = open(f"/proc/{daemon.pid}/stat").read().rpartition(")")[2].split()[11:15]
    return (own.ru_utime + own.ru_stime + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")) * 1e3


def pss_mb(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def row(what, value, unit, floor=None, goal=""):
    ratio = f"{value / floor:.2f} ×" if floor else ""
    base = f"{floor:.2f}" if floor else ""
    rows.append(f"| {what} | {value:.2f} {unit} | {base} | {ratio} | {goal} |")
    print(rows[-1], flush=True)


def build_floor():
    sh("gcc", "-O2", "-w", "-static", "-o", f"{LAB}/floor", f"{HERE}/floor.c", "-lseccomp")
    names = re.findall(r"#define __NR_(\w+)", open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read())
    open(f"{LAB}/allow", "w").write("\n".join(names[:300]))
    os.makedirs(f"{LAB}/floor-work")
    root = f"{LAB}/root"
    os.makedirs(root)
    sh("tar", "-C", root, "-xf", f"{IMAGES}/busybox.tar")
    for name in ("proc", "sys", "dev/pts", "dev/shm", "dev/mqueue"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    sh("ip", "link", "add", "floorbr", "type", "bridge")
    sh("ip", "addr", "add", "10.200.0.1/16", "dev", "floorbr")
    sh("ip", "link", "set", "floorbr", "up")


def floor_ms(mode, count, parallel=1):
    out = sh(f"{LAB}/floor", "-r", f"{LAB}/root", "-w", f"{LAB}/floor-work", "-n", str(count), "-P", str(parallel),
             "-t", mode, "-s", f"{LAB}/allow", "-c", GROUP + "-floor", "/bin/busybox", "true")
    return json.loads(out)


def start_daemon():
    # What lasts as long as the machine is up lies in memory, as /run does.
    if not os.path.ismount(f"{LAB}/run"):
        os.makedirs(f"{LAB}/run", mode=0o700)
        sh("mount", "-t", "tmpfs", "-o", "mode=700", "run", f"{LAB}/run")
    log = open(f"{LAB}/daemon.log", "a")
    daemon = subprocess.Popen(
        [ESTIBA, "daemon", "--data-root", f"{LAB}/data", "--exec-root", f"{LAB}/run", "--pidfile", f"{LAB}/pid",
         "--config-file", f"{LAB}/daemon.json", "-H", f"unix://{LAB}/estiba.sock", "--cgroup-parent", f"/{GROUP}"],
        env=ENV, stdout=log, stderr=log)
    for _ in range(200):
        if daemon.poll() is not None:
            sys.exit(open(f"{LAB}/daemon.log").read())
        if subprocess.call([ESTIBA, "version"], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return daemon
        time.sleep(0.05)
    sys.exit("the daemon does not answer")


def measure(daemon):
    median = statistics.median
    run = {"bridge": [], "none": []}
    floor = {"bridge": [], "none": []}
    cpu = {"bridge": 0.0, "none": 0.0}
    floor_cpu = {"bridge": [], "none": []}
    execs, enters, starts, plain = [], [], [], []
    sh(ESTIBA, "run", "-d", "--name", "idle", "busybox", "sleep", "100000")
    pid = sh(ESTIBA, "inspect", "-f", "{{.State.Pid}}", "idle")
    timed([ESTIBA, "run", "--rm", "busybox", "true"], 3)
    for _ in range(ROUNDS):
        for net, mode in (("bridge", "ifoscnv"), ("none", "ifoscn")):
            alone = floor_ms(mode, COUNT)
            floor[net].append(alone["median_ms"])
            floor_cpu[net].append(alone["cpu_ms"])
            before = cpu_ms(daemon)
            run[net] += timed([ESTIBA, "run", "--rm", "--network", net, "busybox", "true"], COUNT)
            time.sleep(0.3)
            cpu[net] += cpu_ms(daemon) - before
        enters += timed(["nsenter", "-t", pid, "-m", "-n", "-p", "-i", "-u", "/bin/busybox", "true"], COUNT)
        execs += timed([ESTIBA, "exec", "idle", "true"], COUNT)
        plain += timed(["/bin/true"], COUNT)
        starts += timed([ESTIBA, "--version"], COUNT)
    for net in run:
        goal = "3 now, 1.5 the goal; Docker 48"
        row(f"`run --rm busybox true`, {net}", median(run[net]), "ms", median(floor[net]), goal)
        row(f"the same, processor time", cpu[net] / len(run[net]), "ms", median(floor_cpu[net]))
    row("`exec true` (floor: nsenter)", median(execs), "ms", median(enters), "3 now, 2 the goal; Docker 36")
    row("command line start (floor: /bin/true)", median(starts), "ms", median(plain), "under 5 ms")
    many = f"for i in $(seq {COUNT}); do {ESTIBA} run --rm busybox true & [ $((i % 16)) != 0 ] || wait; done; wait"
    start = time.perf_counter()
    sh("bash", "-c", many)
    rate = COUNT / (time.perf_counter() - start)
    row("16 at once, containers per second", rate, "/s", floor_ms("ifoscnv", 160, 16)["per_s"], "floor is higher")
    sh(ESTIBA, "rm", "-f", "idle")
    memory(daemon)


def memory(daemon):
    # The daemon gives memory back after a few seconds without work, a monitor sooner.
    time.sleep(6)
    row("idle daemon, PSS", pss_mb(daemon.pid), "MB", goal="under 15 (Docker 91)")
    for number in range(20):
        sh(ESTIBA, "run", "-d", "--name", f"m{number}", "busybox", "sleep", "100000")
    time.sleep(6)
    monitors = [p for p in glob.glob("/proc/[0-9]*") if is_monitor(p)]
    total = sum(pss_mb(os.path.basename(p)) for p in monitors)
    row("per running container, PSS", total / 20, "MB", goal="under 0.5 (Docker 2.8)")
    row("daemon with 20 containers, PSS", pss_mb(daemon.pid), "MB")
    for number in range(80):
        sh(ESTIBA, "create", "--name", f"n{number}", "busybox", "true")
    row("`ps -a`, 100 containers", statistics.median(timed([ESTIBA, "ps", "-a"], COUNT)), "ms",
        goal="5 the goal; Docker 33")
    names = [f"m{n}" for n in range(20)] + [f"n{n}" for n in range(80)]
    start = time.perf_counter()
    sh(ESTIBA, "rm", "-f", *names)
    row("`rm -f` of 100, 20 running", (time.perf_counter() - start) * 1e3, "ms", goal="Docker 4300 (50 running)")


class Api(http.client.HTTPConnection):
    """The engine's API on its socket."""

    def __init__(self):
        super().__init__("estiba")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(f"{LAB}/estiba.sock")

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body else {}
        self.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {text}")
        return text


def many():
    """What the list of very many containers costs."""
    def create(number):
        Api().ask("POST", f"/containers/create?name=k{number}", {"Image": "busybox", "Cmd": ["true"]})

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(create, range(MANY)))
    api, times = Api(), []
    for _ in range(COUNT):
        start = time.perf_counter()
        text = api.ask("GET", "/containers/json?all=1")
        times.append((time.perf_counter() - start) * 1e3)
    if len(json.loads(text)) != MANY:
        sys.exit(f"{len(json.loads(text))} containers are listed")
    row(f"list of {MANY} containers, API", statistics.median(times), "ms", goal="20 the goal")
    start = time.perf_counter()
    sh(ESTIBA, "rm", *(f"k{number}" for number in range(MANY)))
    row(f"`rm` of {MANY}", (time.perf_counter() - start) * 1e3, "ms")


def health(daemon):
    """Processor time of 100 health checks a second: the daemon's, and that of monitors and checks."""
    for number in range(100):
        sh(ESTIBA, "run", "-d", "--name", f"h{number}", "--health-cmd", "true", "--health-interval", "1s", "busybox",
           "sleep", "100000")

    def spent(pid):
        ticks = list(map(int, open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[11:15]))
        return ticks[0] + ticks[1], ticks[2] + ticks[3]

    monitors = [os.path.basename(p) for p in glob.glob("/proc/[0-9]*") if is_monitor(p)]
    time.sleep(3)
    before = spent(daemon.pid)[0], [spent(pid) for pid in monitors]
    time.sleep(HEALTH)
    after = spent(daemon.pid)[0], [spent(pid) for pid in monitors]
    percent = 100 / os.sysconf("SC_CLK_TCK") / HEALTH
    own = sum(b[0] - a[0] for a, b in zip(before[1], after[1])) * percent
    checks = sum(b[1] - a[1] for a, b in zip(before[1], after[1])) * percent
    row("100 health checks a second: daemon", (after[0] - before[0]) * percent, "% of a core", goal="10 the goal")
    row("the same: monitors", own, "% of a core")
    row("the same: the checks themselves", checks, "% of a core")
    sh(ESTIBA, "rm", "-f", *(f"h{number}" for number in range(100)))


def hung():
    """The slowest answers beside a stopped monitor, a frozen container, a file system whose server is gone and a
    receiver of logs that does not read."""
    sleep = ["busybox", "sleep", "100000"]
    for name in ("fine", "stuck", "frozen"):
        sh(ESTIBA, "run", "-d", "--name", name, *sleep)
    pid = sh(ESTIBA, "inspect", "-f", "{{.State.Pid}}", "stuck")
    monitor = int(re.search(r"PPid:\t(\d+)", open(f"/proc/{pid}/status").read()).group(1))
    sh(ESTIBA, "pause", "frozen")
    os.makedirs(f"{LAB}/far")
    far = subprocess.Popen([sys.executable, f"{HERE}/../tests/data/far.py", f"{LAB}/far"])
    while f"{LAB}/far" not in open("/proc/self/mounts").read():
        time.sleep(0.05)
    receiver = socket.socket(socket.AF_UNIX)
    receiver.bind(f"{LAB}/receiver")
    receiver.listen()
    sh(ESTIBA, "run", "-d", "--name", "wordy", "--log-driver", "fluentd", "--log-opt",
       f"fluentd-address=unix://{LAB}/receiver", "busybox", "sh", "-c", "while :; do echo words; done")
    os.kill(monitor, signal.SIGSTOP)
    waiting = [subprocess.Popen([ESTIBA, *words], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for words in (["exec", "stuck", "true"], ["exec", "frozen", "true"], ["attach", "--no-stdin", "stuck"],
                             ["run", "--rm", "-v", f"{LAB}/far:/far", "busybox", "true"])]
    time.sleep(1)
    api = Api()
    for path in ("/containers/json?all=1", "/info", "/containers/stuck/json", "/containers/fine/json",
                 "/containers/fine/top"):
        times = []
        for _ in range(HUNG):
            start = time.perf_counter()
            api.ask("GET", path)
            times.append((time.perf_counter() - start) * 1e3)
        row(f"beside what hangs, slowest of {HUNG}: `{path}`", max(times), "ms", goal="50 the goal")
    row(f"the same: `exec fine true`, command line and all", max(timed([ESTIBA, "exec", "fine", "true"], HUNG)), "ms",
        goal="50 the goal")
    os.kill(monitor, signal.SIGCONT)
    far.kill()
    far.wait()
    sh("umount", "-l", f"{LAB}/far")
    sh(ESTIBA, "rm", "-f", "fine", "stuck", "frozen", "wordy")
    for one in waiting:
        one.wait()


def is_monitor(path):
    """A monitor of this run's daemon (other daemons may run on the machine)."""
    try:
        words = open(f"{path}/cmdline").read().split("\0")
        return "monitor" in words and os.readlink(f"{path}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def logs():
    size = 200
    line = "x" * 99
    script = f"yes {line} | head -n {size * 10000}"
    plain = []
    for _ in range(3):
        start = time.perf_counter()
        sh("bash", "-c", f"chroot {LAB}/root /bin/sh -c '{script}' | cat > {LAB}/plain")
        plain.append((time.perf_counter() - start) * 1e3)
    os.unlink(f"{LAB}/plain")
    start = time.perf_counter()
    sh(ESTIBA, "run", "--name", "talk", "-d", "--log-opt", "max-size=1g", "busybox", "sh", "-c", script)
    sh(ESTIBA, "wait", "talk")
    wrote = (time.perf_counter() - start) * 1e3
    start = time.perf_counter()
    subprocess.run([ESTIBA, "logs", "talk"], env=ENV, stdout=open(os.devnull, "w"), check=True)
    read = (time.perf_counter() - start) * 1e3
    sh(ESTIBA, "rm", "talk")
    row(f"write {size} MB of log lines", wrote, "ms", statistics.median(plain), "Docker 37")
    row(f"read them with `logs`", read, "ms", statistics.median(plain), "Docker 39")


def main():
    daemon = None
    try:
        build_floor()
        daemon = start_daemon()
        sh(ESTIBA, "import", f"{IMAGES}/busybox.tar", "busybox:latest")
        print("| what | estiba | floor | ratio | for comparison |\n|---|---|---|---|---|", flush=True)
        measure(daemon)
        many()
        logs()
        if HEALTH:
            health(daemon)
        if HUNG:
            hung()
    finally:
        if daemon:
            ids = sh(ESTIBA, "ps", "-aq", check=False).split()
            if ids:
                sh(ESTIBA, "rm", "-f", *ids, check=False)
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
        for group in (GROUP, GROUP + "-floor"):
            for path in glob.glob(f"/sys/fs/cgroup/*/{group}") + glob.glob(f"/sys/fs/cgroup/{group}"):
                try:
                    os.rmdir(path)
                except OSError as error:
                    print(f"left: {path}: {error}", file=sys.stderr)
        sh("umount", "--lazy", f"{LAB}/run", check=False)
        shutil.rmtree(LAB, ignore_errors=True)


main()
