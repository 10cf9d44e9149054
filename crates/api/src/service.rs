//! One request to one answer: version, operation, handler; the headers of every answer. Knows no
//! socket.

use std::sync::Arc;

use engine::Engine;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, SERVER};
use hyper::{Request, Response, StatusCode};
use wire::docker::ApiVersion;

use crate::body::ReplyBody;
use crate::buildkit::BuildKit;
use crate::call::{Call, Peer, wants_upgrade};
use crate::failure::Failure;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::server::App;
use crate::{router, routes};

/// The Engine API over an engine.
#[derive(Clone)]
pub(crate) struct Api {
    engine: Engine,
    /// Asked once: it never changes, and asking means reading the host's files.
    storage_driver: Arc<str>,
    buildkit: Arc<BuildKit>,
}

impl Api {
    /// Over this engine.
    pub(crate) fn new(engine: Engine) -> Self {
        let storage_driver = engine.system.view().storage_driver.into();
        Self { engine, storage_driver, buildkit: Arc::default() }
    }
}

impl App for Api {
    async fn answer(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let mut response = match self.dispatch(request).await {
            Ok(response) => response,
            Err(failure) => {
                if failure.status == StatusCode::INTERNAL_SERVER_ERROR {
                    tracing::error!(%method, path, error = %failure, "request failed");
                } else {
                    tracing::debug!(%method, path, error = %failure, "request refused");
                }
                reply::failure(failure)
            }
        };
        add_headers(response.headers_mut());
        response
    }
}

impl Api {
    async fn dispatch(&self, mut request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        let (version, path) = router::split_version(&path)?;
        let (route, target) = router::find(&routes::TABLE, request.method(), path)?;
        tracing::debug!(
            method = %route.method,
            path = route.path,
            coverage = ?route.coverage,
            peer = ?request.extensions().get::<Peer>(),
            "request"
        );
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let wants = |protocol| wants_upgrade(request.headers(), protocol);
        let (tcp, h2c) = (wants("tcp") || wants("websocket"), wants("h2c"));
        let upgrade = tcp.then(|| hyper::upgrade::on(&mut request));
        let h2c = (h2c && !tcp).then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let engine = self.engine.clone();
        let headers = head.headers;
        let storage_driver = Arc::clone(&self.storage_driver);
        let (peer, buildkit) = (head.extensions.get().copied(), Arc::clone(&self.buildkit));
        let call = Call {
            engine,
            storage_driver,
            version,
            target,
            query,
            headers,
            body,
            upgrade,
            peer,
            h2c,
            buildkit,
        };
        (route.handler)(call).await
    }
}

/// The answer of a handler that broke down.
pub(crate) fn broken() -> Response<ReplyBody> {
    let message = "the request broke down inside the daemon; its log says why";
    let mut response = reply::failure(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message));
    add_headers(response.headers_mut());
    response
}

/// What every answer says: clients negotiate by it.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    const SERVER_NAME: &str = concat!("Estiba/", env!("CARGO_PKG_VERSION"), " (linux)");
    // Digits and a dot are a valid header value.
    if let Ok(version) = HeaderValue::from_str(&ApiVersion::MAX.to_string()) {
        headers.insert("api-version", version);
    }
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(SERVER, HeaderValue::from_static(SERVER_NAME));
}
