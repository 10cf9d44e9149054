//! Authorization plugins (docs.docker.com, "Access authorization plugin"): programs that see every
//! request before it is served and every answer before it is sent, in order; one refusal is enough.
//!
//! A plugin judges text, so it must see the very bytes that are executed: a JSON body is read to
//! its end before it is shown, whatever its length claims to be, the handler parses those bytes
//! and no others, and one that is too large to be shown is refused. Streams (archives, hijacked
//! connections) are not shown, as with Docker. Credentials never are.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use engine::Engine;
use engine::plugins::Plugin;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::base64;
use crate::body::ReplyBody;
use crate::call::Peer;
use crate::failure::Failure;

/// The largest body that plugins are shown, Docker's.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;

/// What a plugin says it implements.
const CAPABILITY: &str = "authz";
/// Headers with credentials.
const HIDDEN: [&str; 3] = ["authorization", "x-registry-auth", "x-registry-config"];

/// A request as plugins are shown it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Asked {
    #[serde(rename = "User", skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(rename = "UserAuthNMethod", skip_serializing_if = "str::is_empty")]
    user_method: &'static str,
    #[serde(rename = "RequestMethod")]
    method: String,
    #[serde(rename = "RequestUri")]
    uri: String,
    #[serde(rename = "RequestBody", skip_serializing_if = "String::is_empty")]
    body: String,
    #[serde(rename = "RequestHeaders", skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

/// Its answer, as plugins are shown it.
#[derive(Debug, Serialize)]
struct Answered<'a> {
    #[serde(flatten)]
    asked: &'a Asked,
    #[serde(rename = "ResponseStatusCode")]
    status: u16,
    #[serde(rename = "ResponseBody", skip_serializing_if = "String::is_empty")]
    body: String,
    #[serde(rename = "ResponseHeaders", skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

/// What a plugin decides.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verdict {
    #[serde(rename = "Allow")]
    allow: bool,
    #[serde(rename = "Msg")]
    message: String,
}

impl Asked {
    /// A request without its body.
    pub(crate) fn new(peer: &Peer, method: &hyper::Method, uri: &str, headers: &HeaderMap) -> Self {
        let user = peer.certificate.as_ref().map(|it| it.common_name.clone());
        Self {
            user_method: if user.is_some() { "TLS" } else { "" },
            user: user.unwrap_or_default(),
            method: method.to_string(),
            uri: uri.to_owned(),
            body: String::new(),
            headers: shown(headers),
        }
    }

    /// With the body that will be parsed.
    pub(crate) fn with_body(mut self, body: &Bytes) -> Self {
        self.body = base64::encode(body);
        self
    }
}

/// The plugins that let a request in, and will be asked about its answer.
pub(crate) struct Plugins {
    all: Vec<(String, Arc<Plugin>)>,
    known: Arc<engine::plugins::Plugins>,
    asked: Asked,
}

impl Plugins {
    /// Asks each about the request.
    pub(crate) async fn admit(
        engine: &Engine,
        names: &[String],
        asked: Asked,
    ) -> Result<Self, Failure> {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            // Stopped by somebody whom it let: it is asked again when it runs again, or when the
            // daemon was started anew.
            if engine.plugins().stood_down(name) {
                continue;
            }
            let found = engine.plugins().find(name, CAPABILITY).await;
            let plugin = found.map_err(|error| failed(name, &error))?;
            judge(name, &plugin, "AuthZPlugin.AuthZReq", &asked).await?;
            all.push((name.clone(), plugin));
        }
        Ok(Self { all, known: Arc::clone(engine.plugins()), asked })
    }

    /// Asks each about the answer: what it refuses is not sent.
    pub(crate) async fn release(self, response: &Response<ReplyBody>) -> Result<(), Failure> {
        let json = is_json(response.headers());
        let body = match response.body() {
            ReplyBody::Whole(Some(bytes)) if json && bytes.len() <= MAX_BODY_BYTES => {
                base64::encode(bytes)
            }
            _ => String::new(),
        };
        let headers = shown(response.headers());
        let status = response.status().as_u16();
        let answered = Answered { asked: &self.asked, status, body, headers };
        // One that the request itself stopped has nothing to say any more.
        for (name, plugin) in self.all.iter().filter(|(_, it)| self.known.serves(it)) {
            judge(name, plugin, "AuthZPlugin.AuthZRes", &answered).await?;
        }
        Ok(())
    }
}

async fn judge<Q: Serialize + Sync>(
    name: &str,
    plugin: &Plugin,
    method: &str,
    question: &Q,
) -> Result<(), Failure> {
    let verdict: Verdict =
        plugin.call(method, question).await.map_err(|error| failed(name, &error))?;
    if verdict.allow {
        return Ok(());
    }
    let message = format!("authorization denied by plugin {name}: {}", verdict.message);
    Err(Failure::new(StatusCode::FORBIDDEN, message))
}

/// A plugin that cannot be asked allows nothing.
fn failed(name: &str, error: &engine::plugins::PluginError) -> Failure {
    let said = match error {
        engine::plugins::PluginError::Failed { method, why, .. } => format!("{method}: {why}"),
        other => other.to_string(),
    };
    let message = format!("plugin {name} failed with error: {said}");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
}

/// Whether a body is a JSON document, by what is said of it.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

fn shown(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (name, value) in headers {
        if !HIDDEN.contains(&name.as_str()) {
            // As Go writes them; the last of several wins, as with Docker.
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            out.insert(canonical(name.as_str()), value);
        }
    }
    out
}

/// `content-type` is `Content-Type` to plugins.
fn canonical(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        let mut headers = HeaderMap::new();
        for name in ["x-registry-auth", "authorization", "x-registry-config", "user-agent"] {
            headers.insert(name, "secret".parse().unwrap());
        }
        let method = hyper::Method::POST;
        let asked = Asked::new(&Peer::default(), &method, "/v1.47/images/create", &headers);
        let text = serde_json::to_string(&asked.with_body(&Bytes::from_static(b"{}"))).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"RequestMethod":"POST","RequestUri":"/v1.47/images/create","#,
                r#""RequestBody":"e30=","RequestHeaders":{"User-Agent":"secret"}}"#
            )
        );
    }
}
