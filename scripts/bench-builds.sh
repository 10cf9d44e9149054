#!/bin/sh
# What builds cost, as ratios in one run: see bench/builds.py.
#   scripts/bench-builds.sh BIN IMAGES WORK [PEER]
# WORK: a directory on a real disk. PEER: a search path (directories with colons between) with dockerd, containerd, runc,
# docker-proxy and docker-buildx: BuildKit, measured beside ours.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "the benchmark needs root" >&2; exit 1; }
[ $# -lt 4 ] || command -v docker >/dev/null || { echo "the peer needs docker's command line" >&2; exit 1; }
mkdir -p "$3"
exec python3 -B "$here/bench/builds.py" "$@"
