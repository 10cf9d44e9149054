#!/bin/sh
# Boots the virtual machine with SELinux, permissive, under Debian's own policy, and runs tests/vm/selinux.sh and
# tests/vm/selinux-daemon.sh in it.
#   scripts/vm-selinux.sh BIN IMAGES WORK
set -eu
bin=$1 images=$2 work=$3
mkdir -p "$work"
work=$(cd "$work" && pwd)
# The policy is compiled when its package is installed: of that root only the one file is wanted.
if [ ! -s "$work/policy" ]; then
  mmdebstrap --quiet --variant=minbase --include=selinux-policy-default,policycoreutils --format=tar \
    --aptopt='Acquire::Retries "5"' bookworm "$work/policy.tar"
  name=$(tar -tf "$work/policy.tar" | grep 'etc/selinux/default/policy/policy\.' | tail -n 1)
  tar -xOf "$work/policy.tar" "$name" >"$work/policy.part"
  mv "$work/policy.part" "$work/policy"
  rm "$work/policy.tar"
fi
rm -rf "$work/payload-selinux"
mkdir -p "$work/payload-selinux"
cp "$bin/estiba" "$bin/estiba-runtime" "$images/busybox.tar" "$work/policy" tests/vm/checks.sh \
  tests/vm/selinux.sh tests/vm/selinux-daemon.sh "$work/payload-selinux/"
# busybox's ls shows no labels.
mkdir "$work/payload-selinux/tools"
# shellcheck disable=SC2046
cp -L /bin/ls $(ldd /bin/ls | grep -o '/[^ ]*') "$work/payload-selinux/tools/"
export VM_MODULE=selinux VM_KERNEL="cgroup_no_v1=all enforcing=0"
exec scripts/vm.sh "$work" "$work/payload-selinux" \
  'sh /payload/selinux.sh; first=$?; sh /payload/selinux-daemon.sh && (exit $first)'
