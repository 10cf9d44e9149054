#!/bin/sh
# AppArmor, inside the virtual machine: a profile that was asked for is on the first process, on an exec and on a
# health check; what it denies is denied there; a profile that is not loaded fails the start (law C6).
export DOCKER_HOST=unix:///run/apparmor.sock PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
. /payload/checks.sh
tools
mkdir -p /etc/apparmor && : >/etc/apparmor/parser.conf
cat >/tmp/profile <<'P'
profile estiba-test flags=(attach_disconnected,mediate_deleted) {
  file,
  network,
  capability,
  signal,
  unix,
  ptrace peer=estiba-test,
  deny /etc/hostname r,
  deny /etc/** w,
}
P
is loaded '' apparmor_parser --skip-cache --replace /tmp/profile
modules
begin
import >/dev/null
run='estiba run --rm --network none'
confined="$run --security-opt apparmor=estiba-test busybox"
is info yes sh -c 'estiba info --format "{{.SecurityOptions}}" | grep -q name=apparmor && echo yes'
is run 'estiba-test (enforce)' $confined cat /proc/self/attr/current
is readable-without yes $run busybox sh -c 'cat /etc/hostname >/dev/null && echo yes'
is denied-to-read no $confined sh -c 'cat /etc/hostname 2>/dev/null || echo no'
is denied-to-write no $confined sh -c 'echo x 2>/dev/null >/etc/x || echo no'
is allowed-elsewhere yes $confined sh -c 'echo yes >/tmp/x; cat /tmp/x'
is default 'estiba-default (enforce)' $run busybox cat /proc/self/attr/current
is default-of-docker 'estiba-default (enforce)' $run --security-opt profile=docker busybox cat /proc/self/attr/current
is privileged unconfined $run --privileged busybox cat /proc/self/attr/current
is default-writes yes $run busybox sh -c 'echo yes >/etc/x; cat /etc/x; : >/dev/null'
# Where masks and read-only mounts are left out, the profile still denies.
bare="$run --userns host --cap-add SYS_ADMIN --security-opt systempaths=unconfined --security-opt seccomp=unconfined"
is default-kernel-parameters denied $bare busybox sh -c 'echo 1 2>/dev/null >/proc/sys/vm/drop_caches || echo denied'
is default-modprobe denied $bare busybox sh -c 'echo /x 2>/dev/null >/proc/sys/kernel/modprobe || echo denied'
is default-sysrq denied $bare busybox sh -c 'echo h 2>/dev/null >/proc/sysrq-trigger || echo denied'
is default-kcore denied $bare busybox sh -c 'head -c1 /proc/kcore >/dev/null 2>&1 || echo denied'
is default-mounts denied $bare busybox sh -c 'mount -t tmpfs tmpfs /mnt 2>/dev/null || echo denied'
is default-own-parameters 77 $bare --sysctl kernel.msgmax=9000 busybox \
  sh -c 'echo 77 >/proc/sys/kernel/msgmnb && cat /proc/sys/kernel/msgmnb'
is default-signals yes $run busybox sh -c '(sleep 100 & kill $!; wait $!) 2>/dev/null; echo yes'
is unconfined unconfined $run --security-opt apparmor=unconfined busybox cat /proc/self/attr/current
is unconfined-writes yes $run --security-opt apparmor=unconfined busybox sh -c 'echo yes >/etc/x; cat /etc/x'
is missing-profile refused sh -c "$run --security-opt apparmor=no-such-profile busybox true 2>/dev/null || echo refused"
estiba run -d --name aa --network none --security-opt apparmor=estiba-test \
  --health-cmd 'cat /proc/self/attr/current' --health-interval 1s busybox sleep 1000 >/dev/null
is exec 'estiba-test (enforce)' estiba exec aa cat /proc/self/attr/current
is exec-denied no estiba exec aa sh -c 'echo x 2>/dev/null >/etc/x || echo no'
is exec-of-another-user 'estiba-test (enforce)' estiba exec -u 1000 aa cat /proc/self/attr/current
is inspected estiba-test estiba inspect -f '{{.AppArmorProfile}}' aa
is health-check 'estiba-test (enforce)' sh -c 'for _ in $(seq 300); do
  said=$(estiba inspect -f "{{range .State.Health.Log}}{{.Output}}{{end}}" aa | head -n 1)
  [ -n "$said" ] && break; usleep 100000; done; echo "$said"'
is restarted 'estiba-test (enforce)' sh -c 'estiba restart -t 0 aa >/dev/null; estiba exec aa cat /proc/self/attr/current'
estiba rm -f aa >/dev/null
estiba run -d --name dd --network none --health-cmd 'cat /proc/self/attr/current' --health-interval 1s \
  busybox sleep 1000 >/dev/null
is default-inspected estiba-default estiba inspect -f '{{.AppArmorProfile}}' dd
is default-exec 'estiba-default (enforce)' estiba exec dd cat /proc/self/attr/current
is default-health-check 'estiba-default (enforce)' sh -c 'for _ in $(seq 300); do
  said=$(estiba inspect -f "{{range .State.Health.Log}}{{.Output}}{{end}}" dd | head -n 1)
  [ -n "$said" ] && break; usleep 100000; done; echo "$said"'
is default-stops 0 sh -c 'estiba stop -t 20 dd >/dev/null; echo $?'
estiba rm -f dd >/dev/null
mkdir -p /tmp/step && printf 'FROM busybox\nRUN cat /proc/self/attr/current >/said\n' >/tmp/step/Dockerfile
estiba build -q -t step --network none /tmp/step >/dev/null
is default-build-step 'estiba-default (enforce)' $run step cat /said
finish
summary AppArmor
