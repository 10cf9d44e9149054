//! What a plugin's configuration means: what it wants to be granted, what it serves, which layers
//! it has. Pure.

use crate::{EngineError, Result};
use model::Digest;
use wire::plugin::{Config, Privilege};

/// The longest name of a socket: with the directory it lies in it must fit an address.
const SOCKET_NAME_MAX: usize = 64;
/// The only protocol there is.
const PROTOCOL: &str = "moby.plugins.http/v1";

/// Reads a configuration.
pub(super) fn read(bytes: &[u8]) -> Result<Config> {
    Config::read(bytes)
        .map_err(|error| EngineError::invalid(format!("invalid plugin config: {error}")))
}

/// What has to be granted before the plugin is installed, in Docker's order and words.
pub(super) fn privileges(config: &Config) -> Vec<Privilege> {
    let one = |name: &str, description: &str, value: Vec<String>| Privilege {
        description: description.to_owned(),
        name: name.to_owned(),
        value,
    };
    let yes = || vec!["true".to_owned()];
    let mut all = Vec::new();
    if !matches!(config.network.kind.as_str(), "" | "null" | "none" | "bridge") {
        let value = vec![config.network.kind.clone()];
        all.push(one("network", "permissions to access a network", value));
    }
    if config.ipc_host {
        all.push(one("host ipc namespace", "allow access to host ipc namespace", yes()));
    }
    if config.pid_host {
        all.push(one("host pid namespace", "allow access to host pid namespace", yes()));
    }
    let mounts = config.mounts.iter().flatten().filter_map(|mount| mount.source.clone());
    all.extend(mounts.map(|source| one("mount", "host path to mount", vec![source])));
    let devices = config.linux.devices.iter().flatten().filter_map(|device| device.path.clone());
    all.extend(devices.map(|path| one("device", "host device to access", vec![path])));
    if config.linux.allow_all_devices {
        all.push(one("allow-all-devices", "allow 'rwm' access to all devices", yes()));
    }
    let capabilities = config.linux.capabilities.clone().unwrap_or_default();
    if !capabilities.is_empty() {
        let description = "list of additional capabilities required";
        all.push(one("capabilities", description, capabilities));
    }
    all
}

/// Refuses a grant that is not exactly what the plugin wants.
pub(super) fn check_granted(config: &Config, granted: &[Privilege]) -> Result<()> {
    let comparable = |all: &[Privilege]| {
        let mut all: Vec<(String, Vec<String>)> = all
            .iter()
            .map(|it| {
                let mut value = it.value.clone();
                value.sort();
                (it.name.clone(), value)
            })
            .collect();
        all.sort();
        all
    };
    if comparable(&privileges(config)) == comparable(granted) {
        return Ok(());
    }
    Err(EngineError::invalid("incorrect privileges"))
}

/// What it serves, in the words by which it is asked for (`volumedriver`, `authz`, …).
pub(super) fn capabilities(config: &Config) -> Vec<String> {
    let types = config.interface.types.iter().flatten();
    types
        .filter_map(|kind| {
            let (prefix, rest) = kind.split_once('.')?;
            let name = rest.split_once('/').map_or(rest, |(name, _)| name);
            (prefix == "docker").then(|| name.to_ascii_lowercase())
        })
        .collect()
}

/// Digests of its layers, base first.
pub(super) fn layers(config: &Config) -> Result<Vec<Digest>> {
    let ids = config.rootfs.iter().flat_map(|rootfs| rootfs.diff_ids.iter().flatten());
    Ok(ids.map(|id| Digest::parse(id)).collect::<std::result::Result<_, _>>()?)
}

/// Refuses what cannot be started.
pub(super) fn check_startable(config: &Config) -> Result<()> {
    let socket = config.interface.socket.as_str();
    let plain = !socket.is_empty() && !socket.contains(['/', '\0']) && !socket.starts_with('.');
    if !plain || socket.len() > SOCKET_NAME_MAX {
        return Err(EngineError::invalid(format!(
            "plugin config: {socket:?} is no name of a socket"
        )));
    }
    let scheme = config.interface.protocol_scheme.as_str();
    if !matches!(scheme, "" | PROTOCOL) {
        return Err(EngineError::invalid(format!(
            "plugin config: protocol {scheme:?} is not supported: want {PROTOCOL:?}"
        )));
    }
    if config.entrypoint.iter().flatten().next().is_none() {
        return Err(EngineError::invalid("plugin config: there is no entrypoint"));
    }
    let mounted = config.propagated_mount.as_str();
    let lost = mounted.split('/').any(|part| part == "..");
    if !mounted.is_empty() && (!mounted.starts_with('/') || mounted.len() == 1 || lost) {
        return Err(EngineError::invalid(format!(
            "plugin config: propagatedMount {mounted:?} is no absolute path below the root"
        )));
    }
    Ok(())
}
