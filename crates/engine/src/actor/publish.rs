//! Ports of a container that exists: published and taken back, at once while it runs.
//!
//! What is done to the host comes first and is undone when it cannot be written down: a daemon that
//! is killed between the two leaves the ports as they were, for the next one goes by the records.

use super::Actor;
use crate::node::blocking;
use crate::{EngineError, Result};
use model::draft::UpdateDraft;
use model::network::{NetworkMode, PortBinding, PortSpec};
use model::publish::{HostPorts, take_out};
use std::sync::Arc;

/// The ports of a container as they were before a change.
#[derive(Debug)]
pub(super) struct Before {
    asked: Vec<PortBinding>,
    resolved: Vec<PortBinding>,
    exposed: Vec<PortSpec>,
    in_force: Vec<PortBinding>,
}

impl Actor {
    /// Publishes and takes back what a change names, on the host too when it runs, and notes it
    /// without writing it down. Returns what was, for [`Actor::restore_ports`], and warnings.
    pub(super) async fn change_ports(
        &mut self,
        change: &UpdateDraft,
    ) -> Result<(Option<Before>, Vec<String>)> {
        if change.publish.is_empty() && change.unpublish.is_empty() {
            return Ok((None, Vec::new()));
        }
        let spec = &self.definition.spec;
        if matches!(spec.network, NetworkMode::Host | NetworkMode::Container(_)) {
            return Err(EngineError::invalid(
                "conflicting options: port publishing and the container type network mode",
            ));
        }
        let mut ports = spec.ports.clone();
        let gone = take_out(&mut ports, &self.state.ports, &change.unpublish)
            .map_err(|unknown| self.not_published(unknown))?;
        for port in &change.publish {
            let twice = port.host_ports.is_some_and(|(first, last)| first == last);
            if twice && ports.contains(port) {
                return Err(EngineError::conflict(format!(
                    "container {} publishes port {}/{} there already",
                    self.definition.name,
                    port.container.port,
                    port.container.protocol.name()
                )));
            }
        }
        let before = Before {
            asked: self.definition.draft.host.ports.clone(),
            resolved: spec.ports.clone(),
            exposed: spec.exposed_ports.clone(),
            in_force: self.state.ports.clone(),
        };
        let mut warnings = Vec::new();
        if self.state.phase.run().is_some() {
            self.state.ports = self.move_ports(&gone, &change.publish, &mut warnings).await?;
        }
        store::failpoint::hit("engine.update.published");
        ports.extend(change.publish.iter().cloned());
        self.note_ports(ports, &change.publish);
        Ok((Some(before), warnings))
    }

    /// Notes what is published from now on, and at every start.
    fn note_ports(&mut self, ports: Vec<PortBinding>, added: &[PortBinding]) {
        let asked = &mut self.definition.draft.host.ports;
        asked.retain(|port| ports.contains(port));
        asked.extend(added.iter().cloned());
        let spec = &mut self.definition.spec;
        for port in added {
            if !spec.exposed_ports.contains(&port.container) {
                spec.exposed_ports.push(port.container);
            }
        }
        spec.ports = ports;
    }

    /// Puts ports back as they were before a change that failed later.
    pub(super) async fn restore_ports(&mut self, before: Option<Before>) {
        let Some(before) = before else { return };
        let now = std::mem::take(&mut self.state.ports);
        let lost = |from: &[PortBinding], of: &[PortBinding]| -> Vec<PortBinding> {
            from.iter().filter(|port| !of.contains(port)).cloned().collect()
        };
        let (added, gone) = (lost(&now, &before.in_force), lost(&before.in_force, &now));
        self.state.ports = now;
        if self.state.phase.run().is_some() {
            match self.move_ports(&added, &gone, &mut Vec::new()).await {
                Ok(_) => self.state.ports = before.in_force,
                Err(error) => {
                    let container = &self.definition.id;
                    tracing::error!(%container, %error, "publish ports again");
                    self.state.ports.retain(|port| !added.contains(port));
                }
            }
        }
        self.definition.draft.host.ports = before.asked;
        self.definition.spec.ports = before.resolved;
        self.definition.spec.exposed_ports = before.exposed;
    }

    /// On the host: takes ports in force back and publishes others, or leaves all as it is. Returns
    /// the ports in force then.
    async fn move_ports(
        &self,
        gone: &[PortBinding],
        added: &[PortBinding],
        warnings: &mut Vec<String>,
    ) -> Result<Vec<PortBinding>> {
        let landing = self.landing();
        let Some(endpoint) = landing.first.clone() else {
            if added.is_empty() {
                return Ok(self.state.ports.clone());
            }
            return Err(EngineError::conflict(format!(
                "container {} is on no network that ports are published on",
                self.definition.name
            )));
        };
        let network = endpoint.network_name.clone();
        let (node, gone, added) = (Arc::clone(&self.node), gone.to_vec(), added.to_vec());
        let mut ports = self.state.ports.clone();
        ports.retain(|port| !gone.contains(port));
        let wanted = !added.is_empty();
        let new = blocking(move || {
            node.net.unpublish_some(&endpoint, &gone)?;
            store::failpoint::hit("engine.update.unpublished");
            let published = landing.publish(&node, &added);
            if published.is_err() {
                // Nobody else can have got them in so short a time, unless by design.
                if let Err(error) = landing.publish(&node, &gone) {
                    tracing::error!(%error, "publish again what was to go");
                }
            }
            published
        })
        .await?;
        if wanted && new.is_empty() {
            warnings.push(format!("network {network} publishes no ports"));
        }
        ports.extend(new);
        Ok(ports)
    }

    fn not_published(&self, what: HostPorts) -> EngineError {
        EngineError::invalid(format!("container {} does not publish {what}", self.definition.name))
    }
}
