//! Resource use. One sample of the engine and the one before make one of Docker's.

use engine::{BlkioEntry, InterfaceStats, Stats};
use wire::docker::ApiVersion;
use wire::docker::stats as wire_stats;

use super::null_if_empty;
use crate::moment::{NEVER, rfc3339};

/// One of Docker's samples. Without `before`, the sample stands alone.
pub(crate) fn to_wire(
    (id, name): (&str, &str),
    now: &Stats,
    before: Option<&Stats>,
    version: ApiVersion,
) -> wire_stats::Stats {
    let interfaces = now.networks.iter().flatten();
    wire_stats::Stats {
        id: id.to_owned(),
        name: format!("/{name}"),
        os_type: if version.at_least(52) { "linux" } else { "" }.to_owned(),
        read: if now.running { rfc3339(now.time) } else { NEVER.to_owned() },
        cpu_stats: cpu(now),
        memory_stats: wire_stats::MemoryStats {
            usage: now.memory.usage,
            max_usage: now.memory.max_usage,
            stats: now.memory.detail.clone(),
            failcnt: now.memory.failures,
            limit: now.memory.limit,
        },
        networks: interfaces.map(|i| (i.name.clone(), interface(i))).collect(),
        pids_stats: wire_stats::PidsStats {
            current: now.pids,
            limit: if now.running && now.pids_limit == 0 { u64::MAX } else { now.pids_limit },
        },
        blkio_stats: wire_stats::BlkioStats {
            io_service_bytes_recursive: entries(&now.blkio.bytes),
            io_serviced_recursive: entries(&now.blkio.operations),
            ..wire_stats::BlkioStats::default()
        },
        preread: before.map_or_else(|| NEVER.to_owned(), |before| rfc3339(before.time)),
        precpu_stats: before.map(cpu).unwrap_or_default(),
        ..wire_stats::Stats::default()
    }
}

fn cpu(stats: &Stats) -> wire_stats::CpuStats {
    let cpu = &stats.cpu;
    wire_stats::CpuStats {
        cpu_usage: wire_stats::CpuUsage {
            total_usage: cpu.total_ns,
            percpu_usage: cpu.per_cpu_ns.clone(),
            usage_in_kernelmode: cpu.system_ns,
            usage_in_usermode: cpu.user_ns,
        },
        system_cpu_usage: cpu.host_ns,
        online_cpus: cpu.online,
        throttling_data: wire_stats::ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_ns,
        },
    }
}

fn interface(stats: &InterfaceStats) -> wire_stats::NetworkStats {
    wire_stats::NetworkStats {
        rx_bytes: stats.rx_bytes,
        rx_packets: stats.rx_packets,
        rx_errors: stats.rx_errors,
        rx_dropped: stats.rx_dropped,
        tx_bytes: stats.tx_bytes,
        tx_packets: stats.tx_packets,
        tx_errors: stats.tx_errors,
        tx_dropped: stats.tx_dropped,
    }
}

fn entries(list: &[BlkioEntry]) -> Option<Vec<wire_stats::BlkioEntry>> {
    let entry = |entry: &BlkioEntry| wire_stats::BlkioEntry {
        major: entry.major,
        minor: entry.minor,
        op: entry.op.clone(),
        value: entry.value,
    };
    null_if_empty(list.iter().map(entry).collect())
}
