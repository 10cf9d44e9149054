//! Plugins when the daemon begins and ends: those that run are taken over, those that are to run
//! are started, before any container that may need them; what a killed daemon left is undone.

use super::keeper::Order;
use super::record::{self, Record};
use super::{ask, keep, run};
use crate::Result;
use crate::node::{Node, blocking};
use model::ContainerId;
use std::sync::Arc;
use std::time::Duration;

/// How long a plugin has to listen again, and how often its program may end before it does.
const AFRESH: (Duration, u32) = (run::PATIENCE, 3);

/// Enters the plugins that are to run, so that networks find their drivers where these went on.
/// Blocking.
pub(crate) fn enter_running(node: &Node) -> Result<()> {
    for plugin in record::all(node.store.records())? {
        match plugin.enabled {
            true => run::enter(node, &plugin),
            false => node.plugins.rest(&plugin.name, false),
        }
    }
    Ok(())
}

/// Every plugin gets its owner; those that are to run do when this returns, or have failed to.
/// Gives their ids.
pub(crate) async fn restore(node: &Arc<Node>) -> Result<Vec<ContainerId>> {
    let reading = Arc::clone(node);
    let recorded = blocking(move || record::all(reading.store.records())).await?;
    let ids = recorded.iter().map(|plugin| plugin.id).collect();
    let all: Vec<_> =
        recorded.into_iter().map(|it| tokio::spawn(one(Arc::clone(node), it))).collect();
    for plugin in all {
        // One that panicked has said so.
        let _ = plugin.await;
    }
    Ok(ids)
}

async fn one(node: Arc<Node>, plugin: Record) {
    let mut running = None;
    if plugin.enabled {
        match run::take_over(&node, &plugin).await {
            Ok(handle) => {
                if let Err(error) = run::listens(&node, &plugin, &handle, AFRESH).await {
                    tracing::error!(plugin = %plugin.name, %error, "restore a plugin");
                }
                running = Some(handle);
            }
            Err(error) => tracing::error!(plugin = %plugin.name, %error, "restore a plugin"),
        }
    } else if let Err(error) = run::abandon(&node, &plugin).await {
        tracing::error!(plugin = %plugin.name, %error, "clear what a plugin left");
    }
    keep(&node, plugin, running);
}

/// Stops every plugin's program: the daemon ends, and nothing is to go on without it.
pub(crate) async fn halt(node: &Arc<Node>) {
    for entry in node.managed.all() {
        // Gone is what was wanted.
        let _ = ask(&entry, Order::Halt).await;
    }
}
