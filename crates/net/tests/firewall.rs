//! The host's own rules and ours: `DOCKER-USER` in both variants of iptables, ufw-like input
//! rules, gateway modes, and containers that claim to be others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, bridge, network, on_host, options, sh};
use model::network::{
    Cidr, EndpointDraft, NetworkDraft, PoolDraft, PortBinding, PortSpec, Protocol,
};
use net::{Iptables, Net, Options, PublishPolicy};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const HOST: &str = "10.9.0.1";

fn tcp(host: Option<&str>, from: u16, to: u16) -> PortBinding {
    PortBinding {
        container: PortSpec { port: to, protocol: Protocol::Tcp },
        host_ip: host.map(|h| h.parse().unwrap()),
        host_ports: Some((from, from)),
    }
}

/// Both variants, as options and as the programs that administrators use.
fn variants() -> [(Iptables, &'static str); 2] {
    ["nft", "legacy"].map(|variant| {
        let path = |name: &str| format!("/usr/sbin/{name}-{variant}-restore").into();
        let program = if variant == "nft" { "iptables-nft" } else { "iptables-legacy" };
        (Iptables::Programs(path("iptables"), path("ip6tables")), program)
    })
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The rules that people have in `DOCKER-USER`, verbatim but for the interfaces' names.
#[test]
fn docker_user_comes_first() {
    for (iptables, program) in variants() {
        on_host(|_, neighbour| {
            let net = Net::open(Options { iptables, ..options() }).unwrap();
            let one = bridge(&net, "one", &[]);
            let two = bridge(&net, "two", &[]);
            let web = Container::start(&net, &one, "web");
            let far = Container::start(&net, &two, "far");
            web.netns.serve("web", "0.0.0.0:80");
            net.publish(&web.endpoint, &[tcp(None, 8080, 80)]).unwrap();
            assert!(neighbour.ask("10.9.0.1:8080").is_ok(), "{program}: no rule of anybody's");
            // Restrict who reaches containers from outside.
            let only = "-i up0 ! --src-range 192.168.1.1-192.168.1.3 -j DROP";
            sh(&format!("{program} -I DOCKER-USER -m iprange {only}"));
            assert!(neighbour.ask("10.9.0.1:8080").is_err(), "{program}: DROP is final");
            sh(&format!("{program} -D DOCKER-USER -m iprange {only}"));
            assert!(neighbour.ask("10.9.0.1:8080").is_ok());
            // Allow what the engine would refuse: between networks, and past published ports.
            let (a, b) = (one.bridge.clone().unwrap(), two.bridge.clone().unwrap());
            assert!(far.netns.ask(&web.at(80)).is_err());
            sh(&format!("{program} -I DOCKER-USER -i {b} -o {a} -j ACCEPT"));
            assert!(far.netns.ask(&web.at(80)).is_ok(), "{program}: ACCEPT overrides");
            assert!(neighbour.ask(&web.at(80)).is_err(), "and only what it says");
            // A host whose own rules forward nothing: ours are let pass, others are not.
            sh(&format!("{program} -P FORWARD DROP"));
            assert!(neighbour.ask("10.9.0.1:8080").is_ok(), "{program}: policy DROP");
        });
    }
}

/// The engine's host as a router.
#[test]
fn docker_user_may_let_the_host_route() {
    for (iptables, program) in variants() {
        on_host(|_, neighbour| {
            let beyond = lab::Netns::new();
            lab::wire("far0", "10.8.0.1/24", &beyond, "10.8.0.2/24");
            beyond.serve("beyond", "0.0.0.0:80");
            let _net = Net::open(Options { iptables, ..options() }).unwrap();
            assert!(neighbour.ask("10.8.0.2:80").is_err());
            sh(&format!("{program} -I DOCKER-USER -i up0 -o far0 -j ACCEPT"));
            sh(&format!("{program} -I DOCKER-USER -i far0 -o up0 -j ACCEPT"));
            assert!(neighbour.ask("10.8.0.2:80").is_ok());
        });
    }
}

#[test]
fn the_chains_come_back_and_are_laid_once() {
    for (iptables, program) in variants() {
        on_host(|_, _| {
            let count = || {
                let saved = sh(&format!("{program}-save"));
                let lines = |needle: &str| saved.lines().filter(|l| l.contains(needle)).count();
                (lines(":DOCKER-USER"), lines("-A FORWARD -j ESTIBA-FORWARD"), lines("-A ESTIBA"))
            };
            let net = Net::open(Options { iptables: iptables.clone(), ..options() }).unwrap();
            assert_eq!(count(), (1, 1, 4));
            sh(&format!("{program} -A DOCKER-USER -s 10.66.0.0/16 -j DROP"));
            drop(net);
            let _net = Net::open(Options { iptables: iptables.clone(), ..options() }).unwrap();
            assert_eq!(count(), (1, 1, 4), "{program}: a restart finds them");
            assert!(sh(&format!("{program} -S DOCKER-USER")).contains("10.66.0.0/16"));
            for damage in
                ["-F FORWARD", "-F ESTIBA-FORWARD", "-F", "-D ESTIBA-FORWARD -j DOCKER-USER"]
            {
                sh(&format!("{program} {damage}"));
                eventually(damage, || count() == (1, 1, 4));
            }
            sh(&format!("{program} -F; {program} -X || true"));
            eventually("everything removed", || count() == (1, 1, 4));
        });
    }
}

/// ufw, firewalld and their like have rules about what comes in; with this policy they decide
/// about published ports, too.
#[test]
fn the_hosts_input_rules_decide_about_guarded_ports() {
    on_host(|host, neighbour| {
        // As distributions have it.
        sh("sysctl -qw net.ipv4.conf.all.rp_filter=1");
        lab::dual_stack(host, neighbour);
        let publish_policy = PublishPolicy::HostFirewall;
        let net = Net::open(Options { publish_policy, ..options() }).unwrap();
        let dual = NetworkDraft {
            name: "dual".into(),
            enable_ipv6: Some(true),
            ..NetworkDraft::default()
        };
        let one = network(&net, &dual);
        let web = Container::start(&net, &one, "web");
        let near = Container::start(&net, &one, "near");
        web.netns.serve("web", "[::]:80");
        net.publish(&web.endpoint, &[tcp(None, 8080, 80), tcp(Some(HOST), 8082, 80)]).unwrap();
        let open = Ok("web sees ::ffff:10.9.0.2".to_owned());
        let open6 = Ok("web sees fd09::2".to_owned());
        assert_eq!(neighbour.ask("10.9.0.1:8080"), open, "nothing said: accepted, source kept");
        assert_eq!(neighbour.ask("10.9.0.1:8082"), open);
        assert_eq!(neighbour.ask("[fd09::1]:8080"), open6);
        // A default-deny host.
        sh("nft 'add table inet ufw; add chain inet ufw in { type filter hook input priority 0; \
            policy drop; }; add rule inet ufw in ct state established accept; add rule inet ufw in \
            icmpv6 type {nd-neighbor-solicit,nd-neighbor-advert} accept; add rule inet ufw in \
            iifname lo accept'");
        for closed in ["10.9.0.1:8080", "10.9.0.1:8082", "[fd09::1]:8080"] {
            assert!(neighbour.ask(closed).is_err(), "{closed}");
        }
        assert!(host.ask("127.0.0.1:8080").is_ok(), "the host itself");
        assert!(near.netns.ask("10.9.0.1:8080").is_ok(), "containers are no neighbours");
        sh("nft add rule inet ufw in tcp dport 8080 accept");
        assert_eq!(neighbour.ask("10.9.0.1:8080"), open, "allowed as any port of the host");
        assert_eq!(neighbour.ask("[fd09::1]:8080"), open6);
        assert!(neighbour.ask("10.9.0.1:8082").is_err());
        assert!(neighbour.ask(&web.at(80)).is_err(), "and only through the host");
        net.unpublish(&web.endpoint).unwrap();
        assert!(neighbour.ask("10.9.0.1:8080").is_err());
    });
}

#[test]
fn loopback_policy_publishes_for_the_host_alone() {
    on_host(|host, neighbour| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[("estiba.publish_policy", "loopback")]);
        let web = Container::start(&net, &one, "web");
        web.netns.serve("web", "0.0.0.0:80");
        let made = net.publish(&web.endpoint, &[tcp(None, 8080, 80), tcp(Some(HOST), 8081, 80)]);
        assert_eq!(made.unwrap()[0].host_ip.unwrap().to_string(), "127.0.0.1");
        assert!(host.ask("127.0.0.1:8080").is_ok());
        assert!(neighbour.ask("10.9.0.1:8080").is_err());
        assert!(neighbour.ask("10.9.0.1:8081").is_ok(), "an address that was asked for");
    });
}

