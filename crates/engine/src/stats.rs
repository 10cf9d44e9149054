//! One sample of what a container uses. The edge makes rates and percentages of two of them.

use model::Timestamp;
use net::InterfaceStats;
use std::collections::BTreeMap;

/// What a container used up to now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// When the sample was taken.
    pub time: Timestamp,
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks now.
    pub pids: u64,
    /// Largest number of tasks allowed, 0 for no limit.
    pub pids_limit: u64,
    /// Block IO, one entry per device, operation and kind.
    pub blkio: BlkioStats,
    /// Interfaces; `None` when the container has no network of its own.
    pub networks: Option<Vec<InterfaceStats>>,
    /// The container runs; otherwise everything is zero.
    pub running: bool,
}

/// CPU time, ns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Everything.
    pub total_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// By CPU; empty where the kernel does not tell (cgroup v2).
    pub per_cpu_ns: Vec<u64>,
    /// The host's total over all CPUs, idle time included.
    pub host_ns: u64,
    /// CPUs online.
    pub online: u32,
    /// Enforcement periods so far.
    pub periods: u64,
    /// Periods in which it was throttled.
    pub throttled_periods: u64,
    /// Time it was throttled for.
    pub throttled_ns: u64,
}

/// Memory, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Charged now, page cache included.
    pub usage: u64,
    /// Most ever charged; 0 where the kernel does not tell.
    pub max_usage: u64,
    /// The limit, or the host's memory when there is none.
    pub limit: u64,
    /// How often the limit was hit.
    pub failures: u64,
    /// The kernel's own counters (`memory.stat`).
    pub detail: BTreeMap<String, u64>,
    /// The counters are those of cgroup v2.
    pub v2: bool,
}

/// Block IO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioStats {
    /// Bytes.
    pub bytes: Vec<BlkioEntry>,
    /// Operations.
    pub operations: Vec<BlkioEntry>,
}

/// One counter of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Device number, major.
    pub major: u64,
    /// Device number, minor.
    pub minor: u64,
    /// `read`, `write`, `sync`, … lower case.
    pub op: String,
    /// The counter.
    pub value: u64,
}
