#!/bin/sh
# Boots the virtual machine with the two programs and runs tests/vm/core.sh in it.
#   scripts/vm-test.sh BIN IMAGES WORK
set -eu
bin=$1 images=$2 work=$3
mkdir -p "$work/payload"
cp "$bin/estiba" "$bin/estiba-runtime" "$images/busybox.tar" tests/vm/core.sh "$work/payload/"
exec scripts/vm.sh "$work" "$work/payload" sh /payload/core.sh
