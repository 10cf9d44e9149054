//! The Container Device Interface (github.com/cncf-tags/container-device-interface, "SPEC.md"):
//! devices by name, `vendor.com/class=name`, and what a container needs for each, from files of
//! the host, in JSON or YAML.
//!
//! What a file says is the administrator's word, as far as it names host paths. This module never
//! opens a device.

use crate::{EngineError, Result};
use model::resources::DeviceRequest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wire::oci::runtime as oci;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The class that `--gpus` means.
const GPUS: &str = "nvidia.com/gpu";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    kind: String,
    devices: Vec<Device>,
    container_edits: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Device {
    name: String,
    container_edits: Edits,
}

/// What is to be changed about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Edits {
    env: Vec<String>,
    pub(crate) device_nodes: Vec<Node>,
    mounts: Vec<Mount>,
    hooks: Vec<Hook>,
    #[serde(rename = "additionalGIDs", alias = "additionalGids")]
    additional_gids: Vec<u32>,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Node {
    /// In the container.
    pub(crate) path: String,
    host_path: String,
    /// `rwm`, when empty.
    pub(crate) permissions: String,
    file_mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Mount {
    host_path: String,
    container_path: String,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hook {
    hook_name: String,
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<i64>,
}

impl Node {
    /// Where it is on the host.
    pub(crate) fn on_host(&self) -> &str {
        if self.host_path.is_empty() { &self.path } else { &self.host_path }
    }

    /// What the file says of the node's owner and mode.
    pub(crate) fn adjust(&self, device: &mut oci::Device) {
        device.file_mode = self.file_mode.or(device.file_mode);
        device.uid = self.uid.or(device.uid);
        device.gid = self.gid.or(device.gid);
    }
}

/// The full names of the devices that there are. Files that cannot be read have none.
pub(crate) fn devices(directories: &[PathBuf]) -> Vec<String> {
    match read(directories) {
        Ok(known) => known.devices.into_keys().collect(),
        Err(error) => {
            tracing::warn!(%error, "list devices");
            Vec::new()
        }
    }
}

/// What the requests of a container come to. Of two directories the later one wins.
pub(crate) fn edits(directories: &[PathBuf], requests: &[DeviceRequest]) -> Result<Edits> {
    let mut out = Edits::default();
    if requests.is_empty() {
        return Ok(out);
    }
    let known = read(directories)?;
    let mut kinds: Vec<String> = Vec::new();
    for name in requests.iter().flat_map(names) {
        let unresolvable = || {
            EngineError::invalid(format!(
                "could not select device driver \"cdi\": unresolvable CDI devices {name}"
            ))
        };
        let (kind, _) = name.split_once('=').ok_or_else(unresolvable)?;
        let own = known.devices.get(&name).ok_or_else(unresolvable)?;
        if !kinds.iter().any(|it| it == kind) {
            kinds.push(kind.to_owned());
            known.common.get(kind).into_iter().for_each(|edits| out.add(edits));
        }
        out.add(own);
    }
    Ok(out)
}

/// The devices that a request names; of GPUs those of the class that stands for them.
fn names(request: &DeviceRequest) -> Vec<String> {
    if request.driver == "cdi" {
        return request.device_ids.clone();
    }
    if !request.device_ids.is_empty() {
        return request.device_ids.iter().map(|id| format!("{GPUS}={id}")).collect();
    }
    match usize::try_from(request.count) {
        Ok(count) => (0..count).map(|number| format!("{GPUS}={number}")).collect(),
        Err(_) => vec![format!("{GPUS}=all")],
    }
}

#[derive(Debug, Default)]
struct Known {
    /// By full name.
    devices: BTreeMap<String, Edits>,
    /// By kind: for every device of it.
    common: BTreeMap<String, Edits>,
}

fn read(directories: &[PathBuf]) -> Result<Known> {
    let mut known = Known::default();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|it| it.to_str()) {
                Some("json") => known.add(read_file(&path, json)?),
                Some("yaml" | "yml") => known.add(read_file(&path, yaml)?),
                _ => {}
            }
        }
    }
    Ok(known)
}

/// Understands a file's text.
type Form = fn(&str) -> std::result::Result<File, String>;

fn json(text: &str) -> std::result::Result<File, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn yaml(text: &str) -> std::result::Result<File, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

fn read_file(path: &Path, form: Form) -> Result<File> {
    use std::io::Read;
    let reading = format!("read CDI specification {}", path.display());
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .map_err(|source| EngineError::io(reading.clone(), source))?;
    form(&text).map_err(|why| EngineError::Internal(format!("{reading}: {why}")))
}

impl Known {
    fn add(&mut self, file: File) {
        let File { kind, devices, container_edits } = file;
        for device in devices {
            self.devices.insert(format!("{kind}={}", device.name), device.container_edits);
        }
        self.common.entry(kind).or_default().add(&container_edits);
    }
}

impl Edits {
    fn add(&mut self, other: &Self) {
        self.env.extend(other.env.iter().cloned());
        self.device_nodes.extend(other.device_nodes.iter().cloned());
        self.mounts.extend(other.mounts.iter().cloned());
        self.hooks.extend(other.hooks.iter().cloned());
        self.additional_gids.extend(&other.additional_gids);
    }

