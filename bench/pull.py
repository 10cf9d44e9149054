#!/usr/bin/env python3
"""Pull and push of an image of ten layers, with a loopback registry: estiba, skopeo, podman, Docker and a shell
pipeline, in turns.

usage: bench/pull.py [--mb 500] [--turns 3] [--files] [--docker NAME=DIR]...
       (root; docker-registry, skopeo, podman, curl; ESTIBA_BIN or target/release; DIR holds a dockerd and, unless
       they are in PATH, what it executes: containerd and runc)

"the registry alone" is the floor of a push: curl sends blobs that are ready, five at a time. A registry that syncs all it is
sent is most of a push; therefore both also push to one of our own, in memory. Everything happens in a network namespace and a directory of its own. What counts is the ratios: of wall time,
and of processor time of everything that works for the one who is measured (the daemon's unpackers too), which
a busy machine disturbs less.
"""
import argparse, gzip, hashlib, http.client, io, json, os, random, shutil, signal, subprocess, sys, tarfile, tempfile, time

LAYERS = 10
IN_MEMORY = "push into memory"
PIPELINE = ('curl -s http://127.0.0.1:5000/v2/bench/image/blobs/"$1" | tee "$2/blob" | gzip -dc '
            '| tee >(sha256sum > "$2/sum") | tar -xf - -C "$2"; wait')

# Blobs that are files, named by their digests, into a repository: what a client must ask for, and nothing else.
UPLOAD = r'''repository=$1; shift
at() { tr -d '\r' | sed -n 's/^[Ll]ocation: //p'; }
put() {
  to=$(curl -sf -o /dev/null -D - -X POST "http://127.0.0.1:5000/v2/$repository/blobs/uploads/" | at) &&
  to=$(curl -sf -o /dev/null -D - -X PATCH -T "$1" "$to" | at) &&
  curl -sf -o /dev/null -X PUT "$to&digest=sha256:${1##*/}"
}
export repository; export -f at put
printf '%s\n' "$@" | xargs -P 5 -I@ bash -c 'put "$1"' sh @'''


PROGRAMS = bytearray()


def layer(number, size):
    """A gzip layer of `size` plain bytes, half of which nothing can compress. The other half is a block that comes
    again beyond the reach of gzip, or with --files parts of this host's programs."""
    draw, block = random.Random(number), os.urandom(1 << 16)
    work = tempfile.mkdtemp()
    with open(f"{work}/data", "wb") as out:
        for _ in range(size >> 17):
            if PROGRAMS:
                at = draw.randrange(len(PROGRAMS) - len(block)); block = PROGRAMS[at:at + len(block)]
            out.write(draw.randbytes(1 << 16) + block)
    plain = subprocess.run(["tar", "-c", "--mtime=@0", "--owner=0", "--group=0", "-C", work,
                            "--transform", f"s/data/data{number}/", "data"], stdout=subprocess.PIPE, check=True).stdout
    shutil.rmtree(work)
    return gzip.compress(plain, 4, mtime=0) if number < 1000 else b"", hashlib.sha256(plain).hexdigest(), plain


def put(blob, kind=None):
    """Gives the registry a blob, or a manifest."""
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    link = http.client.HTTPConnection("127.0.0.1", 5000)
    if kind:
        link.request("PUT", "/v2/bench/image/manifests/1", blob, {"Content-Type": kind})
    else:
        link.request("POST", "/v2/bench/image/blobs/uploads/")
        answer = link.getresponse(); answer.read()
        place = answer.getheader("Location").split("127.0.0.1:5000", 1)[-1]
        link.request("PUT", f"{place}&digest={digest}", blob, {"Content-Type": "application/octet-stream"})
    answer = link.getresponse(); answer.read()
    assert answer.status == 201, answer.status
    return {"digest": digest, "size": len(blob)}


