#!/usr/bin/env python3
"""Pull of an image of ten layers from a loopback registry: estiba, skopeo and a shell pipeline, in turns.

usage: bench/pull.py [--mb 500] [--turns 3]     (root; docker-registry, skopeo, curl; ESTIBA_BIN or target/release)

Everything happens in a network namespace and a directory of its own. What counts is the ratios.
"""
import argparse, gzip, hashlib, http.client, json, os, random, shutil, signal, subprocess, sys, tempfile, time

LAYERS = 10
PIPELINE = ('curl -s http://127.0.0.1:5000/v2/bench/image/blobs/"$1" | tee "$2/blob" | gzip -dc '
            '| tee >(sha256sum > "$2/sum") | tar -xf - -C "$2"; wait')


def layer(number, size):
    """A gzip layer of `size` plain bytes, half of which compress."""
    draw, block = random.Random(number), os.urandom(1 << 16)
    work = tempfile.mkdtemp()
    with open(f"{work}/data", "wb") as out:
        for _ in range(size >> 17):
            out.write(draw.randbytes(1 << 16) + block)
    plain = subprocess.run(["tar", "-c", "--mtime=@0", "--owner=0", "--group=0", "-C", work,
                            "--transform", f"s/data/data{number}/", "data"], stdout=subprocess.PIPE, check=True).stdout
    shutil.rmtree(work)
    return gzip.compress(plain, 4, mtime=0), hashlib.sha256(plain).hexdigest()


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


def fill(mb):
    oci, layers, contents = "application/vnd.oci.image.", [], []
    for number in range(LAYERS):
        packed, content = layer(number, (mb << 20) // LAYERS)
        layers.append({"mediaType": oci + "layer.v1.tar+gzip", **put(packed)})
        contents.append("sha256:" + content)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": contents}}).encode()
    kind = oci + "manifest.v1+json"
    put(json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": layers,
                    "config": {"mediaType": oci + "config.v1+json", **put(config)}}).encode(), kind)
    return layers


def timed(work):
    start = time.monotonic(); work(); return time.monotonic() - start


def wait_for(ready):
    while subprocess.run(ready, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        time.sleep(0.05)


def measure(home, args, programs):
    os.mkdir(f"{home}/r")
    with open(f"{home}/r.yml", "w") as out:
        out.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {home}/r}}}}\n"
                  "http: {addr: '127.0.0.1:5000'}\n")
    programs.append(subprocess.Popen(["docker-registry", "serve", f"{home}/r.yml"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    wait_for(["curl", "-sf", "http://127.0.0.1:5000/v2/"])
    layers = fill(args.mb)
    name, socket = "127.0.0.1:5000/bench/image:1", f"unix://{home}/sock"
    daemon = subprocess.Popen([f"{args.bin}/estiba", "daemon", "--data-root", f"{home}/data", "--exec-root",
                               f"{home}/run", "--pidfile", f"{home}/pid", "--config-file", f"{home}/none",
                               "--host", socket, "--cgroup-parent", "/estiba-bench-pull"], stderr=subprocess.DEVNULL)
    programs.append(daemon)
    ours = [f"{args.bin}/estiba", "-H", socket]
    wait_for([*ours, "version"])
    times = {"estiba": [], "again": [], "skopeo": [], "pipeline": []}
    run = lambda words: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    for turn in range(args.turns):
        times["estiba"].append(timed(lambda: run([*ours, "pull", "-q", name])))
        times["again"].append(timed(lambda: run([*ours, "pull", "-q", name])))
        run([*ours, "rmi", name])
        to = f"oci:{home}/skopeo-{turn}"
        times["skopeo"].append(timed(lambda: run(["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false",
                                                  f"docker://{name}", to])))
        def pipeline():
            for number, one in enumerate(layers):
                os.makedirs(f"{home}/pipe-{turn}/{number}")
                run(["bash", "-c", PIPELINE, "bash", one["digest"], f"{home}/pipe-{turn}/{number}"])
        times["pipeline"].append(timed(pipeline))
        shutil.rmtree(f"{home}/pipe-{turn}"); shutil.rmtree(f"{home}/skopeo-{turn}")
    peak = next(line for line in open(f"/proc/{daemon.pid}/status") if line.startswith("VmHWM"))
    best = {what: min(all) for what, all in times.items()}
    for what in best:
        print(f"{what:10} {best[what]:8.3f} s   {best['estiba'] / best[what]:6.2f} x of it by estiba")
    print(f"daemon's largest resident size: {int(peak.split()[1]) / 1024:.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--bin", default=os.environ.get("ESTIBA_BIN", "target/release"))
    args = parser.parse_args()
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
