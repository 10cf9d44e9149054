//! Managed plugins: plugins that are installed from a registry and run by the node itself, each as
//! a container of its own with the privileges that were granted (docs.docker.com, "Docker Engine
//! managed plugin system").
//!
//! ```text
//!  document, settings, plan   what a plugin wants, what is set of it, what it runs as   pure
//!  fetch                      from and to registries, from an archive
//!  record                     what is written down; the layers it keeps
//!  keeper                     the one task that owns a plugin
//!  run                        its container, its socket, what it shares with the host
//! ```
//! How plugins are asked is [`crate::plugins`]: what runs is entered there. This module knows none
//! of their methods.

mod document;
mod fetch;
mod keeper;
mod plan;
mod record;
mod restore;
mod run;
mod settings;
#[cfg(test)]
mod tests;
mod uses;

pub(crate) use plan::LOGGING;
pub(crate) use restore::{enter_running, halt, restore};

use crate::images::Images;
use crate::node::{Node, blocking};
use crate::plugins::full_name;
use crate::streams::ByteStream;
use crate::transfer::{Credentials, Event, Events, Pulled, Pushed, Step, Steps, watched, watcher};
use crate::{EngineError, Result, random};
use fetch::{Found, Package};
use keeper::{Keeper, Order};
use model::{ContainerId, Denied, ImageRef};
use record::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::plugin::{Config, Privilege, Settings};

/// How many orders wait in a plugin's queue before askers do.
const QUEUE_DEPTH: usize = 16;
/// How many steps of a pull or push wait for a slow reader; further progress is dropped.
const STEP_DEPTH: usize = 1024;

/// Managed plugins. Cheap to clone.
#[derive(Clone)]
pub struct ManagedPlugins {
    pub(crate) node: Arc<Node>,
}

/// A plugin as everybody sees it.
#[derive(Clone, Debug)]
pub struct PluginView {
    /// Its id.
    pub id: ContainerId,
    /// Its name, with a tag.
    pub name: String,
    /// What it was pulled as.
    pub reference: String,
    /// It runs.
    pub enabled: bool,
    /// What it says of itself.
    pub config: Arc<Config>,
    /// What is set of it.
    pub settings: Settings,
    /// What it serves: `volumedriver`, `authz`, …
    pub capabilities: Vec<String>,
}

/// A plugin that is to be installed, or to replace one.
#[derive(Clone, Debug)]
pub struct PluginOrder {
    /// Where it is.
    pub remote: ImageRef,
    /// What it is called here; empty for the remote's name.
    pub name: String,
    /// What the user grants.
    pub granted: Vec<Privilege>,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

/// A plugin as the others know it: its last snapshot, and where its orders go.
pub(crate) struct Entry {
    orders: mpsc::Sender<Order>,
    view: RwLock<Arc<PluginView>>,
}

impl Entry {
    fn publish(&self, record: &Record) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view(record));
    }

    fn view(&self) -> Arc<PluginView> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn view(record: &Record) -> PluginView {
    PluginView {
        id: record.id,
        name: record.name.clone(),
        reference: record.reference.clone(),
        enabled: record.enabled,
        capabilities: document::capabilities(&record.config),
        config: Arc::clone(&record.config),
        settings: record.settings.clone(),
    }
}

/// Every plugin, and the names of those that are being installed.
#[derive(Default)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    plugins: BTreeMap<ContainerId, Arc<Entry>>,
    reserved: BTreeSet<String>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a plugin that is being installed.
    fn reserve(&self, name: &str) -> Result<()> {
        let mut inner = self.lock();
        let taken = inner.plugins.values().any(|entry| entry.view().name == name);
        if taken || !inner.reserved.insert(name.to_owned()) {
            return Err(EngineError::conflict(format!("plugin {name:?} already exists")));
        }
        Ok(())
    }

    fn insert(&self, id: ContainerId, entry: Arc<Entry>) {
        self.lock().plugins.insert(id, entry);
    }

    fn remove(&self, id: &ContainerId) {
        self.lock().plugins.remove(id);
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().plugins.values().cloned().collect()
    }

    /// The plugin that an id, a name or a unique prefix of an id means.
    fn find(&self, query: &str) -> Result<Arc<Entry>> {
        let missing = || Denied::not_found(format!("plugin {query:?} not found"));
        let all = self.all();
        let name = full_name(query);
        let exact = |entry: &&Arc<Entry>| {
            let view = entry.view();
            view.id.to_string() == query || name.as_deref() == Some(&view.name)
        };
        if let Some(entry) = all.iter().find(exact) {
            return Ok(Arc::clone(entry));
        }
        let hex = query.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        if query.is_empty() || !hex {
            return Err(missing().into());
        }
        let mut begins = all.iter().filter(|entry| entry.view().id.to_string().starts_with(query));
        match (begins.next(), begins.next()) {
            (Some(only), None) => Ok(Arc::clone(only)),
            (Some(_), Some(_)) => {
                Err(EngineError::invalid(format!("multiple plugins found for {query:?}")))
            }
            (None, _) => Err(missing().into()),
        }
    }
}

