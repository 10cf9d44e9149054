#!/bin/sh
# Control groups that systemd places, where systemd is the first process: containers are scopes of its in the slice
# that was asked for, their limits survive its reload, and what it stops is stopped.
export DOCKER_HOST=unix:///run/placed.sock PATH=/payload:/usr/sbin:/usr/bin:/sbin:/bin
. /payload/checks.sh
modules
mkdir -p /var/lib/placed
begin --exec-opt native.cgroupdriver=systemd
import >/dev/null
# Where a container's own group of a controller is.
tree=/sys/fs/cgroup memory_file=memory.max pids_tree=/sys/fs/cgroup memory_tree=/sys/fs/cgroup
[ -e /sys/fs/cgroup/cgroup.controllers ] ||
  memory_file=memory.limit_in_bytes pids_tree=/sys/fs/cgroup/pids memory_tree=/sys/fs/cgroup/memory tree=/sys/fs/cgroup/systemd
is driver systemd estiba info --format '{{.CgroupDriver}}'
is run hello estiba run --rm --network none busybox echo hello
is bridge hello estiba run --rm busybox echo hello
id=$(estiba run -d --name cc --network none -m 32m --pids-limit 50 busybox sleep 1000)
unit=estiba-$id.scope
is active active systemctl is-active "$unit"
is slice system.slice systemctl show -P Slice "$unit"
is delegated yes systemctl show -P Delegate "$unit"
is group /system.slice/"$unit" systemctl show -P ControlGroup "$unit"
is memory $((32 << 20)) cat "$memory_tree/system.slice/$unit/container/$memory_file"
is pids 50 cat "$pids_tree/system.slice/$unit/container/pids.max"
is reload-leaves-limits "$((32 << 20))" sh -c "systemctl daemon-reload; cat $memory_tree/system.slice/$unit/container/$memory_file"
is own-cgroup yes sh -c "estiba exec cc cat /proc/1/cgroup | grep -qvE ':/$' || echo yes"
is exec-same-cgroup yes sh -c '[ "$(estiba exec cc cat /proc/1/cgroup)" = "$(estiba exec cc cat /proc/self/cgroup)" ] && echo yes'
is stats 32MiB sh -c "estiba stats --no-stream --format '{{.MemUsage}}' cc | sed 's/.* //'"
is top yes sh -c 'estiba top cc | grep -q "sleep 1000" && echo yes'
estiba update -m 48m --memory-swap 48m --pids-limit 20 cc >/dev/null
is updated $((48 << 20)) cat "$memory_tree/system.slice/$unit/container/$memory_file"
is paused true sh -c 'estiba pause cc >/dev/null; estiba inspect -f "{{.State.Paused}}" cc'
is thawed again sh -c 'estiba unpause cc >/dev/null; estiba exec cc echo again'
pid=$(estiba inspect -f '{{.State.Pid}}' cc)
crash
begin --exec-opt native.cgroupdriver=systemd
is found-again "$pid" estiba inspect -f '{{.State.Pid}}' cc
is found-limits 48MiB sh -c "estiba stats --no-stream --format '{{.MemUsage}}' cc | sed 's/.* //'"
is restarted active sh -c "estiba restart -t 0 cc >/dev/null; systemctl is-active $unit"
is stopped-by-systemd false sh -c "systemctl stop $unit; for _ in \$(seq 100); do
  [ \$(estiba inspect -f '{{.State.Running}}' cc) = false ] && break; sleep 0.1; done; estiba inspect -f '{{.State.Running}}' cc"
is started-again active sh -c "estiba start cc >/dev/null; systemctl is-active $unit"
is gone inactive sh -c "estiba rm -f cc >/dev/null; for _ in \$(seq 100); do
  [ \$(systemctl is-active $unit) = inactive ] && break; sleep 0.1; done; systemctl is-active $unit"
is no-group-left '' sh -c "for _ in \$(seq 100); do
  [ -z \"\$(find /sys/fs/cgroup -name $unit)\" ] && break; sleep 0.1; done; find /sys/fs/cgroup -name $unit"
id=$(estiba run -d --name dd --network none --cgroup-parent a-b.slice busybox sleep 1000)
is parent /a.slice/a-b.slice/estiba-"$id".scope systemctl show -P ControlGroup "estiba-$id.scope"
estiba rm -f dd >/dev/null
is no-slice refused sh -c 'estiba run --rm --cgroup-parent /plain busybox true 2>&1 | grep -q "valid slice" && echo refused'
estiba run --name oom --network none -m 16m --memory-swap 16m busybox sh -c 'x=a; while :; do x=$x$x; done' >/dev/null 2>&1
is out-of-memory 'true 137' estiba inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom
estiba rm -f oom >/dev/null
mkdir -p /tmp/step && printf 'FROM busybox\nRUN cat /proc/self/cgroup >/said\n' >/tmp/step/Dockerfile
is build yes sh -c 'estiba build -q -t step --network none /tmp/step >/dev/null && echo yes'
# The OCI command line.
mkdir -p /tmp/bundle/rootfs && tar -C /tmp/bundle/rootfs -xf /payload/busybox.tar
estiba-runtime spec --bundle /tmp/bundle
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000"/; s/"linux": {/"linux": {"cgroupsPath": "a.slice:cli:one",/' \
  /tmp/bundle/config.json
estiba-runtime --systemd-cgroup run -d --bundle /tmp/bundle one </dev/null >/dev/null
is cli /a.slice/cli-one.scope systemctl show -P ControlGroup cli-one.scope
is cli-exec in estiba-runtime --systemd-cgroup exec one echo in
is cli-delete inactive sh -c 'estiba-runtime --systemd-cgroup delete --force one; for _ in $(seq 100); do
  [ $(systemctl is-active cli-one.scope) = inactive ] && break; sleep 0.1; done; systemctl is-active cli-one.scope'
finish
summary systemd
