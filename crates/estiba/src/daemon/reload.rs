//! SIGHUP: who may do what is read anew. What is wrong then is said, and what was in force stays.

use std::sync::Arc;

use api::{Authority, AuthorityConfig};
use tokio::signal::unix::{SignalKind, signal};

/// Takes in what `read` gives at every SIGHUP. Never ends.
pub(crate) async fn at_hangup(
    authority: Arc<Authority>,
    read: impl Fn() -> Result<AuthorityConfig, String>,
) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        let reloaded =
            read().and_then(|config| authority.reload(&config).map_err(|error| error.to_string()));
        match reloaded {
            Ok(()) => tracing::info!("SIGHUP: authorization reloaded"),
            Err(why) => tracing::error!("SIGHUP: authorization stays as it was: {why}"),
        }
    }
}
