//! Who reaches whom: two bridges, a neighbour host and the world behind it, before and after the
//! rules are flushed, with and without the kernel's protection of our table.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, Netns, bridge, network, on_host, options, sh};
use model::network::{NetworkDraft, PortBinding, PortSpec, Protocol};
use net::{Net, Options};
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn published(host: Option<&str>, from: u16, to: u16, protocol: Protocol) -> PortBinding {
    PortBinding {
        container: PortSpec { port: to, protocol },
        host_ip: host.map(|h| h.parse::<IpAddr>().unwrap()),
        host_ports: Some((from, from)),
    }
}

fn tcp(host: Option<&str>, from: u16, to: u16) -> PortBinding {
    published(host, from, to, Protocol::Tcp)
}

fn sees(name: &str, ip: impl ToString) -> Result<String, String> {
    Ok(format!("{name} sees {}", ip.to_string()))
}

const HOST: &str = "10.9.0.1";
const NEIGHBOUR: &str = "10.9.0.2";

/// The flows that publish nothing.
struct Unpublished {
    net: Net,
    a: Container,
    b: Container,
    other: Container,
}

impl Unpublished {
    fn lay(host: &Netns, neighbour: &Netns, options: Options) -> Self {
        let net = Net::open(options).unwrap();
        let one = bridge(&net, "one", &[]);
        let two = bridge(&net, "two", &[]);
        let a = Container::start(&net, &one, "a");
        let b = Container::start(&net, &one, "b");
        let other = Container::start(&net, &two, "other");
        b.netns.serve("b", "0.0.0.0:80");
        other.netns.serve("other", "0.0.0.0:80");
        neighbour.serve("neighbour", "0.0.0.0:80");
        host.serve("host", "0.0.0.0:81");
        host.serve("loopback", "127.0.0.1:82");
        Self { net, a, b, other }
    }

    fn check(&self, host: &Netns, neighbour: &Netns) {
        let Self { a, b, other, .. } = self;
        assert_eq!(a.netns.ask(&b.at(80)), sees("b", a.ip()), "same network");
        assert!(a.netns.ask(&other.at(80)).is_err(), "another network");
        assert_eq!(a.netns.ask("10.9.0.2:80"), sees("neighbour", HOST), "masqueraded");
        assert_eq!(a.netns.ask("10.9.0.1:81"), sees("host", a.ip()), "the host");
        assert!(a.netns.ask("127.0.0.1:82").is_err(), "its own loopback is not the host's");
        assert!(host.ask(&b.at(80)).is_ok(), "host to container");
        assert!(neighbour.ask(&b.at(80)).is_err(), "routed past the host's ports");
    }
}

#[test]
fn containers_reach_what_they_may() {
    on_host(|host, neighbour| {
        Unpublished::lay(host, neighbour, options()).check(host, neighbour);
    });
}

#[test]
fn a_flush_by_others_changes_nothing() {
    on_host(|host, neighbour| {
        let flows = Unpublished::lay(host, neighbour, options());
        let before = sh("nft list table ip estiba; nft list table bridge estiba");
        sh("nft flush ruleset");
        let after = sh("nft list table ip estiba; nft list table bridge estiba");
        assert_eq!(after, before, "the kernel keeps our tables");
        assert!(!flows.net.reconcile().unwrap());
        flows.check(host, neighbour);
    });
}

