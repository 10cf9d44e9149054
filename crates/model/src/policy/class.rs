//! Classes of operations: what a rule allows. Every operation of the API is in one of them
//! (`crates/api/ledger.tsv` says which); an operation that nobody put anywhere is the
//! administrator's. Knows no operation.

use crate::error::Denied;
use std::collections::BTreeSet;

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class {
            $($(#[$doc])* $name,)*
        }

        impl Class {
            /// Every class.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in a policy.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

classes! {
    /// Being there, and which version: allowed to everybody who has a rule.
    Ping = "system.ping",
    /// Looking at the daemon: what it is, what happens, what takes space.
    SystemRead = "system.read",
    /// Looking at containers: list, details, output, processes, figures.
    ContainersRead = "containers.read",
    /// Making and running: create, start, restart, exec, attach, update.
    ContainersRun = "containers.run",
    /// Ending and removing: stop, kill, pause, rename, remove, prune.
    ContainersControl = "containers.control",
    /// Files in and out: copy, export.
    ContainersCopy = "containers.copy",
    /// Looking at images.
    ImagesRead = "images.read",
    /// Fetching images from registries.
    ImagesPull = "images.pull",
    /// Making images of other things than builds: load, import, commit, tag.
    ImagesWrite = "images.write",
    /// Building.
    ImagesBuild = "images.build",
    /// Sending images to registries.
    ImagesPush = "images.push",
    /// Removing and pruning images and the build cache.
    ImagesRemove = "images.remove",
    /// Looking at networks.
    NetworksRead = "networks.read",
    /// Making, removing, connecting networks.
    NetworksWrite = "networks.write",
    /// Looking at volumes.
    VolumesRead = "volumes.read",
    /// Making, removing, filling volumes.
    VolumesWrite = "volumes.write",
    /// Looking at plugins.
    PluginsRead = "plugins.read",
    /// Installing, setting, enabling, removing plugins.
    PluginsWrite = "plugins.write",
    /// Looking at the cluster: nodes, services, tasks, secrets, configs.
    SwarmRead = "swarm.read",
    /// Changing the cluster.
    SwarmWrite = "swarm.write",
    /// Whatever is in no other class.
    Admin = "admin",
}

impl Class {
    /// Whether its operations only look.
    pub fn is_read(self) -> bool {
        self == Self::Ping || self.name().ends_with(".read")
    }

    /// The classes that a name or a pattern with `*` means.
    pub fn matching(pattern: &str) -> Result<BTreeSet<Self>, Denied> {
        let fits = |class: &&Self| super::fits(pattern, class.name());
        let found: BTreeSet<Self> = Self::ALL.iter().filter(fits).copied().collect();
        if found.is_empty() {
            let known: Vec<&str> = Self::ALL.iter().map(|class| class.name()).collect();
            return Err(Denied::invalid(format!(
                "no class of operations is called {pattern:?}: want one of {}",
                known.join(", ")
            )));
        }
        Ok(found)
    }
}
