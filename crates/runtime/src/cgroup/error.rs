//! What can go wrong with a cgroup. Knows no HTTP status and no exit code.

use std::io;
use std::path::PathBuf;

/// A failed act on a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The host has no cgroup file system mounted.
    #[error("find cgroups: no cgroup file system is mounted")]
    NoHierarchy,
    /// The path is not one that a cgroup may have.
    #[error("cgroup path {path:?}: {reason}")]
    BadPath {
        /// As asked for.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// systemd did not make the unit that the cgroup is to be in.
    #[error("have systemd start {unit} in {slice}: {source}")]
    Systemd {
        /// The unit.
        unit: String,
        /// Its slice.
        slice: String,
        /// What it said, or why it cannot be asked.
        source: io::Error,
    },
    /// A limit was asked for that this host cannot set.
    #[error("set {limit}: this host has no {controller} cgroup controller")]
    NoController {
        /// The missing controller.
        controller: &'static str,
        /// What was asked for.
        limit: String,
    },
    /// A limit was asked for that means nothing, or that contradicts another one.
    #[error("set {limit}: {reason}")]
    BadLimit {
        /// The field and its value.
        limit: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cgroup exists and has processes.
    #[error("create cgroup {path:?}: it is in use by another container")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A directory could not be made.
    #[error("create cgroup {path:?}")]
    Create {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The cgroup is not there in any tree.
    #[error("open cgroup {path:?}: it does not exist")]
    NotFound {
        /// As asked for.
        path: String,
    },
    /// A file could not be read.
    #[error("read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file holds something else than its documentation says.
    #[error("read {path:?}: unexpected content {content:?}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it holds, shortened.
        content: String,
    },
    /// A value could not be written.
    #[error("write {value:?} to {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written, shortened.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A process could not be put into the cgroup.
    #[error("move process {pid} into cgroup {path:?}")]
    Join {
        /// The process.
        pid: i32,
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A signal could not be sent to one of the processes.
    #[error("signal process {pid} of cgroup {path:?}")]
    Signal {
        /// The process.
        pid: i32,
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The processes did not all stop in time.
    #[error("freeze cgroup {path:?}: not frozen after {waited_ms} ms")]
    FreezeTimeout {
        /// The directory.
        path: PathBuf,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// A watch on out-of-memory events could not be set up.
    #[error("watch {path:?} for out-of-memory events")]
    Watch {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The device program could not be loaded or attached.
    #[error("attach the device filter to cgroup {path:?}")]
    DeviceFilter {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The directory could not be removed.
    #[error("remove cgroup {path:?}")]
    Delete {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}
