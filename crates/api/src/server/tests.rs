//! The server over real sockets, with an app that needs no engine: garbage, limits, streams,
//! sockets given away, and the end.

mod tls;

use std::io::{Read, Write};
use std::net::Shutdown as Direction;
use std::os::unix::net::UnixStream as Client;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use wire::docker::container::ContainerCreateBody;

use super::*;
use crate::body::RequestBody;
use crate::call::{MAX_JSON_BYTES, read_json, wants_upgrade};
use crate::failure::Failure;
use crate::hijack::Hijack;
use crate::reply::{self, Reply};
use crate::service::add_headers;

/// Longer than any answer takes; a client that waits for more has found a bug.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
pub(super) struct TestApp {
    /// The writer of `/silent` saw that its client was gone.
    gone: Arc<AtomicBool>,
    /// What `/work` began was finished.
    finished: Arc<AtomicBool>,
}

impl App for TestApp {
    async fn answer(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let mut response = respond(self, request).await.unwrap_or_else(reply::failure);
        add_headers(response.headers_mut());
        response
    }
}

async fn respond(app: &TestApp, mut request: Request<Incoming>) -> Reply {
    let upgrade = wants_upgrade(request.headers(), "tcp").then(|| hyper::upgrade::on(&mut request));
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    let (head, body) = request.into_parts();
    let mut body = RequestBody::Live(body);
    match head.uri.path() {
        "/json" => {
            let body: Option<ContainerCreateBody> = read_json(&head.headers, &mut body).await?;
            reply::json(&body.map(|body| body.config.image))
        }
        "/length" => {
            let all = body.collect().await.map_err(|e| Failure::invalid(e.to_string()))?;
            reply::json(&all.to_bytes().len())
        }
        "/peer" => reply::json(&peer.credentials.map(|(uid, ..)| uid)),
        "/late" => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            reply::json("late")
        }
        "/head-first" => {
            let (chunks, response) = reply::stream(reply::JSON);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let _ = chunks.send(Bytes::from_static(b"{}")).await;
            });
            Ok(response)
        }
        "/work" => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            app.finished.store(true, Ordering::SeqCst);
            reply::no_content()
        }
        "/breakdown" => panic!("a handler broke down"),
        "/silent" => {
            let (chunks, response) = reply::stream(reply::JSON);
            let gone = Arc::clone(&app.gone);
            tokio::spawn(async move {
                chunks.gone().await;
                gone.store(true, Ordering::SeqCst);
            });
            Ok(response)
        }
        "/endless" => {
            let (chunks, response) = reply::stream(reply::JSON);
            tokio::spawn(async move {
                while chunks.send(Bytes::from_static(b"x")).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            Ok(response)
        }
        "/take" => Hijack::new(upgrade, body).answer(reply::RAW_STREAM, shout),
        _ => Err(Failure::page_not_found()),
    }
}

/// Stands for the engine: answers every byte in upper case, and says bye at the end of input.
async fn shout(client: engine::ClientStream) {
    let stream = std::os::unix::net::UnixStream::from(client.fd);
    let mut stream = UnixStream::from_std(stream).unwrap();
    stream.write_all(&client.read_ahead.to_ascii_uppercase()).await.unwrap();
    let mut buffer = [0; 1024];
    loop {
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        stream.write_all(&buffer[..read].to_ascii_uppercase()).await.unwrap();
    }
    stream.write_all(b"bye").await.unwrap();
}

