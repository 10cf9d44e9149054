#!/bin/sh
# nginx, PostgreSQL and Redis from Debian's packages, talking to each other by name.
#   scripts/networks-real.sh BIN IMAGES WORK
# Makes WORK/services.tar with mmdebstrap once (some minutes). Everything runs in namespaces of its own.
set -eu
bin=$(cd "$1" && pwd)
mkdir -p "$3"
work=$(cd "$3" && pwd)
if [ ! -s "$work/services.tar" ]; then
  mmdebstrap --quiet --variant=minbase --include=nginx-light,postgresql,redis-server,curl \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --format=tar bookworm "$work/services.tar.part"
  mv "$work/services.tar.part" "$work/services.tar"
fi
if [ "${INSIDE:-}" = "" ]; then
  [ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }
  INSIDE=yes exec unshare --net --mount --propagation private "$0" "$bin" "$2" "$work"
fi
lab=$(mktemp -d /tmp/estiba-real.XXXXXX)
group=$(basename "$lab")
export DOCKER_HOST="unix://$lab/estiba.sock" HOME="$lab" PATH="$bin:$PATH"
clean() {
  status=$?
  trap - EXIT INT TERM
  [ $status = 0 ] || { for name in db cache web; do echo "--- $name"; estiba logs --tail 20 $name; done >&2; tail -20 "$lab/log" >&2; }
  # shellcheck disable=SC2046
  estiba rm -f $(estiba ps -aq) >/dev/null 2>&1 || true
  kill "$daemon" 2>/dev/null && wait "$daemon" || true
  for tree in /sys/fs/cgroup/*/"$group" /sys/fs/cgroup/"$group"; do rmdir "$tree" 2>/dev/null || true; done
  rm -rf "$lab"
  exit $status
}
trap clean EXIT INT TERM
soon() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done; echo "never: $*" >&2; return 1; }
start() {
  estiba daemon --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" -H "$DOCKER_HOST" \
    --config-file "$lab/none.json" --cgroup-parent "/$group" >>"$lab/log" 2>&1 &
  daemon=$!
  soon estiba version
}
ip link set lo up
start
estiba import "$work/services.tar" services:latest >/dev/null
estiba network create front >/dev/null
estiba network create --internal back >/dev/null

estiba run -d --name db --network back --network-alias postgres --user postgres services sh -ec '
  bin=$(echo /usr/lib/postgresql/*/bin)
  if [ ! -e /tmp/data ]; then
    $bin/initdb -D /tmp/data >/dev/null
    echo "host all all all trust" >> /tmp/data/pg_hba.conf
  fi
  exec $bin/postgres -D /tmp/data -c listen_addresses="*" -c unix_socket_directories=/tmp' >/dev/null
estiba run -d --name cache --network back services \
  redis-server --bind 0.0.0.0 --protected-mode no --save "" --daemonize no >/dev/null
# nginx asks for its upstream by name, and is on both networks.
estiba create --name web --network front -p 8080:80 services sh -ec '
  echo "hello from nginx" > /var/www/html/index.html
  exec nginx -g "daemon off;"' >/dev/null
estiba network connect back web
estiba start web >/dev/null
estiba run -d --name app --network back services sleep infinity >/dev/null

query() { estiba exec app psql -h "$1" -U postgres -tAc 'select 6 * 7'; }
soon query db
[ "$(query postgres)" = 42 ]
soon estiba exec app redis-cli -h cache ping
estiba exec app redis-cli -h cache set key value >/dev/null
[ "$(estiba exec web redis-cli -h cache get key)" = value ]
soon estiba exec app curl -sf http://web/
[ "$(estiba exec app curl -sf http://web.back/)" = "hello from nginx" ]
[ "$(curl -sf http://127.0.0.1:8080/)" = "hello from nginx" ]
# Who is on the inner network alone does not get out, and does not ask there.
! estiba exec app curl -sf -m 3 http://10.255.255.1/ 2>/dev/null
! estiba exec app getent hosts example.org >/dev/null

# The database comes back under another address, and its name leads there.
before=$(estiba inspect -f '{{.NetworkSettings.Networks.back.IPAddress}}' db)
estiba stop -t 5 db >/dev/null
address() { estiba inspect -f '{{.NetworkSettings.Networks.back.IPAddress}}' "$1"; }
# It is given back a moment after the answer.
squat() { [ "$(address "$(estiba run -d --network back services sleep infinity)")" = "$before" ]; }
soon squat
estiba start db >/dev/null
[ "$(address db)" != "$before" ]
soon query db

# Without a daemon they go on talking.
app=$(estiba inspect -f '{{.State.Pid}}' app)
kill -KILL "$daemon"; wait "$daemon" || true
[ "$(nsenter -t "$app" -n -m -p -r psql -h db -U postgres -tAc 'select 6 * 7')" = 42 ]
[ "$(nsenter -t "$app" -n -m -p -r redis-cli -h cache get key)" = value ]
[ "$(curl -sf http://127.0.0.1:8080/)" = "hello from nginx" ]
start
[ "$(query db)" = 42 ]
echo "nginx, PostgreSQL and Redis find each other by name"