/// A name that is being installed; free again when dropped.
struct Reserved {
    node: Arc<Node>,
    name: String,
}

impl Reserved {
    fn new(node: &Arc<Node>, name: &str) -> Result<Self> {
        node.managed.reserve(name)?;
        Ok(Self { node: Arc::clone(node), name: name.to_owned() })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.node.managed.lock().reserved.remove(&self.name);
    }
}

/// Brings a plugin's owner to life.
fn keep(node: &Arc<Node>, record: Record, running: Option<Arc<crate::roster::Handle>>) {
    let (sender, orders) = mpsc::channel(QUEUE_DEPTH);
    let entry = Arc::new(Entry { orders: sender, view: RwLock::new(Arc::new(view(&record))) });
    node.managed.insert(record.id, Arc::clone(&entry));
    let keeper = Keeper { node: Arc::clone(node), entry, orders, record, running };
    tokio::spawn(keeper.run());
}

impl ManagedPlugins {
    fn images(&self) -> Images {
        Images { node: Arc::clone(&self.node) }
    }

    /// Every plugin; never waits.
    pub fn list(&self) -> Vec<Arc<PluginView>> {
        self.node.managed.all().iter().map(|entry| entry.view()).collect()
    }

    /// One plugin; never waits.
    ///
    /// # Errors
    /// There is none of that name or id.
    pub fn view(&self, query: &str) -> Result<Arc<PluginView>> {
        Ok(self.node.managed.find(query)?.view())
    }

    /// What a plugin of a registry wants to be granted.
    ///
    /// # Errors
    /// The registry does not give it, or it is no plugin.
    pub async fn privileges(
        &self,
        remote: &ImageRef,
        credentials: Option<Credentials>,
    ) -> Result<Vec<Privilege>> {
        let found = fetch::look(&self.images(), remote, credentials).await?;
        Ok(document::privileges(&found.config))
    }

    /// Installs a plugin, while somebody watches; it does not run yet. Gives its name.
    ///
    /// # Errors
    /// The name is taken, the registry does not give it, or what is granted is not what it wants.
    pub async fn pull(&self, order: PluginOrder) -> Result<(String, Steps)> {
        let name = local_name(&order)?;
        let reserved = Reserved::new(&self.node, &name)?;
        let found = self.find(&order).await?;
        let plugins = self.clone();
        let steps = arriving(self.images(), found, order.credentials, async move |package| {
            let reference = package.reference.clone();
            plugins.install(&reserved.name, package).await?;
            keeper::emit(&plugins.node, "pull", &familiar(&reference), &reserved.name);
            Ok(())
        });
        Ok((name, steps))
    }

    /// Replaces a plugin that does not run by another version, while somebody watches.
    ///
    /// # Errors
    /// It runs, the registry does not give the other, or not all it wants is granted.
    pub async fn upgrade(&self, query: &str, order: PluginOrder) -> Result<Steps> {
        let entry = self.node.managed.find(query)?;
        let view = entry.view();
        if view.enabled {
            return Err(keeper::must_be_disabled(&view.name));
        }
        let found = self.find(&order).await?;
        Ok(arriving(self.images(), found, order.credentials, async move |package| {
            let package = Box::new(package);
            ask(&entry, |answer| Order::Replace { package, answer }).await
        }))
    }

    /// What is asked for, with all it wants granted.
    async fn find(&self, order: &PluginOrder) -> Result<Found> {
        let found = fetch::look(&self.images(), &order.remote, order.credentials.clone()).await?;
        document::check_granted(&found.config, &order.granted)?;
        Ok(found)
    }

    /// Makes a plugin of an archive; it does not run yet.
    ///
    /// # Errors
    /// The name is taken, or the archive is none of a plugin.
    pub async fn create(&self, name: &str, body: ByteStream) -> Result<()> {
        let reference = ImageRef::parse(name)?;
        if reference.digest().is_some() {
            return Err(EngineError::invalid("invalid repository name: digests are not allowed"));
        }
        let reference = reference.or_latest();
        let reserved = Reserved::new(&self.node, &reference.familiar())?;
        let node = Arc::clone(&self.node);
        let package = blocking(move || fetch::unpack(&node, &reference, body)).await?;
        let id = self.install(&reserved.name, package).await?;
        keeper::emit(&self.node, "create", &id.to_string(), &reserved.name);
        Ok(())
    }

    async fn install(&self, name: &str, package: Package) -> Result<ContainerId> {
        let record = Record {
            id: ContainerId::from_bytes(random::id_bytes()?),
            name: name.to_owned(),
            reference: package.reference,
            settings: settings::initial(&package.config),
            text: package.text,
            config: package.config,
            layers: package.layers,
            enabled: false,
        };
        let (node, saving) = (Arc::clone(&self.node), record.clone());
        store::failpoint::hit("engine.plugin.install");
        blocking(move || record::save(node.store.records(), &saving)).await?;
        store::failpoint::hit("engine.plugin.installed");
        drop(package.lease);
        let id = record.id;
        self.node.plugins.rest(&record.name, false);
        keep(&self.node, record, None);
        Ok(id)
    }

