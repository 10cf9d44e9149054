//! Containers on networks: reachable by name and by published port, connected and disconnected
//! while they run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use engine::{EngineError, WaitCondition};
use lab::{Lab, draft, eventually, script, world};
use model::Draft;
use model::network::{Cidr, NetworkDraft, NetworkMode, PortBinding, PortSpec, Protocol};
use std::io::Read;
use std::net::TcpStream;

fn on(network: &str, mut draft: Draft) -> Draft {
    draft.host.network = match network {
        "" => NetworkMode::Default,
        name => NetworkMode::Named(name.to_owned()),
    };
    draft
}

/// Answers `hello` to whoever connects to port 8080.
fn server() -> Draft {
    draft(&["nc", "-ll", "-p", "8080", "-e", "echo", "hello"])
}

async fn network(lab: &Lab, name: &str) {
    let draft = NetworkDraft { name: name.into(), ..Default::default() };
    lab.engine.networks.create(draft).await.unwrap();
}

fn ask(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

#[test]
fn a_network_of_the_users_answers_names() {
    world(|lab| async move {
        network(&lab, "inner").await;
        let server_id = lab.create_named("server", on("inner", server())).await;
        lab.start(&server_id).await;
        let client = on("inner", script("nc -w 2 server 8080 </dev/null; cat /etc/resolv.conf"));
        let ran = lab.run(client).await;
        assert!(ran.stdout.starts_with("hello\n"), "{ran:?}");
        assert!(ran.stdout.contains("nameserver 127.0.0.11"), "{ran:?}");
        let view = lab.engine.networks.view("inner").unwrap();
        assert_eq!(view.endpoints.len(), 1);
        let refused = lab.engine.networks.remove("inner").await.unwrap_err();
        assert!(refused.to_string().contains("has active endpoints"), "{refused}");
        lab.rm("server").await;
        lab.engine.networks.remove("inner").await.unwrap();
        assert!(matches!(lab.engine.networks.view("inner"), Err(EngineError::NoSuchNetwork(_))));
        lab
    });
}

#[test]
fn a_published_port_is_reached_and_given_back() {
    world(|lab| async move {
        let publish = |mut draft: Draft| {
            draft.host.ports = vec![PortBinding {
                container: PortSpec { port: 8080, protocol: Protocol::Tcp },
                host_ip: None,
                host_ports: Some((18080, 18080)),
            }];
            draft
        };
        let first = lab.create(publish(on("", server()))).await;
        lab.start(&first).await;
        assert_eq!(lab.view(&first).ports[0].host_ports, Some((18080, 18080)));
        let answer = eventually("the port answers", || async {
            tokio::task::spawn_blocking(|| ask(18080)).await.unwrap()
        })
        .await;
        assert_eq!(answer, "hello\n");
        let second = lab.create(publish(on("", server()))).await;
        let refused = lab.engine.containers.start(&second).await.unwrap_err();
        assert!(refused.to_string().contains("port is already allocated"), "{refused}");
        // At once after the first is gone, whatever of its clean-up still goes on.
        lab.rm(&first).await;
        lab.start(&second).await;
        lab
    });
}

#[test]
fn connected_while_it_runs_and_disconnected_again() {
    world(|lab| async move {
        network(&lab, "late").await;
        let id = lab.create(on("", draft(&["sleep", "1000"]))).await;
        lab.start(&id).await;
        let hosts = lab.exec(&id, &["cat", "/etc/hosts"]).await.stdout;
        let view = lab.view(&id);
        let address = view.endpoints[0].ipv4.unwrap().addr.to_string();
        assert!(hosts.contains(&format!("{address}\t{}", &id[..12])), "{hosts}");
        let networks = &lab.engine.networks;
        networks.connect("late", &id, Default::default()).await.unwrap();
        assert_eq!(lab.view(&id).endpoints.len(), 2);
        let links = lab.exec(&id, &["ip", "-o", "link"]).await.stdout;
        assert!(links.contains("eth0") && links.contains("eth1"), "{links}");
        let twice = networks.connect("late", &id, Default::default()).await.unwrap_err();
        assert!(twice.to_string().contains("already exists in network late"), "{twice}");
        networks.disconnect("late", &id).await.unwrap();
        let links = lab.exec(&id, &["ip", "-o", "link"]).await.stdout;
        assert!(!links.contains("eth1"), "{links}");
        let again = networks.disconnect("late", &id).await.unwrap_err();
        assert!(again.to_string().contains("is not connected"), "{again}");
        lab
    });
}

#[test]
fn another_containers_network_is_shared() {
    world(|lab| async move {
        let first = lab.create_named("first", on("", server())).await;
        lab.start(&first).await;
        let mut second = script("nc -w 2 127.0.0.1 8080 </dev/null");
        second.host.network = NetworkMode::Container("first".into());
        let ran = lab.run(second).await;
        assert_eq!(ran.stdout, "hello\n", "{ran:?}");
        lab
    });
}

#[test]
fn the_predefined_networks_are_there_and_stay() {
    world(|lab| async move {
        let networks = &lab.engine.networks;
        let mut names: Vec<String> = networks.list().into_iter().map(|it| it.spec.name).collect();
        names.sort();
        assert_eq!(names, ["bridge", "host", "none"]);
        assert!(networks.remove("bridge").await.unwrap_err().to_string().contains("pre-defined"));
        network(&lab, "one").await;
        let twice = NetworkDraft { name: "one".into(), ..Default::default() };
        let refused = networks.create(twice).await.unwrap_err();
        assert_eq!(refused.to_string(), "network with name one already exists");
        assert_eq!(networks.prune(&|_| false).await.unwrap(), ["one"]);
        lab
    });
}

/// Whoever starts while the default network becomes another is on the one or the other.
#[test]
fn containers_start_while_the_default_network_is_replaced() {
    world(|lab| async move {
        let mut replaced = 0;
        for round in 0..12 {
            let mut options = lab.options.clone();
            let address = format!("10.{}.0.1/24", 80 + round);
            options.net.bridge_address = Some(Cidr::parse(&address).unwrap());
            let mut ids = Vec::new();
            let mut exits = Vec::new();
            for _ in 0..2 {
                let id = lab.create(on("", draft(&["true"]))).await;
                let exit = lab.engine.containers.wait(&id, WaitCondition::NextExit).await;
                exits.push(exit.unwrap());
                ids.push(id);
            }
            let (reloaded, first, second) = tokio::join!(
                lab.engine.system.reload(options, Default::default()),
                lab.engine.containers.start(&ids[0]),
                lab.engine.containers.start(&ids[1]),
            );
            reloaded.unwrap();
            first.unwrap();
            second.unwrap();
            for exit in exits {
                assert_eq!(exit.done().await.unwrap().code, 0);
            }
            for id in &ids {
                lab.rm(id).await;
            }
            let subnet = lab.engine.networks.view("bridge").unwrap().spec.pools[0].subnet;
            replaced += usize::from(subnet.to_string() == format!("10.{}.0.0/24", 80 + round));
        }
        // With nobody on it in the end.
        let mut options = lab.options.clone();
        options.net.bridge_address = Some(Cidr::parse("10.99.0.1/24").unwrap());
        lab.engine.system.reload(options, Default::default()).await.unwrap();
        let bridge = lab.engine.networks.view("bridge").unwrap().spec;
        assert_eq!(bridge.pools[0].subnet.to_string(), "10.99.0.0/24", "{replaced} of 12 before");
        lab
    });
}
