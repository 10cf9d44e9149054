//! What the engine writes down: each container's definition (made once, changed by rename and
//! update) and its state (changed with every phase), each network, and a few facts of the daemon.
//! The stored forms are versioned; nothing of the model is serialised by accident.

mod runs;
mod stored;
mod v1;

use crate::{EngineError, Result};
use model::exec::ExecDraft;
use model::network::{Endpoint, NetworkSpec, PortBinding};
use model::phase::{Exit, Phase};
use model::{ContainerId, ContainerName, ContainerSpec, Draft, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::record::{Batch, Durability, Records};
use stored::Stored;

/// Table of container definitions, by id.
const DEFINITIONS: &str = "containers";
/// Table of container states, by id.
const STATES: &str = "container-states";
/// Table of networks, by id.
const NETWORKS: &str = "networks";
/// Table of containers that are being made, by id: volumes made for them alone.
const CREATIONS: &str = "container-creations";
/// Table of further processes as they were asked for, by id.
const EXECS: &str = "execs";
/// Table of the daemon's own facts.
const DAEMON: &str = "daemon";

/// What a container is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    /// Its id.
    pub(crate) id: ContainerId,
    /// Its name.
    pub(crate) name: ContainerName,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// As asked.
    pub(crate) draft: Draft,
    /// As decided.
    pub(crate) spec: ContainerSpec,
    /// What the user was told when it was made.
    pub(crate) warnings: Vec<String>,
}

/// A further process as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExecRecord {
    /// Its id.
    pub(crate) id: String,
    /// Its container.
    pub(crate) container: ContainerId,
    /// As asked.
    pub(crate) draft: ExecDraft,
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// Where in its life.
    pub(crate) phase: Phase,
    /// How its last run ended, also while it runs again.
    pub(crate) last_exit: Option<Exit>,
    /// Restarts by its policy since it was last started by hand.
    pub(crate) restart_count: u32,
    /// The last pause before a restart, ns.
    pub(crate) last_delay_ns: u64,
    /// A user asked it to stop.
    pub(crate) stop_asked: bool,
    /// It is stopped because it was unhealthy, and is to run again.
    pub(crate) heal: bool,
    /// Whoever removes it removes its anonymous volumes, too.
    pub(crate) with_volumes: bool,
    /// Endpoints in force.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Ports in force.
    pub(crate) ports: Vec<PortBinding>,
    /// It is no longer on this endpoint's network, but what was made for it is not all gone.
    pub(crate) leaving: Option<Endpoint>,
    /// First host id of its range, while it runs.
    pub(crate) id_range: Option<u32>,
    /// Its cgroup, while it runs.
    pub(crate) cgroup: String,
}

impl Default for State {
    fn default() -> Self {
        Self {
            phase: Phase::Created,
            last_exit: None,
            restart_count: 0,
            last_delay_ns: 0,
            stop_asked: false,
            heal: false,
            with_volumes: false,
            endpoints: Vec::new(),
            ports: Vec::new(),
            leaving: None,
            id_range: None,
            cgroup: String::new(),
        }
    }
}

/// Every stored form says its version.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Versioned<T> {
    #[serde(rename = "1")]
    V1(T),
}

fn encode<S: Stored<M> + Serialize, M>(value: &M) -> Result<Vec<u8>> {
    serde_json::to_vec(&Versioned::V1(S::store(value))).map_err(EngineError::internal)
}

fn decode<S: Stored<M> + DeserializeOwned, M>(what: &str, bytes: &[u8]) -> Result<M> {
    let Versioned::V1(stored) = serde_json::from_slice::<Versioned<S>>(bytes)
        .map_err(|error| EngineError::Internal(format!("read record of {what}: {error}")))?;
    Ok(stored.load()?)
}

/// Writes a new container down, to last: a power cut does not take what was answered. One that
/// removes itself was never meant to outlive one, and does not make its user wait for the disk.
pub(crate) fn create(records: &Records, definition: &Definition, state: &State) -> Result<()> {
    let lasts = !definition.spec.auto_remove;
    let durability = if lasts { Durability::Immediate } else { Durability::Relaxed };
    let id = definition.id.to_string();
    let batch = Batch::new()
        .put(DEFINITIONS, &id, &encode::<v1::Definition, _>(definition)?)
        .put(STATES, &id, &encode::<v1::State, _>(state)?)
        .delete(CREATIONS, &id);
    Ok(records.commit(batch, durability)?)
}

/// Writes down that volumes are about to be made for a container that is not written down yet:
/// [`create`] or [`abandon`] ends that.
pub(crate) fn begin(records: &Records, id: &ContainerId, volumes: &[String]) -> Result<()> {
    let bytes = serde_json::to_vec(volumes).map_err(EngineError::internal)?;
    Ok(records.put(CREATIONS, &id.to_string(), &bytes, Durability::Relaxed)?)
}

/// The container will not be, and its volumes are gone.
pub(crate) fn abandon(records: &Records, id: &str) -> Result<()> {
    Ok(records.delete(CREATIONS, id, Durability::Relaxed)?)
}

/// Containers whose making was not finished, and the names of volumes made for them alone.
pub(crate) fn unfinished(records: &Records) -> Result<Vec<(String, Vec<String>)>> {
    let all = records.iter(CREATIONS)?;
    // What cannot be read names no volume.
    let names = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_default();
    Ok(all.into_iter().map(|(id, bytes)| (id, names(&bytes))).collect())
}

