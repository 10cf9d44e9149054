//! Networks without a bridge: macvlan under an interface, a dummy or a VLAN of it, and drivers
//! outside the daemon.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, network, on_host, options, sh};
use model::network::{Cidr, Endpoint, EndpointDraft, NetworkDraft, NetworkSpec, PoolDraft};
use model::{Denied, NetworkId, Timestamp};
use net::{AddressAsk, Joined, Net, Options, PoolAsk, Remote};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

fn draft(driver: &str, subnet: &str, options: &[(&str, &str)]) -> NetworkDraft {
    let pool = PoolDraft { subnet: Cidr::parse(subnet).ok(), ..PoolDraft::default() };
    NetworkDraft {
        name: driver.into(),
        driver: driver.into(),
        pools: vec![pool],
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..NetworkDraft::default()
    }
}

fn refusal(net: &Net, draft: &NetworkDraft) -> String {
    let id = NetworkId::from_bytes(lab::fresh_bytes());
    let made = net.resolve(draft, id, Timestamp(1)).and_then(|spec| net.create_network(&spec));
    let refused = made.unwrap_err().to_string();
    net.delete_network(&id).unwrap();
    refused
}

/// Containers are neighbours of the host's neighbours, under addresses and hardware addresses of
/// their own; the host itself is out of their reach, as everywhere with macvlan.
#[test]
fn macvlan_puts_containers_on_the_wire() {
    on_host(|host, neighbour| {
        let net = Net::open(options()).unwrap();
        let spec = network(&net, &draft("macvlan", "10.9.0.0/24", &[("parent", "up0")]));
        assert_eq!(net.overlapping_routes(&spec).unwrap(), [""; 0], "the subnet is the wire's");
        let as_asked =
            |ip: &str| EndpointDraft { ipv4: ip.parse().ok(), ..EndpointDraft::default() };
        let join = |ip: &str| {
            Container::join_as(&net, &spec, "c", lab::Netns::new(), &as_asked(ip)).unwrap()
        };
        let (a, b) = (join("10.9.0.50"), join("10.9.0.51"));
        b.netns.serve("b", "0.0.0.0:80");
        neighbour.serve("neighbour", "0.0.0.0:80");
        assert_eq!(a.netns.ask("10.9.0.51:80"), Ok("b sees 10.9.0.50".into()));
        assert_eq!(a.netns.ask("10.9.0.2:80"), Ok("neighbour sees 10.9.0.50".into()));
        assert_eq!(neighbour.ask("10.9.0.51:80"), Ok("b sees 10.9.0.2".into()));
        assert!(host.ask("10.9.0.51:80").is_err());
        assert!(a.endpoint.mac.is_some() && a.endpoint.host_interface.is_none());
        // Left by a container that goes on.
        net.withdraw(&a.endpoint, a.netns.fd()).unwrap();
        net.detach(&a.endpoint).unwrap();
        assert!(!a.netns.sh("ip -br link").contains("eth0"));
        assert_eq!(join("10.9.0.50").endpoint.ipv4, a.endpoint.ipv4, "the address is free again");
    });
}

#[test]
fn without_a_parent_macvlan_is_an_island() {
    on_host(|_, neighbour| {
        let net = Net::open(options()).unwrap();
        neighbour.serve("neighbour", "0.0.0.0:80");
        let plain = draft("macvlan", "10.7.0.0/24", &[]);
        let internal = NetworkDraft {
            internal: true,
            ..draft("macvlan", "10.6.0.0/24", &[("parent", "up0")])
        };
        for draft in [plain, internal] {
            let spec = network(&net, &draft);
            let parent = &spec.options["parent"];
            assert!(parent.starts_with("dm-"), "{parent}");
            let a = Container::start(&net, &spec, "a");
            let b = Container::start(&net, &spec, "b");
            b.netns.serve("b", "0.0.0.0:80");
            assert!(a.netns.ask(&b.at(80)).is_ok());
            assert!(a.netns.ask("10.9.0.2:80").is_err());
            for it in [&a, &b] {
                net.detach(&it.endpoint).unwrap();
            }
            net.delete_network(&spec.id).unwrap();
            assert!(!sh("ip -br link").contains(parent.as_str()), "the dummy went with it");
        }
    });
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    on_host(|_, _| {
        let net = Net::open(options()).unwrap();
        let ask = |driver, options: &[(&str, &str)]| {
            refusal(&net, &draft(driver, "10.7.0.0/24", options))
        };
        assert!(ask("macvlan", &[("parent", "nosuch0")]).contains("nosuch0 was not found"));
        assert!(ask("macvlan", &[("parent", "nosuch0.5")]).contains("nosuch0 was not found"));
        assert!(ask("macvlan", &[("macvlan_mode", "x")]).contains("macvlan mode 'x'"));
        assert!(ask("macvlan", &[("parent", "lo")]).contains("loopback"));
        assert!(ask("nosuchdriver", &[]).contains("plugin \"nosuchdriver\" not found"));
        // This kernel may lack what others have; either it works or it says so.
        for (driver, options, lacking) in [
            ("ipvlan", [("parent", "up0")], "this kernel has no support for ipvlan links"),
            ("macvlan", [("parent", "up0.5")], "this kernel has no support for VLAN links"),
        ] {
            let id = NetworkId::from_bytes(lab::fresh_bytes());
            let made = net.resolve(&draft(driver, "10.7.0.0/24", &options), id, Timestamp(1));
            if let Err(error) = made.and_then(|spec| net.create_network(&spec)) {
                assert_eq!(error.to_string(), lacking);
            }
            net.delete_network(&id).unwrap();
        }
        assert!(!sh("ip -br link").contains("try"), "nothing is left of trying");
    });
}

