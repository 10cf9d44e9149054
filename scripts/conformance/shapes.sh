#!/bin/bash
# Answers of this engine beside those of Docker's own, in several versions of the API: fields and the kinds of their
# values, statuses, headers, and what is said when something is refused. Each engine has namespaces of its own.
#   scripts/conformance/shapes.sh BIN_DIR IMAGES_DIR WORK_DIR DOCKERD [VERSION...]
# DOCKERD is a dockerd with containerd, runc and docker-proxy in its directory or in PATH.
set -euo pipefail
[ $# -ge 4 ] || { sed -n '2,6p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd) images=$(cd "$2" && pwd) dockerd=$4
mkdir -p "$3" && work=$(cd "$3" && pwd)/shapes.$$
shift 4
mkdir -p "$work"
export work bin dockerd
# The last process of a namespace takes the others with it.
apart() { unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private bash -c "$1" & }
finish() {
  # unshare(1) waits for its child whatever it is told; killed, it takes the child along.
  kill -KILL $(jobs -p) 2>/dev/null || true
  wait 2>/dev/null || true
  find /sys/fs/cgroup -depth -type d -path "*/shapes-$$*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
export group=shapes-$$
apart 'ip link set lo up; mount -t tmpfs tmpfs /run; mkdir -p /run/docker/containerd
  PATH=$(dirname "$dockerd"):$PATH
  containerd --root "$work/containerd" --state /run/containerd --address /run/docker/containerd/containerd.sock &
  exec "$dockerd" --containerd /run/docker/containerd/containerd.sock --data-root "$work/docker" --exec-root /run/docker \
    --cgroup-parent "/$group" --exec-opt native.cgroupdriver=cgroupfs --config-file /dev/null --pidfile /run/pid \
    -H "unix://$work/docker.sock"' >"$work/docker.log" 2>&1
apart 'ip link set lo up; mount -t tmpfs tmpfs /run
  exec "$bin/estiba" daemon --data-root "$work/data" --exec-root /run/estiba --pidfile /run/pid --config-file /dev/null \
    --cgroup-parent "/$group-ours" -H "unix://$work/ours.sock"' >"$work/ours.log" 2>&1
for _ in $(seq 300); do
  ready=yes
  for socket in docker ours; do
    curl -sf --unix-socket "$work/$socket.sock" http://x/_ping >/dev/null || ready=
  done
  [ -z "$ready" ] || break
  sleep 0.2
done
[ -n "$ready" ] || { tail -20 "$work"/*.log >&2; exit 1; }
python3 "$here/shapes.py" "$work/docker.sock" "$work/ours.sock" "$images/busybox.tar" "$@"
