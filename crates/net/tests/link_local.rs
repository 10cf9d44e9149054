//! Published ports at the host's link-local addresses, which the kernel does not translate: who
//! reaches them, and under which policy nobody does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, Netns, dual_stack, network, on_host, opens, options, sh};
use model::network::{NetworkDraft, PortBinding, PortSpec, Protocol};
use net::{Net, Options, PublishPolicy};
use std::time::{Duration, Instant};

fn port(protocol: Protocol, host: u16) -> PortBinding {
    let container = PortSpec { port: 80, protocol };
    PortBinding { container, host_ip: None, host_ports: Some((host, host)) }
}

fn dual(name: &str, internal: bool) -> NetworkDraft {
    let (name, enable_ipv6) = (name.to_owned(), Some(true));
    NetworkDraft { name, internal, enable_ipv6, ..NetworkDraft::default() }
}

/// The link-local address of one of the host's interfaces, once nobody doubts it.
fn of_host(dev: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let all = sh(&format!("ip -6 -o addr show dev {dev} scope link"));
        let word = all.split_whitespace().find_map(|word| word.strip_suffix("/64"));
        match word {
            Some(address) if !all.contains("tentative") => return address.to_owned(),
            _ => assert!(Instant::now() < deadline, "{dev}: {all}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// That address and a port, as it is asked for by an interface of a namespace.
fn by(netns: &Netns, dev: &str, (address, port): (&str, u16)) -> String {
    let index = netns.sh(&format!("ip -o link show dev {dev} | cut -d: -f1"));
    let index = index.trim();
    format!("[{address}%{index}]:{port}")
}

#[test]
fn ports_are_published_at_link_local_addresses_too() {
    on_host(|host, neighbour| {
        dual_stack(host, neighbour);
        let net = Net::open(options()).unwrap();
        let [one, two, inner] = [("one", false), ("two", false), ("inner", true)]
            .map(|(name, internal)| network(&net, &dual(name, internal)));
        let [web, far, inside] = [(&one, "web"), (&two, "far"), (&inner, "inside")]
            .map(|(spec, name)| Container::start(&net, spec, name));
        web.netns.serve("web", "[::]:80");
        web.netns.serve_udp("web", "[::]:80");
        let asked = [port(Protocol::Tcp, 8080), port(Protocol::Udp, 8081)];
        net.publish(&web.endpoint, &asked).unwrap();

        let up0 = of_host("up0");
        let outside = by(neighbour, "wire0", (&up0, 8080));
        assert!(opens(|| neighbour.ask(&outside)), "a neighbour");
        let outside = by(neighbour, "wire0", (&up0, 8081));
        assert!(opens(|| neighbour.ask_udp(&outside)), "a neighbour, over UDP");
        let at = by(host, "up0", (&up0, 8080));
        assert!(opens(|| host.ask(&at)), "the host");
        let bridge = of_host(two.bridge.as_deref().unwrap());
        let at = by(&far.netns, "eth0", (&bridge, 8080));
        assert!(opens(|| far.netns.ask(&at)), "a container");
        // Internal networks have no way out, this one neither.
        let bridge = of_host(inner.bridge.as_deref().unwrap());
        assert!(inside.netns.ask(&by(&inside.netns, "eth0", (&bridge, 8080))).is_err());
        net.unpublish(&web.endpoint).unwrap();
        assert!(neighbour.ask(&by(neighbour, "wire0", (&up0, 8080))).is_err());
    });
}

#[test]
fn policies_hold_at_link_local_addresses() {
    for policy in [PublishPolicy::HostFirewall, PublishPolicy::Loopback] {
        on_host(|host, neighbour| {
            dual_stack(host, neighbour);
            let net = Net::open(Options { publish_policy: policy, ..options() }).unwrap();
            let web = Container::start(&net, &network(&net, &dual("one", false)), "web");
            web.netns.serve("web", "[::]:80");
            net.publish(&web.endpoint, &[port(Protocol::Tcp, 8080)]).unwrap();
            let at = by(neighbour, "wire0", (&of_host("up0"), 8080));
            match policy {
                PublishPolicy::HostFirewall => assert!(opens(|| neighbour.ask(&at))),
                _ => assert!(neighbour.ask(&at).is_err()),
            }
            sh("nft 'add table inet host; add chain inet host in { type filter hook input \
                priority 0; }; add rule inet host in iifname up0 tcp dport 8080 drop'");
            assert!(neighbour.ask(&at).is_err(), "{policy:?}: the host's rules close it");
        });
    }
}
