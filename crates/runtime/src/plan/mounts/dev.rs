//! What lies in a `/dev` of the runtime's own. Pure.

use crate::error::LaunchError;
use crate::plan::step::{Node, NodeKind};
use crate::plan::text::{clean, within};
use std::collections::BTreeSet;
use wire::oci::runtime::{Device, Mount};

/// The devices that every container has, config-linux.md "Default Devices": name, major, minor.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links that programs expect.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Devices that are made by the runtime in its own way.
const RESERVED: [&str; 3] = ["console", "ptmx", "pts"];

/// The links, names first.
pub(in crate::plan) fn links() -> Vec<(String, String)> {
    LINKS.iter().map(|(name, to)| ((*name).to_owned(), (*to).to_owned())).collect()
}

/// The default devices and those of the specification, which may redefine a default one.
pub(in crate::plan) fn nodes(devices: &[Device]) -> Result<Vec<Node>, LaunchError> {
    let mut nodes: Vec<Node> = DEFAULT
        .iter()
        .map(|(name, major, minor)| Node {
            name: (*name).to_owned(),
            kind: NodeKind::Char(*major, *minor),
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for device in devices {
        let Some(node) = node(device)? else { continue };
        nodes.retain(|other| other.name != node.name);
        nodes.push(node);
    }
    Ok(nodes)
}

fn node(device: &Device) -> Result<Option<Node>, LaunchError> {
    let path = clean(&device.path);
    let name = match path.strip_prefix("/dev/") {
        Some(name) => name.to_owned(),
        None => {
            let message = format!("device {:?} does not lie in /dev", device.path);
            return Err(LaunchError::invalid(message));
        }
    };
    if RESERVED.iter().any(|reserved| within(&name, reserved)) {
        return Ok(None);
    }
    let number = |n: i64| {
        u32::try_from(n).map_err(|_| LaunchError::invalid(format!("device {path} has number {n}")))
    };
    let kind = match device.kind.as_str() {
        "c" | "u" => NodeKind::Char(number(device.major)?, number(device.minor)?),
        "b" => NodeKind::Block(number(device.major)?, number(device.minor)?),
        "p" => NodeKind::Fifo,
        other => {
            return Err(LaunchError::invalid(format!("device {path} has type {other:?}")));
        }
    };
    Ok(Some(Node {
        name,
        kind,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    }))
}

/// Directories for devices that lie deeper and for what will be mounted, parents first.
pub(in crate::plan) fn directories(mounts: &[Mount], devices: &[Device]) -> Vec<String> {
    let mut dirs = BTreeSet::new();
    let mut add = |path: &str| {
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            if at > 0 {
                dirs.insert(path[..at].to_owned());
            }
        }
    };
    for device in devices {
        if let Some((dir, _)) =
            clean(&device.path).strip_prefix("/dev/").and_then(|p| p.rsplit_once('/'))
        {
            add(dir);
        }
    }
    for mount in mounts {
        let bound = mount.kind == "bind" || mount.options.iter().any(|o| o.ends_with("bind"));
        if let Some(dir) = clean(&mount.destination).strip_prefix("/dev/")
            && !bound
        {
            add(dir);
        }
    }
    dirs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, kind: &str, major: i64, minor: i64) -> Device {
        Device { path: path.into(), kind: kind.into(), major, minor, ..Device::default() }
    }

    #[test]
    fn a_default_device_can_be_redefined_and_the_terminals_cannot() {
        let devices = [device("/dev/null", "c", 7, 8), device("/dev/pts/0", "c", 136, 0)];
        let nodes = nodes(&devices).expect("nodes");
        assert_eq!(nodes.len(), DEFAULT.len());
        assert_eq!(nodes.last().map(|node| node.kind), Some(NodeKind::Char(7, 8)));
    }

    #[test]
    fn devices_elsewhere_or_with_wild_numbers_are_refused() {
        assert!(nodes(&[device("/etc/x", "c", 1, 1)]).is_err());
        assert!(nodes(&[device("/dev/../etc/x", "c", 1, 1)]).is_err());
        assert!(nodes(&[device("/dev/x", "c", -1, 1)]).is_err());
        assert!(nodes(&[device("/dev/x", "c", 1 << 40, 1)]).is_err());
        assert!(nodes(&[device("/dev/x", "d", 1, 1)]).is_err());
    }

    #[test]
    fn parents_come_first() {
        let mounts =
            [Mount { destination: "/dev/pts".into(), kind: "devpts".into(), ..Mount::default() }];
        let devices = [device("/dev/bus/usb/001", "c", 189, 0)];
        assert_eq!(directories(&mounts, &devices), ["bus", "bus/usb", "pts"]);
    }
}
