"""Asks two engines the same questions in several versions of the API and compares what their
answers are made of: fields, and the kinds of their values (not the values).

Usage: shapes.py SOCKET_OF_DOCKER SOCKET_OF_OURS BUSYBOX_TAR [VERSION...]. Prints what differs, a line
each, `-` for what only Docker says and `+` for what only we say."""

import http.client
import json
import re
import socket
import sys
import time

VERSIONS = ["1.24", "1.30", "1.40", "1.41", "1.43", "1.44", "1.47", "1.51"]
# Maps from what users name to what it means: their keys are no fields.
NAMED = re.compile(
    r"(Labels|Networks|Ports|PortBindings|Volumes|ExposedPorts|Options|Opts|Sysctls|Annotations|Tmpfs|LogConfig\.Config"
    r"|IndexConfigs|Runtimes|Containers|networks|Attributes|DriverOpts|StorageOpt|Data|VolumeOptions|stats)$"
)

BOX = {
    "Image": "busybox",
    "Cmd": ["sh", "-c", "touch /made; sleep 1000"],
    "Env": ["A=b"],
    "Labels": {"a": "b"},
    "ExposedPorts": {"80/tcp": {}},
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
    "HostConfig": {
        "PortBindings": {"80/tcp": [{"HostPort": "8080"}]},
        "Binds": ["vv:/data", "/etc:/host:ro"],
        "Mounts": [{"Type": "tmpfs", "Target": "/mem"}],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
        "Memory": 67108864,
        "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}],
        "ExtraHosts": ["a:1.2.3.4"],
        "SecurityOpt": ["seccomp=unconfined"],
    },
    "NetworkingConfig": {"EndpointsConfig": {"nn": {"Aliases": ["al"]}}},
}


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Engine:
    def __init__(self, path, tar):
        self.path = path
        with open(tar, "rb") as file:
            made = self.ask("POST", "/images/create?fromSrc=-&repo=busybox&tag=latest&changes=CMD%20sh", file.read())
        assert made[0] == 200, made
        self.began = int(time.time())
        self.must("POST", "/networks/create", {"Name": "nn", "Labels": {"a": "b"}})
        self.must("POST", "/volumes/create", {"Name": "vv", "Labels": {"a": "b"}})
        self.box = self.must("POST", "/containers/create?name=box", BOX)["Id"]
        self.must("POST", "/containers/box/start")
        self.must("POST", "/containers/create?name=idle", {"Image": "busybox"})
        execution = {"Cmd": ["sleep", "1000"], "AttachStdout": True}
        self.exec = self.must("POST", "/containers/box/exec", execution)["Id"]
        self.must("POST", f"/exec/{self.exec}/start", {"Detach": True})
        time.sleep(3)

    def ask(self, method, target, body=None):
        """Status, kind of content and content of an answer."""
        connection = Unix(self.path)
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body)
        connection.request(method, target, body, {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        headers = sorted(name for name, _ in answer.getheaders() if name not in ("Date", "Content-Length"))
        return answer.status, headers, text

    def must(self, method, target, body=None):
        status, _, text = self.ask(method, target, body)
        assert status < 300 or status == 304, (method, target, status, text)
        return json.loads(text) if text.startswith(b"{") else None

    def questions(self):
        now = int(time.time())
        yield from [
            ("GET", "/containers/json?all=1&size=1"),
            ("GET", "/containers/box/json?size=1"),
            ("GET", "/containers/idle/json"),
            ("GET", "/containers/box/top"),
            ("GET", "/containers/box/stats?stream=0"),
            ("GET", "/containers/idle/stats?stream=0"),
            ("GET", "/containers/box/changes"),
            ("GET", "/images/json"),
            ("GET", "/images/busybox/json"),
            ("GET", "/images/busybox/history"),
            ("GET", "/networks"),
            ("GET", "/networks/nn"),
            ("GET", "/networks/bridge"),
            ("GET", "/volumes"),
            ("GET", "/volumes/vv"),
            ("GET", "/info"),
            ("GET", "/version"),
            ("GET", "/system/df"),
            ("GET", "/plugins"),
            ("GET", f"/events?since={self.began}&until={now}"),
            ("GET", f"/exec/{self.exec}/json"),
            ("GET", "/_ping"),
            ("GET", "/containers/none/json"),
            ("GET", "/nothing"),
            ("POST", "/containers/box/start"),
            ("POST", "/containers/idle/stop"),
            ("POST", "/containers/idle/kill"),
            ("POST", "/containers/idle/pause"),
            ("POST", "/containers/none/start"),
            ("DELETE", "/containers/box"),
            ("DELETE", "/volumes/vv"),
            ("DELETE", "/networks/nn"),
            ("DELETE", "/images/busybox"),
            ("POST", "/containers/create"),
        ]


def kind(value):
    return {type(None): "null", bool: "bool", int: "number", float: "number", str: "text"}[type(value)]


def fields(value, at, out):
    if isinstance(value, dict):
        out.add(f"{at} {{}}")
        for name, inner in value.items():
            fields(inner, f"{at}.{'*' if NAMED.search(at) else name}", out)
    elif isinstance(value, list):
        out.add(f"{at} []")
        for inner in value:
            fields(inner, at + "[]", out)
    else:
        out.add(f"{at} {kind(value)}")


def shape(answer):
    status, headers, text = answer
    out = {f"status {status}"} | {f"header {name}" for name in headers}
    try:
        for line in text.splitlines() if b"\n{" in text else [text]:
            fields(json.loads(line), "$", out)
    except ValueError:
        out.add("no JSON" if text else "nothing")
    if status >= 400 and text.startswith(b"{"):
        said = json.loads(text)["message"]
        out.add("says " + re.sub(r"[0-9a-f]{12,64}", "ID", said))
    return out


def main():
    docker, ours = (Engine(path, sys.argv[3]) for path in sys.argv[1:3])
    for version in sys.argv[4:] or VERSIONS:
        for (method, target), (_, same) in zip(docker.questions(), ours.questions()):
            theirs = shape(docker.ask(method, f"/v{version}{target}"))
            own = shape(ours.ask(method, f"/v{version}{same}"))
            for sign, only in (("-", theirs - own), ("+", own - theirs)):
                for line in sorted(only):
                    print(f"{version} {method} {re.sub('[0-9a-f]{64}', 'ID', target)}: {sign} {line}")


main()
