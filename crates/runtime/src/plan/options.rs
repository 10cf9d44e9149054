//! Mount options: the words of `mount(8)` and of the OCI specification, sorted into what the
//! mount API wants. Pure; it never knows where the mount goes.

use super::step::Owner;
use sys::mount::{Propagation, attr};

/// The options of one mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Attributes of the mount.
    pub(super) set: u64,
    /// Attributes that are taken away.
    pub(super) clear: u64,
    /// Attributes of the whole tree.
    pub(super) set_recursive: u64,
    /// Attributes that are taken away from the whole tree.
    pub(super) clear_recursive: u64,
    /// A bind mount was asked for.
    pub(super) bind: Option<BindScope>,
    /// Propagation of the mount.
    pub(super) propagation: Option<Propagation>,
    /// Whether the propagation is of the whole tree.
    pub(super) propagation_recursive: bool,
    /// The existing mount is changed.
    pub(super) remount: bool,
    /// Ids are mapped.
    pub(super) idmap: Option<BindScope>,
    /// A tmpfs begins as a copy of what it covers.
    pub(super) copy_up: bool,
    /// A bind's source is this path below the one named (`x-estiba.subpath=PATH`).
    pub(super) beneath: Option<String>,
    /// Layers of an image, topmost first (`x-estiba.lower=PATH`, for the type `x-estiba.image`).
    pub(super) lower: Vec<String>,
    /// The owner of a bind's source appears as this one (`x-estiba.uid=ID`, `x-estiba.gid=ID`).
    pub(super) owner: Option<Owner>,
    /// A bind's source is what this process sees, `x-estiba.process=PID`.
    pub(super) process: Option<u32>,
    /// What the file system itself understands.
    pub(super) data: Vec<(String, Option<String>)>,
}

/// How far a bind mount reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindScope {
    /// One mount.
    One,
    /// Everything mounted below too.
    Tree,
}

/// The options that are known here; every other is the file system's.
pub const MOUNT_OPTIONS: [&str; 60] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "lazytime",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
    "notmpcopyup",
    "nofail",
    "_netdev",
];

/// Options that only say what is the default, or that concern mount(8) alone.
const IGNORED: [&str; 9] =
    ["defaults", "async", "auto", "noauto", "user", "nouser", "users", "_netdev", "nofail"];

/// Options of the superblock that are flags by name in the mount API as well.
const SUPERBLOCK: [&str; 5] = ["sync", "dirsync", "lazytime", "mand", "silent"];

/// Sorts `options`. Later ones win.
pub(super) fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Options {
    let mut parsed = Options::default();
    for option in options {
        if option.is_empty() || IGNORED.contains(&option) {
            continue;
        }
        if let Some(own) = option.strip_prefix("x-estiba.") {
            parsed.own(own);
            continue;
        }
        if !(parsed.attribute(option) || parsed.kind(option) || parsed.spread(option)) {
            parsed.superblock(option);
        }
    }
    parsed
}

impl Options {
    /// An extension of ours: engines that do not know it never write it.
    fn own(&mut self, option: &str) {
        match option.split_once('=') {
            Some(("lower", path)) => self.lower.push(path.to_owned()),
            Some(("subpath", path)) => self.beneath = Some(path.to_owned()),
            // Number 0 is nobody's: what is no number finds no process.
            Some(("process", id)) => self.process = Some(id.parse().unwrap_or(0)),
            Some(("uid", id)) => self.owner.get_or_insert_default().uid = id.parse().ok(),
            Some(("gid", id)) => self.owner.get_or_insert_default().gid = id.parse().ok(),
            _ => {}
        }
    }

    fn attribute(&mut self, option: &str) -> bool {
        let (set, clear) = match attribute(option) {
            Some(change) => change,
            None => return self.recursive_attribute(option),
        };
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
        true
    }

    fn recursive_attribute(&mut self, option: &str) -> bool {
        let Some((set, clear)) = option.strip_prefix('r').and_then(attribute) else {
            return false;
        };
        self.set_recursive = self.set_recursive & !clear | set;
        self.clear_recursive = self.clear_recursive & !set | clear;
        true
    }

