//! Changes to a container that exists: its name, its limits, its restart policy.

use super::Actor;
use crate::bundle;
use crate::node::blocking;
use crate::{EngineError, Result, host, record};
use model::ContainerName;
use model::draft::UpdateDraft;
use model::phase::Phase;
use model::resolve::check_resources;
use model::resources::Resources;
use model::restart::RestartPolicy;

impl Actor {
    /// Writes the definition down again and shows it.
    pub(super) fn redefine(&mut self) -> Result<()> {
        record::redefine(self.node.store.records(), &self.definition)?;
        self.publish();
        Ok(())
    }

    /// Writes definition and state down again, both or neither, and shows it.
    pub(super) fn rewrite(&mut self) -> Result<()> {
        record::rewrite(self.node.store.records(), &self.definition, &self.state)?;
        self.publish();
        Ok(())
    }

    /// Gives it another name.
    pub(super) async fn rename(&mut self, name: ContainerName) -> Result<()> {
        let old = self.definition.name.clone();
        if old == name {
            return Err(EngineError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        if matches!(self.state.phase, Phase::Removing | Phase::Dead { .. }) {
            return Err(EngineError::conflict("container is marked for removal"));
        }
        self.node.registry.reserve(&name, self.definition.id)?;
        self.definition.name = name.clone();
        if let Err(error) = self.redefine() {
            self.definition.name = old;
            self.node.registry.release(&name, &self.definition.id);
            return Err(error);
        }
        store::failpoint::hit("engine.rename.redefined");
        self.node.registry.release(&old, &self.definition.id);
        for endpoint in &mut self.state.endpoints {
            if endpoint.interface.is_some() {
                self.node.net.rename(endpoint, name.as_str())?;
            }
        }
        store::failpoint::hit("engine.rename.networks");
        record::save_state(self.node.store.records(), &self.definition.id, &self.state)?;
        self.publish();
        self.emit("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Forgets a legacy link. What the program was told of the other at its start stays told.
    pub(super) fn unlink(&mut self, alias: &str) -> Result<()> {
        let links = &mut self.definition.draft.host.links;
        let before = links.len();
        links.retain(|link| {
            let (other, own) = link.split_once(':').unwrap_or((link, link));
            own.rsplit('/').next() != Some(alias) && (own != other || other != alias)
        });
        if links.len() == before {
            let name = &self.definition.name;
            return Err(EngineError::Denied(model::Denied::not_found(format!(
                "Cannot get parent /{name} for link /{name}/{alias}: no such link"
            ))));
        }
        self.redefine()?;
        self.networks_changed()
    }

    /// Changes limits, in the running container too, and the restart policy.
    pub(super) async fn update(&mut self, change: &UpdateDraft) -> Result<Vec<String>> {
        if matches!(self.state.phase, Phase::Removing | Phase::Dead { .. }) {
            return Err(EngineError::conflict(format!(
                "Cannot update container {}: Container is marked for removal and cannot be \
                 \"update\".",
                self.definition.id
            )));
        }
        if change.restart.is_some_and(|policy| policy != RestartPolicy::No)
            && self.definition.spec.auto_remove
        {
            return Err(EngineError::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        let wanted = self.definition.spec.resources.merged(&change.resources);
        check_resources(&wanted, &self.node.facts)?;
        check_merge(&self.definition.spec.resources, change)?;
        let (before, warnings) = self.change_ports(change).await?;
        let changed = self.update_limits(change, wanted).await;
        if let Err(error) = changed {
            self.restore_ports(before).await;
            return Err(error);
        }
        store::failpoint::hit("engine.update.recorded");
        self.publish();
        self.emit("update", &[]);
        Ok(warnings)
    }

    /// Puts new limits in force and writes everything that changed down.
    async fn update_limits(&mut self, change: &UpdateDraft, wanted: Resources) -> Result<()> {
        let limits_change = change.resources != Resources::default();
        if limits_change && self.state.phase.run().is_some() {
            let devices = host::block_devices(&change.resources)?;
            let limits = bundle::update(&change.resources, &devices);
            let (hierarchy, path) = (self.node.hierarchy.clone(), self.state.cgroup.clone());
            let id = self.definition.id;
            blocking(move || {
                let failed = |error: runtime::cgroup::CgroupError| {
                    let why = crate::error::chain(&error);
                    EngineError::Internal(format!("Cannot update container {id}: {why}"))
                };
                let group = runtime::cgroup::Cgroup::open(&hierarchy, &path).map_err(failed)?;
                group.update(&limits).map_err(failed)
            })
            .await?;
        }
        store::failpoint::hit("engine.update.applied");
        self.definition.spec.resources = wanted;
        let asked = &mut self.definition.draft.host;
        asked.resources = asked.resources.merged(&change.resources);
        if let Some(policy) = change.restart {
            asked.restart = policy;
            self.definition.spec.restart = policy;
        }
        record::rewrite(self.node.store.records(), &self.definition, &self.state)
    }
}

/// A memory limit above the swap limit needs that one to change too; Docker's refusal.
fn check_merge(old: &Resources, change: &UpdateDraft) -> Result<()> {
    let new = &change.resources;
    let (Some(memory), None) = (new.memory_bytes, new.memory_swap_bytes) else { return Ok(()) };
    match old.memory_swap_bytes {
        Some(swap) if swap > 0 && memory > swap => Err(EngineError::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the \
             memoryswap at the same time",
        )),
        _ => Ok(()),
    }
}
