//! Managed plugins as the API shows them. What a plugin says of itself is [`crate::plugin`].

use serde::{Deserialize, Serialize};

use super::is_zero;
use crate::plugin::{Config, Settings};

pub use crate::plugin::Privilege as PluginPrivilege;

/// A plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plugin {
    /// What it says of itself.
    pub config: Config,
    /// It runs.
    pub enabled: bool,
    /// Its id.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// Its name, with a tag.
    pub name: String,
    /// What it was pulled as.
    #[serde(skip_serializing_if = "is_zero")]
    pub plugin_reference: String,
    /// What was set of it.
    pub settings: Settings,
}
