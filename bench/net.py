#!/usr/bin/env python3
"""What networks cost, as ratios to what the kernel alone charges, in one run. Through scripts/bench-net.sh (`make
bench-net`): BIN IMAGES WORK [PEER], in network and mount namespaces of its own. PEER is a search path with a dockerd and what
it executes (containerd, runc, docker-proxy): it runs the same loads, in turns, in namespaces of its own.

The floor is laid by hand with ip(8) and nft(8): a bridge, two veth pairs, one translation. Its peer for names is
Debian's dnsmasq, answering the same name in the same namespace. Rounds of floor and product take turns; only ratios of
one run mean anything.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import docker

HERE = os.path.dirname(os.path.abspath(__file__))
BIN, IMAGES, WORK = (os.path.abspath(p) for p in sys.argv[1:4])
PEER = sys.argv[4] if len(sys.argv) > 4 else None
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("SECONDS_EACH", "1")
LAB = tempfile.mkdtemp(prefix="estiba-bench-net-")
GROUP = os.path.basename(LAB)
ESTIBA = f"{BIN}/estiba"
NET = f"{LAB}/net"
ENV = {"PATH": os.environ["PATH"], "HOME": LAB, "DOCKER_HOST": f"unix://{LAB}/estiba.sock"}
rows = []
beside = []


def sh(words, check=True, host=None):
    words = words.split() if isinstance(words, str) else words
    env = {**ENV, "DOCKER_HOST": host} if host else ENV
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")
    return done.stdout.strip()


def start(words):
    # In sessions of their own, as the product's processes are: some kernels schedule by session.
    return subprocess.Popen(words.split(), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)


def sink(pid):
    """What takes connections in the namespace of a process, once it does."""
    it = start(f"{inside(pid)} {NET} sink 9000")
    listens = re.compile(r": [0-9A-F]+:2328 [0-9A-F]+:0000 0A ")
    while not any(listens.search(open(f"/proc/{it.pid}/net/{tcp}").read()) for tcp in ("tcp", "tcp6")):
        time.sleep(0.05)
    return it


def inside(pid):
    return f"nsenter -t {pid} -n "


def processor(pid):
    """Seconds of processor that a process has used."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0]) for task in tasks) / 1e9


def pss(pid):
    return int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)[1]) / 1024


