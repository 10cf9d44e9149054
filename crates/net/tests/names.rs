//! Names as containers hear them: from each other, from the world, and not from there where they
//! must not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab;

use lab::{Container, Netns, bridge, network, on_host, options};
use model::network::{EndpointDraft, NetworkDraft};
use net::{DnsSettings, Net, Options};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const A: u16 = 1;
const PTR: u16 = 12;
const MX: u16 = 15;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// A tokio runtime on a thread in the calling thread's network namespace.
fn runtime() -> tokio::runtime::Handle {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        send.send(runtime.handle().clone()).unwrap();
        runtime.block_on(std::future::pending::<()>());
    });
    receive.recv().unwrap()
}

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// What a client understands of an answer: code, and the records' data.
fn read(question: &[u8], answer: &[u8]) -> String {
    assert_eq!(answer[..2], question[..2], "id");
    assert_eq!(answer[2] & 0x80, 0x80, "a response");
    assert_eq!(answer[12..question.len()], question[12..], "question");
    let code = ["ok", "formerr", "servfail", "nxdomain"][usize::from(answer[3] & 15)];
    let mut texts = Vec::new();
    let mut rest = &answer[question.len()..];
    for _ in 0..u16::from_be_bytes([answer[6], answer[7]]) {
        let kind = u16::from_be_bytes([rest[2], rest[3]]);
        let len = usize::from(u16::from_be_bytes([rest[10], rest[11]]));
        let data = &rest[12..12 + len];
        texts.push(match (kind, len) {
            (A, 4) => IpAddr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
            (AAAA, 16) => IpAddr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
            _ => String::from_utf8_lossy(data).replace(|c: char| c.is_control(), "."),
        });
        rest = &rest[12 + len..];
    }
    texts.sort();
    format!("{code} {}", texts.join(" ")).trim().to_owned()
}

/// Asks the resolver of a namespace.
fn dig(netns: &Netns, name: &str, kind: u16) -> String {
    let question = query(name, kind);
    netns.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
        socket.send_to(&question, "127.0.0.11:53").unwrap();
        let mut buffer = [0; 1500];
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { return "silence".into() };
        assert_eq!(from.to_string(), "127.0.0.11:53");
        read(&question, &buffer[..len])
    })
}

fn dig_tcp(netns: &Netns, name: &str, kind: u16) -> String {
    let question = query(name, kind);
    netns.run(|| {
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        let mut answer = Vec::new();
        // Twice on one connection.
        for _ in 0..2 {
            let len = u16::try_from(question.len()).unwrap().to_be_bytes();
            stream.write_all(&[&len[..], &question].concat()).unwrap();
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            answer = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut answer).unwrap();
        }
        read(&question, &answer)
    })
}

/// A resolver of the world: `known.example` has an address, the rest does not exist. Counts.
fn upstream(netns: &Netns, addr: &str, code: u8) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let reply = move |question: &[u8]| {
        let known = question[12..].starts_with(b"\x05known\x07example\x00");
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        answer[3] = if code == 0 && !known { 3 } else { code };
        if code == 0 && known {
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        }
        answer
    };
    let (socket, listener) =
        netns.run(|| (UdpSocket::bind(addr).unwrap(), TcpListener::bind(addr).unwrap()));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            count.fetch_add(1, Ordering::SeqCst);
            socket.send_to(&reply(&buffer[..len]), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut question).unwrap();
            let answer = reply(&question);
            let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&len[..], &answer].concat());
        }
    });
    asked
}

/// A daemon whose resolv.conf says `text`, and the directory that holds it.
fn daemon(text: &str) -> (Net, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let resolv_conf = dir.path().join("resolv.conf");
    std::fs::write(&resolv_conf, text).unwrap();
    (Net::open(Options { resolv_conf, ..options() }).unwrap(), dir)
}

fn serve(net: &Net, container: &Container, settings: &DnsSettings) {
    net.serve_dns(&container.id, container.netns.fd(), settings).unwrap();
}

