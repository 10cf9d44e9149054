//! A network and address driver outside the daemon: a small server on a plugin socket that makes
//! pairs of links with ip(8) and hands addresses out itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use engine::plugins::Places;
use lab::{Lab, draft, eventually, script, world};
use model::network::{NetworkDraft, NetworkMode};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// What the plugin was asked, in order.
type Heard = Arc<Mutex<Vec<String>>>;

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {error}");
}

/// Serves the protocol at `path` for as long as the test runs, in the caller's network namespace.
fn serve(path: &Path, heard: Heard) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut next = 10;
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut line, mut length, mut method) = (String::new(), 0, String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                if let Some(rest) = line.strip_prefix("POST /") {
                    method = rest.split(' ').next().unwrap().to_owned();
                }
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let question: Value = serde_json::from_slice(&body).unwrap_or_default();
            heard.lock().unwrap().push(method.clone());
            let answer = answer(&method, &question, &mut next).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
            reader.get_mut().write_all((head + &answer).as_bytes()).unwrap();
        }
    });
}

fn answer(method: &str, question: &Value, next: &mut u8) -> Value {
    let short = || question["EndpointID"].as_str().unwrap()[..8].to_owned();
    match method {
        "Plugin.Activate" => json!({ "Implements": ["NetworkDriver", "IpamDriver"] }),
        "IpamDriver.GetDefaultAddressSpaces" => {
            json!({ "LocalDefaultAddressSpace": "here", "GlobalDefaultAddressSpace": "there" })
        }
        "IpamDriver.RequestPool" => {
            assert_eq!(question["AddressSpace"], "here");
            json!({ "PoolID": "pool-1", "Pool": "10.44.0.0/24" })
        }
        "IpamDriver.RequestAddress" => {
            assert_eq!(question["PoolID"], "pool-1");
            let gateway = question["Options"]["RequestAddressType"] != Value::Null;
            *next += u8::from(!gateway);
            json!({ "Address": format!("10.44.0.{}/24", if gateway { 1 } else { *next }) })
        }
        "NetworkDriver.CreateNetwork" => {
            assert_eq!(question["IPv4Data"][0]["Gateway"], "10.44.0.1/24");
            let options = &question["Options"]["com.docker.network.generic"];
            match options["refuse"].as_str() {
                Some(why) => json!({ "Err": why }),
                None => json!({}),
            }
        }
        "NetworkDriver.Join" => {
            let short = short();
            sh(&format!(
                "ip link add pl{short} type veth peer name pc{short}; \
                 ip addr add 10.44.0.1/24 dev pl{short}; ip link set pl{short} up"
            ));
            json!({
                "InterfaceName": { "SrcName": format!("pc{short}"), "DstPrefix": "plug" },
                "Gateway": "10.44.0.1",
            })
        }
        "NetworkDriver.DeleteEndpoint" => {
            sh(&format!("ip link del pl{} 2>/dev/null || true", short()));
            json!({})
        }
        _ => json!({}),
    }
}

fn network(driver: &str) -> NetworkDraft {
    NetworkDraft {
        name: "far".into(),
        driver: driver.into(),
        ipam_driver: driver.into(),
        ..NetworkDraft::default()
    }
}

#[test]
fn a_plugin_makes_the_network() {
    world(|lab| async move {
        let (dir, mut options) = lab.leave();
        let sockets = dir.path().join("plugins");
        options.plugin_places = Places { sockets: vec![sockets.clone()], specifications: vec![] };
        let heard = Heard::default();
        serve(&sockets.join("wires.sock"), Arc::clone(&heard));
        let lab = Lab::open_at(dir, options).await;

        let missing = lab.engine.networks.create(network("nosuch")).await.unwrap_err();
        assert_eq!(missing.to_string(), "plugin \"nosuch\" not found");
        let mut refused = network("wires");
        refused.options = [("refuse".to_owned(), "no cables left".to_owned())].into();
        let refused = lab.engine.networks.create(refused).await.unwrap_err();
        assert!(refused.to_string().contains("no cables left"), "{refused}");

        lab.engine.networks.create(network("wires")).await.unwrap();
        let view = lab.engine.networks.view("far").unwrap();
        assert_eq!(view.spec.pools[0].subnet.to_string(), "10.44.0.0/24");
        let mut sleeper = draft(&["sleep", "1000"]);
        sleeper.host.network = NetworkMode::Named("far".into());
        let id = lab.create_named("sleeper", sleeper).await;
        lab.start(&id).await;
        let endpoint = lab.view(&id).endpoints[0].clone();
        let address = endpoint.ipv4.unwrap().to_string();
        let inside = lab.exec(&id, &["ip", "addr", "show", "plug0"]).await.stdout;
        assert!(inside.contains(&address), "{inside}");
        let route = lab.exec(&id, &["ip", "route"]).await.stdout;
        assert!(route.contains("default via 10.44.0.1 dev plug0"), "{route}");
        let mut pinger = script("ping -c 1 -w 5 10.44.0.1 >&2; nslookup sleeper 127.0.0.11");
        pinger.host.network = NetworkMode::Named("far".into());
        let ran = lab.run(pinger).await;
        assert!(ran.stdout.contains(address.split('/').next().unwrap()), "{ran:?}");

        // Left while it runs: the plugin gets its link back.
        lab.engine.networks.disconnect("far", &id).await.unwrap();
        let links = lab.exec(&id, &["ip", "link"]).await.stdout;
        assert!(!links.contains("plug0"), "{links}");
        lab.rm(&id).await;
        eventually("every address is back", || async {
            let heard = heard.lock().unwrap();
            let count = |method: &str| heard.iter().filter(|it| *it == method).count();
            (count("IpamDriver.ReleaseAddress") >= 3).then_some(())
        })
        .await;
        lab.engine.networks.remove("far").await.unwrap();
        let heard = heard.lock().unwrap().clone();
        let count = |method: &str| heard.iter().filter(|it| *it == method).count();
        for (method, times) in [
            ("Plugin.Activate", 1),
            ("NetworkDriver.CreateNetwork", 2),
            ("NetworkDriver.Join", 2),
            ("NetworkDriver.Leave", 2),
            ("NetworkDriver.DeleteEndpoint", 2),
            ("NetworkDriver.DeleteNetwork", 1),
            ("IpamDriver.RequestPool", 2),
            ("IpamDriver.ReleasePool", 2),
        ] {
            assert_eq!(count(method), times, "{method}: {heard:?}");
        }
        lab
    });
}
