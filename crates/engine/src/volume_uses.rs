//! Who may have a volume mounted that is more than a directory: a plugin's, or one that is a file
//! system of its own. A use is noted before it begins and its note goes after it ended, so that a
//! daemon which was killed in between ends it at its next start.
//!
//! ```text
//! start ─▶ note, mount (or tell the driver)     end ─▶ note gone, the last one unmounts
//! ```
//!
//! A user is a container, or an act of the node's own under an id that no container has. Blocking.

use crate::node::Node;
use crate::volumes::LOCAL;
use crate::{Result, random, volume_mounts, volume_plugins};
use model::{ContainerId, VolumeName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::record::Durability;

/// Table of uses: `<user>/<volume>`, with the driver.
const USES: &str = "plugin-volume-mounts";

/// Writes a use down.
pub(crate) fn note(node: &Node, user: &ContainerId, volume: &str, driver: &str) -> Result<()> {
    let key = format!("{user}/{volume}");
    node.store.records().put(USES, &key, driver.as_bytes(), Durability::Relaxed)?;
    store::failpoint::hit("engine.volume.noted");
    Ok(())
}

/// Whether anybody uses a volume.
pub(crate) fn any(node: &Node, volume: &str) -> Result<bool> {
    let all = node.store.records().iter(USES)?;
    Ok(all.iter().any(|(key, _)| key.split_once('/').is_some_and(|(_, name)| name == volume)))
}

/// A user uses nothing any more.
pub(crate) fn end(node: &Node, user: &ContainerId) {
    end_within(node, user, crate::plugins::PATIENCE);
}

fn end_within(node: &Node, user: &ContainerId, patience: Duration) {
    let begins = format!("{user}/");
    let noted = node.store.records().iter(USES).unwrap_or_default();
    for (key, driver) in noted.iter().filter(|(key, _)| key.starts_with(&begins)) {
        let volume = &key[begins.len()..];
        let ended = match String::from_utf8_lossy(driver) {
            driver if driver == LOCAL => leave(node, volume, key),
            driver => {
                volume_plugins::unmount(node, &driver, (volume, user), patience);
                forget(node, key)
            }
        };
        if let Err(error) = ended {
            tracing::warn!(volume, user = %user, %error, "end the use of a volume");
        }
    }
}

fn forget(node: &Node, key: &str) -> Result<()> {
    Ok(node.store.records().delete(USES, key, Durability::Relaxed)?)
}

/// One less uses a volume of ours; the last one unmounts it. Who comes now has a note already, or
/// waits for the turn and mounts it anew.
fn leave(node: &Node, volume: &str, key: &str) -> Result<()> {
    let turn = node.volume_turns.take(volume);
    forget(node, key)?;
    if any(node, volume)? {
        return Ok(());
    }
    let Ok(name) = VolumeName::parse(volume) else { return Ok(()) };
    volume_mounts::take_off(&turn, &node.store.volumes().find(&name)?)
}

/// At the daemon's start: ends the uses of containers that ended, or never began, while nobody
/// looked.
pub(crate) fn sweep(node: &Node) -> Result<()> {
    let mut gone = BTreeSet::new();
    for (key, _) in node.store.records().iter(USES)? {
        let id = key.split('/').next().and_then(|id| ContainerId::parse(id).ok());
        let runs = |id: &ContainerId| {
            node.registry.by_id(id).is_some_and(|handle| handle.view().phase.run().is_some())
        };
        gone.extend(id.filter(|id| !runs(id)));
    }
    for id in gone {
        // The daemon's start does not wait for a driver that hangs.
        end_within(node, &id, volume_plugins::GLANCE);
    }
    Ok(())
}

/// The use of volumes for an act of the node's own; it ends when dropped.
pub(crate) struct Act {
    node: Arc<Node>,
    user: ContainerId,
}

impl Act {
    /// Begins an act that uses nothing yet.
    pub(crate) fn begin(node: &Arc<Node>) -> Result<Self> {
        let user = ContainerId::from_bytes(random::id_bytes()?);
        Ok(Self { node: Arc::clone(node), user })
    }

    /// As whom it uses volumes.
    pub(crate) fn user(&self) -> &ContainerId {
        &self.user
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let teardown = self.node.teardowns.begin();
        let (node, user) = (Arc::clone(&self.node), self.user);
        // Whoever drops it may not wait. Without a runtime the next start ends it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || {
                end(&node, &user);
                drop(teardown);
            });
        }
    }
}
