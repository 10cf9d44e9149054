//! Coming, going and coming back: nothing leaks, nothing is given twice, and a restarted daemon
//! finds everything as it was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, Netns, bridge, fresh_bytes, network, on_host, options, sh};
use model::error::{ErrorKind, HasKind};
use model::network::{Cidr, EndpointDraft, NetworkDraft, NetworkSpec, PoolDraft, PortBinding};
use model::network::{PortSpec, Protocol};
use model::{ContainerId, NetworkId, Timestamp};
use net::{Adopt, Attach, Net, Options};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

fn binding(host_ports: Option<(u16, u16)>, to: u16, protocol: Protocol) -> PortBinding {
    PortBinding { container: PortSpec { port: to, protocol }, host_ip: None, host_ports }
}

fn tcp(from: u16, to: u16) -> PortBinding {
    binding(Some((from, from)), to, Protocol::Tcp)
}

#[test]
fn five_hundred_containers_come_and_go_without_a_trace() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        let before = (sh("ip -o link | cut -d: -f2"), sh("nft list ruleset"), sockets());
        let mut slowest = Duration::ZERO;
        let mut total = Duration::ZERO;
        for n in 0..500 {
            let netns = Netns::new();
            let begin = Instant::now();
            let container = Container::join(&net, &one, "c", netns).unwrap();
            slowest = slowest.max(begin.elapsed());
            total += begin.elapsed();
            assert_eq!(container.ip(), "172.17.0.2".parse::<std::net::IpAddr>().unwrap());
            net.publish(&container.endpoint, &[tcp(8000, 80)]).unwrap();
            if n % 2 == 0 {
                // Killed: the namespace and its links are gone before we hear of it.
                let Container { endpoint, .. } = container;
                net.detach(&endpoint).unwrap();
                net.detach(&endpoint).unwrap();
            } else {
                net.detach(&container.endpoint).unwrap();
            }
        }
        println!("attach: mean {:?}, slowest {slowest:?}", total / 500);
        assert_eq!((sh("ip -o link | cut -d: -f2"), sh("nft list ruleset")), (before.0, before.1));
        wait_for(|| sockets() <= before.2);
        net.delete_network(&one.id).unwrap();
        assert!(!sh("ip -br link").contains("br-"));
    });
}

/// Links are taken away together then, and nobody else's with them.
#[test]
fn twenty_containers_end_at_once() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        sh("ip link add theirs type veth peer name others; ip link set theirs group 7");
        let links = || sh("ip -o link | cut -d: -f2");
        let before = links();
        let all: Vec<Container> =
            (0..20).map(|n| Container::start(&net, &one, &format!("c{n}"))).collect();
        std::thread::scope(|scope| {
            for container in &all {
                scope.spawn(|| net.detach(&container.endpoint).unwrap());
            }
        });
        assert_eq!(links(), before);
        assert_eq!(Container::start(&net, &one, "next").ip().to_string(), "172.17.0.2");
    });
}

/// The kernel frees some things a little later.
fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(3);
    while !condition() {
        assert!(Instant::now() < deadline, "still not after three seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sockets of the host's namespace, netlink ones included.
fn sockets() -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/sockstat").unwrap();
    text.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[test]
fn a_failed_attachment_leaves_nothing() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        let netns = Netns::new();
        netns.sh("ip link add eth0 type veth peer name other");
        let before = sh("ip -br link");
        let error = Container::join(&net, &one, "a", netns).unwrap_err();
        let expect = "in the container: File exists";
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!(sh("ip -br link"), before);
        let next = Container::start(&net, &one, "b");
        assert_eq!(next.ip().to_string(), "172.17.0.2", "the lease came back");
    });
}

