//! A container on several networks: which leads out, where its ports lead, what its interfaces are
//! called; and legacy links, which open what a closed network keeps shut.

use lab::{Lab, Setup, eventually};

fn with(arguments: &[&str]) -> Lab {
    let arguments = arguments.iter().map(|&it| it.to_owned()).collect();
    Lab::with(Setup { arguments, ..Setup::default() })
}

fn exec(lab: &Lab, name: &str, script: &str) -> String {
    lab.estiba(&["exec", name, "sh", "-c", script]).ok().to_owned()
}

fn inspect(lab: &Lab, name: &str, template: &str) -> String {
    lab.estiba(&["inspect", "-f", template, name]).ok().to_owned()
}

/// A network of both families, `10.N.0.0/24` and `fd0N::/64`.
fn dual(lab: &Lab, name: &str, number: u8) {
    let (four, six) = (format!("10.{number}.0.0/24"), format!("fd{number}::/64"));
    lab.estiba(&["network", "create", "--ipv6", "--subnet", &four, "--subnet", &six, name]).ok();
}

/// The default routes of a container: the link of IPv4's and of IPv6's.
fn ways(lab: &Lab) -> String {
    let link = "sed -n 's/.* dev \\([^ ]*\\).*/\\1/p'";
    let script = format!("for f in -4 -6; do ip $f route show default | {link}; done");
    exec(lab, "web", &script).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_highest_priority_leads_out_after_every_connect_and_disconnect() {
    let lab = Lab::new();
    for (name, number) in [("one", 41), ("two", 42), ("three", 43), ("zero", 44)] {
        dual(&lab, name, number);
    }
    lab.estiba(&["run", "-d", "--name", "web", "--network", "one", "busybox", "sleep", "1000"])
        .ok();
    assert_eq!(ways(&lab), "eth0 eth0");
    let connect = |priority: &str, network: &str| {
        lab.estiba(&["network", "connect", "--gw-priority", priority, network, "web"]).ok();
    };
    connect("-100", "two");
    assert_eq!(ways(&lab), "eth0 eth0", "a lower one");
    connect("100", "three");
    assert_eq!(ways(&lab), "eth2 eth2", "a higher one");
    connect("0", "zero");
    assert_eq!(ways(&lab), "eth2 eth2");
    lab.estiba(&["network", "disconnect", "three", "web"]).ok();
    assert_eq!(ways(&lab), "eth0 eth0", "of equals the first by name: one, zero");
    lab.estiba(&["network", "disconnect", "one", "web"]).ok();
    assert_eq!(ways(&lab), "eth3 eth3");
    lab.estiba(&["network", "disconnect", "zero", "web"]).ok();
    assert_eq!(ways(&lab), "eth1 eth1", "the last that is left");
    lab.estiba(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(ways(&lab), "eth0 eth0");
}

#[test]
fn published_ports_move_with_the_way_out() {
    let mut lab = Lab::new();
    lab.estiba(&["network", "create", "--subnet", "10.41.0.0/24", "four"]).ok();
    let six = ["network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd42::/64", "six"];
    lab.estiba(&six).ok();
    let serve = "mkdir /w; ip -o addr show scope global >/w/index.html; exec httpd -f -p 80 -h /w";
    let web = ["run", "-d", "--name", "web", "--network", "four", "-p", "80", "busybox"];
    lab.estiba(&[&web[..], &["sh", "-c", serve]].concat()).ok();
    let published = |lab: &Lab| lab.estiba(&["port", "web", "80"]).ok().to_owned();
    let port = published(&lab).lines().next().unwrap().rsplit(':').next().unwrap().to_owned();
    let answers = |lab: &Lab, host: &str| {
        let url = format!("http://{host}:{port}/index.html");
        lab.in_network(&["curl", "-s", "-g", "-m", "2", &url]).stdout.contains("inet")
    };
    eventually("it serves", || answers(&lab, "127.0.0.1"));
    let maps = |lab: &Lab, family: &str| {
        let words = ["nft", "list", "map", family, "estiba", "published-any"];
        lab.in_network(&words).ok().to_owned()
    };
    assert!(!maps(&lab, "ip6").contains(&port), "behind a socket: no IPv6 in the container");
    lab.estiba(&["network", "connect", "six", "web"]).ok();
    assert!(maps(&lab, "ip6").contains("fd42::2"), "IPv6 leads to the network that leads out");
    assert!(maps(&lab, "ip").contains("10.41.0.2") && answers(&lab, "127.0.0.1"));
    assert!(published(&lab).lines().all(|line| line.ends_with(&port)), "the port is the same");
    // A daemon that is killed finds them as they are.
    lab.kill_daemon();
    lab.start_daemon();
    assert!(maps(&lab, "ip6").contains("fd42::2") && maps(&lab, "ip").contains("10.41.0.2"));
    lab.estiba(&["network", "disconnect", "six", "web"]).ok();
    assert!(!maps(&lab, "ip6").contains(&port));
    assert!(answers(&lab, "127.0.0.1") && answers(&lab, "[::1]"));
    // Who comes with more of a priority takes all of it.
    dual(&lab, "both", 43);
    lab.estiba(&["network", "connect", "--gw-priority", "1", "both", "web"]).ok();
    assert!(maps(&lab, "ip").contains("10.43.0.2") && maps(&lab, "ip6").contains("fd43::2"));
    assert!(answers(&lab, "127.0.0.1"));
    assert_eq!(published(&lab).lines().count(), 2);
}

#[test]
fn interfaces_have_the_names_that_were_asked_for() {
    let lab = Lab::new();
    for number in 0..3 {
        let subnet = format!("10.5{number}.0.0/24");
        lab.estiba(&["network", "create", "--subnet", &subnet, &format!("net{number}")]).ok();
    }
    let ifname = "com.docker.network.endpoint.ifname";
    let (zero, one) = (format!("name=net0,driver-opt={ifname}=eth1"), "name=net1");
    let words = ["run", "-d", "--name", "web", "--network", &zero, "--network", one, "busybox"];
    lab.estiba(&[&words[..], &["sleep", "1000"]].concat()).ok();
    let links = || exec(&lab, "web", "ip -o -4 addr | awk '/eth/ {print $2, $4}' | sort");
    assert_eq!(links(), "eth0 10.51.0.2/24\neth1 10.50.0.2/24");
    lab.estiba(&["network", "connect", "net2", "web"]).ok();
    assert!(links().contains("eth2 10.52.0.2/24"));
    for network in ["net1", "net2"] {
        lab.estiba(&["network", "disconnect", network, "web"]).ok();
    }
    lab.estiba(&["network", "connect", "net2", "web"]).ok();
    assert_eq!(links(), "eth0 10.52.0.2/24\neth1 10.50.0.2/24", "the first that is free");
    let taken = format!("{ifname}=eth1");
    lab.estiba(&["network", "connect", "--driver-opt", &taken, "net1", "web"])
        .fails(1, "error renaming interface");
    let sysctl = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.forwarding=1";
    lab.estiba(&["network", "connect", "--driver-opt", sysctl, "net1", "web"]).ok();
    assert_eq!(exec(&lab, "web", "cat /proc/sys/net/ipv4/conf/eth2/forwarding"), "1");
}

#[test]
fn ipv6_switched_off_in_a_container_is_off_everywhere() {
    let lab = Lab::new();
    dual(&lab, "both", 45);
    let off = ["--sysctl", "net.ipv6.conf.all.disable_ipv6=1"];
    let words = [&["run", "-d", "--name", "web", "--network", "both"], &off[..]].concat();
    lab.estiba(&[&words[..], &["busybox", "sleep", "1000"]].concat()).ok();
    let path = "{{(index .NetworkSettings.Networks \"both\").GlobalIPv6Address}}";
    assert_eq!(inspect(&lab, "web", path), "");
    assert_eq!(exec(&lab, "web", "ip -6 addr; grep : /etc/hosts || true"), "");
    let ask = ["run", "--rm", "--network", "both", "busybox", "nslookup", "web"];
    let answer = lab.estiba(&ask).stdout;
    assert!(answer.contains("10.45.0.2") && !answer.contains("fd45:"), "{answer}");
}

/// Whoever is linked reaches the exposed ports of the other, by address, name and alias; nobody
/// else does, and no longer when the link is gone.
#[test]
fn legacy_links_open_what_a_closed_network_keeps_shut() {
    let mut lab = with(&["--icc=false"]);
    let serve = "echo page >/index.html; exec httpd -f -p 80 -h /";
    let words = ["run", "-d", "--name", "db", "--expose", "80", "busybox", "sh", "-c", serve];
    lab.estiba(&words).ok();
    let words = ["run", "-d", "--name", "web", "--link", "db:store", "busybox", "sleep", "1000"];
    lab.estiba(&words).ok();
    lab.estiba(&["run", "-d", "--name", "far", "busybox", "sleep", "1000"]).ok();
    let address = inspect(&lab, "db", "{{.NetworkSettings.IPAddress}}");
    let fetch = |lab: &Lab, from: &str, host: &str| {
        let script = format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 80");
        lab.estiba(&["exec", from, "sh", "-c", &script]).stdout.contains("page")
    };
    for host in ["store", "db", &address] {
        eventually("through the link", || fetch(&lab, "web", host));
    }
    assert!(!fetch(&lab, "far", &address), "who is not linked is kept out");
    lab.kill_daemon();
    lab.start_daemon();
    assert!(fetch(&lab, "web", "store"), "links outlive the daemon");
    lab.estiba(&["rm", "--link", "web/store"]).ok();
    assert!(!exec(&lab, "web", "cat /etc/hosts").contains("store"));
    assert!(!fetch(&lab, "web", &address), "and close when they are removed");
    assert_eq!(inspect(&lab, "web", "{{.State.Running}}"), "true");
}

#[test]
fn host_gateway_is_of_both_families_where_the_default_bridge_is() {
    let lab = with(&["--ipv6", "--fixed-cidr=192.168.50.0/24", "--fixed-cidr-v6=fd46::/64"]);
    let words = ["run", "--rm", "--add-host", "up:host-gateway", "busybox", "grep", "up$"];
    let hosts = lab.estiba(&[&words[..], &["/etc/hosts"]].concat()).ok().to_owned();
    assert_eq!(hosts, "192.168.50.1\tup\nfd46::1\tup");
}

/// Options of networks by default, and what a request says instead.
#[test]
fn families_by_default_give_way_to_what_is_asked() {
    let default = |name: &str| format!("--default-network-opt=bridge=com.docker.network.{name}");
    let (four, six) = (default("enable_ipv4=false"), default("enable_ipv6=true"));
    let lab = with(&[&four, &six, &default("driver.mtu=1300")]);
    let made = |name: &str, options: &[&str]| {
        lab.estiba(&[&["network", "create"], options, &[name]].concat()).ok();
        let template = "{{.EnableIPv4}} {{.EnableIPv6}} {{range $k, $v := .Options}}{{$k}} {{end}}";
        let shown = lab.estiba(&["network", "inspect", "-f", template, name]).ok().to_owned();
        let (four, six) = (shown.contains("enable_ipv4"), shown.contains("enable_ipv6"));
        let families = shown.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        format!("{families} {four} {six}")
    };
    assert_eq!(made("neither", &[]), "false true true true");
    assert_eq!(made("four", &["--ipv4"]), "true true false true");
    assert_eq!(made("six", &["--ipv6"]), "false true true false");
    assert_eq!(made("both", &["--ipv4", "--ipv6"]), "true true false false");
    let link = ["run", "--rm", "--network", "neither", "busybox", "ip", "addr", "show", "eth0"];
    let link = lab.estiba(&link).ok().to_owned();
    assert!(link.contains("mtu 1300") && !link.contains("inet "), "{link}");
}
