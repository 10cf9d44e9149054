#!/bin/bash
# Real software from Debian's packages as images: made by mmdebstrap, built by Dockerfile, pushed to a
# registry of ours, pulled by an empty daemon, and used.
#   scripts/software.sh BIN_DIR WORK_DIR [nginx] [postgres] [redis] [python]
# Takes some minutes and about 2 GB in WORK_DIR; root filesystems that are there already are reused.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6p' "$0"; exit 2; }
bin=$(cd "$1" && pwd)
mkdir -p "$2" && work=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- nginx postgres redis python
lab=$work/lab
rm -rf "$lab" && mkdir -p "$lab/home"

# Two daemons in one network of their own; the second knows nothing of the first.
unshare --net --mount --propagation private sh -c 'ip link set lo up; exec sleep infinity' &
holder=$!
pids=$holder
inside() { HOME=$lab/home nsenter --target $holder --net --mount --wd="$PWD" -- "$@"; }
daemon() {
  inside "$bin/estiba" daemon --data-root "$lab/$1" --exec-root "$lab/$1.run" \
    --pidfile "$lab/$1.pid" --config-file "$lab/none.json" -H "unix://$lab/$1.sock" \
    --cgroup-parent "/software-$$-$1" ${2:-} >"$lab/$1.log" 2>&1 &
  pids="$! $pids"
  for _ in $(seq 100); do
    on "$1" info >/dev/null 2>&1 && return
    sleep 0.1
  done
  cat "$lab/$1.log" >&2
  exit 1
}
on() { where=$1 && shift && inside "$bin/estiba" -H "unix://$lab/$where.sock" "$@"; }
end() {
  for where in maker user; do
    ids=$(on $where ps -aq 2>/dev/null || true)
    # shellcheck disable=SC2086
    [ -z "$ids" ] || on $where rm -f -v $ids >/dev/null || true
  done
  for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
}
sleep 0.5
trap end EXIT
echo '{}' >"$lab/none.json"
daemon maker
daemon user --bridge=none
inside "$bin/estiba" registry serve --root "$lab/registry" --listen 127.0.0.1:5000 >"$lab/reg" 2>&1 &
pids="$! $pids"

root() {
  [ -s "$work/$1.tar" ] || mmdebstrap --quiet --variant=minbase --include="$2" --format=tar \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/$1.tar"
}

# image NAME PACKAGES DOCKERFILE-LINES: to the registry, and from there to the other daemon.
image() {
  root "$1" "$2"
  on maker import "$work/$1.tar" "root-$1" >/dev/null
  mkdir -p "$lab/$1"
  printf 'FROM root-%s\n%s\n' "$1" "$3" >"$lab/$1/Dockerfile"
  on maker build -q -t "localhost:5000/$1:1" "$lab/$1" >/dev/null
  on maker push -q "localhost:5000/$1:1" >/dev/null
  on user pull -q "localhost:5000/$1:1" >/dev/null
}

until_true() { for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; "$@"; }

software_nginx() {
  image nginx nginx-light 'RUN echo from nginx >/var/www/html/index.html
CMD ["nginx", "-g", "daemon off;"]'
  on user run -d --name nginx --network host localhost:5000/nginx:1 >/dev/null
  until_true inside curl -sf http://127.0.0.1/
  [ "$(inside curl -sf http://127.0.0.1/)" = 'from nginx' ]
}

software_postgres() {
  image postgres postgresql 'USER postgres
VOLUME /data
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin
CMD ["sh", "-c", "test -s /data/db/PG_VERSION || initdb -D /data/db >/dev/null; exec postgres -D /data/db"]'
  # As official images do: the volume belongs to who uses it.
  on user run -d --name postgres --tmpfs /run/postgresql:mode=1777 --tmpfs /data:mode=1777 \
    localhost:5000/postgres:1 >/dev/null
  until_true on user exec postgres psql -c 'select 1'
  on user exec postgres psql -qc 'create table t as select generate_series(1, 1000) n'
  [ "$(on user exec postgres psql -Atc 'select sum(n) from t')" = 500500 ]
}

software_redis() {
  image redis redis-server 'USER redis
CMD ["redis-server", "--save", "", "--bind", "127.0.0.1"]'
  on user run -d --name redis localhost:5000/redis:1 >/dev/null
  until_true on user exec redis redis-cli ping
  on user exec redis redis-cli set key value >/dev/null
  [ "$(on user exec redis redis-cli get key)" = value ]
}

software_python() {
  image python python3 'CMD ["python3"]'
  [ "$(echo 'import ssl, sqlite3; print(sum(range(10)))' |
    on user run -i --rm localhost:5000/python:1)" = 45 ]
}

for name in "$@"; do
  "software_$name"
  id=$(on maker image inspect -f '{{.Id}}' "localhost:5000/$name:1")
  [ "$id" = "$(on user image inspect -f '{{.Id}}' "localhost:5000/$name:1")" ]
  echo "$name: made, pushed, pulled, used"
done
