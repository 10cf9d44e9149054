//! The values of `RUN --mount` and `RUN --device`: comma separated `key=value` fields.

use super::Fault;
use crate::graph::Sharing;
use crate::text::{did_you_mean, parse_bool, parse_bytes, parse_fields, quote};

/// What kind of mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountType {
    /// Files of a stage, an image or the context.
    #[default]
    Bind,
    /// A directory that survives the build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// An SSH agent's socket.
    Ssh,
}

const TYPES: [(&str, MountType); 5] = [
    ("bind", MountType::Bind),
    ("cache", MountType::Cache),
    ("tmpfs", MountType::Tmpfs),
    ("secret", MountType::Secret),
    ("ssh", MountType::Ssh),
];
const SHARINGS: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl MountType {
    fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("bind", |(name, _)| name)
    }
}

/// A `--mount`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountFlag {
    /// What kind.
    pub kind: MountType,
    /// Stage, image or named context; `None` is the context (bind) or nothing (cache).
    pub from: Option<String>,
    /// Path within `from`, or a secret's id.
    pub source: String,
    /// Where it is mounted.
    pub target: String,
    /// Refuse writes.
    pub readonly: bool,
    /// Size of a tmpfs.
    pub size_bytes: Option<u64>,
    /// Id of a cache, secret or agent.
    pub id: String,
    /// Who may use a cache at the same time.
    pub sharing: Option<Sharing>,
    /// The step fails without it.
    pub required: bool,
    /// A secret's variable.
    pub env: Option<String>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

impl MountFlag {
    /// Only the `from` of a mount, which must be known before anything is expanded.
    pub(crate) fn source_stage(value: &str) -> Result<Option<String>, Fault> {
        for field in fields(value, "mounts")? {
            let Some((key, from)) = field.split_once('=') else { continue };
            if key.eq_ignore_ascii_case("from") {
                // A lone `$` at the end is no variable.
                if from.find('$').is_some_and(|at| at + 1 < from.len()) {
                    return Err(Fault::at(
                        "'from' doesn't support variable expansion, define alias stage instead",
                        from,
                    ));
                }
                return Ok(Some(from.to_owned()));
            }
        }
        Ok(None)
    }

