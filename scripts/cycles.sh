#!/bin/sh
# Creates and removes containers many times over and looks for what stays behind: mounts, control groups, processes,
# links, descriptors and memory of the daemon, files. Every tenth container is ended by a kill, every tenth has an exec.
# Then as many networks, volumes and containers as MANY says are there at the same time, are listed, and go again.
#   scripts/cycles.sh BIN IMAGES [COUNT] [MANY]
# COUNT is 10,000 unless said otherwise, MANY 1,000. Everything happens in a directory and in namespaces of its own.
set -eu
bin=$(cd "$1" && pwd)
images=$(cd "$2" && pwd)
count=${3:-10000} many=${4:-1000}
if [ "${ESTIBA_CYCLES_INSIDE:-}" = "" ]; then
  [ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }
  ESTIBA_CYCLES_INSIDE=yes exec unshare --net --mount --propagation private "$0" "$bin" "$images" "$count" "$many"
fi
lab=$(mktemp -d /tmp/estiba-cycles.XXXXXX)
group=$(basename "$lab")
export DOCKER_HOST="unix://$lab/estiba.sock" HOME="$lab" PATH="$bin:$PATH"
clean() {
  status=$?
  trap - EXIT INT TERM
  # shellcheck disable=SC2046
  estiba rm -f $(estiba ps -aq) >/dev/null 2>&1 || true
  kill "$daemon" 2>/dev/null || true
  wait "$daemon" 2>/dev/null || true
  for tree in /sys/fs/cgroup/*/"$group" /sys/fs/cgroup/"$group"; do rmdir "$tree" 2>/dev/null || true; done
  if [ $status = 0 ]; then rm -rf "$lab"; else echo "files are in $lab" >&2; fi
  exit $status
}
trap clean EXIT INT TERM
ip link set lo up
estiba daemon --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" -H "$DOCKER_HOST" \
  --config-file "$lab/daemon.json" --cgroup-parent "/$group" >"$lab/log" 2>&1 &
daemon=$!
until estiba version >/dev/null 2>&1; do kill -0 $daemon && sleep 0.1; done
estiba import -c 'CMD ["sh"]' "$images/busybox.tar" busybox:latest >/dev/null

# What could stay behind, one number a line.
look() {
  echo "mounts $(grep -c "$lab" /proc/self/mountinfo || true)"
  echo "groups $(find /sys/fs/cgroup -path "*/$group/*" -type d 2>/dev/null | wc -l)"
  echo "monitors $(pgrep -c -P "$daemon" || true)"
  echo "links $(ip -o link | wc -l)"
  echo "rules $(nft list ruleset 2>/dev/null | wc -l)"
  echo "volumes $(find "$lab/data/volumes" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)"
  echo "descriptors $(find /proc/$daemon/fd -mindepth 1 2>/dev/null | wc -l)"
  echo "threads $(find /proc/$daemon/task -mindepth 1 -maxdepth 1 | wc -l)"
  echo "states $(find "$lab/run/containers" -mindepth 1 -maxdepth 1 | wc -l)"
  echo "snapshots $(find "$lab/data/snapshots" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)"
  echo "records $(find "$lab/data/containers" -mindepth 1 -maxdepth 1 | wc -l)"
}
memory() { awk '/^Pss:/ {print $2}' /proc/$daemon/smaps_rollup; }
resting() { # the same when the daemon has given back what it does not need: after some idle seconds
  last="" now=$(memory)
  while [ "$now" != "$last" ]; do
    sleep 5
    last=$now now=$(memory)
  done
  echo "$now"
}
cycle() {
  case $(($1 % 10)) in
  3)
    id=$(estiba run -d busybox sleep 1000)
    estiba exec "$id" true
    estiba rm -f "$id" >/dev/null
    ;;
  7)
    id=$(estiba run -d --network none busybox sleep 1000)
    estiba kill "$id" >/dev/null
    estiba rm -f "$id" >/dev/null
    ;;
  *) estiba run --rm busybox true ;;
  esac
}
settled() { # waits for the teardown that goes on after the answer
  for _ in $(seq 100); do
    look >"$lab/now"
    cmp -s "$lab/before" "$lab/now" && return 0
    sleep 0.1
  done
  return 1
}
# Many objects at the same time, each kind listed while all are there.
made() { # NUMBER
  n=0
  while [ $n -lt "$1" ]; do
    estiba network create --subnet "10.$((n / 250 + 100)).$((n % 250)).0/24" "net$n" >/dev/null
    estiba volume create "vol$n" >/dev/null
    estiba create --name "con$n" -v "vol$n:/v" --network "net$n" busybox true >/dev/null
    n=$((n + 1))
  done
}
listed() { # NUMBER
  for words in "network ls -q --filter type=custom" "volume ls -q" "ps -aq"; do
    # shellcheck disable=SC2086
    found=$(estiba $words | wc -l)
    [ "$found" = "$1" ] || { echo "$words: $found of $1" >&2; exit 1; }
  done
}
gone() {
  estiba ps -aq | xargs -r -n 100 estiba rm -f >/dev/null
  estiba network ls -q --filter type=custom | xargs -r -n 100 estiba network rm >/dev/null
  estiba volume ls -q | xargs -r -n 100 estiba volume rm >/dev/null
}
# The first warm caches and pools up.
warm=${WARM:-100}
n=0
while [ $n -lt $warm ]; do cycle $n; n=$((n + 1)); done
made 20 && gone
before=$(resting)
look >"$lab/before"
while [ $n -lt $((warm + count)) ]; do
  cycle $n
  n=$((n + 1))
  [ $((n % 1000)) != 0 ] || echo "$n cycles, daemon $(memory) kB"
done
made "$many"
listed "$many"
echo "$many networks, volumes and containers at a time: daemon $(memory) kB"
gone
settled || { echo "something stayed behind:"; diff "$lab/before" "$lab/now" || true; exit 1; }
after=$(resting)
# What an allocator keeps; what grows with each object does not stay below this.
allowed=$((before + 5120))
echo "$count cycles and $many of everything, nothing stayed behind; daemon $before kB before, $after kB after"
[ "$after" -le "$allowed" ] || { echo "the daemon's memory grows" >&2; exit 1; }