#[test]
fn on_older_kernels_flushed_rules_come_back_at_once() {
    on_host(|host, neighbour| {
        let flows = Unpublished::lay(host, neighbour, Options { own_rules: false, ..options() });
        let ours = || {
            ["ip", "ip6", "bridge"]
                .map(|family| sh(&format!("nft list table {family} estiba 2>&1 || true")))
                .concat()
        };
        let before = ours();
        for damage in [
            "nft flush ruleset",
            "nft delete table ip estiba",
            "nft delete table bridge estiba",
            "nft flush chain ip estiba between",
            "nft flush set ip estiba bridges",
            "nft add rule ip estiba between accept",
            "nft 'add table ip estiba { flags dormant; }'",
        ] {
            sh(damage);
            let deadline = Instant::now() + Duration::from_secs(2);
            while ours() != before {
                assert!(Instant::now() < deadline, "{damage}: {}", ours());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        flows.check(host, neighbour);
    });
}

/// Two that lay rules would undo each other's without end, where the kernel does not keep them
/// apart.
#[test]
fn a_second_daemon_is_refused() {
    on_host(|_, _| {
        for own_rules in [true, false] {
            let options = || Options { own_rules, ..options() };
            let first = Net::open(options()).unwrap();
            bridge(&first, &format!("one-{own_rules}"), &[]);
            let rules = sh("nft -a list ruleset");
            let second = Net::open(options()).unwrap_err().to_string();
            let named = format!("another daemon's (process {})", std::process::id());
            assert!(second.contains(&named), "{second}");
            assert!(!first.reconcile().unwrap());
            assert_eq!(sh("nft -a list ruleset"), rules, "the very same rules");
            drop(first);
            Net::open(options()).unwrap();
        }
    });
}

#[test]
fn published_ports_are_reached_from_where_the_user_said() {
    on_host(|host, neighbour| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        let two = bridge(&net, "two", &[]);
        let web = Container::start(&net, &one, "web");
        let near = Container::start(&net, &one, "near");
        let far = Container::start(&net, &two, "far");
        web.netns.serve("web", "0.0.0.0:80");
        web.netns.serve_udp("dns", "0.0.0.0:53");
        let bindings = [
            tcp(None, 8080, 80),
            tcp(Some("127.0.0.1"), 8081, 80),
            tcp(Some(HOST), 8082, 80),
            published(None, 5353, 53, Protocol::Udp),
        ];
        let made = net.publish(&web.endpoint, &bindings).unwrap();
        assert_eq!(made[0].host_ip, Some("0.0.0.0".parse().unwrap()));
        assert_eq!(made[1].host_ip, Some("::".parse().unwrap()));
        assert_eq!(made[1].host_ports, made[0].host_ports);
        assert_eq!(made[2..4], bindings[1..3]);

        assert_eq!(neighbour.ask("10.9.0.1:8080"), sees("web", NEIGHBOUR), "source kept");
        assert_eq!(neighbour.ask_udp("10.9.0.1:5353"), sees("dns", NEIGHBOUR));
        assert_eq!(neighbour.ask("10.9.0.1:8082"), sees("web", NEIGHBOUR));
        assert!(neighbour.ask("10.9.0.1:8081").is_err(), "published on loopback only");
        assert!(neighbour.ask(&web.at(80)).is_err(), "published, yet not routed to");

        let gateway = web.endpoint.gateway.unwrap();
        assert_eq!(host.ask("127.0.0.1:8080"), sees("web", gateway));
        assert_eq!(host.ask("127.0.0.1:8081"), sees("web", gateway));
        assert_eq!(host.ask("10.9.0.1:8080"), sees("web", HOST));
        assert!(host.ask("127.0.0.1:8082").is_err(), "published on one address only");
        assert_eq!(host.ask_udp("127.0.0.1:5353"), sees("dns", gateway));
        assert_eq!(host.ask("[::1]:8080"), sees("web", gateway), "relayed");
        assert!(host.ask("[::1]:8081").is_err());

        assert!(near.netns.ask("10.9.0.1:8080").is_ok(), "hairpin");
        assert!(web.netns.ask("10.9.0.1:8080").is_ok(), "to itself");
        sh("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
        assert_eq!(near.netns.ask("10.9.0.1:8080"), sees("web", gateway), "hairpin");
        assert_eq!(web.netns.ask("10.9.0.1:8080"), sees("web", gateway), "to itself");
        assert_eq!(far.netns.ask("10.9.0.1:8080"), sees("web", far.ip()), "published to all");
        assert!(far.netns.ask("10.9.0.1:8081").is_err());

        net.unpublish(&web.endpoint).unwrap();
        assert!(neighbour.ask("10.9.0.1:8080").is_err());
        assert!(neighbour.ask_udp("10.9.0.1:5353").is_err());
        assert!(host.ask("127.0.0.1:8081").is_err());
        net.publish(&web.endpoint, &bindings).unwrap();
        assert_eq!(neighbour.ask("10.9.0.1:8080"), sees("web", NEIGHBOUR), "and again");
    });
}

/// A neighbour that sends to the host's loopback address, routed by a trick.
#[test]
fn ports_on_loopback_stay_there() {
    on_host(|host, neighbour| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        let web = Container::start(&net, &one, "web");
        let rogue = Container::start(&net, &one, "rogue");
        web.netns.serve("web", "0.0.0.0:80");
        host.serve("private", "127.0.0.1:82");
        net.publish(&web.endpoint, &[tcp(Some("127.0.0.1"), 8081, 80)]).unwrap();
        let trick = |dev: &str, gateway: &str| {
            format!(
                "sysctl -qw net.ipv4.conf.{dev}.route_localnet=1 net.ipv4.conf.all.rp_filter=0; \
                 ip route del local 127.0.0.0/8 dev lo table local; \
                 ip route del local 127.0.0.1 dev lo table local; \
                 ip route add 127.0.0.1 via {gateway} dev {dev} onlink src $(ip -4 -br addr \
                 show {dev} | awk '{{print $3}}' | cut -d/ -f1)"
            )
        };
        sh("sysctl -qw net.ipv4.conf.up0.route_localnet=1");
        neighbour.sh(&trick("wire0", HOST));
        rogue.netns.sh(&trick("eth0", &web.endpoint.gateway.unwrap().to_string()));
        for who in [neighbour, &rogue.netns] {
            assert!(who.ask("127.0.0.1:8081").is_err(), "published on loopback");
            assert!(who.ask("127.0.0.1:82").is_err(), "a service of the host");
        }
        assert!(host.ask("127.0.0.1:8081").is_ok());
        let socket = UdpSocket::bind("127.0.0.1:83").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let arrives = || {
            neighbour.run(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(b"trick", "127.0.0.1:83").unwrap();
            });
            socket.recv(&mut [0; 8]).is_ok()
        };
        assert!(!arrives());
        // The trick works where nobody guards, or the test proves nothing.
        drop(net);
        sh("nft delete table ip estiba");
        assert!(arrives());
    });
}

