//! Networks as a user sees them: ports, names, isolation, none and host.

use lab::{Lab, eventually};

/// Fetches a page from inside the daemon's network.
fn page(lab: &Lab, address: &str) -> String {
    let url = format!("http://{address}/index.html");
    lab.in_network(&["curl", "-s", "-m", "2", &url]).stdout.trim().to_owned()
}

/// Fetches the page from inside a container (Debian's static busybox crashes in its wget).
fn fetch_script(host: &str) -> String {
    let request = "GET /index.html HTTP/1.0\\r\\n\\r\\n";
    format!("set -o pipefail; printf '{request}' | nc -w 3 {host} 80 | tail -n 1")
}

fn serve(lab: &Lab, name: &str, options: &[&str]) {
    let httpd = ["sh", "-c", "echo page > /index.html; exec httpd -f -p 80 -h /"];
    let words = [&["run", "-d", "--name", name], options, &["busybox"], &httpd].concat();
    lab.estiba(&words).ok();
}

#[test]
fn ports_are_published_and_released() {
    let lab = Lab::new();
    serve(&lab, "web", &["-p", "18080:80", "-p", "80"]);
    eventually("it serves", || page(&lab, "127.0.0.1:18080") == "page");
    let all = lab.estiba(&["port", "web", "80"]).ok().to_owned();
    let ephemeral = all.lines().map(|l| l.rsplit(':').next().unwrap()).find(|p| *p != "18080");
    assert_eq!(page(&lab, &format!("127.0.0.1:{}", ephemeral.unwrap())), "page");
    let listed = lab.estiba(&["ps", "--format", "{{.Ports}}"]);
    assert!(listed.ok().contains("0.0.0.0:18080->80/tcp"), "{listed:?}");
    lab.estiba(&["run", "--name", "twice", "-p", "18080:80", "busybox", "true"])
        .fails(125, "port is already allocated");
    let ip =
        lab.estiba(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]).ok().to_owned();
    assert_eq!(page(&lab, &format!("{ip}:80")), "page");
    lab.estiba(&["rm", "-f", "web"]).ok();
    lab.estiba(&["rm", "-f", "twice"]);
    serve(&lab, "next", &["-p", "127.0.0.1:18080:80"]);
    eventually("the port is free again", || page(&lab, "127.0.0.1:18080") == "page");
}

#[test]
fn containers_find_each_other_by_name_on_their_network() {
    let lab = Lab::new();
    let id = lab.estiba(&["network", "create", "--subnet", "10.77.0.0/24", "app"]).ok().to_owned();
    assert_eq!(id.len(), 64);
    serve(&lab, "db", &["--network", "app", "--network-alias", "database", "--ip", "10.77.0.10"]);
    let fetch = |name: &str, network: &str| {
        let script = fetch_script(name);
        lab.estiba(&["run", "--rm", "--network", network, "busybox", "sh", "-c", &script])
    };
    eventually("by name", || fetch("db", "app").stdout.trim() == "page");
    for name in ["database", "10.77.0.10"] {
        assert_eq!(fetch(name, "app").ok(), "page", "{name}");
    }
    assert_ne!(fetch("db", "bridge").status, 0, "names do not leak to other networks");
    assert_ne!(fetch("10.77.0.10", "bridge").status, 0, "networks are apart");
    let lookup = lab.estiba(&["run", "--rm", "--network", "app", "busybox", "nslookup", "db"]);
    assert!(
        lookup.stdout.contains("127.0.0.11") && lookup.stdout.contains("10.77.0.10"),
        "{lookup:?}"
    );

    lab.estiba(&["run", "-d", "--name", "late", "busybox", "sleep", "1000"]).ok();
    lab.estiba(&["network", "connect", "app", "late"]).ok();
    let script = fetch_script("db");
    let exec = ["exec", "late", "sh", "-c", script.as_str()];
    assert_eq!(lab.estiba(&exec).ok(), "page");
    lab.estiba(&["network", "disconnect", "app", "late"]).ok();
    assert_ne!(lab.estiba(&exec).status, 0);
    lab.estiba(&["network", "rm", "app"]).fails(1, "has active endpoints");
    lab.estiba(&["rm", "-f", "db", "late"]).ok();
    lab.estiba(&["network", "rm", "app"]).ok();
    lab.estiba(&["network", "inspect", "app"]).fails(1, "app not found");
}

