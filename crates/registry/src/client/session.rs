//! One operation's talk with one repository: its endpoints, redirects, and failures in the
//! registry's words. Credentials go to the origin they are for; see `auth`.

use super::auth::Auth;
use super::body::Payload;
use super::endpoint::{Endpoint, May};
use super::settings::Settings;
use super::transport::{Answer, Outgoing, Transport};
use super::url::Url;
use crate::error::{Error, Result};
use crate::{Credentials, client::manifest};
use hyper::{Method, StatusCode};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use wire::oci::distribution::ErrorResponse;

/// Redirects followed in a row.
const MAX_REDIRECTS: usize = 5;
/// The longest error document that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// The longest message of a registry that is shown.
const MAX_MESSAGE_CHARS: usize = 1000;
/// The longest wait that a registry may ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Payload,
    /// What the token must allow.
    pub(crate) scopes: Vec<String>,
}

/// A repository on its endpoints.
pub(crate) struct Session {
    pub(crate) settings: Arc<Settings>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) host: String,
    pub(crate) path: String,
    endpoints: Vec<(Endpoint, OnceCell<Endpoint>)>,
    auth: Auth,
    actions: &'static str,
}

impl Session {
    /// For reading, from mirrors too.
    pub(crate) fn to_read(
        settings: &Arc<Settings>,
        (host, path): (&str, &str),
        credentials: Option<Credentials>,
    ) -> Result<Self> {
        let endpoints = settings.endpoints(host, path, true)?;
        Ok(Self::new(settings, (host, path), endpoints, credentials, "pull"))
    }

    /// For writing, to the registry itself.
    pub(crate) fn to_write(
        settings: &Arc<Settings>,
        (host, path): (&str, &str),
        credentials: Option<Credentials>,
    ) -> Result<Self> {
        let endpoints = settings.endpoints(host, path, false)?;
        Ok(Self::new(settings, (host, path), endpoints, credentials, "pull,push"))
    }

