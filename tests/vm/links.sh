#!/bin/sh
# Networks without a bridge, inside the virtual machine, whose kernel has all their links: macvlan and ipvlan in
# every mode, on an interface, on a VLAN of it and on none; what containers reach, what they do not, and what is
# said when the kernel refuses. Parents that vanish, and a daemon that is killed.
#
#   neighbour 10.9.0.2 ── up0 10.9.0.1 (the machine)
#                          ├ links of containers, 10.9.0.64/27
export DOCKER_HOST=unix:///run/links.sock PATH=/payload:$PATH
. /payload/checks.sh
modules macvlan ipvlan dummy 8021q
tools
lay_neighbour 80
begin
import >/dev/null

# Two containers, which are on no network of these and have no way out until they join one.
estiba network create --internal home >/dev/null
for which in aa bb; do
  estiba run -d --name $which --network home busybox sh -c "$serve" >/dev/null
done
set -- $(estiba inspect -f '{{.State.Pid}}' aa bb)
in_aa="nsenter -t $1 -n" in_bb="nsenter -t $2 -n"
address() { # container, network
  estiba inspect -f "{{.NetworkSettings.Networks.$2.IPAddress}}" "$1"
}
links() { # prefix…: how many besides loopback and the one at home
  "$@" $ip -o link show | grep -vcE ': (lo|eth0)'
}
# Who reaches whom: the neighbour, each other, the host.
flows() { # kind, options of the network, subnet of the containers, whether they reach each other
  variant=$1 siblings=$4
  is network '' sh -c "estiba network create $2 --subnet $3.0/24 --ip-range $3.64/27 net >/dev/null"
  for which in aa bb; do is "$which joins" '' estiba network connect net $which; done
  first=$(address aa net) second=$(address bb net)
  check 'container to neighbour' y "$(open 10.9.0.2 80 $in_aa)"
  check 'neighbour to container' y "$(open "$second" 80 $from_neighbour)"
  case $siblings in y) ask=open ;; *) ask=closed ;; esac
  check 'container to container' "$siblings" "$($ask "$second" 80 $in_aa)"
  check 'host to container' n "$(closed "$first" 80)"
  for which in aa bb; do is "$which leaves" '' estiba network disconnect net $which; done
  check 'their links are gone' '0 0' "$(links $in_aa) $(links $in_bb)"
  is 'the network, too' net estiba network rm net
  variant=
}
flows 'macvlan bridge' '-d macvlan -o parent=up0' 10.9.0 y
flows 'macvlan private' '-d macvlan -o parent=up0 -o macvlan_mode=private' 10.9.0 n
flows 'macvlan vepa' '-d macvlan -o parent=up0 -o macvlan_mode=vepa' 10.9.0 n
flows 'ipvlan l2' '-d ipvlan -o parent=up0' 10.9.0 y
flows 'ipvlan l2 private' '-d ipvlan -o parent=up0 -o ipvlan_flag=private' 10.9.0 n
# The neighbour has the subnet behind this machine, whose interface answers for it.
flows 'ipvlan l3' '-d ipvlan -o parent=up0 -o ipvlan_mode=l3' 10.8.0 y
flows 'ipvlan l3s' '-d ipvlan -o parent=up0 -o ipvlan_mode=l3s' 10.8.0 y

# The whole interface is one container's, from its start on.
estiba network create -d macvlan -o parent=up0 -o macvlan_mode=passthru --subnet 10.9.0.0/24 \
  --ip-range 10.9.0.64/27 whole >/dev/null
estiba run -d --name cc --network whole busybox sleep 100000 >/dev/null
check 'passthru container to neighbour' y \
  "$(open 10.9.0.2 80 nsenter -t "$(estiba inspect -f '{{.State.Pid}}' cc)" -n)"
is 'passthru is for one' refused sh -c \
  'estiba network connect whole aa 2>&1 | grep -q "create link eth" && echo refused'
estiba rm -f cc >/dev/null
estiba network rm whole >/dev/null

# Nothing but each other: a dummy, made and removed with the network.
for driver in macvlan ipvlan; do
  variant="$driver island"
  estiba network create -d $driver island >/dev/null
  parent=$(estiba network inspect -f '{{.Options.parent}}' island)
  is 'has a dummy' 1 sh -c "$ip -o link show type dummy | grep -c $parent"
  for which in aa bb; do estiba network connect island $which; done
  estiba network disconnect home bb
  check 'by name' y "$(open bb 80 estiba exec -i aa)"
  check 'to neighbour' n "$(closed 10.9.0.2 80 $in_aa)"
  estiba network connect home bb
  for which in aa bb; do estiba network disconnect island $which; done
  estiba network rm island >/dev/null
  is 'dummy is gone' 0 sh -c "$ip -o link show type dummy | grep -c $parent"
  variant=
done

# A VLAN of the interface, made and removed with the network; the neighbour is on it, too.
$from_neighbour $ip link add link wire0 name wire0.50 type vlan id 50
$from_neighbour $ip addr add 10.50.0.2/24 dev wire0.50
$from_neighbour $ip link set wire0.50 up
estiba network create -d macvlan -o parent=up0.50 --subnet 10.50.0.0/24 --ip-range 10.50.0.64/27 tagged >/dev/null
estiba network connect tagged aa
check 'VLAN to neighbour' y "$(open 10.50.0.2 80 $in_aa)"
estiba network disconnect tagged aa
estiba network rm tagged >/dev/null
is 'VLAN is gone' 0 sh -c "$ip -o link show | grep -c up0.50"

# What is refused, and in which words.
refused() { # what is said, create options
  said=$1
  shift
  is "refused: $said" y sh -c "estiba network create $* bad 2>&1 | grep -q '$said' && echo y"
}
refused 'macvlan mode .sideways. is not valid' -d macvlan -o parent=up0 -o macvlan_mode=sideways
refused 'ipvlan mode .l4. is not valid' -d ipvlan -o parent=up0 -o ipvlan_mode=l4
refused 'loopback interface is not a valid parent' -d macvlan -o parent=lo
refused 'parent interface nosuch was not found' -d ipvlan -o parent=nosuch.7
estiba network create -d macvlan -o parent=up0 --subnet 10.9.0.0/24 --ip-range 10.9.0.64/27 mac >/dev/null
estiba network connect mac aa
refused 'Device or resource busy' -d ipvlan -o parent=up0 --subnet 10.7.0.0/24

# A daemon that is killed leaves them as they are, and the next one knows them.
first=$(address aa mac)
crash
check 'without a daemon' y "$(open "$first" 80 $from_neighbour)"
begin
check 'with the next' y "$(open "$first" 80 $from_neighbour)"
estiba network connect mac bb
second=$(address bb mac)
is 'no address is given twice' different sh -c "[ $first = $second ] || echo different"

# The parent vanishes: containers go on without the link, and all else is said and can be removed.
$ip link del up0
is 'the container goes on' true estiba inspect -f '{{.State.Running}}' aa
check 'its link went with the parent' 0 "$(links $in_aa)"
is 'a start says which is missing' y sh -c \
  'estiba run --rm --network mac busybox true 2>&1 | grep -q "up0" && echo y'
is 'a restart, too' y sh -c 'estiba restart -t 0 aa 2>&1 | grep -q "up0" && echo y'
is 'all is removed' '' sh -c 'estiba rm -f aa bb >/dev/null; estiba network rm mac home >/dev/null'
is 'no link is left' 0 sh -c "$ip -o link show | grep -cE 'macvlan|ipvlan|dm-|try'"
finish
end_neighbour
summary links
