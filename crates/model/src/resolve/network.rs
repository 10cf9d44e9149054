//! The network a container starts on, the ports it publishes, and which options exclude each
//! other.

use super::Ask;
use crate::Draft;
use crate::draft::SharedNamespace;
use crate::error::Denied;
use crate::image::ImageConfig;
use crate::network::{NetworkMode, PortBinding, PortSpec};
use crate::spec::Isolation;
use std::collections::{BTreeMap, BTreeSet};

/// The longest host name, HOST_NAME_MAX of gethostname(2).
const MAX_HOSTNAME: usize = 64;

/// Networks that are asked for by name are all there are, whatever the mode says of another.
pub(super) fn mode(draft: &Draft) -> NetworkMode {
    if draft.network_disabled {
        return NetworkMode::None;
    }
    let names: [&str; 2] = match &draft.host.network {
        NetworkMode::Default => ["bridge", "default"],
        NetworkMode::Named(name) if name == "bridge" => ["bridge", "default"],
        NetworkMode::Named(name) => [name, name],
        other => return other.clone(),
    };
    match draft.endpoints.keys().next() {
        Some(first) if !names.iter().any(|name| draft.endpoints.contains_key(*name)) => {
            NetworkMode::Named(first.clone())
        }
        _ => draft.host.network.clone(),
    }
}

/// Empty for the host's name (and with another container's network: that one's).
pub(super) fn hostname(ask: &Ask<'_>) -> Result<String, Denied> {
    let draft = ask.draft;
    let asked = draft.hostname.as_str();
    let bad = |name: &str| {
        name.len() > MAX_HOSTNAME
            || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
    };
    if bad(asked) || bad(&draft.domainname) {
        return Err(Denied::invalid(format!("invalid hostname format: {asked}")));
    }
    let shares_name = matches!(draft.host.network, NetworkMode::Container(_));
    if !asked.is_empty() && draft.host.uts == SharedNamespace::Host {
        return Err(Denied::invalid("conflicting options: hostname and the UTS mode"));
    }
    if !asked.is_empty() && shares_name {
        return Err(Denied::invalid("conflicting options: hostname and the network mode"));
    }
    let hosts_own = draft.host.network == NetworkMode::Host;
    Ok(match asked {
        "" if shares_name || hosts_own || draft.host.uts == SharedNamespace::Host => String::new(),
        "" => ask.id.short(),
        asked => asked.to_owned(),
    })
}

pub(super) fn check_conflicts(draft: &Draft) -> Result<(), Denied> {
    let host = &draft.host;
    let deny = |text: &str| Err(Denied::invalid(text));
    match &host.network {
        NetworkMode::Container(other) => {
            if other.is_empty() {
                return deny("invalid network mode: invalid container format container:<name|id>");
            }
            if !host.links.is_empty() {
                return deny(
                    "conflicting options: container type network can't be used with links. This \
                     would result in undefined behavior",
                );
            }
            if !host.dns.is_empty() {
                return deny("conflicting options: dns and the network mode");
            }
            if !host.extra_hosts.is_empty() {
                return deny("conflicting options: custom host-to-IP mapping and the network mode");
            }
            if !host.ports.is_empty() || host.publish_all {
                return deny(
                    "conflicting options: port publishing and the container type network mode",
                );
            }
            if !draft.exposed_ports.is_empty() {
                return deny(
                    "conflicting options: port exposing and the container type network mode",
                );
            }
            if draft.endpoints.values().any(|endpoint| endpoint.mac.is_some()) {
                return deny("conflicting options: mac-address and the network mode");
            }
        }
        NetworkMode::Host if !host.links.is_empty() => {
            return deny(
                "conflicting options: host type networking can't be used with links. This would \
                 result in undefined behavior",
            );
        }
        _ => {}
    }
    let own_only =
        matches!(host.network, NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::None);
    let own_name = match &host.network {
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        _ => "",
    };
    if own_only && draft.endpoints.keys().any(|name| name != own_name) {
        return deny(match host.network {
            NetworkMode::None => {
                "container cannot be connected to multiple networks with one of the networks in \
                 private (none) mode"
            }
            _ => {
                "container sharing network namespace with another container or host cannot be \
                 connected to any other network"
            }
        });
    }
    check_default_bridge(draft)
}

