"""One table from a JUnit report: tests by module, and the ones that did not pass by name."""

import sys
import xml.etree.ElementTree as ET

name, path = sys.argv[1:]
modules, missed = {}, []
for case in ET.parse(path).getroot().iter("testcase"):
    module = case.get("classname").removeprefix("tests.integration.").split(".")[0]
    counts = modules.setdefault(module, {"passed": 0, "failed": 0, "skipped": 0})
    bad = case.find("failure") if case.find("failure") is not None else case.find("error")
    if bad is not None:
        counts["failed"] += 1
        why = (bad.get("message") or "").splitlines()[0] if bad.get("message") else ""
        missed.append((module, case.get("name"), why[:160].strip().replace("|", "\\|")))
    elif case.find("skipped") is not None:
        counts["skipped"] += 1
    else:
        counts["passed"] += 1

print(f"\n## {name}\n\n| module | passed | failed | skipped |\n|---|---|---|---|")
for module, counts in sorted(modules.items()):
    print(f"| {module} | {counts['passed']} | {counts['failed']} | {counts['skipped']} |")
total = {key: sum(counts[key] for counts in modules.values()) for key in ("passed", "failed", "skipped")}
print(f"| **all** | {total['passed']} | {total['failed']} | {total['skipped']} |")
if missed:
    print("\nNot passed:\n")
    for module, case, why in missed:
        print(f"- `{module}::{case}`: {why}")