fn dual(name: &str, mode: &str) -> NetworkDraft {
    let option = |family: &str| {
        (format!("com.docker.network.bridge.gateway_mode_{family}"), mode.to_owned())
    };
    NetworkDraft {
        name: name.into(),
        enable_ipv6: Some(true),
        options: [option("ipv4"), option("ipv6")].into(),
        ..NetworkDraft::default()
    }
}

#[test]
fn gateway_modes_say_who_comes_in() {
    on_host(|host, neighbour| {
        lab::dual_stack(host, neighbour);
        neighbour.serve("neighbour", "[::]:7");
        let net = Net::open(options()).unwrap();
        let start = |mode: &str| {
            let spec = network(&net, &dual(mode, mode));
            let it = Container::start(&net, &spec, "web");
            it.netns.serve("web", "[::]:80");
            it.netns.serve("web", "[::]:81");
            let v6 = it.endpoint.ipv6.unwrap().addr;
            let made = net.publish(&it.endpoint, &[tcp(None, 8080, 80)]).unwrap();
            (it, v6, made)
        };
        let (nat, v6, _) = start("nat");
        assert_eq!(neighbour.ask("10.9.0.1:8080"), Ok("web sees ::ffff:10.9.0.2".into()));
        assert_eq!(neighbour.ask("[fd09::1]:8080"), Ok("web sees fd09::2".into()));
        assert!(host.ask("[fd09::1]:8080").is_ok());
        assert!(
            neighbour.ask(&nat.at(80)).is_err() && neighbour.ask(&format!("[{v6}]:80")).is_err()
        );
        assert_eq!(
            nat.netns.ask("[fd09::2]:7"),
            Ok("neighbour sees fd09::1".into()),
            "masqueraded"
        );
        net.unpublish(&nat.endpoint).unwrap();

        let (open, v6, _) = start("nat-unprotected");
        assert!(
            neighbour.ask(&open.at(81)).is_ok() && neighbour.ask(&format!("[{v6}]:81")).is_ok()
        );
        assert!(neighbour.ask("10.9.0.1:8080").is_ok());
        net.unpublish(&open.endpoint).unwrap();

        let (routed, v6, made) = start("routed");
        assert_eq!(made.iter().filter_map(|it| it.host_ports).count(), 0, "no port of the host");
        assert!(neighbour.ask("10.9.0.1:8080").is_err());
        assert!(
            neighbour.ask(&routed.at(80)).is_ok() && neighbour.ask(&format!("[{v6}]:80")).is_ok()
        );
        assert!(
            neighbour.ask(&routed.at(81)).is_err() && neighbour.ask(&format!("[{v6}]:81")).is_err()
        );
        neighbour.sh(&format!("busybox ping -c1 -W5 {} >&2", routed.ip()));
        let sees = |it: Result<String, String>| it.unwrap().replace("neighbour sees ::ffff:", "");
        assert_eq!(sees(routed.netns.ask("10.9.0.2:7")), routed.ip().to_string(), "own address");
        net.unpublish(&routed.endpoint).unwrap();
        assert!(neighbour.ask(&routed.at(80)).is_err());
    });
}

