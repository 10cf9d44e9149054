//! The client and its connections: one is kept alive between calls, further ones are opened for
//! calls that overlap. It never interprets an answer beyond the version it names.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;

use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::docker::ApiVersion;

use crate::{
    Body, Endpoint, Error, Raw, RawReader, RawWriter, Request, Result, TlsFiles, ssh, tls,
};

/// The newest version this client asks for: its answers still carry what scripts read, such as
/// `NetworkSettings.IPAddress`, which later versions removed.
const NEWEST: ApiVersion = ApiVersion::new(1, 50);

/// A client of one engine. Lives on one thread.
pub struct Client {
    endpoint: Endpoint,
    version: Cell<ApiVersion>,
    pinned: bool,
    idle: RefCell<Option<Lease>>,
    headers: Vec<(String, String)>,
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// A client of the engine at `endpoint`. A pinned `version` is used as it is; otherwise the
    /// newest version that both sides speak.
    pub fn new(endpoint: Endpoint, version: Option<ApiVersion>) -> Self {
        Self {
            endpoint,
            version: Cell::new(version.unwrap_or(NEWEST)),
            pinned: version.is_some(),
            idle: RefCell::new(None),
            headers: Vec::new(),
            tls: None,
        }
    }

    /// Speaks TLS where the endpoint is TCP; elsewhere the files are not looked at.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn with_tls(mut self, files: &TlsFiles) -> Result<Self> {
        if matches!(self.endpoint, Endpoint::Tcp { .. }) {
            self.tls = Some(tls::config(files)?);
        }
        Ok(self)
    }

    /// A connection to the engine on which nothing has been said.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn tunnel(&self) -> Result<(RawReader, RawWriter)> {
        Ok(Raw::of(self.dial().await?).split())
    }

    /// Adds headers to every request.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }

    /// Where the engine listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The version in use: what was pinned, or the best known so far.
    pub fn version(&self) -> ApiVersion {
        self.version.get()
    }

    /// A request in the version in use; `path` begins with a slash.
    pub fn request(&self, method: hyper::Method, path: impl Into<String>) -> Request<'_> {
        Request::new(self, method, path.into())
    }

    /// `GET`.
    pub fn get(&self, path: impl Into<String>) -> Request<'_> {
        self.request(hyper::Method::GET, path)
    }

    /// `POST`.
    pub fn post(&self, path: impl Into<String>) -> Request<'_> {
        self.request(hyper::Method::POST, path)
    }

    /// `PUT`.
    pub fn put(&self, path: impl Into<String>) -> Request<'_> {
        self.request(hyper::Method::PUT, path)
    }

    /// `DELETE`.
    pub fn delete(&self, path: impl Into<String>) -> Request<'_> {
        self.request(hyper::Method::DELETE, path)
    }

    /// `HEAD`.
    pub fn head(&self, path: impl Into<String>) -> Request<'_> {
        self.request(hyper::Method::HEAD, path)
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Lowers the version to what the engine says it speaks. True when that changed it.
    pub(crate) fn settle(&self, offered: ApiVersion) -> bool {
        if self.pinned || offered >= self.version.get() {
            return false;
        }
        self.version.set(offered);
        true
    }

    /// A connection that can take a request now: the idle one, or a new one.
    pub(crate) async fn lease(&self) -> Result<Lease> {
        let idle = self.idle.borrow_mut().take();
        if let Some(mut lease) = idle
            && lease.sender.ready().await.is_ok()
        {
            return Ok(lease);
        }
        match self.dial().await? {
            Socket::Unix(stream) => Lease::of(stream, Socket::Unix).await,
            Socket::Tls(stream) => Lease::of(stream, Socket::Tls).await,
            Socket::Tcp(stream) => Lease::of(stream, Socket::Tcp).await,
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn give_back(&self, lease: Lease) {
        *self.idle.borrow_mut() = Some(lease);
    }

    /// A connection to be taken out of HTTP: the idle one, or a new one.
    pub(crate) async fn socket(&self) -> Result<Socket> {
        let idle = self.idle.borrow_mut().take();
        if let Some(lease) = idle
            && let Some(socket) = lease.socket().await
        {
            return Ok(socket);
        }
        self.dial().await
    }

    /// A fresh connection, nothing sent yet.
    pub(crate) async fn dial(&self) -> Result<Socket> {
        let connected = match &self.endpoint {
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
            Endpoint::Tcp { host, port } => {
                let address = resolve(host).map_err(|why| {
                    Error::Transport(format!("look up host {host} of {}: {why}", self.endpoint))
                })?;
                match (TcpStream::connect((address, *port)).await, &self.tls) {
                    (Ok(stream), Some(config)) => return encrypt(stream, host, config).await,
                    (connected, _) => connected.map(Socket::Tcp),
                }
            }
            Endpoint::Ssh(target) => {
                let stream = ssh::connect(target).and_then(UnixStream::from_std);
                return stream.map(Socket::Unix).map_err(|e| Error::Transport(e.to_string()));
            }
        };
        connected.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Error::Forbidden(self.endpoint.to_string()),
            _ => Error::Unreachable(self.endpoint.to_string()),
        })
    }
}

/// A connection that speaks HTTP.
pub(crate) struct Lease {
    /// Takes requests.
    pub(crate) sender: SendRequest<Body>,
    /// Ends with the socket when nobody can send any more, unless the other side has ended it.
    work: JoinHandle<Option<Socket>>,
}

impl Lease {
    async fn of<S>(stream: S, socket: fn(S) -> Socket) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |error: hyper::Error| Error::Transport(error.to_string());
        let (sender, work) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let work = tokio::spawn(async move {
            let left = work.without_shutdown().await.ok()?;
            left.read_buf.is_empty().then(|| socket(left.io.into_inner()))
        });
        Ok(Self { sender, work })
    }

    /// The socket, when nothing is under way on it.
    async fn socket(self) -> Option<Socket> {
        if self.sender.is_closed() {
            return None;
        }
        drop(self.sender);
        self.work.await.ok()?
    }
}

/// A connected socket.
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn encrypt(stream: TcpStream, host: &str, config: &Arc<ClientConfig>) -> Result<Socket> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::Endpoint(format!("{host} is no name that a certificate has")))?;
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    let connected = connecting.await.map(|stream| Socket::Tls(Box::new(stream)));
    connected.map_err(|error| Error::Transport(format!("tls: {error}")))
}

/// An address for `host`: a literal one, or what `/etc/hosts` says. DNS is not asked: the static
/// C library's resolver would load libraries of the host.
fn resolve(host: &str) -> std::result::Result<std::net::IpAddr, String> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && words.any(|name| name.eq_ignore_ascii_case(host))
        {
            return Ok(address);
        }
    }
    match host {
        "localhost" => Ok(std::net::Ipv4Addr::LOCALHOST.into()),
        _ => Err("not in /etc/hosts; use an address".to_owned()),
    }
}
