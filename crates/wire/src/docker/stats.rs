//! Resource use of a container at one moment, with the moment before. Never computes a percentage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_zero;

/// One sample of `GET /containers/{id}/stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Container id.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// Container name, with a leading slash.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// `linux`, from API 1.51 on.
    #[serde(skip_serializing_if = "is_zero")]
    pub os_type: String,
    /// RFC 3339.
    pub read: String,
    /// CPU at `read`.
    pub cpu_stats: CpuStats,
    /// Memory at `read`.
    pub memory_stats: MemoryStats,
    /// By interface name; absent without a network namespace of its own.
    #[serde(skip_serializing_if = "is_zero")]
    pub networks: BTreeMap<String, NetworkStats>,
    /// Processes and threads.
    pub pids_stats: PidsStats,
    /// Block devices.
    pub blkio_stats: BlkioStats,
    /// Windows only.
    pub num_procs: u32,
    /// Windows only.
    pub storage_stats: StorageStats,
    /// RFC 3339 of the sample before; year 1 if there is none.
    pub preread: String,
    /// CPU at `preread`.
    pub precpu_stats: CpuStats,
}

/// CPU use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// By the container.
    pub cpu_usage: CpuUsage,
    /// By the whole host, nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub system_cpu_usage: u64,
    /// CPUs.
    #[serde(skip_serializing_if = "is_zero")]
    pub online_cpus: u32,
    /// Time lost to the quota.
    pub throttling_data: ThrottlingData,
}

/// CPU time of the container, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// Together.
    pub total_usage: u64,
    /// By CPU; only with cgroup v1.
    #[serde(skip_serializing_if = "is_zero")]
    pub percpu_usage: Vec<u64>,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// In user space.
    pub usage_in_usermode: u64,
}

/// Time lost to the quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottlingData {
    /// Periods.
    pub periods: u64,
    /// Periods in which the quota ran out.
    pub throttled_periods: u64,
    /// Nanoseconds.
    pub throttled_time: u64,
}

/// Memory use, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// Now, with page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Highest so far; only with cgroup v1.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_usage: u64,
    /// The fields of `memory.stat`.
    #[serde(skip_serializing_if = "is_zero")]
    pub stats: BTreeMap<String, u64>,
    /// Times the limit was hit; only with cgroup v1.
    #[serde(skip_serializing_if = "is_zero")]
    pub failcnt: u64,
    /// Limit, or the host's memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Limit; `u64::MAX` is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Traffic of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    /// Bytes in.
    pub rx_bytes: u64,
    /// Packets in.
    pub rx_packets: u64,
    /// Errors in.
    pub rx_errors: u64,
    /// Dropped in.
    pub rx_dropped: u64,
    /// Bytes out.
    pub tx_bytes: u64,
    /// Packets out.
    pub tx_packets: u64,
    /// Errors out.
    pub tx_errors: u64,
    /// Dropped out.
    pub tx_dropped: u64,
}

/// Block device counters; `null` where the kernel has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioStats {
    /// Bytes by device and operation.
    pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
    /// Operations by device and operation.
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
    /// Queued; old kernels only.
    pub io_queue_recursive: Option<Vec<BlkioEntry>>,
    /// Nanoseconds; old kernels only.
    pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
    /// Nanoseconds; old kernels only.
    pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
    /// Merged; old kernels only.
    pub io_merged_recursive: Option<Vec<BlkioEntry>>,
    /// Milliseconds; old kernels only.
    pub io_time_recursive: Option<Vec<BlkioEntry>>,
    /// Sectors; old kernels only.
    pub sectors_recursive: Option<Vec<BlkioEntry>>,
}

/// One counter of a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    /// Device major.
    pub major: u64,
    /// Device minor.
    pub minor: u64,
    /// `read`, `write`, …
    pub op: String,
    /// Count.
    pub value: u64,
}

/// Windows only; prints as `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageStats {
    /// Reads.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_count_normalized: u64,
    /// Bytes read.
    #[serde(skip_serializing_if = "is_zero")]
    pub read_size_bytes: u64,
    /// Writes.
    #[serde(skip_serializing_if = "is_zero")]
    pub write_count_normalized: u64,
    /// Bytes written.
    #[serde(skip_serializing_if = "is_zero")]
    pub write_size_bytes: u64,
}
