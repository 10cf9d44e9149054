//! Connections: accepted, bounded, encrypted where a certificate is given, and ended in peace.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::collect;
use super::config::{Config, Tls};
use super::registry::{Peer, Shared};

/// How long a client may take to send the head of a request, or to shake hands.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long connections may go on when the registry is told to stop.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// Serves until `stop` is done. `ready` is told the address that is listened on.
///
/// # Errors
///
/// The configuration names something that cannot be used, or the address cannot be listened on.
pub async fn serve(
    config: Config,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let address = config.address()?;
    let certificate = config.tls.clone().map(Certificate::open).transpose()?.map(Arc::new);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("listen on {address}: {error}"))?;
    let shared = Shared::open(config)?;
    let every = shared.config.collect_every();
    let connections = Arc::new(Semaphore::new(shared.config.limits.connections.max(1)));
    let (ending, ended) = watch::channel(());
    ready(listener.local_addr().unwrap_or(address));
    let collector = tokio::spawn(collect_forever(Arc::clone(&shared), every));
    tokio::pin!(stop);
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { break };
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => (stream, peer),
                Err(error) => {
                    // Out of descriptors, most often: others will end.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (shared, certificate, ended) =
            (Arc::clone(&shared), certificate.clone(), ended.clone());
        tokio::spawn(async move {
            connection(stream, &shared, certificate.as_deref(), ended).await;
            drop(permit);
        });
    }
    collector.abort();
    drop((listener, ended));
    let _ = ending.send(());
    let _ = tokio::time::timeout(FAREWELL, ending.closed()).await;
    Ok(())
}

async fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    shared: &Arc<Shared>,
    certificate: Option<&Certificate>,
    ended: watch::Receiver<()>,
) {
    let local = peer.ip().to_canonical().is_loopback();
    // Answers are written whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let done = match certificate {
        None => speak(stream, shared, Peer { local, tls: false }, ended).await,
        Some(certificate) => {
            let shaken = TlsAcceptor::from(certificate.current()).accept(stream);
            match tokio::time::timeout(HEAD_PATIENCE, shaken).await {
                Ok(Ok(stream)) => speak(stream, shared, Peer { local, tls: true }, ended).await,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no handshake".to_owned()),
            }
        }
    };
    if let Err(error) = done {
        tracing::debug!(%peer, error, "a connection ended badly");
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Arc<Shared>,
    peer: Peer,
    mut ended: watch::Receiver<()>,
) -> Result<(), String> {
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(shared);
        async move {
            let mut answer: Response<_> = shared.answer(request, peer).await;
            // How clients tell a registry from any other server.
            answer.headers_mut().insert(
                HeaderName::from_static("docker-distribution-api-version"),
                HeaderValue::from_static("registry/2.0"),
            );
            let nosniff = HeaderValue::from_static("nosniff");
            answer.headers_mut().insert(HeaderName::from_static("x-content-type-options"), nosniff);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        done = &mut connection => return done.map_err(|error| error.to_string()),
        _ = ended.changed() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(|error| error.to_string())
}

/// Lets go of what may go, again and again.
async fn collect_forever(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let collected = Arc::clone(&shared);
        let done = tokio::task::spawn_blocking(move || collect_once(&collected)).await;
        match done {
            Ok(Ok(0)) => {}
            Ok(Ok(changes)) => tracing::info!(changes, "collected what nothing names"),
            Ok(Err(error)) => tracing::error!(error, "nothing was collected"),
            Err(error) => tracing::error!(%error, "the collector broke down"),
        }
    }
}

fn collect_once(shared: &Shared) -> Result<usize, String> {
    let limits = &shared.config.limits;
    let hour = 3600;
    let age = Duration::from_secs(limits.upload_hours.saturating_mul(hour));
    let expired = shared
        .uploads
        .expire(age, SystemTime::now())
        .map_err(|error| format!("look for old uploads: {error}"))?;
    let mut count = 0;
    shared
        .storage
        .change(store::record::Durability::Relaxed, |index| {
            let grace = limits.blob_hours.saturating_mul(hour);
            let changes = collect::plan(index, &shared.config.retention, grace, shared.now());
            count = changes.len();
            Ok(changes)
        })
        .map_err(|refusal| refusal.message)?;
    shared.metrics.collected(count);
    Ok(count + expired)
}

/// A certificate that is read again when its files change.
struct Certificate {
    files: Tls,
    current: Mutex<(Arc<ServerConfig>, std::time::Instant, Option<SystemTime>)>,
}

impl Certificate {
    fn open(files: Tls) -> Result<Self, String> {
        let config = Arc::new(read(&files)?);
        let modified = modified(&files);
        Ok(Self { files, current: Mutex::new((config, std::time::Instant::now(), modified)) })
    }

    fn current(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1.elapsed() >= LOOK {
            current.1 = std::time::Instant::now();
            let now = modified(&self.files);
            if now.is_some() && now != current.2 {
                match read(&self.files) {
                    Ok(config) => (current.0, current.2) = (Arc::new(config), now),
                    Err(error) => tracing::error!(error, "the old certificate stays"),
                }
            }
        }
        Arc::clone(&current.0)
    }
}

fn modified(files: &Tls) -> Option<SystemTime> {
    let of = |path: &Path| std::fs::metadata(path).and_then(|it| it.modified()).ok();
    of(&files.certificate).max(of(&files.key))
}

fn read(files: &Tls) -> Result<ServerConfig, String> {
    let bad = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let (certificates, key) = pki::identity(&files.certificate, &files.key)
        .map_err(|error| bad(&error.path, &error.source))?;
    let mut config = ServerConfig::builder_with_provider(pki::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| bad(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