def fill(home, mb):
    """The registry's image; its layers are kept as files, too."""
    oci, layers, contents = "application/vnd.oci.image.", [], []
    for number in range(LAYERS):
        packed, content, _ = layer(number, (mb << 20) // LAYERS)
        with open(f"{home}/blobs/" + hashlib.sha256(packed).hexdigest(), "wb") as out: out.write(packed)
        layers.append({"mediaType": oci + "layer.v1.tar+gzip", **put(packed)})
        contents.append("sha256:" + content)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": contents}}).encode()
    kind = oci + "manifest.v1+json"
    put(json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": layers,
                    "config": {"mediaType": oci + "config.v1+json", **put(config)}}).encode(), kind)
    return layers


class Group:
    """A control group: what it and all its descendants take of the processors."""
    def __init__(self, name):
        old = os.path.isdir("/sys/fs/cgroup/cpuacct")
        self.path = f"/sys/fs/cgroup/{'cpuacct/' if old else ''}estiba-bench-{name}-{os.getpid()}"
        self.file, self.unit = ("cpuacct.usage", 1e9) if old else ("cpu.stat", 1e6)
        os.mkdir(self.path)

    def enter(self):
        with open(f"{self.path}/cgroup.procs", "w") as out: out.write(str(os.getpid()))

    def seconds(self):
        with open(f"{self.path}/{self.file}") as file: return int(file.read().replace("usage_usec ", "").split()[0]) / self.unit

    def remove(self):
        for _ in range(100):
            try: return os.rmdir(self.path)
            except OSError: time.sleep(0.05)


def timed(work, group):
    """Wall time and processor time."""
    start, spent = time.monotonic(), group.seconds()
    work()
    return time.monotonic() - start, group.seconds() - spent