/// A server of its own on a socket of its own.
struct Server {
    dir: TempDir,
    app: TestApp,
    end: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let app = TestApp::default();
        let served = app.clone();
        let (end, shutdown) = watch::channel(false);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = Listener::bind_unix(&path, None).await.unwrap();
                ready.send(()).unwrap();
                run(served, vec![listener], shutdown).await;
            });
        });
        is_ready.recv().unwrap();
        Self { dir, app, end, thread: Some(thread) }
    }

    fn client(&self) -> Client {
        let client = Client::connect(self.dir.path().join("api.sock")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Sends bytes on a connection of their own and reads until the server closes it.
    fn ask(&self, bytes: &[u8]) -> String {
        let mut client = self.client();
        // A server that refuses early may close before all was sent.
        let _ = client.write_all(bytes);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.ask(
            format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\
                 Content-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        )
    }

    fn is_well(&self) {
        let answer = self.post("/json", JSON, r#"{"Image":"well"}"#);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n\"well\"\n"), "{answer}");
    }

    /// Ends the server and says how long that took.
    fn stop(&mut self) -> Duration {
        let before = Instant::now();
        self.end.send(true).unwrap();
        self.thread.take().unwrap().join().unwrap();
        before.elapsed()
    }
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn answers_say_what_clients_negotiate_by() {
    let server = Server::start();
    let answer = server.post("/nowhere", "", "");
    for part in [
        "HTTP/1.1 404 Not Found\r\n",
        "\r\nApi-Version: 1.56\r\n",
        "\r\nOstype: linux\r\n",
        "\r\nDocker-Experimental: false\r\n",
        "\r\nServer: Estiba/",
        "\r\nContent-Type: application/json\r\n",
        "\r\n\r\n{\"message\":\"page not found\"}\n",
    ] {
        assert!(answer.contains(part), "{part:?} is missing in {answer}");
    }
}

#[test]
fn the_kernel_vouches_for_the_peer() {
    use std::os::unix::fs::MetadataExt;
    let server = Server::start();
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    assert!(server.post("/peer", "", "").ends_with(&format!("\r\n\r\n{uid}\n")));
}

#[test]
fn bad_json_is_refused_with_a_reason() {
    let server = Server::start();
    for (headers, body, message) in [
        (JSON, "{", "invalid JSON: unexpected EOF"),
        (JSON, r#"{"Image":3}"#, "invalid JSON: invalid type: integer `3`, expected a string"),
        (JSON, r#"{"Image":"a"}{}"#, "unexpected content after JSON"),
        (JSON, "\u{0}", r"invalid JSON: invalid character '\\x00' looking for beginning of value"),
        ("", r#"{"Image":"a"}"#, "missing Content-Type header: must be 'application/json'"),
        (
            "Content-Type: text/plain\r\n",
            r#"{"Image":"a"}"#,
            "unsupported Content-Type header (text/plain): must be 'application/json'",
        ),
    ] {
        let answer = server.post("/json", headers, body);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains(&format!("{{\"message\":\"{message}")), "{body}: {answer}");
    }
    let nested = "[".repeat(1 << 20);
    assert!(server.post("/json", JSON, &nested).contains("exceeded max depth"));
    server.is_well();
}

#[test]
fn json_is_read_once_with_gos_leniency() {
    let server = Server::start();
    for (headers, body, image) in [
        (JSON, r#"{"Image":"a","image":"b","Image":"c"}"#, "\"c\""),
        ("Content-Type: application/json; charset=utf-8\r\n", r#"{"IMAGE":"d"}"#, "\"d\""),
        (JSON, "  ", "null"),
        ("", "", "null"),
    ] {
        let answer = server.post("/json", headers, body);
        assert!(answer.ends_with(&format!("\r\n\r\n{image}\n")), "{body}: {answer}");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let server = Server::start();
    let body = format!("{{\"Image\":\"{}\"}}", "a".repeat(MAX_JSON_BYTES));
    let answer = server.post("/json", JSON, &body);
    assert!(answer.contains("request body is larger than 4194304 bytes"), "{answer}");
    let chunk = format!("100000\r\n{}\r\n", "a".repeat(1 << 20));
    let chunked = format!(
        "POST /json HTTP/1.1\r\nHost: x\r\n{JSON}Connection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(5)
    );
    let answer = server.ask(chunked.as_bytes());
    assert!(answer.contains("request body is larger than 4194304 bytes"), "{answer}");
    server.is_well();
}

/// A body whose length could be read in two ways has one reading, and never becomes a second
/// request.
#[test]
fn ambiguous_framing_never_smuggles_a_request() {
    let server = Server::start();
    for (headers, status) in [
        // RFC 9112, section 6.3: chunked wins, and the connection is closed after the answer.
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "200 OK"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "200 OK"),
        ("Content-Length: 0\r\nContent-Length: 23\r\n", "400 Bad Request"),
        ("Content-Length: 0, 23\r\n", "400 Bad Request"),
        ("Content-Length: +0\r\n", "400 Bad Request"),
        ("Transfer-Encoding: chunked, identity\r\n", "400 Bad Request"),
        ("Transfer-Encoding: xchunked\r\n", "400 Bad Request"),
    ] {
        let mut client = server.client();
        let request = format!(
            "POST /length HTTP/1.1\r\nHost: x\r\n{headers}\r\n0\r\n\r\nPOST /json HTTP/1.1\r\n\
             Host: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(Direction::Write).unwrap();
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{headers}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{headers}: {answer}");
    }
    server.is_well();
}

#[test]
fn garbage_does_no_harm() {
    let server = Server::start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for bytes in [
        b"\0\xff\xfe\r\n\r\n".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let mut client = server.client();
        let _ = client.write_all(bytes);
        let _ = client.shutdown(Direction::Write);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    server.is_well();
}

#[test]
fn a_client_that_leaves_in_the_middle_does_no_harm() {
    let server = Server::start();
    for sent in [
        "POST /json HTT",
        "POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Le",
        "POST /json HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"Im",
        "POST /json HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"I",
        "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /take HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    ] {
        server.client().write_all(sent.as_bytes()).unwrap();
    }
    server.is_well();
}

/// `docker run -i` and the like end their sending side before they read the answer.
#[test]
fn a_half_closed_connection_still_gets_its_answer() {
    let server = Server::start();
    let mut client = server.client();
    client.write_all(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    client.shutdown(Direction::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n\"late\"\n"), "{answer}");
}

/// `docker events` that is killed while nothing happens must not be served for ever.
#[test]
fn a_closed_connection_ends_a_silent_stream_and_a_half_closed_one_does_not() {
    let server = Server::start();
    let gone = || server.app.gone.load(Ordering::SeqCst);
    let mut client = server.client();
    client.write_all(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut head = [0; 1024];
    assert!(client.read(&mut head).unwrap() > 0);
    client.shutdown(Direction::Write).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(!gone(), "the end of input was taken for the end");
    drop(client);
    let deadline = Instant::now() + PATIENCE;
    while !gone() {
        assert!(Instant::now() < deadline, "the stream outlives its client");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A container that is being made when its client leaves is made to the end.
#[test]
fn what_was_begun_is_finished_without_its_client() {
    let server = Server::start();
    let mut client = server.client();
    client.write_all(b"POST /work HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(client);
    let deadline = Instant::now() + PATIENCE;
    while !server.app.finished.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the work was broken off");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_handler_that_breaks_down_takes_nothing_with_it() {
    let server = Server::start();
    let answer = server.post("/breakdown", "", "");
    assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answer}");
    assert!(answer.contains("broke down inside the daemon"), "{answer}");
    server.is_well();
}

/// Clients start a container only when the head of the answer to wait has arrived.
#[test]
fn the_head_of_a_stream_does_not_wait_for_its_body() {
    let server = Server::start();
    let mut client = server.client();
    client.write_all(b"POST /head-first HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut head = vec![0; 4096];
    let read = client.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "the body came with the head: {head}");
    let mut body = [0; 7];
    client.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"2\r\n{}\r\n");
}

#[test]
fn an_upgraded_socket_is_given_away_whole() {
    let server = Server::start();
    let mut client = server.client();
    // The first bytes of the stream come together with the head, the others later.
    client
        .write_all(
            b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\
              Upgrade: tcp\r\n\r\nearly ",
        )
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(b"late ").unwrap();
    client.shutdown(Direction::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, stream) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    for line in ["Connection: Upgrade", "Upgrade: tcp"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(head.contains("Content-Type: application/vnd.docker.raw-stream"), "{head}");
    assert_eq!(stream, "EARLY LATE bye");
}

/// The stream outlives the server: who has the socket is somebody else.
#[test]
fn a_given_away_socket_does_not_delay_the_end() {
    let mut server = Server::start();
    let mut client = server.client();
    client
        .write_all(b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        .unwrap();
    let mut head = [0; 1024];
    assert!(client.read(&mut head).unwrap() > 0);
    assert!(server.stop() < Duration::from_secs(1));
}

#[test]
fn without_an_upgrade_the_stream_comes_as_a_body() {
    let server = Server::start();
    let answer = server.post("/take", "", "some input");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let text: String = body.split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(text, "SOME INPUTbye");
}

#[test]
fn the_end_waits_for_short_requests_and_not_for_endless_ones() {
    let mut server = Server::start();
    let mut late = server.client();
    late.write_all(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut endless = server.client();
    endless.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _idle = server.client();
    std::thread::sleep(Duration::from_millis(50));
    let took = server.stop();
    assert!(took < DRAIN_TIMEOUT + Duration::from_secs(1), "{took:?}");
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"late\""), "{answer}");
    assert!(Client::connect(server.dir.path().join("api.sock")).is_err());
}

#[tokio::test]
async fn a_socket_is_bound_only_where_nobody_serves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let first = Listener::bind_unix(&path, None).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    let served = Listener::bind_unix(&path, None).await.unwrap_err();
    assert!(matches!(served, ServeError::InUse(_)), "{served}");
    drop(first);
    Listener::bind_unix(&path, None).await.expect("a stale socket is replaced");
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let refused = Listener::bind_unix(&file, None).await.unwrap_err();
    assert!(matches!(refused, ServeError::NotASocket(_)), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}
