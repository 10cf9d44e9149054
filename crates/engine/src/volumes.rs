//! Volumes, for those who ask about them.

use crate::bundle;
use crate::chunks::{Source, produce};
use crate::node::{Node, blocking};
use crate::streams::ByteStream;
use crate::volume_plugins::{self, PluginVolume};
use crate::volume_uses::{self, Act};
use crate::{EngineError, Result, volume_mounts};
use model::event::EventKind;
use model::mount::MountSource;
use model::policy::OWNER_LABEL;
use model::volume::{VolumeDraft, VolumeView};
use model::{ContainerId, ErrorKind, VolumeName, error::HasKind};
use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use store::volume::Volume;

/// Docker's mark of volumes that nobody gave a name.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// The driver that is no plugin.
pub(crate) const LOCAL: &str = "local";

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
        blocking(move || match create(&node, &draft)? {
            Made::Local(volume) => Ok(view(&volume)),
            Made::Plugin(volume) => volume_plugins::view(&node, &volume),
        })
        .await
    }

    /// Every volume.
    pub async fn list(&self) -> Result<Vec<VolumeView>> {
        let node = Arc::clone(&self.node);
        blocking(move || {
            let mut all: Vec<_> = node.store.volumes().list()?.iter().map(view).collect();
            let others = volume_plugins::list(&node)?;
            let free = |other: &VolumeView| all.iter().all(|own| own.name != other.name);
            let others: Vec<_> = others.into_iter().filter(free).collect();
            all.extend(others);
            all.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(all)
        })
        .await
    }

    /// One volume.
    pub async fn view(&self, name: &str) -> Result<VolumeView> {
        let (node, name) = (Arc::clone(&self.node), name.to_owned());
        blocking(move || match plugin_volume(&node, &name)? {
            Some(volume) => volume_plugins::view(&node, &volume),
            None => Ok(view(&find(&node, &name)?)),
        })
        .await
    }

    /// Removes it. `force`: not existing is fine.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let (node, name) = (Arc::clone(&self.node), name.to_owned());
        // A container that just ended may still be being cleared away.
        self.node.teardowns.idle().await;
        blocking(move || match remove(&node, &name, force) {
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
            // What is a plugin's is not pruned, as with Docker.
            .filter(|view| view.driver == LOCAL && (all || view.anonymous) && !keep(view))
            .map(|view| view.name)
            .collect();
        let node = Arc::clone(&self.node);
        blocking(move || {
            let mut removed = Vec::new();
            let mut freed = 0u64;
            for name in wanted {
                let bytes = bytes_of(&node, &name);
                if remove(&node, name.as_str(), false).is_ok() {
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
            blocking(move || content(&node, &name)).await?
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
            emit_local(&node, "create", &volume);
            Ok(view(&volume))
        })
        .await
    }

    /// Makes a volume that has what another has now.
    pub async fn copy(&self, from: &str, to: &str) -> Result<VolumeView> {
        let (node, from, to) = (Arc::clone(&self.node), from.to_owned(), new_name(to)?);
        blocking(move || {
            let volume = node.store.volumes().copy(&content(&node, &from)?.name, &to)?;
            emit_local(&node, "create", &volume);
            Ok(view(&volume))
        })
        .await
    }

    /// Gives a volume that no container uses another name.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (node, from, to) = (Arc::clone(&self.node), from.to_owned(), new_name(to)?);
        self.node.teardowns.idle().await;
        blocking(move || {
            let volume = content(&node, &from)?;
            check_unused(&node, "rename", &volume.name)?;
            node.store.volumes().rename(&volume.name, &to)?;
            emit_local(&node, "destroy", &volume);
            emit(&node, "create", &to, (LOCAL, &volume.labels));
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
                let bytes = bytes_of(&node, &volume.name);
                let used = u32::try_from(users(&node, &volume.name).len()).unwrap_or(u32::MAX);
                out.push(VolumeView { usage: Some((bytes, used)), ..view(&volume) });
            }
            for volume in volume_plugins::list(&node)? {
                let used = u32::try_from(users(&node, &volume.name).len()).unwrap_or(u32::MAX);
                out.push(VolumeView { usage: Some((0, used)), ..volume });
            }
            Ok(out)
        })
        .await
    }
}

/// Bytes of a volume that is kept here. Of one that is mounted it is a server, perhaps, that knows,
/// and nobody is to wait for that.
fn bytes_of(node: &Node, name: &VolumeName) -> u64 {
    let volumes = node.store.volumes();
    let here = volumes.find(name).is_ok_and(|volume| volume.mount.is_none());
    if here { volumes.usage(name).unwrap_or(0) } else { 0 }
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
        global: false,
        status: BTreeMap::new(),
        usage: None,
    }
}

