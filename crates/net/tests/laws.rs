//! What is tried against the laws about networks and is not tried elsewhere (docs/laws.md).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, bridge, network, on_host, options, sh};
use model::network::NetworkDraft;
use net::{DnsSettings, Net, Options};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

fn setting(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().to_owned()
}

/// Law F4: IPv6 for containers takes none from the host.
#[test]
fn a_host_that_lives_on_advertisements_keeps_them() {
    on_host(|_, _| {
        let before = setting("ipv6/conf/up0/accept_ra");
        assert_eq!((before.as_str(), setting("ipv6/conf/up0/forwarding").as_str()), ("1", "0"));
        let net = Net::open(options()).unwrap();
        bridge(&net, "four", &[]);
        assert_eq!(setting("ipv6/conf/up0/accept_ra"), "1", "nobody asked for IPv6");
        assert_eq!(setting("ipv6/conf/all/forwarding"), "0");
        let name = "six".to_owned();
        let enable_ipv6 = Some(true);
        let six = network(&net, &NetworkDraft { name, enable_ipv6, ..NetworkDraft::default() });
        assert_eq!(setting("ipv6/conf/up0/accept_ra"), "2", "heeded by a router, too");
        let own = format!("ipv6/conf/{}/accept_ra", six.bridge.unwrap());
        assert_eq!(setting(&own), "0", "containers announce nothing to the host");
    });
}

/// Law F4: what a container announces is not heard by its neighbours; with the guard off it is, so
/// it would be.
#[test]
fn containers_are_no_routers() {
    for (guard, heard) in [("true", false), ("false", true)] {
        on_host(|_, _| {
            let net = Net::open(options()).unwrap();
            let option = ("estiba.anti_spoofing".to_owned(), guard.to_owned());
            let six = network(
                &net,
                &NetworkDraft {
                    name: "six".to_owned(),
                    enable_ipv6: Some(true),
                    options: [option].into(),
                    ..NetworkDraft::default()
                },
            );
            let rogue = Container::start(&net, &six, "rogue");
            let other = Container::start(&net, &six, "other");
            // One that would listen.
            other.netns.sh("echo 2 > /proc/sys/net/ipv6/conf/eth0/accept_ra");
            rogue.netns.sh(&format!(
                "ip -6 addr add fe80::66/64 dev eth0 nodad; python3 -c \"{ANNOUNCE}\""
            ));
            let mut seen = false;
            for _ in 0..if heard { 100 } else { 5 } {
                seen |= other.netns.sh("ip -6 addr; ip -6 route").contains("2001:db8:bad");
                if seen {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(seen, heard, "guard {guard}");
            assert!(!sh("ip -6 addr; ip -6 route").contains("2001:db8:bad"), "the host");
        });
    }
}

/// Sends router advertisements with a prefix.
const ANNOUNCE: &str = "import socket,struct\n\
    s=socket.socket(socket.AF_INET6,socket.SOCK_RAW,58)\n\
    s.setsockopt(41,18,255)\n\
    i=socket.if_nametoindex('eth0')\n\
    s.setsockopt(41,17,i)\n\
    s.bind(('fe80::66',0,0,i))\n\
    ra=struct.pack('!BBHBBHII',134,0,0,64,0,1800,0,0)\n\
    ra+=struct.pack('!BBBBIII16s',3,4,64,0xc0,3600,3600,0,\
    socket.inet_pton(socket.AF_INET6,'2001:db8:bad::'))\n\
    for n in range(5): s.sendto(ra,('ff02::1',0,0,i))\n";

/// Law F6: who would forge an answer has to guess the id and the port of every question.
#[test]
fn questions_to_the_world_cannot_be_foreseen() {
    on_host(|host, _| {
        let dir = tempfile::tempdir().unwrap();
        let resolv_conf = dir.path().join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.53\n").unwrap();
        let world = host.run(|| UdpSocket::bind("127.0.0.53:53").unwrap());
        world.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let net = Net::open(Options { resolv_conf, ..options() }).unwrap();
        let one = Container::start(&net, &bridge(&net, "one", &[]), "one");
        net.serve_dns(&one.id, one.netns.fd(), &DnsSettings::default()).unwrap();
        let client = one.netns.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
        let (mut ids, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..40 {
            // Always under the same id.
            let question =
                b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01";
            client.send_to(question, "127.0.0.11:53").unwrap();
            let mut buffer = [0; 512];
            let (len, from) = world.recv_from(&mut buffer).unwrap();
            ids.insert([buffer[0], buffer[1]]);
            ports.insert(from.port());
            // An answer under a wrong id, and one from elsewhere, are nobody's.
            let mut forged = buffer[..len].to_vec();
            forged[2] |= 0x80;
            forged[0] ^= 0xff;
            world.send_to(&forged, from).unwrap();
            forged[0] ^= 0xff;
            let elsewhere = host.run(|| UdpSocket::bind("127.0.0.54:53").unwrap());
            elsewhere.send_to(&forged, from).ok();
        }
        assert!(ids.len() > 35, "{} different ids", ids.len());
        assert!(ports.len() > 20, "{} different ports", ports.len());
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(client.recv_from(&mut [0; 512]).is_err(), "no forged answer came through");
    });
}

/// Law F7: what the host keeps for itself is not a container's, whichever address leads there.
#[test]
fn the_hosts_own_services_are_the_hosts() {
    on_host(|host, _| {
        let net = Net::open(options()).unwrap();
        let one = Container::start(&net, &bridge(&net, "one", &[]), "one");
        host.serve("host", "127.0.0.1:2375");
        let gateway = one.endpoint.gateway.unwrap();
        one.netns
            .sh(&format!("ip route add 127.0.0.0/8 via {gateway} table local 2>/dev/null || true"));
        for at in ["10.9.0.1:2375".to_owned(), format!("{gateway}:2375")] {
            assert!(one.netns.ask(&at).is_err(), "{at}");
        }
        assert!(one.netns.ask("127.0.0.1:2375").is_err(), "its own loopback");
        assert_eq!(host.ask("127.0.0.1:2375"), Ok("host sees 127.0.0.1".into()));
    });
}
