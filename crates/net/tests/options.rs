//! Driver options of networks and endpoints, each by what it does to packets and links.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, Netns, bridge, dual_stack, network, on_host, options, sh};
use model::network::{
    Cidr, EndpointDraft, NetworkDraft, PoolDraft, PortBinding, PortSpec, Protocol,
};
use net::{Attach, Net};
use std::net::IpAddr;

fn tcp(port: u16) -> PortSpec {
    PortSpec { port, protocol: Protocol::Tcp }
}

fn published(host: u16, container: u16) -> PortBinding {
    PortBinding { container: tcp(container), host_ip: None, host_ports: Some((host, host)) }
}

fn asked(option: &str, value: &str) -> EndpointDraft {
    let options = [(option.to_owned(), value.to_owned())].into();
    EndpointDraft { options, ..EndpointDraft::default() }
}

const ICC: &str = "com.docker.network.bridge.enable_icc";
const GATEWAY_MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";

/// On a bridge whose containers do not reach each other, a link opens the other's exposed ports,
/// and nothing else; taken back, it closes them.
#[test]
fn a_link_opens_exposed_ports_where_containers_are_kept_apart() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let closed = bridge(&net, "closed", &[(ICC, "false")]);
        let [a, b, c] = ["a", "b", "c"].map(|name| Container::start(&net, &closed, name));
        b.netns.serve("b", "0.0.0.0:80");
        b.netns.serve("b", "0.0.0.0:81");
        a.netns.serve("a", "0.0.0.0:80");
        let seen = |from: &Container, to: &Container, port| from.netns.ask(&to.at(port)).is_ok();
        assert!(!seen(&a, &b, 80));
        net.link(&a.endpoint, &[(b.ip(), vec![tcp(80)])]).unwrap();
        assert_eq!(a.netns.ask(&b.at(80)), Ok(format!("b sees {}", a.ip())));
        assert!(!seen(&a, &b, 81) && !seen(&b, &a, 80) && !seen(&c, &b, 80));
        net.link(&a.endpoint, &[]).unwrap();
        assert!(!seen(&a, &b, 80));
        net.link(&a.endpoint, &[(b.ip(), vec![tcp(80)])]).unwrap();
        net.detach(&a.endpoint).unwrap();
        let rules = sh("nft list set ip estiba linked");
        assert!(!rules.contains("elements"), "{rules}");
        // Where everybody reaches everybody there is nothing to open.
        let open = bridge(&net, "open", &[]);
        let [a, b] = ["a", "b"].map(|name| Container::start(&net, &open, name));
        net.link(&a.endpoint, &[(b.ip(), vec![tcp(80)])]).unwrap();
        assert!(!sh("nft list set ip estiba linked").contains("elements"));
    });
}

/// What leaves gets the address that was asked for, not the leaving interface's.
#[test]
fn what_leaves_has_the_address_that_was_asked_for() {
    on_host(|host, neighbour| {
        sh("ip addr add 10.9.0.77/24 dev up0");
        dual_stack(host, neighbour);
        sh("ip -6 addr add fd09::77/64 dev up0 nodad");
        let net = Net::open(options()).unwrap();
        let sources = [
            ("com.docker.network.host_ipv4".to_owned(), "10.9.0.77".to_owned()),
            ("com.docker.network.host_ipv6".to_owned(), "fd09::77".to_owned()),
        ];
        let draft = NetworkDraft {
            name: "out".into(),
            enable_ipv6: Some(true),
            options: sources.into(),
            ..NetworkDraft::default()
        };
        let a = Container::start(&net, &network(&net, &draft), "a");
        neighbour.serve("neighbour", "0.0.0.0:80");
        neighbour.serve("neighbour", "[::]:81");
        assert_eq!(a.netns.ask("10.9.0.2:80"), Ok("neighbour sees 10.9.0.77".into()));
        assert_eq!(a.netns.ask("[fd09::2]:81"), Ok("neighbour sees fd09::77".into()));
        let plain = Container::start(&net, &bridge(&net, "plain", &[]), "b");
        assert_eq!(plain.netns.ask("10.9.0.2:80"), Ok("neighbour sees 10.9.0.1".into()));
    });
}

