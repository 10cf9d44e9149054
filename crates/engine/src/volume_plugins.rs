//! Volumes whose content is a plugin's (docs.docker.com, "Docker volume plugins"): the driver makes
//! them, says where they are, and is told of everybody who begins and ends to use one. What the
//! engine knows of them, it writes down; what only the driver knows, it is asked.
//!
//! ```text
//! create ─▶ VolumeDriver.Create, record        start ─▶ VolumeDriver.Mount ─▶ where
//! remove ─▶ VolumeDriver.Remove, record gone   end   ─▶ VolumeDriver.Unmount
//! ```
//!
//! Who uses one is written down by [`crate::volume_uses`]. Blocking.

use crate::node::Node;
use crate::plugins::{Plugin, PluginError};
use crate::{EngineError, Result, clock, random, volume_uses};
use model::volume::{VolumeDraft, VolumeView};
use model::{ContainerId, Denied, Timestamp, VolumeName};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::record::Durability;
use tokio::runtime::Handle;

/// What a plugin says that it implements.
const CAPABILITY: &str = "VolumeDriver";
/// Table of volumes, by name.
const VOLUMES: &str = "plugin-volumes";
/// How long a driver may take to say what it has, when nobody waits for one of its volumes.
pub(crate) const GLANCE: Duration = Duration::from_secs(2);

/// Whether a driver that `meant` accepts has made a volume that is still there.
pub(crate) fn made_by(node: &Node, meant: &dyn Fn(&str) -> bool) -> Result<bool> {
    let all = node.store.records().iter(VOLUMES)?;
    let read = |bytes: &[u8]| serde_json::from_slice::<v1::Record>(bytes).ok();
    Ok(all.iter().filter_map(|(_, bytes)| read(bytes)).any(|it| meant(&it.driver)))
}

/// A volume of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginVolume {
    pub(crate) name: VolumeName,
    pub(crate) driver: String,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    created: Timestamp,
    anonymous: bool,
}