/// A driver that makes pairs and gives addresses, and writes down what it was asked.
#[derive(Debug, Default)]
struct Outside {
    heard: Mutex<Vec<String>>,
    next: Mutex<u8>,
}

impl Outside {
    fn hear(&self, text: String) -> Result<(), Denied> {
        self.heard.lock().unwrap().push(text);
        Ok(())
    }
}

impl Remote for Outside {
    fn find_driver(&self, driver: &str) -> Result<(), Denied> {
        if driver == "outside" { Ok(()) } else { Err(Denied::not_found(format!("no {driver}"))) }
    }
    fn find_ipam(&self, driver: &str) -> Result<(), Denied> {
        self.find_driver(driver)
    }
    fn create_network(&self, _: &str, network: &NetworkSpec) -> Result<(), Denied> {
        self.hear(format!("create {}", network.pools[0].subnet))
    }
    fn delete_network(&self, _: &str, _: &NetworkSpec) -> Result<(), Denied> {
        self.hear("delete".into())
    }
    fn create_endpoint(
        &self,
        _: &str,
        _: &NetworkSpec,
        endpoint: &mut Endpoint,
    ) -> Result<(), Denied> {
        endpoint.mac = Some([2, 0, 0, 0, 0, 9]);
        self.hear(format!("endpoint {}", endpoint.ipv4.unwrap()))
    }
    fn delete_endpoint(&self, _: &str, _: &Endpoint) -> Result<(), Denied> {
        self.hear("endpoint gone".into())
    }
    fn join(&self, _: &str, _: &Endpoint, sandbox: &str) -> Result<Joined, Denied> {
        assert!(sandbox.starts_with("/proc/"), "{sandbox}");
        let serial = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        sh(&format!(
            "ip link add out{serial} type veth peer name in{serial}; \
             ip addr add 10.4.0.1/24 dev out{serial}; ip link set out{serial} up"
        ));
        Ok(Joined {
            link: Some(format!("in{serial}")),
            prefix: "net".into(),
            gateways: vec!["10.4.0.1".parse().unwrap()],
            routes: vec![(Cidr::parse("10.99.0.0/16").unwrap(), None)],
        })
    }
    fn leave(&self, _: &str, endpoint: &Endpoint) -> Result<(), Denied> {
        let home = endpoint.host_interface.as_deref().unwrap();
        self.hear(format!("leave {}", sh("ip -br link").contains(home)))?;
        sh(&format!("ip link del out{} || true", &home[2..]));
        Ok(())
    }
    fn request_pool(&self, _: &PoolAsk<'_>) -> Result<(String, Cidr), Denied> {
        Ok(("p1".into(), Cidr::parse("10.4.0.0/24")?))
    }
    fn release_pool(&self, _: &str, pool: &str) -> Result<(), Denied> {
        self.hear(format!("release {pool}"))
    }
    fn request_address(&self, ask: &AddressAsk<'_>) -> Result<Cidr, Denied> {
        let text = if ask.gateway { "10.4.0.1/24" } else { "10.4.0.77/24" };
        Cidr::parse(text)
    }
    fn release_address(&self, _: &str, _: &str, addr: IpAddr) -> Result<(), Denied> {
        self.hear(format!("release {addr}"))
    }
}

#[test]
fn a_driver_outside_is_asked_in_order() {
    on_host(|host, _| {
        let outside = Arc::new(Outside::default());
        let remote: Arc<dyn Remote> = Arc::clone(&outside) as Arc<dyn Remote>;
        let net = Net::open(Options { remote: Some(remote), ..options() }).unwrap();
        let asked = NetworkDraft {
            name: "far".into(),
            driver: "outside".into(),
            ipam_driver: "outside".into(),
            ..NetworkDraft::default()
        };
        let spec = network(&net, &asked);
        let a = Container::start(&net, &spec, "a");
        assert_eq!(a.endpoint.interface.as_deref(), Some("net0"));
        a.netns.serve("a", "0.0.0.0:80");
        assert_eq!(host.ask("10.4.0.77:80"), Ok("a sees 10.4.0.1".into()));
        let inside = a.netns.sh("ip route; ip link show net0");
        for part in ["default via 10.4.0.1", "10.99.0.0/16 dev net0", "02:00:00:00:00:09"] {
            assert!(inside.contains(part), "{part}: {inside}");
        }
        net.withdraw(&a.endpoint, a.netns.fd()).unwrap();
        net.detach(&a.endpoint).unwrap();
        net.delete_network(&spec.id).unwrap();
        let heard = outside.heard.lock().unwrap().clone();
        assert_eq!(
            heard,
            [
                "create 10.4.0.0/24",
                "endpoint 10.4.0.77/24",
                "leave true",
                "endpoint gone",
                "release 10.4.0.77",
                "delete",
                "release 10.4.0.1",
                "release p1"
            ]
        );
        // Restored, it is not made again.
        net.restore_network(&spec).unwrap();
        assert_eq!(outside.heard.lock().unwrap().len(), heard.len());
    });
}
