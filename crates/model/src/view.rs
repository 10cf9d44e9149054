//! What is shown of a container: a snapshot, taken without locks, that the edge turns into any
//! wire's form.

use crate::digest::Digest;
use crate::draft::Draft;
use crate::id::{ContainerId, ContainerName, ExecId};
use crate::network::{Endpoint, PortBinding};
use crate::phase::Phase;
use crate::spec::ContainerSpec;
use crate::time::Timestamp;

/// A container as listed and inspected.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerView {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// As asked.
    pub draft: Draft,
    /// As decided.
    pub spec: ContainerSpec,
    /// The image's id.
    pub image: Digest,
    /// Where it is in its life.
    pub phase: Phase,
    /// How its last run ended, also while it runs again.
    pub last_exit: Option<crate::phase::Exit>,
    /// How often its policy restarted it.
    pub restart_count: u32,
    /// Its endpoints (of networks it is on now, or will be on when started).
    pub endpoints: Vec<Endpoint>,
    /// Ports in force (host ports chosen); empty while it does not run.
    pub ports: Vec<PortBinding>,
    /// Its running and finished execs.
    pub execs: Vec<ExecId>,
    /// Health, when it has a check.
    pub health: Option<HealthView>,
    /// Paths on the host.
    pub paths: ContainerPaths,
    /// Bytes of its writable layer and of everything, when counted.
    pub size: Option<(u64, u64)>,
    /// Warnings given when it was made or started.
    pub warnings: Vec<String>,
}

/// A container's files on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPaths {
    /// Log file; empty when there is none.
    pub log: String,
    /// /etc/resolv.conf.
    pub resolv_conf: String,
    /// /etc/hostname.
    pub hostname: String,
    /// /etc/hosts.
    pub hosts: String,
    /// Layers of the root, topmost first.
    pub lower: Vec<String>,
    /// Writable layer.
    pub upper: String,
    /// overlayfs work directory.
    pub work: String,
    /// Named volumes' directories by target.
    pub volumes: Vec<(String, String)>,
}

/// The state of a health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthView {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: &'static str,
    /// Failures in a row.
    pub failing_streak: u32,
    /// Last results, oldest first.
    pub log: Vec<HealthResult>,
}

/// One run of a health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthResult {
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code.
    pub exit_code: i32,
    /// Its output, bounded.
    pub output: String,
}
