"""Docker's engine beside ours, in one run: as it comes, but for its places. It has network and mount namespaces, a data root
and control groups of its own; who measures it tells it what to do.
"""
import os
import shutil
import subprocess
import sys
import time


class Engine:
    """`programs`: a search path with dockerd and what it executes (containerd, runc, docker-proxy); `lab`: a directory on a real disk."""

    def __init__(self, programs, lab):
        self.host = f"unix://{lab}/docker.sock"
        self.path = f"{programs}:{os.environ['PATH']}"
        self.group = f"{os.path.basename(lab)}-docker"
        self.log = f"{lab}/docker.log"
        configuration = f"{lab}/docker.json"
        with open(configuration, "w") as file:
            file.write("{}")
        arguments = (f"--data-root {lab}/docker --exec-root /run/docker --pidfile {lab}/docker.pid --config-file {configuration} "
                     f"-H {self.host} --cgroup-parent /{self.group} --exec-opt native.cgroupdriver=cgroupfs")
        inside = f"mount -t tmpfs tmpfs /run; ip link set lo up; exec dockerd {arguments}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", inside],
                env={"PATH": self.path, "HOME": lab}, stdout=log, stderr=log, start_new_session=True)
        self.pid = self.process.pid
        self.wait(f"{lab}/docker.sock")

    def wait(self, socket):
        ask = ["curl", "-sf", "-o", "/dev/null", "--unix-socket", socket, "http://docker/_ping"]
        for _ in range(600):
            if not subprocess.run(ask).returncode:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        with open(self.log) as log:
            sys.exit(f"dockerd does not answer:\n{log.read()[-2000:]}")

    def client(self, config):
        """Environment of a docker command line whose `build` is buildx, where the search path has it."""
        plugins = f"{config}/cli-plugins"
        os.makedirs(plugins)
        if buildx := shutil.which("docker-buildx", path=self.path):
            os.symlink(buildx, f"{plugins}/docker-buildx")
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": config, "DOCKER_BUILDKIT": "1"}

    def end(self):
        self.process.terminate()
        self.process.wait()
        remove_group(self.group)


def remove_group(name):
    """Removes the empty control groups that an engine leaves."""
    for tree in os.listdir("/sys/fs/cgroup"):
        for path, _, _ in os.walk(f"/sys/fs/cgroup/{tree}/{name}", topdown=False):
            os.rmdir(path)
