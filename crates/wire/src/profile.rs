//! The file that `profile learn` writes and `--security-opt profile=FILE` reads: what a container
//! may do, and what it was seen doing.

use crate::oci::runtime::Seccomp;
use serde::{Deserialize, Serialize};

/// The version of the form that is written and read.
pub const VERSION: u32 = 1;

/// A learned profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProfileFile {
    /// [`VERSION`].
    pub version: u32,
    /// Capabilities, as in `CAP_CHOWN`: these and no others.
    pub capabilities: Vec<String>,
    /// The system-call filter.
    pub seccomp: Seccomp,
    /// What it was made from; enforces nothing.
    #[serde(default)]
    pub observed: Observed,
}

/// What a container was seen doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Observed {
    /// How many system calls the filter lets through.
    pub syscalls: usize,
    /// Whether the kernel told which capabilities were used; else all that it had are kept.
    pub capabilities: bool,
    /// Sockets: families and types, as in `AF_INET SOCK_STREAM`.
    pub sockets: Vec<String>,
    /// Files that were opened.
    pub files: Vec<String>,
    /// Events that were lost; a profile that has any may lack calls.
    pub lost: u64,
}

/// What was denied to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Denied {
    /// What.
    pub denied: String,
    /// Why.
    pub reason: String,
    /// What to pass to `run` to allow it; empty when nothing of ours would.
    pub option: String,
}
