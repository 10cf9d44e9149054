//! A registry of one's own, and clients that say exactly what they are told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use registry::server::{self, Config};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

/// A running registry.
pub(crate) struct Lab {
    dir: Option<tempfile::TempDir>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Lab {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_at(tempfile::tempdir().unwrap(), config)
    }

    fn start_at(dir: tempfile::TempDir, mut config: Config) -> Self {
        config.root = Some(dir.path().join("root"));
        config.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (stop, told) = tokio::sync::oneshot::channel();
        let (ready, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let told = async { drop(told.await) };
            let ready = move |address| ready.send(address).unwrap();
            runtime.block_on(server::serve(config, ready, told)).unwrap();
        });
        let address = address.recv_timeout(Duration::from_secs(30)).unwrap();
        Self { dir: Some(dir), address, stop: Some(stop), thread: Some(thread) }
    }

    /// Another process in the same place.
    pub(crate) fn restart(mut self, config: Config) -> Self {
        let dir = self.dir.take().unwrap();
        drop(self);
        Self::start_at(dir, config)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.as_ref().unwrap().path().join("root")
    }

    /// How many pieces of content there are on disk.
    pub(crate) fn files(&self) -> usize {
        fn count(dir: &Path) -> usize {
            let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.root().join("blobs"))
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // An answer may come before all was sent.
        let _ = stream.write_all(body);
        read_answer(stream, method)
    }

    /// Announces `length` bytes, sends `body`, and hangs up.
    pub(crate) fn send_and_break(&self, method: &str, path: &str, body: &[u8], length: usize) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    }

    /// Pushes a blob.
    pub(crate) fn blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send("POST", &path, &[], bytes).status, 201);
        digest
    }

    /// Pushes an image of one layer; its digest.
    pub(crate) fn image(&self, repository: &str, tag: &str, layer: &[u8]) -> String {
        let config =
            self.blob(repository, format!("{{\"of\":\"{}\"}}", digest_of(layer)).as_bytes());
        let manifest = manifest_of(&config, &[&self.blob(repository, layer)]);
        let content_type = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
        let path = format!("/v2/{repository}/manifests/{tag}");
        assert_eq!(self.send("PUT", &path, &content_type, &manifest).status, 201);
        digest_of(&manifest)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the registry broke down");
        }
    }
}

fn read_answer(stream: TcpStream, method: &str) -> Answer {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let mut next = || {
        line.clear();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let status = next().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let line = next();
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if method != "HEAD" && status != 304 && status != 204 {
        let length = answer.header("content-length");
        let mut body = vec![0; length.parse().unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        answer.body = body;
    }
    answer
}

impl Answer {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of the first error.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

pub(crate) fn sha512(bytes: &[u8]) -> String {
    hex(&Sha512::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn manifest_of(config: &str, layers: &[&str]) -> Vec<u8> {
    let descriptor = |kind: &str, digest: &str| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": media_type, "digest": digest, "size": 1 })
    };
    let layers: Vec<Value> = layers.iter().map(|it| descriptor("layer.v1.tar", it)).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config),
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Somebody who is told of pushes.
pub(crate) struct Listener {
    address: SocketAddr,
    events: mpsc::Receiver<Value>,
}

impl Listener {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, events) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let told = told.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &told));
            }
        });
        Self { address, events }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/told", self.address)
    }

    pub(crate) fn wait_for(&self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.events.recv_timeout(Duration::from_secs(60)).unwrap();
            if is(&event) {
                return event;
            }
        }
    }
}

fn serve(stream: TcpStream, told: &mpsc::Sender<Value>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut token) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            token |= line == "x-token: t";
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let envelope: Value = serde_json::from_slice(&body).unwrap();
        for event in envelope["events"].as_array().unwrap().iter().filter(|_| token) {
            let _ = told.send(event.clone());
        }
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}
