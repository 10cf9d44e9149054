#!/bin/sh
# Creates, starts, executes in, and deletes containers by the OCI command line many times over and looks for what stays
# behind: mounts, control groups, namespaces, processes, open files, state, and memory of the kernel's for control groups. Every
# tenth container is killed while it runs, every tenth has an exec, every tenth is deleted before it was started, and
# every tenth create fails on the way.
#   scripts/cycles-oci.sh RUNTIME IMAGES [COUNT]
set -eu
runtime=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
images=$(cd "$2" && pwd)
count=${3:-10000}
if [ "${ESTIBA_CYCLES_INSIDE:-}" = "" ]; then
  [ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }
  ESTIBA_CYCLES_INSIDE=yes exec unshare --net --mount --propagation private "$0" "$runtime" "$images" "$count"
fi
lab=$(mktemp -d /tmp/estiba-oci-cycles.XXXXXX)
group=$(basename "$lab")
run="$runtime --root $lab/state"
clean() {
  status=$?
  trap - EXIT INT TERM
  for id in $($run list -q 2>/dev/null); do $run delete --force "$id" || true; done
  for tree in /sys/fs/cgroup/*/"$group" /sys/fs/cgroup/"$group"; do rmdir "$tree" 2>/dev/null || true; done
  if [ $status = 0 ]; then rm -rf "$lab"; else echo "files are in $lab" >&2; fi
  exit $status
}
trap clean EXIT INT TERM
mkdir -p "$lab/bundle/rootfs" "$lab/broken" "$lab/state"
tar -C "$lab/bundle/rootfs" -xf "$images/busybox.tar"
$run spec --bundle "$lab/bundle"
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000"/; s#"linux": {#"linux": {"cgroupsPath": "/'"$group"'/one",#' \
  "$lab/bundle/config.json"
sed 's#"sleep"#"/none/such"#; s#"rootfs"#"'"$lab"'/bundle/rootfs"#' "$lab/bundle/config.json" >"$lab/broken/config.json"
sed 's#"sleep", "1000"#"true"#' "$lab/bundle/config.json" >"$lab/bundle/true.json"
mv "$lab/bundle/config.json" "$lab/bundle/sleep.json"

# What could stay behind, one number a line. Namespaces are those of processes that are ours.
look() {
  echo "mounts $(grep -c "$lab" /proc/self/mountinfo || true)"
  echo "groups $(find /sys/fs/cgroup -path "*/$group/*" -type d 2>/dev/null | wc -l)"
  echo "states $(find "$lab/state" -mindepth 1 | wc -l)"
  echo "processes $(pgrep -c -f -- "--root $lab/state" || true)"
  echo "namespaces $(find /proc/[0-9]*/cgroup 2>/dev/null | xargs grep -l "$group" 2>/dev/null | wc -l)"
}
create() { # DOCUMENT
  cp "$lab/bundle/$1.json" "$lab/bundle/config.json"
  $run create --bundle "$lab/bundle" --pid-file "$lab/pid" one </dev/null >/dev/null 2>"$lab/said"
}
cycle() {
  case $(($1 % 10)) in
  1) # never started
    create sleep
    $run delete one
    ;;
  3)
    create sleep
    $run start one
    $run exec one true </dev/null
    $run delete --force one
    ;;
  5) # fails on the way
    if $run create --bundle "$lab/broken" bad </dev/null >/dev/null 2>&1; then
      echo "what cannot be created was" >&2
      exit 1
    fi
    ;;
  7)
    create sleep
    $run start one
    $run kill one KILL
    ended "$(cat "$lab/pid")"
    $run delete one
    ;;
  *)
    create true
    $run start one
    ended "$(cat "$lab/pid")"
    $run delete one
    ;;
  esac
}
ended() { # PID: it is gone, or nobody has asked for its status yet
  while [ -d "/proc/$1" ] && ! grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null; do sleep 0.01; done
}
# Memory that the kernel keeps for what is gone comes back on demand.
memory() {
  sync
  echo 2 >/proc/sys/vm/drop_caches 2>/dev/null || true
  awk '/^SUnreclaim:/ {print $2}' /proc/meminfo
}
# Open files of the whole machine, whoever has them: a descriptor kept for each container would be thousands.
files() {
  cut -f 1 /proc/sys/fs/file-nr
}
n=0
while [ $n -lt 100 ]; do cycle $n; n=$((n + 1)); done
for _ in $(seq 100); do # the last one may still be on its way out
  look >"$lab/before"
  grep -q '^namespaces 0$' "$lab/before" && break
  sleep 0.1
done
before=$(memory) open=$(files)
while [ $n -lt $((100 + count)) ]; do
  cycle $n
  n=$((n + 1))
  [ $((n % 1000)) != 0 ] || echo "$n cycles, the kernel's own memory $(memory) kB"
done
for _ in $(seq 100); do
  look >"$lab/after"
  cmp -s "$lab/before" "$lab/after" && break
  sleep 0.1
done
if ! cmp -s "$lab/before" "$lab/after"; then
  diff "$lab/before" "$lab/after" >&2 || true
  exit 1
fi
if [ $(($(files) - open)) -gt $((count / 2)) ]; then
  echo "$open files were open before, $(files) are now" >&2
  exit 1
fi
after=$(memory)
echo "$count containers came and went and left nothing; the kernel's own memory $before kB before, $after kB after, open files $open and $(files)"