/// Writes a further process down.
pub(crate) fn save_exec(records: &Records, exec: &ExecRecord) -> Result<()> {
    let bytes = encode::<v1::ExecRecord, _>(exec)?;
    Ok(records.put(EXECS, &exec.id, &bytes, Durability::Relaxed)?)
}

/// Forgets further processes.
pub(crate) fn forget_execs(records: &Records, ids: &[String]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let batch = ids.iter().fold(Batch::new(), |batch, id| batch.delete(EXECS, id));
    Ok(records.commit(batch, Durability::Relaxed)?)
}

/// Every further process that is written down and can be read.
pub(crate) fn execs(records: &Records) -> Result<Vec<ExecRecord>> {
    let all = records.iter(EXECS)?;
    let read = |(id, bytes): (String, Vec<u8>)| decode::<v1::ExecRecord, _>(&id, &bytes).ok();
    Ok(all.into_iter().filter_map(read).collect())
}

/// Writes a changed definition down, to last.
pub(crate) fn redefine(records: &Records, definition: &Definition) -> Result<()> {
    let bytes = encode::<v1::Definition, _>(definition)?;
    let id = definition.id.to_string();
    Ok(records.put(DEFINITIONS, &id, &bytes, Durability::Immediate)?)
}

/// Writes a changed definition and the state that goes with it down, both or neither, to last.
pub(crate) fn rewrite(records: &Records, definition: &Definition, state: &State) -> Result<()> {
    let id = definition.id.to_string();
    let batch = Batch::new().put(DEFINITIONS, &id, &encode::<v1::Definition, _>(definition)?).put(
        STATES,
        &id,
        &encode::<v1::State, _>(state)?,
    );
    Ok(records.commit(batch, Durability::Immediate)?)
}

/// Writes a state down so that a killed daemon finds it: without waiting for the disk, for what
/// runs does not survive a power cut anyway.
pub(crate) fn save_state(records: &Records, id: &ContainerId, state: &State) -> Result<()> {
    let bytes = encode::<v1::State, _>(state)?;
    Ok(records.put(STATES, &id.to_string(), &bytes, Durability::Relaxed)?)
}

/// Where a container is that has no definition here: one of the node's own.
pub(crate) fn state(records: &Records, id: &ContainerId) -> Result<State> {
    match records.get(STATES, &id.to_string())? {
        Some(bytes) => decode::<v1::State, _>(&id.to_string(), &bytes),
        None => Ok(State::default()),
    }
}

/// Forgets where such a container was.
pub(crate) fn forget_state(records: &Records, id: &ContainerId) -> Result<()> {
    Ok(records.delete(STATES, &id.to_string(), Durability::Relaxed)?)
}

/// Forgets a container.
pub(crate) fn forget(records: &Records, id: &ContainerId) -> Result<()> {
    let id = id.to_string();
    let batch = Batch::new().delete(DEFINITIONS, &id).delete(STATES, &id);
    Ok(records.commit(batch, Durability::Relaxed)?)
}

/// A container's id, and what is written of it if that can be read.
pub(crate) type Recorded = (String, Result<(Definition, State)>);

/// Every container written down. One that cannot be read is told apart, not dropped.
pub(crate) fn containers(records: &Records) -> Result<Vec<Recorded>> {
    let load = |id: &str, bytes: &[u8]| {
        let definition = decode::<v1::Definition, _>(id, bytes)?;
        let state = match records.get(STATES, id)? {
            Some(bytes) => decode::<v1::State, _>(id, &bytes)?,
            None => State::default(),
        };
        Ok((definition, state))
    };
    let all = records.iter(DEFINITIONS)?;
    Ok(all.into_iter().map(|(id, bytes)| (id.clone(), load(&id, &bytes))).collect())
}

/// Writes a network down, to last.
pub(crate) fn save_network(records: &Records, network: &NetworkSpec) -> Result<()> {
    let bytes = encode::<v1::NetworkSpec, _>(network)?;
    Ok(records.put(NETWORKS, &network.id.to_string(), &bytes, Durability::Immediate)?)
}

/// Forgets a network.
pub(crate) fn forget_network(records: &Records, id: &model::NetworkId) -> Result<()> {
    Ok(records.delete(NETWORKS, &id.to_string(), Durability::Immediate)?)
}

/// Every network written down.
pub(crate) fn networks(records: &Records) -> Result<Vec<NetworkSpec>> {
    let all = records.iter(NETWORKS)?;
    all.iter().map(|(id, bytes)| decode::<v1::NetworkSpec, _>(id, bytes)).collect()
}

/// A fact of the daemon, made by `make` the first time it is asked for.
pub(crate) fn daemon_fact(
    records: &Records,
    key: &str,
    make: impl FnOnce() -> Result<String>,
) -> Result<String> {
    if let Some(bytes) = records.get(DAEMON, key)? {
        return String::from_utf8(bytes).map_err(EngineError::internal);
    }
    let value = make()?;
    records.put(DAEMON, key, value.as_bytes(), Durability::Immediate)?;
    Ok(value)
}

#[cfg(test)]
mod tests;
