#!/bin/sh
# Builds tests/dockerfiles by this builder and by those of Debian: buildah, Docker's legacy builder
# and BuildKit inside dockerd. Compares every file of the images (kind, mode, owner, link, content,
# extended attributes) and their configuration.
#   scripts/differential.sh BINARIES IMAGES RESULT [NAME…]
# Every builder runs in namespaces and directories of its own, which are removed.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "$1" && pwd); images=$(cd "$2" && pwd); result=$3; shift 3
names="$*"
"$here/scripts/deps.sh" test
mkdir -p "$result" && result=$(cd "$result" && pwd)
if ! command -v dockerd >/dev/null; then
  # Unpacked and not installed: the package would start a daemon of the whole machine.
  if ! [ -x "$result/docker/usr/sbin/dockerd" ]; then
    mkdir -p "$result/debs"
    (cd "$result/debs" && apt-get download -qq docker.io containerd)
    for deb in "$result"/debs/*.deb; do dpkg -x "$deb" "$result/docker"; done
  fi
  PATH="$PATH:$result/docker/usr/bin:$result/docker/usr/sbin"
  export PATH
fi
docker20=/usr/local/lib/estiba-test/docker20
[ -x "$docker20" ] || docker20=docker
lab=$(mktemp -d "$result/lab.XXXXXX")
clean() {
  rm -rf --one-file-system "$lab" || { sleep 2; rm -rf --one-file-system "$lab"; }
  # Groups of processes that are gone.
  find /sys/fs/cgroup -depth -type d -path '*/estiba-differential*' -exec rmdir {} + 2>/dev/null || :
}
trap clean EXIT
trap 'exit 1' HUP INT TERM
cp -a "$here/tests/dockerfiles/context" "$lab/context"
ln -s a.txt "$lab/context/l"
tar -C "$lab/context" -cf "$lab/context/packed.tar" dir
# Everything below happens in mount, network and process namespaces of its own.
export here bin images result lab docker20 names
unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
  sh "$here/scripts/differential/run.sh" || status=$?
exit "${status:-0}"
