//! Sessions: connections on which a client offers services (files, secrets, credentials) to the
//! builds it asks for. A build names its session by id. Knows no service.
//!
//! ```text
//! client ── POST /session, Upgrade: h2c, X-Docker-Expose-Session-* ──▶ announced
//!        ◀═ HTTP/2, the daemon is the client ══════════════════════▶  open, found by id
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::buildkit::line::Line;
use hyper::header::HeaderMap;
use tokio::sync::watch;

use crate::failure::Failure;

/// How many sessions may be open at once.
const MAX_SESSIONS: usize = 1024;
/// The longest id or name.
const MAX_NAME_BYTES: usize = 128;
/// How many methods a client may announce.
const MAX_METHODS: usize = 128;
/// How long a build waits for the session it names: clients open both at the same time.
const FIND_TIMEOUT: Duration = Duration::from_secs(10);

/// The open sessions of a node.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Arc<Session>>>,
    changed: watch::Sender<()>,
}

/// What a client says of a session before it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// What builds call it by.
    pub id: String,
    /// Identifies the client's directory across sessions, so that what was sent before is known;
    /// empty if the client wants no such thing.
    pub shared_key: String,
    /// Paths of the methods it serves, in lower case.
    methods: BTreeSet<String>,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    announcement: Announcement,
    line: Line,
    gone: watch::Receiver<bool>,
}

impl Announcement {
    /// Reads and checks the headers.
    ///
    /// # Errors
    /// An id that is missing, too long, or not made of letters, digits, `-`, `_` and `.`.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let id = text("x-docker-expose-session-uuid").unwrap_or_default().to_owned();
        if !is_id(&id) {
            return Err(Failure::invalid(format!("invalid session id {id:?}")));
        }
        let shared_key = text("x-docker-expose-session-sharedkey").unwrap_or_default().to_owned();
        let methods = headers.get_all("x-docker-expose-session-grpc-method");
        let methods = methods.iter().filter_map(|value| value.to_str().ok());
        let methods = methods.take(MAX_METHODS).map(str::to_ascii_lowercase).collect();
        let bounded = shared_key.len() <= MAX_NAME_BYTES;
        Ok(Self { id, shared_key: if bounded { shared_key } else { String::new() }, methods })
    }
}

/// Whether a text may be an id that a client chose: it ends up in logs and in paths.
pub(crate) fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(plain)
}

impl Session {
    /// The id.
    pub(crate) fn id(&self) -> &str {
        &self.announcement.id
    }

    /// What identifies the client's directory across sessions; empty without one.
    pub(crate) fn shared_key(&self) -> &str {
        &self.announcement.shared_key
    }

    /// Whether the client serves a method (`/moby.filesync.v1.FileSync/DiffCopy`).
    pub(crate) fn serves(&self, method: &str) -> bool {
        self.announcement.methods.contains(&method.to_ascii_lowercase())
    }

    /// Where calls go.
    pub(crate) fn line(&self) -> Line {
        self.line.clone()
    }

    /// Returns when the client is gone.
    pub(crate) async fn gone(&self) {
        let mut gone = self.gone.clone();
        // A dropped sender has gone too.
        let _ = gone.wait_for(|gone| *gone).await;
    }
}

impl Sessions {
    /// Refuses what cannot be opened.
    ///
    /// # Errors
    /// The id is taken, or there are too many.
    pub(crate) fn check(&self, id: &str) -> Result<(), Failure> {
        let open = self.lock();
        if open.contains_key(id) {
            return Err(Failure::invalid(format!("session {id} already exists")));
        }
        match open.len() < MAX_SESSIONS {
            true => Ok(()),
            false => Err(Failure::new(
                hyper::StatusCode::SERVICE_UNAVAILABLE,
                format!("open session {id}: {MAX_SESSIONS} sessions are open already"),
            )),
        }
    }

    /// Opens a session on a connection and keeps it until the client leaves.
    pub(crate) async fn run<I>(&self, announcement: Announcement, io: I)
    where
        I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let id = announcement.id.clone();
        let (line, work) = match Line::open(io).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(id, %error, "open a session");
                return;
            }
        };
        let (ended, gone) = watch::channel(false);
        let session = Arc::new(Session { announcement, line, gone });
        if !self.enter(&session) {
            return;
        }
        tracing::debug!(id, "session opened");
        if let Err(error) = work.await {
            tracing::debug!(id, %error, "session broke off");
        }
        self.lock().remove(&id);
        ended.send_replace(true);
        self.changed.send_replace(());
    }

    /// Two connections may have passed the check with one id; the first one has it.
    fn enter(&self, session: &Arc<Session>) -> bool {
        let mut open = self.lock();
        if open.len() >= MAX_SESSIONS || open.contains_key(session.id()) {
            return false;
        }
        open.insert(session.id().to_owned(), Arc::clone(session));
        drop(open);
        self.changed.send_replace(());
        true
    }

    /// A session by id, waiting a while for it to open.
    pub(crate) async fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.find_within(id, FIND_TIMEOUT).await
    }

    async fn find_within(&self, id: &str, patience: Duration) -> Option<Arc<Session>> {
        let mut changed = self.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                if let Some(session) = self.lock().get(id) {
                    return Some(Arc::clone(session));
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, search).await.ok().flatten()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(id: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-docker-expose-session-uuid", HeaderValue::from_str(id).unwrap());
        headers.append(
            "x-docker-expose-session-grpc-method",
            HeaderValue::from_static("/moby.filesync.v1.FileSync/DiffCopy"),
        );
        headers
    }

    #[test]
    fn ids_are_plain_names() {
        let read = Announcement::read(&headers("yfqd4h.x_1-2")).unwrap();
        assert_eq!(read.id, "yfqd4h.x_1-2");
        assert!(read.methods.contains("/moby.filesync.v1.filesync/diffcopy"));
        for id in ["", "a/b", "../x", "a b", "a\tb", &"x".repeat(129)] {
            assert!(Announcement::read(&headers(id)).is_err(), "{id:?}");
        }
    }

    #[tokio::test]
    async fn a_session_that_never_opens_is_not_found() {
        let sessions = Sessions::default();
        assert!(sessions.find_within("nobody", Duration::from_millis(10)).await.is_none());
    }
}
