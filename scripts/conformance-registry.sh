#!/bin/bash
# The OCI distribution specification's own conformance suite against our registry.
#   scripts/conformance-registry.sh BIN_DIR WORK_DIR
# The suite is a Go program: built with `go install` where Go 1.24 and a module proxy are at hand, or
# taken from CONFORMANCE_SUITE, the path of a built one. Writes WORK_DIR/registry.md and fails when
# a test of the suite does.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,7p' "$0"; exit 2; }
bin=$(cd "$1" && pwd)
mkdir -p "$2" && work=$(cd "$2" && pwd)
port=${PORT:-5907}
suite=${CONFORMANCE_SUITE:-$work/go/conformance}
if [ ! -x "$suite" ]; then
  command -v go >/dev/null || { echo "install Go 1.24 or set CONFORMANCE_SUITE" >&2; exit 1; }
  GOBIN=$work/go go install github.com/opencontainers/distribution-spec/conformance@main
fi
rm -rf "$work/root" "$work/results"
"$bin/estiba" registry serve --root "$work/root" --listen "127.0.0.1:$port" >"$work/log" 2>&1 &
registry=$!
trap 'kill $registry 2>/dev/null; wait $registry 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  curl -sf -o /dev/null "http://127.0.0.1:$port/healthz" && break
  kill -0 $registry || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
outcome=0
OCI_REGISTRY=127.0.0.1:$port OCI_TLS=disabled OCI_REPO1=suite/one OCI_REPO2=suite/two \
  OCI_API_BLOBS_UPLOAD_CANCEL=true OCI_RESULTS_DIR=$work/results \
  "$suite" >"$work/output" 2>&1 || outcome=$?
{
  printf '\n## OCI distribution conformance (registry)\n\n| part | outcome |\n|---|---|\n'
  sed -n '/^API conformance:/,$p' "$work/output" |
    sed -n 's/^  \([A-Za-z].*[a-z0-9)]\)\.\.*: *\([A-Za-z]*\)$/| \1 | \2 |/p'
  printf '\n'
  sed -n 's/^  \(Pass\|Failed\|FAIL\|Skip\|Disabled\|Error\|Total\)[^:]*: *\([0-9]*\)$/\1: \2/p' \
    "$work/output" | paste -sd, | sed 's/,/, /g'
} >"$work/registry.md"
cat "$work/registry.md"
exit $outcome
