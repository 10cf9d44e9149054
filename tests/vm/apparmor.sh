#!/bin/sh
# AppArmor, inside the virtual machine: a profile that was asked for is on the first process, on an exec and on a
# health check; what it denies is denied there; a profile that is not loaded fails the start (law C6).
export DOCKER_HOST=unix:///run/apparmor.sock PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
passed=0
failed=0
is() { # name, wanted, command…
  name=$1
  want=$2
  shift 2
  out=$("$@" 2>&1)
  if [ "$out" = "$want" ]; then passed=$((passed + 1)); echo "ok $name"; else
    failed=$((failed + 1))
    echo "FAILED $name: $* -> $(printf '%s' "$out" | tail -n 3), wanted $want"
  fi
}
# The parser and what it loads; the machine's own root is busybox alone.
for place in usr/sbin lib lib64; do
  mkdir -p "/$place" && cp -r "/payload/tools/$place/." "/$place/"
done
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
for module in overlay bridge veth nf_tables nft_chain_nat nft_masq nft_ct; do modprobe $module 2>/dev/null; done
estiba daemon --data-root /var/lib/apparmor --exec-root /run/apparmor --pidfile /run/apparmor.pid -H $DOCKER_HOST \
  >>/run/apparmor.log 2>&1 &
daemon=$!
for _ in $(seq 300); do estiba version >/dev/null 2>&1 && break; usleep 100000; done
estiba import -c 'CMD ["sh"]' /payload/busybox.tar busybox:latest >/dev/null
run='estiba run --rm --network none'
confined="$run --security-opt apparmor=estiba-test busybox"
is info yes sh -c 'estiba info --format "{{.SecurityOptions}}" | grep -q name=apparmor && echo yes'
is run 'estiba-test (enforce)' $confined cat /proc/self/attr/current
is readable-without yes $run busybox sh -c 'cat /etc/hostname >/dev/null && echo yes'
is denied-to-read no $confined sh -c 'cat /etc/hostname 2>/dev/null || echo no'
is denied-to-write no $confined sh -c 'echo x 2>/dev/null >/etc/x || echo no'
is allowed-elsewhere yes $confined sh -c 'echo yes >/tmp/x; cat /tmp/x'
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
kill $daemon
wait $daemon 2>/dev/null
[ $failed = 0 ] || cat /run/apparmor.log
echo "vm, AppArmor: $passed passed, $failed failed"
[ $failed = 0 ]
