#!/bin/sh
# Networks without a bridge, inside the virtual machine, whose kernel has all their links: macvlan and ipvlan in
# every mode, on an interface, on a VLAN of it and on none; what containers reach, what they do not, and what is
# said when the kernel refuses. Parents that vanish, and a daemon that is killed.
#
#   neighbour 10.9.0.2 ── up0 10.9.0.1 (the machine)
#                          ├ links of containers, 10.9.0.64/27
export DOCKER_HOST=unix:///run/links.sock PATH=/payload:$PATH
. /payload/checks.sh
cp -a /payload/tools/. /
ip=/usr/sbin/ip # the shell would take busybox's own
start() {
  estiba daemon --data-root /var/lib/links --exec-root /run/links --pidfile /run/links.pid -H $DOCKER_HOST \
    >>/run/links.log 2>&1 &
  daemon=$!
  for _ in $(seq 300); do estiba version >/dev/null 2>&1 && return; usleep 100000; done
  echo "the daemon does not answer"
  cat /run/links.log
}
# y or n: whether the page is to be had from ADDRESS, asked by a prefix command.
open() {
  for _ in 1 2 3 4 5; do
    said=$(printf 'GET /index.html HTTP/1.0\r\n\r\n' | "$@" 2>/dev/null | tail -n 1)
    [ "$said" = here ] && { echo y; return; }
    usleep 200000
  done
  echo n
}
# What is dropped is silent: asked once.
shut() {
  said=$(printf 'GET /index.html HTTP/1.0\r\n\r\n' | "$@" 2>/dev/null | tail -n 1)
  [ "$said" = here ] && echo y || echo n
}
get() { # address
  echo "busybox nc -w 1 $1 80"
}
for module in overlay bridge veth macvlan ipvlan dummy 8021q nf_tables nft_chain_nat nft_masq nft_ct; do
  modprobe $module 2>/dev/null
done
$ip link add up0 type veth peer name wire0
unshare -n sh -c 'exec sleep 100000' &
neighbour=$!
beside="nsenter -t $neighbour -n"
for _ in $(seq 50); do
  [ "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break
  usleep 20000
done
$ip link set wire0 netns $neighbour
$ip addr add 10.9.0.1/24 dev up0
$ip link set up0 up
$beside $ip link set lo up
$beside $ip link set wire0 up
$beside $ip addr add 10.9.0.2/24 dev wire0
$beside $ip route add default via 10.9.0.1
mkdir -p /run/www && echo here >/run/www/index.html
$beside busybox httpd -f -p 80 -h /run/www &
page=$!
start
estiba import -c 'CMD ["sh"]' /payload/busybox.tar busybox:latest >/dev/null
serve='echo here >/index.html; exec httpd -f -p 80 -h /'

# Two containers, and who reaches whom: the neighbour, each other, the host.
flows() { # kind, options of the network, subnet of the containers, whether they reach each other
  kind=$1 options=$2 subnet=$3 siblings=$4
  is "$kind: network" '' sh -c \
    "estiba network create $options --subnet $subnet.0/24 --ip-range $subnet.64/27 net >/dev/null"
  for which in aa bb; do
    is "$kind: start $which" '' sh -c \
      "estiba run -d --name $which --network net busybox sh -c '$serve' >/dev/null"
  done
  first=$(estiba inspect -f '{{.NetworkSettings.Networks.net.IPAddress}}' aa)
  second=$(estiba inspect -f '{{.NetworkSettings.Networks.net.IPAddress}}' bb)
  is "$kind: container to neighbour" y open estiba exec -i aa $(get 10.9.0.2)
  is "$kind: neighbour to container" y open $beside $(get "$second")
  case $siblings in y) ask=open ;; *) ask=shut ;; esac
  is "$kind: container to container" "$siblings" $ask estiba exec -i aa $(get "$second")
  is "$kind: host to container" n shut $(get "$first")
  is "$kind: disconnected" '' estiba network disconnect net aa
  is "$kind: its link is gone" 0 sh -c 'estiba exec aa ip -o link show | grep -c eth0'
  is "$kind: connected again" '' estiba network connect net aa
  is "$kind: and reached" y open estiba exec -i aa $(get 10.9.0.2)
  is "$kind: removed" '' sh -c 'estiba rm -f aa bb >/dev/null; estiba network rm net >/dev/null'
}
flows 'macvlan bridge' '-d macvlan -o parent=up0' 10.9.0 y
flows 'macvlan private' '-d macvlan -o parent=up0 -o macvlan_mode=private' 10.9.0 n
flows 'macvlan vepa' '-d macvlan -o parent=up0 -o macvlan_mode=vepa' 10.9.0 n
flows 'ipvlan l2' '-d ipvlan -o parent=up0' 10.9.0 y
flows 'ipvlan l2 private' '-d ipvlan -o parent=up0 -o ipvlan_flag=private' 10.9.0 n
flows 'ipvlan l3' '-d ipvlan -o parent=up0 -o ipvlan_mode=l3' 10.8.0 y
flows 'ipvlan l3s' '-d ipvlan -o parent=up0 -o ipvlan_mode=l3s' 10.8.0 y

