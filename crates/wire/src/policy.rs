//! The file that says who may do what (daemon setting `authorization-policy`): JSON like the
//! daemon's own configuration, keys with dashes. What it does not know it refuses: a rule that is
//! misspelt must not be a rule that is not there.

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyFile {
    /// Where decisions are written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditSettings>,
    /// Rules; the first that names a client is the client's.
    pub rules: Vec<RuleSettings>,
}

/// Where decisions are written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditSettings {
    /// A file that lines are added to.
    pub file: String,
    /// Requests are refused while it cannot be written.
    #[serde(default)]
    pub required: bool,
    /// Write down what only looks and was allowed, too.
    #[serde(default = "yes")]
    pub reads: bool,
}

fn yes() -> bool {
    true
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleSettings {
    /// Its name, shown in refusals.
    pub name: String,
    /// Whom it names.
    pub clients: ClientSettings,
    /// Classes of operations; `*` stands for any characters.
    pub allow: Vec<String>,
    /// `own` or `all`.
    #[serde(default)]
    pub objects: Objects,
    /// What containers may be; `"containers": "any"` for anything.
    #[serde(default)]
    pub containers: Containers,
    /// Patterns of image names; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<String>>,
}

/// Which objects exist for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objects {
    /// Those that it made, and shared ones.
    #[default]
    Own,
    /// All of them.
    All,
}

/// Whom a rule names: those that any of these fits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ClientSettings {
    /// Everybody.
    pub anyone: bool,
    /// Names of users of this host, or ids.
    pub users: Vec<String>,
    /// Names of groups of this host, or ids.
    pub groups: Vec<String>,
    /// Patterns of certificates' common names.
    pub common_names: Vec<String>,
    /// Patterns of certificates' organizational units.
    pub units: Vec<String>,
    /// Patterns of certificates' alternative names.
    pub alternative_names: Vec<String>,
}

/// What containers may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Containers {
    /// The word `any`.
    Word(AnyWord),
    /// What is opened of the ways to the host.
    Limits(Box<LimitSettings>),
}

/// The only word there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnyWord {
    /// Nothing is looked at.
    Any,
}

impl Default for Containers {
    fn default() -> Self {
        Self::Limits(Box::default())
    }
}

/// What is opened of the ways to the host; whatever is absent is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LimitSettings {
    /// `--privileged`; it opens everything below as well.
    pub privileged: bool,
    /// Directories, `PATH` or `PATH:ro`; `{user}` stands for the client's name.
    pub host_mounts: Vec<String>,
    /// `network`, `pid`, `ipc`, `uts`, `user`, `cgroup`.
    pub host_namespaces: Vec<String>,
    /// Capabilities beyond the daemon's default.
    pub capabilities: Vec<String>,
    /// Patterns of device paths and device names.
    pub devices: Vec<String>,
    /// Security options weaker than the daemon's defaults.
    pub weaker_security: bool,
    /// OCI runtimes beside the default.
    pub runtimes: Vec<String>,
    /// Log drivers that send output elsewhere.
    pub log_drivers: Vec<String>,
    /// Volume drivers beside `local`.
    pub volume_drivers: Vec<String>,
    /// Network drivers beside `bridge`.
    pub network_drivers: Vec<String>,
}
