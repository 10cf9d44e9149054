//! One sample of a container's use, from its cgroup and its interfaces.

use crate::node::Node;
use crate::stats::{BlkioEntry, BlkioStats, CpuStats, MemoryStats, Stats};
use crate::{EngineError, Result, clock};
use model::network::NetworkMode;
use model::view::ContainerView;
use runtime::cgroup::{self, Cgroup, Layout};
use std::fs::File;
use std::os::fd::AsFd;

pub(super) fn sample(node: &Node, view: &ContainerView) -> Result<Stats> {
    let time = clock::now();
    let Some(run) = view.phase.run() else { return Ok(Stats { time, ..Stats::default() }) };
    let path = crate::host::cgroup_of(&view.spec.cgroup_parent, &view.id);
    let failed = |error: cgroup::CgroupError| EngineError::Internal(crate::error::chain(&error));
    let group = match Cgroup::open(&node.hierarchy, &path) {
        Ok(group) => group,
        // It ended just now.
        Err(cgroup::CgroupError::NotFound { .. }) => {
            return Ok(Stats { time, ..Stats::default() });
        }
        Err(error) => return Err(failed(error)),
    };
    let used = group.stats().map_err(failed)?;
    let networks = match view.spec.network {
        NetworkMode::Host | NetworkMode::Container(_) => None,
        _ => File::open(format!("/proc/{}/ns/net", run.pid))
            .ok()
            .map(|netns| node.net.interface_stats(netns.as_fd()))
            .transpose()?,
    };
    Ok(convert(used, time, networks, node.hierarchy.layout() == Layout::Unified))
}

fn convert(
    used: cgroup::Stats,
    time: model::Timestamp,
    networks: Option<Vec<net::InterfaceStats>>,
    v2: bool,
) -> Stats {
    let entries = |list: Vec<cgroup::BlkioEntry>| {
        let entry = |it: cgroup::BlkioEntry| BlkioEntry {
            major: it.major.into(),
            minor: it.minor.into(),
            op: it.op,
            value: it.value,
        };
        list.into_iter().map(entry).collect()
    };
    Stats {
        time,
        cpu: CpuStats {
            total_ns: used.cpu.total_ns,
            user_ns: used.cpu.user_ns,
            system_ns: used.cpu.kernel_ns,
            per_cpu_ns: used.cpu.percpu_ns,
            host_ns: used.cpu.system_ns,
            online: used.cpu.online,
            periods: used.cpu.periods,
            throttled_periods: used.cpu.throttled_periods,
            throttled_ns: used.cpu.throttled_ns,
        },
        memory: MemoryStats {
            usage: used.memory.usage_bytes,
            max_usage: used.memory.max_usage_bytes,
            limit: used.memory.limit_bytes,
            failures: used.memory.failcnt,
            detail: used.memory.stat,
            v2,
        },
        pids: used.pids.current,
        pids_limit: used.pids.limit,
        blkio: BlkioStats {
            bytes: entries(used.blkio.io_service_bytes_recursive),
            operations: entries(used.blkio.io_serviced_recursive),
        },
        networks,
        running: true,
    }
}
