#!/bin/bash
# Debian's firewalld and ufw, the real ones, beside our daemon: who reaches what, before and after they reload.
#   scripts/host-firewalls.sh BIN IMAGES WORK
# Needs root and Debian's packages, which are unpacked into WORK and not installed. Everything runs in namespaces of its
# own; the machine's firewall is not touched.
set -eu
bin=$(cd "$1" && pwd) images=$(cd "$2" && pwd)
mkdir -p "$3" && work=$(cd "$3" && pwd)
root=$work/root
packages="firewalld python3-firewall python3-dbus python3-gi python3-nftables python3-cap-ng dbus-daemon dbus-bin
  gir1.2-glib-2.0 libgirepository-1.0-1 libcap-ng0 libdbus-1-3 dbus-system-bus-common ufw"
if [ ! -e "$work/complete" ]; then
  (cd "$work" && apt-get download -qq $packages 2>/dev/null && for deb in *.deb; do dpkg-deb -x "$deb" root; done)
  touch "$work/complete"
fi
if [ "${INSIDE:-}" = "" ]; then
  [ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }
  INSIDE=yes exec unshare --net --mount --pid --fork --kill-child --propagation private "$0" "$bin" "$images" "$work"
fi
mount -t proc proc /proc
mount -t tmpfs none /run
mount -t tmpfs none /mnt
mkdir -p /run/dbus /run/netns /run/lock /mnt/etc /mnt/etc-work /mnt/lib /mnt/lib-work
mount -t overlay overlay -o "lowerdir=$root/etc:/etc,upperdir=/mnt/etc,workdir=/mnt/etc-work" /etc
mount -t overlay overlay -o "lowerdir=$root/lib:$root/usr/lib:/usr/lib,upperdir=/mnt/lib,workdir=/mnt/lib-work" /usr/lib
mount -t overlay overlay -o "lowerdir=$root/usr/share:/usr/share" /usr/share
export PYTHONPATH=$root/usr/lib/python3/dist-packages LC_ALL=C.UTF-8
export GI_TYPELIB_PATH=$root/usr/lib/x86_64-linux-gnu/girepository-1.0
export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu PATH=$bin:$root/usr/bin:$root/usr/sbin:$PATH
lab=$(mktemp -d /mnt/lab.XXXX)
export DOCKER_HOST=unix://$lab/estiba.sock HOME=$lab
group=estiba-firewalls-$$
passed=0

# The host is 10.9.0.1, its neighbour 10.9.0.2.
ip link set lo up
ip netns add neighbour
ip link add up0 type veth peer name wire0 netns neighbour
ip addr add 10.9.0.1/24 dev up0
ip link set up0 up
ip -n neighbour link set lo up
ip -n neighbour link set wire0 up
ip -n neighbour addr add 10.9.0.2/24 dev wire0
ip -n neighbour route add default via 10.9.0.1
mkdir -p "$lab/page" && echo page > "$lab/page/index.html"
ip netns exec neighbour busybox httpd -p 10.9.0.2:80 -h "$lab/page"

