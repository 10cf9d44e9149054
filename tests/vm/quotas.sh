#!/bin/sh
# Bounds of disk space, inside the virtual machine, whose kernel has project quotas: what a container writes to its root
# and what a volume holds stays within its size on ext4 and xfs, for everybody, and nobody else is bounded.
export DOCKER_HOST=unix:///run/quotas.sock PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
. /payload/checks.sh
tools
modules loop xfs quota_v2
writes() { # MEBIBYTES OPTION…: whether a container can write so much to its root, or to /v
  mib=$1
  shift
  case " $* " in *:/v\ *) at=/v/file ;; *) at=/file ;; esac
  estiba run --rm --network none "$@" busybox \
    sh -c "dd if=/dev/zero of=$at bs=1048576 count=$mib 2>/dev/null && sync && echo fits || echo full"
}
mkdir -p /var/lib/quotas
for kind in ext4 xfs; do
  truncate -s 320M /var/disk
  case $kind in
  ext4) mkfs.ext4 -q -F -O quota,project -E quotatype=prjquota /var/disk ;;
  xfs) mkfs.xfs -q -f /var/disk ;;
  esac
  is $kind-mounted '' mount -t $kind -o loop,prjquota /var/disk /var/lib/quotas
  begin
  import >/dev/null
  is $kind-root-beyond full writes 16 --storage-opt size=8m
  is $kind-root-within fits writes 4 --storage-opt size=8m
  is $kind-root-of-nobody fits writes 16
  is $kind-root-privileged full writes 16 --privileged --storage-opt size=8m
  estiba volume create -o size=8m sized >/dev/null
  estiba volume create free >/dev/null
  is $kind-volume-beyond full writes 16 -v sized:/v
  is $kind-volume-of-nobody fits writes 16 -v free:/v
  is $kind-volume-emptied '' estiba run --rm --network none -v sized:/v busybox rm /v/file
  is $kind-volume-within fits writes 4 -v sized:/v
  # A copy has the same bound, and one of its own.
  is $kind-volume-copied second estiba volume cp sized second
  is $kind-copy-within fits writes 6 -v second:/v
  is $kind-copy-beyond full writes 9 -v second:/v
  is $kind-first-within fits writes 6 -v sized:/v
  estiba volume rm sized second free >/dev/null
  finish
  begin --storage-opt overlay2.size=8m
  is $kind-daemon-beyond full writes 16
  is $kind-daemon-larger fits writes 16 --storage-opt size=32m
  finish
  is $kind-unmounted '' umount /var/lib/quotas
  rm /var/disk
done
summary quotas
