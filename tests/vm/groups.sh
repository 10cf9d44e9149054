#!/bin/sh
# Control groups of version 2 alone, inside the virtual machine: every limit is in the file it belongs to, is changed
# there by update, and a container is frozen and killed as a whole.
export DOCKER_HOST=unix:///run/groups.sock PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
. /payload/checks.sh
modules
begin
import >/dev/null
number=$(cat /sys/block/vda/dev)
id=$(estiba run -d --name gg --network none -m 64m --memory-reservation 32m --memory-swap 96m --cpu-shares 512 \
  --cpuset-cpus 0 --blkio-weight 300 --device-read-bps /dev/vda:2mb --device-write-iops /dev/vda:100 --pids-limit 30 \
  busybox sh -c 'for i in 1 2 3 4 5; do sh -c "sleep 1000; true" & done; wait')
group=/sys/fs/cgroup/estiba/$id
is memory-max $((64 << 20)) cat $group/memory.max
is memory-low $((32 << 20)) cat $group/memory.low
is memory-swap $((32 << 20)) cat $group/memory.swap.max
is cpuset 0 cat $group/cpuset.cpus
is pids 30 cat $group/pids.max
is io-read yes sh -c "grep '^$number ' $group/io.max | grep -q rbps=2097152 && echo yes"
is io-write yes sh -c "grep '^$number ' $group/io.max | grep -q wiops=100 && echo yes"
is cpu-weight yes sh -c "[ \$(cat $group/cpu.weight) -lt 100 ] && echo yes"
is all-inside yes sh -c "for _ in \$(seq 100); do [ \$(wc -l <$group/cgroup.procs) -ge 11 ] && break; usleep 50000; done
  [ \$(wc -l <$group/cgroup.procs) -ge 11 ] && echo yes"
estiba pause gg >/dev/null
is frozen 'frozen 1' grep frozen $group/cgroup.events
is killed-frozen true sh -c 'estiba unpause gg >/dev/null; estiba inspect -f "{{.State.Running}}" gg'
is thawed 'frozen 0' grep frozen $group/cgroup.events
estiba update -m 48m --memory-swap 48m --pids-limit 20 --cpus 0.25 gg >/dev/null
is memory-changed $((48 << 20)) cat $group/memory.max
is pids-changed 20 cat $group/pids.max
is cpu-changed '25000 100000' cat $group/cpu.max
is devices-still-filtered refused estiba exec gg sh -c 'mknod /tmp/x b 254 0 2>/dev/null && head -c1 /tmp/x || echo refused'
is devices-still-there 1 estiba exec gg sh -c 'head -c 1 /dev/urandom | wc -c'
is stats yes sh -c 'estiba stats --no-stream --format "{{.MemUsage}} {{.PIDs}}" gg | grep -q 48MiB && echo yes'
is killed-whole '' sh -c "estiba kill gg >/dev/null; for _ in \$(seq 100); do [ -d $group ] || break; usleep 50000; done
  ls -d $group 2>/dev/null"
estiba rm -f gg >/dev/null
# Device rules that an update changes are in place of the ones before: of two programs both would have to allow it.
mkdir -p /var/bundle/rootfs
tar -C /var/bundle/rootfs -xf /payload/busybox.tar
rules() { # accesses to the disk
  echo '[{"allow": false, "access": "rwm"},
    {"allow": true, "type": "b", "major": '"${number%:*}"', "minor": '"${number#*:}"', "access": "'"$1"'"}]'
}
sets=$(for set in bounding permitted effective; do printf '"%s": ["CAP_MKNOD"], ' $set; done)
cat >/var/bundle/config.json <<END
{"ociVersion": "1.2.0", "root": {"path": "rootfs"},
 "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin:/sbin"], "args": ["sleep", "1000"],
   "capabilities": {${sets%, }}},
 "mounts": [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}],
 "linux": {"cgroupsPath": "/devices/one", "resources": {"devices": $(rules m)},
   "namespaces": [{"type": "mount"}, {"type": "pid"}]}}
END
is device-container '' sh -c 'estiba-runtime run -d --bundle /var/bundle one </dev/null >/dev/null 2>&1'
disk() { # reads it
  estiba-runtime exec one sh -c "[ -b /dev/disk ] || mknod /dev/disk b ${number%:*} ${number#*:}
    head -c 1 /dev/disk >/dev/null 2>&1 && echo read || echo refused"
}
now() { # accesses
  echo "{\"devices\": $(rules $1)}" | estiba-runtime update --resources - one
}
is device-refused refused disk
is device-allowed '' now rm
is device-read read disk
is device-taken '' now m
is device-refused-again refused disk
is device-container-gone '' estiba-runtime delete --force one
finish
summary 'control groups'
