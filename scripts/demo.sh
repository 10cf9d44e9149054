#!/bin/sh
# The main job, before your eyes: a private daemon, a real image, a web server, its limits and walls, and a daemon
# killed under it. Everything happens in a directory and in network and mount namespaces of its own.
#   scripts/demo.sh BIN IMAGES
set -eu
bin=$(cd "$1" && pwd)
images=$(cd "$2" && pwd)
if [ "${ESTIBA_DEMO_INSIDE:-}" = "" ]; then
  [ "$(id -u)" = 0 ] || { echo "the demo needs root (try: sudo make demo)" >&2; exit 1; }
  ESTIBA_DEMO_INSIDE=yes exec unshare --net --mount --propagation private "$0" "$bin" "$images"
fi

lab=$(mktemp -d /tmp/estiba-demo.XXXXXX)
sock=$lab/estiba.sock
export DOCKER_HOST="unix://$sock" DOCKER_CONFIG="$lab/config" PATH="$bin:$PATH"
cgroup=estiba-demo-$$
bold=$(printf '\033[1m') plain=$(printf '\033[0m')
[ -t 1 ] || { bold="" plain=""; }
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }

start_daemon() {
  estiba daemon --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" -H "unix://$sock" \
    --config-file "$lab/daemon.json" --cgroup-parent "/$cgroup" >>"$lab/daemon.log" 2>&1 &
  daemon=$!
  tries=0
  until estiba version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] && kill -0 $daemon 2>/dev/null || { cat "$lab/daemon.log" >&2; exit 1; }
    sleep 0.05
  done
}
clean() {
  status=$?
  trap - EXIT INT TERM
  ids=$(estiba ps -aq 2>/dev/null || true)
  # shellcheck disable=SC2086
  [ -z "$ids" ] || estiba rm -f $ids >/dev/null 2>&1 || true
  kill $daemon 2>/dev/null || true
  wait $daemon 2>/dev/null || true
  for group in /sys/fs/cgroup/*/"$cgroup" /sys/fs/cgroup/"$cgroup"; do rmdir "$group" 2>/dev/null || true; done
  if [ $status = 0 ]; then rm -rf "$lab"; else echo "the demo failed; its files are in $lab" >&2; fi
  exit $status
}
daemon=0
trap clean EXIT INT TERM
ip link set lo up

say "A daemon of its own, in $lab"
start_daemon
estiba version --format 'engine {{.Server.Version}}, API {{.Server.APIVersion}}'

say "Images from Debian packages (no registry needed)"
show estiba import "$images/busybox.tar" busybox:latest
show estiba import --change 'CMD ["nginx", "-g", "daemon off;"]' --change 'EXPOSE 80' "$images/debian.tar" web:latest
show estiba images

say "Hello"
show estiba run --rm busybox echo 'hello from a container'

say "A web server, with limits, published on port 8080"
show estiba run -d --name web -m 128m --cpus 0.5 --pids-limit 100 --restart unless-stopped -p 8080:80 web
tries=0
until curl -fs -o "$lab/page" http://127.0.0.1:8080/; do tries=$((tries + 1)); [ $tries -lt 100 ]; sleep 0.1; done
printf '%s$ curl http://127.0.0.1:8080/%s\n' "$bold" "$plain"
sed -n 's/.*<title>\(.*\)<\/title>.*/    "\1"/p' "$lab/page"
show estiba ps
show estiba exec web sh -c 'echo "pid 1 is $(cat /proc/1/comm), I am uid $(id -u)"'
show estiba stats --no-stream web
show estiba run --rm --network container:web busybox sh -c ': | nc -w 2 127.0.0.1 80 && echo "the same server, from a neighbour in its network"' 

say "What a container cannot do"
try() { # what, command…
  what=$1; shift
  if out=$(estiba run --rm busybox sh -c "$*" 2>&1); then printf '  %-46s %s\n' "$what" "ALLOWED"; else
    printf '  %-46s refused: %s\n' "$what" "$(printf '%s' "$out" | tail -n 1 | cut -c1-60)"; fi
}
printf '  %-46s %s\n' "be root on the host" "no: uid 0 inside is host uid $(estiba run --rm busybox awk 'NR==1{print $2}' /proc/self/uid_map)"
try "mount a filesystem" mount -t tmpfs x /mnt
try "make a device node" mknod /tmp/sda b 8 0
try "change the host's clock" 'date -s 2000-01-01 2>&1 | head -n 1; [ "$(date +%Y)" = 2000 ]'
try "load a kernel module" insmod /bin/busybox
try "write to /proc/sys" "echo 1 > /proc/sys/kernel/panic"
try "read the kernel's memory" 'head -c1 /proc/kcore | grep -q . || { echo "/proc/kcore is empty"; false; }'
try "make a namespace" unshare -m true
try "see the host's processes" 'n=$(ls -d /proc/[0-9]* | wc -l); echo "only $n processes are there"; [ $n -gt 20 ]'
try "send a raw packet" ping -c1 -W1 127.0.0.1
try "gain privileges by a setuid program" 'grep NoNewPrivs /proc/self/status | tr "\t" " "; grep -q "NoNewPrivs:.0" /proc/self/status'
echo "  (--security-opt profile=docker gives Docker's looser defaults to one container)"

say "kill -9 the daemon: the server does not notice"
before=$(estiba inspect --format '{{.State.Pid}}' web)
kill -9 $daemon; wait $daemon 2>/dev/null || true
curl -fs -o /dev/null http://127.0.0.1:8080/ && echo "    no daemon, and the page is still served"
start_daemon
after=$(estiba inspect --format '{{.State.Pid}}' web)
echo "    a new daemon found it: pid $before before, $after after"
[ "$before" = "$after" ]
show estiba logs --tail 2 web

if command -v docker >/dev/null 2>&1; then
  say "The stock docker command line drives the same engine"
  show docker ps
  show docker exec web nginx -v
fi

say "Cleaning up"
show estiba rm -f web
cat <<'T'

That was the main job. To try it yourself:

  sudo target/release/estiba daemon &                 # an engine on /run/estiba/estiba.sock
  sudo target/release/estiba import target/images/busybox.tar busybox
  sudo target/release/estiba run -it --rm busybox sh
  DOCKER_HOST=unix:///run/estiba/estiba.sock docker ps  # or any Docker client

README.md has the five-minute tour; `make test` runs every check; `make bench` compares with the kernel's floor.
T