#[test]
fn containers_are_found_by_every_name_they_have() {
    on_host(|_, _| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (net, _dir) = daemon("");
        let (one, two) = (bridge(&net, "one", &[]), bridge(&net, "two", &[]));
        let web = Container::start(&net, &one, "web");
        let draft =
            EndpointDraft { aliases: vec!["db".into(), "all".into()], ..Default::default() };
        let join = |name| Container::join_as(&net, &one, name, Netns::new(), &draft).unwrap();
        let (mut sql, spare) = (join("Sql_1"), join("spare"));
        let far = Container::start(&net, &two, "far");
        for container in [&web, &far] {
            serve(&net, container, &DnsSettings::default());
        }
        let ip = sql.ip();
        for name in ["Sql_1", "sql_1", "SQL_1.one", &sql.id.short()] {
            assert_eq!(dig(&web.netns, name, A), format!("ok {ip}"), "{name}");
        }
        let both = format!("ok {ip} {}", spare.ip());
        assert_eq!(dig(&web.netns, "db", A), both);
        assert_eq!(dig_tcp(&web.netns, "db", A), both);
        assert_eq!(dig(&web.netns, "web", A), format!("ok {}", web.ip()), "itself");
        assert_eq!(dig(&web.netns, "db", AAAA), "ok", "exists, without such an address");
        assert_eq!(dig(&web.netns, "db", MX), "ok");
        let IpAddr::V4(v4) = ip else { unreachable!() };
        let [a, b, c, d] = v4.octets();
        let reverse = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
        assert_eq!(dig(&web.netns, &reverse, PTR), "ok .Sql_1.one.");
        assert_eq!(dig(&far.netns, "web", A), "servfail", "another network's, and no upstream");

        net.rename(&mut sql.endpoint, "postgres").unwrap();
        assert_eq!(dig(&web.netns, "postgres", A), format!("ok {ip}"));
        assert_eq!(dig(&web.netns, "sql_1", A), "servfail");
        net.detach(&sql.endpoint).unwrap();
        assert_eq!(dig(&web.netns, "db", A), format!("ok {}", spare.ip()));
        net.stop_dns(&web.id);
        let deadline = Instant::now() + Duration::from_secs(2);
        let open = || web.netns.sh("ss -Hltun src 127.0.0.11");
        while !open().is_empty() {
            assert!(Instant::now() < deadline, "the sockets stay open");
        }
    });
}

#[test]
fn the_world_answers_for_the_rest() {
    on_host(|host, neighbour| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let asked = upstream(neighbour, "10.9.0.2:53", 0);
        // The host's own stub, which containers could not reach themselves.
        let stub = upstream(host, "127.0.0.53:53", 0);
        let (net, dir) = daemon("nameserver 127.0.0.53\n");
        let one = bridge(&net, "one", &[]);
        let a = Container::start(&net, &one, "a");
        let b = Container::start(&net, &one, "b");
        serve(&net, &a, &DnsSettings::default());
        serve(
            &net,
            &b,
            &DnsSettings { servers: vec!["10.9.0.2".parse().unwrap()], ..Default::default() },
        );
        assert_eq!(dig(&a.netns, "known.example", A), "ok 192.0.2.7");
        assert_eq!(dig(&a.netns, "unknown.example", A), "nxdomain");
        assert_eq!(dig_tcp(&a.netns, "known.example", A), "ok 192.0.2.7");
        assert_eq!((stub.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)), (2, 0));
        assert_eq!(dig(&b.netns, "known.example", A), "ok 192.0.2.7");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "its own servers");

        // The host moves to another network.
        std::fs::write(dir.path().join("resolv.conf"), "nameserver 10.9.0.2\n").unwrap();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(dig(&a.netns, "known.example", A), "ok 192.0.2.7");
        assert_eq!((stub.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)), (2, 2));

        // The daemon is told of another file.
        let resolv_conf = dir.path().join("other.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.53\n").unwrap();
        net.reload(Options { resolv_conf, ..options() }).unwrap();
        assert_eq!(dig(&a.netns, "known.example", A), "ok 192.0.2.7");
        assert_eq!((stub.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)), (3, 2));
    });
}

#[test]
fn one_broken_server_is_not_the_end() {
    on_host(|host, neighbour| {
        let runtime = runtime();
        let _entered = runtime.enter();
        upstream(neighbour, "10.9.0.2:53", 0);
        upstream(host, "127.0.0.2:53", 2);
        let mute = host.run(|| UdpSocket::bind("127.0.0.3:53").unwrap());
        for broken in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
            let (net, _dir) = daemon(&format!("nameserver {broken}\nnameserver 10.9.0.2\n"));
            let a = Container::start(&net, &bridge(&net, "one", &[]), "a");
            serve(&net, &a, &DnsSettings::default());
            let begin = Instant::now();
            assert_eq!(dig(&a.netns, "known.example", A), "ok 192.0.2.7", "{broken}");
            assert!(begin.elapsed() < Duration::from_secs(1), "{broken}: {:?}", begin.elapsed());
            net.detach(&a.endpoint).unwrap();
        }
        drop(mute);
        let (net, _dir) = daemon("nameserver 127.0.0.2\n");
        let a = Container::start(&net, &bridge(&net, "two", &[]), "a");
        serve(&net, &a, &DnsSettings::default());
        assert_eq!(dig(&a.netns, "known.example", A), "servfail", "never: it does not exist");
    });
}

