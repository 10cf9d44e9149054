//! One question to a plugin and its answer: HTTP/1.1 over a fresh connection. Knows no method.

use super::place::Endpoint;
use super::{Plugin, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The media type of the protocol.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// The largest answer, bytes.
const ANSWER_MAX: usize = 16 << 20;
/// Pause between attempts to reach a plugin that is about to listen.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a plugin that refuses connections may still be coming up.
const COMING_UP: Duration = Duration::from_secs(5);

/// How every answer says that it failed.
#[derive(serde::Deserialize)]
struct Failure {
    #[serde(rename = "Err", default)]
    error: Option<String>,
}

/// Asks and understands the answer. Without a time limit: the caller sets it.
pub(super) async fn ask<Q, A>(plugin: &Plugin, method: &str, question: &Q) -> Result<A>
where
    Q: Serialize + ?Sized,
    A: DeserializeOwned,
{
    let body = serde_json::to_vec(question)
        .map_err(|error| plugin.failed(method, format!("encode the question: {error}")))?;
    let answer = exchange(&plugin.endpoint, method, body.into()).await;
    let (status, bytes) = answer.map_err(|why| plugin.failed(method, why))?;
    let failure = serde_json::from_slice::<Failure>(&bytes).ok().and_then(|it| it.error);
    if let Some(why) = failure.filter(|why| !why.is_empty()) {
        return Err(plugin.failed(method, why));
    }
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim().chars().take(1024).collect::<String>();
        let why = if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
        return Err(plugin.failed(method, why));
    }
    // Methods without an answer may say nothing at all.
    let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| plugin.failed(method, format!("understand the answer: {error}")))
}

async fn exchange(
    endpoint: &Endpoint,
    method: &str,
    body: Bytes,
) -> std::result::Result<(StatusCode, Bytes), String> {
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = patiently(|| UnixStream::connect(path)).await;
            let stream = stream.map_err(|e| format!("connect to {}: {e}", path.display()))?;
            converse(stream, "plugin", method, body).await
        }
        Endpoint::Within { dir, name } => {
            let stream = patiently(|| connect_within(dir, name)).await;
            let stream = stream.map_err(|e| format!("connect to its socket {name}: {e}"))?;
            converse(stream, "plugin", method, body).await
        }
        Endpoint::Tcp(host) => {
            let stream = patiently(|| TcpStream::connect(host.as_str())).await;
            let stream = stream.map_err(|e| format!("connect to {host}: {e}"))?;
            converse(stream, host, method, body).await
        }
    }
}

/// Connects to a socket of a directory that others write in, and to nothing that it links to. The
/// way through the descriptor is also free of the length that an address may have.
pub(crate) async fn connect_within(dir: &Path, name: &str) -> std::io::Result<UnixStream> {
    use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let dir = openat(CWD, dir, flags | OFlags::DIRECTORY, Mode::empty())?;
    let socket = openat(&dir, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
}

/// Tries again while nobody listens: a plugin's socket is there before its program does.
async fn patiently<S, F: Future<Output = std::io::Result<S>>>(
    connect: impl Fn() -> F,
) -> std::io::Result<S> {
    let began = tokio::time::Instant::now();
    loop {
        match connect().await {
            Err(error)
                if error.kind() == ErrorKind::ConnectionRefused && began.elapsed() < COMING_UP =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn converse<S>(
    stream: S,
    host: &str,
    method: &str,
    body: Bytes,
) -> std::result::Result<(StatusCode, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    // Ends with the exchange: dropping the sender closes the connection.
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/{method}"))
        .header(HOST, host)
        .header(ACCEPT, MEDIA_TYPE)
        .header(CONTENT_TYPE, MEDIA_TYPE)
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let outcome = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    let outcome = outcome.await;
    driver.abort();
    outcome
}
