//! Docker's plugin configuration, version 1 (docs.docker.com, "Plugin Config Version 1 of Plugin
//! V2"): the document that registries keep beside a plugin's layers, that `plugin create` reads
//! from `config.json`, and that the Engine API shows. Never says what a field does.

use serde::{Deserialize, Serialize};

/// The media type of the configuration in a manifest.
pub const MEDIA_TYPE: &str = "application/vnd.docker.plugin.v1+json";
/// The largest configuration, bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

type Strings = Option<Vec<String>>;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Arguments after the entry point.
    pub args: Args,
    /// For people.
    pub description: String,
    /// Version of the engine that made it.
    #[serde(skip_serializing_if = "is_default")]
    pub docker_version: String,
    /// Where to read more.
    pub documentation: String,
    /// The program and its first arguments.
    pub entrypoint: Strings,
    /// Environment.
    pub env: Option<Vec<Env>>,
    /// What it serves, and where.
    pub interface: Interface,
    /// Wants the host's IPC namespace.
    pub ipc_host: bool,
    /// Devices and capabilities.
    pub linux: Linux,
    /// Mounts.
    pub mounts: Option<Vec<Mount>>,
    /// Which network.
    pub network: Network,
    /// Wants the host's process namespace.
    pub pid_host: bool,
    /// Directory whose mounts the host sees.
    pub propagated_mount: String,
    /// Who it runs as.
    #[serde(skip_serializing_if = "is_default")]
    pub user: User,
    /// Working directory.
    pub work_dir: String,
    /// Its layers.
    #[serde(rename = "rootfs", skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<RootFs>,
}

/// Arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Args {
    /// For people.
    pub description: String,
    /// By which they are set.
    pub name: String,
    /// What of them may be set.
    pub settable: Strings,
    /// As they are without a setting.
    pub value: Strings,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Env {
    /// For people.
    pub description: String,
    /// Its name.
    pub name: String,
    /// What of it may be set: `value`.
    pub settable: Strings,
    /// Absent: not in the environment until it is set.
    pub value: Option<String>,
}

/// What a plugin serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Interface {
    /// Empty, or `moby.plugins.http/v1`.
    #[serde(skip_serializing_if = "is_default")]
    pub protocol_scheme: String,
    /// Name of the socket in `/run/docker/plugins`.
    pub socket: String,
    /// `docker.volumedriver/1.0`, …
    pub types: Strings,
}

/// Devices and capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Linux {
    /// May use every device.
    pub allow_all_devices: bool,
    /// Beyond the usual ones.
    pub capabilities: Strings,
    /// Devices of the host.
    pub devices: Option<Vec<Device>>,
}

/// A device of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Device {
    /// For people.
    pub description: String,
    /// By which it is set.
    pub name: String,
    /// On the host.
    pub path: Option<String>,
    /// What of it may be set: `path`.
    pub settable: Strings,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// For people.
    pub description: String,
    /// In the plugin.
    pub destination: String,
    /// By which it is set.
    pub name: String,
    /// Mount options.
    pub options: Strings,
    /// What of it may be set: `source`.
    pub settable: Strings,
    /// On the host.
    pub source: Option<String>,
    /// `bind`, or a file system.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// The network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Network {
    /// `host`, `bridge` or `none`.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// Who a plugin runs as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Group.
    #[serde(rename = "GID", skip_serializing_if = "is_default")]
    pub gid: u32,
    /// User.
    #[serde(rename = "UID", skip_serializing_if = "is_default")]
    pub uid: u32,
}

/// The layers of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Digests of the plain tars, base first.
    pub diff_ids: Strings,
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a user set of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    /// Arguments after the entry point.
    pub args: Vec<String>,
    /// Devices.
    pub devices: Vec<Device>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Mounts.
    pub mounts: Vec<Mount>,
}

/// Something that a plugin may only do when it was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Privilege {
    /// For people.
    pub description: String,
    /// `network`, `mount`, `device`, …
    pub name: String,
    /// What of it.
    pub value: Vec<String>,
}

impl Config {
    /// Reads a configuration as Go does: names without regard to case, `null` for nothing.
    ///
    /// # Errors
    /// It is not JSON, too large, or has a value of another type.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(serde::de::Error::custom("the configuration is too large"));
        }
        crate::docker::json::from_slice(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_regard_to_case() {
        let text = br#"{"description":"d","entrypoint":["/p"],"network":{"type":"host"},
            "interface":{"types":["docker.volumedriver/1.0"],"socket":"p.sock"},
            "linux":{"capabilities":null,"devices":[{"path":"/dev/fuse"}]},
            "propagatedMount":"/mnt","env":[{"name":"A","settable":["value"]}],
            "User":{"UID":7},"rootfs":{"type":"layers","diff_ids":["sha256:0"]}}"#;
        let config = Config::read(text).unwrap();
        assert_eq!(config.network.kind, "host");
        assert_eq!(config.interface.socket, "p.sock");
        assert_eq!(config.linux.devices.as_ref().unwrap()[0].path.as_deref(), Some("/dev/fuse"));
        assert_eq!(config.env.as_ref().unwrap()[0].value, None);
        assert_eq!((config.user.uid, config.propagated_mount.as_str()), (7, "/mnt"));
        assert_eq!(config.rootfs.clone().unwrap().diff_ids.unwrap(), ["sha256:0"]);
        let again = serde_json::to_vec(&config).unwrap();
        assert_eq!(Config::read(&again).unwrap(), config);
        let shown = String::from_utf8(again).unwrap();
        assert!(shown.contains(r#""PropagatedMount":"/mnt""#) && shown.contains(r#""IpcHost":"#));
        assert!(Config::read(b"[]").is_err() && Config::read(&vec![b' '; 2 << 20]).is_err());
    }
}