/// Static addresses and aliases need a network of the user's.
fn check_default_bridge(draft: &Draft) -> Result<(), Denied> {
    let Some(endpoint) = draft.endpoints.get("bridge").or(draft.endpoints.get("default")) else {
        return Ok(());
    };
    if endpoint.ipv4.is_some() || endpoint.ipv6.is_some() {
        return Err(Denied::invalid(
            "invalid config for network bridge: invalid endpoint settings:\nuser specified IP \
             address is supported on user defined networks only",
        ));
    }
    if !endpoint.aliases.is_empty() {
        return Err(Denied::invalid(
            "invalid config for network bridge: invalid endpoint settings:\nnetwork-scoped \
             aliases are only supported for user-defined networks",
        ));
    }
    Ok(())
}

pub(super) fn exposed(draft: &Draft, config: &ImageConfig) -> Vec<PortSpec> {
    let mut all: BTreeSet<PortSpec> = config.exposed_ports.iter().copied().collect();
    all.extend(draft.exposed_ports.iter().copied());
    all.extend(draft.host.ports.iter().map(|binding| binding.container));
    all.into_iter().collect()
}

pub(super) fn ports(draft: &Draft, config: &ImageConfig) -> Vec<PortBinding> {
    if matches!(mode(draft), NetworkMode::Host | NetworkMode::Container(_) | NetworkMode::None) {
        return Vec::new();
    }
    let mut ports = draft.host.ports.clone();
    if draft.host.publish_all {
        for container in exposed(draft, config) {
            if !ports.iter().any(|known| known.container == container) {
                ports.push(PortBinding { container, host_ip: None, host_ports: None });
            }
        }
    }
    ports
}

/// Kernel parameters that belong to the IPC namespace; namespaces(7), ipc_namespaces(7).
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What was asked, checked, and under it Docker's defaults: unprivileged ports from 0, and ping
/// for every group of the container.
pub(super) fn sysctls(
    draft: &Draft,
    isolation: &Isolation,
) -> Result<BTreeMap<String, String>, Denied> {
    let mut out = BTreeMap::new();
    let shared_net = matches!(mode(draft), NetworkMode::Host | NetworkMode::Container(_));
    if !shared_net {
        out.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        let last = if isolation.own_ids { crate::spec::ID_RANGE - 1 } else { i32::MAX as u32 };
        out.insert("net.ipv4.ping_group_range".to_owned(), format!("0 {last}"));
    }
    for (name, value) in &draft.host.sysctls {
        let name = name.replace('/', ".");
        check_sysctl(&name, value, isolation, &mode(draft))?;
        out.insert(name, value.clone());
    }
    Ok(out)
}

fn check_sysctl(
    name: &str,
    value: &str,
    isolation: &Isolation,
    network: &NetworkMode,
) -> Result<(), Denied> {
    let well_formed = !name.is_empty()
        && name.len() <= 256
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-:".contains(&c))
        && name.split('.').all(|part| !part.is_empty())
        && value.len() <= 4096
        && !value.contains(['\0', '\n']);
    if !well_formed {
        return Err(Denied::invalid(format!("invalid sysctl {name:?}")));
    }
    let hosts = |what: &str| {
        Err(Denied::invalid(format!("sysctl {name:?} is not allowed in host {what} namespace")))
    };
    if IPC_SYSCTLS.contains(&name) || name.starts_with("fs.mqueue.") {
        return match isolation.ipc {
            SharedNamespace::Host => hosts("IPC"),
            _ => Ok(()),
        };
    }
    if name.starts_with("net.") {
        return match network {
            NetworkMode::Host => hosts("network"),
            _ => Ok(()),
        };
    }
    if name == "kernel.domainname" && isolation.uts != SharedNamespace::Host {
        return Ok(());
    }
    Err(Denied::invalid(format!("sysctl {name:?} is not in a separate kernel namespace")))
}
