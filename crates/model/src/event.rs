//! What happened: the values behind `docker events`. This module never reads a clock.

use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What kind of object.
    pub kind: EventKind,
    /// What happened, in Docker's words (`create`, `start`, `die`, `exec_create: sh`, …).
    pub action: String,
    /// The object's id (or name, for volumes; or reference, for images).
    pub actor: String,
    /// Its attributes (`name`, `image`, labels, `exitCode`, `signal`, …).
    pub attributes: BTreeMap<String, String>,
}

/// The kinds of objects events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The daemon.
    Daemon,
    /// The build cache.
    Builder,
    /// A managed plugin.
    Plugin,
}

impl EventKind {
    /// Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Daemon => "daemon",
            Self::Builder => "builder",
            Self::Plugin => "plugin",
        }
    }
}