#[test]
fn direct_routing_opens_published_ports_and_no_other() {
    on_host(|host, neighbour| {
        let net = Net::open(Options { direct_routing: true, ..options() }).unwrap();
        let it = Container::start(&net, &bridge(&net, "one", &[]), "web");
        it.netns.serve("web", "0.0.0.0:80");
        it.netns.serve("web", "0.0.0.0:81");
        it.netns.serve("web", "0.0.0.0:82");
        let loopback = tcp(Some("127.0.0.1"), 8082, 82);
        let asked = [tcp(None, 8080, 80), tcp(Some(HOST), 8083, 80), loopback];
        let made = net.publish(&it.endpoint, &asked).unwrap();
        let direct = || neighbour.ask(&it.at(80));
        assert_eq!(direct(), Ok("web sees 10.9.0.2".into()));
        assert!(neighbour.ask(&it.at(81)).is_err(), "not published");
        assert!(neighbour.ask(&it.at(82)).is_err(), "published on loopback");
        let said = net.exposure(&it.endpoint).unwrap();
        let direct_ways = said.iter().filter(|way| way.rule.contains("allow-direct-routing"));
        assert!(direct_ways.clone().count() > 0, "{said:?}");
        assert!(direct_ways.clone().all(|way| way.at == it.at(80)), "{said:?}");
        // What one port no longer needs, another may.
        let of = |port: u16| -> Vec<PortBinding> {
            made.iter().filter(|it| it.host_ports == Some((port, port))).cloned().collect()
        };
        net.unpublish_some(&it.endpoint, &of(8080)).unwrap();
        assert!(neighbour.ask("10.9.0.1:8080").is_err());
        assert!(neighbour.ask("10.9.0.1:8083").is_ok() && direct().is_ok());
        assert!(it.netns.ask("10.9.0.1:8083").is_ok(), "its own port, from itself");
        net.unpublish_some(&it.endpoint, &of(8083)).unwrap();
        assert!(neighbour.ask("10.9.0.1:8083").is_err() && direct().is_err());
        assert!(host.ask("127.0.0.1:8082").is_ok(), "the rest stays");
        assert!(!net.reconcile().unwrap(), "what should be, is");
    });
}

