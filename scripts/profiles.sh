#!/bin/bash
# Learns the profile of real software from Debian's packages under its own load, counts its system calls, and runs the
# same load again under the profile.
#   scripts/profiles.sh BIN_DIR WORK_DIR [nginx] [redis] [postgres]
# Root filesystems that WORK_DIR has already (scripts/software.sh makes the same) are reused.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6p' "$0"; exit 2; }
bin=$(cd "$1" && pwd)
mkdir -p "$2" && work=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- nginx redis postgres
# As many calls as a profile may have.
most=110
lab=$(mktemp -d /tmp/estiba-profiles.XXXXXX)
unshare --net --mount --propagation private sh -c 'ip link set lo up; exec sleep infinity' &
holder=$!
pids=$holder
inside() { HOME=$lab nsenter --target $holder --net --mount --wd="$PWD" -- "$@"; }
on() { inside "$bin/estiba" -H "unix://$lab/s.sock" "$@"; }
gone() { for _ in $(seq 50); do rm -rf "$lab" 2>/dev/null && return; sleep 0.2; done; false; }
end() {
  status=$?
  ids=$(on ps -aq 2>/dev/null || true)
  # shellcheck disable=SC2086
  [ -z "$ids" ] || on rm -f -v $ids >/dev/null || true
  for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
  for tree in /sys/fs/cgroup/*/"profiles-$$"; do rmdir "$tree" 2>/dev/null || true; done
  # What the daemon had begun to remove may still be on its way.
  if [ $status = 0 ]; then gone || rm -rf "$lab"; else echo "files are in $lab" >&2; fi
}
sleep 0.5
trap end EXIT
echo '{}' >"$lab/none.json"
inside "$bin/estiba" daemon --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" \
  --config-file "$lab/none.json" -H "unix://$lab/s.sock" --cgroup-parent "/profiles-$$" >"$lab/log" 2>&1 &
pids="$! $pids"
until_true() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; "$@"; }
until_true on version

# image NAME PACKAGES [CHANGE...]
image() {
  name=$1 packages=$2
  shift 2
  if [ ! -s "$work/$name.tar" ]; then
    mmdebstrap --quiet --variant=minbase --include="$packages" --format=tar --aptopt='Acquire::Retries "5"' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/$name.tar.part"
    mv "$work/$name.tar.part" "$work/$name.tar"
  fi
  on import "$@" "$work/$name.tar" "$name" >/dev/null
}

# beside COMMAND...: in another container, on the network of the one that is looked at.
beside() { on run --rm -i --network container:subject --volumes-from subject "$image" "$@"; }

software_nginx() {
  image nginx nginx-light -c 'CMD ["nginx", "-g", "daemon off;"]'
  options=(--network host)
}
load_nginx() {
  until_true inside curl -sf http://127.0.0.1/
  for _ in $(seq 100); do inside curl -sf http://127.0.0.1/ >/dev/null; done
  [ "$(inside curl -so /dev/null -w '%{http_code}' http://127.0.0.1/none)" = 404 ]
}

software_redis() {
  image redis redis-server -c 'USER redis' -c 'CMD ["redis-server", "--save", "1 1", "--dir", "/data"]'
  options=(--tmpfs /data:mode=1777)
}
load_redis() {
  until_true beside redis-cli ping
  beside redis-benchmark -q -n 1000 >/dev/null
  beside redis-cli set key value >/dev/null
  [ "$(beside redis-cli get key)" = value ] && beside redis-cli bgsave >/dev/null
}

software_postgres() {
  image postgres postgresql -c 'USER postgres' -c 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin' \
    -c 'CMD ["sh", "-c", "test -s /data/db/PG_VERSION || initdb -D /data/db >/dev/null; exec postgres -D /data/db"]'
  options=(--tmpfs /run/postgresql:mode=1777 --tmpfs /data:mode=1777)
}
load_postgres() {
  until_true beside psql -h 127.0.0.1 -c 'select 1'
  beside pgbench -h 127.0.0.1 -q -i postgres >/dev/null 2>&1
  beside pgbench -h 127.0.0.1 -c 4 -t 100 postgres >/dev/null 2>&1
  [ "$(beside psql -h 127.0.0.1 -Atc 'select count(*) > 0 from pgbench_history')" = t ]
}

for image in "$@"; do
  "software_$image"
  on create --name subject "${options[@]}" "$image" >/dev/null
  on profile learn -o "$lab/$image.json" subject &
  learning=$!
  pids="$learning $pids"
  until_true on exec subject true
  "load_$image"
  on stop -t 20 subject >/dev/null
  wait "$learning"
  calls=$(grep -o '"syscalls": [0-9]*' "$lab/$image.json" | tail -1 | grep -o '[0-9]*')
  caps=$(sed -n '/"capabilities": \[/,/\]/p' "$lab/$image.json" | grep -c CAP_ || true)
  [ "$calls" -le $most ] || { echo "$image: $calls system calls are more than $most" >&2; exit 1; }
  on rm subject >/dev/null
  on run -d --name subject "${options[@]}" --security-opt "profile=$lab/$image.json" "$image" >/dev/null
  "load_$image"
  [ "$(on inspect -f '{{.State.Running}}' subject)" = true ]
  on rm -f subject >/dev/null
  echo "$image: $calls system calls, $caps capabilities, and its load runs under them"
done
