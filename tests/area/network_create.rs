//! What `network create` makes of its flags, and what it refuses; the same through the stock
//! command line where that is installed.

use lab::Lab;

fn field(lab: &Lab, network: &str, path: &str) -> String {
    lab.estiba(&["network", "inspect", "-f", path, network]).ok().to_owned()
}

#[test]
fn networks_are_made_from_configurations() {
    let lab = Lab::new();
    let config = ["network", "create", "--config-only", "--subnet", "10.78.0.0/24"];
    let rest = ["--gateway", "10.78.0.9", "--label", "of=config", "-o"];
    let mtu = ["com.docker.network.driver.mtu=1400", "settings"];
    lab.estiba(&[&config[..], &rest, &mtu].concat()).ok();
    let shown = "{{.ConfigOnly}} {{.Driver}} {{.Scope}} {{.Internal}} {{.ConfigFrom.Network}}";
    assert_eq!(field(&lab, "settings", shown).trim_end(), "true null local false");
    lab.estiba(&["run", "--rm", "--network", "settings", "busybox", "true"])
        .fails(125, "cannot create endpoint on configuration-network");
    lab.estiba(&["network", "create", "--config-from", "settings", "real"]).ok();
    assert_eq!(field(&lab, "real", shown), "false bridge local false settings");
    let pool = "{{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}}";
    assert_eq!(field(&lab, "real", pool), "10.78.0.0/24 10.78.0.9");
    assert_eq!(field(&lab, "real", "{{.Labels.of}}"), "config");
    let link = ["run", "--rm", "--network", "real", "busybox", "ip", "link", "show", "eth0"];
    assert!(lab.estiba(&link).ok().contains("mtu 1400"));
    lab.estiba(&["network", "rm", "settings"]).fails(1, "is in use");
    for (words, why) in [
        (&["--config-from", "nothing", "xx"][..], "configuration network \"nothing\" not found"),
        (&["--config-from", "real", "xx"], "not found"),
        (&["--config-only", "--internal", "xx"], "can only contain network specific fields"),
        (&["--config-only", "--config-from", "settings", "xx"], "cannot depend on another"),
        (&["--config-from", "settings", "--subnet", "10.79.0.0/24", "xx"], "not supported if"),
        (&["--config-from", "settings", "-o", "a=b", "xx"], "not supported if"),
    ] {
        lab.estiba(&[&["network", "create"], words].concat()).fails(1, why);
    }
    lab.estiba(&["network", "rm", "real"]).ok();
    lab.estiba(&["network", "rm", "settings"]).ok();
}

#[test]
fn configurations_outlive_the_daemon() {
    let mut lab = Lab::new();
    let words = ["network", "create", "--config-only", "--subnet", "10.78.0.0/24", "settings"];
    lab.estiba(&words).ok();
    lab.kill_daemon();
    lab.start_daemon();
    // The configuration itself occupies nothing.
    lab.estiba(&["network", "create", "--subnet", "10.78.0.0/24", "other"]).ok();
    lab.estiba(&["network", "create", "--config-from", "settings", "real"])
        .fails(1, "Pool overlaps with other one on this address space");
    lab.estiba(&["network", "rm", "other"]).ok();
    lab.estiba(&["network", "create", "--config-from", "settings", "real"]).ok();
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let lab = Lab::new();
    lab.estiba(&["network", "create", "--subnet", "10.80.0.0/24", "taken"]).ok();
    for (words, why) in [
        (&["--scope", "swarm", "xx"][..], "This node is not a swarm manager"),
        (&["--driver", "overlay", "xx"], "This node is not a swarm manager"),
        (&["--ingress", "xx"], "Ingress network can only be global scope network"),
        (&["--scope", "galaxy", "xx"], "invalid network scope"),
        (&["--subnet", "10.80.0.0/16", "xx"], "Pool overlaps"),
        (&["--subnet", "10.81.0.0/33", "xx"], "10.81.0.0/33"),
        (&["--subnet", "10.81.0.7/24", "xx"], "10.81.0.0/24"),
        (&["--subnet", "10.81.0.0/24", "--gateway", "10.82.0.1", "xx"], "10.82.0.1"),
        (&["--subnet", "10.81.0.0/24", "--ip-range", "10.81.1.0/25", "xx"], "10.81.1.0/25"),
        (&["--driver", "nosuch", "xx"], "plugin \"nosuch\" not found"),
        (&["-o", "com.docker.network.driver.mtu=many", "xx"], "many"),
        (&["-o", "com.docker.network.bridge.name=waytoolonginterface", "xx"], "interface name"),
        (&["taken"], "already exists"),
        (&["host"], "predefined"),
    ] {
        lab.estiba(&[&["network", "create"], words].concat()).fails(1, why);
    }
    let there = ["run", "-d", "--name", "aa", "--network", "taken", "--ip", "10.80.0.7"];
    lab.estiba(&[&there[..], &["busybox", "sleep", "1000"]].concat()).ok();
    let twice = ["run", "--rm", "--network", "taken", "--ip", "10.80.0.7", "busybox", "true"];
    lab.estiba(&twice).fails(125, "Address already in use");
    let outside = ["run", "--rm", "--network", "taken", "--ip", "10.90.0.7", "busybox", "true"];
    lab.estiba(&outside).fails(125, "no configured subnet");
    lab.estiba(&["network", "rm", "taken"]).fails(1, "has active endpoints");
}

