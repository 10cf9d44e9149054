#!/usr/bin/env python3
"""Compares images that several builders made of one Dockerfile, and sums the comparisons up.

compare.py DIRECTORY NAME RESULT BUILDER…   archives as `docker save` writes them
compare.py --sum RESULT                     a table of all comparisons, as markdown
"""
import hashlib
import json
import os
import re
import sys
import tarfile

# What may differ, with the reason: Dockerfile, builder, pattern of the line that says so, why.
KNOWN = [
    (".*", ".*", r"^config (Image|Hostname|Domainname|Attach\w+|Tty|OpenStdin|StdinOnce|MacAddress|"
     r"NetworkDisabled|ArgsEscaped)\b", "fields of Docker's old containers, without meaning"),
    (".*", "buildah", r"^config Labels .*io\.buildah\.version", "buildah labels what it makes"),
    ("from-scratch", "buildah", r"^config Env ", "buildah adds no PATH of its own to images that have none"),
    (".*", ".*",
     r"^\+? ?(etc/(resolv\.conf|hosts|hostname|mtab)|dev|proc|sys|run|\.dockerenv)(/|\b)",
     "mount points that a builder leaves behind"),
    ("run-bind|run-cache", "buildkit", r"^\+ (ctx|c) \(dir\)",
     "mount points of a step that BuildKit of that time leaves behind; newer ones remove them"),
    (".*", "legacy", r"^~ .*owner", "the legacy builder cannot give owners to links"),
    (".*", "buildah", r"^~ .*mode .*(fifo|link)", "buildah sets no modes of links"),
    ("volume|debian-.*", "buildah", r"^\+ .* \(dir\)", "buildah makes the directories of volumes"),
    ("expose", "buildah", r"^config ExposedPorts", "buildah does not expand ranges of ports"),
    ("from-scratch", "legacy|buildah", r"^config WorkingDir",
     "BuildKit, and we, write the default working directory down"),
    ("shell", "buildah", r"^config Cmd", "buildah does not run CMD by the SHELL that was set"),
    ("ignore", "legacy", r"^~ all/\.dockerignore file content",
     "Docker's client adds its temporary Dockerfile to the .dockerignore that it sends"),
    ("debian-odd-files", "buildkit|legacy", r"^~ odd/hole file xattrs",
     "Docker keeps no attribute of files but their capabilities"),
    ("debian-odd-files", "buildah", r"^~ odd/(first|with space/third) file content",
     "buildah's overlay keeps hard links together that lie in a layer below; Docker's does not"),
    ("escape", "buildah", r"^config Env ", "buildah takes backslashes for escapes whatever the directive says"),
    ("proxy", "buildkit", r"^~ p file content", "ALL_PROXY is predefined since BuildKit 0.11"),
]


def flatten(path):
    """The file system of an image, and its configuration."""
    with tarfile.open(path) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        config = json.load(archive.extractfile(manifest["Config"]))
        tree = {}
        for layer in manifest["Layers"]:
            member = archive.getmember(layer)
            while member.issym():
                member = archive.getmember(os.path.normpath(os.path.join(os.path.dirname(layer), member.linkname)))
            with tarfile.open(fileobj=archive.extractfile(member), mode="r:*") as files:
                apply(tree, files)
    return tree, config


def apply(tree, files):
    gone, fresh = [], {}
    for entry in files:
        name = os.path.normpath(entry.name).lstrip("/")
        base, parent = os.path.basename(name), os.path.dirname(name)
        if base == ".wh..wh..opq":
            gone.append(parent + "/")
        elif base.startswith(".wh."):
            path = os.path.join(parent, base[4:])
            gone += [path, path + "/"]
        elif name != ".":
            fresh[name] = describe(entry, files, tree, fresh)
    for path in gone:
        for known in [it for it in tree if it == path or (path.endswith("/") and it.startswith(path))]:
            del tree[known]
    for name, entry in fresh.items():
        if entry["kind"] != "dir":
            for known in [it for it in tree if it.startswith(name + "/")]:
                del tree[known]
        tree[name] = entry


