//! Listeners, connections and their limits. Knows no operation.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, read_certificate};
use crate::body::ReplyBody;
use crate::call::Peer;
use crate::metrics::Requests;
use crate::raw::Conversation;
use crate::service::{self, Api};
use crate::tls::{Certificates, TlsError, TlsFiles};

/// How many clients may be connected; the next ones wait. Attached clients do not count: their
/// sockets were given away.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take to send a request's head, or stay idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may take to prove who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 256 << 10;
/// How long running requests may go on after shutdown was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which is usually a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Resolves when the server shall end.
pub type Shutdown = watch::Receiver<bool>;

/// Where clients connect.
pub enum Listener {
    /// A path socket; the file's mode is the access control.
    Unix(UnixListener),
    /// TCP **without** TLS and without any authentication: whoever connects is root.
    TcpWithoutTls(TcpListener),
    /// TCP with TLS.
    Tls(TcpListener, Certificates),
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(listener) => f.debug_tuple("Unix").field(listener).finish(),
            Self::TcpWithoutTls(listener) => {
                f.debug_tuple("TcpWithoutTls").field(listener).finish()
            }
            Self::Tls(listener, _) => f.debug_tuple("Tls").field(listener).finish_non_exhaustive(),
        }
    }
}

/// The server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process answers on the socket.
    #[error("listen on {}: another daemon is serving it", .0.display())]
    InUse(PathBuf),
    /// Something else than a socket is in the way.
    #[error("listen on {}: it exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Certificates or keys are missing or unfit.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A descriptor that was handed over is no listening socket.
    #[error("descriptor {0} of the socket activation is no listening unix or TCP socket")]
    NotListening(i32),
    /// A system call failed.
    #[error("listen on {at}: {source}")]
    Io {
        /// Path or address.
        at: String,
        /// Why.
        source: io::Error,
    },
}

/// How long a daemon that was killed may take to be gone.
const ENDING: Duration = Duration::from_secs(3);

/// Whether somebody serves a path socket, and goes on doing so: who starts a daemon again right
/// after killing it may be earlier than its end.
async fn is_served(path: &Path) -> bool {
    let ended = async {
        while UnixStream::connect(path).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(ENDING, ended).await.is_err()
}

impl Listener {
    /// Binds a path socket of mode 0660 owned by `group`, replacing one that nobody serves.
    ///
    /// # Errors
    /// The path is served, is not a socket, or cannot be made.
    pub async fn bind_unix(path: &Path, group: Option<u32>) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Io { at: path.display().to_string(), source };
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(ServeError::NotASocket(path.to_owned()));
            }
            Ok(_) if is_served(path).await => return Err(ServeError::InUse(path.to_owned())),
            Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::os::unix::fs::chown(path, None, group).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o660);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        Ok(Self::Unix(listener))
    }

    /// Binds a TCP address for clients without TLS and without authentication. The caller has made
    /// sure that the administrator asked for exactly that.
    ///
    /// # Errors
    /// The address is no address, or is in use.
    pub async fn bind_tcp_without_tls(address: &str) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Io { at: address.to_owned(), source };
        TcpListener::bind(address).await.map(Self::TcpWithoutTls).map_err(failed)
    }

    /// Binds a TCP address for clients with TLS.
    ///
    /// # Errors
    /// The address is no address, or is in use; certificates or keys are missing or unfit.
    pub async fn bind_tls(address: &str, files: &TlsFiles) -> Result<Self, ServeError> {
        let certificates = Certificates::load(files)?;
        let failed = |source| ServeError::Io { at: address.to_owned(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self::Tls(listener, certificates))
    }

    /// Its certificates, when it has some.
    pub fn certificates(&self) -> Option<Certificates> {
        match self {
            Self::Tls(_, certificates) => Some(certificates.clone()),
            _ => None,
        }
    }

    /// Whether others than local processes can connect.
    pub fn is_tcp(&self) -> bool {
        matches!(self, Self::TcpWithoutTls(_) | Self::Tls(..))
    }

    /// Takes over a listening socket that somebody else bound, as systemd does. `files`: what TCP
    /// ones are served with; without, TCP ones are served plainly.
    ///
    /// # Errors
    /// It is no listening socket; certificates or keys are missing or unfit.
    pub fn from_fd(fd: OwnedFd, files: Option<&TlsFiles>) -> Result<Self, ServeError> {
        let number = fd.as_raw_fd();
        let failed = |source| ServeError::Io { at: format!("descriptor {number}"), source };
        let unix: std::os::unix::net::UnixListener = fd.into();
        if unix.local_addr().is_ok() {
            unix.set_nonblocking(true).map_err(failed)?;
            return UnixListener::from_std(unix).map(Self::Unix).map_err(failed);
        }
        let tcp: std::net::TcpListener = OwnedFd::from(unix).into();
        if tcp.local_addr().is_err() {
            return Err(ServeError::NotListening(number));
        }
        tcp.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(tcp).map_err(failed)?;
        Ok(match files {
            Some(files) => Self::Tls(listener, Certificates::load(files)?),
            None => Self::TcpWithoutTls(listener),
        })
    }
}

/// Serves the Engine API on `listeners` until `shutdown` turns true, then lets running requests
/// end for a short while. `authority` says who may do what, `requests` counts.
pub async fn serve(
    engine: Engine,
    listeners: Vec<Listener>,
    authority: Arc<Authority>,
    requests: Requests,
    shutdown: Shutdown,
) {
    run(Api::new(engine, authority, requests), listeners, shutdown).await;
}

