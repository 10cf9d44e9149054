#!/usr/bin/env python3
"""How long lists of many images take: by the API, and by the command line.

usage: bench/images.py [--count 1000] [--turns 20] [--bin DIR]     (root; ESTIBA_BIN or target/release)

The images share a layer and differ in their configurations; a third of them has two tags. Everything happens in a
network namespace and a directory of its own.
"""
import argparse, hashlib, http.client, io, json, os, shutil, signal, socket, statistics, subprocess, sys, tarfile
import tempfile, time


def archive(path, count):
    """A docker-archive of so many images."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("file"); entry.size = 4; tar.addfile(entry, io.BytesIO(b"text"))
    layer = layer.getvalue()
    with tarfile.open(path, "w") as out:
        def add(name, data):
            entry = tarfile.TarInfo(name); entry.size = len(data); out.addfile(entry, io.BytesIO(data))
        add("layer.tar", layer)
        images = []
        for number in range(count):
            config = {"architecture": "amd64", "os": "linux", "created": f"2026-01-01T00:00:{number % 60:02}Z",
                      "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], "Labels": {"number": str(number)}},
                      "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
            add(f"{number}.json", json.dumps(config).encode())
            tags = [f"registry.example/team/image-{number}:{tag}" for tag in ("1", "2")[:1 + (number % 3 == 0)]]
            images.append({"Config": f"{number}.json", "RepoTags": tags, "Layers": ["layer.tar"]})
        add("manifest.json", json.dumps(images).encode())


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX); self.sock.connect(self.host)


def median_ms(turns, work):
    work()
    times = []
    for _ in range(turns):
        start = time.monotonic(); work(); times.append((time.monotonic() - start) * 1000)
    return statistics.median(times), min(times)


def measure(home, args):
    path = f"{home}/sock"
    daemon = subprocess.Popen([f"{args.bin}/estiba", "daemon", "--data-root", f"{home}/data", "--exec-root", f"{home}/run",
                               "--pidfile", f"{home}/pid", "--config-file", f"{home}/none", "--host", f"unix://{path}",
                               "--cgroup-parent", "/estiba-bench-images"], stderr=subprocess.DEVNULL)
    try:
        ours = [f"{args.bin}/estiba", "-H", f"unix://{path}"]
        while subprocess.run([*ours, "version"], capture_output=True).returncode:
            if daemon.poll() is not None: sys.exit("the daemon ended")
            time.sleep(0.05)
        archive(f"{home}/all.tar", args.count)
        start = time.monotonic()
        subprocess.run([*ours, "load", "-q", "-i", f"{home}/all.tar"], check=True, stdout=subprocess.DEVNULL)
        print(f"load of {args.count}: {time.monotonic() - start:.2f} s")
        link = Unix(path)
        def listed():
            link.request("GET", "/v1.51/images/json"); answer = link.getresponse().read()
            assert answer.count(b'"Id":') == args.count, answer[:200]
        for what, work in (("GET /images/json", listed),
                           ("images -q", lambda: subprocess.run([*ours, "images", "-q"], check=True, stdout=subprocess.DEVNULL)),
                           ("images", lambda: subprocess.run([*ours, "images"], check=True, stdout=subprocess.DEVNULL))):
            median, best = median_ms(args.turns, work)
            print(f"{what:20} {median:8.2f} ms   (best {best:.2f})")
    finally:
        daemon.send_signal(signal.SIGTERM); daemon.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--bin", default=os.environ.get("ESTIBA_BIN", "target/release"))
    args = parser.parse_args()
    if "ESTIBA_BENCH_INSIDE" not in os.environ:
        os.environ["ESTIBA_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
                              'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv])
    home = tempfile.mkdtemp(prefix="estiba-bench-")
    try:
        measure(home, args)
    finally:
        shutil.rmtree(home)


main()