#[test]
fn addresses_and_pools_run_out_visibly() {
    let arguments = ["--default-address-pool", "base=10.99.0.0/28,size=29"].map(String::from);
    let lab = Lab::with(lab::Setup { arguments: arguments.to_vec(), ..Default::default() });
    // The default bridge has the first of two.
    lab.estiba(&["network", "create", "last"]).ok();
    assert_eq!(field(&lab, "last", "{{(index .IPAM.Config 0).Subnet}}"), "10.99.0.8/29");
    lab.estiba(&["network", "create", "more"]).fails(1, "have been fully subnetted");
    for n in 0..5 {
        let name = format!("c{n}");
        let words = ["run", "-d", "--name", &name, "--network", "last", "busybox", "sleep", "1000"];
        lab.estiba(&words).ok();
    }
    lab.estiba(&["run", "--rm", "--network", "last", "busybox", "true"])
        .fails(125, "no available IPv4 addresses");
    lab.estiba(&["rm", "-f", "c3"]).ok();
    lab.estiba(&["run", "--rm", "--network", "last", "busybox", "true"]).ok();
}

#[test]
fn a_port_in_use_names_the_program() {
    let lab = Lab::new();
    let holder = lab.start_in_network(&["busybox", "nc", "-l", "-p", "18099"]);
    lab::eventually("it listens", || lab.in_network(&["ss", "-tln"]).stdout.contains(":18099"));
    lab.estiba(&["run", "--rm", "-p", "18099:80", "busybox", "true"])
        .fails(125, "held by busybox (process ");
    drop(holder);
}

#[test]
fn routes_that_overlap_a_network_are_told() {
    let lab = Lab::new();
    let at = |words: &str| lab.in_network(&words.split(' ').collect::<Vec<_>>()).ok().to_owned();
    at("ip link add vpn0 type veth peer name vpn1");
    at("ip link set vpn0 up");
    at("ip route add 172.16.0.0/12 dev vpn0");
    at("ip route add 192.168.0.0/20 dev vpn0 table 77");
    lab.estiba(&["network", "create", "free"]).ok();
    let subnet = field(&lab, "free", "{{(index .IPAM.Config 0).Subnet}}");
    assert_eq!(subnet, "192.168.16.0/20", "past every route, whichever table it is in");
    let asked = lab.estiba(&["network", "create", "--subnet", "172.30.0.0/24", "asked"]);
    let told = "the subnet 172.30.0.0/24 of network asked overlaps the host's route to \
                172.16.0.0/12 by vpn0";
    assert!(asked.stderr.contains(told), "{asked:?}");
    assert_eq!(asked.status, 0, "it was asked for");
    at("ip route add 192.168.16.0/24 dev vpn0");
    let later = "the subnet 192.168.16.0/20 of network free overlaps the host's route to \
                 192.168.16.0/24 by vpn0";
    lab::eventually("a route that came later is told", || lab.daemon_log().contains(later));
    let words = ["events", "--since", "10m", "--until", "0s", "--filter", "event=overlap"];
    let event = lab.estiba(&[&words[..], &["--format", "{{json .Actor.Attributes}}"]].concat());
    for part in ["\"name\":\"free\"", "\"route\":\"192.168.16.0/24\"", "\"interface\":\"vpn0\""] {
        assert!(event.ok().contains(part), "{part}: {event:?}");
    }
}