def wait_for(ready, program):
    while subprocess.run(ready, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        if program.poll() is not None: sys.exit(f"{' '.join(program.args)}: ended")
        time.sleep(0.05)


def measure(home, args, programs):
    os.mkdir(f"{home}/r"); os.mkdir(f"{home}/blobs")
    with open(f"{home}/r.yml", "w") as out:
        out.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {home}/r}}}}\n"
                  "http: {addr: '127.0.0.1:5000'}\n")
    programs.append(subprocess.Popen(["docker-registry", "serve", f"{home}/r.yml"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    wait_for(["curl", "-sf", "http://127.0.0.1:5000/v2/"], programs[-1])
    layers = fill(home, args.mb)
    group = {who: Group(who) for who in ("estiba", "peer")}
    try:
        times = compare(home, args, programs, layers, group)
    finally:
        for program in reversed(programs):
            program.send_signal(signal.SIGTERM); program.wait()
        programs.clear()
        for one in group.values(): one.remove()
    best = {what: (min(t[0] for t in all), min(t[1] for t in all)) for what, all in times.items() if all}
    print(f"{'':28} {'wall':>8}   {'ratio':>6} {'processors':>12}   {'ratio':>6}")
    for what, (wall, spent) in best.items():
        ours = best[next(own for own in (IN_MEMORY, "push", "pull") if own in ("pull", what[:len(own)]))]
        print(f"{what:28} {wall:8.3f} s {ours[0] / wall:6.2f} {spent:10.3f} s {ours[1] / max(spent, 1e-9):6.2f}")


def archive(path, seed, mb, name):
    """A docker-archive of ten layers that nobody has seen: what is pushed must be compressed."""
    config, names = [], []
    with tarfile.open(path, "w") as out:
        def add(name, data):
            entry = tarfile.TarInfo(name); entry.size = len(data); out.addfile(entry, io.BytesIO(data))
        for number in range(LAYERS):
            _, _, plain = layer(1000 * (seed + 1) + number, (mb << 20) // LAYERS)
            config.append("sha256:" + hashlib.sha256(plain).hexdigest()); names.append(f"{number}.tar")
            add(names[-1], plain)
        document = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                               "rootfs": {"type": "layers", "diff_ids": config}}).encode()
        add("config.json", document)
        add("manifest.json", json.dumps([{"Config": "config.json", "Layers": names, "RepoTags": [name]}]).encode())


class Memory:
    """A registry of ours whose files are in memory, while it is wanted: (address) with its blobs gone at the end."""
    def __init__(self, home, bin, programs):
        self.root, self.programs, self.address = f"{home}/memory", programs, "127.0.0.1:5001"
        os.mkdir(self.root)
        subprocess.run(["mount", "-t", "tmpfs", "memory", self.root], check=True)
        programs.append(subprocess.Popen([f"{bin}/estiba", "registry", "serve", "--root", f"{self.root}/r", "--listen",
                                          self.address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(["curl", "-sf", f"http://{self.address}/v2/"], programs[-1])

    def __enter__(self): return self.address

    def __exit__(self, *_):
        program = self.programs.pop(); program.send_signal(signal.SIGTERM); program.wait()
        subprocess.run(["umount", self.root], check=True); os.rmdir(self.root)


class Docker:
    """Docker's engine as it comes, but for its places. It lays no networks."""
    def __init__(self, name, directory, home, programs):
        self.name, self.group, self.socket = name, Group(f"docker-{name}"), f"unix://{home}/docker-{name}.sock"
        self.path = f"{os.path.abspath(directory)}:{os.environ['PATH']}"
        with open(f"{home}/docker.json", "w") as out: out.write("{}")
        # Its programs look for each other below /run.
        daemon = (f"mount -t tmpfs tmpfs /run && exec dockerd --data-root {home}/docker-{name} --exec-root /run/docker "
                  f"--pidfile {home}/docker-{name}.pid -H {self.socket} --config-file {home}/docker.json --bridge none "
                  f"--iptables=false --exec-opt native.cgroupdriver=cgroupfs")
        programs.append(subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", daemon],
                                         env={**os.environ, "PATH": self.path}, preexec_fn=self.group.enter,
                                         stdout=subprocess.DEVNULL, stderr=open(f"{home}/docker-{name}.log", "w")))
        self.client = ["docker", "-H", self.socket]
        wait_for([*self.client, "version"], programs[-1])


def compare(home, args, programs, layers, group):
    name, socket = "127.0.0.1:5000/bench/image:1", f"unix://{home}/sock"
    daemon = subprocess.Popen([f"{args.bin}/estiba", "daemon", "--data-root", f"{home}/data", "--exec-root",
                               f"{home}/run", "--pidfile", f"{home}/pid", "--config-file", f"{home}/none",
                               "--host", socket, "--cgroup-parent", "/estiba-bench-pull"], stderr=subprocess.DEVNULL,
                              preexec_fn=group["estiba"].enter)
    programs.append(daemon)
    ours = [f"{args.bin}/estiba", "-H", socket]
    wait_for([*ours, "version"], daemon)
    dockers = []
    for word in args.docker:
        dockers.append(Docker(*word.split("=", 1), home, programs))
        group[f"docker {dockers[-1].name}"] = dockers[-1].group
    times = {}
    run = lambda words, who="peer": subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                                   preexec_fn=group[who].enter)
    def measure(what, words, who="peer"):
        os.sync()
        times.setdefault(what, []).append(timed(lambda: run(words, who), group[who]))
    for turn in range(args.turns):
        measure("pull", [*ours, "pull", "-q", name], "estiba")
        measure("pull again", [*ours, "pull", "-q", name], "estiba")
        run([*ours, "rmi", name])
        skopeo = ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{name}"]
        measure("skopeo, as it travels", [*skopeo, f"oci:{home}/skopeo-{turn}"])
        shutil.rmtree(f"{home}/skopeo-{turn}")
        measure("skopeo, unpacked", [*skopeo, f"containers-storage:[overlay@{home}/storage+{home}/storage-run]{name}"])
        # It leaves its storage mounted upon itself.
        subprocess.run(["umount", "-R", "-q", f"{home}/storage/overlay"]); shutil.rmtree(f"{home}/storage")
        if shutil.which("podman"):
            podman = ["podman", "--root", f"{home}/podman", "--runroot", f"{home}/podman-run", "--storage-driver", "overlay"]
            measure("podman", [*podman, "pull", "-q", "--tls-verify=false", name])
            run([*podman, "rmi", name])
        for docker in dockers:
            measure(f"docker {docker.name}", [*docker.client, "pull", "-q", name], f"docker {docker.name}")
            run([*docker.client, "rmi", name])
        for number in range(LAYERS): os.makedirs(f"{home}/pipe-{turn}/{number}")
        script = "; ".join(f'set -- {one["digest"]} {home}/pipe-{turn}/{number}; {PIPELINE}' for number, one in enumerate(layers))
        measure("pipeline", ["bash", "-c", script])
        shutil.rmtree(f"{home}/pipe-{turn}")
        blobs = [f"{home}/blobs/" + one["digest"].split(":")[1] for one in layers]
        measure("push: the registry alone", ["bash", "-c", UPLOAD, "sh", f"bench/floor-{turn}", *blobs])
        fresh, pushed = f"{home}/fresh.tar", f"127.0.0.1:5000/bench/push:{turn}"
        archive(fresh, 2 * turn, args.mb, pushed)
        run([*ours, "load", "-q", "-i", fresh])
        measure("push", [*ours, "push", "-q", pushed], "estiba")
        run([*ours, "tag", pushed, f"127.0.0.1:5000/bench/other:{turn}"])
        measure("push elsewhere", [*ours, "push", "-q", f"127.0.0.1:5000/bench/other:{turn}"], "estiba")
        skopeo = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"docker-archive:{fresh}"]
        measure("push by skopeo", [*skopeo, f"docker://127.0.0.1:5000/bench/skopeo:{turn}"])
        run([*ours, "rmi", pushed, f"127.0.0.1:5000/bench/other:{turn}"])
        for docker in dockers:
            to = f"127.0.0.1:5000/bench/docker-{docker.name}:{turn}"
            run([*docker.client, "load", "-q", "-i", fresh]); run([*docker.client, "tag", pushed, to])
            measure(f"push by docker {docker.name}", [*docker.client, "push", "-q", to], f"docker {docker.name}")
            run([*docker.client, "rmi", pushed, to])
        with Memory(home, args.bin, programs) as address:
            pushed = f"{address}/bench/push:{turn}"
            archive(fresh, 2 * turn + 1, args.mb, pushed)
            run([*ours, "load", "-q", "-i", fresh])
            measure(IN_MEMORY, [*ours, "push", "-q", pushed], "estiba")
            measure(f"{IN_MEMORY} by skopeo", [*skopeo, f"docker://{address}/bench/skopeo:{turn}"])
            run([*ours, "rmi", pushed])
        os.unlink(fresh)
    peak = next(line for line in open(f"/proc/{daemon.pid}/status") if line.startswith("VmHWM"))
    print(f"daemon's largest resident size: {int(peak.split()[1]) / 1024:.1f} MiB")
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--files", action="store_true", help="half of the bytes are this host's programs")
    parser.add_argument("--docker", metavar="NAME=DIR", action="append", default=[], help="Docker's engine, beside the others")
    parser.add_argument("--bin", default=os.environ.get("ESTIBA_BIN", "target/release"))
    args = parser.parse_args()
    if args.files:
        for name in sorted(os.listdir("/usr/bin")):
            if os.path.isfile(f"/usr/bin/{name}") and len(PROGRAMS) < 64 << 20:
                with open(f"/usr/bin/{name}", "rb") as file: PROGRAMS.extend(file.read(4 << 20))
    if "ESTIBA_BENCH_INSIDE" not in os.environ:
        os.environ["ESTIBA_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
                              'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv])
    home, programs = tempfile.mkdtemp(prefix="estiba-bench-"), []
    try:
        measure(home, args, programs)
    finally:
        for program in reversed(programs):
            program.send_signal(signal.SIGTERM); program.wait()
        shutil.rmtree(home)


main()