#[test]
fn interfaces_have_no_ipv6_unless_asked() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let plain = Container::start(&net, &bridge(&net, "one", &[]), "a");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(plain.netns.sh("ip -6 addr show dev eth0"), "");
        let bridges = "ip -6 -br addr show type bridge; ip -6 -br addr show type bridge_slave";
        assert_eq!(sh(bridges), "");
        let draft = NetworkDraft {
            name: "dual".into(),
            enable_ipv6: Some(true),
            pools: vec![PoolDraft {
                subnet: Some(Cidr::parse("fd00:1::/64").unwrap()),
                ..PoolDraft::default()
            }],
            ..NetworkDraft::default()
        };
        let dual = network(&net, &draft);
        let (b, c) = (Container::start(&net, &dual, "b"), Container::start(&net, &dual, "c"));
        c.netns.serve("c", "[::]:80");
        // The kernel joins the group that neighbours ask in from a work queue, in its own time.
        wait_for(|| b.netns.ask("[fd00:1::3]:80") == Ok("c sees fd00:1::2".into()));
        assert!(b.netns.sh("ip -6 route").contains("default via fd00:1::1 dev eth0"));
        assert_eq!(b.netns.sh("cat /proc/sys/net/ipv6/conf/eth0/accept_ra"), "0\n");
        assert!(b.netns.ask(&c.at(80)).is_ok(), "and IPv4 as ever");
    });
}

#[test]
fn static_addresses_are_given_once_and_only_where_they_belong() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let pool = PoolDraft {
            subnet: Some(Cidr::parse("172.28.0.0/24").unwrap()),
            ..PoolDraft::default()
        };
        let draft = NetworkDraft { name: "n".into(), pools: vec![pool], ..Default::default() };
        let spec = network(&net, &draft);
        let join = |ip: &str, mac| {
            let draft =
                EndpointDraft { ipv4: Some(ip.parse().unwrap()), mac, ..Default::default() };
            Container::join_as(&net, &spec, "c", Netns::new(), &draft)
        };
        let mac = Some([2, 0, 0, 0, 0, 7]);
        let first = join("172.28.0.9", mac).unwrap();
        assert!(first.netns.sh("ip -br link show eth0").contains("02:00:00:00:00:07"));
        for (ip, why) in [
            ("172.28.0.9", "Address already in use"),
            ("172.28.0.1", "Address already in use"),
            ("172.28.0.0", "network or broadcast"),
            ("172.28.0.255", "network or broadcast"),
            ("172.29.0.1", "no configured subnet"),
        ] {
            let error = join(ip, None).unwrap_err();
            assert!(error.to_string().contains(why), "{ip}: {error}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        assert!(join("172.28.0.10", Some([1, 0, 0, 0, 0, 7])).is_err(), "multicast MAC");
        assert!(join("172.28.0.10", None).is_ok());
    });
}

