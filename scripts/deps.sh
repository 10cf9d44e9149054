#!/bin/sh
# Installs what building and testing need on Debian 12 and later; does nothing when all is there.
#   scripts/deps.sh build | test | vm | drivers
# Rust itself comes from rustup (https://rustup.rs) and is only checked for.
set -eu
build="gcc make"
run="iproute2 nftables busybox-static mmdebstrap ca-certificates curl util-linux procps"
case "${1:-build}" in
build) want="$build $run" ;;
test) want="$build $run e2fsprogs xfsprogs git openssh-client libwrap0 iptables apache2-utils openssl skopeo python3 python3-venv strace runc crun libseccomp2 python3-seccomp podman buildah umoci docker-registry xz-utils zstd iputils-ping libcap2-bin uidmap passt slirp4netns" ;;
vm) want="qemu-system-x86 cpio zstd iptables nftables iproute2 apparmor uidmap mmdebstrap e2fsprogs xfsprogs" ;;
drivers) want="$run podman buildah conmon catatonit tini crun runc" ;;
*) echo "usage: scripts/deps.sh build|test|vm|drivers" >&2; exit 2 ;;
esac
missing=""
for package in $want; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "installing:$missing"
  if [ "$(id -u)" != 0 ]; then echo "run as root, or install these yourself" >&2; exit 1; fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
# The last command line of Docker's that speaks BuildKit without plugins, beside the one installed.
docker20=/usr/local/lib/estiba-test/docker20
if [ "${1:-build}" = test ] && [ ! -x "$docker20" ]; then
  fetched=$(mktemp -d)
  chmod 755 "$fetched"
  if (cd "$fetched" && apt-get download -qq docker.io && dpkg-deb -x docker.io_*.deb . &&
    install -D -m 755 usr/bin/docker "$docker20"); then :; else
    echo "docker.io cannot be fetched; its tests are skipped" >&2
  fi
  rm -rf "$fetched"
fi
# A server of ssh, of which only the program is wanted: installed as a package it would serve the host.
sshd=/usr/local/lib/estiba-test/sshd
if [ "${1:-build}" = test ] && [ ! -x "$sshd" ]; then
  fetched=$(mktemp -d)
  chmod 755 "$fetched"
  if (cd "$fetched" && apt-get download -qq openssh-server && dpkg-deb -x openssh-server_*.deb . &&
    install -D -m 755 usr/sbin/sshd "$sshd"); then :; else
    echo "openssh-server cannot be fetched; its tests are skipped" >&2
  fi
  rm -rf "$fetched"
fi
if ! command -v cargo >/dev/null 2>&1; then
  echo "cargo is missing: install Rust 1.95 or later with rustup, https://rustup.rs" >&2
  exit 1
fi
