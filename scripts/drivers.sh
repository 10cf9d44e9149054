#!/bin/sh
# Other people's engines drive our runtime, unchanged: Debian's podman, buildah and dockerd with containerd.
# Each has directories, control groups and namespaces of its own, and everything dies with the script.
#   scripts/drivers.sh RUNTIME IMAGES WORK [podman|buildah|docker]...
# RUNTIME may as well be crun or runc, to see what the peers answer. Another Docker than Debian's lies in WORK/docker.
set -eu
if [ "${ESTIBA_DRIVERS_INSIDE:-}" = "" ]; then
  here=$(cd "$(dirname "$0")" && pwd)
  [ "$(id -u)" = 0 ] || { echo "the drivers need root" >&2; exit 1; }
  "$here/deps.sh" drivers
  mkdir -p "$3"
  runtime=$(command -v "$1") images=$(cd "$2" && pwd) work=$(cd "$3" && pwd)
  shift 3
  if ! [ -x "$work/docker/usr/sbin/dockerd" ]; then
    # Unpacked and not installed: the package would start a daemon of the whole machine.
    mkdir -p "$work/debs"
    (cd "$work/debs" && apt-get download -qq docker.io containerd)
    for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/docker"; done
  fi
  [ $# -gt 0 ] || set -- podman buildah docker
  ESTIBA_DRIVERS_INSIDE=yes exec unshare --net --mount --pid --fork --mount-proc --propagation private \
    "$here/drivers.sh" "$(readlink -f "$runtime")" "$images" "$work" "$@"
fi

runtime=$1 images=$2 work=$3
shift 3
lab=$(mktemp -d "$work/lab.XXXXXX")
cgroup=estiba-drivers-$(basename "$lab")
passed=0 failed=0
clean() {
  status=$?
  trap - EXIT INT TERM
  for pid in /proc/[0-9]*; do
    pid=${pid#/proc/}
    [ "$pid" = 1 ] || [ "$pid" = $$ ] || kill -9 "$pid" 2>/dev/null || true
  done
  sleep 0.3
  for tree in /sys/fs/cgroup/*/"$cgroup" /sys/fs/cgroup/"$cgroup"; do
    [ ! -d "$tree" ] || find "$tree" -depth -type d -exec rmdir {} \; 2>/dev/null || true
  done
  grep " $lab" /proc/self/mountinfo | awk '{print $5}' | sort -r | while read -r at; do umount -l "$at" 2>/dev/null || true; done
  rm -rf "$lab"
  exit $status
}
trap clean EXIT INT TERM
ip link set lo up

ok() { # name, command…
  name=$1
  shift
  if out=$("$@" 2>&1 </dev/null); then passed=$((passed + 1)); echo "ok $name"; else
    failed=$((failed + 1))
    echo "FAILED $name: $* -> $(printf '%s' "$out" | tail -n 3)"
  fi
}
is() { # name, wanted, command…
  name=$1
  want=$2
  shift 2
  out=$("$@" 2>&1 </dev/null) || true
  if [ "$out" = "$want" ]; then passed=$((passed + 1)); echo "ok $name"; else
    failed=$((failed + 1))
    echo "FAILED $name: $* -> $(printf '%s' "$out" | tail -n 3), wanted $want"
  fi
}
code() { # name, wanted exit code, command…
  name=$1
  want=$2
  shift 2
  got=0
  out=$("$@" 2>&1 </dev/null) || got=$?
  if [ "$got" = "$want" ]; then passed=$((passed + 1)); echo "ok $name"; else
    failed=$((failed + 1))
    echo "FAILED $name: $* -> $got: $(printf '%s' "$out" | tail -n 3), wanted $want"
  fi
}

# What podman and docker have in common. `eng` is the engine, `low` a few flags that the machine may need.
same_for_both() {
  is "$1: run prints" hello eng run --rm $low busybox echo hello
  code "$1: exit code" 42 eng run --rm $low busybox sh -c 'exit 42'
  code "$1: command not found" 127 eng run --rm $low busybox nonesuch
  code "$1: cannot execute" 126 eng run --rm $low busybox /etc
  is "$1: stdin" x sh -c 'echo x | "$0" "$@"' "$cli" $cli_args run -i --rm $low busybox cat
  is "$1: host name" box eng run --rm $low --hostname box busybox hostname
  is "$1: user" '5:7' eng run --rm $low --user 5:7 busybox sh -c 'echo $(id -u):$(id -g)'
  is "$1: working directory" /tmp eng run --rm $low -w /tmp busybox pwd
  is "$1: read-only root" refused eng run --rm $low --read-only busybox sh -c 'touch /x 2>/dev/null || echo refused'
  is "$1: volume" from-host eng run --rm $low -v "$lab/share:/share:ro" busybox cat /share/file
  is "$1: read-only volume" refused eng run --rm $low -v "$lab/share:/share:ro" busybox \
    sh -c 'touch /share/x 2>/dev/null || echo refused'
  is "$1: tmpfs" tmpfs eng run --rm $low --tmpfs /mnt/t:size=1m busybox awk '$2 == "/mnt/t" {print $3}' /proc/mounts
  is "$1: sysctl" 77 eng run --rm $low --sysctl net.core.somaxconn=77 busybox cat /proc/sys/net/core/somaxconn
  is "$1: no capabilities" 0000000000000000 eng run --rm $low --cap-drop ALL busybox \
    awk '/CapEff/ {print $2}' /proc/self/status
  is "$1: seccomp" 2 eng run --rm $low busybox awk '/^Seccomp:/ {print $2}' /proc/self/status
  is "$1: seccomp off" 0 eng run --rm $low --security-opt seccomp=unconfined busybox \
    awk '/^Seccomp:/ {print $2}' /proc/self/status
  is "$1: privileged" 0 eng run --rm $low --privileged busybox awk '/^Seccomp:/ {print $2}' /proc/self/status
  is "$1: device" 1 eng run --rm $low --device /dev/null:/dev/hole busybox sh -c 'head -c1 /dev/zero | tee /dev/hole | wc -c'
  is "$1: memory limit" $((32 << 20)) eng run --rm $low -m 32m --memory-swap 32m busybox sh -c \
    'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'
  is "$1: pids limit" 33 eng run --rm $low --pids-limit 33 busybox sh -c \
    'cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max'
  is "$1: terminal" 'yes' sh -c '"$0" "$@" | tr -d "\r"' "$cli" $cli_args run -t --rm $low busybox sh -c '[ -t 1 ] && echo yes'
  is "$1: init" init sh -c '"$0" "$@"' "$cli" $cli_args run --rm --init $low busybox sh -c '[ $$ != 1 ] && echo init'
  ok "$1: background" eng run -d --name web $low --stop-timeout 1 busybox sh -c 'trap "exit 9" TERM; echo up; while :; do sleep 0.1; done'
  is "$1: running" running eng inspect -f '{{.State.Status}}' web
  is "$1: logs" up eng logs web
  is "$1: exec" in eng exec web echo in
  code "$1: exec's exit code" 5 eng exec web sh -c 'exit 5'
  code "$1: exec of nothing" "$missing" eng exec web nonesuch
  is "$1: exec as a user" 3 eng exec -u 3 web id -u
  is "$1: exec with a terminal" yes sh -c '"$0" "$@" | tr -d "\r"' "$cli" $cli_args exec -t web sh -c '[ -t 1 ] && echo yes'
  is "$1: exec is filtered" 2 eng exec web awk '/^Seccomp:/ {print $2}' /proc/self/status
  is "$1: exec with stdin" x sh -c 'echo x | "$0" "$@"' "$cli" $cli_args exec -i web cat
  ok "$1: exec in the background" eng exec -d web touch /tmp/done
  ok "$1: what it did" eng exec web sh -c 'until [ -e /tmp/done ]; do sleep 0.05; done'
  ok "$1: top" eng top web
  ok "$1: stats" eng stats --no-stream web
  ok "$1: pause" eng pause web
  is "$1: paused" paused eng inspect -f '{{.State.Status}}' web
  ok "$1: unpause" eng unpause web
  ok "$1: update" eng_update web
  ok "$1: restart" eng restart -t 5 web
  ok "$1: stop" eng stop -t 5 web
  is "$1: its code" 9 eng inspect -f '{{.State.ExitCode}}' web
  ok "$1: start" eng start web
  ok "$1: kill" eng kill web
  is "$1: killed" 137 eng wait web
  ok "$1: remove" eng rm web
  ok "$1: create" eng create --name made $low busybox sh -c 'exit 4'
  code "$1: start and attach" 4 eng start -a made
  ok "$1: remove it" eng rm made
  ok "$1: out of memory" sh -c '"$0" "$@"; [ $? = 137 ]' "$cli" $cli_args run --name hungry $low -m 16m --memory-swap 16m \
    busybox sh -c 'x=a; while :; do x=$x$x; done'
  [ "$1" = podman ] || is "$1: and told" true eng inspect -f '{{.State.OOMKilled}}' hungry # conmon on cgroup v1 cannot tell
  ok "$1: remove by force" eng rm -f hungry
  for n in 1 2 3 4 5 6; do eng run --rm $low busybox echo $n >"$lab/out.$n" 2>&1 & pids="${pids:-} $!"; done
  wait $pids
  is "$1: six at once" '1 2 3 4 5 6 ' sh -c 'cat "$0"/out.* | sort | tr "\n" " "' "$lab"
  is "$1: no container left" '' eng ps -aq
}

mkdir -p "$lab/share"
echo from-host >"$lab/share/file"

podman_settings() {
  mkdir -p "$lab/podman"
  # The machine may not let anybody raise limits, or lend a bridge.
  cat >"$lab/podman/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=2048:2048"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = ["/usr/lib/podman", "/usr/libexec/podman", "/usr/bin"]
END
  echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$lab/podman/policy.json"
  export CONTAINERS_CONF="$lab/podman/containers.conf"
  export TMPDIR="$lab/podman"
}
podman_tests() {
  podman_settings
  cli=podman missing=127
  cli_args="--root $lab/podman/root --runroot $lab/podman/run --tmpdir $lab/podman/tmp --storage-driver vfs --runtime $runtime"
  plain="--cgroup-parent /$cgroup --ulimit nofile=1024:1024 --ulimit nproc=2048:2048"
  low="--network none $plain"
  eng() { podman $cli_args "$@"; }
  eng_update() { eng container inspect "$1" >/dev/null; } # podman 4.3's update knows cgroup v2 alone
  ok "podman: import" eng import -c CMD=sh "$images/busybox.tar" localhost/busybox:latest
  same_for_both podman
  is "podman: host network" lo eng run --rm $plain --network host busybox sh -c 'ls /sys/class/net | head -n1'
  is "podman: user namespace" 100000 eng run --rm $low --uidmap 0:100000:65536 busybox awk '{print $2}' /proc/self/uid_map
  is "podman: root is none outside" 0 eng run --rm $low --uidmap 0:100000:65536 busybox id -u
  ok "podman: pod's first" eng run -d --name first $low busybox sleep 1000
  is "podman: joins network" same sh -c '[ "$("$@" exec first readlink /proc/self/ns/net)" = "$("$@" run --rm --network container:first --ulimit nofile=1024:1024 --ulimit nproc=2048:2048 busybox readlink /proc/self/ns/net)" ] && echo same' x podman $cli_args
  is "podman: joins pid" 1 eng run --rm $low --pid container:first busybox sh -c 'ps | grep -c "[s]leep 1000"'
  ok "podman: healthcheck" sh -c '"$@" run -d --name well --health-cmd true --health-interval disable --network none --ulimit nofile=1024:1024 --ulimit nproc=2048:2048 busybox sleep 1000 && "$@" healthcheck run well' x podman $cli_args
  ok "podman: cp" sh -c 'echo c > "$0/c" && "$@" cp "$0/c" first:/c && [ "$("$@" exec first cat /c)" = c ]' "$lab" podman $cli_args
  ok "podman: commit" eng commit -q first localhost/second
  ok "podman: keep the rest out" eng rm -f -t 0 first well
}
buildah_tests() {
  podman_settings
  args="--root $lab/buildah/root --runroot $lab/buildah/run --storage-driver vfs"
  bah() { buildah $args "$@"; }
  limits="--ulimit nofile=1024:1024 --ulimit nproc=2048:2048"
  ctr=$(bah from $limits scratch)
  ok "buildah: add" bah add "$ctr" "$images/busybox.tar" /
  is "buildah: run" hello bah run --runtime "$runtime" --network none "$ctr" -- echo hello
  code "buildah: exit code" 3 bah run --runtime "$runtime" --network none "$ctr" -- sh -c 'exit 3'
  is "buildah: user" 9 bah run --runtime "$runtime" --network none --user 9 "$ctr" -- id -u
  is "buildah: volume" from-host bah run --runtime "$runtime" --network none -v "$lab/share:/share:ro" "$ctr" -- cat /share/file
  is "buildah: terminal" yes sh -c '"$@" | tr -d "\r"' x buildah $args run -t --runtime "$runtime" --network none "$ctr" -- sh -c '[ -t 1 ] && echo yes'
  ok "buildah: commit" bah commit -q "$ctr" localhost/base
  printf 'FROM localhost/base\nENV A=b\nRUN echo "$A" >/made\nRUN --mount=type=tmpfs,target=/t touch /t/x && [ "$(cat /made)" = b ]\n' >"$lab/Containerfile"
  ok "buildah: build" bah build $limits --runtime "$runtime" --network none --isolation oci -t localhost/built -f "$lab/Containerfile" "$lab/share"
  built=$(bah from $limits localhost/built)
  is "buildah: what was built" b bah run --runtime "$runtime" --network none "$built" -- cat /made
  ok "buildah: remove" bah rm -a
}
docker_tests() {
  export PATH="$work/docker/usr/bin:$work/docker/usr/sbin:$PATH"
  mkdir -p "$lab/docker" /run/docker
  echo "{}" >"$lab/docker/daemon.json"
  mount -t tmpfs tmpfs /run/docker
  cli=$work/docker/usr/bin/docker missing=127
  case $("$cli" --version) in *' 20.10.'*) missing=126 ;; esac
  cli_args="-H unix://$lab/docker/sock --config $lab/docker/config"
  low="--network none"
  eng() { "$cli" $cli_args "$@"; }
  eng_update() { eng update -m 64m --memory-swap 64m --cpu-shares 512 "$1"; }
  dockerd --data-root "$lab/docker/data" --exec-root "$lab/docker/run" -p "$lab/docker/pid" -H "unix://$lab/docker/sock" \
    --config-file "$lab/docker/daemon.json" --bridge none --iptables=false --ip-forward=false --ip-masq=false \
    --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$cgroup" \
    --init-path /usr/bin/tini-static --add-runtime "driven=$runtime" --default-runtime driven >"$lab/docker/log" 2>&1 &
  tries=0
  until eng version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { tail -n 20 "$lab/docker/log"; failed=$((failed + 1)); return 0; }
    sleep 0.1
  done
  ok "docker: import" eng import -c 'CMD ["sh"]' "$images/busybox.tar" busybox:latest
  is "docker: our runtime" driven eng info -f '{{.DefaultRuntime}}'
  same_for_both docker
  is "docker: host network" lo eng run --rm --network host busybox sh -c 'ls /sys/class/net | head -n1'
  printf 'FROM busybox\nRUN echo x >/made\nRUN [ "$(cat /made)" = x ]\n' >"$lab/share/Dockerfile"
  ok "docker: build" env DOCKER_BUILDKIT=0 "$cli" $cli_args build --network none -t built "$lab/share"
  ok "docker: healthcheck" sh -c '"$@" run -d --name well --health-cmd true --health-interval 200ms --network none busybox sleep 1000 &&
    until [ "$("$@" inspect -f "{{.State.Health.Status}}" well)" = healthy ]; do sleep 0.1; done' x "$cli" $cli_args
  ok "docker: keep the rest out" eng rm -f well
}
for driver; do
  "${driver}_tests"
done
echo "$passed passed, $failed failed, runtime $("$runtime" --version | head -n1)"
[ "$failed" = 0 ]