# The whole interface is one container's.
estiba network create -d macvlan -o parent=up0 -o macvlan_mode=passthru --subnet 10.9.0.0/24 \
  --ip-range 10.9.0.64/27 net >/dev/null
is 'macvlan passthru' '' sh -c "estiba run -d --name aa --network net busybox sh -c '$serve' >/dev/null"
is 'passthru container to neighbour' y open estiba exec -i aa $(get 10.9.0.2)
is 'passthru is for one' refused sh -c \
  'estiba run -d --name bb --network net busybox sleep 1000 2>&1 | grep -q "create link eth0" && echo refused'
estiba rm -f aa bb >/dev/null
estiba network rm net >/dev/null

# Nothing but each other: a dummy, made and removed with the network.
for driver in macvlan ipvlan; do
  estiba network create -d $driver island >/dev/null
  parent=$(estiba network inspect -f '{{.Options.parent}}' island)
  is "$driver island has a dummy" 1 sh -c "$ip -o link show type dummy | grep -c $parent"
  for which in aa bb; do estiba run -d --name $which --network island busybox sh -c "$serve" >/dev/null; done
  is "$driver island by name" y open estiba exec -i aa $(get bb)
  is "$driver island to neighbour" n shut estiba exec -i aa $(get 10.9.0.2)
  estiba rm -f aa bb >/dev/null
  estiba network rm island >/dev/null
  is "$driver island's dummy is gone" 0 sh -c "$ip -o link show type dummy | grep -c $parent"
done

# A VLAN of the interface, made and removed with the network; the neighbour is on it, too.
$beside $ip link add link wire0 name wire0.50 type vlan id 50
$beside $ip addr add 10.50.0.2/24 dev wire0.50
$beside $ip link set wire0.50 up
estiba network create -d macvlan -o parent=up0.50 --subnet 10.50.0.0/24 --ip-range 10.50.0.64/27 tagged >/dev/null
estiba run -d --name aa --network tagged busybox sleep 1000 >/dev/null
is 'VLAN to neighbour' y open estiba exec -i aa $(get 10.50.0.2)
estiba rm -f aa >/dev/null
estiba network rm tagged >/dev/null
is 'VLAN is gone' 0 sh -c "$ip -o link show | grep -c up0.50"

# What is refused, and in which words.
refused() { # what is said, create options
  said=$1
  shift
  is "refused: $said" y sh -c "estiba network create $* bad 2>&1 | grep -q '$said' && echo y"
  estiba network rm bad >/dev/null 2>&1
}
refused 'macvlan mode .sideways. is not valid' -d macvlan -o parent=up0 -o macvlan_mode=sideways
refused 'ipvlan mode .l4. is not valid' -d ipvlan -o parent=up0 -o ipvlan_mode=l4
refused "loopback interface is not a valid parent" -d macvlan -o parent=lo
refused "parent interface nosuch was not found" -d ipvlan -o parent=nosuch.7
estiba network create -d macvlan -o parent=up0 --subnet 10.9.0.0/24 --ip-range 10.9.0.64/27 mac >/dev/null
estiba run -d --name aa --network mac busybox sh -c "$serve" >/dev/null
refused "Device or resource busy" -d ipvlan -o parent=up0 --subnet 10.7.0.0/24

# A daemon that is killed leaves them as they are, and the next one knows them.
first=$(estiba inspect -f '{{.NetworkSettings.Networks.mac.IPAddress}}' aa)
kill -9 $daemon
wait $daemon 2>/dev/null
is 'without a daemon' y open $beside $(get "$first")
start
is 'with the next' y open $beside $(get "$first")
estiba run -d --name bb --network mac busybox sleep 1000 >/dev/null
is 'no address is given twice' different sh -c \
  "[ $first = \$(estiba inspect -f '{{.NetworkSettings.Networks.mac.IPAddress}}' bb) ] || echo different"

# The parent vanishes: containers go on without the link, and all else is said and can be removed.
$ip link del up0
is 'the container goes on' true estiba inspect -f '{{.State.Running}}' aa
is 'its link went with the parent' 0 sh -c 'estiba exec aa ip -o link show | grep -c eth0'
is 'a start says which is missing' y sh -c \
  'estiba run --rm --network mac busybox true 2>&1 | grep -q "up0" && echo y'
is 'a restart, too' y sh -c 'estiba restart -t 0 aa 2>&1 | grep -q "up0" && echo y'
is 'all is removed' '' sh -c 'estiba rm -f aa bb >/dev/null; estiba network rm mac >/dev/null'
is 'no link is left' 0 sh -c "$ip -o link show | grep -cE 'macvlan|ipvlan|dm-|try'"
kill $daemon
wait $daemon
kill $neighbour $page
[ $failed = 0 ] || tail -n 40 /run/links.log
echo "vm links: $passed passed, $failed failed"
[ $failed = 0 ]