    /// Sends a plugin to the registry that its name says, while somebody watches.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn push(&self, query: &str, credentials: Option<Credentials>) -> Result<Steps> {
        let view = self.view(query)?;
        let to = ImageRef::parse(&view.name)?;
        let (tx, rx) = mpsc::channel(STEP_DEPTH);
        let plugins = self.clone();
        tokio::spawn(async move {
            let events = watcher(&tx);
            events(Event::Pushing { repository: format!("{}/{}", to.host(), to.path()) });
            let sending = plugins.send(&view, &to, credentials, events);
            if let Some(done) = watched(&tx, sending).await {
                // They may have left just now.
                let _ = tx.send(done.map(Step::Pushed)).await;
            }
        });
        Ok(rx)
    }

    async fn send(
        &self,
        view: &PluginView,
        to: &ImageRef,
        credentials: Option<Credentials>,
        events: Events,
    ) -> Result<Pushed> {
        let (node, id) = (Arc::clone(&self.node), view.id);
        let record = blocking(move || {
            let all = record::all(node.store.records())?;
            let missing = || Denied::not_found(format!("plugin {:?} not found", id.to_string()));
            Ok(all.into_iter().find(|record| record.id == id).ok_or_else(missing)?)
        })
        .await?;
        let pushed =
            fetch::send(&self.images(), (to, record.text), record.layers, credentials, events)
                .await?;
        keeper::emit(&self.node, "push", &view.id.to_string(), &view.name);
        Ok(pushed)
    }

    /// Lets a plugin run. `timeout`: how long it has to listen; zero for the usual time.
    ///
    /// # Errors
    /// It runs already, cannot be started, or does not listen in time.
    pub async fn enable(&self, query: &str, timeout: Duration) -> Result<()> {
        let patience = if timeout.is_zero() { run::PATIENCE } else { timeout };
        self.order(query, |answer| Order::Enable { patience, answer }).await
    }

    /// Stops a plugin. `force`: although something needs it.
    ///
    /// # Errors
    /// It does not run, or is in use.
    pub async fn disable(&self, query: &str, force: bool) -> Result<()> {
        self.order(query, |answer| Order::Disable { force, answer }).await
    }

    /// Sets what the plugin lets be set.
    ///
    /// # Errors
    /// It runs, or there is no such setting.
    pub async fn set(&self, query: &str, words: Vec<String>) -> Result<()> {
        self.order(query, |answer| Order::Set { words, answer }).await
    }

    /// Removes a plugin; gives what it was. `force`: although it runs, or something needs it.
    ///
    /// # Errors
    /// It runs, or is in use.
    pub async fn remove(&self, query: &str, force: bool) -> Result<Arc<PluginView>> {
        let entry = self.node.managed.find(query)?;
        ask(&entry, |answer| Order::Remove { force, answer }).await?;
        Ok(entry.view())
    }

    async fn order(&self, query: &str, order: impl FnOnce(keeper::Answer) -> Order) -> Result<()> {
        ask(&*self.node.managed.find(query)?, order).await
    }
}

/// Puts an order in a plugin's queue and waits until it is done.
async fn ask(entry: &Entry, order: impl FnOnce(keeper::Answer) -> Order) -> Result<()> {
    let gone = || Denied::not_found(format!("plugin {:?} not found", entry.view().name));
    let (answer, outcome) = oneshot::channel();
    entry.orders.send(order(answer)).await.map_err(|_| gone())?;
    outcome.await.map_err(|_| gone())?
}

/// Takes a plugin in while somebody watches. `then`: what becomes of it when it is here.
fn arriving<F>(
    images: Images,
    found: Found,
    credentials: Option<Credentials>,
    then: impl FnOnce(Package) -> F + Send + 'static,
) -> Steps
where
    F: Future<Output = Result<()>> + Send,
{
    let (tx, rx) = mpsc::channel(STEP_DEPTH);
    tokio::spawn(async move {
        let events = watcher(&tx);
        events(Event::Pulling {
            name: found.reference.path().to_owned(),
            reference: match found.reference.digest() {
                Some(digest) => digest.to_string(),
                None => found.reference.tag().unwrap_or_default().to_owned(),
            },
        });
        let digest = found.digest;
        let taking = async { then(fetch::take(&images, found, credentials, events).await?).await };
        if let Some(done) = watched(&tx, taking).await {
            let pulled = Pulled { id: digest, digest, newer: true };
            // They may have left just now.
            let _ = tx.send(done.map(|()| Step::Pulled(pulled))).await;
        }
    });
    rx
}

/// What a plugin is called here.
fn local_name(order: &PluginOrder) -> Result<String> {
    if order.name.is_empty() {
        let remote = &order.remote;
        let tag = remote.tag().unwrap_or("latest");
        let named = format!("{}/{}:{tag}", remote.host(), remote.path());
        return Ok(ImageRef::parse(&named)?.familiar());
    }
    full_name(&order.name)
        .ok_or_else(|| EngineError::invalid(format!("invalid plugin name {:?}", order.name)))
}

fn familiar(reference: &str) -> String {
    ImageRef::parse(reference).map_or_else(|_| reference.to_owned(), |it| it.familiar())
}