    fn new(
        settings: &Arc<Settings>,
        (host, path): (&str, &str),
        endpoints: Vec<Endpoint>,
        credentials: Option<Credentials>,
        actions: &'static str,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            transport: Transport::new(Arc::clone(settings)),
            host: host.to_owned(),
            path: path.to_owned(),
            endpoints: endpoints.into_iter().map(|e| (e, OnceCell::new())).collect(),
            auth: Auth::new(credentials),
            actions,
        }
    }

    /// Checks that the credentials are good for the registry.
    pub(crate) async fn login(&self) -> Result<Option<String>> {
        // The registry itself is the last.
        let endpoint = self.endpoint(self.endpoints().saturating_sub(1)).await?;
        let ask = Ask {
            endpoint,
            method: Method::GET,
            url: Url { origin: endpoint.origin.clone(), target: endpoint.root.clone() },
            headers: Vec::new(),
            body: Payload::Empty,
            scopes: Vec::new(),
        };
        self.expect(&ask, &[200]).await?.finish();
        Ok(self.auth.refresh())
    }

    /// How many endpoints there are.
    pub(crate) fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// The endpoints from `first` on that are asked for content of a known digest.
    pub(crate) fn sources(&self, first: usize) -> impl Iterator<Item = usize> {
        let all = self.endpoints.iter().enumerate().skip(first);
        all.filter(|(_, (endpoint, _))| endpoint.may.content).map(|(at, _)| at)
    }

    /// The first endpoint that may say what a tag stands for.
    pub(crate) fn resolver(&self) -> Option<usize> {
        self.endpoints.iter().position(|(endpoint, _)| endpoint.may.tags)
    }

    /// The document that a name stands for, from the first endpoint that may say so and does; with
    /// the endpoint from which on its content is asked for.
    pub(crate) async fn find(
        &self,
        name: &str,
        want: Option<model::Digest>,
    ) -> Result<(usize, manifest::Document)> {
        let asked: fn(May) -> bool = match want {
            Some(_) => |may| may.digests,
            None => |may| may.tags,
        };
        let mut failure = None;
        for (at, (endpoint, _)) in self.endpoints.iter().enumerate() {
            if !asked(endpoint.may) {
                continue;
            }
            match self.retry(|| self.manifest(at, name, want)).await {
                Ok(document) => {
                    // Who may not say what a name is may well have what it is.
                    let silent = |i: &usize| !asked(self.endpoints[*i].0.may);
                    let first = self.sources(0).take_while(|i| *i < at).find(silent);
                    return Ok((first.or(self.sources(at).next()).unwrap_or(at), document));
                }
                Err(error) => {
                    tracing::debug!(%error, "an endpoint does not serve the image");
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            let message = format!("no host may say what {}/{}:{name} is", self.host, self.path);
            model::Denied { kind: model::ErrorKind::Forbidden, message }.into()
        }))
    }

    /// An endpoint, as it is really reached.
    pub(crate) async fn endpoint(&self, at: usize) -> Result<&Endpoint> {
        let (configured, settled) =
            self.endpoints.get(at).ok_or_else(|| Error::bad("no such endpoint"))?;
        settled
            .get_or_try_init(async || {
                let way = configured.way(&configured.origin);
                let origin = self.transport.settle(&way, configured.insecure).await?;
                Ok(Endpoint { origin, ..configured.clone() })
            })
            .await
    }

    /// A request below the repository: `manifests/latest`, `blobs/sha256:…`.
    pub(crate) fn ask<'a>(&self, endpoint: &'a Endpoint, method: Method, rest: &str) -> Ask<'a> {
        let mut target = format!("{}{}/{rest}", endpoint.root, endpoint.repository);
        if let Some(host) = &endpoint.stands_for {
            // How mirrors of several hosts are told which one is meant.
            target.push_str(if rest.contains('?') { "&ns=" } else { "?ns=" });
            target.push_str(&super::url::encode(host));
        }
        Ask {
            endpoint,
            method,
            url: Url { origin: endpoint.origin.clone(), target },
            headers: Vec::new(),
            body: Payload::Empty,
            scopes: vec![format!("repository:{}:{}", endpoint.repository, self.actions)],
        }
    }

    /// Sends it, with credentials when they are asked for. The answer has any status but 401.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Answer> {
        let mut authorization = self.auth.known(self, ask.endpoint, &ask.scopes).await?;
        for last in [false, true] {
            let answer = self.follow(ask, authorization.as_deref()).await?;
            let ours = answer.url.origin == ask.endpoint.origin;
            if answer.status != StatusCode::UNAUTHORIZED || !ours {
                return Ok(answer);
            }
            let act = act(ask);
            let asked: Vec<String> = answer
                .headers
                .get_all("www-authenticate")
                .iter()
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect();
            let refusal = self.refusal(act, answer).await;
            if last {
                return Err(refusal);
            }
            authorization = match self.auth.answer(self, ask.endpoint, &asked, &ask.scopes).await? {
                Some(authorization) => Some(authorization),
                None => return Err(refusal),
            };
        }
        Err(Error::bad("unreachable: two attempts were made"))
    }

    /// The same, with every status that is not expected an error.
    pub(crate) async fn expect(&self, ask: &Ask<'_>, statuses: &[u16]) -> Result<Answer> {
        let answer = self.send(ask).await?;
        if statuses.contains(&answer.status.as_u16()) {
            return Ok(answer);
        }
        Err(self.refusal(act(ask), answer).await)
    }

    /// Sends it, and follows redirects of what only reads. Only the endpoint itself sees the
    /// authorization, and nothing goes from TLS to plain text.
    async fn follow(&self, ask: &Ask<'_>, authorization: Option<&str>) -> Result<Answer> {
        let mut url = ask.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = ask.headers.clone();
            if let Some(authorization) = authorization.filter(|_| url.origin == ask.endpoint.origin)
            {
                headers.push(("Authorization", authorization.to_owned()));
            }
            let outgoing = Outgoing {
                method: ask.method.clone(),
                url: url.clone(),
                headers,
                body: ask.body.clone(),
                reach: ask.endpoint.way(&url.origin).reach,
            };
            let answer = self.transport.send(&outgoing).await?;
            let moved = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            if !moved || !matches!(ask.method, Method::GET | Method::HEAD) {
                return Ok(answer);
            }
            let location = answer.header("location").unwrap_or_default();
            url = url.follow(location)?;
        }
        Err(Error::bad(format!("{}: more than {MAX_REDIRECTS} redirects", ask.url.shown())))
    }

    /// An answer that is a failure, in the registry's words.
    pub(crate) async fn refusal(&self, act: String, answer: Answer) -> Error {
        let status = answer.status;
        let retry_after = answer.header("retry-after").and_then(wait);
        let body = answer.bytes(MAX_ERROR_BYTES).await.unwrap_or_default();
        let message = words(&body).unwrap_or_else(|| status.to_string());
        if status == StatusCode::UNAUTHORIZED {
            return Error::Unauthorized { act, message };
        }
        Error::Status { act, status: status.as_u16(), message, retry_after }
    }

    /// Does something again while its failure may pass.
    pub(crate) async fn retry<T, F: Future<Output = Result<T>>>(
        &self,
        mut work: impl FnMut() -> F,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            match work().await {
                Err(error) if error.is_passing() && failures + 1 < self.attempts() => {
                    failures += 1;
                    tracing::debug!(%error, failures, "the registry is asked again");
                    tokio::time::sleep(self.pause(failures, &error)).await;
                }
                done => return done,
            }
        }
    }

    /// How often something is tried. Who never answered is more likely not there, or not called
    /// that, than away for a moment: the user is told soon.
    fn attempts(&self) -> u32 {
        let all = self.settings.attempts;
        if self.transport.reached() { all } else { all.min(2) }
    }

    /// How long to wait after so many failures.
    pub(crate) fn pause(&self, failures: u32, error: &Error) -> Duration {
        let own = self.settings.pause * (1 << failures.saturating_sub(1).min(6));
        error.retry_after().unwrap_or(own).min(MAX_WAIT)
    }

    /// A document below an endpoint, verified.
    pub(crate) async fn manifest(
        &self,
        at: usize,
        reference: &str,
        want: Option<model::Digest>,
    ) -> Result<manifest::Document> {
        let endpoint = self.endpoint(at).await?;
        let mut ask = self.ask(endpoint, Method::GET, &format!("manifests/{reference}"));
        ask.headers.push(("Accept", manifest::ACCEPT.to_owned()));
        let answer = self.expect(&ask, &[200]).await?;
        let said = answer.header("content-type").map(str::to_owned);
        let promised = answer.header("docker-content-digest").map(str::to_owned);
        let bytes = answer.bytes(manifest::MAX_MANIFEST_BYTES).await?;
        let document = manifest::read(bytes, said.as_deref(), want)?;
        let have = document.digest.to_string();
        if let Some(promised) = promised.filter(|p| p.starts_with("sha256:") && *p != have) {
            return Err(Error::bad(format!("manifest: promised {promised}, have {have}")));
        }
        Ok(document)
    }
}