#[test]
fn ports_stay_while_networks_come_and_go() {
    let lab = Lab::new();
    serve(&lab, "web", &["-p", "18085:80"]);
    eventually("it serves", || page(&lab, "127.0.0.1:18085") == "page");
    lab.estiba(&["network", "create", "second"]).ok();
    lab.estiba(&["network", "connect", "second", "web"]).ok();
    lab.estiba(&["network", "disconnect", "second", "web"]).ok();
    assert_eq!(page(&lab, "127.0.0.1:18085"), "page");
    lab.estiba(&["network", "connect", "second", "web"]).ok();
    lab.estiba(&["network", "disconnect", "bridge", "web"]).ok();
    eventually("through the other network", || page(&lab, "127.0.0.1:18085") == "page");
}

#[test]
fn none_host_and_a_neighbours_network() {
    let lab = Lab::new();
    let links =
        lab.estiba(&["run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"]);
    assert_eq!(links.ok(), "lo");
    let own = ["run", "--rm", "--network", "none", "busybox", "ip", "-o", "addr"];
    assert!(lab.estiba(&own).ok().contains("127.0.0.1/8"), "its loopback is up");
    let host = lab.estiba(&["run", "--rm", "--network", "host", "busybox", "ls", "/sys/class/net"]);
    assert!(host.ok().contains("docker0"), "{host:?}");
    serve(&lab, "one", &[]);
    let script = fetch_script("127.0.0.1");
    let words = ["run", "--rm", "--network", "container:one", "busybox", "sh", "-c", &script];
    eventually("through a shared loopback", || lab.estiba(&words).stdout.trim() == "page");
    lab.estiba(&["run", "--rm", "--network", "container:nobody", "busybox"])
        .fails(125, "No such container: nobody");
    lab.estiba(&["run", "--rm", "--network", "nowhere", "busybox"])
        .fails(125, "network nowhere not found");
}

/// An image with Debian's ping as Debian installs it, its file grants `CAP_NET_RAW`, and with perl.
fn import_ping(lab: &Lab) {
    let dir = lab.dir().join("ping");
    let script = format!(
        "set -e; mkdir {0}; tar -C {0} -xf {1}; cp /usr/bin/ping {0}/bin/granted; \
         setcap cap_net_raw=ep {0}/bin/granted; cp /usr/bin/ping {0}/bin/plain; \
         setcap -r {0}/bin/plain 2>/dev/null || true; \
         cp /usr/bin/perl {0}/bin/; mkdir -p {0}/usr/lib/x86_64-linux-gnu; \
         cp -r /usr/lib/x86_64-linux-gnu/perl-base {0}/usr/lib/x86_64-linux-gnu/; \
         for lib in $(ldd /usr/bin/ping /usr/bin/perl | grep -o '/lib[^ ]*'); do \
         mkdir -p {0}$(dirname $lib); cp -L $lib {0}$lib; done; \
         tar --xattrs --xattrs-include='*' -C {0} -cf {0}.tar .",
        dir.display(),
        lab::archive("busybox").display(),
    );
    lab.in_network(&["sh", "-c", &script]).ok();
    lab.estiba(&["import", &format!("{}.tar", dir.display()), "ping:latest"]).ok();
}

#[test]
fn ping_needs_no_privilege() {
    let lab = Lab::new();
    import_ping(&lab);
    lab.estiba(&["network", "create", "--ipv6", "--subnet", "fd07:7::/64", "six"]).ok();
    lab.estiba(&["run", "-d", "--name", "far", "--network", "six", "ping", "sleep", "1000"]).ok();
    for program in ["granted", "plain"] {
        for user in ["0", "1000:1000"] {
            for to in ["127.0.0.1", "fd07:7::1", "far"] {
                let ping = ["-u", user, "--network", "six", "ping", program, "-c", "1", to];
                let seen = lab.estiba(&[&["run", "--rm"], &ping[..]].concat());
                assert!(seen.ok().contains(" 0% packet loss"), "{program} {user} {to}: {seen:?}");
            }
            let exec = ["exec", "-u", user, "far", program, "-c", "1", "-W", "5", "::1"];
            assert!(lab.estiba(&exec).ok().contains(" 0% packet loss"));
        }
    }
    // What the file grants changes nothing, and the nine are the nine.
    let status = ["sh", "-c", "granted -V && grep CapBnd /proc/self/status"];
    let seen = lab.estiba(&[&["run", "--rm", "ping"], &status[..]].concat());
    assert!(seen.ok().contains("CapBnd:\t00000000000420fb"), "{seen:?}");
}