#[test]
fn no_question_leaves_an_internal_network() {
    on_host(|_, neighbour| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let asked = upstream(neighbour, "10.9.0.2:53", 0);
        let (net, _dir) = daemon("nameserver 10.9.0.2\n");
        let draft =
            NetworkDraft { name: "inner".into(), internal: true, ..NetworkDraft::default() };
        let inner = network(&net, &draft);
        let a = Container::start(&net, &inner, "a");
        let b = Container::start(&net, &inner, "b");
        serve(
            &net,
            &a,
            &DnsSettings { servers: vec!["10.9.0.2".parse().unwrap()], ..Default::default() },
        );
        assert_eq!(dig(&a.netns, "b", A), format!("ok {}", b.ip()));
        for kind in [A, AAAA, MX] {
            assert_eq!(dig(&a.netns, "known.example", kind), "servfail");
        }
        assert_eq!(dig(&a.netns, "1.2.0.192.in-addr.arpa", PTR), "servfail");
        assert_eq!(dig_tcp(&a.netns, "known.example", A), "servfail");
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    });
}

/// Docker asks the servers of `--dns` from the container's namespace, and so do we.
#[test]
fn a_containers_own_servers_are_asked_from_where_it_is() {
    on_host(|_, neighbour| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let outside = upstream(neighbour, "10.9.0.2:53", 0);
        let (net, _dir) = daemon("nameserver 10.9.0.2\n");
        let draft =
            NetworkDraft { name: "inner".into(), internal: true, ..NetworkDraft::default() };
        let inner = network(&net, &draft);
        let server = Container::start(&net, &inner, "server");
        let within = upstream(&server.netns, &server.at(53), 0);
        let a = Container::start(&net, &inner, "a");
        // What has no way there is refused at once, and another one asked.
        let servers = vec!["10.9.0.2".parse().unwrap(), server.ip()];
        serve(&net, &a, &DnsSettings { servers, ..Default::default() });
        assert_eq!(dig(&a.netns, "server", A), format!("ok {}", server.ip()));
        for _ in 0..3 {
            assert_eq!(dig(&a.netns, "known.example", A), "ok 192.0.2.7");
            assert_eq!(dig_tcp(&a.netns, "known.example", A), "ok 192.0.2.7");
        }
        assert_eq!(dig(&a.netns, "unknown.example", A), "nxdomain");
        assert_eq!(within.load(Ordering::SeqCst), 4, "the others came by streams");

        let many = std::thread::scope(|scope| {
            let ask = || dig(&a.netns, "known.example", A);
            let asked: Vec<_> = (0..32).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(many, vec!["ok 192.0.2.7"; 32], "all at the same time");
        assert_eq!(outside.load(Ordering::SeqCst), 0, "nothing leaves");
    });
}

#[test]
fn a_server_in_the_container_itself_is_its_own() {
    on_host(|host, _| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let hosts = upstream(host, "127.0.0.1:53", 0);
        let (net, _dir) = daemon("nameserver 127.0.0.1\n");
        let one = bridge(&net, "one", &[]);
        let a = Container::start(&net, &one, "a");
        let own = upstream(&a.netns, "127.0.0.1:53", 0);
        let servers = vec!["127.0.0.1".parse().unwrap()];
        serve(&net, &a, &DnsSettings { servers, ..Default::default() });
        assert_eq!(dig(&a.netns, "known.example", A), "ok 192.0.2.7");
        assert_eq!((own.load(Ordering::SeqCst), hosts.load(Ordering::SeqCst)), (1, 0));
        // The resolver does not ask itself; as with Docker, that is to ask nobody.
        let b = Container::start(&net, &one, "b");
        let servers = vec!["127.0.0.11".parse().unwrap()];
        serve(&net, &b, &DnsSettings { servers, ..Default::default() });
        assert_eq!(dig(&b.netns, "a", A), format!("ok {}", a.ip()));
        assert_eq!(dig(&b.netns, "known.example", A), "servfail");
        assert_eq!((own.load(Ordering::SeqCst), hosts.load(Ordering::SeqCst)), (1, 0));
    });
}