def describe(entry, files, tree, fresh):
    kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "fifo"}
    xattrs = {k: v for k, v in entry.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    shown = {
        "kind": kinds.get(entry.type, "file"),
        "mode": oct(entry.mode & 0o7777),
        "owner": f"{entry.uid}:{entry.gid}",
        "xattrs": json.dumps(xattrs, sort_keys=True),
        "content": "",
    }
    if entry.issym():
        shown["content"] = entry.linkname
        shown["mode"] = "-"
    elif entry.islnk():
        target = os.path.normpath(entry.linkname).lstrip("/")
        other = fresh.get(target) or tree.get(target) or {}
        shown["content"] = other.get("content", "?")
    elif entry.isreg():
        shown["content"] = hashlib.sha256(files.extractfile(entry).read()).hexdigest()[:16]
    return shown


def differences(ours, theirs):
    (tree, config), (other, other_config) = ours, theirs
    for path in sorted(set(tree) | set(other)):
        left, right = tree.get(path), other.get(path)
        if left is None:
            yield f"+ {path} ({right['kind']})"
        elif right is None:
            yield f"- {path} ({left['kind']})"
        else:
            for key in left:
                if left[key] != right[key]:
                    yield f"~ {path} {left['kind']} {key} {left[key]} -> {right[key]}"
    left, right = config.get("config") or {}, other_config.get("config") or {}
    for key in sorted(set(left) | set(right)):
        a, b = left.get(key), right.get(key)
        if (a or None) != (b or None):
            yield f"config {key} {json.dumps(a, sort_keys=True)} -> {json.dumps(b, sort_keys=True)}"
    for key in ("os", "architecture"):
        if config.get(key) != other_config.get(key):
            yield f"config {key} {config.get(key)} -> {other_config.get(key)}"


def reason(name, builder, line):
    bare = re.sub(r"^[-+~] ", "", line)
    for file, who, pattern, why in KNOWN:
        if re.fullmatch(file, name) and re.fullmatch(who, builder) and (re.search(pattern, line) or re.search(pattern, bare)):
            return why
    return None


def compare(directory, name, result, builders):
    if "ours" not in builders:
        return  # It is asked about, not built.
    report = {"name": name, "builders": {}}
    base = os.path.join(directory, f"{name}.ours.tar")
    if not os.path.exists(base):
        report["failed"] = open(os.path.join(directory, f"{name}.ours.log")).read()[-2000:] if os.path.exists(os.path.join(directory, f"{name}.ours.log")) else "not built"
    ours = flatten(base) if os.path.exists(base) else None
    for builder in builders:
        if builder in ("ours", "plan"):
            continue
        path = os.path.join(directory, f"{name}.{builder}.tar")
        if not os.path.exists(path):
            log = os.path.join(directory, f"{name}.{builder}.log")
            text = open(log).read()[-2000:] if os.path.exists(log) else "not run"
            report["builders"][builder] = {"missing": text}
        elif ours:
            found = list(differences(ours, flatten(path)))
            report["builders"][builder] = {
                "known": sorted({reason(name, builder, it) for it in found if reason(name, builder, it)}),
                "unknown": [it for it in found if not reason(name, builder, it)],
            }
    with open(os.path.join(result, f"{name}.json"), "w") as out:
        json.dump(report, out, indent=1)


def summary(result):
    same = other = missing = failed = 0
    print("| Dockerfile | builder | differences |\n|---|---|---|")
    reasons = {}
    for file in sorted(os.listdir(result)):
        if not file.endswith(".json"):
            continue
        report = json.load(open(os.path.join(result, file)))
        if report.get("failed"):
            failed += 1
            print(f"| {report['name']} | ours | FAILED: {report['failed'].strip().splitlines()[-1][:160]} |")
        for builder, found in report["builders"].items():
            if "missing" in found:
                missing += 1
                # The last line says why.
                last = (found["missing"].strip().splitlines() or [""])[-1]
                print(f"| {report['name']} | {builder} | does not build it: {last[:120]} |")
                continue
            for why in found["known"]:
                reasons[(builder, why)] = reasons.get((builder, why), 0) + 1
            if found["unknown"]:
                other += 1
                print(f"| {report['name']} | {builder} | " + "<br>".join(found["unknown"][:6]) + " |")
            else:
                same += 1
    print(f"\n{same} comparisons the same, {other} with differences, {missing} not built by the other "
          f"builder, {failed} not built by ours")
    for (builder, why), count in sorted(reasons.items()):
        print(f"- {builder}: {why} ({count})")
    return 1 if failed or other else 0


if sys.argv[1] == "--sum":
    sys.exit(summary(sys.argv[2]))
compare(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
