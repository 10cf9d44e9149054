//! Who is there: containers by id, by name and by prefix. Names are reserved while a container is
//! being made, so that two creations never share one. Reading never waits for a container.

use crate::actor::{Order, links};
use crate::{EngineError, Result};
use model::view::ContainerView;
use model::{ContainerId, ContainerName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::mpsc;

/// A container as the others see it: its last snapshot, and where its orders go.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: ContainerId,
    orders: mpsc::Sender<Order>,
    view: RwLock<Arc<ContainerView>>,
}

impl Handle {
    pub(crate) fn new(orders: mpsc::Sender<Order>, view: ContainerView) -> Self {
        Self { id: view.id, orders, view: RwLock::new(Arc::new(view)) }
    }

    /// The last snapshot.
    pub(crate) fn view(&self) -> Arc<ContainerView> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the snapshot.
    pub(crate) fn publish(&self, view: ContainerView) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Puts an order in the container's queue. Fails when the container is gone.
    pub(crate) async fn send(&self, order: Order) -> Result<()> {
        let gone = || EngineError::NoSuchContainer(self.id.to_string());
        self.orders.send(order).await.map_err(|_| gone())
    }

    /// The container is gone: nobody reads its orders any more.
    pub(crate) fn gone(&self) -> bool {
        self.orders.is_closed()
    }
}

/// Containers by id and by name.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    containers: BTreeMap<ContainerId, Arc<Handle>>,
    names: BTreeMap<String, ContainerId>,
}

impl Roster {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a container that is being made, or renamed.
    pub(crate) fn reserve(&self, name: &ContainerName, id: ContainerId) -> Result<()> {
        let mut inner = self.lock();
        if let Some(owner) = inner.names.get(name.as_str()) {
            return Err(EngineError::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \
                 \"{owner}\". You have to remove (or rename) that container to be able to reuse \
                 that name."
            )));
        }
        inner.names.insert(name.as_str().to_owned(), id);
        Ok(())
    }

    /// Gives a name back, if it is this container's.
    pub(crate) fn release(&self, name: &ContainerName, id: &ContainerId) {
        let mut inner = self.lock();
        if inner.names.get(name.as_str()) == Some(id) {
            inner.names.remove(name.as_str());
        }
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn insert(&self, handle: Arc<Handle>) {
        self.lock().containers.insert(handle.id, handle);
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, id: &ContainerId) {
        let mut inner = self.lock();
        inner.containers.remove(id);
        inner.names.retain(|_, owner| owner != id);
    }

    /// Every container, in no particular order.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().containers.values().cloned().collect()
    }

    /// The container of this id.
    pub(crate) fn by_id(&self, id: &ContainerId) -> Option<Arc<Handle>> {
        self.lock().containers.get(id).cloned()
    }

    /// The container that a full id, a name (also with a leading slash) or a unique prefix of an
    /// id means, in this order; or `container/alias`, what a link of a container leads to.
    pub(crate) fn find(&self, query: &str) -> Result<Arc<Handle>> {
        let name = query.strip_prefix('/').unwrap_or(query);
        let Some((container, alias)) = name.split_once('/') else { return self.find_one(query) };
        let missing = |_| EngineError::NoSuchContainer(query.to_owned());
        let view = self.find_one(container).map_err(missing)?.view();
        let mut links = view.draft.host.links.iter().map(|link| links::parts(link));
        let other = links.find(|(_, own)| *own == alias).map_or("", |(other, _)| other);
        self.find_one(other).map_err(missing)
    }

    fn find_one(&self, query: &str) -> Result<Arc<Handle>> {
        let missing = || EngineError::NoSuchContainer(query.to_owned());
        let inner = self.lock();
        if let Ok(id) = ContainerId::parse(query)
            && let Some(handle) = inner.containers.get(&id)
        {
            return Ok(Arc::clone(handle));
        }
        let name = query.strip_prefix('/').unwrap_or(query);
        if let Some(handle) = inner.names.get(name).and_then(|id| inner.containers.get(id)) {
            return Ok(Arc::clone(handle));
        }
        let hex = query.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        if query.is_empty() || query.len() > 64 || !hex {
            return Err(missing());
        }
        let mut matching =
            inner.containers.values().filter(|handle| handle.id.to_string().starts_with(query));
        match (matching.next(), matching.next()) {
            (Some(only), None) => Ok(Arc::clone(only)),
            (Some(_), Some(_)) => Err(EngineError::invalid(format!(
                "multiple IDs found with provided prefix: {query}"
            ))),
            (None, _) => Err(missing()),
        }
    }
}
