"""A volume plugin (docs.docker.com, "Docker volume plugins") on a unix socket.

Volumes are directories below DIRECTORY. Like a driver of network storage it makes a volume's
content appear where it is mounted: by a link from `mounted/NAME`, as long as anybody uses it.
Every question is added to SOCKET.log, a line each. Usage: volumes.py SOCKET DIRECTORY"""

import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

SOCKET, ROOT = sys.argv[1], sys.argv[2]


class Refused(Exception):
    pass


def state():
    try:
        with open(ROOT + "/state") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def save(volumes):
    with open(ROOT + "/state.new", "w") as file:
        json.dump(volumes, file)
    os.rename(ROOT + "/state.new", ROOT + "/state")


def place(name):
    return ROOT + "/mounted/" + name


def shown(volumes, name):
    users = volumes[name]["users"]
    return {"Name": name, "Mountpoint": place(name) if users else "", "Status": {"users": users}}


def act(method, asked):
    if method == "Plugin.Activate":
        return {"Implements": ["VolumeDriver"]}
    verb, volumes, name = method.split(".")[-1], state(), asked.get("Name", "")
    if verb == "Capabilities":
        return {"Capabilities": {"Scope": "global"}}
    if verb == "List":
        return {"Volumes": [shown(volumes, name) for name in volumes]}
    if verb == "Create":
        if (asked.get("Opts") or {}).get("refuse"):
            raise Refused("the disks are full")
        volumes.setdefault(name, {"users": []})
        os.makedirs(ROOT + "/content/" + name, exist_ok=True)
        save(volumes)
        return {}
    if name not in volumes:
        raise Refused("no volume " + name)
    users = volumes[name]["users"]
    if verb == "Mount":
        if asked["ID"] in users:
            raise Refused("mounted twice for " + asked["ID"])
        users.append(asked["ID"])
        os.makedirs(ROOT + "/mounted", exist_ok=True)
        if len(users) == 1:
            os.symlink(ROOT + "/content/" + name, place(name))
    elif verb == "Unmount":
        if asked["ID"] not in users:
            raise Refused("not mounted for " + asked["ID"])
        users.remove(asked["ID"])
        if not users:
            os.unlink(place(name))
    elif verb == "Remove":
        if users:
            raise Refused("in use")
        del volumes[name]
    save(volumes)
    if verb == "Get":
        return {"Volume": shown(volumes, name)}
    return {"Mountpoint": place(name)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method, asked = self.path.strip("/"), json.loads(raw or b"{}") or {}
        try:
            answer = act(method, asked)
        except Refused as why:
            answer = {"Err": str(why)}
        with open(SOCKET + ".log", "a") as log:
            json.dump([method, asked, answer], log)
            log.write("\n")
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "daemon"


# One after another, so that the state has one writer; under its name only once it listens.
server = socketserver.UnixStreamServer(SOCKET + ".new", Handler)
os.rename(SOCKET + ".new", SOCKET)
server.serve_forever()