mod v1 {
    //! The stored form.
    use super::{BTreeMap, Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Record {
        pub(super) version: u32,
        pub(super) driver: String,
        pub(super) created_ns: i64,
        pub(super) anonymous: bool,
        pub(super) labels: BTreeMap<String, String>,
        pub(super) options: BTreeMap<String, String>,
    }
}

/// What a driver says of a volume.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Mountpoint")]
    mountpoint: String,
    #[serde(rename = "Status")]
    status: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Got {
    #[serde(rename = "Volume")]
    volume: Option<Told>,
    #[serde(rename = "Volumes")]
    volumes: Option<Vec<Told>>,
    #[serde(rename = "Mountpoint")]
    mountpoint: String,
    #[serde(rename = "Capabilities")]
    capabilities: Option<Capabilities>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    #[serde(rename = "Scope")]
    scope: String,
}

/// The driver of this name.
fn driver(node: &Node, name: &str) -> Result<Arc<Plugin>> {
    let found = node.plugins.find_blocking(&Handle::current(), name, CAPABILITY);
    found.map_err(|error| {
        let message = format!("error looking up volume plugin {name}: {error}");
        let kind = match &error {
            PluginError::NotFound(_) | PluginError::Lacks { .. } => model::ErrorKind::NotFound,
            _ => model::ErrorKind::Internal,
        };
        EngineError::Denied(Denied { kind, message })
    })
}

fn ask(node: &Node, name: &str, method: &str, question: &serde_json::Value) -> Result<Got> {
    let plugin = driver(node, name)?;
    let method = format!("{CAPABILITY}.{method}");
    Ok(plugin.call_blocking(&Handle::current(), &method, question)?)
}

/// Asks within a time, and takes no answer for one: lists must not hang by a driver that does.
fn glance(
    node: &Node,
    name: &str,
    (method, patience): (&str, Duration),
    question: &serde_json::Value,
) -> Option<Got> {
    let work = async {
        let plugin = node.plugins.find(name, CAPABILITY).await?;
        plugin.call(&format!("{CAPABILITY}.{method}"), question).await
    };
    let outcome = Handle::current().block_on(async { tokio::time::timeout(patience, work).await });
    match outcome {
        Ok(Ok(got)) => Some(got),
        Ok(Err(error)) => {
            tracing::debug!(driver = name, %error, "ask a volume driver");
            None
        }
        Err(_elapsed) => {
            tracing::warn!(driver = name, "a volume driver does not answer");
            None
        }
    }
}

/// The volume of this name, if a plugin has it.
pub(crate) fn find(node: &Node, name: &VolumeName) -> Result<Option<PluginVolume>> {
    let Some(bytes) = node.store.records().get(VOLUMES, name.as_str())? else { return Ok(None) };
    Ok(read(name, &bytes))
}

fn read(name: &VolumeName, bytes: &[u8]) -> Option<PluginVolume> {
    let record: v1::Record = serde_json::from_slice(bytes).ok()?;
    Some(PluginVolume {
        name: name.clone(),
        driver: record.driver,
        options: record.options,
        labels: record.labels,
        created: Timestamp(record.created_ns),
        anonymous: record.anonymous,
    })
}

/// Lets a driver make a volume. The caller knows that none of that name is there.
pub(crate) fn create(node: &Node, draft: &VolumeDraft) -> Result<PluginVolume> {
    let anonymous = draft.name.is_empty() || draft.anonymous;
    let name = match draft.name.as_str() {
        "" => ContainerId::from_bytes(random::id_bytes()?).to_string(),
        name => name.to_owned(),
    };
    let name = VolumeName::parse(&name)?;
    let question = json!({ "Name": name.as_str(), "Opts": draft.options });
    // A plugin may be asked for without its tag.
    let driver = driver(node, &draft.driver)?.name().to_owned();
    ask(node, &driver, "Create", &question)?;
    store::failpoint::hit("engine.plugin-volume.made");
    let record = v1::Record {
        version: 1,
        driver,
        created_ns: clock::now().0,
        anonymous,
        labels: draft.labels.clone(),
        options: draft.options.clone(),
    };
    let bytes = serde_json::to_vec(&record).map_err(EngineError::internal)?;
    node.store.records().put(VOLUMES, name.as_str(), &bytes, Durability::Immediate)?;
    read(&name, &bytes).ok_or_else(|| EngineError::internal("a volume's record cannot be read"))
}

/// Every volume of plugins: those made here, and those that drivers have beside them.
pub(crate) fn list(node: &Node) -> Result<Vec<VolumeView>> {
    let mut known = Vec::new();
    for (name, bytes) in node.store.records().iter(VOLUMES)? {
        known.extend(VolumeName::parse(&name).ok().and_then(|name| read(&name, &bytes)));
    }
    let mut drivers: BTreeSet<String> = known.iter().map(|volume| volume.driver.clone()).collect();
    drivers.extend(node.plugins.names());
    let mut places: BTreeMap<(String, String), String> = BTreeMap::new();
    for name in drivers {
        let told = glance(node, &name, ("List", GLANCE), &json!({})).and_then(|got| got.volumes);
        for volume in told.unwrap_or_default() {
            let place = place(node, &name, volume.mountpoint);
            places.insert((name.clone(), volume.name), place);
        }
    }
    let mut out = Vec::new();
    for volume in &known {
        let place = places.remove(&(volume.driver.clone(), volume.name.to_string()));
        out.push(shown(volume, place.unwrap_or_default(), false));
    }
    for ((driver, name), place) in places {
        // Another volume of that name hides it, as one here hides the driver's own.
        let free = |name: &VolumeName| known.iter().all(|volume| volume.name != *name);
        if let Some(name) = VolumeName::parse(&name).ok().filter(free) {
            out.push(shown(&unmade(name, driver), place, false));
        }
    }
    Ok(out)
}

/// A volume that a driver has and nobody made here.
fn unmade(name: VolumeName, driver: String) -> PluginVolume {
    let (options, labels) = (BTreeMap::new(), BTreeMap::new());
    PluginVolume { name, driver, options, labels, created: Timestamp(0), anonymous: false }
}

/// A volume as its driver has it now.
pub(crate) fn view(node: &Node, volume: &PluginVolume) -> Result<VolumeView> {
    let question = json!({ "Name": volume.name.as_str() });
    let told = ask(node, &volume.driver, "Get", &question)?.volume.unwrap_or_default();
    let capable = glance(node, &volume.driver, ("Capabilities", GLANCE), &json!({}));
    let scope = capable.and_then(|got| got.capabilities).unwrap_or_default().scope;
    let place = place(node, &volume.driver, told.mountpoint);
    let status = told.status.unwrap_or_default();
    let status = status.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    Ok(VolumeView { status, ..shown(volume, place, scope == "global") })
}

fn shown(volume: &PluginVolume, mountpoint: String, global: bool) -> VolumeView {
    VolumeView {
        name: volume.name.clone(),
        driver: volume.driver.clone(),
        mountpoint,
        created: volume.created,
        labels: volume.labels.clone(),
        options: volume.options.clone(),
        anonymous: volume.anonymous,
        global,
        status: BTreeMap::new(),
        usage: None,
    }
}

/// Lets the driver remove a volume. The caller knows that nothing uses it. `force`: a driver that
/// is gone, or that fails, does not keep its record.
pub(crate) fn remove(node: &Node, volume: &PluginVolume, force: bool) -> Result<()> {
    let question = json!({ "Name": volume.name.as_str() });
    match ask(node, &volume.driver, "Remove", &question) {
        Err(error) if force => {
            tracing::warn!(volume = %volume.name, %error, "a driver did not remove a volume");
        }
        outcome => drop(outcome?),
    }
    store::failpoint::hit("engine.plugin-volume.removed");
    node.store.records().delete(VOLUMES, volume.name.as_str(), Durability::Immediate)?;
    Ok(())
}

/// Has a volume mounted for a container; gives the directory of the host that its content is
/// below, and the way there when others write in that directory.
pub(crate) fn mount(
    node: &Node,
    volume: &PluginVolume,
    id: &ContainerId,
) -> Result<(PathBuf, Option<String>)> {
    let driver = &volume.driver;
    volume_uses::note(node, id, volume.name.as_str(), driver)?;
    let question = json!({ "Name": volume.name.as_str(), "ID": id.to_string() });
    let told = ask(node, driver, "Mount", &question)?.mountpoint;
    let nothing = || {
        let name = &volume.name;
        let why = format!("volume driver {driver}: {name} is mounted at {told}, where nothing is");
        EngineError::internal(why)
    };
    let plugin = self::driver(node, driver)?;
    let Some(scope) = plugin.scope() else {
        let path = PathBuf::from(&told);
        let there = path.is_absolute() && path.exists();
        return there.then_some((path, None)).ok_or_else(nothing);
    };
    let (dir, rest) = scope.find(&told).ok_or_else(nothing)?;
    let rest = if rest.is_empty() { ".".to_owned() } else { rest };
    Ok((dir.to_owned(), Some(rest)))
}

/// Where what a driver tells is on the host, for people.
fn place(node: &Node, driver: &str, told: String) -> String {
    if told.is_empty() {
        return told;
    }
    let found = node.plugins.find_blocking(&Handle::current(), driver, CAPABILITY);
    let Ok(plugin) = found else { return told };
    match plugin.scope().and_then(|scope| scope.find(&told)) {
        Some((dir, rest)) => dir.join(rest).to_string_lossy().into_owned(),
        None => told,
    }
}

/// Tells a driver that somebody does not use a volume of it any more.
pub(crate) fn unmount(
    node: &Node,
    driver: &str,
    (volume, user): (&str, &ContainerId),
    patience: Duration,
) {
    let question = json!({ "Name": volume, "ID": user.to_string() });
    if glance(node, driver, ("Unmount", patience), &question).is_none() {
        tracing::warn!(volume, user = %user, driver, "unmount a plugin's volume");
    }
    store::failpoint::hit("engine.plugin-volume.unmounted");
}
