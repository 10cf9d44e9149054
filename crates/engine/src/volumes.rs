//! Volumes, for those who ask about them.

use crate::bundle;
use crate::chunks::{Source, produce};
use crate::node::{Node, blocking};
use crate::streams::ByteStream;
use crate::{EngineError, Result};
use model::event::EventKind;
use model::mount::MountSource;
use model::volume::{VolumeDraft, VolumeView};
use model::{ContainerId, ErrorKind, VolumeName, error::HasKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::volume::Volume;

/// The only driver there is.
const LOCAL: &str = "local";

/// Driver, options and labels of a volume.
pub(crate) type Known = (String, BTreeMap<String, String>, BTreeMap<String, String>);

/// Volumes. Cheap to clone.
#[derive(Clone)]
pub struct Volumes {
    pub(crate) node: Arc<Node>,
}

impl Volumes {
    /// Makes a volume, or returns the one of that name made with the same options.
    pub async fn create(&self, draft: VolumeDraft) -> Result<VolumeView> {
        let node = Arc::clone(&self.node);
        blocking(move || Ok(view(&create(&node, &draft)?))).await
    }

    /// Every volume.
    pub async fn list(&self) -> Result<Vec<VolumeView>> {
        let node = Arc::clone(&self.node);
        blocking(move || Ok(node.store.volumes().list()?.iter().map(view).collect())).await
    }

    /// One volume.
    pub async fn view(&self, name: &str) -> Result<VolumeView> {
        let (node, name) = (Arc::clone(&self.node), name.to_owned());
        blocking(move || Ok(view(&find(&node, &name)?))).await
    }

    /// Removes it. `force`: not existing is fine.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let (node, name) = (Arc::clone(&self.node), name.to_owned());
        // A container that just ended may still be being cleared away.
        self.node.teardowns.idle().await;
        blocking(move || match remove(&node, &name) {
            Err(EngineError::NoSuchVolume(_)) if force => Ok(()),
            outcome => outcome,
        })
        .await
    }

    /// Removes volumes that no container uses: anonymous ones, or `all`. `keep` protects.
    /// Returns names and the bytes freed.
    pub async fn prune(
        &self,
        keep: &(dyn Fn(&VolumeView) -> bool + Sync),
        all: bool,
    ) -> Result<(Vec<String>, u64)> {
        self.node.teardowns.idle().await;
        let wanted: Vec<VolumeName> = self
            .list()
            .await?
            .into_iter()
            .filter(|view| (all || view.anonymous) && !keep(view))
            .map(|view| view.name)
            .collect();
        let node = Arc::clone(&self.node);
        blocking(move || {
            let mut removed = Vec::new();
            let mut freed = 0u64;
            for name in wanted {
                let bytes = node.store.volumes().usage(&name).unwrap_or(0);
                if remove(&node, name.as_str()).is_ok() {
                    freed = freed.saturating_add(bytes);
                    removed.push(name.to_string());
                }
            }
            Ok((removed, freed))
        })
        .await
    }

    /// Its content as a tar archive.
    pub async fn export(&self, name: &str) -> Result<ByteStream> {
        let (node, name) = (Arc::clone(&self.node), name.to_owned());
        let volume = {
            let node = Arc::clone(&node);
            blocking(move || find(&node, &name)).await?
        };
        Ok(produce(move |out| Ok(node.store.volumes().export(&volume.name, out)?)))
    }

    /// Makes a volume of a tar archive: all of it, or no volume.
    pub async fn import(&self, draft: VolumeDraft, body: ByteStream) -> Result<VolumeView> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let mut source = Source::new(body);
            let volume = node.store.volumes().import(&draft, &mut source)?;
            source.drain();
            emit(&node, "create", &volume.name);
            Ok(view(&volume))
        })
        .await
    }

    /// Makes a volume that has what another has now.
    pub async fn copy(&self, from: &str, to: &str) -> Result<VolumeView> {
        let (node, from, to) = (Arc::clone(&self.node), from.to_owned(), new_name(to)?);
        blocking(move || {
            let volume = node.store.volumes().copy(&find(&node, &from)?.name, &to)?;
            emit(&node, "create", &volume.name);
            Ok(view(&volume))
        })
        .await
    }

    /// Gives a volume that no container uses another name.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (node, from, to) = (Arc::clone(&self.node), from.to_owned(), new_name(to)?);
        self.node.teardowns.idle().await;
        blocking(move || {
            let volume = find(&node, &from)?;
            check_unused(&node, "rename", &volume.name)?;
            node.store.volumes().rename(&volume.name, &to)?;
            emit(&node, "destroy", &volume.name);
            emit(&node, "create", &to);
            Ok(())
        })
        .await
    }

    /// Every volume with its size and the number of containers that use it.
    pub(crate) async fn with_usage(&self) -> Result<Vec<VolumeView>> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let mut out = Vec::new();
            for volume in node.store.volumes().list()? {
                let bytes = node.store.volumes().usage(&volume.name).unwrap_or(0);
                let used = u32::try_from(users(&node, &volume.name).len()).unwrap_or(u32::MAX);
                out.push(VolumeView { usage: Some((bytes, used)), ..view(&volume) });
            }
            Ok(out)
        })
        .await
    }
}