/// A volume that was made or found.
pub(crate) enum Made {
    /// A directory of this node's.
    Local(Volume),
    /// A plugin's.
    Plugin(PluginVolume),
}

impl Made {
    /// Its name.
    pub(crate) fn name(&self) -> &VolumeName {
        match self {
            Self::Local(volume) => &volume.name,
            Self::Plugin(volume) => &volume.name,
        }
    }

    /// Its driver.
    pub(crate) fn driver(&self) -> &str {
        match self {
            Self::Local(_) => LOCAL,
            Self::Plugin(volume) => &volume.driver,
        }
    }
}

/// Makes a volume, or finds it. A driver that was not asked for is that of the one that is there.
/// Blocking.
pub(crate) fn create(node: &Node, draft: &VolumeDraft) -> Result<Made> {
    let mut labelled = draft.clone();
    if draft.anonymous || draft.name.is_empty() {
        labelled.labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
    }
    let draft = &labelled;
    let named = VolumeName::parse(&draft.name).ok();
    let local = named.as_ref().is_some_and(|name| node.store.volumes().find(name).is_ok());
    if !local && let Some(volume) = plugin_volume(node, &draft.name)? {
        check_driver(draft, &volume.driver)?;
        return Ok(Made::Plugin(volume));
    }
    if matches!(draft.driver.as_str(), "" | LOCAL) {
        let volume = node.store.volumes().create(draft)?;
        if !local {
            emit_local(node, "create", &volume);
        }
        return Ok(Made::Local(volume));
    }
    if local {
        check_driver(draft, LOCAL)?;
    }
    let volume = volume_plugins::create(node, draft)?;
    emit(node, "create", &volume.name, (&volume.driver, &volume.labels));
    Ok(Made::Plugin(volume))
}

fn check_driver(draft: &VolumeDraft, known: &str) -> Result<()> {
    let full = crate::plugins::full_name(&draft.driver);
    if draft.driver.is_empty() || draft.driver == known || full.as_deref() == Some(known) {
        return Ok(());
    }
    Err(EngineError::conflict(format!(
        "create {}: conflict: volume name must be unique: A volume named {} already exists with \
         the {known} driver. Choose a different volume name",
        draft.name, draft.name
    )))
}

/// The plugin's volume of this name, if there is one and none of ours.
fn plugin_volume(node: &Node, name: &str) -> Result<Option<PluginVolume>> {
    let Ok(parsed) = VolumeName::parse(name) else { return Ok(None) };
    match node.store.volumes().find(&parsed) {
        Ok(_) => Ok(None),
        Err(_) => volume_plugins::find(node, &parsed),
    }
}

/// A volume whose content is kept here.
fn content(node: &Node, name: &str) -> Result<Volume> {
    match plugin_volume(node, name)? {
        None => find(node, name),
        Some(volume) => Err(EngineError::Denied(model::Denied::unsupported(format!(
            "volume {name}: its content is kept by its driver {}, which alone can copy it",
            volume.driver
        )))),
    }
}

fn emit_local(node: &Node, action: &str, volume: &Volume) {
    emit(node, action, &volume.name, (LOCAL, &volume.labels));
}

/// Tells of a volume; whose it is decides who hears of it.
fn emit(
    node: &Node,
    action: &str,
    name: &VolumeName,
    (driver, labels): (&str, &BTreeMap<String, String>),
) {
    let mut attributes = BTreeMap::from([("driver".to_owned(), driver.to_owned())]);
    attributes.extend(labels.get_key_value(OWNER_LABEL).map(|(k, v)| (k.clone(), v.clone())));
    node.emit(EventKind::Volume, action, name.as_str(), attributes);
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
    if let Ok(volume) = node.store.volumes().find(name) {
        return Some((LOCAL.to_owned(), volume.options, volume.labels));
    }
    let volume = volume_plugins::find(node, name).ok()??;
    Some((volume.driver, volume.options, volume.labels))
}

/// Removes a volume that no container uses. `force`: also one whose driver is gone.
fn remove(node: &Node, name: &str, force: bool) -> Result<()> {
    if let Some(volume) = plugin_volume(node, name)? {
        check_unused(node, "remove", &volume.name)?;
        volume_plugins::remove(node, &volume, force)?;
        emit(node, "destroy", &volume.name, (&volume.driver, &volume.labels));
        return Ok(());
    }
    let volume = find(node, name)?;
    check_unused(node, "remove", &volume.name)?;
    store::failpoint::hit("engine.volume.unused");
    remove_here(node, &volume)?;
    store::failpoint::hit("engine.volume.removed");
    emit_local(node, "destroy", &volume);
    Ok(())
}