neighbour() { [ "$(ip netns exec neighbour curl -s -m 2 "http://$1/index.html")" = page ]; }
host() { [ "$(curl -s -m 2 "http://$1/index.html")" = page ]; }
inside() { nsenter -t "$web" -n curl -s -m 2 "http://$1/index.html" | grep -q page; }
soon() { for _ in $(seq 40); do "$@" && return 0; sleep 0.1; done; return 1; }
# what it is, then the flow: it comes up within seconds, and stays
opens() { soon "${@:2}" || { echo "FAILED: $1: ${*:2} is closed" >&2; exit 1; }; passed=$((passed + 1)); }
closed() { if "${@:2}"; then echo "FAILED: $1: ${*:2} is open" >&2; exit 1; fi; passed=$((passed + 1)); }

begin() {
  estiba daemon --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" -H "$DOCKER_HOST" \
    --config-file "$lab/none.json" --cgroup-parent "/$group" "$@" >> "$lab/log" 2>&1 &
  daemon=$!
  soon estiba version > /dev/null 2>&1 || { cat "$lab/log" >&2; exit 1; }
  [ -e "$lab/imported" ] || estiba import -c 'CMD ["sh"]' "$images/busybox.tar" busybox:latest > "$lab/imported"
  estiba network create app > /dev/null
  estiba run -d --name web --network app -p 8080:80 busybox \
    sh -c 'echo page > /index.html; exec httpd -f -p 80 -h /' > /dev/null
  web=$(estiba inspect -f '{{.State.Pid}}' web)
  address=$(estiba inspect -f '{{.NetworkSettings.Networks.app.IPAddress}}' web)
}
end() {
  estiba rm -f web > /dev/null
  estiba network rm app > /dev/null
  kill "$daemon"; wait "$daemon" || true
}
trap 'status=$?; [ $status = 0 ] || tail -20 "$lab/log" >&2; for t in /sys/fs/cgroup/*/$group; do rmdir "$t" 2>/dev/null; done; exit $status' EXIT

all() {
  opens "$1" neighbour 10.9.0.1:8080
  opens "$1" host 127.0.0.1:8080
  opens "$1" host "$address:80"
  opens "$1" inside 10.9.0.2
  closed "$1" neighbour "$address:80"
}

cat > /run/bus.conf <<X
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
<allow send_type="method_call"/></policy></busconfig>
X
dbus-daemon --config-file=/run/bus.conf --fork --nopidfile
firewall() { python3 "$root/usr/bin/firewall-cmd" "$@"; }
python3 "$root/usr/sbin/firewalld" --nofork --nopid > "$lab/firewalld.log" 2>&1 &
firewalld=$!
soon firewall --state > /dev/null 2>&1 || soon firewall --state > /dev/null 2>&1 || { cat "$lab/firewalld.log" >&2; exit 1; }

begin
all "firewalld"
firewall --get-zone-of-interface="br-$(estiba network inspect -f '{{slice .Id 0 12}}' app)" | grep -qx docker
firewall --get-zone-of-interface=docker0 | grep -qx docker
firewall --reload > /dev/null
all "firewalld reloaded"
firewall --complete-reload > /dev/null
all "firewalld reloaded completely"
kill -KILL "$daemon"; wait "$daemon" || true
firewall --reload > /dev/null
estiba daemon --data-root "$lab/data" --exec-root "$lab/run" --pidfile "$lab/pid" -H "$DOCKER_HOST" \
  --config-file "$lab/none.json" --cgroup-parent "/$group" >> "$lab/log" 2>&1 &
daemon=$!
soon estiba version > /dev/null 2>&1
all "firewalld reloaded while the daemon was dead"
end
begin --publish-policy host-firewall
closed "host-firewall, firewalld says nothing" neighbour 10.9.0.1:8080
opens "host-firewall" inside 10.9.0.2
firewall --add-port=8080/tcp > /dev/null
opens "host-firewall, firewalld lets in" neighbour 10.9.0.1:8080
firewall --remove-port=8080/tcp > /dev/null
closed "host-firewall, firewalld does not let in any more" neighbour 10.9.0.1:8080
end
kill "$firewalld"; wait "$firewalld" || true
nft list tables | grep -q firewalld && nft delete table inet firewalld

ufw() { python3 "$root/usr/sbin/ufw" "$@" > "$lab/ufw.log" 2>&1 || { cat "$lab/ufw.log" >&2; exit 1; }; }
# As the package does when it is installed.
cp "$root"/usr/share/ufw/ufw.conf "$root"/usr/share/ufw/iptables/*.rules /etc/ufw/
mkdir -p /etc/default /lib/ufw
ufw --force enable
begin
all "ufw"
ufw reload
all "ufw reloaded"
iptables -I DOCKER-USER -i up0 -p tcp -m conntrack --ctorigdstport 8080 -j DROP
closed "DOCKER-USER comes first" neighbour 10.9.0.1:8080
ufw reload
closed "DOCKER-USER stays" neighbour 10.9.0.1:8080
iptables -D DOCKER-USER 1
opens "DOCKER-USER again" neighbour 10.9.0.1:8080
end
begin --publish-policy host-firewall
closed "host-firewall, ufw says nothing" neighbour 10.9.0.1:8080
ufw allow 8080/tcp
opens "host-firewall, ufw allows" neighbour 10.9.0.1:8080
ufw --force delete allow 8080/tcp
closed "host-firewall, ufw does not allow any more" neighbour 10.9.0.1:8080
ufw --force disable
opens "ufw is off" neighbour 10.9.0.1:8080
end
echo "firewalld and ufw: $passed flows as they should be"