#[test]
fn internal_networks_have_no_way_out_or_in() {
    on_host(|_, neighbour| {
        let net = Net::open(options()).unwrap();
        let draft =
            NetworkDraft { name: "inner".into(), internal: true, ..NetworkDraft::default() };
        let inner = network(&net, &draft);
        let one = bridge(&net, "one", &[]);
        let a = Container::start(&net, &inner, "a");
        let b = Container::start(&net, &inner, "b");
        let web = Container::start(&net, &one, "web");
        web.netns.serve("web", "0.0.0.0:80");
        b.netns.serve("b", "0.0.0.0:80");
        neighbour.serve("neighbour", "0.0.0.0:80");
        net.publish(&web.endpoint, &[tcp(None, 8080, 80)]).unwrap();
        assert_eq!(a.netns.ask(&b.at(80)), sees("b", a.ip()));
        assert_eq!(net.publish(&b.endpoint, &[tcp(None, 8090, 80)]).unwrap(), []);
        assert_eq!(a.endpoint.gateway, None);
        // Even with a route, which a privileged container could make.
        let gateway = inner.pools[0].gateway.unwrap();
        a.netns.sh(&format!("ip route add default via {gateway}"));
        assert!(a.netns.ask("10.9.0.2:80").is_err(), "the world");
        assert!(a.netns.ask(&web.at(80)).is_err(), "another network");
        assert!(a.netns.ask("10.9.0.1:8080").is_err(), "a published port");
        neighbour.sh(&format!("ip route add {} via {HOST}", inner.pools[0].subnet));
        assert!(neighbour.ask(&b.at(80)).is_err());
    });
}

