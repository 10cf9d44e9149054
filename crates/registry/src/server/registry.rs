//! One request to one answer: which operation, who asks, whether they may, and what comes of it.
//! The operation that was authorised is the value that is carried out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request};
use serde_json::json;

use super::access::htpasswd::Accounts;
use super::access::token::{Issuer, Keys, scopes};
use super::access::{Grant, Identity, Rules};
use super::answer::{self, Answer};
use super::config::Config;
use super::events::Events;
use super::handle::{Query, blob, blocking, list, manifest, upload};
use super::index::Seconds;
use super::metrics::Metrics;
use super::name::Name;
use super::refusal::{Code, Refusal};
use super::route::{Action, Route};
use super::storage::Storage;
use super::uploads::Uploads;
use super::upstream::Upstream;

/// Where content is, unless somebody chose otherwise.
const ROOT: &str = "/var/lib/estiba/registry";

/// The registry, shared by all connections.
pub(crate) struct Shared {
    pub(crate) storage: Arc<Storage>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) config: Config,
    pub(crate) upstream: Option<Upstream>,
    rules: Rules,
    accounts: Option<Arc<Accounts>>,
    issuer: Option<Issuer>,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// It comes from this host.
    pub(crate) local: bool,
    /// It is encrypted.
    pub(crate) tls: bool,
}

impl Shared {
    /// Opens everything that the configuration names. Must be called inside an event loop.
    pub(crate) fn open(config: Config) -> Result<Arc<Self>, String> {
        let root = config.root.clone().unwrap_or_else(|| PathBuf::from(ROOT));
        let storage = Arc::new(Storage::open(&root)?);
        let uploads = Arc::new(Uploads::new(storage.uploads(), config.limits.blob_bytes));
        let accounts = config.auth.htpasswd.as_deref().map(Accounts::open).transpose()?;
        let issuer = issuer(&config, &root)?;
        let rules = Rules {
            accounts: accounts.is_some() || issuer.is_some(),
            rules: config.access.clone(),
        };
        if !rules.rules.is_empty() && !rules.accounts {
            return Err("`access` rules need `auth`: without it nobody can be told apart".into());
        }
        Ok(Arc::new(Self {
            events: Events::start(&config.notify)?,
            upstream: config.upstream.as_ref().map(Upstream::open).transpose()?,
            metrics: Metrics::default(),
            accounts: accounts.map(Arc::new),
            storage,
            uploads,
            config,
            rules,
            issuer,
        }))
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = match self.dispatch(request, peer).await {
            Ok(answer) => answer,
            Err(refusal) => {
                if refusal.code == Code::Internal {
                    tracing::error!(%method, path, error = refusal.message, "request failed");
                }
                answer::refused(refusal)
            }
        };
        self.metrics.answered(answer.status().as_u16());
        tracing::debug!(%method, path, status = answer.status().as_u16(), "request");
        answer
    }

    async fn dispatch(&self, request: Request<Incoming>, peer: Peer) -> Result<Answer, Refusal> {
        let (head, body) = request.into_parts();
        let route = Route::parse(head.method.as_str(), head.uri.path())?;
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let who = self.who(&head.headers, &route, peer).await?;
        self.authorise(&who, &route, &head.headers, peer)?;
        if let Some((_, action)) = route.needs() {
            self.is_possible(action)?;
        }
        self.act(route, (&head.method, &head.headers), &query, &who, (peer, body)).await
    }

    async fn act(
        &self,
        route: Route,
        (method, headers): (&Method, &HeaderMap),
        query: &Query,
        who: &Identity,
        (peer, body): (Peer, Incoming),
    ) -> Result<Answer, Refusal> {
        let may_read = |name: &Name| self.rules.allow(who, name, Action::Pull);
        match &route {
            Route::Health => Ok(answer::whole("ok\n", "text/plain; charset=utf-8")),
            Route::Base => answer::json(&json!({})),
            Route::Metrics => self.scrape(who, peer),
            Route::Token => self.token(who, query),
            Route::Catalog => list::catalog(self, query, may_read),
            Route::Tags(name) => list::tags(self, name, query),
            Route::Referrers(name, digest) => manifest::referrers(self, name, digest, query),
            Route::ManifestGet(name, it) => manifest::get(self, method, headers, name, it).await,
            Route::ManifestPut(name, it) => manifest::put(self, headers, name, it, body).await,
            Route::ManifestDelete(name, it) => manifest::delete(self, name, it).await,
            Route::BlobGet(name, digest) => blob::get(self, method, headers, name, digest).await,
            Route::BlobDelete(name, digest) => blob::delete(self, name, digest).await,
            Route::UploadStart(name) => upload::start(self, name, query, may_read, body).await,
            Route::UploadStatus(name, id) => upload::status(self, name, id),
            Route::UploadAppend(name, id) => upload::append(self, name, id, headers, body).await,
            Route::UploadFinish(name, id) => {
                upload::finish(self, (name, id), query, headers, body).await
            }
            Route::UploadCancel(name, id) => upload::cancel(self, name, id),
        }
    }

