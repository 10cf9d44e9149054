//! The client: images from and to every registry.
//!
//! An operation is a future that runs on an event loop of its own (see [`Client::drive`]): it
//! writes files and hashes as it goes, which the daemon's own loop must not wait for. Dropping the
//! future ends the operation; what was downloaded stays and is taken up by the next.

mod artifact;
mod auth;
mod blob;
pub(crate) mod body;
pub(crate) mod challenge;
mod endpoint;
mod fetch;
mod hosts;
mod look;
pub mod manifest;
mod platform;
mod pull;
mod push;
mod registries;
mod search;
mod send;
pub(crate) mod session;
mod settings;
mod tls;
mod toml_file;
pub(crate) mod transport;
mod upload;
pub(crate) mod url;

pub use artifact::BlobReader;
pub use auth::Credentials;
pub use fetch::Download;
pub use look::{Found, Published};
pub use platform::Platform;
pub use pull::{Described, PullRequest, Pulled};
pub use push::{PushRequest, Pushed};
pub use search::SearchHit;
pub use send::{Parcel, WantedLayer};
pub use settings::Settings;

use crate::error::{Error, Result};
use model::reference::DEFAULT_HOST;
use session::Session;
use std::future::Future;
use std::sync::Arc;
use store::Store;

/// Talks to registries on behalf of a store. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) store: Store,
    pub(crate) settings: Arc<Settings>,
}

/// What a login gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Token that replaces the password; a secret.
    pub identity_token: Option<String>,
}

impl Client {
    /// A client for this store.
    ///
    /// # Errors
    /// The settings are wrong.
    pub fn new(store: Store, settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self { store, settings: Arc::new(settings) })
    }

    /// The same client, but a host (`host[:port]`) needs no certificate that holds, and no TLS.
    #[must_use]
    pub fn tolerating(&self, host: &str) -> Self {
        let mut settings = (*self.settings).clone();
        settings.insecure.push(host.to_owned());
        Self { store: self.store.clone(), settings: Arc::new(settings) }
    }

    /// Runs an operation to its end on an event loop of this thread, which must not be in one.
    ///
    /// # Errors
    /// The loop cannot be made, or the operation's own.
    pub fn drive<T, E: From<Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::io("start an event loop", source))?;
        runtime.block_on(work)
    }

    /// Checks credentials with a registry (`host[:port]`, or empty for Docker Hub).
    ///
    /// # Errors
    /// They are not good, or the registry does not answer.
    pub async fn login(&self, host: &str, credentials: Credentials) -> Result<Login> {
        let host = registry_host(host);
        let session = Session::to_write(&self.settings, (&host, ""), Some(credentials))?;
        let identity_token = session.retry(|| session.login()).await?;
        Ok(Login { identity_token })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client(…)")
    }
}

/// The host that a server address means: Docker Hub has had several.
pub fn registry_host(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    match host {
        "" | "index.docker.io" | "docker.io" | "registry-1.docker.io" => DEFAULT_HOST.to_owned(),
        host => host.to_ascii_lowercase(),
    }
}

/// Where progress is told; called from several threads, and must not wait.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// What happens in a pull or a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pull found what it will fetch: repository's path, and tag or digest.
    Pulling {
        /// Without the host, as Docker shows it.
        name: String,
        /// Tag or digest.
        reference: String,
    },
    /// A push begins, to this repository.
    Pushing {
        /// Host and path.
        repository: String,
    },
    /// A layer's state.
    Layer {
        /// Short digest.
        id: String,
        /// What happens to it.
        state: LayerState,
    },
    /// Something that the user should know.
    Notice(String),
}

/// What happens to a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// It will be fetched.
    Found,
    /// Others are fetched first.
    Waiting,
    /// It is being fetched.
    Downloading(Progress),
    /// It will be asked for again after so many seconds.
    Retrying(u64),
    /// All of it is here.
    Downloaded,
    /// It is being unpacked.
    Extracting(Progress),
    /// It is unpacked.
    Pulled,
    /// It was here before.
    Present,
    /// It will be sent.
    Preparing,
    /// It is being sent.
    Uploading(Progress),
    /// The registry has it now.
    Pushed,
    /// The registry had it before.
    Held,
    /// The registry took it from another of its repositories.
    Mounted(String),
}

/// How far something is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Done.
    pub current: u64,
    /// In all.
    pub total: u64,
}
