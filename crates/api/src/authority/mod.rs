//! Who may do what: the rules and plugins that every request passes, and the record of what they
//! decided. Rules judge typed values: those that are executed afterwards, and nothing else.
//!
//! ```text
//! connection ─▶ Peer ─▶ admit: rule and class ─▶ object: whose is it ─▶ plugins (AuthZReq)
//!                          │                         │                     │
//!                          ▼                         ▼                     ▼
//!                        audit, one line per decision: file, append only, chained by hashes
//!
//! handler ─▶ Guard::review ─▶ the container, exec, volume, build as it would be ─▶ audit
//! ```
//!
//! Decisions are made in [`model::policy`]; this module knows where a request is judged and how a
//! refusal looks. It executes nothing.

mod audit;
mod certificate;
mod class;
mod document;
mod guard;
mod names;
mod object;
mod plugin;

pub(crate) use certificate::read as read_certificate;
pub(crate) use guard::Guard;
pub(crate) use object::target;
pub(crate) use plugin::{Asked, MAX_BODY_BYTES, Plugins, is_json};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hyper::Method;
use model::policy::{Client, Policy, UnixPeer};

use crate::call::Peer;
use crate::failure::Failure;
use audit::{Audit, Line};
use names::Names;

/// What the daemon's configuration says of authorization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityConfig {
    /// The file with the rules; `None`: everybody who can connect may do everything.
    pub policy: Option<PathBuf>,
    /// Names of authorization plugins, asked in this order.
    pub plugins: Vec<String>,
}

/// The rules could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The rules say something that is none.
    #[error("authorization policy {}: {why}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The record of decisions could not be opened.
    #[error("open audit log {}: {source}", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Rules and plugins in force. They are replaced as a whole, or not at all.
#[derive(Debug, Default)]
pub struct Authority {
    state: RwLock<Arc<State>>,
    audit: Mutex<Option<Audit>>,
    requests: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    policy: Option<Arc<Policy>>,
    names: Names,
    /// Whether allowed looks are written down, and whether nothing goes without being so.
    record: (bool, bool),
    plugins: Arc<[String]>,
}

impl Authority {
    /// Reads the rules.
    ///
    /// # Errors
    /// A file cannot be read, says something that is not known, or names nobody there is.
    pub fn load(config: &AuthorityConfig) -> Result<Self, AuthorityError> {
        let authority = Self::default();
        authority.reload(config)?;
        Ok(authority)
    }

    /// Reads the rules anew and opens the record anew, so that one that was put aside is left
    /// alone. With an error everything stays as it was.
    ///
    /// # Errors
    /// As [`Authority::load`].
    pub fn reload(&self, config: &AuthorityConfig) -> Result<(), AuthorityError> {
        let mut state = State { plugins: config.plugins.clone().into(), ..State::default() };
        let mut audit = None;
        if let Some(path) = &config.policy {
            let read = document::read(path)?;
            if let Some(settings) = read.audit {
                let last = self.audit().as_ref().and_then(Audit::last);
                audit = Some(Audit::open(Path::new(&settings.file), last)?);
                state.record = (settings.reads, settings.required);
            }
            state.policy = Some(Arc::new(read.policy));
            state.names = read.names;
        }
        *self.audit() = audit;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        Ok(())
    }

    /// Whether the rules could be read, without putting them in force.
    ///
    /// # Errors
    /// As [`Authority::load`].
    pub fn validate(config: &AuthorityConfig) -> Result<(), AuthorityError> {
        config.policy.as_deref().map_or(Ok(()), |path| document::read(path).map(drop))
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn audit(&self) -> MutexGuard<'_, Option<Audit>> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of the plugins in force.
    pub(crate) fn plugins(&self) -> Arc<[String]> {
        Arc::clone(&self.state().plugins)
    }

    /// Decides whether the client may ask for this operation at all.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: &Peer,
        method: &Method,
        pattern: &str,
        path: &str,
    ) -> Result<Guard, Failure> {
        let state = self.state();
        let Some(policy) = state.policy.clone() else { return Ok(Guard::default()) };
        let class = class::of(method, pattern);
        let client = client(peer, &state.names);
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let line = Line {
            request: number,
            client: client.clone(),
            method: method.to_string(),
            path: path.to_owned(),
            class,
        };
        let admitted = policy.permits(&client, class);
        let (rule, outcome) = match admitted {
            Ok(rule) => (rule.clone(), Ok(())),
            Err(refusal) => {
                let name = refusal.rule.clone();
                (model::policy::Rule { name, ..Default::default() }, Err(refusal))
            }
        };
        let guard = Guard::new(Arc::clone(self), policy, rule, line);
        guard.decide("request", path, outcome)?;
        Ok(guard)
    }

    /// Writes a decision down. What cannot be written is refused where the rules say so.
    fn record(&self, decided: &audit::Decision<'_>) -> Result<(), Failure> {
        let (reads, required) = self.state().record;
        let looks = decided.line.class.is_read();
        if decided.refusal.is_none() && looks && !reads {
            return Ok(());
        }
        let mut audit = self.audit();
        let Some(log) = audit.as_mut() else { return Ok(()) };
        let Err(error) = log.write(decided) else { return Ok(()) };
        tracing::error!(%error, "write the audit log");
        if required {
            return Err(Failure::new(
                hyper::StatusCode::SERVICE_UNAVAILABLE,
                format!("the audit log cannot be written, and nothing is done without it: {error}"),
            ));
        }
        Ok(())
    }
}

/// Who asks, with the names that this host has for numbers.
fn client(peer: &Peer, names: &Names) -> Client {
    let unix = peer.credentials.map(|(uid, gid, pid)| {
        let mut gids = vec![gid];
        gids.extend(peer.groups.iter().copied().filter(|group| *group != gid));
        UnixPeer { uid, gids, pid, user: names.user(uid).map(str::to_owned) }
    });
    Client { peer: unix, certificate: peer.certificate.as_deref().cloned() }
}