    /// Changes a specification, but for the devices, which the engine hands in like any other.
    pub(crate) fn apply(&self, spec: &mut oci::Spec) -> Result<()> {
        if let Some(process) = &mut spec.process {
            for entry in &self.env {
                let name = entry.split('=').next().unwrap_or_default();
                process.env.retain(|known| known.split('=').next() != Some(name));
                process.env.push(entry.clone());
            }
            process.user.additional_gids.extend(&self.additional_gids);
        }
        for mount in &self.mounts {
            let mut options = mount.options.clone();
            let kind = if mount.kind.is_empty() { "bind" } else { mount.kind.as_str() };
            if kind == "bind" && !options.iter().any(|it| it == "bind" || it == "rbind") {
                options.push("rbind".to_owned());
            }
            spec.mounts.push(oci::Mount {
                destination: mount.container_path.clone(),
                kind: kind.to_owned(),
                source: mount.host_path.clone(),
                options,
                ..Default::default()
            });
        }
        for hook in &self.hooks {
            let made = oci::Hook {
                path: hook.path.clone(),
                args: hook.args.clone(),
                env: hook.env.clone(),
                timeout: hook.timeout,
            };
            let hooks = spec.hooks.get_or_insert_default();
            match hook.hook_name.as_str() {
                "prestart" => hooks.prestart.push(made),
                "createRuntime" => hooks.create_runtime.push(made),
                "createContainer" => hooks.create_container.push(made),
                "startContainer" => hooks.start_container.push(made),
                "poststart" => hooks.poststart.push(made),
                "poststop" => hooks.poststop.push(made),
                other => {
                    return Err(EngineError::invalid(format!("CDI hook {other:?} is not known")));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(driver: &str, count: i64, ids: &[&str]) -> DeviceRequest {
        DeviceRequest {
            driver: driver.into(),
            count,
            device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..DeviceRequest::default()
        }
    }

    fn places() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let (etc, run) = (dir.path().join("etc"), dir.path().join("run"));
        std::fs::create_dir(&etc).unwrap();
        std::fs::create_dir(&run).unwrap();
        let file = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/net",
            "containerEdits": {"env": ["COMMON=1"]},
            "devices": [
                {"name": "a", "containerEdits": {"env": ["WHICH=a"],
                    "deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/null"}],
                    "mounts": [{"hostPath": "/lib", "containerPath": "/vendor"}],
                    "hooks": [{"hookName": "createContainer", "path": "/bin/hook"}]}},
                {"name": "b", "containerEdits": {"env": ["WHICH=old"]}}]}"#;
        std::fs::write(etc.join("vendor.json"), file).unwrap();
        let newer = r#"{"kind": "vendor.com/net",
            "devices": [{"name": "b", "containerEdits": {"env": ["WHICH=b"]}}]}"#;
        std::fs::write(run.join("vendor.json"), newer).unwrap();
        let yaml = "cdiVersion: 0.6.0\nkind: yaml.com/dev\ncontainerEdits:\n  env: [Y=1]\n\
            devices:\n- name: one\n  containerEdits:\n    deviceNodes:\n    - path: /dev/one\n\
            \x20     permissions: rw\n    mounts:\n    - {hostPath: /lib, containerPath: /l}\n";
        std::fs::write(run.join("other.yaml"), yaml).unwrap();
        (dir, vec![etc, run])
    }

    #[test]
    fn a_device_brings_what_its_file_says() {
        let (_dir, places) = places();
        let wanted = [request("cdi", 0, &["vendor.com/net=a", "vendor.com/net=b"])];
        let edits = super::edits(&places, &wanted).unwrap();
        assert_eq!(edits.device_nodes[0].on_host(), "/dev/null");
        let mut spec = oci::Spec { process: Some(Default::default()), ..Default::default() };
        edits.apply(&mut spec).unwrap();
        assert_eq!(spec.process.unwrap().env, ["COMMON=1", "WHICH=b"]);
        assert_eq!(spec.mounts[0].options, ["rbind"]);
        assert_eq!(spec.hooks.unwrap().create_container[0].path, "/bin/hook");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (_dir, places) = places();
        for name in ["vendor.com/net=c", "other.com/x=a", "nonsense"] {
            let why = edits(&places, &[request("cdi", 0, &[name])]).unwrap_err().to_string();
            assert!(why.contains(&format!("unresolvable CDI devices {name}")), "{why}");
        }
    }

    #[test]
    fn yaml_says_the_same_as_json() {
        let (dir, places) = places();
        let edits = super::edits(&places, &[request("cdi", 0, &["yaml.com/dev=one"])]).unwrap();
        assert_eq!(edits.env, ["Y=1"]);
        assert_eq!(
            (&*edits.device_nodes[0].path, &*edits.device_nodes[0].permissions),
            ("/dev/one", "rw")
        );
        assert_eq!(edits.mounts[0].container_path, "/l");
        for text in ["kind: [", "devices: 1", "a: &a [*a]"] {
            std::fs::write(dir.path().join("run/bad.yml"), text).unwrap();
            let wanted = [request("cdi", 0, &["vendor.com/net=a"])];
            let why = super::edits(&places, &wanted).unwrap_err().to_string();
            assert!(why.contains("bad.yml"), "{text}: {why}");
        }
    }

    #[test]
    fn every_device_is_listed() {
        let (_dir, places) = places();
        let names = ["vendor.com/net=a", "vendor.com/net=b", "yaml.com/dev=one"];
        assert_eq!(devices(&places), names);
    }

    #[test]
    fn gpus_are_a_class() {
        assert_eq!(names(&request("", -1, &[])), ["nvidia.com/gpu=all"]);
        assert_eq!(names(&request("", 2, &[])), ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]);
        assert_eq!(names(&request("nvidia", 0, &["GPU-7"])), ["nvidia.com/gpu=GPU-7"]);
    }
}
