#!/bin/sh
# What networks cost, as ratios in one run: see bench/net.py.
#   scripts/bench-net.sh BIN IMAGES WORK [PEER]
# PEER: a search path with Docker's engine (dockerd, containerd, runc, docker-proxy), measured beside ours.
# Debian's dnsmasq is unpacked into WORK where it is not installed.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "the benchmark needs root" >&2; exit 1; }
mkdir -p "$3"
if ! command -v dnsmasq >/dev/null && [ ! -e "$3/root/usr/sbin/dnsmasq" ]; then
  (cd "$3" && apt-get download -qq dnsmasq-base 2>/dev/null && dpkg-deb -x dnsmasq-base_*.deb root)
fi
exec unshare --net --mount --propagation private python3 -B "$here/bench/net.py" "$@"