/// Published ports are reached at the container's own address from behind a trusted interface,
/// and from nowhere else.
#[test]
fn a_trusted_interface_reaches_published_ports_directly() {
    on_host(|_, neighbour| {
        let other = Netns::new();
        lab::wire("far0", "10.8.0.1/24", &other, "10.8.0.2/24");
        let net = Net::open(options()).unwrap();
        let trusted = "com.docker.network.bridge.trusted_host_interfaces";
        let spec = bridge(&net, "one", &[(trusted, "up0:nosuch")]);
        let web = Container::start(&net, &spec, "web");
        web.netns.serve("web", "0.0.0.0:80");
        web.netns.serve("web", "0.0.0.0:81");
        net.publish(&web.endpoint, &[published(8080, 80)]).unwrap();
        assert_eq!(neighbour.ask(&web.at(80)), Ok("web sees 10.9.0.2".into()));
        assert!(neighbour.ask(&web.at(81)).is_err(), "not published");
        assert!(other.ask(&web.at(80)).is_err(), "not trusted");
        assert!(other.ask("10.8.0.1:8080").is_ok());
        net.unpublish(&web.endpoint).unwrap();
        assert!(neighbour.ask(&web.at(80)).is_err());
    });
}

/// Two containers fill a block of two addresses where the host needs none.
#[test]
fn a_block_of_two_addresses_has_room_for_two() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        for (n, option) in [(INHIBIT, "true"), (GATEWAY_MODE, "isolated")].into_iter().enumerate() {
            let subnet = Cidr::parse(&format!("192.168.135.{}/31", n * 2)).unwrap();
            let draft = NetworkDraft {
                name: format!("pair{n}"),
                internal: true,
                pools: vec![PoolDraft { subnet: Some(subnet), ..PoolDraft::default() }],
                options: [(option.0.to_owned(), option.1.to_owned())].into(),
                ..NetworkDraft::default()
            };
            let spec = network(&net, &draft);
            assert_eq!(spec.pools[0].gateway, None);
            let [a, b] = ["a", "b"].map(|name| Container::start(&net, &spec, name));
            b.netns.serve("b", "0.0.0.0:80");
            assert_eq!(a.netns.ask(&b.at(80)), Ok(format!("b sees {}", a.ip())));
            let full = Container::join(&net, &spec, "c", Netns::new()).unwrap_err().to_string();
            assert!(full.contains("no available IPv4 addresses"), "{full}");
        }
        // With an address of the host there is room for one.
        let pools = vec![PoolDraft {
            subnet: Cidr::parse("192.168.136.0/31").ok(),
            ..PoolDraft::default()
        }];
        let draft = NetworkDraft { name: "one".into(), pools, ..NetworkDraft::default() };
        let spec = network(&net, &draft);
        let _a = Container::start(&net, &spec, "a");
        assert!(Container::join(&net, &spec, "b", Netns::new()).is_err());
    });
}

/// A link without room for IPv6's smallest packet has none, and works.
#[test]
fn an_mtu_too_small_for_ipv6_is_no_hindrance() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let spec = bridge(&net, "small", &[("com.docker.network.driver.mtu", "1000")]);
        let [a, b] = ["a", "b"].map(|name| Container::start(&net, &spec, name));
        b.netns.serve("b", "0.0.0.0:80");
        assert!(a.netns.ask(&b.at(80)).is_ok());
        assert!(a.netns.sh("ip link show eth0").contains("mtu 1000"));
    });
}

/// Settings of an interface, under the name that it was given.
#[test]
fn an_endpoint_brings_its_name_and_settings() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let spec = bridge(&net, "one", &[]);
        let mut draft = asked(
            "com.docker.network.endpoint.sysctls",
            "net.ipv4.conf.IFNAME.forwarding=1,net.ipv4.conf.ifname.log_martians=1",
        );
        let ifname = "com.docker.network.endpoint.ifname".to_owned();
        draft.options.insert(ifname, "wan".to_owned());
        let a = Container::join_as(&net, &spec, "a", Netns::new(), &draft).unwrap();
        assert_eq!(a.endpoint.interface.as_deref(), Some("wan"));
        let read = a.netns.sh("cd /proc/sys/net/ipv4/conf/wan; cat forwarding log_martians");
        assert_eq!(read, "1\n1\n");
        let bad = asked("com.docker.network.endpoint.sysctls", "net.ipv4.conf.IFNAME.nosuch=1");
        let error = Container::join_as(&net, &spec, "b", Netns::new(), &bad).unwrap_err();
        assert!(error.to_string().contains("nosuch"), "{error}");
        let left = sh("ip -br link show type veth");
        assert_eq!(left.lines().filter(|it| it.starts_with("veth")).count(), 1, "{left}");
    });
}

