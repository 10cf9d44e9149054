//! What can be mounted into a container, as asked ([`MountDraft`]) and as resolved ([`Mount`]).
//! This module never looks at a filesystem.

use crate::digest::Digest;
use crate::selinux::Relabel;
use std::collections::BTreeMap;

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountDraft {
    /// Absolute path in the container.
    pub target: String,
    /// Read-only.
    pub readonly: bool,
    /// What is mounted.
    pub kind: MountKind,
    /// `consistency`, only shown back.
    pub consistency: String,
    /// Whom its files are to appear to belong to.
    pub owner: MountOwner,
}

/// Whom the files of a mount appear to belong to inside: the owner of its source appears as this
/// one, and what this one makes belongs to the owner of the source. Absent: as on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOwner {
    /// User id inside.
    pub uid: Option<u32>,
    /// Group id inside.
    pub gid: Option<u32>,
    /// Permissions of a source that is made on the way, and of memory.
    pub mode: Option<u32>,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of the host.
    Bind {
        /// Absolute host path.
        source: String,
        /// Mount propagation.
        propagation: Option<Propagation>,
        /// Leave submounts out.
        non_recursive: bool,
        /// Create the source directory when missing (`-v` does, `--mount` refuses).
        create_source: bool,
        /// With a read-only mount: submounts stay writable.
        readonly_non_recursive: bool,
        /// With a read-only mount: fail when submounts cannot be made read-only.
        readonly_force_recursive: bool,
    },
    /// A volume; no name means an anonymous one.
    Volume {
        /// Name, or empty.
        name: String,
        /// Do not copy the image's content into a new volume.
        nocopy: bool,
        /// Labels of a volume made on the way.
        labels: BTreeMap<String, String>,
        /// Driver of a volume made on the way; empty for local.
        driver: String,
        /// Its options.
        driver_opts: BTreeMap<String, String>,
        /// Directory inside the volume; empty for its root.
        subpath: String,
    },
    /// Memory.
    Tmpfs {
        /// Largest size; 0 for the kernel's default.
        size_bytes: i64,
        /// Mode of the root; 0 for 01777.
        mode: u32,
        /// Further options, `key[=value]`.
        options: Vec<String>,
    },
    /// The content of an image, read-only.
    Image {
        /// Image reference.
        source: String,
        /// Directory inside; empty for the root.
        subpath: String,
    },
}

/// Mount propagation, mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// `private`.
    Private,
    /// `rprivate`, the default.
    RPrivate,
    /// `shared`.
    Shared,
    /// `rshared`.
    RShared,
    /// `slave`.
    Slave,
    /// `rslave`.
    RSlave,
}

impl Propagation {
    /// Parses the option's name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "private" => Self::Private,
            "rprivate" => Self::RPrivate,
            "shared" => Self::Shared,
            "rshared" => Self::RShared,
            "slave" => Self::Slave,
            "rslave" => Self::RSlave,
            _ => return None,
        })
    }

    /// The option's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::RPrivate => "rprivate",
            Self::Shared => "shared",
            Self::RShared => "rshared",
            Self::Slave => "slave",
            Self::RSlave => "rslave",
        }
    }
}

/// A mount as resolved: sources exist, volumes have names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute, normalised path in the container.
    pub target: String,
    /// Writable.
    pub writable: bool,
    /// What is mounted, with where it is on the host.
    pub source: MountSource,
    /// Mode text as Docker shows it (`z`, `ro`, …).
    pub mode: String,
    /// Whom its files appear to belong to.
    pub owner: MountOwner,
    /// Label its files for containers, where SELinux is in use, if anybody asked.
    pub relabel: Option<Relabel>,
}

/// Where a resolved mount comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// Host path.
    Bind {
        /// Absolute host path.
        path: String,
        /// Propagation.
        propagation: Propagation,
        /// With its submounts.
        recursive: bool,
        /// Created when missing, by `-v`'s rule.
        create: bool,
        /// Read-only, when it is, for what is mounted below too.
        readonly_recursive: bool,
        /// The directory that no link on the way may lead out of; absent: anywhere.
        within: Option<String>,
    },
    /// Volume.
    Volume {
        /// Its name.
        name: String,
        /// Its driver.
        driver: String,
        /// Directory inside.
        subpath: String,
        /// Fill from the image when empty.
        copy_up: bool,
        /// Made for this container alone.
        anonymous: bool,
    },
    /// Memory.
    Tmpfs {
        /// tmpfs options, `key[=value]`.
        options: Vec<String>,
    },
    /// Content of an image.
    Image {
        /// Reference as asked.
        source: String,
        /// Directory inside.
        subpath: String,
        /// The image meant when the container was made; absent until that is known.
        image: Option<Digest>,
    },
    /// What layers show together, read-only; only the node itself asks for it.
    Layers {
        /// The layers, base first.
        layers: Vec<Digest>,
        /// Directory or file inside.
        subpath: String,
    },
}
