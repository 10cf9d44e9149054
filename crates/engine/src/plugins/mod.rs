//! Plugins: programs beside the daemon that speak Docker's plugin protocol (v1.2) over a socket.
//! Found by name, activated at first use, asked by `POST /<Method>` with JSON both ways.
//!
//! ```text
//!  network, volume, authorization, log driver named N
//!        │ find(N, "NetworkDriver")
//!        ▼
//!  place.rs  /run/docker/plugins/N.sock, /etc/docker/plugins/N.{spec,json}, …
//!        │ endpoint
//!        ▼
//!  call.rs   POST /Plugin.Activate ──▶ what it implements; then POST /NetworkDriver.Join …
//! ```
//!
//! What a plugin says is untrusted: every answer has a size and a time limit. This module never
//! knows what any method means; the documents are those of who asks.

mod call;
mod error;
mod network;
mod place;
#[cfg(test)]
mod tests;

pub use error::PluginError;
pub use network::RemoteDrivers;
pub use place::{Endpoint, Places};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a plugin may take to be there and to answer, as Docker's.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The result of asking a plugin.
pub type Result<T> = std::result::Result<T, PluginError>;

/// Every plugin this node has been asked for.
#[derive(Debug)]
pub struct Plugins {
    places: Places,
    known: Mutex<BTreeMap<String, Arc<Plugin>>>,
}

impl Plugins {
    /// Plugins that are found in these places.
    pub fn new(places: Places) -> Self {
        Self { places, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Plugin>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plugin of this name, activated, if it implements `capability` (`NetworkDriver`,
    /// `IpamDriver`, `VolumeDriver`, `authz`, `LogDriver`, …).
    pub async fn find(&self, name: &str, capability: &str) -> Result<Arc<Plugin>> {
        let plugin = self.plugin(name)?;
        plugin.activate().await?;
        if plugin.implements(capability) {
            return Ok(plugin);
        }
        let (plugin, capability) = (name.to_owned(), capability.to_owned());
        Err(PluginError::Lacks { plugin, capability })
    }

    /// [`Plugins::find`] on a thread that may block.
    pub fn find_blocking(
        &self,
        runtime: &Handle,
        name: &str,
        capability: &str,
    ) -> Result<Arc<Plugin>> {
        runtime.block_on(self.find(name, capability))
    }

    /// The plugin where its name leads now: one that moved is activated anew.
    fn plugin(&self, name: &str) -> Result<Arc<Plugin>> {
        let known = self.known().get(name).cloned();
        if let Some(managed) = known.as_ref().filter(|plugin| plugin.managed) {
            return Ok(Arc::clone(managed));
        }
        let endpoint = self.places.find(name)?;
        if let Some(same) = known.filter(|plugin| plugin.endpoint == endpoint) {
            return Ok(same);
        }
        Ok(self.enter(Plugin::new(name, endpoint, false)))
    }

    fn enter(&self, plugin: Plugin) -> Arc<Plugin> {
        let plugin = Arc::new(plugin);
        self.known().insert(plugin.name.clone(), Arc::clone(&plugin));
        plugin
    }

    /// Makes a plugin known that is in none of the places: one that the node itself runs.
    pub fn register(&self, name: &str, endpoint: Endpoint) -> Arc<Plugin> {
        self.enter(Plugin::new(name, endpoint, true))
    }

    /// Forgets a plugin; the places are asked again.
    pub fn forget(&self, name: &str) {
        self.known().remove(name);
    }

    /// Names of every plugin there is, registered or in the places, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.places.names();
        names.extend(self.known().values().filter(|it| it.managed).map(|it| it.name.clone()));
        names.sort();
        names.dedup();
        names
    }
}

/// One plugin.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    endpoint: Endpoint,
    managed: bool,
    implements: OnceLock<Vec<String>>,
}

/// The answer to `Plugin.Activate`.
#[derive(Debug, serde::Deserialize)]
struct Manifest {
    #[serde(rename = "Implements", default)]
    implements: Option<Vec<String>>,
}

impl Plugin {
    fn new(name: &str, endpoint: Endpoint, managed: bool) -> Self {
        Self { name: name.to_owned(), endpoint, managed, implements: OnceLock::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it said so when it was activated.
    pub fn implements(&self, capability: &str) -> bool {
        let all = self.implements.get().map(Vec::as_slice).unwrap_or_default();
        all.iter().any(|it| it.eq_ignore_ascii_case(capability))
    }

    async fn activate(&self) -> Result<()> {
        if self.implements.get().is_some() {
            return Ok(());
        }
        let manifest: Manifest = self.call("Plugin.Activate", &()).await?;
        // Two who activate at once hear the same.
        let _ = self.implements.set(manifest.implements.unwrap_or_default());
        Ok(())
    }

    /// Asks `method` (`NetworkDriver.Join`, …). An answer with a non-empty `Err` is an error.
    pub async fn call<Q, A>(&self, method: &str, question: &Q) -> Result<A>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        self.call_within(method, question, PATIENCE).await
    }

    /// [`Plugin::call`] with a time limit of its own.
    pub async fn call_within<Q, A>(
        &self,
        method: &str,
        question: &Q,
        patience: Duration,
    ) -> Result<A>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        let asking = call::ask(self, method, question);
        match tokio::time::timeout(patience, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(self.failed(method, format!("no answer within {patience:?}"))),
        }
    }

    /// [`Plugin::call`] on a thread that may block.
    pub fn call_blocking<Q, A>(&self, runtime: &Handle, method: &str, question: &Q) -> Result<A>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        runtime.block_on(self.call(method, question))
    }

    fn failed(&self, method: &str, why: impl Into<String>) -> PluginError {
        let (plugin, method) = (self.name.clone(), method.to_owned());
        PluginError::Failed { plugin, method, why: why.into() }
    }
}