#[test]
fn the_default_bridge_is_as_the_daemon_was_told() {
    let arguments = [
        "--bip=10.66.0.1/24",
        "--fixed-cidr=10.66.0.128/25",
        "--default-gateway=10.66.0.254",
        "--mtu=1380",
        "--icc=false",
        "--ip=127.0.0.1",
        "--host-gateway-ip=10.66.0.1",
        "--host-gateway-ip=fd00::1",
        "--dns=10.66.0.53",
        "--dns-search=corp.example",
        "--dns-opt=ndots:3",
        "--default-network-opt=bridge=com.docker.network.driver.mtu=1300",
    ];
    let arguments = arguments.map(String::from).to_vec();
    let lab = Lab::with(lab::Setup { arguments, ..Default::default() });
    let run = |more: &[&str], script: &str| {
        let words = [&["run", "--rm"], more, &["busybox", "sh", "-c", script]].concat();
        lab.estiba(&words).ok().to_owned()
    };
    let seen = run(&[], "ip addr show eth0; ip route");
    for word in ["10.66.0.128/24", "mtu 1380", "default via 10.66.0.254"] {
        assert!(seen.contains(word), "{word} in {seen}");
    }
    let files = run(&["--add-host", "up:host-gateway"], "cat /etc/hosts /etc/resolv.conf");
    for line in [
        "10.66.0.1\tup",
        "fd00::1\tup",
        "nameserver 10.66.0.53",
        "search corp.example",
        "options ndots:3",
    ] {
        assert!(files.lines().any(|it| it == line), "{line} in {files}");
    }
    lab.estiba(&["run", "-d", "--name", "web", "-p", "18077:80", "busybox", "sleep", "1000"]).ok();
    assert_eq!(lab.estiba(&["port", "web"]).ok(), "80/tcp -> 127.0.0.1:18077");
    let web = field_of(&lab, "web", "{{.NetworkSettings.IPAddress}}");
    let ping = format!("ping -c 1 -W 1 {web} || echo apart");
    assert!(run(&[], &ping).contains("apart"), "icc is off");
    lab.estiba(&["network", "create", "users"]).ok();
    assert!(run(&["--network", "users"], "ip link show eth0").contains("mtu 1300"));
}

fn field_of(lab: &Lab, container: &str, path: &str) -> String {
    lab.estiba(&["inspect", "-f", path, container]).ok().to_owned()
}

#[test]
fn without_a_bridge_containers_have_loopback_alone() {
    let arguments = vec!["--bridge=none".to_owned()];
    let lab = Lab::with(lab::Setup { arguments, ..Default::default() });
    let links = lab.estiba(&["run", "--rm", "busybox", "ip", "-o", "link"]).ok().to_owned();
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(!lab.in_network(&["ip", "-o", "link"]).stdout.contains("bridge"));
}