def anonymous(pid):
    """What a process has in memory besides its program, which comes and goes by pages."""
    return int(re.search(r"^Pss_Anon:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)[1]) / 1024


def resolver():
    return int(sh(["pgrep", "-f", f"^estiba-resolver {LAB}/run"]))


def floor():
    """Two namespaces on a bridge, one of them behind a translated port of the host; and a neighbour."""
    holders = [start("unshare --net sleep 100000") for _ in range(2)]
    time.sleep(0.5)
    left, right = (it.pid for it in holders)
    sh("ip link add plain0 type bridge")
    sh("ip addr add 10.10.0.1/24 dev plain0")
    sh("ip link set plain0 up")
    for at, pid in ((2, left), (3, right)):
        sh(f"ip link add plain{at} type veth peer name eth0 netns {pid}")
        sh(f"ip link set plain{at} master plain0 up")
        sh(f"{inside(pid)} ip addr add 10.10.0.{at}/24 dev eth0")
        for link in ("lo", "eth0"):
            sh(f"{inside(pid)} ip link set {link} up")
        sh(f"{inside(pid)} ip route add default via 10.10.0.1")
    neighbour = neighbour_of(0, "up0")
    sh(["nft", "add table ip plain; add chain ip plain in { type nat hook prerouting priority -100; }; "
        "add rule ip plain in tcp dport 7000 dnat to 10.10.0.2:9000; "
        "add chain ip plain out { type nat hook output priority -100; }; "
        "add rule ip plain out ip daddr 10.9.0.1 tcp dport 7000 dnat to 10.10.0.2:9000"])
    sinks = [sink(left)]
    return left, right, neighbour.pid, [*holders, neighbour, *sinks]


def neighbour_of(host, prefix):
    """A namespace on a wire to the namespace of process `host` (0: this one), which is its router."""
    holder = start("unshare --net sleep 100000")
    time.sleep(0.3)
    at = inside(host) if host else ""
    sh(f"{at}ip link add {prefix} type veth peer name eth0 netns {holder.pid}")
    sh(f"{at}ip addr add 10.9.0.1/24 dev {prefix}")
    sh(f"{at}ip link set {prefix} up")
    sh(f"{inside(holder.pid)} ip addr add 10.9.0.2/24 dev eth0")
    sh(f"{inside(holder.pid)} ip link set eth0 up")
    sh(f"{inside(holder.pid)} ip route add default via 10.9.0.1")
    return holder


class Docker(docker.Engine):
    """With its proxy, which serves 127.0.0.1 alone."""

    def __init__(self):
        super().__init__(PEER, LAB)
        self.neighbour = neighbour_of(self.pid, "up0")
        self.cli("import", "-c", 'CMD ["sh"]', f"{IMAGES}/busybox.tar", "busybox:latest")
        self.cli("network", "create", "--subnet", "10.77.0.0/24", "app")
        self.pids = {}
        for name, more in (("db", ["-p", "7001:9000"]), ("web", [])):
            self.cli("run", "-d", "--name", name, "--network", "app", *more, "busybox", "sleep", "100000")
            self.pids[name] = self.cli("inspect", "-f", "{{.State.Pid}}", name)
        self.address = self.cli("inspect", "-f", "{{.NetworkSettings.Networks.app.IPAddress}}", "db")
        self.sink = sink(self.pids['db'])

    def cli(self, *words):
        return sh([ESTIBA, *words], host=self.host)

    def end(self):
        self.cli("rm", "-f", "db", "web")
        super().end()
        for it in (self.sink, self.neighbour):
            it.kill()


def beside_docker(docker, pid, address, neighbour):
    """The same loads, a round each in turn."""
    there = inside(docker.pid)
    ways = {
        "container to container": (f"{inside(pid['web'])} {NET} ACT {address} 9000",
                                   f"{inside(docker.pids['web'])} {NET} ACT {docker.address} 9000", ""),
        "neighbour to published port": (f"{inside(neighbour)} {NET} ACT 10.9.0.1 7001",
                                        f"{inside(docker.neighbour.pid)} {NET} ACT 10.9.0.1 7001", ""),
        "host to published port": (f"{NET} ACT 10.9.0.1 7001", f"{there} {NET} ACT 10.9.0.1 7001", "no proxy in Docker's way"),
        "host to it by 127.0.0.1": (f"{NET} ACT 127.0.0.1 7001", f"{there} {NET} ACT 127.0.0.1 7001", "docker-proxy in Docker's"),
    }
    for act, unit, what in (("stream", "Mbit/s", "throughput"), ("connect", "/s", "new connections")):
        for name, (ours, theirs, note) in ways.items():
            take_turns(f"{what}, {name}", unit, f"{ours.replace('ACT', act)} {SECONDS}",
                       f"{theirs.replace('ACT', act)} {SECONDS}", note, beside)
    questions(pid["web"], resolver(), docker.pids["web"], docker.pid, beside)


def take_turns(name, unit, ours, theirs, note="", rows=rows):
    """Medians of both, a round each in turn."""
    mine, floors = [], []
    for _ in range(ROUNDS):
        floors.append(float(sh(theirs).split()[0]))
        mine.append(float(sh(ours).split()[0]))
    a, b = statistics.median(mine), statistics.median(floors)
    rows.append((name, f"{a:.0f} {unit}", f"{b:.0f}", f"{a / b:.2f} ×", note))
    print(rows[-1], flush=True)


def names(web):
    """Questions about a name that the network knows, against dnsmasq knowing it."""
    holder = start("unshare --net sleep 100000")
    time.sleep(0.3)
    sh(f"{inside(holder.pid)} ip link set lo up")
    program = "dnsmasq" if sh("which dnsmasq", check=False) else f"{WORK}/root/usr/sbin/dnsmasq"
    config = f"{LAB}/dnsmasq.conf"
    open(config, "w").write("no-resolv\nno-hosts\naddress=/db/10.10.0.3\nlisten-address=127.0.0.11\nbind-interfaces\n"
                            "user=root\npid-file=\n")
    peer = start(f"{inside(holder.pid)} {program} -k -C {config}")
    time.sleep(0.5)
    pids = (resolver(), peer.pid)
    questions(web, pids[0], holder.pid, pids[1], rows)
    rows.append(("the resolver, PSS", f"{pss(pids[0]):.2f} MB", f"{pss(pids[1]):.2f}", f"{pss(pids[0]) / pss(pids[1]):.2f} ×", "one for all containers"))
    print(rows[-1], flush=True)
    for it in (peer, holder):
        it.kill()


def questions(web, answers, other, other_answers, rows):
    """Questions about `db`, in the namespaces of two processes, to two others."""
    for window in (1, 32):
        ours, theirs = [], []
        used = [0.0, 0.0]
        for _ in range(ROUNDS):
            for pid, at, into, who in ((other, 1, theirs, other_answers), (web, 0, ours, answers)):
                before = processor(who)
                answer = sh(f"{inside(pid)} {NET} ask 127.0.0.11 db {SECONDS} {window}").split()
                used[at] += processor(who) - before
                into.append([float(it) for it in answer])
        middle = lambda rounds, at: statistics.median(it[at] for it in rounds)
        rate = [middle(ours, 0), middle(theirs, 0)]
        slow = [middle(ours, 2), middle(theirs, 2)]
        total = [sum(it[0] for it in rounds) * float(SECONDS) for rounds in (ours, theirs)]
        cost = [used[n] / total[n] * 1e6 for n in (0, 1)]
        note = f"lost {sum(it[3] for it in ours):.0f} and {sum(it[3] for it in theirs):.0f}"
        rows.append((f"names, {window} at once", f"{rate[0]:.0f} /s", f"{rate[1]:.0f}", f"{rate[0] / rate[1]:.2f} ×", note))
        rows.append((f"… the slowest of 100", f"{slow[0]:.0f} µs", f"{slow[1]:.0f}", f"{slow[0] / slow[1]:.2f} ×", "under 1 ms"))
        rows.append((f"… processor time each", f"{cost[0]:.1f} µs", f"{cost[1]:.1f}", f"{cost[0] / cost[1]:.2f} ×", ""))
        for row in rows[-3:]:
            print(row, flush=True)


def many_ports(daemon):
    """A container with 10,000 published ports beside one with one: its time, and what the daemon has grown by."""
    times, sizes, later = [], [], []
    for _ in range(3):
        sh([ESTIBA, "create", "--name", "one", "-p", "19999:80", "busybox", "sleep", "1000"])
        begun = time.perf_counter()
        sh([ESTIBA, "start", "one"])
        one = time.perf_counter() - begun
        before = anonymous(daemon.pid)
        sh([ESTIBA, "create", "--name", "many", "-p", "20000-29999:20000-29999", "busybox", "sleep", "1000"])
        begun = time.perf_counter()
        sh([ESTIBA, "start", "many"])
        times.append((time.perf_counter() - begun, one))
        sizes.append(anonymous(daemon.pid) - before)
        time.sleep(5)
        later.append(anonymous(daemon.pid) - before)
        sh([ESTIBA, "rm", "-f", "many", "one"])
    took, one = (statistics.median(it[n] for it in times) * 1e3 for n in (0, 1))
    rows.append(("start with 10,000 published ports", f"{took:.0f} ms", f"{one:.0f}", "", "floor: with one; under 300 more"))
    rows.append(("… memory of the daemon, at once", f"{statistics.median(sizes):.1f} MB", "", "", "under 5"))
    rows.append(("… five seconds later", f"{statistics.median(later):.1f} MB", "", "", ""))
    for row in rows[-3:]:
        print(row, flush=True)


def main():
    sh(["gcc", "-O2", "-o", NET, f"{HERE}/net.c"])
    sh("ip link set lo up")
    # A router before the daemon comes: what it does not know is none of its business then.
    open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
    daemon = subprocess.Popen(
        [ESTIBA, "daemon", "--data-root", f"{LAB}/data", "--exec-root", f"{LAB}/run", "--pidfile", f"{LAB}/pid",
         "--config-file", f"{LAB}/none.json", "-H", ENV["DOCKER_HOST"], "--cgroup-parent", f"/{GROUP}"],
        env=ENV, stdout=open(f"{LAB}/log", "w"), stderr=subprocess.STDOUT)
    held = []
    try:
        while subprocess.run([ESTIBA, "version"], env=ENV, capture_output=True).returncode:
            time.sleep(0.1)
        sh([ESTIBA, "import", "-c", 'CMD ["sh"]', f"{IMAGES}/busybox.tar", "busybox:latest"])
        left, right, neighbour, held = floor()
        sh([ESTIBA, "network", "create", "--subnet", "10.77.0.0/24", "app"])
        pid = {}
        for name, more in (("db", ["-p", "7001:9000"]), ("web", [])):
            sh([ESTIBA, "run", "-d", "--name", name, "--network", "app", *more, "busybox", "sleep", "100000"])
            pid[name] = sh([ESTIBA, "inspect", "-f", "{{.State.Pid}}", name])
        held.append(sink(pid['db']))
        address = sh([ESTIBA, "inspect", "-f", "{{.NetworkSettings.Networks.app.IPAddress}}", "db"])
        time.sleep(0.5)
        for act, unit in (("stream", "Mbit/s"), ("connect", "/s")):
            what = {"stream": "throughput", "connect": "new connections"}[act]
            take_turns(f"{what}, container to container", unit,
                       f"{inside(pid['web'])} {NET} {act} {address} 9000 {SECONDS}",
                       f"{inside(right)} {NET} {act} 10.10.0.2 9000 {SECONDS}")
            take_turns(f"{what}, neighbour to published port", unit,
                       f"{inside(neighbour)} {NET} {act} 10.9.0.1 7001 {SECONDS}",
                       f"{inside(neighbour)} {NET} {act} 10.9.0.1 7000 {SECONDS}")
            take_turns(f"{what}, host to published port", unit,
                       f"{NET} {act} 10.9.0.1 7001 {SECONDS}", f"{NET} {act} 10.9.0.1 7000 {SECONDS}")
        names(pid["web"])
        many_ports(daemon)
        if PEER:
            peer = Docker()
            try:
                beside_docker(peer, pid, address, neighbour)
            finally:
                peer.end()
    finally:
        ids = sh([ESTIBA, "ps", "-aq"], check=False).split()
        if ids:
            sh([ESTIBA, "rm", "-f", *ids], check=False)
        daemon.terminate()
        daemon.wait()
        for it in held:
            it.kill()
        docker.remove_group(GROUP)
        subprocess.run(["rm", "-rf", LAB])
    print("\n| what | estiba | floor | ratio | |\n|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if beside:
        print("\n| what | estiba | Docker | ratio | |\n|---|---|---|---|---|")
    for row in beside:
        print("| " + " | ".join(row) + " |")


main()