/// Law F6, for those questions, too: each is asked from another port, unless others are under way.
#[test]
fn questions_to_own_servers_cannot_be_foreseen() {
    on_host(|_, neighbour| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let world = neighbour.run(|| UdpSocket::bind("10.9.0.2:53").unwrap());
        world.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (net, _dir) = daemon("");
        let a = Container::start(&net, &bridge(&net, "one", &[]), "a");
        let servers = vec!["10.9.0.2".parse().unwrap()];
        serve(&net, &a, &DnsSettings { servers, ..Default::default() });
        let (mut ids, mut ports) = (BTreeSet::new(), BTreeSet::new());
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let heard = (0..40).map(|_| dig(&a.netns, "x", A));
                assert!(heard.into_iter().all(|it| it == "nxdomain"));
            });
            for _ in 0..40 {
                let mut buffer = [0; 512];
                let (len, from) = world.recv_from(&mut buffer).unwrap();
                ids.insert([buffer[0], buffer[1]]);
                ports.insert(from.port());
                let mut answer = buffer[..len].to_vec();
                answer[2] |= 0x80;
                answer[3] = 3;
                // Under a wrong id it is nobody's.
                answer[0] ^= 0xff;
                world.send_to(&answer, from).unwrap();
                answer[0] ^= 0xff;
                world.send_to(&answer, from).unwrap();
            }
            asking.join().unwrap();
        });
        assert!(ids.len() > 35, "{} different ids", ids.len());
        assert!(ports.len() > 20, "{} different ports", ports.len());
    });
}

/// A server whose answers over datagrams say that they are cut, and which has all of it in streams:
/// what is longer than the client takes is had by asking once more, through us as without us.
#[test]
fn what_is_too_long_for_a_datagram_comes_by_a_stream() {
    on_host(|host, _| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (net, _dir) = daemon("nameserver 127.0.0.53\n");
        let one = bridge(&net, "one", &[]);
        let web = Container::start(&net, &one, "web");
        serve(&net, &web, &DnsSettings::default());
        // Of ours: forty addresses of one name.
        let draft = EndpointDraft { aliases: vec!["all".into()], ..Default::default() };
        let join = |n| Container::join_as(&net, &one, &format!("c{n}"), Netns::new(), &draft);
        let all: Vec<Container> = (0..40).map(|n| join(n).unwrap()).collect();
        let (truncated, heard) = ask_plainly(&web.netns, &query("all", A));
        assert!(truncated && heard.len() <= 512, "{}", heard.len());
        let told = dig_tcp(&web.netns, "all", A);
        assert!(all.iter().all(|it| told.contains(&it.ip().to_string())), "{told}");
        // The client may say how much it takes (RFC 6891), and hears how much we do.
        let asked = with_edns(query("all", A), 4096);
        let (truncated, heard) = ask_plainly(&web.netns, &asked);
        assert!(!truncated && heard.len() > 512, "{}", heard.len());
        assert_eq!(heard[heard.len() - 11..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0], "an OPT");

        // Of the world.
        let world = host.run(|| UdpSocket::bind("127.0.0.53:53").unwrap());
        let streams = host.run(|| TcpListener::bind("127.0.0.53:53").unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = world.recv_from(&mut buffer) {
                buffer[2] |= 0x82;
                world.send_to(&buffer[..len], from).unwrap();
            }
        });
        std::thread::spawn(move || {
            for stream in streams.incoming() {
                let mut stream = stream.unwrap();
                let mut question = [0; 512];
                let len = stream.read(&mut question).unwrap();
                let mut answer = question[2..len].to_vec();
                answer[2] |= 0x80;
                answer[6..8].copy_from_slice(&100_u16.to_be_bytes());
                for n in 0..100 {
                    let of = [192, 0, 2, n];
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                    answer.extend(of);
                }
                let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&len[..], &answer].concat()).unwrap();
            }
        });
        let (truncated, _) = ask_plainly(&web.netns, &query("many.example", A));
        assert!(truncated, "said as it was said to us");
        let told = dig_tcp(&web.netns, "many.example", A);
        assert_eq!(told.split(' ').filter(|it| it.starts_with("192.0.2.")).count(), 100);
    });
}

