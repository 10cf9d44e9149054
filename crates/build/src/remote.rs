//! Work with registries for a build: on a thread and an event loop of its own, ended when nobody
//! waits for it, with the credentials of whoever asked for the build.

use crate::client::Client;
use crate::error::{Error, Result};
use crate::solve::blocking;
use model::error::HasKind;
use registry::Credentials;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Runs an operation with registries. Dropping the future ends it.
pub(crate) async fn drive<T: Send + 'static, W>(
    work: impl FnOnce() -> W + Send + 'static,
) -> Result<T>
where
    W: Future<Output = registry::Result<T>>,
{
    // Dropped with this future.
    let (_alive, gone) = oneshot::channel::<()>();
    blocking(move || {
        let done = registry::Client::drive(async move {
            tokio::select! {
                done = work() => done.map(Some),
                _ = gone => Ok::<_, registry::Error>(None),
            }
        });
        done.map_err(failed)?.ok_or(Error::Cancelled)
    })
    .await
}

pub(crate) fn failed(error: registry::Error) -> Error {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Error::Failed { kind: error.kind(), message }
}

/// What the client knows for a registry's host.
pub(crate) async fn credentials(client: &dyn Client, host: &str) -> Result<Option<Credentials>> {
    let found = client.auth(host).await?;
    Ok(found.map(|found| Credentials {
        username: found.username,
        password: found.password,
        identity_token: found.identity_token,
        registry_token: String::new(),
    }))
}

/// Events that nobody hears.
pub(crate) fn quiet() -> registry::Events {
    Arc::new(|_| {})
}