/// Debian's busybox has no way to ping but raw sockets.
#[test]
fn busybox_pings_too() {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "--ipv6", "--subnet", "fd07:8::/64", "six"]).ok();
    lab.estiba(&["run", "-d", "--name", "far", "--network", "six", "busybox", "sleep", "1000"])
        .ok();
    lab.estiba(&["run", "-d", "--name", "near", "busybox", "sleep", "1000"]).ok();
    let gateway = "{{.NetworkSettings.Networks.bridge.Gateway}}";
    let gateway = lab.estiba(&["inspect", "-f", gateway, "near"]).ok().to_owned();
    let pings = |words: &[&str]| {
        let seen = lab.estiba(words);
        assert!(seen.ok().contains(" 0% packet loss"), "{words:?}: {seen:?}");
    };
    pings(&["run", "--rm", "busybox", "ping", "-c", "1", &gateway]);
    for program in ["ping", "ping6"] {
        pings(&["run", "--rm", "--network", "six", "busybox", program, "-c", "1", "far"]);
    }
    pings(&["run", "--rm", "--network", "none", "busybox", "ping", "-c", "1", "127.0.0.1"]);
    pings(&["exec", "near", "ping", "-c", "1", &gateway]);
    lab.estiba(&["restart", "-t", "0", "near"]).ok();
    pings(&["exec", "near", "ping", "-c", "1", &gateway]);
    // As with Docker, it takes root, and the capability.
    for option in ["-u=1000", "--cap-drop=NET_RAW"] {
        lab.estiba(&["run", "--rm", option, "busybox", "ping", "-c", "1", "127.0.0.1"])
            .fails(1, "ermi");
    }
    // Ports below 1024 want nothing, for anybody.
    for user in ["0", "1000"] {
        let listen = "nc -l -p 80 -e true & sleep 0.2; kill $!";
        lab.estiba(&["run", "--rm", "-u", user, "busybox", "sh", "-c", listen]).ok();
    }
}

/// Laws B4 and F6: what ping needs is good for ping alone. Raw sockets of every other kind, headers
/// of one's own and addresses of others are refused, and had by who was given the capability.
#[test]
fn raw_sockets_are_for_ping_alone() {
    const TRY: &str = "use Socket; sub out { print $_[0] ? 'y' : 'n' }
        for ([2,3,1], [10,3,58], [2,3,6], [2,3,17], [2,3,132], [2,3,255], [10,3,6], [10,3,255],
             [2,10,768], [17,3,768], [17,2,768]) { out(socket(my $s, $_->[0], $_->[1], $_->[2])) }
        print ' ';
        socket(my $four, 2, 3, 1); socket(my $six, 10, 3, 58); socket(my $tcp, 2, 1, 0);
        for ([$four,0,3], [$four,0,19], [$tcp,0,19], [$six,41,36], [$six,255,36], [$six,41,75]) {
            out(setsockopt($_->[0], $_->[1], $_->[2], pack('i', 1))) }
        print ' '; setsockopt($four, 0, 15, pack('i', 1));
        out(bind($four, pack_sockaddr_in(0, inet_aton('10.99.99.99')))
            && send($four, pack('CCnnn', 8, 0, 0xf7fe, 1, 0),
                    0, pack_sockaddr_in(0, inet_aton('127.0.0.1'))))";
    let lab = Lab::new();
    import_ping(&lab);
    lab.estiba(&["run", "-d", "--name", "here", "ping", "sleep", "1000"]).ok();
    let script = ["perl", "-e", TRY];
    for words in [&["run", "--rm", "ping"][..], &["exec", "here"]] {
        let seen = lab.estiba(&[words, &script].concat());
        assert_eq!(seen.ok(), "yynnnnnnnnn nnnnnn n");
    }
    let given =
        lab.estiba(&[&["run", "--rm", "--cap-add", "NET_RAW", "ping"], &script[..]].concat());
    assert!(given.ok().starts_with("yyyyyyyyyyy yyyyyy "), "{given:?}");
}

#[test]
fn internal_networks_have_no_way_out() {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "--internal", "in"]).ok();
    let routes = lab.estiba(&["run", "--rm", "--network", "in", "busybox", "ip", "route"]);
    assert!(!routes.ok().contains("default"), "{routes:?}");
}

#[test]
fn the_files_under_etc() {
    let lab = Lab::new();
    let words = [
        "run",
        "--rm",
        "--name",
        "named",
        "--hostname",
        "box",
        "--add-host",
        "extra:1.2.3.4",
        "--dns",
        "9.9.9.9",
        "busybox",
        "sh",
        "-c",
        "hostname; cat /etc/hostname /etc/resolv.conf /etc/hosts",
    ];
    let seen = lab.estiba(&words);
    let text = seen.ok();
    assert!(text.starts_with("box\nbox\n"), "{text}");
    assert!(text.contains("nameserver 9.9.9.9") && text.contains("1.2.3.4\textra"), "{text}");
    assert!(text.lines().any(|l| l.ends_with("\tbox")), "{text}");
}