#[test]
fn ports_in_use_are_refused_by_whom() {
    on_host(|host, _| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        let (a, b) = (Container::start(&net, &one, "a"), Container::start(&net, &one, "b"));
        a.netns.serve("a", "0.0.0.0:80");
        net.publish(&a.endpoint, &[tcp(8080, 80)]).unwrap();
        let error = net.publish(&b.endpoint, &[tcp(9000, 80), tcp(8080, 80)]).unwrap_err();
        let whose = a.id.short();
        assert_eq!(
            error.to_string(),
            format!("Bind for 0.0.0.0:8080 failed: port is already allocated (container {whose})")
        );
        assert!(TcpListener::bind("0.0.0.0:9000").is_ok(), "all or none");
        assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "held against programs of the host");
        assert!(host.ask("127.0.0.1:8080").is_ok());

        let _program = TcpListener::bind("127.0.0.1:8081").unwrap();
        let error = net.publish(&b.endpoint, &[tcp(8081, 80)]).unwrap_err().to_string();
        assert_eq!(
            error,
            "failed to bind host port for 0.0.0.0:8081:172.17.0.3:80/tcp: \
             Address already in use (os error 98)"
        );
        // A program that is not the daemon is named.
        let mut program = std::process::Command::new("busybox")
            .args(["nc", "-l", "-p", "8089"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while TcpListener::bind("0.0.0.0:8089").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let error = net.publish(&b.endpoint, &[tcp(8089, 80)]).unwrap_err().to_string();
        let whose = format!("held by busybox (process {})", program.id());
        assert!(error.contains(&whose), "{error}");
        program.kill().unwrap();
        program.wait().unwrap();
        let udp = binding(Some((8080, 8080)), 80, Protocol::Udp);
        net.publish(&b.endpoint, &[udp]).unwrap();
        assert!(UdpSocket::bind("0.0.0.0:8080").is_err());

        let range = binding(Some((8080, 8083)), 80, Protocol::Tcp);
        let made = net.publish(&b.endpoint, &[range]).unwrap();
        assert_eq!(made[0].host_ports, Some((8082, 8082)), "the first free of the range");
        let ephemeral = binding(None, 81, Protocol::Tcp);
        let made = net.publish(&b.endpoint, &[ephemeral.clone(), ephemeral]).unwrap();
        let of = |v4| {
            let family = made.iter().filter(move |m| m.host_ip.unwrap().is_ipv4() == v4);
            family.map(|m| m.host_ports.unwrap().0).collect::<Vec<u16>>()
        };
        let ports = of(true);
        assert_eq!(of(false), ports, "the same port in both families");
        assert!(ports[0] >= 1024 && ports[0] != ports[1], "{ports:?}");

        net.detach(&a.endpoint).unwrap();
        assert!(TcpListener::bind("0.0.0.0:8080").is_ok());
        let not_ours = PortBinding { host_ip: "10.77.0.1".parse().ok(), ..tcp(8084, 80) };
        let error = net.publish(&b.endpoint, &[not_ours]).unwrap_err().to_string();
        assert!(error.contains("Cannot assign requested address"), "{error}");
    });
}