    /// Parses a value; `expand` is given the value of every field.
    pub(crate) fn parse(
        value: &str,
        expand: &mut dyn FnMut(&str) -> Result<String, Fault>,
    ) -> Result<Self, Fault> {
        let mut mount = Self::default();
        let mut readonly = None;
        for field in fields(value, "mounts")? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("readonly" | "ro", value) => readonly = Some(flag(&key, value)?),
                ("readwrite" | "rw", value) => readonly = Some(!flag(&key, value)?),
                ("required", value) => {
                    mount.only_for(&key, &[MountType::Secret, MountType::Ssh])?;
                    mount.required = flag(&key, value)?;
                }
                (_, Some(value)) => mount.set(&key, &value, &field)?,
                (_, None) => {
                    let message = format!("invalid field '{field}' must be a key=value pair");
                    return Err(Fault::at(message, field));
                }
            }
        }
        let writable = matches!(mount.kind, MountType::Cache | MountType::Tmpfs);
        mount.readonly = readonly.unwrap_or(!writable);
        mount.verify()?;
        Ok(mount)
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), Fault> {
        let lower = value.to_lowercase();
        match key {
            "type" => match TYPES.iter().find(|(name, _)| *name == lower) {
                Some((_, kind)) => self.kind = *kind,
                None => {
                    let message = format!("unsupported mount type {}", quote(value));
                    let names = TYPES.iter().map(|(name, _)| *name);
                    return Err(Fault::at(did_you_mean(message, value, names, true), value));
                }
            },
            "from" => self.from = Some(value.to_owned()).filter(|from| !from.is_empty()),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "id" => value.clone_into(&mut self.id),
            "env" => self.env = Some(value.to_owned()),
            "sharing" => match SHARINGS.iter().find(|(name, _)| *name == lower) {
                Some((_, sharing)) => self.sharing = Some(*sharing),
                None => {
                    let message = format!("unsupported sharing value {}", quote(value));
                    let names = SHARINGS.iter().map(|(name, _)| *name);
                    return Err(Fault::at(did_you_mean(message, value, names, true), value));
                }
            },
            "size" => {
                self.only_for(key, &[MountType::Tmpfs])?;
                let size = parse_bytes(value);
                let wrong = || Fault::at(format!("invalid value for {key}: {value}"), value);
                self.size_bytes = Some(size.ok_or_else(wrong)?);
            }
            "mode" => self.mode = Some(number(key, value, 8)?),
            "uid" => self.uid = Some(number(key, value, 10)?),
            "gid" => self.gid = Some(number(key, value, 10)?),
            _ => {
                let message = format!("unexpected key '{key}' in '{field}'");
                return Err(Fault::at(did_you_mean(message, key, KEYS, true), field));
            }
        }
        Ok(())
    }

    fn only_for(&self, key: &str, kinds: &[MountType]) -> Result<(), Fault> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        let kind = self.kind.name();
        Err(Fault::at(format!("unexpected key '{key}' for mount type '{kind}'"), key))
    }

    fn verify(&self) -> Result<(), Fault> {
        let kind = self.kind.name();
        if matches!(self.kind, MountType::Bind | MountType::Tmpfs) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                let message = format!("{key} not allowed for {} type mounts", quote(kind));
                return Err(Fault::at(message, *key));
            }
        }
        if self.kind == MountType::Secret {
            if self.from.is_some() {
                return Err(Fault::new("secret mount should not have a from"));
            }
            if self.sharing.is_some() {
                return Err(Fault::new("secret mount should not define sharing"));
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return Err(Fault::new("invalid secret mount. one of source, target required"));
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return Err(Fault::new("both source and id can't be set"));
            }
        }
        if self.sharing.is_some() && self.kind != MountType::Cache {
            return Err(Fault::new(format!("invalid cache sharing set for {kind} mount")));
        }
        Ok(())
    }
}

/// A `--device`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFlag {
    /// CDI name: `vendor/class=name`.
    pub name: String,
    /// The step fails without it.
    pub required: bool,
}

impl DeviceFlag {
    /// Parses a value: `name[,required]`, `name=…,required=true`.
    pub(crate) fn parse(value: &str) -> Result<Self, Fault> {
        let mut device = Self::default();
        for field in fields(value, "devices")? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("required", None) => device.required = true,
                ("required", Some(value)) => {
                    device.required = flag(&key, Some(value.to_owned()))?;
                }
                ("name", Some(value)) if device.name.is_empty() => {
                    value.clone_into(&mut device.name);
                }
                ("name", Some(_)) => {
                    let name = device.name;
                    return Err(Fault::at(format!("device name already set to {name}"), field));
                }
                _ if device.name.is_empty() => device.name = field,
                (_, None) => {
                    let message = format!("invalid field '{field}' must be a key=value pair");
                    return Err(Fault::at(message, field));
                }
                (key, Some(_)) => {
                    let message = format!("unexpected key '{key}' in '{field}'");
                    let message = did_you_mean(message, key, ["name", "required"], true);
                    return Err(Fault::at(message, field));
                }
            }
        }
        Ok(device)
    }
}

fn fields(value: &str, what: &str) -> Result<Vec<String>, Fault> {
    parse_fields(value)
        .map_err(|why| Fault::at(format!("failed to parse csv {what}: {why}"), value))
}

fn flag(key: &str, value: Option<String>) -> Result<bool, Fault> {
    let Some(value) = value else { return Ok(true) };
    let wrong = || Fault::at(format!("invalid value for {key}: {value}"), value.clone());
    parse_bool(&value).ok_or_else(wrong)
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, Fault> {
    let wrong = |_| Fault::at(format!("invalid value {value} for {key}"), value);
    u32::from_str_radix(value, radix).map_err(wrong)
}