#[test]
fn direct_routing_follows_a_changed_configuration() {
    on_host(|_, neighbour| {
        let net = Net::open(options()).unwrap();
        let it = Container::start(&net, &bridge(&net, "one", &[]), "web");
        it.netns.serve("web", "0.0.0.0:80");
        net.publish(&it.endpoint, &[tcp(None, 8080, 80)]).unwrap();
        let direct = || neighbour.ask(&it.at(80));
        assert!(direct().is_err());
        net.reload(Options { direct_routing: true, ..options() }).unwrap();
        assert_eq!(direct(), Ok("web sees 10.9.0.2".into()));
        assert!(!net.reconcile().unwrap(), "what should be, is");
        net.reload(options()).unwrap();
        assert!(direct().is_err());
        assert!(neighbour.ask("10.9.0.1:8080").is_ok(), "what is published stays");
        net.reload(Options { direct_routing: true, ..options() }).unwrap();
        net.unpublish(&it.endpoint).unwrap();
        assert!(direct().is_err(), "nothing of it stays");
        assert!(!net.reconcile().unwrap(), "what should be, is");
    });
}

#[test]
fn connections_end_with_the_port_they_came_by() {
    on_host(|_, neighbour| {
        let net = Net::open(options()).unwrap();
        let it = Container::start(&net, &bridge(&net, "one", &[]), "echo");
        let listener = it.netns.run(|| TcpListener::bind("0.0.0.0:80").unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut stream, &mut back);
                });
            }
        });
        let made = net.publish(&it.endpoint, &[tcp(Some(HOST), 8084, 80), tcp(None, 8085, 80)]);
        let made = made.unwrap();
        let connect = |port: u16| {
            let stream = neighbour.run(|| TcpStream::connect((HOST, port)).unwrap());
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        let echoes = |mut stream: &TcpStream| {
            let mut byte = [0];
            stream.write_all(b"?").is_ok() && stream.read(&mut byte).is_ok_and(|got| got == 1)
        };
        let (gone, stays) = (connect(8084), connect(8085));
        assert!(echoes(&gone) && echoes(&stays));
        net.unpublish_some(&it.endpoint, &made[..1]).unwrap();
        assert!(!echoes(&gone), "the host knows of no such connection");
        assert!(echoes(&stays), "another port's goes on");
    });
}

