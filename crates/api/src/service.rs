//! One request to one answer: version, operation, handler; the headers of every answer. Knows no
//! socket.

use std::sync::Arc;

use engine::Engine;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, SERVER};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use wire::docker::ApiVersion;

use crate::authority::{self, Asked, Authority, MAX_BODY_BYTES, Plugins};
use crate::body::{ReplyBody, RequestBody};
use crate::buildkit::BuildKit;
use crate::call::{Call, Peer, read_up_to, wants_upgrade};
use crate::failure::Failure;
use crate::metrics::Requests;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::server::App;
use crate::{router, routes};

/// A document of a request is read before the request is looked at, up to this size.
const EAGER_BODY_BYTES: usize = 64 << 10;

/// The Engine API over an engine.
#[derive(Clone)]
pub(crate) struct Api {
    engine: Engine,
    /// Asked once: it never changes, and asking means reading the host's files.
    storage_driver: Arc<str>,
    buildkit: Arc<BuildKit>,
    authority: Arc<Authority>,
    requests: Requests,
}

impl Api {
    /// Over this engine, for whom `authority` lets in.
    pub(crate) fn new(engine: Engine, authority: Arc<Authority>, requests: Requests) -> Self {
        let storage_driver = engine.system.view().storage_driver.into();
        Self { engine, storage_driver, buildkit: Arc::default(), authority, requests }
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
        self.requests.answered(response.status());
        add_headers(response.headers_mut());
        response
    }
}

impl Api {
    async fn dispatch(&self, mut request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        let (version, path) = router::split_version(&path, self.engine.system.min_api_version())?;
        let (route, target) = router::find(&routes::TABLE, request.method(), path)?;
        tracing::debug!(
            method = %route.method,
            path = route.path,
            coverage = ?route.coverage,
            peer = ?request.extensions().get::<Peer>(),
            "request"
        );
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let guard = self.authority.admit(&peer, &route.method, route.path, path)?;
        let act = (&route.method, route.path);
        let target = authority::target(&guard, &self.engine, act, target).await?;
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let wants = |protocol| wants_upgrade(request.headers(), protocol);
        let (tcp, h2c) = (wants("tcp") || wants("websocket"), wants("h2c"));
        let upgrade = tcp.then(|| hyper::upgrade::on(&mut request));
        let h2c = (h2c && !tcp).then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let mut body = RequestBody::Live(body);
        let plugins = self.ask_plugins(&peer, &head, route.path, &mut body).await?;
        take_small(&head, &mut body).await?;
        let call = Call {
            engine: self.engine.clone(),
            storage_driver: Arc::clone(&self.storage_driver),
            version,
            target,
            query,
            headers: head.headers,
            body,
            upgrade,
            peer,
            guard,
            h2c,
            buildkit: Arc::clone(&self.buildkit),
            authority: Arc::clone(&self.authority),
        };
        let reply = (route.handler)(call).await;
        let Some(plugins) = plugins else { return reply };
        let response = reply.unwrap_or_else(reply::failure);
        plugins.release(&response).await.map(|()| response)
    }

    /// Lets authorization plugins look at a request, with the bytes that will be executed if these
    /// are JSON; those that would be too many to be shown are refused.
    async fn ask_plugins(
        &self,
        peer: &Peer,
        head: &Parts,
        pattern: &str,
        body: &mut RequestBody,
    ) -> Result<Option<Plugins>, Failure> {
        let names = self.authority.plugins();
        if names.is_empty() {
            return Ok(None);
        }
        let uri = head.uri.path_and_query().map_or("/", |uri| uri.as_str());
        let mut asked = Asked::new(peer, &head.method, uri, &head.headers);
        // The body of `auth` is a password.
        if authority::is_json(&head.headers) && pattern != "/auth" {
            let bytes = read_up_to(body, MAX_BODY_BYTES).await?;
            asked = asked.with_body(&bytes);
            *body = RequestBody::Read(Some(bytes).filter(|bytes| !bytes.is_empty()));
        }
        Plugins::admit(&self.engine, &names, asked).await.map(Some)
    }
}

/// Takes a small document in before anything is answered: a client that is still sending when the
/// connection closes behind an early refusal tells its user of a broken pipe.
async fn take_small(head: &Parts, body: &mut RequestBody) -> Result<(), Failure> {
    let length = head.headers.get(hyper::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let small = length.and_then(|v| v.parse().ok()).is_some_and(|n: usize| n <= EAGER_BODY_BYTES);
    if small && matches!(body, RequestBody::Live(_)) && authority::is_json(&head.headers) {
        let bytes = read_up_to(body, EAGER_BODY_BYTES).await?;
        *body = RequestBody::Read(Some(bytes).filter(|bytes| !bytes.is_empty()));
    }
    Ok(())
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