/// What was asked, for messages: without anything secret.
pub(crate) fn act(ask: &Ask<'_>) -> String {
    let method = match ask.method {
        // Go's spelling, which people search for.
        Method::GET => "Get",
        Method::HEAD => "Head",
        Method::POST => "Post",
        Method::PUT => "Put",
        Method::PATCH => "Patch",
        ref other => other.as_str(),
    };
    format!("{method} \"{}\"", ask.url.shown())
}

/// The first error of an error document, as Docker words it.
fn words(body: &[u8]) -> Option<String> {
    let clean = |text: &str| -> String {
        // It ends up on a terminal.
        text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect()
    };
    if let Ok(document) = serde_json::from_slice::<ErrorResponse>(body) {
        let first = document.errors.first()?;
        let code = clean(&first.code.to_ascii_lowercase().replace('_', " "));
        return Some(match clean(&first.message) {
            message if message.is_empty() => code,
            message => format!("{code}: {message}"),
        });
    }
    #[derive(serde::Deserialize)]
    struct Details {
        #[serde(alias = "message", alias = "error_description")]
        details: String,
    }
    serde_json::from_slice::<Details>(body).ok().map(|document| clean(&document.details))
}

/// `Retry-After` as seconds or as a date.
fn wait(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let now = jiff::Timestamp::now();
    u64::try_from(at.as_second() - now.as_second()).ok().map(Duration::from_secs)
}
