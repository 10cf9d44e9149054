#!/bin/sh
# Boots the virtual machine with the two programs and runs tests/vm/*.sh in it.
#   scripts/vm-test.sh BIN IMAGES WORK [PART]...
set -eu
bin=$1 images=$2 work=$3
shift 3
[ $# -gt 0 ] || set -- core groups apparmor rootless quotas firewall links
rm -rf "$work/payload"
mkdir -p "$work/payload/tools/usr/sbin"
cp "$bin/estiba" "$bin/estiba-runtime" "$images/busybox.tar" tests/vm/*.sh "$work/payload/"
# The host's own tools, with what they load; the machine's root is busybox alone.
for tool in /usr/sbin/nft /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi /sbin/ip /usr/sbin/apparmor_parser \
  /usr/bin/setpriv /usr/bin/newuidmap /usr/bin/newgidmap /usr/sbin/mkfs.ext4 \
  /usr/sbin/mkfs.xfs; do
  cp -L "$tool" "$work/payload/tools/usr/sbin/"
  for library in $(ldd "$tool" | grep -o '/[^ ]*'); do
    mkdir -p "$work/payload/tools$(dirname "$library")"
    cp -L "$library" "$work/payload/tools$library"
  done
done
extensions=$(dirname "$(ldconfig -p | sed -n 's/.*libxtables.*=> //p' | head -n 1)")/xtables
mkdir -p "$work/payload/tools/usr/lib/x86_64-linux-gnu"
cp -r "/usr$extensions" "$work/payload/tools/usr/lib/x86_64-linux-gnu/" 2>/dev/null ||
  cp -r "$extensions" "$work/payload/tools/usr/lib/x86_64-linux-gnu/"
# One boot for all of them, which may take its time beside others.
export VM_TIMEOUT="${VM_TIMEOUT:-1500}"
exec scripts/vm.sh "$work" "$work/payload" \
  "failed=0; for part in $*; do sh /payload/\$part.sh || failed=1; done; [ \$failed = 0 ]"