#[test]
fn ten_thousand_ports_are_one_transaction() {
    on_host(|_, neighbour| {
        let net = Net::open(options()).unwrap();
        let a = Container::start(&net, &bridge(&net, "one", &[]), "a");
        a.netns.serve("a", "0.0.0.0:25000");
        let ports: Vec<_> = (20_000..30_000).map(|port| tcp(port, port)).collect();
        let before = sockets();
        let begin = Instant::now();
        assert_eq!(net.publish(&a.endpoint, &ports).unwrap().len(), 10_000);
        let took = begin.elapsed();
        println!("10,000 ports published in {took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert!(sockets() <= before + 256);
        assert_eq!(neighbour.ask("10.9.0.1:25000"), Ok("a sees 10.9.0.2".into()));
        assert!(!net.reconcile().unwrap(), "what was laid is what is there");
        net.unpublish(&a.endpoint).unwrap();
        assert!(!sh("nft list ruleset").contains("25000"));
        assert!(!net.reconcile().unwrap());
        wait_for(|| sockets() <= before);
    });
}

#[test]
fn a_restarted_daemon_takes_over_what_runs() {
    on_host(|host, neighbour| {
        let net = Net::open(options()).unwrap();
        let one = bridge(&net, "one", &[]);
        let gone = bridge(&net, "gone", &[]);
        let a = Container::start(&net, &one, "a");
        let forgotten = Container::start(&net, &one, "forgotten");
        a.netns.serve("a", "0.0.0.0:80");
        let ports = net.publish(&a.endpoint, &[tcp(8080, 80)]).unwrap();
        let rules = sh("nft list ruleset");
        drop(net);
        assert_eq!(neighbour.ask("10.9.0.1:8080"), Ok("a sees 10.9.0.2".into()), "no daemon");
        assert!(neighbour.ask(&a.at(80)).is_err());

        let net = Net::open(options()).unwrap();
        net.create_network(&one).unwrap();
        assert!(host.ask("127.0.0.1:8080").is_ok(), "half restored");
        assert!(neighbour.ask(&a.at(80)).is_err(), "half restored");
        net.adopt(&Adopt { endpoint: &a.endpoint, six: None, ports: &ports }).unwrap();
        let mut removed = net.sweep().unwrap();
        removed.sort();
        let mut leaked =
            [forgotten.endpoint.host_interface.clone().unwrap(), gone.bridge.clone().unwrap()];
        leaked.sort();
        assert_eq!(removed, leaked);
        assert_eq!(neighbour.ask("10.9.0.1:8080"), Ok("a sees 10.9.0.2".into()));
        let gone_name = gone.bridge.unwrap();
        assert!(rules.contains(&gone_name) && !sh("nft list ruleset").contains(&gone_name));

        let b = Container::start(&net, &one, "b");
        assert_ne!(b.ip(), a.ip(), "a lease is never given twice");
        assert!(net.publish(&b.endpoint, &[tcp(8080, 80)]).is_err());
        net.detach(&a.endpoint).unwrap();
        net.publish(&b.endpoint, &[tcp(8080, 80)]).unwrap();
    });
}

#[test]
fn networks_are_refused_when_they_make_no_sense() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let make = |subnet: &str, change: &dyn Fn(&mut NetworkDraft)| {
            let subnet = Some(Cidr::parse(subnet).unwrap());
            let mut draft = NetworkDraft { name: "n".into(), ..NetworkDraft::default() };
            draft.pools = vec![PoolDraft { subnet, ..PoolDraft::default() }];
            change(&mut draft);
            let id = NetworkId::from_bytes(fresh_bytes());
            net.resolve(&draft, id, Timestamp(1)).map_err(|e| (e.kind(), e.to_string()))
        };
        let refuse = |subnet: &str, change: &dyn Fn(&mut NetworkDraft), kind, why: &str| {
            let (got, message) = make(subnet, change).unwrap_err();
            assert!(got == kind && message.contains(why), "{got:?} {message}");
        };
        let addr = |text: &str| text.parse().ok();
        make("10.20.0.0/24", &|_| {}).unwrap();
        refuse("10.20.0.0/16", &|_| {}, ErrorKind::Forbidden, "overlaps");
        refuse("10.21.0.5/24", &|_| {}, ErrorKind::Invalid, "it should be 10.21.0.0/24");
        refuse("10.22.0.0/24", &|d| d.pools[0].gateway = addr("10.9.9.9"), ErrorKind::Invalid, "");
        let range = Cidr::parse("10.24.0.0/28").ok();
        refuse("10.23.0.0/24", &|d| d.pools[0].range = range, ErrorKind::Invalid, "ip-range");
        refuse("10.23.0.0/24", &|d| d.driver = "wat".into(), ErrorKind::NotFound, "wat");
        refuse(
            "10.23.0.0/24",
            &|d| d.driver = "overlay".into(),
            ErrorKind::Unavailable,
            "swarm manager",
        );
        let name = "com.docker.network.bridge.name".to_owned();
        let set = |d: &mut NetworkDraft, n: &str| _ = d.options.insert(name.clone(), n.into());
        refuse("10.23.0.0/24", &|d| set(d, "too-long-for-a-link"), ErrorKind::Invalid, "interface");
        refuse("10.23.0.0/24", &|d| set(d, "../x"), ErrorKind::Invalid, "interface");

        // An interface of the administrator's that is no bridge.
        sh("ip link add dummy0 type veth peer name dummy1");
        let spec = make("10.25.0.0/24", &|d| set(d, "dummy0")).unwrap();
        assert!(net.create_network(&spec).unwrap_err().to_string().contains("not a bridge"));
        sh("ip link show dummy0");
    });
}

