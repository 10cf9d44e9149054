# shellcheck shell=sh
# What the scripts in the virtual machine share; they read it in. Those with a daemon export DOCKER_HOST before, as
# unix:///run/PLACE.sock: everything of that daemon has its name from there.
passed=0
failed=0
variant=
place=${DOCKER_HOST#unix:///run/}
place=${place%.sock}

check() { # name, wanted, got
  if [ "$2" = "$3" ]; then passed=$((passed + 1)); echo "ok ${variant:+$variant: }$1"; else
    failed=$((failed + 1))
    echo "FAILED ${variant:+$variant: }$1: $(printf '%s' "$3" | tail -n 3), wanted $2"
  fi
}
is() { # name, wanted, command…
  name=$1
  want=$2
  shift 2
  check "$name" "$want" "$("$@" 2>&1)"
}
# Says how it went, and is the script's last word.
summary() { # what
  [ $failed = 0 ] || tail -n 40 "/run/$place.log"
  echo "vm $1: $passed passed, $failed failed"
  [ $failed = 0 ]
}

# What the machine needs: modules besides the usual ones; the host's own tools, in a root that is busybox alone.
modules() { # module…
  for module in overlay bridge veth nf_tables nft_chain_nat nft_masq nft_ct "$@"; do
    busybox modprobe "$module" 2>/dev/null
  done
}
tools() {
  [ -e /usr/sbin/nft ] || cp -a /payload/tools/. /
}

# The script's daemon, and its end by a word or by force.
begin() { # option…
  estiba daemon --data-root "/var/lib/$place" --exec-root "/run/$place" --pidfile "/run/$place.pid" \
    -H "$DOCKER_HOST" "$@" >>"/run/$place.log" 2>&1 &
  daemon=$!
  for _ in $(seq 600); do estiba version >/dev/null 2>&1 && return; sleep 0.1; done
  echo "the daemon does not answer"
  cat "/run/$place.log"
}
finish() {
  kill $daemon
  wait $daemon 2>/dev/null
}
crash() {
  kill -9 $daemon
  wait $daemon 2>/dev/null
}
import() {
  estiba import -c 'CMD ["sh"]' /payload/busybox.tar busybox:latest
}

# A neighbour at 10.9.0.2 on a wire to this machine, up0 with 10.9.0.1, which is its router. It has the page at a port.
ip=/usr/sbin/ip # the shell would take busybox's own
lay_neighbour() { # port
  $ip link add up0 type veth peer name wire0
  unshare -n sh -c 'exec sleep 100000' &
  neighbour=$!
  from_neighbour="nsenter -t $neighbour -n"
  for _ in $(seq 50); do
    [ "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break
    sleep 0.02
  done
  $ip link set wire0 netns $neighbour
  $ip addr add 10.9.0.1/24 dev up0
  $ip link set up0 up
  $from_neighbour $ip link set lo up
  $from_neighbour $ip link set wire0 up
  $from_neighbour $ip addr add 10.9.0.2/24 dev wire0
  $from_neighbour $ip route add default via 10.9.0.1
  mkdir -p /run/www && echo here >/run/www/index.html
  $from_neighbour busybox httpd -f -p "$1" -h /run/www &
  neighbours_page=$!
}
# With everything that keeps the namespace alive; the next script lays its own.
end_neighbour() {
  kill $neighbour $neighbours_page
  wait $neighbour $neighbours_page 2>/dev/null
  $ip link del up0 2>/dev/null
}

# The page, which containers that `sh -c "$serve"` have, too.
serve='echo here >/index.html; exec httpd -f -p 80 -h /'
fetch() { # seconds, address, port, prefix…
  patience=$1 address=$2 port=$3
  shift 3
  said=$(printf 'GET /index.html HTTP/1.0\r\n\r\n' |
    "$@" busybox nc -w "$patience" "$address" "$port" 2>/dev/null | tail -n 1)
  [ "$said" = here ]
}
# y or n, of what must not answer; what is dropped is silent.
closed() { # address, port, prefix…
  fetch 1 "$@" && echo y || echo n
}
# Of what must answer: a machine that is emulated beside others may be slow.
open() { # address, port, prefix…
  for _ in 1 2 3 4 5 6; do
    fetch 5 "$@" && { echo y; return; }
    sleep 0.3
  done
  echo n
}