#[test]
fn marked_packets_come_in_but_never_to_internal_networks() {
    on_host(|_, neighbour| {
        let mark = net::FirewallMark::parse("0x1/0x3").unwrap();
        let net = Net::open(Options { accept_mark: Some(mark), ..options() }).unwrap();
        let it = Container::start(&net, &bridge(&net, "one", &[]), "web");
        it.netns.serve("web", "0.0.0.0:80");
        let inner = NetworkDraft { name: "in".into(), internal: true, ..NetworkDraft::default() };
        let inner = Container::start(&net, &network(&net, &inner), "inner");
        inner.netns.serve("inner", "0.0.0.0:80");
        sh("nft 'add table ip admin; add chain ip admin in { type filter hook prerouting \
            priority -200; }'");
        let marked = |mark: &str| {
            sh(&format!(
                "nft 'flush chain ip admin in; \
                 add rule ip admin in iifname up0 meta mark set {mark}'"
            ));
        };
        assert!(neighbour.ask(&it.at(80)).is_err(), "without a mark");
        marked("0x2");
        assert!(neighbour.ask(&it.at(80)).is_err(), "another mark");
        marked("0x5");
        assert_eq!(
            neighbour.ask(&it.at(80)),
            Ok("web sees 10.9.0.2".into()),
            "of those that count"
        );
        assert!(neighbour.ask(&inner.at(80)).is_err(), "internal is internal");
        let said = net.exposure(&it.endpoint).unwrap();
        assert!(said.iter().any(|way| way.rule.contains("bridge-accept-fwmark")), "{said:?}");
    });
    for (text, fine) in [
        ("1", true),
        ("0x10/0xff", true),
        ("0x10000000", false),
        ("x", false),
        ("1/0", false),
        ("+1", false),
        ("", false),
    ] {
        assert_eq!(net::FirewallMark::parse(text).is_ok(), fine, "{text:?}");
    }
}

#[test]
fn isolated_networks_have_no_address_of_the_host() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let draft = NetworkDraft { internal: true, ..dual("inner", "isolated") };
        let spec = network(&net, &draft);
        let bridge = spec.bridge.as_deref().unwrap();
        assert!(!sh(&format!("ip -br addr show dev {bridge}")).contains("172."));
        let a = Container::start(&net, &spec, "a");
        let b = Container::start(&net, &spec, "b");
        b.netns.serve("b", "0.0.0.0:80");
        assert!(a.netns.ask(&b.at(80)).is_ok());
        let id = model::NetworkId::from_bytes([3; 32]);
        let refused = net.resolve(&dual("outer", "isolated"), id, model::Timestamp(1));
        assert!(refused.unwrap_err().to_string().contains("internal"));
    });
}

/// A container with every capability over its own namespace claims to be its neighbour (law F6).
/// Law F6: a raw socket of ICMP is enough to send a redirect, in the name of its own address. The
/// kernel heeds those of the gateway alone; ours do not get there.
#[test]
fn redirects_of_containers_are_not_heard() {
    for (option, guarded) in [("true", true), ("false", false)] {
        on_host(|_, _| {
            let net = Net::open(options()).unwrap();
            let spec = bridge(&net, "one", &[("estiba.anti_spoofing", option)]);
            let rogue = Container::start(&net, &spec, "rogue");
            let peer = Container::start(&net, &spec, "peer");
            let heard = |kind: u8| {
                let count = || {
                    let all = peer.netns.sh("grep ^IcmpMsg: /proc/net/snmp || true");
                    let mut lines = all.lines().map(str::split_whitespace);
                    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
                        return 0;
                    };
                    let name = format!("InType{kind}");
                    let found = names.zip(values).find(|(found, _)| *found == name);
                    found.map_or(0, |(_, value)| value.parse::<u32>().unwrap())
                };
                let before = count();
                rogue.netns.sh(&format!(
                    "python3 -c \"import socket,struct\ns=socket.socket(2,3,1)\n\
                     b=bytearray(struct.pack('!BBH4s',{kind},1,0,socket.inet_aton('10.0.0.9')))\n\
                     b+=b'E'+bytes(27)\nt=sum(struct.unpack('!18H',b))\nt=(t>>16)+(t&65535)\n\
                     b[2:4]=struct.pack('!H',65535-t)\ns.sendto(b,('{}',0))\"",
                    peer.ip()
                ));
                (0..20).any(|_| {
                    std::thread::sleep(Duration::from_millis(10));
                    count() > before
                })
            };
            assert!(heard(8), "an echo request");
            assert_eq!(heard(5), !guarded, "a redirect");
        });
    }
}

