#!/bin/sh
# OCI runtimes side by side with the kernel's floor: see bench/runtime.py. crun refuses hosts with controllers in a
# v2 tree beside v1, so that tree is out of sight for all of them.
#   scripts/bench-runtime.sh BUSYBOX_TAR RUNTIME...
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "the benchmark needs root" >&2; exit 1; }
# shellcheck disable=SC2016
exec unshare --net --mount --propagation private sh -c \
  'ip link set lo up; umount /sys/fs/cgroup/unified 2>/dev/null || true; exec python3 "$@"' bench "$here/bench/runtime.py" "$@"
