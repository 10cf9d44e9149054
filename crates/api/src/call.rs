//! One request, after its version and route are known: what a handler works with. The body is read
//! at most once, bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::Engine;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::upgrade::OnUpgrade;
use model::policy::Certificate;
use serde::de::DeserializeOwned;
use wire::docker::{ApiVersion, json, syntax};

use crate::authority::{Authority, Guard};
use crate::body::RequestBody;
use crate::buildkit::BuildKit;
use crate::failure::Failure;
use crate::query::Query;

/// The largest JSON body; the largest honest ones carry a seccomp profile.
pub(crate) const MAX_JSON_BYTES: usize = 4 << 20;

/// How long a client may take to send a JSON body.
const JSON_TIMEOUT: Duration = Duration::from_secs(60);

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// User and group id and pid as the kernel vouches for them (`SO_PEERCRED`); only on a unix
    /// socket.
    pub credentials: Option<(u32, u32, Option<i32>)>,
    /// The peer's supplementary groups (`SO_PEERGROUPS`); only on a unix socket.
    pub groups: Arc<[u32]>,
    /// The certificate that the client proved to own; only with TLS.
    pub certificate: Option<Arc<Certificate>>,
}

/// A request to an operation.
pub(crate) struct Call {
    /// The node.
    pub engine: Engine,
    /// Name of the snapshot driver.
    pub storage_driver: Arc<str>,
    /// What the client speaks.
    pub version: ApiVersion,
    /// The path's variable, decoded: an id or a name; empty if the path has none.
    pub target: String,
    /// Query parameters.
    pub query: Query,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, unread.
    pub body: RequestBody,
    /// The connection, if the client asked to take it over (`Upgrade: tcp`).
    pub upgrade: Option<OnUpgrade>,
    /// Who asks, if the connection tells.
    pub peer: Peer,
    /// What the rules say of this request.
    pub guard: Guard,
    /// The connection, if the client asked to speak HTTP/2 on it (`Upgrade: h2c`).
    pub h2c: Option<OnUpgrade>,
    /// What BuildKit's clients left behind: their open sessions and running builds.
    pub buildkit: Arc<BuildKit>,
    /// Who may do what, for those who tell of it.
    pub authority: Arc<Authority>,
}

impl Call {
    /// Reads a JSON body that must be there.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        match self.optional_json().await? {
            Some(value) => Ok(value),
            None => Err(Failure::invalid("invalid JSON: got EOF while reading request body")),
        }
    }

    /// Reads a JSON body; `None` if the client sent none.
    pub(crate) async fn optional_json<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<T>, Failure> {
        read_json(&self.headers, &mut self.body).await
    }
}

/// Reads a JSON body; `None` if the client sent none.
pub(crate) async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &mut RequestBody,
) -> Result<Option<T>, Failure> {
    let bytes = read(body).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    check_content_type(headers)?;
    json::from_slice(&bytes).map(Some).map_err(|error| malformed(&bytes, &error))
}

/// Why a body is no document: in the words of Go where the text is at fault, which users know.
fn malformed(bytes: &[u8], error: &dyn std::fmt::Display) -> Failure {
    let fault = std::str::from_utf8(bytes).ok().and_then(syntax::fault);
    Failure::invalid(match fault {
        Some(fault) if fault.starts_with("unexpected content") => fault,
        Some(fault) => format!("invalid JSON: {fault}"),
        None => format!("invalid JSON: {error}"),
    })
}

async fn read(body: &mut RequestBody) -> Result<Bytes, Failure> {
    read_up_to(body, MAX_JSON_BYTES).await
}

/// Reads a body to its end.
pub(crate) async fn read_up_to(body: &mut RequestBody, limit: usize) -> Result<Bytes, Failure> {
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    let read = Limited::new(body, limit).collect();
    match tokio::time::timeout(JSON_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("request body is larger than {limit} bytes");
            Err(Failure::invalid(message))
        }
        Ok(Err(error)) => Err(Failure::invalid(format!("read the request body: {error}"))),
        Err(_elapsed) => Err(Failure::invalid("the request body did not arrive in time")),
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let value = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let media = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Failure::invalid(match value {
        None => "missing Content-Type header: must be 'application/json'".to_owned(),
        Some(value) => {
            format!("unsupported Content-Type header ({value}): must be 'application/json'")
        }
    }))
}

/// Whether the client asks to take the connection over, to speak `protocol` on it.
pub(crate) fn wants_upgrade(headers: &HeaderMap, protocol: &str) -> bool {
    let lists = |name: &str, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    // As Docker: who asks for HTTP/2 need not say that the connection is meant.
    (protocol == "h2c" || lists("connection", "upgrade")) && lists("upgrade", protocol)
}
