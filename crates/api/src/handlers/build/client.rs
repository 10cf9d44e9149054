//! A client that sent everything at once: the context, and credentials in a header. It has no
//! secrets and no agents.

use std::collections::BTreeMap;

use build::Error;
use build::client::{Client, Credentials, Future, LocalAsk, LocalDir};

/// Whoever asked by `POST /build`.
pub(super) struct TarClient {
    context: Option<LocalDir>,
    credentials: BTreeMap<String, Credentials>,
}

impl TarClient {
    /// With the directory that was sent.
    pub(super) fn of(context: LocalDir, credentials: BTreeMap<String, Credentials>) -> Self {
        Self { context: Some(context), credentials }
    }

    /// With nothing; the context is elsewhere.
    pub(super) fn without_context(credentials: BTreeMap<String, Credentials>) -> Self {
        Self { context: None, credentials }
    }
}

impl Client for TarClient {
    fn local<'a>(&'a self, ask: &'a LocalAsk) -> Future<'a, build::Result<LocalDir>> {
        let found = self.context.clone().filter(|_| ask.name == "context");
        let missing = || Error::not_found(format!("no directory {:?} was sent", ask.name));
        Box::pin(async move { found.ok_or_else(missing) })
    }

    fn auth<'a>(&'a self, host: &'a str) -> Future<'a, build::Result<Option<Credentials>>> {
        Box::pin(async move { Ok(self.credentials.get(host).cloned()) })
    }
}