/// Whether an answer says that it is cut, and the answer.
fn ask_plainly(netns: &Netns, question: &[u8]) -> (bool, Vec<u8>) {
    netns.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
        socket.send_to(question, "127.0.0.11:53").unwrap();
        let mut buffer = [0; 4096];
        let len = socket.recv(&mut buffer).unwrap();
        (buffer[2] & 2 != 0, buffer[..len].to_vec())
    })
}

/// The query of a client that takes so many bytes.
fn with_edns(mut query: Vec<u8>, size: u16) -> Vec<u8> {
    query[11] = 1;
    query.extend([0, 0, 41]);
    query.extend(size.to_be_bytes());
    query.extend([0; 6]);
    query
}

/// What Docker has no records of is the world's to answer; of names that are ours there is nothing
/// to say, and the world is not asked.
#[test]
fn services_are_asked_of_the_world() {
    on_host(|host, _| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let asked = upstream(host, "127.0.0.53:53", 0);
        let (net, _dir) = daemon("nameserver 127.0.0.53\n");
        let a = Container::start(&net, &bridge(&net, "one", &[]), "a");
        serve(&net, &a, &DnsSettings::default());
        assert_eq!(dig(&a.netns, "_http._tcp.a", SRV), "nxdomain");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        for name in ["a", "a.one"] {
            assert_eq!(dig(&a.netns, name, SRV), "ok");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "known here");
    });
}

/// With one of two servers dead, every one of many questions that come together is answered; and
/// when it lives again it is asked again.
#[test]
fn a_dead_server_costs_no_answer() {
    on_host(|host, _| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let mute = host.run(|| UdpSocket::bind("127.0.0.3:53").unwrap());
        upstream(host, "127.0.0.53:53", 0);
        let (net, _dir) = daemon("nameserver 127.0.0.3\nnameserver 127.0.0.53\n");
        let a = Container::start(&net, &bridge(&net, "one", &[]), "a");
        serve(&net, &a, &DnsSettings::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| a.netns.run(|| ask_at_once(100, 1000)));
            }
        });
        drop(mute);
        let alive = upstream(host, "127.0.0.3:53", 0);
        let deadline = Instant::now() + Duration::from_secs(60);
        while alive.load(Ordering::SeqCst) < 3 {
            assert!(Instant::now() < deadline, "it is not asked again");
            assert_eq!(dig(&a.netns, "known.example", A), "ok 192.0.2.7");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

/// Asks `count` questions, `window` of them at the same time: all are answered.
fn ask_at_once(window: u16, count: u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.connect("127.0.0.11:53").unwrap();
    let ask = |id: u16| {
        let mut question = query("known.example", A);
        question[..2].copy_from_slice(&id.to_be_bytes());
        socket.send(&question).unwrap();
    };
    (0..window).for_each(ask);
    for next in window..count + window {
        let mut buffer = [0; 512];
        socket.recv(&mut buffer).expect("no question is lost");
        assert_eq!(buffer[3] & 15, 0, "the code of an answer");
        if next < count {
            ask(next);
        }
    }
}

#[test]
fn a_name_server_in_a_container_has_room() {
    on_host(|_, _| {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (net, _dir) = daemon("");
        let a = Container::start(&net, &bridge(&net, "one", &[]), "a");
        serve(&net, &a, &DnsSettings::default());
        serve(&net, &a, &DnsSettings::default());
        a.netns.serve_udp("own", &a.at(53));
        assert_eq!(a.netns.ask_udp(&a.at(53)), Ok(format!("own sees {}", a.ip())));
        // Most name servers have every address, and none of them shares it.
        let b = Container::start(&net, &bridge(&net, "two", &[]), "b");
        serve(&net, &b, &DnsSettings::default());
        b.netns.serve_udp("own", "0.0.0.0:53");
        b.netns.serve("own", "0.0.0.0:53");
        assert_eq!(b.netns.ask_udp(&b.at(53)), Ok(format!("own sees {}", b.ip())));
        assert_eq!(b.netns.ask(&b.at(53)), Ok(format!("own sees {}", b.ip())));
        for dig in [dig, dig_tcp] {
            assert_eq!(dig(&b.netns, "b", A), format!("ok {}", b.ip()), "and the resolver answers");
        }
        // A resolver that comes after another one is led to instead.
        net.stop_dns(&b.id);
        serve(&net, &b, &DnsSettings::default());
        assert_eq!(dig(&b.netns, "b", A), format!("ok {}", b.ip()));
        assert_eq!(dig(&a.netns, "a", A), format!("ok {}", a.ip()));
    });
}
