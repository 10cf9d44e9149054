//! What happened, as `GET /events` tells it: one such object after another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_zero;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EventMessage {
    /// The action again, for clients below 1.52; containers and images only.
    #[serde(rename = "status", skip_serializing_if = "is_zero")]
    pub status: String,
    /// The actor's id again, for clients below 1.52; containers and images only.
    #[serde(rename = "id", skip_serializing_if = "is_zero")]
    pub id: String,
    /// The container's image again, for clients below 1.52.
    #[serde(rename = "from", skip_serializing_if = "is_zero")]
    pub from: String,
    /// `container`, `image`, `network`, `volume`, `daemon`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// `start`, `die`, `pull`, …
    pub action: String,
    /// What it happened to.
    pub actor: EventActor,
    /// `local` or `swarm`.
    #[serde(rename = "scope", skip_serializing_if = "is_zero")]
    pub scope: String,
    /// Unix seconds.
    #[serde(rename = "time", skip_serializing_if = "is_zero")]
    pub time: i64,
    /// Unix nanoseconds.
    #[serde(rename = "timeNano", skip_serializing_if = "is_zero")]
    pub time_nano: i64,
}

/// What an event happened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EventActor {
    /// Id or name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name, image, exit code, labels, …
    pub attributes: BTreeMap<String, String>,
}