    /// Who asks, by password or token.
    async fn who(
        &self,
        headers: &HeaderMap,
        route: &Route,
        peer: Peer,
    ) -> Result<Identity, Refusal> {
        let given = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        let Some((scheme, rest)) = given.and_then(|it| it.split_once(' ')) else {
            return Ok(Identity::Anonymous);
        };
        let bad =
            |why: &str| self.challenge(Refusal::new(Code::Unauthorized, why), route, headers, peer);
        if scheme.eq_ignore_ascii_case("bearer") {
            let Some(issuer) = &self.issuer else { return Err(bad("no tokens are taken here")) };
            let grants = issuer.read(rest.trim(), self.now()).map_err(bad)?;
            return Ok(Identity::Bearer(grants));
        }
        let Some(accounts) = &self.accounts else { return Ok(Identity::Anonymous) };
        let decoded = STANDARD.decode(rest.trim()).ok().and_then(|it| String::from_utf8(it).ok());
        let pair = decoded.as_deref().and_then(|it| it.split_once(':'));
        let Some((user, password)) = pair else { return Err(bad("the credentials are malformed")) };
        let (accounts, user, password) =
            (Arc::clone(accounts), user.to_owned(), password.to_owned());
        let checked = user.clone();
        let good = blocking(move || Ok(accounts.check(&checked, &password))).await?;
        if good { Ok(Identity::User(user)) } else { Err(bad("wrong user name or password")) }
    }