/// What answers requests.
pub(crate) trait App: Clone + Send + Sync + 'static {
    /// Answers one.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<ReplyBody>> + Send;
}

/// Accepts and serves connections.
pub(crate) async fn run<A: App>(app: A, listeners: Vec<Listener>, mut shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(app.clone(), listener, Arc::clone(&slots), shutdown.clone()));
    }
    ended_by(&mut shutdown).await;
    while loops.join_next().await.is_some() {}
}

async fn accept<A: App>(app: A, listener: Listener, slots: Arc<Semaphore>, mut shutdown: Shutdown) {
    let mut connections = JoinSet::new();
    let shutdown_of_connections = shutdown.clone();
    loop {
        let next = async {
            // The semaphore is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.connection().await)
        };
        tokio::select! {
            () = ended_by(&mut shutdown) => break,
            Some(_ended) = connections.join_next() => {}
            (slot, accepted) = next => match accepted {
                Ok((socket, peer)) => {
                    let (app, shutdown) = (app.clone(), shutdown_of_connections.clone());
                    connections.spawn(async move {
                        let _slot = slot;
                        serve_socket(app, socket, peer, shutdown).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let drain = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain).await;
}

/// Returns when the end was asked for; a sender that was dropped has asked for it as well.
async fn ended_by(shutdown: &mut Shutdown) {
    let _ = shutdown.wait_for(|end| *end).await;
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    /// Before the handshake: that is the client's time, not the listener's.
    Tls(TcpStream, TlsAcceptor),
}

impl Listener {
    async fn connection(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let who = (credentials.uid(), credentials.gid(), credentials.pid());
                // Without the groups, rules that name groups do not apply.
                let groups = engine::peer_groups(stream.as_fd()).unwrap_or_default().into();
                let peer = Peer { credentials: Some(who), groups, certificate: None };
                Ok((Socket::Unix(stream), peer))
            }
            Self::TcpWithoutTls(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), Peer::default()))
            }
            Self::Tls(listener, certificates) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Socket::Tls(stream, certificates.current()), Peer::default()))
            }
        }
    }
}

/// Serves one connection until either side has had enough.
///
/// A client on a unix socket may end its sending side and still wait for its answer. It is gone
/// only when the whole socket is closed, which hyper does not see while it has nothing to write:
/// a client of `events` that was killed would be kept for ever. TCP cannot tell the two apart, so
/// there the end of input is the end.
async fn serve_socket<A: App>(app: A, socket: Socket, mut peer: Peer, shutdown: Shutdown) {
    match socket {
        Socket::Tcp(stream) => {
            converse(app, TokioIo::new(stream), (peer, false), shutdown).await;
        }
        Socket::Tls(stream, acceptor) => {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let chain = stream.get_ref().1.peer_certificates();
                    let certificate = chain.and_then(|chain| chain.first());
                    let read = |der: &rustls::pki_types::CertificateDer<'_>| read_certificate(der);
                    peer.certificate = certificate.map(read).map(Arc::new);
                    converse(app, TokioIo::new(stream), (peer, false), shutdown).await;
                }
                Ok(Err(error)) => tracing::warn!(%error, "TLS handshake with a client"),
                Err(_elapsed) => tracing::warn!("TLS handshake with a client took too long"),
            }
        }
        Socket::Unix(stream) => match hangup(&stream) {
            Ok(hangup) => tokio::select! {
                () = greet(app, stream, peer, shutdown) => {}
                () = hangup => tracing::debug!("a client hung up"),
            },
            Err(error) => tracing::warn!(%error, "watch a client"),
        },
    }
}

/// Waits for what a client says first, and serves it.
async fn greet<A: App>(app: A, stream: UnixStream, peer: Peer, mut shutdown: Shutdown) {
    let begun = tokio::select! {
        begun = tokio::time::timeout(HEAD_TIMEOUT, Conversation::begin(stream)) => begun,
        () = ended_by(&mut shutdown) => return,
    };
    match begun {
        Ok(Ok(client)) => converse(app, client, (peer, true), shutdown).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke off"),
        Err(_elapsed) => tracing::debug!("a client said nothing"),
    }
}

/// Returns when the other side has closed the socket altogether.
fn hangup(stream: &UnixStream) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    // hyper owns the stream; a second descriptor of the same socket can be watched beside it.
    let socket: std::os::unix::net::UnixStream = stream.as_fd().try_clone_to_owned()?.into();
    let watched = UnixStream::from_std(socket)?;
    Ok(async move {
        loop {
            // An error means that the runtime ends, and with it the connection.
            let Ok(ready) = watched.ready(Interest::WRITABLE).await else { return };
            if ready.is_write_closed() {
                return;
            }
            // Says that there is nothing to write, so that the next event is waited for.
            let _ = watched
                .try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    })
}

/// Serves the requests of one connection.
async fn converse<A, I>(app: A, io: I, (peer, half_close): (Peer, bool), mut shutdown: Shutdown)
where
    A: App,
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        let app = app.clone();
        request.extensions_mut().insert(peer.clone());
        // A task of its own: what was begun is finished even if the client leaves.
        let answer = tokio::spawn(async move { app.answer(request).await });
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|_| service::broken())) }
    });
    let connection = http1::Builder::new()
        .half_close(half_close)
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ended_by(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