fn view(volume: &Volume) -> VolumeView {
    VolumeView {
        name: volume.name.clone(),
        driver: LOCAL.to_owned(),
        mountpoint: volume.data.to_string_lossy().into_owned(),
        created: volume.created,
        labels: volume.labels.clone(),
        options: volume.options.clone(),
        anonymous: volume.anonymous,
        usage: None,
    }
}

/// Makes a volume, or finds it. Blocking.
pub(crate) fn create(node: &Node, draft: &VolumeDraft) -> Result<Volume> {
    let named = VolumeName::parse(&draft.name).ok();
    let is_new = named.is_none_or(|name| node.store.volumes().find(&name).is_err());
    let volume = node.store.volumes().create(draft)?;
    store::failpoint::hit("engine.volume.created");
    if is_new {
        emit(node, "create", &volume.name);
    }
    Ok(volume)
}

fn emit(node: &Node, action: &str, name: &VolumeName) {
    let driver = BTreeMap::from([("driver".to_owned(), LOCAL.to_owned())]);
    node.emit(EventKind::Volume, action, name.as_str(), driver);
}

fn find(node: &Node, name: &str) -> Result<Volume> {
    let missing = || EngineError::NoSuchVolume(name.to_owned());
    let parsed = VolumeName::parse(name).map_err(|_| missing())?;
    node.store.volumes().find(&parsed).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(),
        _ => error.into(),
    })
}

/// Driver, options and labels of a volume that is there.
pub(crate) fn known(node: &Node, name: &VolumeName) -> Option<Known> {
    let volume = node.store.volumes().find(name).ok()?;
    Some((LOCAL.to_owned(), volume.options, volume.labels))
}

fn remove(node: &Node, name: &str) -> Result<()> {
    let volume = find(node, name)?;
    check_unused(node, "remove", &volume.name)?;
    store::failpoint::hit("engine.volume.unused");
    node.store.volumes().remove(&volume.name)?;
    store::failpoint::hit("engine.volume.removed");
    emit(node, "destroy", &volume.name);
    Ok(())
}

fn check_unused(node: &Node, act: &str, name: &VolumeName) -> Result<()> {
    let users = users(node, name);
    if users.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = users.iter().map(ContainerId::to_string).collect();
    Err(EngineError::conflict(format!("{act} {name}: volume is in use - [{}]", ids.join(", "))))
}

fn new_name(name: &str) -> Result<VolumeName> {
    Ok(VolumeName::parse(name)?)
}

/// Containers that mount a volume.
pub(crate) fn users(node: &Node, volume: &VolumeName) -> Vec<ContainerId> {
    let mounts = |source: &MountSource| match source {
        MountSource::Volume { name, .. } => name == volume.as_str(),
        _ => false,
    };
    let all = node.registry.all().into_iter();
    all.map(|handle| handle.view())
        .filter(|view| view.spec.mounts.iter().any(|mount| mounts(&mount.source)))
        .map(|view| view.id)
        .collect()
}

/// Where a volume's content is mounted from.
pub(crate) fn source(node: &Node, name: &str, subpath: &str) -> Result<bundle::Source> {
    let volume = find(node, name)?;
    if let Some(mount) = &volume.mount {
        let options = mount.options.split(',').filter(|it| !it.is_empty()).map(str::to_owned);
        return Ok(match mount.fstype.as_str() {
            "none" | "bind" | "" => bundle::Source::Path(mount.device.clone().into()),
            fstype => bundle::Source::Filesystem {
                kind: fstype.to_owned(),
                device: mount.device.clone(),
                options: options.collect(),
            },
        });
    }
    if subpath.is_empty() {
        return Ok(bundle::Source::Path(volume.data));
    }
    Ok(bundle::Source::Beneath { root: volume.data, path: subpath.to_owned() })
}
