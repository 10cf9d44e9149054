//! The daemon's settings about networks, each by what it changes (its flags: `dockerd --help`).
//! Those of the default bridge for IPv4, and names: `network_create.rs`; policies and marks:
//! `crates/net`.

use lab::{Lab, Setup, binaries};

fn with(arguments: &[&str]) -> Lab {
    let arguments = arguments.iter().map(|&it| it.to_owned()).collect();
    Lab::with(Setup { arguments, ..Setup::default() })
}

fn sh(lab: &Lab, script: &str) -> String {
    lab.in_network(&["sh", "-c", script]).ok().to_owned()
}

/// What a container that lives for it sees.
fn run(lab: &Lab, options: &[&str], script: &str) -> String {
    let words = [&["run", "--rm"], options, &["busybox", "sh", "-c", script]].concat();
    lab.estiba(&words).ok().to_owned()
}

#[test]
fn ipv6_of_the_default_bridge() {
    let lab = with(&[
        "--ipv6",
        "--bip6=fd66::1/64",
        "--fixed-cidr-v6=fd66::100/120",
        "--default-gateway-v6=fd66::fe",
    ]);
    let seen = run(&lab, &[], "ip -6 addr show eth0; ip -6 route");
    assert!(seen.contains("fd66::10") && seen.contains("/64 scope global"), "{seen}");
    assert!(seen.contains("default via fd66::fe"), "{seen}");
    assert!(sh(&lab, "ip -6 addr show docker0").contains("fd66::1/64"));
}

#[test]
fn subnets_come_from_the_pools() {
    let lab = with(&[
        "--default-address-pool=base=10.40.0.0/16,size=24",
        "--default-address-pool=base=fd40::/48,size=64",
    ]);
    assert!(run(&lab, &[], "ip addr show eth0").contains("inet 10.40.0.2/24"));
    lab.estiba(&["network", "create", "--ipv6", "six"]).ok();
    let seen = run(&lab, &["--network", "six"], "ip addr show eth0");
    assert!(seen.contains("inet 10.40.1.2/24") && seen.contains("inet6 fd40::2/64"), "{seen}");
    // A container on a network without IPv6 has none, link-local addresses included.
    lab.estiba(&["network", "create", "four"]).ok();
    let seen = run(&lab, &["--network", "four"], "ip -6 addr show eth0");
    assert_eq!(seen, "", "no IPv6 where nobody asked for it");
}

/// Who is behind the host's address, and whether the host is a router.
#[test]
fn forwarding_and_masquerading() {
    let forwards = |lab: &Lab| sh(lab, "cat /proc/sys/net/ipv4/ip_forward");
    let masqueraded = "nft list set ip estiba masqueraded";
    let foreign = "nft list table ip estiba | grep -c 'chain foreign' || true";
    let usual = with(&[]);
    assert_eq!(forwards(&usual), "1");
    assert!(sh(&usual, masqueraded).contains("docker0"));
    assert_eq!(sh(&usual, foreign), "1", "what is not ours is not forwarded");
    let other = with(&["--ip-masq=false", "--ip-forward-no-drop"]);
    assert!(!sh(&other, masqueraded).contains("docker0"));
    assert_eq!((forwards(&other).as_str(), sh(&other, foreign).as_str()), ("1", "0"));
    // A network may say otherwise.
    let option = "com.docker.network.bridge.enable_ip_masquerade=true";
    lab_network(&other, option);
    assert!(sh(&other, masqueraded).contains("br-users"));
    let none = with(&["--ip-forward=false"]);
    assert_eq!(forwards(&none), "0", "the host's setting stays");
}

fn lab_network(lab: &Lab, option: &str) {
    let name = "com.docker.network.bridge.name=br-users";
    lab.estiba(&["network", "create", "-o", name, "-o", option, "users"]).ok();
}

/// Without rules ports are published all the same, by the daemon itself.
#[test]
fn without_rules() {
    let lab = with(&["--iptables=false"]);
    assert_eq!(sh(&lab, "nft list tables"), "");
    let serve = ["sh", "-c", "echo page > /index.html; exec httpd -f -p 80 -h /"];
    let words = ["run", "-d", "--name", "web", "-p", "127.0.0.1:18093:80", "busybox"];
    lab.estiba(&[&words[..], &serve].concat()).ok();
    lab::eventually("the page", || {
        let page = ["curl", "-s", "-m", "2", "http://127.0.0.1:18093/index.html"];
        lab.in_network(&page).stdout.trim() == "page"
    });
}

/// What changes nothing here is said to, and what makes no sense does not start.
#[test]
fn what_changes_nothing_says_so() {
    let moot = ["--userland-proxy=false", "--ip6tables=false", "--firewall-backend=nftables"];
    let lab = with(&moot);
    for words in ["userland-proxy changes nothing", "ip6tables changes nothing"] {
        assert!(lab.daemon_log().contains(words), "{words}: {}", lab.daemon_log());
    }
    let program = binaries().join("estiba").to_string_lossy().into_owned();
    let dir = lab.dir().join("other");
    let place = |name: &str| format!("{}/{name}", dir.display());
    let data = [place("data"), place("run"), place("pid")];
    let group = format!("/{}", lab.dir().file_name().unwrap().to_string_lossy());
    let socket = format!("unix://{}", place("sock"));
    for (flag, words) in [
        ("--bridge=nosuch0", "there is no interface nosuch0"),
        ("--bip=10.9.0.1", "bip"),
        ("--fixed-cidr=10.9.0.1/33", "fixed-cidr"),
        ("--firewall-backend=ipchains", "firewall-backend"),
        ("--default-address-pool=base=10.0.0.0/16,size=8", "default-address-pool"),
        ("--host-gateway-ip=10.0.0.1,10.0.0.2", "only one IPv4"),
        ("--bridge-accept-fwmark=0x10000000", "engine's own"),
        ("--publish-policy=everyone", "want docker, host-firewall or loopback"),
    ] {
        let [root, run, pid] = data.each_ref();
        let places = ["--data-root", root, "--exec-root", run, "--pidfile", pid, "-H", &socket];
        // In a network of its own: one daemon lays rules in each.
        let begin = ["unshare", "--net", &program, "daemon", "--config-file", "/dev/null"];
        let seen =
            lab.in_network(&[&begin[..], &places, &["--cgroup-parent", &group, flag]].concat());
        assert_ne!(seen.status, 0, "{flag}: {seen:?}");
        let said = format!("{}{}", seen.stdout, seen.stderr);
        assert!(said.contains(words), "{flag}: {said}");
    }
    // Another in the same network is refused before it touches anything.
    let [root, run, pid] = data.each_ref();
    let places = ["--data-root", root, "--exec-root", run, "--pidfile", pid, "-H", &socket];
    let begin = [&program[..], "daemon", "--config-file", "/dev/null"];
    let seen = lab.in_network(&[&begin[..], &places, &["--cgroup-parent", &group]].concat());
    seen.fails(1, "is another daemon's (process ");
}
