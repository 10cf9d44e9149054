#!/bin/sh
# The core subset, inside the virtual machine: the same product on Debian's kernel with cgroup v2 alone, where
# idmapped layers, clone into a cgroup, cgroup.kill and device programs take other ways than on cgroup v1.
export DOCKER_HOST=unix:///run/estiba.sock PATH=/payload:$PATH
. /payload/checks.sh
ok() { # name, command…
  name=$1
  shift
  if out=$("$@" 2>&1); then passed=$((passed + 1)); echo "ok $name"; else
    failed=$((failed + 1))
    echo "FAILED $name: $* -> $(printf '%s' "$out" | tail -n 3)"
  fi
}
get="printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n'"
page() { # Debian's static busybox crashes in its wget
  sh -c "$get" | nc -w 5 "$1" "$2" | tail -n 1
}
modules
begin
ok import import
is run hello estiba run --rm --network none busybox echo hello
is bridge hello estiba run --rm busybox echo hello
is exit-code 42 sh -c 'estiba run --rm busybox sh -c "exit 42"; echo $?'
is own-user-namespace 65536 estiba run --rm busybox awk '{print $3}' /proc/self/uid_map
ok not-root-outside sh -c '[ $(estiba run --rm busybox awk "{print \$2}" /proc/self/uid_map) -gt 65535 ]'
is writes-to-its-root x estiba run --rm busybox sh -c 'echo x > /etc/passwd; cat /etc/passwd'
ok background estiba run -d --name cc -m 32m --cpus 0.5 --pids-limit 50 busybox sleep 1000
is memory-limit $((32 << 20)) estiba exec cc cat /sys/fs/cgroup/memory.max
is pids-limit 50 estiba exec cc cat /sys/fs/cgroup/pids.max
is cpu-limit '50000 100000' estiba exec cc cat /sys/fs/cgroup/cpu.max
is own-cgroup 0::/ estiba exec cc cat /proc/1/cgroup
is exec-same-cgroup 0::/ estiba exec cc cat /proc/self/cgroup
is exec-posture 'Seccomp: 2' estiba exec cc sh -c "grep Seccomp: /proc/self/status | tr '\t' ' '"
ok stats sh -c 'estiba stats --no-stream --format "{{.MemUsage}}" cc | grep -q 32MiB'
is no-devices refused estiba run --rm busybox sh -c 'mknod /tmp/x b 254 0 2>/dev/null && head -c1 /tmp/x || echo refused'
is own-devices 1 estiba run --rm busybox sh -c 'head -c 1 /dev/urandom | wc -c'
is denied-device refused estiba run --rm --cap-add MKNOD --userns host busybox \
  sh -c 'mknod /tmp/x b 254 0 && head -c1 /tmp/x 2>/dev/null | grep -q . || echo refused'
ok pause estiba pause cc
is paused true estiba inspect -f '{{.State.Paused}}' cc
ok unpause estiba unpause cc
ok out-of-memory sh -c 'estiba run --name oom -m 16m --memory-swap 16m busybox sh -c "x=a; while :; do x=\$x\$x; done"; true'
is oom-seen 'true 137' estiba inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom
# One process of many is killed, and that is told at once, not only when the container ends.
ok oom-event sh -c 'since=$(date +%s); estiba run -d --name oom2 -m 16m --memory-swap 16m busybox \
  sh -c "(x=a; while :; do x=\$x\$x; done); sleep 1000"
  for _ in $(seq 100); do
    estiba events --since $since --until $(($(date +%s) + 1)) --filter event=oom --format "{{.Action}}" | grep -q oom && exit 0
    usleep 100000
  done; exit 1'
ok publish estiba run -d --name web -p 8080:80 busybox sh -c 'echo page > /index.html; exec httpd -f -p 80 -h /'
usleep 500000
is published page page 127.0.0.1 8080
ok network estiba network create n
ok named estiba run -d --name db --network n busybox sh -c 'echo db > /index.html; exec httpd -f -p 80 -h /'
usleep 500000
is by-name db estiba run --rm --network n busybox sh -c "$get | nc -w 5 db 80 | tail -n 1"
pid=$(estiba inspect -f '{{.State.Pid}}' cc)
crash
is served-without-daemon page page 127.0.0.1 8080
begin
is found-again "$pid" estiba inspect -f '{{.State.Pid}}' cc
is exec-after-restore again estiba exec cc echo again
mkdir -p /root/bind && chown 1000 /root/bind # tmpfs cannot map ids on this kernel
ok bind estiba run --rm -u 1000 -v /root/bind:/b busybox touch /b/f
is bind-owner 1000 stat -c %u /root/bind/f
ok stop estiba stop -t 0 cc
ok remove estiba rm -f cc oom oom2 web db
is nothing-left '' estiba ps -aq
is no-veth-left 0 sh -c 'ip -o link | grep -c veth'
is no-cgroup-left 0 sh -c 'ls -d /sys/fs/cgroup/estiba/*/ 2>/dev/null | wc -l'
# Whatever comes next in this machine has it to itself.
finish
summary core
