//! Who reaches whom, all of it: every source against every target over both families, before and
//! after others flush and reload the host's rules and after the daemon is another one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, Netns, network, on_host, options, sh};
use model::network::{NetworkDraft, NetworkSpec, PortBinding, PortSpec, Protocol};
use net::{Adopt, Net, Options, PublishPolicy};
use std::time::{Duration, Instant};

/// Columns: a container of the same network, of another, of an internal one; the host; a
/// neighbour of the host.
const SOURCES: [&str; 5] = ["near", "far", "inner", "host", "neighbour"];

/// Target, and who reaches it.
const TARGETS: [(&str, &str); 18] = [
    ("web:80", "y n n y n"),         // a published port, past the host's address
    ("web:81", "y n n y n"),         // an unpublished one
    ("inside:80", "n n y y n"),      // a container of the internal network
    ("10.9.0.1:8080", "y y n y y"),  // published on every address
    ("10.9.0.1:8081", "n n n n n"),  // published on loopback
    ("10.9.0.1:8082", "y y n y y"),  // published on this address
    ("127.0.0.1:8080", "n n n y n"), // the host's loopback
    ("127.0.0.1:8081", "n n n y n"),
    ("127.0.0.1:8082", "n n n n n"),
    ("gateway:8080", "y y n y y"), // the bridge's address is one of the host's
    ("10.9.0.1:82", "y y n y y"),  // a service of the host
    ("10.9.0.2:80", "y y n y y"),  // the world
    ("web6:80", "y n n y n"),
    ("web6:81", "y n n y n"),
    ("[fd09::1]:8080", "y y n y y"),
    ("[fd09::1]:82", "y y n y y"),
    ("[fd09::2]:80", "y y n y y"),
    ("[::1]:8080", "n n n y n"),
];

/// The rows that a policy for published ports changes. With `host-firewall` the host's own rules
/// (see [`CLOSED_TO_OTHERS`]) let nobody in to 8080; containers of the host are not asked.
fn targets(policy: PublishPolicy) -> Vec<(&'static str, &'static str)> {
    let changed = |target: &str| match (policy, target) {
        (PublishPolicy::HostFirewall, "10.9.0.1:8080" | "10.9.0.1:8082" | "gateway:8080") => {
            Some("y y n y n")
        }
        (PublishPolicy::HostFirewall, "[fd09::1]:8080") => Some("y y n y n"),
        (PublishPolicy::Loopback, "10.9.0.1:8080" | "gateway:8080" | "[fd09::1]:8080") => {
            Some("n n n n n")
        }
        (PublishPolicy::Loopback, "[::1]:8080") => Some("n n n n n"),
        _ => None,
    };
    TARGETS.iter().map(|(target, who)| (*target, changed(target).unwrap_or(who))).collect()
}

/// Rules as a host has them: two published ports are closed, the rest is open.
const CLOSED_TO_OTHERS: &str = "nft 'add table inet host; add chain inet host in { type filter \
    hook input priority 0; }; add rule inet host in ct state established accept; \
    add rule inet host in iifname up0 tcp dport { 8080, 8082 } drop'";

struct World<'a> {
    policy: PublishPolicy,
    host: &'a Netns,
    neighbour: &'a Netns,
    web: Container,
    near: Container,
    far: Container,
    inner: Container,
    inside: Container,
    specs: Vec<NetworkSpec>,
    ports: Vec<PortBinding>,
}

fn port(host: Option<&str>, from: u16) -> PortBinding {
    PortBinding {
        container: PortSpec { port: 80, protocol: Protocol::Tcp },
        host_ip: host.map(|host| host.parse().unwrap()),
        host_ports: Some((from, from)),
    }
}

impl<'a> World<'a> {
    fn lay(net: &Net, host: &'a Netns, neighbour: &'a Netns, policy: PublishPolicy) -> Self {
        lab::dual_stack(host, neighbour);
        let make = |name: &str, internal| {
            let name = name.to_owned();
            let enable_ipv6 = Some(true);
            network(net, &NetworkDraft { name, internal, enable_ipv6, ..NetworkDraft::default() })
        };
        let specs = vec![make("one", false), make("two", false), make("three", true)];
        let start = |at: usize, name: &str| Container::start(net, &specs[at], name);
        let (web, near, far) = (start(0, "web"), start(0, "near"), start(1, "far"));
        let (inner, inside) = (start(2, "inner"), start(2, "inside"));
        for (container, at) in [(&web, "[::]:80"), (&web, "[::]:81"), (&inside, "[::]:80")] {
            container.netns.serve("it", at);
        }
        neighbour.serve("it", "[::]:80");
        host.serve("it", "[::]:82");
        let asked = [port(None, 8080), port(Some("127.0.0.1"), 8081), port(Some("10.9.0.1"), 8082)];
        let ports = net.publish(&web.endpoint, &asked).unwrap();
        Self { policy, host, neighbour, web, near, far, inner, inside, specs, ports }
    }

