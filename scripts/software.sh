#!/bin/bash
# Real software from Debian's packages as images: made by mmdebstrap, built by Dockerfile, pushed to
# Debian's docker-registry and to a registry of ours, forgotten, pulled again from the first, and used.
# skopeo, podman and buildah say which digest each registry has.
#   scripts/software.sh BIN_DIR WORK_DIR [nginx] [postgres] [redis] [python]
# Takes some minutes and about 2 GB in WORK_DIR; root filesystems that are there already are reused.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7p' "$0"; exit 2; }
bin=$(cd "$1" && pwd)
mkdir -p "$2" && work=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- nginx postgres redis python
lab=$work/lab
rm -rf "$lab" && mkdir -p "$lab/home"

unshare --net --mount --propagation private sh -c 'ip link set lo up; exec sleep infinity' &
holder=$!
pids=$holder
inside() { HOME=$lab/home nsenter --target $holder --net --mount --wd="$PWD" -- "$@"; }
# For the background: the process that is known by its id is the program itself.
become() { HOME=$lab/home exec nsenter --target $holder --net --mount --wd="$PWD" -- "$@"; }
on() { inside "$bin/estiba" -H "unix://$lab/s.sock" "$@"; }
end() {
  ids=$(on ps -aq 2>/dev/null || true)
  # shellcheck disable=SC2086
  [ -z "$ids" ] || on rm -f -v $ids >/dev/null || true
  for pid in $pids; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
}
sleep 0.5
trap end EXIT
echo '{}' >"$lab/none.json"
become "$bin/estiba" daemon --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" \
  --config-file "$lab/none.json" -H "unix://$lab/s.sock" --cgroup-parent "/software-$$" \
  >"$lab/log" 2>&1 &
pids="$! $pids"
for _ in $(seq 100); do
  on info >/dev/null 2>&1 && break
  sleep 0.1
done
on info >/dev/null || { cat "$lab/log" >&2; exit 1; }
become "$bin/estiba" registry serve --root "$lab/registry" --listen 127.0.0.1:5001 >"$lab/reg" 2>&1 &
pids="$! $pids"
cat >"$lab/registry.yml" <<END
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $lab/theirs } }
http: { addr: 127.0.0.1:5000 }
END
become docker-registry serve "$lab/registry.yml" >"$lab/theirs.log" 2>&1 &
pids="$! $pids"

root() {
  [ ! -s "$work/$1.tar" ] || return 0
  # Mirrors close connections now and then.
  make_root "$1" "$2" || make_root "$1" "$2"
  mv "$work/$1.tar.part" "$work/$1.tar"
}

make_root() {
  mmdebstrap --quiet --variant=minbase --include="$2" --format=tar --aptopt='Acquire::Retries "5"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/$1.tar.part"
}

# image NAME PACKAGES DOCKERFILE-LINES: to the registry and, when nothing of it is here, back.
image() {
  root "$1" "$2"
  on import "$work/$1.tar" "root-$1" >/dev/null
  mkdir -p "$lab/$1"
  printf 'FROM root-%s\n%s\n' "$1" "$3" >"$lab/$1/Dockerfile"
  on build -q -t "localhost:5000/$1:1" "$lab/$1" >/dev/null
  id=$(on image inspect -f '{{.Id}}' "localhost:5000/$1:1")
  on push -q "localhost:5000/$1:1" >/dev/null
  on tag "localhost:5000/$1:1" "localhost:5001/$1:1"
  on push -q "localhost:5001/$1:1" >/dev/null
  digests "$1"
  # shellcheck disable=SC2046
  on rmi -f $(on images -aq) >/dev/null
  on builder prune -af >/dev/null
  on pull -q "localhost:5000/$1:1" >/dev/null
  [ "$id" = "$(on image inspect -f '{{.Id}}' "localhost:5000/$1:1")" ]
}

# What NAME is on either registry by each of those who judge: one digest.
digests() {
  for port in 5000 5001; do
    local at=localhost:$port/$1:1
    inside skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$at"
    theirs podman pull -q --tls-verify=false "$at" >/dev/null
    theirs podman image inspect --format '{{.Digest}}' "$at"
    # They tell images apart by configuration, and the digest would stay the first one.
    theirs podman rmi -a -f >/dev/null
    theirs buildah pull -q --tls-verify=false "$at" >/dev/null
    echo "$(theirs buildah inspect --type image --format '{{.FromImageDigest}}' "$at")"
    theirs buildah rmi -a -f >/dev/null
  done >"$lab/digests"
  [ "$(wc -l <"$lab/digests")" = 6 ] && [ "$(sort -u "$lab/digests" | wc -l)" = 1 ] ||
    { echo "$1: other digests:" >&2; cat "$lab/digests" >&2; exit 1; }
}

theirs() {
  local program=$1
  shift
  inside "$program" --root "$lab/storage" --runroot "$lab/storage-run" --storage-driver overlay "$@"
}

until_true() { for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; "$@"; }

software_nginx() {
  image nginx nginx-light 'RUN echo from nginx >/var/www/html/index.html
CMD ["nginx", "-g", "daemon off;"]'
  on run -d --name nginx --network host localhost:5000/nginx:1 >/dev/null
  until_true inside curl -sf http://127.0.0.1/
  [ "$(inside curl -sf http://127.0.0.1/)" = 'from nginx' ]
}

software_postgres() {
  image postgres postgresql 'USER postgres
VOLUME /data
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin
CMD ["sh", "-c", "test -s /data/db/PG_VERSION || initdb -D /data/db >/dev/null; exec postgres -D /data/db"]'
  # As official images do: the volume belongs to who uses it.
  on run -d --name postgres --tmpfs /run/postgresql:mode=1777 --tmpfs /data:mode=1777 \
    localhost:5000/postgres:1 >/dev/null
  until_true on exec postgres psql -c 'select 1'
  on exec postgres psql -qc 'create table t as select generate_series(1, 1000) n'
  [ "$(on exec postgres psql -Atc 'select sum(n) from t')" = 500500 ]
}

software_redis() {
  image redis redis-server 'USER redis
CMD ["redis-server", "--save", "", "--bind", "127.0.0.1"]'
  on run -d --name redis localhost:5000/redis:1 >/dev/null
  until_true on exec redis redis-cli ping
  on exec redis redis-cli set key value >/dev/null
  [ "$(on exec redis redis-cli get key)" = value ]
}

software_python() {
  image python python3 'CMD ["python3"]'
  [ "$(echo 'import ssl, sqlite3; print(sum(range(10)))' |
    on run -i --rm localhost:5000/python:1)" = 45 ]
}

for name in "$@"; do
  "software_$name"
  on rm -f "$name" >/dev/null 2>&1 || true
  echo "$name: made, pushed, pulled, used"
done
