//! Who we are to a registry: answers to challenges, and tokens. Laws of this module: a credential
//! goes to the origin it was given for, or to a token realm that the origin names inside its own
//! domain; a mirror and a redirect's target never see it; nothing falls back to less.

use super::body::Payload;
use super::challenge::{self, Challenge};
use super::endpoint::Endpoint;
use super::session::Session;
use super::transport::{Answer, Outgoing, basic};
use super::url::{Origin, Scheme, Url, encode};
use crate::error::{Error, Result};
use hyper::Method;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest answer of a token server.
const MAX_TOKEN_BYTES: usize = 256 << 10;
const CLIENT_ID: &str = "docker";

/// What proves who we are. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Account.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// Token that is exchanged for others, instead of a password.
    pub identity_token: String,
    /// Token that is sent as it is.
    pub registry_token: String,
}

impl Credentials {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// What is known about authorization at one registry.
pub(super) struct Auth {
    credentials: Option<Credentials>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `Authorization` by origin and scopes.
    headers: HashMap<(Origin, String), String>,
    /// Where an origin's tokens are had.
    realms: HashMap<Origin, (Url, Option<String>)>,
    /// Token that a login gave for later.
    refresh: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
}

impl Auth {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        let credentials = credentials.filter(|credentials| !credentials.is_empty());
        Self { credentials, state: Mutex::default() }
    }

    /// What this endpoint may be told.
    fn credentials<'a>(&'a self, endpoint: &'a Endpoint) -> Option<&'a Credentials> {
        let own = self.credentials.as_ref().filter(|_| endpoint.own);
        own.or(endpoint.credentials.as_ref())
    }

    /// The authorization that is already known to serve, or can be had without being asked.
    pub(super) async fn known(
        &self,
        session: &Session,
        endpoint: &Endpoint,
        scopes: &[String],
    ) -> Result<Option<String>> {
        let key = (endpoint.origin.clone(), scopes.join(" "));
        let realm = {
            let state = self.state();
            if let Some(header) = state.headers.get(&key) {
                return Ok(Some(header.clone()));
            }
            state.realms.get(&endpoint.origin).cloned()
        };
        match realm {
            None => Ok(None),
            Some((realm, service)) => {
                let header =
                    self.token(session, endpoint, (&realm, service.as_deref()), scopes).await?;
                self.state().headers.insert(key, header.clone());
                Ok(Some(header))
            }
        }
    }

    /// The answer to challenges; nothing when there is none to give.
    pub(super) async fn answer(
        &self,
        session: &Session,
        endpoint: &Endpoint,
        asked: &[String],
        scopes: &[String],
    ) -> Result<Option<String>> {
        let challenges: Vec<Challenge> =
            asked.iter().flat_map(|text| challenge::parse(text)).collect();
        let key = (endpoint.origin.clone(), scopes.join(" "));
        self.state().headers.remove(&key);
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope } => Some((realm, service, scope)),
            Challenge::Basic => None,
        });
        let header = if let Some((realm, service, scope)) = bearer {
            let realm = Url::parse(realm)?;
            // A registry knows its own names better: what it asks for is asked for too.
            let mut wanted = scopes.to_vec();
            let name = |scope: &str| scope.rsplit_once(':').map(|(name, _)| name.to_owned());
            wanted.extend(scope.clone().filter(|s| !scopes.iter().any(|o| name(o) == name(s))));
            let header =
                self.token(session, endpoint, (&realm, service.as_deref()), &wanted).await?;
            self.state().realms.insert(endpoint.origin.clone(), (realm, service.clone()));
            header
        } else if challenges.contains(&Challenge::Basic) {
            match self.credentials(endpoint) {
                Some(own) if !own.username.is_empty() => {
                    basic(&format!("{}:{}", own.username, own.password))
                }
                _ => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        self.state().headers.insert(key, header.clone());
        Ok(Some(header))
    }

    /// A token from where a registry says (distribution specification, "token authentication").
    async fn token(
        &self,
        session: &Session,
        endpoint: &Endpoint,
        (realm, service): (&Url, Option<&str>),
        scopes: &[String],
    ) -> Result<String> {
        let registry = &endpoint.origin;
        if registry.scheme == Scheme::Https && realm.origin.scheme == Scheme::Http {
            let message =
                format!("{registry} asks for a token from {}: not without TLS", realm.origin);
            return Err(Error::bad(message));
        }
        let own = self.credentials(endpoint);
        if let Some(own) = own {
            if !own.registry_token.is_empty() {
                return bearer(&own.registry_token);
            }
            if !session.settings.trusts_realm(registry, &realm.origin) {
                return Err(Error::bad(format!(
                    "{registry} asks for a token from {}, outside its own domain: credentials \
                     were not sent",
                    realm.origin
                )));
            }
        }
        let outgoing = match own {
            Some(own) if !own.identity_token.is_empty() => {
                exchange(realm, service, scopes, &own.identity_token)
            }
            own => request(realm, service, scopes, own),
        };
        let outgoing = Outgoing { reach: endpoint.way(&realm.origin).reach, ..outgoing };
        let answer = session
            .retry(|| async {
                let answer = session.transport.send(&outgoing).await?;
                let status = answer.status.as_u16();
                if matches!(status, 408 | 429 | 500..=599) {
                    return Err(self.refused(session, realm, answer).await);
                }
                Ok(answer)
            })
            .await?;
        if answer.status != hyper::StatusCode::OK {
            // A redirect is an error too: the request carries a secret.
            return Err(self.refused(session, realm, answer).await);
        }
        let bytes = answer.bytes(MAX_TOKEN_BYTES).await?;
        let answer: TokenAnswer = super::manifest::json("token", &bytes)?;
        if let Some(refresh) = answer.refresh_token {
            self.state().refresh = Some(refresh);
        }
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        bearer(&token)
    }

    async fn refused(&self, session: &Session, realm: &Url, answer: Answer) -> Error {
        let act = format!("token from {}", realm.shown());
        session.refusal(act, answer).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that replaces the password from now on, if the registry gave one.
    pub(super) fn refresh(&self) -> Option<String> {
        self.state().refresh.clone()
    }
}

fn request(
    realm: &Url,
    service: Option<&str>,
    scopes: &[String],
    own: Option<&Credentials>,
) -> Outgoing {
    let mut url = realm.clone();
    if let Some(service) = service {
        url = url.with("service", service);
    }
    for scope in scopes {
        url = url.with("scope", scope);
    }
    let mut headers = Vec::new();
    if let Some(own) = own.filter(|own| !own.username.is_empty()) {
        url = url.with("account", &own.username);
        url = url.with("client_id", CLIENT_ID).with("offline_token", "true");
        headers.push(("Authorization", basic(&format!("{}:{}", own.username, own.password))));
    }
    Outgoing { method: Method::GET, url, headers, body: Payload::Empty, reach: None }
}

fn exchange(realm: &Url, service: Option<&str>, scopes: &[String], token: &str) -> Outgoing {
    let form = format!(
        "grant_type=refresh_token&service={}&client_id={CLIENT_ID}&scope={}&refresh_token={}",
        encode(service.unwrap_or_default()),
        encode(&scopes.join(" ")),
        encode(token)
    );
    Outgoing {
        method: Method::POST,
        url: realm.clone(),
        headers: vec![("Content-Type", "application/x-www-form-urlencoded".into())],
        body: Payload::Bytes(form.into()),
        reach: None,
    }
}

fn bearer(token: &str) -> Result<String> {
    if token.is_empty() || !token.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Err(Error::bad("the registry's token is none"));
    }
    Ok(format!("Bearer {token}"))
}
