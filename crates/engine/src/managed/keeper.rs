//! The one owner of a plugin: a task that takes orders one by one, writes down what it decided and
//! publishes what the plugin is.
//!
//! ```text
//!  orders ──▶ ┌────────┐ ──▶ run.rs: the container that the plugin runs in
//!             │ keeper │ ──▶ record, events, the plugins that are asked
//!             └────────┘ ──snapshot─▶ readers, without waiting
//! ```

use super::fetch::Package;
use super::record::{self, Record};
use super::{Entry, document, run, settings, uses};
use crate::node::{Node, blocking};
use crate::roster::Handle;
use crate::{EngineError, Result};
use model::event::EventKind;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The way back.
pub(super) type Answer = oneshot::Sender<Result<()>>;

/// What can be asked of a plugin.
pub(super) enum Order {
    Enable {
        patience: Duration,
        answer: Answer,
    },
    Disable {
        force: bool,
        answer: Answer,
    },
    Set {
        words: Vec<String>,
        answer: Answer,
    },
    Remove {
        force: bool,
        answer: Answer,
    },
    /// Another version of it, already here.
    Replace {
        package: Box<Package>,
        answer: Answer,
    },
    /// The daemon ends, and nothing may go on without it.
    Halt(Answer),
}

/// The owner.
pub(super) struct Keeper {
    pub(super) node: Arc<Node>,
    pub(super) entry: Arc<Entry>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) record: Record,
    /// Its container, while it is enabled.
    pub(super) running: Option<Arc<Handle>>,
}

impl Keeper {
    /// Lives until the plugin is removed.
    pub(super) async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            // Whoever asked may have left.
            match order {
                Order::Enable { patience, answer } => {
                    let _ = answer.send(self.enable(patience).await);
                }
                Order::Disable { force, answer } => {
                    let _ = answer.send(self.disable(force).await);
                }
                Order::Set { words, answer } => {
                    let _ = answer.send(self.set(&words).await);
                }
                Order::Replace { package, answer } => {
                    let _ = answer.send(self.replace(*package).await);
                }
                Order::Halt(answer) => {
                    if let Some(handle) = self.running.take() {
                        run::stop(&self.node, &self.record.id, &handle).await;
                    }
                    let _ = answer.send(Ok(()));
                }
                Order::Remove { force, answer } => {
                    let removed = self.remove(force).await;
                    let gone = removed.is_ok();
                    let _ = answer.send(removed);
                    if gone {
                        return;
                    }
                }
            }
        }
    }

    async fn enable(&mut self, patience: Duration) -> Result<()> {
        if self.record.enabled {
            let name = &self.record.name;
            return Err(EngineError::conflict(format!(
                "plugin already enabled: plugin {name} is enabled"
            )));
        }
        let handle = run::start(&self.node, &self.record, patience).await?;
        let mut record = self.record.clone();
        record.enabled = true;
        if let Err(error) = self.save(record).await {
            run::stop(&self.node, &self.record.id, &handle).await;
            return Err(error);
        }
        store::failpoint::hit("engine.plugin.enabled");
        self.running = Some(handle);
        run::enter(&self.node, &self.record);
        self.emit("enable");
        Ok(())
    }

    async fn disable(&mut self, force: bool) -> Result<()> {
        let name = self.record.name.clone();
        if !self.record.enabled {
            return Err(EngineError::conflict(format!(
                "plugin is already disabled: plugin {name} found but disabled"
            )));
        }
        if !force {
            self.check_unused().await?;
        }
        let mut record = self.record.clone();
        record.enabled = false;
        self.save(record).await?;
        store::failpoint::hit("engine.plugin.disabled");
        self.node.plugins.rest(&name, true);
        if let Some(handle) = self.running.take() {
            run::stop(&self.node, &self.record.id, &handle).await;
        }
        self.emit("disable");
        Ok(())
    }

    async fn set(&mut self, words: &[String]) -> Result<()> {
        if self.record.enabled {
            return Err(EngineError::conflict(
                "cannot set on an active plugin, disable plugin before setting",
            ));
        }
        let mut record = self.record.clone();
        record.settings = settings::changed(&record.config, &record.settings, words)?;
        self.save(record).await
    }

    async fn replace(&mut self, package: Package) -> Result<()> {
        if self.record.enabled {
            return Err(must_be_disabled(&self.record.name));
        }
        let mut record = self.record.clone();
        record.settings = settings::carried(&package.config, &record.settings);
        record.reference = package.reference;
        record.text = package.text;
        record.config = package.config;
        record.layers = package.layers;
        let (node, id) = (Arc::clone(&self.node), record.id);
        // What the old version wrote goes first: a root on other layers would be none of either.
        blocking(move || run::remove_root(&node, &id)).await?;
        store::failpoint::hit("engine.plugin.replacing");
        self.save(record).await?;
        drop(package.lease);
        Ok(())
    }

    async fn remove(&mut self, force: bool) -> Result<()> {
        let name = self.record.name.clone();
        if !force {
            self.check_unused().await?;
            if self.record.enabled {
                return Err(EngineError::conflict(format!("plugin {name} is enabled")));
            }
        }
        if self.record.enabled {
            self.disable(true).await?;
        }
        let (node, id) = (Arc::clone(&self.node), self.record.id);
        blocking(move || {
            run::remove_files(&node, &id)?;
            store::failpoint::hit("engine.plugin.forget");
            record::forget(node.store.records(), &id)
        })
        .await?;
        self.node.managed.remove(&self.record.id);
        self.node.plugins.forget(&name);
        self.emit("remove");
        Ok(())
    }

    async fn check_unused(&self) -> Result<()> {
        let (node, name) = (Arc::clone(&self.node), self.record.name.clone());
        let capabilities = document::capabilities(&self.record.config);
        blocking(move || match uses::any(&node, &name, &capabilities)? {
            true => Err(EngineError::conflict(format!("plugin {name} is in use"))),
            false => Ok(()),
        })
        .await
    }

    /// Writes down what the plugin is now, and shows it.
    async fn save(&mut self, record: Record) -> Result<()> {
        let (node, saving) = (Arc::clone(&self.node), record.clone());
        blocking(move || record::save(node.store.records(), &saving)).await?;
        self.entry.publish(&record);
        self.record = record;
        Ok(())
    }

    fn emit(&self, action: &str) {
        emit(&self.node, action, &self.record.id.to_string(), &self.record.name);
    }
}

/// Refuses another version of a plugin that runs.
pub(super) fn must_be_disabled(name: &str) -> EngineError {
    EngineError::conflict(format!(
        "plugin must be disabled before upgrading: plugin {name} is enabled"
    ))
}

/// Tells what happened to a plugin.
pub(super) fn emit(node: &Node, action: &str, actor: &str, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    node.emit(EventKind::Plugin, action, actor, attributes);
}