/// A container without IPv6 gets no address of it, whatever its network has.
#[test]
fn a_container_without_ipv6_gets_no_address_of_it() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let draft = NetworkDraft {
            name: "dual".into(),
            enable_ipv6: Some(true),
            ..NetworkDraft::default()
        };
        let spec = network(&net, &draft);
        let netns = Netns::new();
        let endpoint = net
            .attach(&Attach {
                network: &spec.id,
                container: &model::ContainerId::from_bytes(lab::fresh_bytes()),
                container_name: "four",
                netns: netns.fd(),
                draft: &EndpointDraft::default(),
                taken: &["eth0".to_owned()],
                ways: [true; 2],
                ipv6: false,
            })
            .unwrap();
        assert_eq!((endpoint.ipv6, endpoint.gateway6), (None, None));
        assert_eq!(endpoint.interface.as_deref(), Some("eth1"));
        assert_eq!(netns.sh("ip -6 addr show dev eth1"), "");
        assert!(endpoint.ipv4.is_some());
    });
}

/// A hardware address of the user's own is told to the neighbours: they may remember another.
#[test]
fn neighbours_are_told_of_a_hardware_address_nobody_could_foresee() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let spec = bridge(&net, "one", &[]);
        let a = Container::start(&net, &spec, "a");
        let draft = |last| EndpointDraft {
            ipv4: "172.17.0.9".parse().ok(),
            mac: Some([2, 0, 0, 0, 0, last]),
            ..EndpointDraft::default()
        };
        let known = || {
            let table = a.netns.sh("ip neigh show 172.17.0.9");
            table.split("lladdr ").nth(1).unwrap_or_default().get(..17).unwrap_or("").to_owned()
        };
        let b = Container::join_as(&net, &spec, "b", Netns::new(), &draft(1)).unwrap();
        b.netns.serve("b", "0.0.0.0:80");
        assert!(a.netns.ask("172.17.0.9:80").is_ok());
        assert_eq!(known(), "02:00:00:00:00:01");
        net.detach(&b.endpoint).unwrap();
        let _c = Container::join_as(&net, &spec, "c", Netns::new(), &draft(2)).unwrap();
        let told = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            known() == "02:00:00:00:00:02"
        });
        assert!(told, "{}", known());
    });
}

/// Over IPv4 and IPv6 a port may lead to different networks of a container.
#[test]
fn each_family_of_a_published_port_leads_to_the_network_that_leads_out() {
    on_host(|host, neighbour| {
        dual_stack(host, neighbour);
        let net = Net::open(options()).unwrap();
        let four = bridge(&net, "four", &[]);
        let draft = NetworkDraft {
            name: "six".into(),
            enable_ipv4: Some(false),
            enable_ipv6: Some(true),
            ..NetworkDraft::default()
        };
        let six = network(&net, &draft);
        assert_eq!(net.leads_out(&four.id), [true, false]);
        assert_eq!(net.leads_out(&six.id), [false, true]);
        let a = Container::start(&net, &four, "a");
        let taken = ["eth0".to_owned()];
        let second = net
            .attach(&Attach {
                network: &six.id,
                container: &a.id,
                container_name: "a",
                netns: a.netns.fd(),
                draft: &EndpointDraft::default(),
                taken: &taken,
                ways: [false, true],
                ipv6: true,
            })
            .unwrap();
        a.netns.serve("four", "0.0.0.0:80");
        let at6: IpAddr = second.ipv6.unwrap().addr;
        a.netns.serve("six", &format!("[{at6}]:80"));
        let made = net.publish_over(&a.endpoint, Some(&second), &[published(8080, 80)]).unwrap();
        assert_eq!(made.len(), 2);
        assert_eq!(neighbour.ask("10.9.0.1:8080"), Ok("four sees 10.9.0.2".into()));
        // The kernel joins the group that neighbours ask in from a work queue, in its own time.
        let answered = (0..20).any(|_| {
            let answer = neighbour.ask("[fd09::1]:8080");
            let arrived = answer == Ok("six sees fd09::2".into());
            if !arrived {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            arrived
        });
        assert!(answered, "{:?}", neighbour.ask("[fd09::1]:8080"));
        net.unpublish(&a.endpoint).unwrap();
        assert!(neighbour.ask("[fd09::1]:8080").is_err());
    });
}