#[test]
fn chosen_subnets_avoid_the_hosts() {
    on_host(|_, _| {
        sh("ip addr add 172.17.5.1/24 dev up0; ip route add 172.18.0.0/15 via 10.9.0.2");
        let net = Net::open(options()).unwrap();
        let subnet = |name: &str| bridge(&net, name, &[]).pools[0].subnet.to_string();
        assert_eq!(subnet("one"), "172.20.0.0/16");
        assert_eq!(subnet("two"), "172.21.0.0/16");
        // Seven more of the 172 blocks are free, and sixteen of 192.168.
        for n in 0..26 {
            subnet(&format!("n{n}"));
        }
        let draft = NetworkDraft { name: "last".into(), ..NetworkDraft::default() };
        let id = NetworkId::from_bytes(fresh_bytes());
        let error = net.resolve(&draft, id, Timestamp(1)).unwrap_err();
        assert_eq!(error.to_string(), "all predefined address pools have been fully subnetted");
    });
}

/// Without rules there may be several daemons. They share the default bridge, as Docker's do, and
/// no one takes the other's links for leftovers.
#[test]
fn daemons_without_rules_share_the_default_bridge() {
    on_host(|host, _| {
        let options = || Options { firewall: false, ..options() };
        let start = || {
            let net = Net::open(options()).unwrap();
            let [default, ..] = net.predefined().unwrap();
            let default = network(&net, &default);
            net.sweep().unwrap();
            (net, default)
        };
        let (first, default) = start();
        let web = Container::start(&first, &default, "web");
        web.netns.serve("web", "0.0.0.0:80");
        let links = sh("ip -o link show type veth; ip -o addr show docker0");
        let (second, shared) = start();
        assert_eq!(shared.pools, default.pools);
        assert_eq!(sh("ip -o link show type veth; ip -o addr show docker0"), links);
        assert!(host.ask(&web.at(80)).is_ok());
        second.delete_network(&shared.id).unwrap();
        assert!(host.ask(&web.at(80)).is_ok(), "the bridge is the first one's");
        drop((first, second));
        // Alone again, what nobody knows is a leftover.
        drop(start());
        assert_eq!(sh("ip -o link show type veth | grep -c estiba || true").trim(), "0");
        assert!(host.ask(&web.at(80)).is_err());
    });
}

/// An interface of the administrator's keeps its addresses, and has to be there.
#[test]
fn the_default_bridge_may_be_the_administrators() {
    on_host(|_, _| {
        let options = |range: &str| Options {
            bridge: "corp0".to_owned(),
            fixed_range: Some(Cidr::parse(range).unwrap()),
            ..options()
        };
        let net = Net::open(options("10.1.16.0/24")).unwrap();
        let refused = net.predefined().unwrap_err().to_string();
        assert_eq!(refused, "there is no interface corp0, which is to be the default bridge");
        sh("ip link add corp0 type bridge; ip addr add 10.1.0.88/20 dev corp0; \
            ip addr add 10.1.16.88/20 dev corp0");
        let [default, ..] = net.predefined().unwrap();
        let default = network(&net, &default);
        let seen = |default: &NetworkSpec| default.pools[0].subnet.to_string();
        assert_eq!(seen(&default), "10.1.16.0/20");
        let a = Container::start(&net, &default, "a");
        assert_eq!(a.ip().to_string(), "10.1.16.1");
        assert_eq!(a.endpoint.gateway.unwrap().to_string(), "10.1.16.88");
        net.detach(&a.endpoint).unwrap();
        net.delete_network(&default.id).unwrap();
        assert!(sh("ip -o addr show corp0").contains("10.1.0.88/20"), "it stays");
    });
}

