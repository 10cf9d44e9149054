//! Connections: sockets, proxies and TLS, kept open while an operation lasts. This module never
//! sees a credential but the proxy's, and follows no redirect.

use super::body::Payload;
use super::endpoint::{Reach, Way};
use super::settings::{Proxy, Settings};
use super::tls;
use super::url::{Origin, Scheme, Url};
use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest answer of a proxy to CONNECT.
const MAX_PROXY_BYTES: usize = 8 << 10;
/// Idle connections kept to one origin.
const MAX_IDLE: usize = 8;
const AGENT: &str = concat!("docker/28.2.2 estiba/", env!("CARGO_PKG_VERSION"), " (linux)");

/// A request, complete but for the connection.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Payload,
    /// How the URL's origin is reached, where somebody decided that.
    pub(crate) reach: Option<Arc<Reach>>,
}

impl Outgoing {
    fn way(&self) -> Way {
        Way { origin: self.url.origin.clone(), reach: self.reach.clone() }
    }
}

/// What an operation's connections share.
pub(crate) struct Transport {
    settings: Arc<Settings>,
    idle: Mutex<HashMap<Way, Vec<SendRequest<Payload>>>>,
    tls: Mutex<HashMap<(Way, bool), Arc<rustls::ClientConfig>>>,
    reached: AtomicBool,
}