#[test]
fn nobody_speaks_for_another() {
    for (option, guarded) in [("true", true), ("false", false)] {
        on_host(|_, _| {
            let net = Net::open(options()).unwrap();
            let pools = [
                PoolDraft { subnet: Cidr::parse("10.5.0.0/24").ok(), ..PoolDraft::default() },
                PoolDraft { subnet: Cidr::parse("fd05::/64").ok(), ..PoolDraft::default() },
            ];
            let spec = network(
                &net,
                &NetworkDraft {
                    name: "one".into(),
                    enable_ipv6: Some(true),
                    pools: pools.to_vec(),
                    options: [("estiba.anti_spoofing".to_owned(), option.to_owned())].into(),
                    ..NetworkDraft::default()
                },
            );
            let draft =
                EndpointDraft { ipv4: "10.5.0.66".parse().ok(), ..EndpointDraft::default() };
            let rogue =
                Container::join_as(&net, &spec, "rogue", lab::Netns::new(), &draft).unwrap();
            let victim = Container::start(&net, &spec, "victim");
            let peer = Container::start(&net, &spec, "peer");
            peer.netns.serve("peer", "[::]:80");
            victim.netns.serve("victim", "[::]:80");
            assert!(rogue.netns.ask(&peer.at(80)).is_ok(), "speaks for itself");
            let peer6 = format!("[{}]:80", peer.endpoint.ipv6.unwrap().addr);
            assert!(rogue.netns.ask(&peer6).is_ok());
            // Another source address, another hardware address, another's address announced.
            rogue.netns.sh(
                "ip addr add 10.5.0.200/24 dev eth0; ip -6 addr add fd05::200/64 dev eth0 nodad",
            );
            rogue.netns.sh("ip route replace 10.5.0.0/24 dev eth0 src 10.5.0.200");
            assert_eq!(rogue.netns.ask(&peer.at(80)).is_err(), guarded, "IPv4");
            rogue.netns.sh("ip -6 route replace fd05::/64 dev eth0 src fd05::200");
            let own = rogue.endpoint.ipv6.unwrap();
            rogue.netns.sh(&format!("ip -6 addr del {own} dev eth0 || true"));
            assert_eq!(rogue.netns.ask(&peer6).is_err(), guarded, "IPv6");
            rogue.netns.sh("ip link set eth0 address 02:42:0a:05:00:77; \
                 ip addr del 10.5.0.200/24 dev eth0; ip route replace 10.5.0.0/24 dev eth0");
            assert_eq!(rogue.netns.ask(&peer.at(80)).is_err(), guarded, "hardware address");
            // Takes the victim's address over in its neighbours' caches.
            let address = victim.ip();
            rogue.netns.sh(&format!("ip addr add {address}/24 dev eth0"));
            rogue.netns.serve("rogue", &format!("{address}:80"));
            rogue.netns.sh("sysctl -qw net.ipv4.conf.eth0.arp_notify=1; \
                 ip link set eth0 down; ip link set eth0 up");
            peer.netns.sh("ip neigh flush all");
            if guarded {
                assert_eq!(
                    peer.netns.ask(&victim.at(80)),
                    Ok(format!("victim sees {}", peer.ip()).replace("sees ", "sees ::ffff:"))
                );
            }
        });
    }
}
