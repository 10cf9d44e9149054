#!/bin/sh
# An ordinary user's daemon with a control group of version 2 that was delegated to the user: limits hold there, are
# changed and told, and nothing is silently left out.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
. /payload/checks.sh
tools
chmod 4755 /usr/sbin/newuidmap /usr/sbin/newgidmap
modules tun
mkdir -p /home/ada /run/user/1000 /dev/net
[ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200
chmod 666 /dev/net/tun /dev/null /dev/zero /dev/urandom /dev/random /dev/full /dev/tty
chmod 755 / /payload /run /home
chmod 1777 /tmp
echo 'ada:x:1000:1000::/home/ada:/bin/sh' >>/etc/passwd
echo 'ada:x:1000:' >>/etc/group
echo 'ada:100000:65536' >/etc/subuid
cp /etc/subuid /etc/subgid
chown 1000:1000 /home/ada /run/user/1000
chmod 700 /run/user/1000
# What systemd does for a unit with Delegate=yes.
group=/sys/fs/cgroup/ada
mkdir $group
for c in $(cat $group/cgroup.controllers); do echo +$c >$group/cgroup.subtree_control; done
for c in $(cat $group/cgroup.controllers); do echo -$c >$group/cgroup.subtree_control; done
chown 1000:1000 $group $group/cgroup.procs $group/cgroup.subtree_control $group/cgroup.threads
as_ada() { # command…
  env -i PATH=$PATH HOME=/home/ada XDG_RUNTIME_DIR=/run/user/1000 ESTIBA_ROOTLESS_NET=${net:-none} \
    /usr/sbin/setpriv --reuid 1000 --regid 1000 --clear-groups -- "$@"
}
start() {
  sh -c "echo \$\$ >$group/cgroup.procs; exec env -i PATH=$PATH HOME=/home/ada XDG_RUNTIME_DIR=/run/user/1000 \
    ESTIBA_ROOTLESS_NET=none /usr/sbin/setpriv --reuid 1000 --regid 1000 --clear-groups -- estiba daemon" >>/run/ada.log 2>&1 &
  daemon=$!
  for _ in $(seq 300); do as_ada estiba version >/dev/null 2>&1 && return; usleep 100000; done
  echo "the daemon does not answer"
  cat /run/ada.log
}
start
e() { as_ada estiba "$@"; }
e import -c 'CMD ["sh"]' /payload/busybox.tar busybox:latest >/dev/null
is driver cgroupfs e info --format '{{.CgroupDriver}}'
is version 2 e info --format '{{.CgroupVersion}}'
is told yes sh -c 'grep -q "no control groups were delegated" /run/ada.log || echo yes'
is run hello e run --rm busybox echo hello
id=$(e run -d --name cc -m 32m --memory-swap 48m --cpus 0.5 --pids-limit 50 busybox sleep 1000)
is root-inside 0 e exec cc id -u
pid=$(e inspect -f '{{.State.Pid}}' cc)
is user-outside 1000 sh -c "awk '/^Uid:/ {print \$2}' /proc/$pid/status"
is memory $((32 << 20)) e exec cc cat /sys/fs/cgroup/memory.max
is swap $((16 << 20)) e exec cc cat /sys/fs/cgroup/memory.swap.max
is cpu '50000 100000' e exec cc cat /sys/fs/cgroup/cpu.max
is pids 50 e exec cc cat /sys/fs/cgroup/pids.max
is own-cgroup 0::/ e exec cc cat /proc/1/cgroup
is exec-same-cgroup 0::/ e exec cc cat /proc/self/cgroup
is not-the-users-own refused e exec cc sh -c 'echo max 2>/dev/null >/sys/fs/cgroup/memory.max || echo refused'
is below-the-delegated yes sh -c "find $group -name '$id' | grep -q . && echo yes"
is limits-told 32MiB sh -c "env -i PATH=$PATH HOME=/home/ada XDG_RUNTIME_DIR=/run/user/1000 /usr/sbin/setpriv --reuid 1000 --regid 1000 --clear-groups -- \
  estiba stats --no-stream --format '{{.MemUsage}}' cc | sed 's/.* //'"
e update -m 40m --memory-swap 40m --pids-limit 20 cc >/dev/null
is updated $((40 << 20)) e exec cc cat /sys/fs/cgroup/memory.max
is updated-pids 20 e exec cc cat /sys/fs/cgroup/pids.max
e pause cc >/dev/null
is paused true e inspect -f '{{.State.Paused}}' cc
e unpause cc >/dev/null
is thawed again e exec cc echo again
e run --name oom -m 16m --memory-swap 16m busybox sh -c 'x=a; while :; do x=$x$x; done' >/dev/null 2>&1
is out-of-memory 'true 137' e inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom
is layers-delete gone e run --rm busybox sh -c 'rm /etc/passwd && [ ! -e /etc/passwd ] && echo gone'
kill -9 $daemon
wait $daemon 2>/dev/null
start
is found-again "$pid" e inspect -f '{{.State.Pid}}' cc
is exec-after-restore "$((40 << 20))" e exec cc cat /sys/fs/cgroup/memory.max
e rm -f cc oom >/dev/null
is nothing-left '' sh -c "find $group -name '$id'"
kill $daemon
wait $daemon 2>/dev/null
[ $failed = 0 ] || tail -n 30 /run/ada.log
echo "vm, an ordinary user: $passed passed, $failed failed"
[ $failed = 0 ]