    fn kind(&mut self, option: &str) -> bool {
        match option {
            "bind" => self.bind = self.bind.or(Some(BindScope::One)),
            "rbind" => self.bind = Some(BindScope::Tree),
            "remount" => self.remount = true,
            "idmap" => self.idmap = Some(BindScope::One),
            "ridmap" => self.idmap = Some(BindScope::Tree),
            "tmpcopyup" => self.copy_up = true,
            "notmpcopyup" => self.copy_up = false,
            _ => return false,
        }
        true
    }

    fn spread(&mut self, option: &str) -> bool {
        let (propagation, recursive) = match option {
            "shared" => (Propagation::Shared, false),
            "rshared" => (Propagation::Shared, true),
            "slave" => (Propagation::Slave, false),
            "rslave" => (Propagation::Slave, true),
            "private" => (Propagation::Private, false),
            "rprivate" => (Propagation::Private, true),
            "unbindable" => (Propagation::Unbindable, false),
            "runbindable" => (Propagation::Unbindable, true),
            _ => return false,
        };
        self.propagation = Some(propagation);
        self.propagation_recursive = recursive;
        true
    }

    fn superblock(&mut self, option: &str) {
        if SUPERBLOCK.contains(&option) {
            self.data.push((option.to_owned(), None));
            return;
        }
        match option.split_once('=') {
            Some((key, value)) => self.data.push((key.to_owned(), Some(value.to_owned()))),
            None => self.data.push((option.to_owned(), None)),
        }
    }
}

/// What an option sets and clears of the mount's attributes.
fn attribute(option: &str) -> Option<(u64, u64)> {
    Some(match option {
        "ro" => (attr::RDONLY, 0),
        "rw" => (0, attr::RDONLY),
        "nosuid" => (attr::NOSUID, 0),
        "suid" => (0, attr::NOSUID),
        "nodev" => (attr::NODEV, 0),
        "dev" => (0, attr::NODEV),
        "noexec" => (attr::NOEXEC, 0),
        "exec" => (0, attr::NOEXEC),
        "noatime" => (attr::NOATIME, attr::ATIME_MASK),
        "strictatime" => (attr::STRICTATIME, attr::ATIME_MASK),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (attr::RELATIME, attr::ATIME_MASK),
        "nodiratime" => (attr::NODIRATIME, 0),
        "diratime" => (0, attr::NODIRATIME),
        "nosymfollow" => (attr::NOSYMFOLLOW, 0),
        "symfollow" => (0, attr::NOSYMFOLLOW),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[&str], expect: Options) {
        assert_eq!(parse(options.iter().copied()), expect, "{options:?}");
    }

    #[test]
    fn later_options_win() {
        check(&["ro", "rw"], Options { clear: attr::RDONLY, ..Options::default() });
        check(&["rw", "ro"], Options { set: attr::RDONLY, ..Options::default() });
    }

    #[test]
    fn access_times_replace_each_other() {
        check(
            &["strictatime", "noatime"],
            Options { set: attr::NOATIME, clear: attr::ATIME_MASK, ..Options::default() },
        );
    }

    #[test]
    fn recursive_attributes_are_kept_apart() {
        check(
            &["rbind", "rro", "rnosuid", "rslave"],
            Options {
                bind: Some(BindScope::Tree),
                set_recursive: attr::RDONLY | attr::NOSUID,
                propagation: Some(Propagation::Slave),
                propagation_recursive: true,
                ..Options::default()
            },
        );
    }

    #[test]
    fn rbind_is_not_weakened_by_bind() {
        check(&["rbind", "bind"], Options { bind: Some(BindScope::Tree), ..Options::default() });
    }

    #[test]
    fn the_rest_is_the_file_systems() {
        check(
            &["mode=755", "size=64k", "newinstance", "defaults"],
            Options {
                data: vec![
                    ("mode".into(), Some("755".into())),
                    ("size".into(), Some("64k".into())),
                    ("newinstance".into(), None),
                ],
                ..Options::default()
            },
        );
    }
}
