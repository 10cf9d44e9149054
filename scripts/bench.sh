#!/bin/sh
# Ratios against the kernel's floor, in one run: see bench/bench.py.
#   scripts/bench.sh BIN IMAGES
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "the benchmark needs root" >&2; exit 1; }
[ -e /usr/include/seccomp.h ] || apt-get install -y -qq --no-install-recommends libseccomp-dev >/dev/null
exec unshare --net --mount --propagation private sh -c 'ip link set lo up; exec python3 "$@"' bench "$here/bench/bench.py" "$1" "$2"
