//! What is sent goes on where it was cut, is not sent twice, and waits as long as the registry
//! asks for; and what a registry's search is asked.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod fake;

use fake::{Reply, Request, Server, headers, sha256, text};
use model::{Digest, ImageRef};
use registry::{Client, Error, Settings};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::Store;

fn settings() -> Settings {
    let pause = Duration::from_millis(1);
    Settings { pause, certificates: Vec::new(), registries: None, ..Settings::default() }
}

/// What a registry that takes uploads has of the one blob it is sent.
#[derive(Default)]
struct Taking {
    arrived: Vec<u8>,
    patches: Vec<(usize, String)>,
    finished: Option<Vec<u8>>,
}

fn place(status: u16, range: Option<usize>) -> Reply {
    let range = range.map(|len| format!("0-{}", len.saturating_sub(1))).unwrap_or_default();
    let pairs = [("Location", "/v2/some/thing/blobs/uploads/1"), ("Range", range.as_str())];
    Reply::Plain(status, headers(&pairs[..if range.is_empty() { 1 } else { 2 }]), Vec::new())
}

/// A registry whose connections break when `cuts` bytes more have come, one after the other.
fn taking(cuts: Vec<usize>) -> (Server, Arc<Mutex<Taking>>) {
    let state: Arc<Mutex<Taking>> = Arc::default();
    let shared = Arc::clone(&state);
    let server = Server::new(Arc::new(move |request: &Request| {
        let mut state = shared.lock().unwrap();
        match request.method.as_str() {
            "HEAD" => text(404, ""),
            "POST" => place(202, None),
            "GET" => place(204, Some(state.arrived.len())),
            "PATCH" => {
                let said = request.header("content-range").to_owned();
                let at = state.patches.len();
                state.patches.push((request.body.len(), said));
                let cut = cuts.get(at).copied();
                let taken = cut.unwrap_or(request.body.len()).min(request.body.len());
                state.arrived.extend_from_slice(&request.body[..taken]);
                if cut.is_some() { Reply::Hangup } else { place(202, Some(state.arrived.len())) }
            }
            "PUT" => {
                state.finished = Some(state.arrived.clone());
                text(201, "")
            }
            _ => text(405, ""),
        }
    }));
    (server, state)
}

fn store_with(bytes: &[u8]) -> (tempfile::TempDir, Store, Digest) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("root"), store::Options::default()).unwrap();
    let digest = sha256(bytes);
    let download = store.downloads().begin(digest, bytes.len() as u64).unwrap().unwrap();
    download.append(bytes).unwrap();
    download.keep().unwrap();
    (dir, store, digest)
}

fn send(server: &Server, store: &Store, digest: Digest) -> Result<(), Error> {
    let name = ImageRef::parse(&format!("{}/some/thing:1", server.address)).unwrap();
    let client = Client::new(store.clone(), settings()).unwrap();
    Client::drive(client.send_blob(&name, digest, None))
}

#[test]
fn an_upload_goes_on_where_it_was_cut() {
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let (_dir, store, digest) = store_with(&bytes);
    let (server, state) = taking(vec![2_000_000, 1_500_000, 1]);
    send(&server, &store, digest).unwrap();
    let state = state.lock().unwrap();
    assert!(state.finished.as_deref() == Some(&bytes[..]), "the registry has other bytes");
    let last = bytes.len() - 1;
    let said = |from: usize| (bytes.len() - from, format!("{from}-{last}"));
    assert_eq!(
        state.patches,
        [(bytes.len(), String::new()), said(2_000_000), said(3_500_000), said(3_500_001)],
        "each time the rest, and nothing twice"
    );
}

#[test]
fn a_registry_that_never_takes_more_is_given_up() {
    let bytes = vec![7; 3_000_000];
    let (_dir, store, digest) = store_with(&bytes);
    let (server, state) = taking(vec![0; 50]);
    assert!(send(&server, &store, digest).is_err());
    let tried = state.lock().unwrap().patches.len();
    assert!((2..=20).contains(&tried), "{tried} attempts");
}

#[test]
fn who_is_asked_to_wait_waits() {
    let busy = |request: &Request| match request.method.as_str() {
        "HEAD" if request.before == 0 => {
            Reply::Plain(429, headers(&[("Retry-After", "1")]), Vec::new())
        }
        "HEAD" => Reply::Plain(200, Vec::new(), Vec::new()),
        _ => text(405, ""),
    };
    let server = Server::new(Arc::new(busy));
    let (_dir, store, digest) = store_with(b"small");
    let began = Instant::now();
    send(&server, &store, digest).unwrap();
    // Our own pause is a millisecond.
    assert!(began.elapsed() >= Duration::from_secs(1), "it was asked again too soon");
    let heads = server.seen().iter().filter(|request| request.method == "HEAD").count();
    assert_eq!(heads, 2);
}

#[test]
fn a_search_asks_the_index_or_the_registry_that_is_named() {
    let answer = r#"{"num_results": 1, "results": [{"name": "team/web", "description": "d",
        "star_count": 3, "is_official": true}]}"#;
    let server = Server::new(Arc::new(move |request: &Request| match request.target.as_str() {
        "/v2/" => text(200, "{}"),
        _ => text(200, answer),
    }));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("root"), store::Options::default()).unwrap();
    let search = server.url("/index/search");
    let client = Client::new(store, Settings { search, ..settings() }).unwrap();
    let hub = Client::drive(client.search("team/web", Some(7), None)).unwrap();
    assert_eq!(hub[0].name, "team/web");
    let named = format!("{}/web", server.address);
    assert_eq!(Client::drive(client.search(&named, None, None)).unwrap().len(), 1);
    let asked: Vec<String> = server.seen().into_iter().map(|request| request.target).collect();
    assert!(asked.contains(&"/index/search?q=team/web&n=7".to_owned()), "{asked:?}");
    assert!(asked.contains(&"/v1/search?q=web&n=25".to_owned()), "{asked:?}");
}
