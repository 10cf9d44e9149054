#!/bin/sh
# Boots the virtual machine with Debian's systemd as its first process and runs tests/vm/systemd.sh in it, with control
# groups of version 2 and, with the word legacy, with those of version 1.
#   scripts/vm-systemd.sh BIN IMAGES WORK [legacy]
set -eu
bin=$1 images=$2 work=$3
mkdir -p "$work"
work=$(cd "$work" && pwd)
if [ ! -s "$work/systemd.tar" ]; then
  mmdebstrap --quiet --variant=minbase --include=systemd-sysv,dbus,kmod,iproute2,nftables --aptopt='Acquire::Retries "5"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --format=tar bookworm "$work/systemd.tar.part"
  mv "$work/systemd.tar.part" "$work/systemd.tar"
fi
rm -rf "$work/payload-systemd"
mkdir -p "$work/payload-systemd"
cp "$bin/estiba" "$bin/estiba-runtime" "$images/busybox.tar" tests/vm/checks.sh tests/vm/systemd.sh "$work/payload-systemd/"
export VM_ROOTFS="$work/systemd.tar" VM_DISK="${VM_DISK:-2G}"
[ "${4:-}" != legacy ] ||
  export VM_KERNEL="systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 cgroup_enable=memory"
exec scripts/vm.sh "$work" "$work/payload-systemd" 'sh /payload/systemd.sh'
