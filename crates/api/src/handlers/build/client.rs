//! A client that sent everything at once: the context, and credentials in a header. It has no
//! secrets and no agents.

use std::collections::BTreeMap;

use build::Error;
use build::client::{Client, Credentials, Future, LocalAsk, LocalDir};
use hyper::header::HeaderMap;
use serde::Deserialize;

use crate::base64;
use crate::failure::Failure;

/// Whoever asked by `POST /build` without a session.
pub(crate) struct TarClient {
    context: Option<LocalDir>,
    credentials: BTreeMap<String, Credentials>,
}

impl TarClient {
    /// With the directory that was sent; with none when the context is elsewhere.
    pub(crate) fn new(
        context: Option<LocalDir>,
        credentials: BTreeMap<String, Credentials>,
    ) -> Self {
        Self { context, credentials }
    }
}

impl Client for TarClient {
    fn local<'a>(&'a self, ask: &'a LocalAsk) -> Future<'a, build::Result<LocalDir>> {
        let sent = matches!(ask.name.as_str(), "context" | "dockerfile");
        let found = self.context.clone().filter(|_| sent);
        let missing = || Error::not_found(format!("no directory {:?} was sent", ask.name));
        Box::pin(async move { found.ok_or_else(missing) })
    }

    fn auth<'a>(&'a self, host: &'a str) -> Future<'a, build::Result<Option<Credentials>>> {
        Box::pin(async move { Ok(self.credentials.get(host).cloned()) })
    }
}

/// One registry's credentials in `X-Registry-Config`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AskedAuth {
    username: String,
    password: String,
    auth: String,
    #[serde(rename = "identitytoken")]
    identity_token: String,
}

/// `X-Registry-Config`: credentials by registry.
///
/// # Errors
/// It is no base64 of a JSON object.
pub(crate) fn credentials(headers: &HeaderMap) -> Result<BTreeMap<String, Credentials>, Failure> {
    let invalid = || Failure::invalid("X-Registry-Config is no base64 of a JSON object");
    let Some(value) = headers.get("x-registry-config").and_then(|value| value.to_str().ok()) else {
        return Ok(BTreeMap::new());
    };
    if value.is_empty() {
        return Ok(BTreeMap::new());
    }
    let bytes = base64::decode(value).ok_or_else(invalid)?;
    let all: Option<BTreeMap<String, AskedAuth>> =
        wire::docker::json::from_slice(&bytes).map_err(|_| invalid())?;
    let one = |(address, auth): (String, AskedAuth)| {
        (engine::registry_host(&address), credentials_of(auth))
    };
    Ok(all.unwrap_or_default().into_iter().map(one).collect())
}

fn credentials_of(auth: AskedAuth) -> Credentials {
    let AskedAuth { mut username, mut password, auth, identity_token } = auth;
    if username.is_empty()
        && let Some(text) = base64::decode(&auth).and_then(|it| String::from_utf8(it).ok())
        && let Some((name, secret)) = text.split_once(':')
    {
        (username, password) = (name.to_owned(), secret.trim_end_matches('\0').to_owned());
    }
    Credentials { username, password, identity_token }
}