#[test]
fn without_icc_containers_meet_only_at_published_ports() {
    on_host(|host, _| {
        let net = Net::open(options()).unwrap();
        let icc = ("com.docker.network.bridge.enable_icc", "false");
        for bridged_translation in ["1", "0"] {
            sh(&format!("sysctl -qw net.bridge.bridge-nf-call-iptables={bridged_translation}"));
            let closed = bridge(&net, "closed", &[icc]);
            let a = Container::start(&net, &closed, "a");
            let b = Container::start(&net, &closed, "b");
            b.netns.serve("b", "0.0.0.0:80");
            assert!(a.netns.ask(&b.at(80)).is_err());
            assert!(host.ask(&b.at(80)).is_ok());
            net.publish(&b.endpoint, &[tcp(None, 8080, 80)]).unwrap();
            assert!(host.ask("127.0.0.1:8080").is_ok());
            if bridged_translation == "0" {
                assert!(a.netns.ask("10.9.0.1:8080").is_ok());
            }
            for container in [&a, &b] {
                net.detach(&container.endpoint).unwrap();
            }
            net.delete_network(&closed.id).unwrap();
        }
    });
}

#[test]
fn link_local_services_are_closed_unless_allowed() {
    for (allowed, link_local_egress) in [(false, false), (true, true)] {
        on_host(|_, neighbour| {
            sh("ip addr add 169.254.1.1/16 dev up0");
            neighbour.sh("ip addr add 169.254.7.7/16 dev wire0");
            neighbour.serve("metadata", "169.254.7.7:80");
            let net = Net::open(Options { link_local_egress, ..options() }).unwrap();
            let a = Container::start(&net, &bridge(&net, "one", &[]), "a");
            assert_eq!(a.netns.ask("169.254.7.7:80").is_ok(), allowed);
        });
    }
}

/// Turning forwarding on must not make the host a router for its neighbours.
#[test]
fn the_host_does_not_become_a_router() {
    on_host(|_, neighbour| {
        let beyond = Netns::new();
        lab::wire("far0", "10.8.0.1/24", &beyond, "10.8.0.2/24");
        beyond.serve("beyond", "0.0.0.0:80");
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward"), "0\n");
        let net = Net::open(options()).unwrap();
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
        assert!(neighbour.ask("10.8.0.2:80").is_err());
        // A restarted daemon finds forwarding on, and still knows who turned it on.
        drop(net);
        let net = Net::open(options()).unwrap();
        net.sweep().unwrap();
        assert!(neighbour.ask("10.8.0.2:80").is_err());
        drop(net);
        sh("nft delete table ip estiba; nft delete table ip6 estiba");
        assert!(neighbour.ask("10.8.0.2:80").is_ok());
        // Who was a router before stays one.
        let net = Net::open(options()).unwrap();
        assert!(neighbour.ask("10.8.0.2:80").is_ok());
        drop(net);
    });
}

/// Direct-routed packets sent without pause while the rules are flushed: not one arrives.
#[test]
fn nothing_slips_through_while_others_flush() {
    on_host(|host, neighbour| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        let a = Container::start(&net, &one, "a");
        let (socket, target) = (a.netns.run(|| UdpSocket::bind("0.0.0.0:9").unwrap()), a.at(9));
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let sender = neighbour.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut sent = 0u32;
                while !done.load(Ordering::Relaxed) {
                    sent += u32::from(sender.send_to(b"x", &target).is_ok());
                }
                sent
            });
            for _ in 0..30 {
                sh("nft flush ruleset");
            }
            done.store(true, Ordering::Relaxed);
            assert!(flood.join().unwrap() > 1000);
        });
        assert!(socket.recv(&mut [0; 8]).is_err());
        host.run(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", &target).unwrap());
        assert!(socket.recv(&mut [0; 8]).is_ok(), "the container does listen");
    });
}

/// nft(8) reads the rules as they are meant.
#[test]
fn the_rules_read_as_written() {
    on_host(|_, _| {
        sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        let net = Net::open(options()).unwrap();
        let icc = ("com.docker.network.bridge.enable_icc", "false");
        let name = ("com.docker.network.bridge.name", "br-a");
        let closed = bridge(&net, "closed", &[icc, name]);
        let web = Container::start(&net, &closed, "web");
        net.publish(&web.endpoint, &[tcp(None, 8080, 80), tcp(Some("127.0.0.1"), 81, 80)]).unwrap();
        let text = sh("nft list table ip estiba | sed 's/ # progname.*//'");
        assert_eq!(text, include_str!("rules.nft"), "{text}");
        let v6 = sh("nft list table ip6 estiba");
        assert!(v6.contains("oifname @bridges drop") && v6.contains("ip6 daddr ::1 accept"));
    });
}
