//! The client against small servers that behave, misbehave and say nothing.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Answers every question at `path`: `reply` gets method and body, gives status and body.
fn serve(path: &Path, reply: impl Fn(&str, &str) -> (u16, String) + Send + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut line, mut length, mut method) = (String::new(), 0, String::new());
            loop {
                line.clear();
                if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                    break;
                }
                if let Some(rest) = line.strip_prefix("POST /") {
                    method = rest.split(' ').next().unwrap_or_default().to_owned();
                }
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (status, text) = reply(&method, &String::from_utf8(body).unwrap());
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", text.len());
            let _ = reader.get_mut().write_all((head + &text).as_bytes());
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn places(dir: &Path) -> Places {
    Places { sockets: vec![dir.join("run")], specifications: vec![dir.join("etc")] }
}

fn dirs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["run", "etc"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    dir
}

#[derive(Debug, serde::Deserialize)]
struct Echo {
    said: String,
}

#[test]
fn a_plugin_is_found_activated_once_and_asked() {
    let dir = dirs();
    let count = std::sync::atomic::AtomicU32::new(0);
    serve(&dir.path().join("run/net1.sock"), move |method, body| match method {
        "Plugin.Activate" => {
            let before = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let kind = if before == 0 { "NetworkDriver" } else { "asked twice" };
            (200, format!(r#"{{"Implements":["{kind}"]}}"#))
        }
        "Echo" => (200, format!(r#"{{"said":{body}}}"#)),
        "Silent" => (200, String::new()),
        "Polite" => (200, r#"{"Err":"out of cables"}"#.into()),
        "Rude" => (500, "no\n".into()),
        _ => (200, "garbage".into()),
    });
    let plugins = Plugins::new(places(dir.path()));
    runtime().block_on(async {
        plugins.find("net1", "NetworkDriver").await.unwrap();
        let plugin = plugins.find("net1", "NetworkDriver").await.unwrap();
        let echo: Echo = plugin.call("Echo", "hello").await.unwrap();
        assert_eq!(echo.said, "hello");
        let _: serde_json::Value = plugin.call("Silent", &()).await.unwrap();
        for (method, why) in [
            ("Polite", "plugin \"net1\": Polite: out of cables"),
            ("Rude", "plugin \"net1\": Rude: 500 Internal Server Error: no"),
            ("Garbage", "understand the answer"),
        ] {
            let error = plugin.call::<_, Echo>(method, &()).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let lacks = plugins.find("net1", "VolumeDriver").await.unwrap_err().to_string();
        assert_eq!(lacks, "plugin \"net1\" does not implement VolumeDriver");
    });
}

#[test]
fn names_lead_to_sockets_and_specifications() {
    let dir = dirs();
    let run = dir.path().join("run");
    std::fs::create_dir(run.join("deep")).unwrap();
    let _deep = UnixListener::bind(run.join("deep/deep.sock")).unwrap();
    let etc = dir.path().join("etc");
    std::fs::write(etc.join("far.spec"), "tcp://127.0.0.1:7\n").unwrap();
    std::fs::write(etc.join("doc.json"), r#"{"Name":"doc","Addr":"unix:///x/y.sock"}"#).unwrap();
    std::fs::write(etc.join("tls.json"), r#"{"Addr":"tcp://a:1","TLSConfig":{}}"#).unwrap();
    std::fs::write(etc.join("odd.spec"), "file:///etc").unwrap();
    let places = places(dir.path());
    assert_eq!(places.find("deep").unwrap(), Endpoint::Unix(run.join("deep/deep.sock")));
    assert_eq!(places.find("far").unwrap(), Endpoint::Tcp("127.0.0.1:7".into()));
    assert_eq!(places.find("doc").unwrap(), Endpoint::Unix("/x/y.sock".into()));
    for name in ["tls", "odd", "none", "", "..", "../etc/far", "a/b", "a\0"] {
        assert!(places.find(name).is_err(), "{name:?}");
    }
    let plugins = Plugins::new(places);
    plugins.register("own", Endpoint::Unix("/own.sock".into()));
    assert_eq!(plugins.names(), ["deep", "doc", "far", "own"]);
    plugins.forget("own");
    assert_eq!(plugins.names(), ["deep", "doc", "far"]);
}

#[test]
fn a_plugin_that_says_nothing_is_given_up() {
    let dir = dirs();
    let path = dir.path().join("run/mute.sock");
    // Connections are taken by the kernel; nobody ever reads them.
    let _mute = UnixListener::bind(&path).unwrap();
    let plugins = Plugins::new(places(dir.path()));
    let plugin = plugins.register("mute", Endpoint::Unix(path));
    runtime().block_on(async {
        let patience = Duration::from_millis(50);
        let answer = plugin.call_within::<_, serde_json::Value>("Any", &(), patience).await;
        assert!(answer.unwrap_err().to_string().contains("no answer within 50ms"));
    });
}
