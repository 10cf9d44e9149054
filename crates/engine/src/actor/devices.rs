//! Devices of the host that a container gets: which, by number.

use crate::cdi::Edits;
use crate::record::Definition;
use crate::{EngineError, Result};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use wire::oci::runtime as oci;

/// Devices handed in, with the access to each; with `--privileged`, all that the host has.
pub(super) fn handed_in(
    definition: &Definition,
    edits: &Edits,
) -> Result<Vec<(oci::Device, String)>> {
    let spec = &definition.spec;
    let mut devices = Vec::new();
    if spec.isolation.privileged {
        let mut all = Vec::new();
        all_devices(Path::new("/dev"), 0, &mut all);
        devices.extend(all.into_iter().map(|device| (device, "rwm".to_owned())));
    }
    for asked in &spec.resources.devices {
        let access = if asked.access.is_empty() { "rwm" } else { asked.access.as_str() };
        for device in devices_at(&asked.host_path, &asked.container_path)? {
            devices.retain(|(known, _)| known.path != device.path);
            devices.push((device, access.to_owned()));
        }
    }
    for node in &edits.device_nodes {
        let access = if node.permissions.is_empty() { "rwm" } else { node.permissions.as_str() };
        for mut device in devices_at(node.on_host(), &node.path)? {
            node.adjust(&mut device);
            devices.retain(|(known, _)| known.path != device.path);
            devices.push((device, access.to_owned()));
        }
    }
    Ok(devices)
}

fn devices_at(host: &str, inside: &str) -> Result<Vec<oci::Device>> {
    let gathering =
        format!("error gathering device information while adding custom device {host:?}");
    // Links on the host are the host's: they are followed.
    let metadata =
        std::fs::metadata(host).map_err(|source| EngineError::io(gathering.clone(), source))?;
    if metadata.is_dir() {
        let mut below = Vec::new();
        all_devices(Path::new(host), 1, &mut below);
        for device in &mut below {
            let rest = device.path.strip_prefix(host).unwrap_or_default();
            device.path = format!("{inside}/{}", rest.trim_start_matches('/'));
        }
        if !below.is_empty() {
            return Ok(below);
        }
    }
    match device(&metadata, inside) {
        Some(device) => Ok(vec![device]),
        None => Err(EngineError::invalid(format!("{gathering}: not a device node"))),
    }
}

fn device(metadata: &std::fs::Metadata, inside: &str) -> Option<oci::Device> {
    let kind = match metadata.file_type() {
        kind if kind.is_block_device() => "b",
        kind if kind.is_char_device() => "c",
        _ => return None,
    };
    Some(oci::Device {
        path: inside.to_owned(),
        kind: kind.to_owned(),
        major: rustix::fs::major(metadata.rdev()).into(),
        minor: rustix::fs::minor(metadata.rdev()).into(),
        file_mode: Some(metadata.mode() & 0o7777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
    })
}

/// Directories of /dev that are filesystems of their own.
const NOT_DEVICES: [&str; 5] = ["pts", "shm", "mqueue", "fd", "hugepages"];

/// How deep directories of devices are followed.
const MAX_DEVICE_DEPTH: usize = 8;

fn all_devices(dir: &Path, depth: usize, out: &mut Vec<oci::Device>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let own = depth == 0 && (NOT_DEVICES.iter().any(|it| name == *it) || name == "console");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !own && depth < MAX_DEVICE_DEPTH => {
                all_devices(&path, depth + 1, out);
            }
            Ok(_) if !own => {
                let metadata = entry.metadata().ok();
                out.extend(metadata.and_then(|it| device(&it, &path.to_string_lossy())));
            }
            _ => {}
        }
    }
}
