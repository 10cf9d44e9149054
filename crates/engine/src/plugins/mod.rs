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
//! Plugins that the node itself runs ([`crate::managed`]) are entered here while they run; their
//! names have a tag, and what they implement is what they were installed to.
//!
//! What a plugin says is untrusted: every answer has a size and a time limit. This module never
//! knows what any method means; the documents are those of who asks.

mod call;
mod error;
mod network;
mod place;
#[cfg(test)]
mod tests;

pub(crate) use call::connect_within;
pub use error::PluginError;
pub use network::RemoteDrivers;
pub use place::{Endpoint, Places};

use model::ImageRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    /// Names of plugins that are installed and do not run, and whether somebody stopped them since
    /// the daemon began.
    resting: Mutex<BTreeMap<String, bool>>,
}

impl Plugins {
    /// Plugins that are found in these places.
    pub fn new(places: Places) -> Self {
        Self { places, known: Mutex::default(), resting: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Plugin>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plugin of this name, activated, if it implements `capability` (`NetworkDriver`,
    /// `IpamDriver`, `VolumeDriver`, `authz`, `LogDriver`, …).
    pub async fn find(&self, name: &str, capability: &str) -> Result<Arc<Plugin>> {
        let plugin = match self.managed(name)? {
            Some(managed) => managed,
            None => self.plugin(name)?,
        };
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
        let endpoint = self.places.find(name).map_err(|error| match error {
            // It could only be one that the node runs.
            PluginError::Denied(_) if full_name(name).is_some() => {
                PluginError::NotFound(name.to_owned())
            }
            error => error,
        })?;
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

    /// The plugin of this name that the node runs, if there is one.
    fn managed(&self, name: &str) -> Result<Option<Arc<Plugin>>> {
        let Some(full) = full_name(name) else { return Ok(None) };
        if let Some(running) = self.known().get(&full).filter(|plugin| plugin.managed) {
            return Ok(Some(Arc::clone(running)));
        }
        match self.resting().contains_key(&full) {
            true => Err(PluginError::Disabled(full)),
            false => Ok(None),
        }
    }

    fn resting(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a plugin known that is in none of the places: one that the node itself runs.
    pub fn register(&self, name: &str, endpoint: Endpoint) -> Arc<Plugin> {
        self.enter(Plugin::new(name, endpoint, true))
    }

    /// Makes a plugin known that the node runs: what it implements is decided, and paths that it
    /// tells are its own.
    pub fn manage(&self, name: &str, endpoint: Endpoint, managed: Managed) -> Arc<Plugin> {
        self.resting().remove(name);
        let plugin = Plugin { scope: Some(managed.scope), ..Plugin::new(name, endpoint, true) };
        // Just made: nobody has set it.
        let _ = plugin.implements.set(managed.implements);
        self.enter(plugin)
    }

    /// Forgets a plugin; the places are asked again.
    pub fn forget(&self, name: &str) {
        self.known().remove(name);
        self.resting().remove(name);
    }

    /// A plugin is installed and does not run. `stopped`: somebody has just seen to that.
    pub fn rest(&self, name: &str, stopped: bool) {
        self.known().remove(name);
        self.resting().insert(name.to_owned(), stopped);
    }

    /// Whether somebody stopped the plugin of this name since the daemon began: who could do that
    /// knew what would not be asked any more.
    pub fn stood_down(&self, name: &str) -> bool {
        full_name(name).is_some_and(|name| self.resting().get(&name) == Some(&true))
    }

    /// Whether a plugin can still be asked: one that the node runs may have been stopped.
    pub fn serves(&self, plugin: &Plugin) -> bool {
        !plugin.managed || self.known().contains_key(&plugin.name)
    }

    /// Names of the running plugins of the node's own that implement `capability`.
    pub fn managed_with(&self, capability: &str) -> Vec<String> {
        let known = self.known();
        let managed = known.values().filter(|it| it.managed && it.implements(capability));
        managed.map(|plugin| plugin.name.clone()).collect()
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

/// The name with its tag that a plugin which the node runs would have.
pub fn full_name(name: &str) -> Option<String> {
    let reference = ImageRef::parse(name).ok().filter(|it| it.digest().is_none())?;
    Some(reference.or_latest().familiar())
}

/// What is known of a plugin that the node runs.
#[derive(Debug)]
pub struct Managed {
    /// What it implements.
    pub implements: Vec<String>,
    /// Where its paths are on the host.
    pub scope: Scope,
}

/// Where the paths of a plugin with a root of its own are on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Directories shared with the host: inside, and on the host. The first that fits counts.
    pub shared: Vec<(String, PathBuf)>,
    /// What the plugin itself wrote below its root.
    pub own: PathBuf,
}

impl Scope {
    /// The directory of the host that a path of the plugin's lies in, and the rest of the path.
    /// Nothing when the path is none, or would lead out.
    pub fn find(&self, path: &str) -> Option<(&Path, String)> {
        let parts: Vec<&str> = path.split('/').filter(|it| !matches!(*it, "" | ".")).collect();
        if !path.starts_with('/') || parts.contains(&"..") {
            return None;
        }
        let rest = parts.join("/");
        for (inside, host) in &self.shared {
            let inside = inside.trim_matches('/');
            match rest.strip_prefix(inside) {
                Some("") => return Some((host, String::new())),
                Some(below) if below.starts_with('/') => {
                    return Some((host, below[1..].to_owned()));
                }
                _ => {}
            }
        }
        Some((&self.own, rest))
    }
}

/// One plugin.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    endpoint: Endpoint,
    managed: bool,
    scope: Option<Scope>,
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
        let implements = OnceLock::new();
        Self { name: name.to_owned(), endpoint, managed, scope: None, implements }
    }

    /// Where its paths are, when it has a root of its own.
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
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