    fn address(&self, target: &str) -> String {
        let (name, port) = target.rsplit_once(':').unwrap();
        match name {
            "web" => format!("{}:{port}", self.web.ip()),
            "inside" => format!("{}:{port}", self.inside.ip()),
            "web6" => format!("[{}]:{port}", self.web.endpoint.ipv6.unwrap().addr),
            "gateway" => format!("{}:{port}", self.web.endpoint.gateway.unwrap()),
            _ => target.to_owned(),
        }
    }

    /// Every flow at once: those that are refused take their time.
    fn flows(&self) -> Vec<String> {
        let source = |name: &str| match name {
            "near" => &self.near.netns,
            "far" => &self.far.netns,
            "inner" => &self.inner.netns,
            "host" => self.host,
            _ => self.neighbour,
        };
        std::thread::scope(|scope| {
            let rows: Vec<_> = targets(self.policy)
                .into_iter()
                .map(|(target, _)| {
                    let asked = SOURCES.map(|from| {
                        let (netns, at) = (source(from), self.address(target));
                        scope.spawn(move || netns.ask(&at).is_ok())
                    });
                    (target, asked)
                })
                .collect();
            rows.into_iter()
                .map(|(target, asked)| {
                    let seen = asked.map(|it| if it.join().unwrap() { "y" } else { "n" });
                    format!("{target} {}", seen.join(" "))
                })
                .collect()
        })
    }

    fn check(&self, when: &str) {
        let wanted: Vec<String> =
            targets(self.policy).iter().map(|(target, who)| format!("{target} {who}")).collect();
        // What is open may take a moment on a busy machine; what is closed never opens, and that
        // is looked at in every round.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let seen = self.flows();
            let opened = |(seen, wanted): (&String, &String)| {
                seen.bytes()
                    .zip(wanted.bytes())
                    .any(|(seen, wanted)| seen == b'y' && wanted == b'n')
            };
            let leak = seen.iter().zip(&wanted).find(|(seen, wanted)| opened((*seen, *wanted)));
            assert_eq!(leak, None, "{when}: open, and should not be");
            if seen == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{when}: {seen:#?}");
        }
    }
}

fn through_everything(own_rules: bool, publish_policy: PublishPolicy) {
    on_host(|host, neighbour| {
        let options = || Options { own_rules, publish_policy, ..options() };
        let closed = publish_policy == PublishPolicy::HostFirewall;
        let lay_the_hosts = || _ = closed.then(|| sh(CLOSED_TO_OTHERS));
        lay_the_hosts();
        let net = Net::open(options()).unwrap();
        let world = World::lay(&net, host, neighbour, publish_policy);
        world.check("at first");
        sh("nft flush ruleset");
        lay_the_hosts();
        if !own_rules {
            // Until the watcher has been there: within two seconds.
            let deadline = Instant::now() + Duration::from_secs(20);
            while !sh("nft list tables").contains("bridge estiba") {
                assert!(Instant::now() < deadline, "{}", sh("nft list tables"));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        world.check("after a flush");
        sh("printf '*filter\\n:FORWARD ACCEPT [0:0]\\nCOMMIT\\n' | iptables-restore");
        world.check("after a reload of the host's rules");
        drop(net);
        let net = Net::open(options()).unwrap();
        for spec in &world.specs {
            net.restore_network(spec).unwrap();
        }
        for it in [&world.web, &world.near, &world.far, &world.inner, &world.inside] {
            let ports = if it.id == world.web.id { &world.ports[..] } else { &[] };
            net.adopt(&Adopt { endpoint: &it.endpoint, six: None, ports }).unwrap();
        }
        assert_eq!(net.sweep().unwrap(), Vec::<String>::new());
        world.check("after a restart of the daemon");
    });
}

#[test]
fn ninety_flows_are_as_they_should_be() {
    through_everything(true, PublishPolicy::Docker);
}

#[test]
fn ninety_flows_on_older_kernels() {
    through_everything(false, PublishPolicy::Docker);
}

#[test]
fn ninety_flows_where_the_hosts_rules_decide() {
    through_everything(true, PublishPolicy::HostFirewall);
}

#[test]
fn ninety_flows_where_ports_are_for_the_host_alone() {
    through_everything(true, PublishPolicy::Loopback);
}