    fn authorise(
        &self,
        who: &Identity,
        route: &Route,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<(), Refusal> {
        let allowed = match route.needs() {
            Some((name, action)) => self.rules.allow(who, name, action),
            // Clients find out here how to log in.
            None => match route {
                Route::Base | Route::Catalog => !self.rules.accounts || *who != Identity::Anonymous,
                _ => true,
            },
        };
        if allowed {
            return Ok(());
        }
        if let (Identity::User(user), Some((name, action))) = (who, route.needs()) {
            let message = format!("{user} may not {} {name}", action.as_str());
            return Err(Refusal::new(Code::Denied, message));
        }
        let refusal = Refusal::new(Code::Unauthorized, "authentication required");
        Err(self.challenge(refusal, route, headers, peer))
    }

    /// What this registry does for nobody.
    fn is_possible(&self, action: Action) -> Result<(), Refusal> {
        let why = match action {
            Action::Pull => return Ok(()),
            _ if self.config.read_only => "this registry is read-only",
            _ if self.upstream.is_some() && action == Action::Push => {
                "this registry is a cache of another one: push there"
            }
            Action::Delete if self.config.delete == Some(false) => "nothing is deleted here",
            _ => return Ok(()),
        };
        Err(Refusal::new(Code::Unsupported, why))
    }

    /// Says where and how to authenticate.
    fn challenge(
        &self,
        refusal: Refusal,
        route: &Route,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Refusal {
        let text = match (&self.issuer, &self.config.auth.token) {
            (Some(issuer), Some(token)) if *route != Route::Token => {
                let realm = token.realm.clone().unwrap_or_else(|| own_realm(headers, peer));
                let scope = route.needs().map(|(name, action)| {
                    let actions = match action {
                        Action::Pull => "pull",
                        Action::Push => "pull,push",
                        Action::Delete => "delete",
                    };
                    format!(",scope=\"repository:{name}:{actions}\"")
                });
                let scope = scope.unwrap_or_default();
                format!("Bearer realm=\"{realm}\",service=\"{}\"{scope}", issuer.service)
            }
            _ => "Basic realm=\"estiba registry\"".to_owned(),
        };
        match HeaderValue::from_str(&text) {
            Ok(value) => refusal.with_header(WWW_AUTHENTICATE, value),
            Err(_) => refusal,
        }
    }

    /// `GET /token`: a token for what the account may do of what it asks for.
    fn token(&self, who: &Identity, query: &Query) -> Result<Answer, Refusal> {
        let none = || Refusal::not_found("/token");
        let issuer = self.issuer.as_ref().ok_or_else(none)?;
        let asked = query.values("scope").flat_map(scopes);
        let granted: Vec<Grant> = asked.filter_map(|grant| self.grant(who, grant)).collect();
        let subject = match who {
            Identity::User(user) => user.as_str(),
            _ => "",
        };
        let now = self.now();
        let (token, life) = issuer.issue(subject, &granted, now).ok_or_else(none)?;
        answer::json(&json!({ "token": token, "access_token": token, "expires_in": life }))
    }

    /// As much of a scope as the rules allow.
    fn grant(&self, who: &Identity, mut grant: Grant) -> Option<Grant> {
        let name = Name::parse(&grant.name).filter(|_| grant.kind == "repository")?;
        grant.actions.retain(|action| {
            let all = [Action::Pull, Action::Push, Action::Delete];
            let wanted = all.into_iter().find(|it| it.as_str() == action);
            wanted.is_some_and(|action| self.rules.allow(who, &name, action))
        });
        (!grant.actions.is_empty()).then_some(grant)
    }

    /// `GET /metrics`: for this host, and for whoever has an account.
    fn scrape(&self, who: &Identity, peer: Peer) -> Result<Answer, Refusal> {
        if !peer.local && !matches!(who, Identity::User(_)) {
            return Err(Refusal::new(Code::Denied, "metrics are for this host and for accounts"));
        }
        let text = self.storage.read(|index| self.metrics.text(index));
        Ok(answer::whole(text, "text/plain; version=0.0.4"))
    }

    /// Whether so many more bytes may be kept. `new` content counts against the whole.
    pub(crate) fn allow_bytes(&self, name: &Name, bytes: u64, new: bool) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let full = |what: &str, limit: u64| {
            let message = format!("{what} holds at most {limit} bytes: delete something first");
            Err(Refusal::new(Code::Denied, message))
        };
        if new
            && limits.total_bytes > 0
            && self.storage.read(|index| index.bytes()) + bytes > limits.total_bytes
        {
            return full("this registry", limits.total_bytes);
        }
        if limits.repository_bytes > 0
            && self.storage.read(|index| index.repository_bytes(name)) + bytes
                > limits.repository_bytes
        {
            return full("a repository", limits.repository_bytes);
        }
        Ok(())
    }

    /// Whether a manifest's parts must be here: a cache fetches them when they are asked for.
    pub(crate) fn is_complete_needed(&self) -> bool {
        self.upstream.is_none()
    }

    /// Seconds since the epoch.
    pub(crate) fn now(&self) -> Seconds {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// Our own token endpoint, as the client reached us.
fn own_realm(headers: &HeaderMap, peer: Peer) -> String {
    let plain = |text: &&str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
    };
    let host = headers.get(HOST).and_then(|it| it.to_str().ok()).filter(plain);
    let scheme = if peer.tls { "https" } else { "http" };
    format!("{scheme}://{}/token", host.unwrap_or("localhost"))
}

fn issuer(config: &Config, root: &Path) -> Result<Option<Issuer>, String> {
    let Some(token) = &config.auth.token else { return Ok(None) };
    let keys = match (&token.jwks, &token.realm) {
        (Some(path), Some(_)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("read keys {}: {error}", path.display()))?;
            Keys::from_jwks(&text).map_err(|why| format!("keys {}: {why}", path.display()))?
        }
        (None, None) if config.auth.htpasswd.is_some() => Keys::own(&secret(root)?),
        (None, None) => return Err("our own tokens need accounts: give `htpasswd`".into()),
        _ => return Err("tokens of another issuer need both its `realm` and its `jwks`".into()),
    };
    let (issuer, service) = (token.issuer.clone(), token.service.clone());
    Ok(Some(Issuer { issuer, service, keys }))
}

/// The key that our own tokens are signed with, made once.
fn secret(root: &Path) -> Result<Vec<u8>, String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = root.join("token.key");
    if let Ok(secret) = std::fs::read(&path)
        && secret.len() == 32
    {
        return Ok(secret);
    }
    let mut secret = vec![0u8; 32];
    getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&secret))
        .map_err(|error| format!("write {}: {error}", path.display()))?;
    Ok(secret)
}