/// What the interface has and what is asked for are one address under two prefixes.
#[test]
fn the_default_bridge_grows_around_its_address() {
    on_host(|_, _| {
        sh("ip link add docker0 type bridge; ip link set docker0 up; \
            ip addr add 10.1.0.88/24 dev docker0; ip -6 addr add fd11::88/64 dev docker0 nodad");
        let net = Net::open(Options {
            ipv6: true,
            fixed_range: Cidr::parse("10.1.0.0/20").ok(),
            fixed_range6: Cidr::parse("fd11::/56").ok(),
            ..options()
        })
        .unwrap();
        let [default, ..] = net.predefined().unwrap();
        let default = network(&net, &default);
        let gateways: Vec<_> =
            default.pools.iter().map(|pool| (pool.subnet.prefix, pool.gateway)).collect();
        let wanted = [(20, "10.1.0.88".parse().ok()), (56, "fd11::88".parse().ok())];
        assert_eq!(gateways, wanted);
        assert!(sh("ip -6 route show dev docker0").contains("fd11::/56"));
        let a = Container::start(&net, &default, "a");
        a.netns.serve("a", "[::]:80");
        let at = format!("[{}]:80", a.endpoint.ipv6.unwrap().addr);
        // A bridge of IPv6 that has just got its first port listens for neighbours first.
        let reached = (0..20).any(|_| Netns::own().ask(&at).is_ok());
        assert!(reached, "the host reaches {at}: {}", sh("ip -6 addr; ip -6 route"));
    });
}

#[test]
fn the_predefined_networks_are_dockers() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let [default, host, none] = net.predefined().unwrap();
        let default = network(&net, &default);
        assert_eq!(default.bridge.as_deref(), Some("docker0"));
        assert_eq!(default.pools[0].subnet.to_string(), "172.17.0.0/16");
        assert!(sh("ip -br addr show docker0").contains("172.17.0.1/16"));
        let a = Container::start(&net, &default, "a");
        assert_eq!(a.netns.sh("ip route | head -1").trim(), "default via 172.17.0.1 dev eth0");
        assert!(a.netns.sh("ip -br link").contains("eth0"));
        for draft in [host, none] {
            let spec = network(&net, &draft);
            let c = Container::start(&net, &spec, "c");
            assert_eq!((c.endpoint.ipv4, c.endpoint.interface), (None, None));
        }
        let error = net.delete_network(&default.id).unwrap_err();
        assert_eq!(error.to_string(), "network bridge has active endpoints");
    });
}

#[test]
fn a_container_on_two_networks_leaves_by_the_one_it_was_told() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let (one, two) = (bridge(&net, "one", &[]), bridge(&net, "two", &[]));
        let a = Container::start(&net, &one, "a");
        let taken = [a.endpoint.interface.clone().unwrap()];
        let join = |network: &NetworkId, ways| {
            net.attach(&Attach {
                network,
                container: &a.id,
                container_name: "a",
                netns: a.netns.fd(),
                draft: &EndpointDraft::default(),
                taken: &taken,
                ways,
                ipv6: true,
            })
        };
        let route = || a.netns.sh("ip route show default").trim().to_owned();
        let second = join(&two.id, [false; 2]).unwrap();
        assert_eq!(route(), "default via 172.17.0.1 dev eth0");
        net.detach(&second).unwrap();
        let second = join(&two.id, [true, false]).unwrap();
        assert_eq!(route(), "default via 172.18.0.1 dev eth1");
        net.detach(&second).unwrap();
        assert_eq!(route(), "");
        net.route_through(&a.endpoint, [true; 2], a.netns.fd()).unwrap();
        assert_eq!(route(), "default via 172.17.0.1 dev eth0");
        let stats = net.interface_stats(a.netns.fd()).unwrap();
        assert_eq!(stats.len(), 1);
        assert!(a.netns.ask_udp("172.17.0.1:9").is_err());
        assert!(net.interface_stats(a.netns.fd()).unwrap()[0].tx_packets > 0);
    });
}

#[test]
fn unknown_networks_are_said_so() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let mut spec = bridge(&net, "one", &[]);
        net.delete_network(&spec.id).unwrap();
        net.delete_network(&spec.id).unwrap();
        spec.id = NetworkId::from_bytes(fresh_bytes());
        let error = Container::join(&net, &spec, "a", Netns::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let _ = ContainerId::from_bytes(fresh_bytes());
    });
}