#[test]
fn who_reaches_a_port_is_said_and_so() {
    let lab = Lab::new();
    let policy = "estiba.publish_policy=host-firewall";
    lab.estiba(&["network", "create", "--ipv6", "-o", policy, "guarded"]).ok();
    serve(&lab, "web", &["-p", "18090:80", "-p", "127.0.0.1:18091:80"]);
    serve(&lab, "shy", &["--network", "guarded", "-p", "18092:80"]);
    eventually("it serves", || page(&lab, "127.0.0.1:18090") == "page");
    eventually("on every address", || page(&lab, "[::1]:18090") == "page");
    eventually("for the host itself", || page(&lab, "127.0.0.1:18092") == "page");
    let ports = lab.estiba(&["port", "web", "80"]).ok().to_owned();
    assert!(ports.contains("0.0.0.0:18090") && ports.contains("[::]:18090"), "{ports}");
    let table = lab.estiba(&["ports", "--exposure"]).ok().to_owned();
    let line = |needle: &str| {
        let found = table.lines().find(|line| line.contains(needle));
        found.unwrap_or_else(|| panic!("{needle} in {table}")).to_owned()
    };
    assert!(line("127.0.0.1:18091").contains("programs of this host"), "{table}");
    assert!(line(" 0.0.0.0:18090").contains("whoever reaches this host"), "{table}");
    assert!(line(" 0.0.0.0:18092").contains("as far as its input rules accept"), "{table}");
    let chains = lab.in_network(&["iptables", "-S"]);
    assert!(chains.ok().contains("-N DOCKER-USER"), "{chains:?}");
}

#[test]
fn drivers_are_there_or_say_why_not() {
    let lab = Lab::new();
    let subnet = "10.88.0.0/24";
    lab.estiba(&["network", "create", "-d", "macvlan", "--subnet", subnet, "wire"]).ok();
    let shown = lab.estiba(&["run", "--rm", "--network", "wire", "busybox", "ip", "addr"]);
    assert!(shown.ok().contains("10.88.0.2/24"), "{shown:?}");
    lab.estiba(&["network", "create", "-d", "macvlan", "-o", "parent=nosuch0", "none-such"])
        .fails(1, "nosuch0 was not found");
    lab.estiba(&["network", "create", "-d", "nosuch", "other"]).fails(1, "\"nosuch\" not found");
    lab.estiba(&["network", "create", "--subnet", "10.88.0.0/16", "clash"]).fails(1, "overlaps");
    lab.estiba(&["network", "rm", "wire"]).ok();
}

#[test]
fn endpoints_are_as_they_were_asked() {
    let lab = Lab::new();
    let pools = ["--subnet", "10.84.0.0/24", "--subnet", "fd84::/64", "--ipv6"];
    lab.estiba(&[&["network", "create"], &pools[..], &["first"]].concat()).ok();
    lab.estiba(&["network", "create", "--subnet", "10.85.0.0/24", "second"]).ok();
    let first = "name=first,ip=10.84.0.9,ip6=fd84::9,mac-address=02:00:5e:00:00:09,alias=one,\
                 alias=uno,driver-opt=com.docker.network.endpoint.ifname=lan0";
    let words = ["run", "-d", "--name", "cc", "--network", first];
    let second = ["--network", "name=second,gw-priority=7", "--sysctl", "net.ipv4.ip_forward=0"];
    lab.estiba(&[&words[..], &second, &["busybox", "sleep", "1000"]].concat()).ok();
    let inside = lab.estiba(&["exec", "cc", "sh", "-c", "ip addr show lan0; ip route; ip link"]);
    for part in
        ["10.84.0.9/24", "fd84::9/64", "02:00:5e:00:00:09", "default via 10.85.0.1 dev eth0"]
    {
        assert!(inside.ok().contains(part), "{part} in {inside:?}");
    }
    for name in ["cc", "one", "uno"] {
        let script = format!("nslookup {name} 127.0.0.11");
        let run = ["run", "--rm", "--network", "first", "busybox", "sh", "-c", &script];
        let found = lab.estiba(&run).stdout;
        assert!(found.contains("10.84.0.9") && found.contains("fd84::9"), "{name}: {found}");
    }
    let taken = ["run", "--rm", "--network", "first", "--ip", "10.84.0.9", "busybox", "true"];
    lab.estiba(&taken).fails(125, "Address already in use");
    let late = ["network", "connect", "--ip", "10.85.0.77", "--alias", "late", "second", "far"];
    lab.estiba(&["run", "-d", "--name", "far", "busybox", "sleep", "1000"]).ok();
    lab.estiba(&late).ok();
    let seen = lab.estiba(&["exec", "cc", "nslookup", "late", "127.0.0.11"]);
    assert!(seen.stdout.contains("10.85.0.77"), "{seen:?}");
}