/// Removes a volume that was made for a container alone.
pub(crate) fn remove_anonymous(node: &Node, name: &VolumeName) -> Result<()> {
    remove_unasked(node, name, true)
}

/// Removes a volume that a container which is not there was made with, without telling anybody.
pub(crate) fn undo(node: &Node, name: &VolumeName) -> Result<()> {
    remove_unasked(node, name, false)
}

fn remove_unasked(node: &Node, name: &VolumeName, tell: bool) -> Result<()> {
    if let Some(volume) = plugin_volume(node, name.as_str())? {
        volume_plugins::remove(node, &volume, false)?;
        if tell {
            emit(node, "destroy", name, (&volume.driver, &volume.labels));
        }
        return Ok(());
    }
    let volume = find(node, name.as_str())?;
    remove_here(node, &volume)?;
    if tell {
        emit_local(node, "destroy", &volume);
    }
    Ok(())
}

/// Removes a volume of ours, and nothing of what it mounts.
fn remove_here(node: &Node, volume: &Volume) -> Result<()> {
    let turn = node.volume_turns.take(volume.name.as_str());
    volume_mounts::take_off(&turn, volume)?;
    Ok(node.store.volumes().remove(&volume.name)?)
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

/// Where a volume's content is mounted from for a user; what has to be mounted or told for that
/// has been. A use that began ends with [`volume_uses::end`], also after a failure.
pub(crate) fn mounted(
    node: &Node,
    user: &ContainerId,
    name: &str,
    subpath: &str,
) -> Result<bundle::Source> {
    let (root, way) = match plugin_volume(node, name)? {
        Some(volume) => volume_plugins::mount(node, &volume, user)?,
        None => (mounted_here(node, user, &find(node, name)?)?, None),
    };
    Ok(match (way, subpath) {
        (None, "") => bundle::Source::Path(root),
        (None, path) => bundle::Source::Beneath { root, path: path.to_owned() },
        (Some(way), "") => bundle::Source::Beneath { root, path: way },
        (Some(way), path) => bundle::Source::Beneath { root, path: format!("{way}/{path}") },
    })
}

/// The directory of the host with the content of a volume of ours.
fn mounted_here(node: &Node, user: &ContainerId, volume: &Volume) -> Result<PathBuf> {
    if let Some(mount) = volume_mounts::of(volume) {
        volume_uses::note(node, user, volume.name.as_str(), LOCAL)?;
        let turn = node.volume_turns.take(volume.name.as_str());
        volume_mounts::mount(&turn, volume, mount)?;
    }
    let bound = volume.mount.as_ref().filter(|mount| volume_mounts::is_bind(mount));
    Ok(bound.map_or_else(|| volume.data.clone(), |mount| PathBuf::from(&mount.device)))
}

/// A directory of a volume for an act of the node's own; none where a subpath leads to none.
pub(crate) fn opened(node: &Node, act: &Act, name: &str, subpath: &str) -> Result<Option<OwnedFd>> {
    let (root, path) = match mounted(node, act.user(), name, subpath)? {
        bundle::Source::Path(root) => (root, ".".to_owned()),
        bundle::Source::Beneath { root, path } => (root, path),
        _ => return Ok(None),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |errno| {
        EngineError::io(format!("open {path} of volume {name}"), std::io::Error::from(errno))
    };
    let top = fs::open(&root, flags, Mode::empty()).map_err(failed)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match fs::openat2(&top, path.as_str(), flags, Mode::empty(), resolve) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => opened.map(Some).map_err(failed),
    }
}

/// Fills a volume with what the container's image has at `target`, if the volume is empty.
pub(crate) fn fill(
    node: &Arc<Node>,
    made: &Made,
    subpath: &str,
    (container, target): (ContainerId, &str),
) -> Result<()> {
    let volumes = node.store.volumes();
    let kept_here = |volume: &Volume| volume.mount.is_none();
    match made {
        Made::Local(volume) if kept_here(volume) => {
            volumes.copy_up(&volume.name, subpath, container, target)?;
        }
        // What memory holds is gone before the container starts.
        Made::Local(volume) if volume.mount.as_ref().is_some_and(|it| it.fstype == "tmpfs") => {}
        made => {
            let Some(filling) = volumes.filling(container, target)? else { return Ok(()) };
            let act = Act::begin(node)?;
            if let Some(dir) = opened(node, &act, made.name().as_str(), subpath)? {
                filling.fill(&dir)?;
            }
        }
    }
    Ok(())
}
