//! From a plugin's configuration and settings to the container that it runs in: the same draft
//! that every container is resolved from, with exactly the privileges that were granted. Pure.
//!
//! A plugin that was granted nothing lives in a user namespace of its own, like any container. One
//! with privileges over the host has them in the host's user namespace, as with Docker.

use super::document;
use crate::{EngineError, Result};
use model::draft::{
    Draft, HealthDraft, HostDraft, LogDraft, SecurityDraft, SecurityProfile, SharedNamespace,
    UsernsMode,
};
use model::mount::{MountDraft, MountKind, MountOwner, Propagation};
use model::network::NetworkMode;
use model::resources::{Device, Resources};
use model::restart::RestartPolicy;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wire::plugin::{Config, Mount, Settings};

/// Where a plugin finds the directory of its socket.
pub(super) const SOCKETS: &str = "/run/docker/plugins";
/// Where a log plugin finds what it reads from.
pub(crate) const LOGGING: &str = "/run/docker/logging";

/// Directories of the host that a plugin shares.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// With its socket.
    pub(super) sockets: PathBuf,
    /// With what it mounts for others.
    pub(super) propagated: PathBuf,
    /// With the pipes of containers that log to it.
    pub(super) logging: PathBuf,
}

/// The container of a plugin.
pub(super) fn draft(config: &Config, settings: &Settings, shared: &Shared) -> Result<Draft> {
    document::check_startable(config)?;
    let linux = &config.linux;
    let user = config.user;
    let shares = |host: bool| match host {
        true => SharedNamespace::Host,
        false => SharedNamespace::Private,
    };
    let trusted = !document::privileges(config).is_empty() || !config.propagated_mount.is_empty();
    let host = HostDraft {
        mounts: mounts(config, settings, shared)?,
        resources: Resources {
            devices: devices(settings),
            device_rules: match linux.allow_all_devices {
                true => vec!["a *:* rwm".to_owned()],
                false => Vec::new(),
            },
            ..Resources::default()
        },
        restart: RestartPolicy::Always,
        network: match config.network.kind.as_str() {
            "host" => NetworkMode::Host,
            "bridge" => NetworkMode::Default,
            _ => NetworkMode::None,
        },
        ipc: shares(config.ipc_host),
        pid: shares(config.pid_host),
        userns: if trusted { UsernsMode::Host } else { UsernsMode::Auto },
        cap_add: linux.capabilities.clone().unwrap_or_default(),
        security: SecurityDraft {
            profile: Some(SecurityProfile::Docker),
            // It is a part of the daemon, which uses its sockets and its files.
            labels: vec!["disable".to_owned()],
            ..SecurityDraft::default()
        },
        init: Some(false),
        log: LogDraft {
            driver: "json-file".to_owned(),
            options: [("max-size", "1m"), ("max-file", "2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        },
        ..HostDraft::default()
    };
    Ok(Draft {
        entrypoint: config.entrypoint.clone(),
        command: Some(settings.args.clone()),
        env: settings.env.clone(),
        workdir: config.work_dir.clone(),
        user: match (user.uid, user.gid) {
            (0, 0) => String::new(),
            (uid, gid) => format!("{uid}:{gid}"),
        },
        health: Some(HealthDraft { test: vec!["NONE".to_owned()], ..HealthDraft::default() }),
        labels: BTreeMap::new(),
        host,
        ..Draft::default()
    })
}

fn devices(settings: &Settings) -> Vec<Device> {
    let paths = settings.devices.iter().filter_map(|device| device.path.clone());
    paths
        .filter(|path| !path.is_empty())
        .map(|path| Device {
            host_path: path.clone(),
            container_path: path,
            access: "rwm".to_owned(),
        })
        .collect()
}

fn mounts(config: &Config, settings: &Settings, shared: &Shared) -> Result<Vec<MountDraft>> {
    let mut all = vec![own((&shared.sockets, SOCKETS), Propagation::RPrivate, false)];
    if document::capabilities(config).iter().any(|it| it == "logdriver") {
        // The daemon opens what lies there: it must be what the daemon made.
        all.push(own((&shared.logging, LOGGING), Propagation::RPrivate, true));
    }
    if !config.propagated_mount.is_empty() {
        let target = config.propagated_mount.as_str();
        all.push(own((&shared.propagated, target), Propagation::RShared, false));
    }
    for mount in &settings.mounts {
        all.push(asked(mount)?);
    }
    Ok(all)
}

fn own((source, target): (&Path, &str), propagation: Propagation, readonly: bool) -> MountDraft {
    MountDraft {
        target: target.to_owned(),
        readonly,
        kind: bind(&source.to_string_lossy(), Some(propagation), false),
        consistency: String::new(),
        owner: MountOwner::default(),
    }
}

fn bind(source: &str, propagation: Option<Propagation>, non_recursive: bool) -> MountKind {
    MountKind::Bind {
        source: source.to_owned(),
        propagation,
        non_recursive,
        // Plugins of Docker name directories that its engine makes.
        create_source: true,
        readonly_non_recursive: false,
        readonly_force_recursive: false,
    }
}

fn asked(mount: &Mount) -> Result<MountDraft> {
    let options = mount.options.clone().unwrap_or_default();
    let has = |wanted: &str| options.iter().any(|option| option == wanted);
    let kind = match mount.kind.as_str() {
        "tmpfs" => MountKind::Tmpfs {
            size_bytes: 0,
            mode: 0,
            options: options.iter().filter(|it| *it != "ro" && *it != "rw").cloned().collect(),
        },
        "bind" | "none" | "" => {
            let Some(source) = mount.source.as_deref().filter(|source| !source.is_empty()) else {
                return Err(EngineError::invalid(format!(
                    "plugin mount at {}: mount source is not specified",
                    mount.destination
                )));
            };
            let propagation = options.iter().find_map(|option| Propagation::parse(option));
            bind(source, propagation, has("bind") && !has("rbind"))
        }
        other => {
            return Err(EngineError::invalid(format!(
                "plugin mount at {}: file system {other:?} is not supported",
                mount.destination
            )));
        }
    };
    Ok(MountDraft {
        target: mount.destination.clone(),
        readonly: has("ro"),
        kind,
        consistency: String::new(),
        owner: MountOwner::default(),
    })
}
