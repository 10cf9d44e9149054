//! Namespaces: which are made, which are joined, and how ids are mapped. Pure.

use crate::error::LaunchError;
use std::path::PathBuf;
use sys::clone::ns;
use wire::oci::runtime::{IdMapping, Linux};

/// Most lines of an id map, user_namespaces(7).
const MAX_MAP_LINES: usize = 340;

/// A namespace of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Which kind, [`sys::clone::ns`].
    pub kind: u64,
    /// Its name in `/proc/PID/ns`.
    pub name: &'static str,
    /// Its file.
    pub path: PathBuf,
}

/// Id maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// Users.
    pub uid: Vec<IdMapping>,
    /// Groups.
    pub gid: Vec<IdMapping>,
}

impl Maps {
    /// The host's id of the user `uid`, if it is mapped.
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        host_id(&self.uid, uid)
    }

    /// Whether every id is what it is outside.
    pub fn is_identity(&self) -> bool {
        self.uid.iter().chain(&self.gid).all(|line| line.container_id == line.host_id)
    }

    /// The host's id of the group `gid`, if it is mapped.
    pub fn host_gid(&self, gid: u32) -> Option<u32> {
        host_id(&self.gid, gid)
    }
}

impl Maps {
    /// Both are there, and the kernel will take them.
    pub(super) fn check(&self, of: &str) -> Result<(), LaunchError> {
        for (what, map) in [("uidMappings", &self.uid), ("gidMappings", &self.gid)] {
            let good = |m: &IdMapping| {
                m.size > 0
                    && m.container_id.checked_add(m.size - 1).is_some()
                    && m.host_id.checked_add(m.size - 1).is_some()
            };
            if map.is_empty() || map.len() > MAX_MAP_LINES || !map.iter().all(good) {
                return Err(invalid(format!("{what} of {of} are missing or wrong")));
            }
        }
        Ok(())
    }

    /// The maps of a process, from its directory in procfs.
    ///
    /// # Errors
    /// [`LaunchError`] when they cannot be read or are not maps.
    pub fn read(process: &std::path::Path) -> Result<Self, LaunchError> {
        let map = |name| {
            let path = process.join(name);
            let root = sys::Root::open(process)
                .and_then(|root| root.read(std::path::Path::new(name), 1 << 16))
                .map_err(|e| LaunchError::at(format!("read {}", path.display()), e.errno))?;
            parse_map(&String::from_utf8_lossy(&root))
                .ok_or_else(|| LaunchError::runtime(format!("{} is no id map", path.display())))
        };
        Ok(Self { uid: map("uid_map")?, gid: map("gid_map")? })
    }
}

fn parse_map(text: &str) -> Option<Vec<IdMapping>> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().map(line).collect()
}

fn host_id(map: &[IdMapping], id: u32) -> Option<u32> {
    let line = map.iter().find(|m| id >= m.container_id && id - m.container_id < m.size)?;
    line.host_id.checked_add(id - line.container_id)
}

/// All namespaces of a container.
#[derive(Debug, Clone, Default)]
pub(super) struct Namespaces {
    /// Made with the process.
    pub clone: u64,
    /// Made by the process itself, later: control groups (it must be in its own before) and time.
    pub unshare: u64,
    /// Joined, all but the user namespace.
    pub joins: Vec<Join>,
    /// The user namespace that is joined.
    pub userns: Option<Join>,
    /// The mount namespace that is joined: the container's mounts and root become its.
    pub mount: Option<Join>,
    /// Maps of a new user namespace.
    pub maps: Option<Maps>,
}

/// Names in the specification, in `/proc/PID/ns`, and the kernel's bit.
const KINDS: [(&str, &str, u64); 8] = [
    ("pid", "pid", ns::PID),
    ("network", "net", ns::NET),
    ("mount", "mnt", ns::MOUNT),
    ("ipc", "ipc", ns::IPC),
    ("uts", "uts", ns::UTS),
    ("user", "user", ns::USER),
    ("cgroup", "cgroup", ns::CGROUP),
    ("time", "time", ns::TIME),
];

impl Namespaces {
    /// From the specification.
    pub(super) fn of(linux: &Linux) -> Result<Self, LaunchError> {
        let mut found = Self::default();
        let mut seen = 0;
        for namespace in &linux.namespaces {
            let Some((_, name, kind)) = KINDS.iter().find(|(word, ..)| *word == namespace.kind)
            else {
                return Err(invalid(format!("namespace type {:?} is unknown", namespace.kind)));
            };
            if seen & kind != 0 {
                return Err(invalid(format!("namespace {} is given twice", namespace.kind)));
            }
            seen |= kind;
            if namespace.path.is_empty() {
                found.make(*kind);
            } else {
                let path = PathBuf::from(&namespace.path);
                let join = Join { kind: *kind, name, path };
                match *kind {
                    ns::USER => found.userns = Some(join),
                    ns::MOUNT => found.mount = Some(join),
                    _ => found.joins.push(join),
                }
            }
        }
        match (found.makes(ns::MOUNT), &found.mount) {
            (false, None) => return Err(invalid("a container needs a mount namespace")),
            (false, Some(_)) if found.makes(ns::USER) => {
                let why = "the root of a new user namespace may not mount in an existing mount \
                           namespace: join the user namespace that it belongs to";
                return Err(invalid(why));
            }
            _ => {}
        }
        found.map_ids(linux)?;
        if !linux.time_offsets.is_empty() && !found.makes(ns::TIME) {
            return Err(invalid("timeOffsets need a time namespace"));
        }
        Ok(found)
    }

    fn make(&mut self, kind: u64) {
        match kind {
            ns::CGROUP | ns::TIME => self.unshare |= kind,
            _ => self.clone |= kind,
        }
    }

    fn map_ids(&mut self, linux: &Linux) -> Result<(), LaunchError> {
        let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
        if !self.makes(ns::USER) {
            return match mapped && self.userns.is_none() {
                true => Err(invalid("id mappings need a user namespace")),
                false => Ok(()),
            };
        }
        let maps = Maps { uid: linux.uid_mappings.clone(), gid: linux.gid_mappings.clone() };
        maps.check("a user namespace")?;
        for (what, map) in [("uidMappings", &maps.uid), ("gidMappings", &maps.gid)] {
            if host_id(map, 0).is_none() {
                return Err(invalid(format!("{what} do not map id 0")));
            }
        }
        self.maps = Some(maps);
        Ok(())
    }

    /// Whether a namespace of this kind is made.
    pub(super) fn makes(&self, kind: u64) -> bool {
        (self.clone | self.unshare) & kind != 0
    }

    /// Whether one of this kind is joined.
    pub(super) fn joins(&self, kind: u64) -> bool {
        self.joins.iter().chain(&self.mount).any(|join| join.kind == kind)
    }

    /// Whether the container has a user namespace apart from the runtime's.
    pub(super) fn has_user(&self) -> bool {
        self.makes(ns::USER) || self.userns.is_some()
    }

    /// Whether the container's root rules the container's namespace of this kind: then it can
    /// mount the file system that shows it.
    pub(super) fn owns(&self, kind: u64) -> bool {
        !self.has_user() || self.makes(kind)
    }
}

fn invalid(message: impl Into<String>) -> LaunchError {
    LaunchError::invalid(message)
}
