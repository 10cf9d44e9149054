#!/bin/sh
# The firewall beside the host's own, inside the virtual machine: with nftables alone, and with Debian's
# iptables over either of its backends. The same flows before and after others flush and reload the
# rules, with a closed FORWARD, and while the daemon is another one; and the word of DOCKER-USER.
#
#   neighbour 10.9.0.2 ── up0 10.9.0.1 (the machine) ── bridge ── web :80
#                                                     └─ bridge ── far
export DOCKER_HOST=unix:///run/firewall.sock PATH=/usr/sbin:/usr/bin:/sbin:/bin:/payload
. /payload/checks.sh
# Until a flow is as wanted, for as long as rules may take to be there.
settle() { # name, wanted, address, port, prefix…
  name=$1 want=$2
  shift 2
  for _ in $(seq 30); do
    got=$(closed "$@")
    [ "$got" = "$want" ] && break
    usleep 100000
  done
  check "$name" "$want" "$got"
}
flow() { # name, wanted, closed or open, address, port, prefix…
  name=$1 want=$2
  shift 2
  printf '%s\n' "$name" "$want" "$("$@")" >"/run/flows/$name"
}
# All at the same time: silence takes a second to be heard.
flows() { # when
  rm -rf /run/flows
  mkdir /run/flows
  asked=
  flow "neighbour to a published port" y open 10.9.0.1 8080 $from_neighbour & asked="$asked $!"
  flow "neighbour to a port on loopback" n closed 10.9.0.1 8081 $from_neighbour & asked="$asked $!"
  flow "neighbour past the host" n closed "$web" 80 $from_neighbour & asked="$asked $!"
  flow "the host to a port on loopback" y open 127.0.0.1 8081 & asked="$asked $!"
  flow "another network to it" n closed "$web" 80 $from_far & asked="$asked $!"
  flow "a container to the world" y open 10.9.0.2 82 $from_far & asked="$asked $!"
  wait $asked
  for told in /run/flows/*; do
    { read -r name; read -r want; read -r got; } <"$told"
    check "$1: $name" "$want" "$got"
  done
}
containers() {
  import >/dev/null
  estiba network create other >/dev/null
  estiba run -d --name web -p 8080:80 -p 127.0.0.1:8081:80 busybox sh -c "$serve" >/dev/null
  estiba run -d --name far --network other busybox sleep 100000 >/dev/null
  web=$(estiba inspect -f '{{.NetworkSettings.IPAddress}}' web)
  from_far="nsenter -t $(estiba inspect -f '{{.State.Pid}}' far) -n"
  settle "it serves" y 127.0.0.1 8080
}
# Whether the administrator's chain stands, within the two seconds that are promised.
stands() {
  for _ in $(seq 40); do
    iptables -S DOCKER-USER >/dev/null 2>&1 && iptables -C FORWARD -j ESTIBA-FORWARD 2>/dev/null && break
    usleep 50000
  done
  iptables -C FORWARD -j ESTIBA-FORWARD 2>/dev/null && echo y || echo n
}
with_iptables() {
  check "DOCKER-USER is there" y "$(stands)"
  iptables -I DOCKER-USER -i up0 -p tcp --dport 80 -j DROP
  check "DROP in DOCKER-USER is final" n "$(closed 10.9.0.1 8080 $from_neighbour)"
  check "and is about what it says" y "$(open 127.0.0.1 8080)"
  iptables -D DOCKER-USER -i up0 -p tcp --dport 80 -j DROP
  iptables -I DOCKER-USER -d "$web" -p tcp --dport 80 -j ACCEPT
  check "ACCEPT in DOCKER-USER opens" y "$(open "$web" 80 $from_neighbour)"
  iptables -D DOCKER-USER -d "$web" -p tcp --dport 80 -j ACCEPT
  flows "after both"
  iptables -P FORWARD DROP
  flows "FORWARD drops"
  iptables-save >/run/rules
  iptables-restore </run/rules
  flows "after a reload of what was saved"
  check "the chain after a reload" y "$(stands)"
  iptables -P FORWARD ACCEPT
  printf '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n' | iptables-restore
  flows "after a reload of other rules"
  check "the chain after other rules" y "$(stands)"
  iptables -F
  iptables -X 2>/dev/null
  iptables -t nat -F
  flows "after a flush"
  check "the chain after a flush" y "$(stands)"
}
modules nft_fib_ipv4 nft_fib_ipv6 nft_compat ip_tables iptable_filter iptable_nat ip6_tables ip6table_filter \
  xt_mark xt_comment xt_tcpudp
tools
lay_neighbour 82
for variant in none nft legacy; do
  rm -f /usr/sbin/iptables* /usr/sbin/ip6tables*
  [ $variant = none ] || for name in iptables iptables-save iptables-restore ip6tables ip6tables-restore; do
    ln -s "xtables-$variant-multi" "/usr/sbin/$name"
  done
  begin
  [ $variant = none ] && {
    containers
    # The tables of this kernel have no owner: a second daemon has to see for itself.
    other=$(estiba daemon --data-root /var/lib/other --exec-root /run/other --pidfile /run/other.pid \
      -H unix:///run/other.sock 2>&1)
    check "a second daemon is refused" y \
      "$(echo "$other" | grep -q "another daemon's (process $daemon)" && echo y || echo "$other")"
  }
  web=$(estiba inspect -f '{{.NetworkSettings.IPAddress}}' web)
  flows "at first"
  [ $variant = none ] || with_iptables
  nft flush ruleset
  settle "its own rules come back" y 10.9.0.1 8080 $from_neighbour
  flows "after nft flush ruleset"
  crash
  flows "without a daemon"
  [ $variant = none ] || {
    iptables -F
    flows "after a flush that no daemon saw"
    begin
    check "the chain is laid by the next daemon" y "$(stands)"
    crash
  }
  # What the next variant would find of this one.
  [ $variant = none ] || { iptables -F; iptables -X; iptables -P FORWARD ACCEPT; }
done
variant=
begin
estiba rm -f web far >/dev/null
estiba network rm other >/dev/null
finish
end_neighbour
summary firewall