/// The head of an answer; its body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) url: Url,
    way: Way,
    body: Incoming,
    sender: SendRequest<Payload>,
    transport: Arc<Transport>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Transport {
    pub(crate) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            idle: Mutex::default(),
            tls: Mutex::default(),
            reached: AtomicBool::new(false),
        })
    }

    /// Whether anybody answered anything yet.
    pub(crate) fn reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Sends a request; the answer may be any status. A kept connection that turns out to be
    /// closed is replaced once.
    pub(crate) async fn send(self: &Arc<Self>, outgoing: &Outgoing) -> Result<Answer> {
        let way = outgoing.way();
        let act = || format!("{} {}", outgoing.method, outgoing.url.shown());
        if let Some(mut sender) = self.take(&way).await {
            match self.exchange(&mut sender, outgoing).await {
                Ok(answer) => return Ok(self.answer(outgoing, answer, sender)),
                Err(_) if !matches!(outgoing.body, Payload::File { .. }) => {}
                Err(error) => return Err(Error::transport(act(), error)),
            }
        }
        let mut sender = self.connect(&way, self.checks(&way)).await?;
        match self.exchange(&mut sender, outgoing).await {
            Ok(answer) => Ok(self.answer(outgoing, answer, sender)),
            Err(error) => Err(Error::transport(act(), error)),
        }
    }

    /// Where an endpoint that may do without TLS really is: TLS is tried first.
    pub(crate) async fn settle(&self, way: &Way, insecure: bool) -> Result<Origin> {
        let origin = &way.origin;
        if !insecure || origin.scheme == Scheme::Http {
            return Ok(origin.clone());
        }
        match self.connect(way, false).await {
            Ok(sender) => {
                self.give_back(way, sender);
                Ok(origin.clone())
            }
            Err(error) => {
                let port = if origin.port == 443 { 80 } else { origin.port };
                let plain = Origin { scheme: Scheme::Http, port, ..origin.clone() };
                let plain = Way { origin: plain, reach: way.reach.clone() };
                match self.connect(&plain, false).await {
                    Ok(sender) => {
                        self.give_back(&plain, sender);
                        Ok(plain.origin)
                    }
                    Err(_) => Err(error),
                }
            }
        }
    }

    fn answer(
        self: &Arc<Self>,
        outgoing: &Outgoing,
        answer: hyper::Response<Incoming>,
        sender: SendRequest<Payload>,
    ) -> Answer {
        self.reached.store(true, Ordering::Relaxed);
        let (head, body) = answer.into_parts();
        let (status, headers, url) = (head.status, head.headers, outgoing.url.clone());
        let (way, transport) = (outgoing.way(), Arc::clone(self));
        Answer { status, headers, url, way, body, sender, transport }
    }

    /// Whether the certificate of whoever answers there is checked.
    fn checks(&self, way: &Way) -> bool {
        match &way.reach {
            Some(reach) if reach.skip_verify => false,
            // Who names authorities means them.
            Some(reach) if !reach.authorities.is_empty() => true,
            _ => !self.settings.tolerates(&way.origin),
        }
    }

    /// One request and the head of its answer. Time runs only while nothing moves.
    async fn exchange(
        &self,
        sender: &mut SendRequest<Payload>,
        outgoing: &Outgoing,
    ) -> std::result::Result<hyper::Response<Incoming>, String> {
        let request = self.request(outgoing).map_err(|error| error.to_string())?;
        let mut sending = std::pin::pin!(sender.send_request(request));
        let mut before = outgoing.body.sent();
        loop {
            match tokio::time::timeout(self.settings.patience, &mut sending).await {
                Ok(answer) => return answer.map_err(|error| because(&error)),
                Err(_) if outgoing.body.sent() != before => before = outgoing.body.sent(),
                Err(_) => return Err("no answer in time".into()),
            }
        }
    }

    fn request(&self, outgoing: &Outgoing) -> Result<hyper::Request<Payload>> {
        let origin = &outgoing.url.origin;
        let proxy = self.settings.proxy(origin)?.filter(|_| origin.scheme == Scheme::Http);
        let target = match &proxy {
            Some(_) => outgoing.url.to_string(),
            None => outgoing.url.target.clone(),
        };
        let mut request = hyper::Request::builder()
            .method(outgoing.method.clone())
            .uri(target)
            .header("Host", origin.authority())
            .header("User-Agent", AGENT);
        if let Some(user) = proxy.and_then(|proxy| proxy.user) {
            request = request.header("Proxy-Authorization", basic(&user));
        }
        let decided = outgoing.reach.iter().flat_map(|reach| &reach.headers);
        for (name, value) in decided {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| Error::bad(format!("bad value of header {name}")))?;
            value.set_sensitive(true);
            request = request.header(name.as_str(), value);
        }
        for (name, value) in &outgoing.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| Error::bad(format!("bad value of header {name}")))?;
            value.set_sensitive(*name == "Authorization");
            request = request.header(*name, value);
        }
        let act = || format!("{} {}", outgoing.method, outgoing.url.shown());
        request.body(outgoing.body.clone()).map_err(|error| Error::transport(act(), error))
    }

    async fn take(&self, way: &Way) -> Option<SendRequest<Payload>> {
        loop {
            let mut sender = self.idle().get_mut(way)?.pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn give_back(&self, way: &Way, sender: SendRequest<Payload>) {
        let mut idle = self.idle();
        let kept = idle.entry(way.clone()).or_default();
        if kept.len() < MAX_IDLE && !sender.is_closed() {
            kept.push(sender);
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Way, Vec<SendRequest<Payload>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, way: &Way, check: bool) -> Result<SendRequest<Payload>> {
        let act = || format!("connect to {}", way.origin);
        let limit = way.reach.as_ref().and_then(|reach| reach.dial_timeout);
        let limit = limit.unwrap_or(CONNECT_TIMEOUT);
        let done = tokio::time::timeout(limit, self.stream(way, check)).await;
        let stream =
            done.unwrap_or_else(|_| Err(Error::transport(act(), "no connection in time")))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::transport(act(), because(&error)))?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it is told by its own call.
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn stream(&self, way: &Way, check: bool) -> Result<Box<dyn Stream>> {
        let origin = &way.origin;
        let proxy = self.settings.proxy(origin)?;
        let stream = match &proxy {
            None => dial(origin).await?,
            Some(proxy) => {
                let stream = dial(&proxy.origin).await?;
                let stream = match proxy.origin.scheme {
                    Scheme::Http => stream,
                    Scheme::Https => self.encrypt(&Way::plain(&proxy.origin), true, stream).await?,
                };
                match origin.scheme {
                    Scheme::Http => return Ok(stream),
                    Scheme::Https => tunnel(proxy, origin, stream).await?,
                }
            }
        };
        match origin.scheme {
            Scheme::Http => Ok(stream),
            Scheme::Https => self.encrypt(way, check, stream).await,
        }
    }

    async fn encrypt(
        &self,
        way: &Way,
        check: bool,
        stream: Box<dyn Stream>,
    ) -> Result<Box<dyn Stream>> {
        let origin = &way.origin;
        let key = (way.clone(), check);
        let known = self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let config = match known {
            Some(config) => config,
            None => {
                let config = Arc::new(tls::config(&self.settings, way, check)?);
                let mut configs = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
                configs.insert(key, Arc::clone(&config));
                config
            }
        };
        let act = || format!("TLS with {origin}");
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|error| Error::transport(act(), error))?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| Error::transport(act(), error))?;
        Ok(Box::new(stream))
    }
}

