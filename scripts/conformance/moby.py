"""Runs moby's compiled integration tests one by one and writes what they say as a JUnit report.

Arguments: packages below integration/, each optionally with `:REGEXP` for its tests. A test has a process
and a time limit of its own, so that one that hangs or panics costs only itself."""

import glob
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

LAB, MOBY, WORK = (os.environ[name] for name in ("MOBY_LAB", "MOBY_DIR", "MOBY_WORK"))
LIMIT_SECONDS = int(os.environ.get("ESTIBA_MOBY_LIMIT", "180"))
# Of other systems, or of what this engine has not: a cluster, checkpoints by criu.
LEFT_OUT = re.compile(r"Swarm|Service|Checkpoint|Windows|Ingress|Overlay(?!fs)|LiveRestoreOrphan")
OUTCOME = re.compile(r"^(\s*)--- (PASS|FAIL|SKIP): (\S+)")
TURN = re.compile(r"^=== (?:RUN|CONT|NAME)\s+(\S+)")
MESSAGE = re.compile(r"^\s+\S+\.go:\d+: (.*)")
TELLING = re.compile(r"assertion failed|timeout|rror|xpected|panic|should")


def environment():
    return {
        # Some look for their data two directories above.
        "DEST": LAB + "/bundle/dest",
        "DOCKER_INTEGRATION_DAEMON_DEST": LAB + "/bundle/dest",
        "DOCKER_HOST": "unix:///var/run/docker.sock",
        "HOME": LAB + "/home",
        "PATH": os.environ["PATH"],
        "GOTRACEBACK": "all",
        **{k: v for k, v in os.environ.items() if k.startswith("DOCKER_") or k.startswith("TEST_")},
    }


def starts_daemons(where):
    """The tests of a directory that start daemons of their own, by themselves or by what they call."""
    bodies = {}
    for file in glob.glob(where + "/*_test.go"):
        with open(file, encoding="utf-8") as text:
            for function in re.finditer(r"^func (\w+)\(.*?^}", text.read(), re.M | re.S):
                bodies[function.group(1)] = function.group(0)
    found = {name for name, body in bodies.items() if re.search(r"\bdaemon\.New(Daemon)?\(", body)}
    while True:
        calls = re.compile(r"\b(" + "|".join(sorted(found) or ["!"]) + r")\(")
        more = {name for name, body in bodies.items() if name not in found and calls.search(body)}
        if not more:
            return found
        found |= more


# Two daemons in one network would share a bridge and fight over its rules: whoever starts one gets a
# network of its own, with an interface, and behind it somebody who answers on port 80.
ALONE = ["unshare", "--net", "sh", "-c", """
ip link set lo up
ip link add eth0 type veth peer name wire0
ip addr add 10.255.0.2/24 dev eth0
ip link set eth0 up
ip link set wire0 up
python3 -m http.server --bind 10.255.0.2 80 >/dev/null 2>&1 &
web=$!
until ss -Hltn src 10.255.0.2:80 | grep -q .; do sleep 0.05; done
"$0" "$@"
status=$?
kill $web
exit $status
"""]


def run(binary, where, name, log, alone):
    """The outcomes of one test and its parts: {name: (outcome, reason)}."""
    command = [binary, "-test.v", f"-test.run=^{name}$", f"-test.timeout={LIMIT_SECONDS}s"]
    command = (ALONE if alone else []) + command
    try:
        done = subprocess.run(
            command, cwd=where, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=LIMIT_SECONDS + 20, check=False)
        text, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as error:
        text, code = (error.stdout or b"").decode(errors="replace") + "\npanic: hangs\n", 1
    log.write(f"##### {name}\n{text}\n")
    log.flush()
    return outcomes(text, name, code)


def outcomes(text, name, code):
    now, said, found = name, {}, {}
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if turn := TURN.match(line):
            now = turn.group(1)
        elif outcome := OUTCOME.match(line):
            found[outcome.group(3)] = outcome.group(2)
            now = outcome.group(3)
        elif line.startswith("panic: "):
            said.setdefault(now, []).append(line)
        elif message := MESSAGE.match(line):
            said.setdefault(now, []).append(message.group(1) + difference(lines[at + 1:at + 30]))
    if name not in found:
        found[name] = "PASS" if code == 0 else "FAIL"
    return {test: (what, reason(said.get(test, []))) for test, what in found.items()
            if counted(test, what, found)}


def difference(lines):
    """What an assertion that compares prints below itself: the lines with + and -."""
    found = [line.strip() for line in lines if re.match(r"^\s+[+-](?!--)", line)]
    return " " + " ".join(found[:4]) if found and not MESSAGE.match(lines[0]) else ""


def counted(test, what, found):
    """Parts count and not their sum, unless the whole failed by itself."""
    parts = [other for other in found if other.startswith(test + "/")]
    return not parts or (what == "FAIL" and all(found[part] != "FAIL" for part in parts))


def reason(messages):
    telling = [message for message in messages if TELLING.search(message)]
    return (telling or messages[-1:] or ["says nothing"])[0]


def tests(binary, where, wanted):
    listed = subprocess.run([binary, "-test.list", wanted or "."], cwd=where, env=environment(),
                            capture_output=True, text=True, check=False).stdout
    return [name for name in listed.split() if re.match("Test[A-Z]", name) and not LEFT_OUT.search(name)]


def main(packages):
    os.makedirs(WORK + "/moby-logs", exist_ok=True)
    os.makedirs(LAB + "/bundle/dest", exist_ok=True)
    os.symlink(MOBY + "/integration", LAB + "/integration")
    suite = ET.Element("testsuite", name="moby")
    for package in packages:
        package, _, wanted = package.partition(":")
        binary = f"{WORK}/moby-tests/{package.replace('/', '_')}.test"
        where = f"{MOBY}/integration/{package}"
        daemons = starts_daemons(where)
        with open(f"{WORK}/moby-logs/{package.replace('/', '_')}.log", "w", encoding="utf-8") as log:
            for name in tests(binary, where, wanted):
                for test, (what, why) in run(binary, where, name, log, name in daemons).items():
                    case = ET.SubElement(suite, "testcase", classname=package, name=test)
                    if what == "FAIL":
                        ET.SubElement(case, "failure", message=why)
                    elif what == "SKIP":
                        ET.SubElement(case, "skipped", message=why)
                    print(f"{package} {test}: {what}" + (f": {why}" if what != "PASS" else ""),
                          file=sys.stderr, flush=True)
        ET.ElementTree(suite).write(WORK + "/moby.xml")


main(sys.argv[1:])