/// The stock command line's own words for it all.
#[test]
fn the_stock_command_line_manages_networks() {
    let lab = Lab::new();
    let Some(version) = lab.docker(&["--version"]) else { return };
    version.ok();
    let docker = |words: &[&str]| lab.docker(words).expect("installed");
    let both = |words: &[&str]| {
        let (ours, theirs) = (lab.estiba(words), docker(words));
        assert_eq!((ours.status, &ours.stdout), (theirs.status, &theirs.stdout), "{words:?}");
        theirs.stdout
    };
    let create = ["network", "create", "--driver", "bridge", "--subnet", "10.91.0.0/24"];
    let more = ["--gateway", "10.91.0.254", "--ip-range", "10.91.0.128/25", "--aux-address"];
    let rest = ["nas=10.91.0.130", "--label", "a=b", "-o", "com.docker.network.driver.mtu=1400"];
    let id = docker(&[&create[..], &more, &rest, &["--attachable", "app"]].concat());
    assert_eq!(id.ok().len(), 64);
    docker(&["network", "create", "--internal", "--ipv6", "inner"]).ok();
    both(&["network", "ls"]);
    both(&["network", "ls", "--no-trunc", "--filter", "driver=bridge", "--format", "{{.Name}}"]);
    both(&["network", "ls", "-q", "-f", "label=a=b"]);
    both(&["network", "ls", "--filter", "type=custom", "--format", "json"]);
    both(&["network", "inspect", "app"]);
    both(&["network", "inspect", "-f", "{{json .IPAM}}", "app", "inner"]);
    both(&["network", "inspect", "nosuch"]);
    docker(&["run", "-d", "--name", "aa", "--network", "app", "busybox", "sleep", "1000"]).ok();
    let connect = ["network", "connect", "--alias", "far", "--ip6", "fd99::5", "inner", "aa"];
    docker(&connect).fails(1, "no configured subnet");
    docker(&["network", "connect", "--alias", "far", "--gw-priority", "1", "inner", "aa"]).ok();
    docker(&["network", "connect", "inner", "aa"]).fails(1, "already exists in network inner");
    both(&["network", "inspect", "inner"]);
    both(&["network", "rm", "inner"]);
    docker(&["network", "disconnect", "inner", "aa"]).ok();
    docker(&["network", "disconnect", "inner", "aa"]).fails(1, "is not connected");
    docker(&["network", "disconnect", "-f", "app", "aa"]).ok();
    both(&["network", "prune", "--force", "--filter", "label=none"]);
    let pruned = docker(&["network", "prune", "--force"]);
    assert!(pruned.ok().contains("inner") && pruned.stdout.contains("app"), "{pruned:?}");
    assert_eq!(docker(&["network", "rm", "bridge"]).status, 1);
}

#[test]
fn ipv6_is_had_where_the_host_has_it_switched_off() {
    let lab = Lab::new();
    let off = "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done";
    lab.in_network(&["sh", "-c", off]).ok();
    // Who asks for a subnet asks for the family.
    lab.estiba(&["network", "create", "--subnet", "2001:389::/64", "six"]).ok();
    assert_eq!(field(&lab, "six", "{{.EnableIPv6}} {{.EnableIPv4}}"), "true true");
    let there = ["run", "-d", "--name", "there", "--network", "six", "--ip6", "2001:389::7"];
    let serve = ["busybox", "sh", "-c", "while :; do echo hi | nc -l -p 80; done"];
    lab.estiba(&[&there[..], &serve].concat()).ok();
    let ask = "for i in $(seq 50); do nc -w 2 2001:389::7 80 && break; sleep 0.1; done";
    let run = ["run", "--rm", "--network", "six", "busybox", "sh", "-c"];
    assert_eq!(lab.estiba(&[&run[..], &[ask]].concat()).ok(), "hi");
    let own = lab.estiba(&[&run[..], &["ip -6 addr show dev lo"]].concat());
    assert!(own.ok().contains("::1/128"), "{own:?}");
    // An old client says no and names a subnet all the same: no IPv6, as with Docker.
    let pools = ["--ipv6=false", "--subnet", "2001:390::/64", "--subnet", "10.83.0.0/24"];
    lab.estiba(&[&["network", "create"], &pools[..], &["four"]].concat()).ok();
    let shown = "{{.EnableIPv6}} {{len .IPAM.Config}} {{(index .IPAM.Config 0).Subnet}}";
    assert_eq!(field(&lab, "four", shown), "false 1 10.83.0.0/24");
    let pools = ["--ipv4=false", "--subnet", "2001:391::/64", "only"];
    lab.estiba(&[&["network", "create"], &pools[..]].concat()).ok();
    assert_eq!(field(&lab, "only", "{{.EnableIPv6}} {{.EnableIPv4}}"), "true false");
    let addresses = ["run", "--rm", "--network", "only", "busybox", "ip", "addr", "show", "eth0"];
    let seen = lab.estiba(&addresses).ok().to_owned();
    assert!(seen.contains("2001:391::2/64") && !seen.contains("inet "), "{seen}");
}