async fn dial(origin: &Origin) -> Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((origin.host.as_str(), origin.port))
        .await
        .map_err(|error| Error::transport(format!("connect to {origin}"), error))?;
    // Small requests go out at once; a socket that cannot do it is still a socket.
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

/// Asks a proxy for a way through (RFC 9110, section 9.3.6).
async fn tunnel(
    proxy: &Proxy,
    origin: &Origin,
    mut stream: Box<dyn Stream>,
) -> Result<Box<dyn Stream>> {
    let act = || format!("connect to {origin} through proxy {}", proxy.origin);
    let failed = |error: std::io::Error| Error::transport(act(), error);
    let host =
        if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
    let target = format!("{host}:{}", origin.port);
    let mut head =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {AGENT}\r\n");
    if let Some(user) = &proxy.user {
        head.push_str(&format!("Proxy-Authorization: {}\r\n", basic(user)));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to TLS.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > MAX_PROXY_BYTES {
            return Err(Error::transport(act(), "the proxy's answer is too long"));
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1).unwrap_or_default();
    if !line.starts_with("HTTP/1.") || !status.starts_with('2') || status.len() != 3 {
        let why = line.lines().next().unwrap_or_default();
        return Err(Error::transport(act(), format!("the proxy answers {why:?}")));
    }
    Ok(stream)
}

impl Answer {
    /// A header's value, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Where a list goes on: the address in a `Link` header with `rel="next"` (RFC 8288).
    pub(crate) fn next_page(&self) -> Option<Result<Url>> {
        let (address, parameters) = self.header("link")?.strip_prefix('<')?.split_once('>')?;
        parameters.contains("next").then(|| self.url.follow(address))
    }

    /// The next bytes of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let act = || format!("read {}", self.url.shown());
        let patience = self.transport.settings.patience;
        loop {
            let frame = tokio::time::timeout(patience, self.body.frame())
                .await
                .map_err(|_| Error::transport(act(), "nothing arrives any more"))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::transport(act(), because(&error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, at most `max_bytes`, in a time that a document deserves.
    pub(crate) async fn bytes(mut self, max_bytes: usize) -> Result<Vec<u8>> {
        let act = format!("read {}", self.url.shown());
        let limit = self.transport.settings.patience * 2;
        let reading = async {
            let mut collected = BytesMut::new();
            while let Some(chunk) = self.chunk().await? {
                if collected.len() + chunk.len() > max_bytes {
                    return Err(Error::bad(format!("{act}: more than {max_bytes} bytes")));
                }
                collected.extend_from_slice(&chunk);
            }
            Ok(collected)
        };
        let collected = tokio::time::timeout(limit, reading)
            .await
            .map_err(|_| Error::transport(act.clone(), "too slow"))??;
        self.finish();
        Ok(collected.into())
    }

    /// The body was read to its end: the connection can serve again.
    pub(crate) fn finish(self) {
        self.transport.give_back(&self.way, self.sender);
    }
}

/// The value of an `Authorization` header for `user:password`.
pub(crate) fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(user.as_bytes()))
}

/// hyper's errors say little without their cause.
fn because(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
