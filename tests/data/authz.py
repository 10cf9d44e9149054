"""An authorization plugin (docs.docker.com, "Access authorization plugin") on a unix socket.

It refuses containers that ask for privileges, every path with the word "forbidden", and answers
that tell of a container called "secret". Every question is added to SOCKET.log, a line each."""

import base64
import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler


def judge(question, response):
    body = base64.b64decode(question.get("ResponseBody" if response else "RequestBody") or "")
    if response:
        return "secret" not in body.decode("utf-8", "replace"), "the answer is secret"
    if "forbidden" in question["RequestUri"]:
        return False, "the path is forbidden"
    if not question["RequestUri"].split("?")[0].endswith("/containers/create"):
        return True, ""
    try:
        wanted = json.loads(body)
    except ValueError:
        return True, ""
    return not wanted.get("HostConfig", {}).get("Privileged"), "privileged containers are refused"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        question = json.loads(raw or b"{}")
        method = self.path.strip("/")
        answer = {"Implements": ["authz"]}
        if method != "Plugin.Activate":
            allow, why = judge(question, method.endswith("Res"))
            answer = {"Allow": allow, "Msg": "" if allow else why}
            with open(sys.argv[1] + ".log", "a") as log:
                json.dump([method, question, answer], log)
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


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


# It is there under its name only once it listens.
server = Server(sys.argv[1] + ".new", Handler)
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
