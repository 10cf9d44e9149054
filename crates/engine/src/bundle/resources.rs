//! Limits in the runtime's words.

use super::Plan;
use model::resources::{DeviceRate, Resources};
use std::collections::BTreeMap;
use wire::oci::runtime as oci;

/// CFS period when none is asked for, µs.
const PERIOD_US: u64 = 100_000;

/// Numbers of block devices, by path.
pub(crate) type BlockDevices = BTreeMap<String, (u32, u32)>;

pub(super) fn limits(plan: &Plan<'_>) -> oci::Resources {
    let mut out = update(&plan.spec.resources, plan.block_devices);
    out.devices = device_rules(plan);
    out
}

/// The limits that are set, and nothing of devices: what a running container can be changed to.
pub(crate) fn update(resources: &Resources, devices: &BlockDevices) -> oci::Resources {
    oci::Resources {
        memory: memory(resources),
        cpu: cpu(resources),
        pids: resources.pids_limit.map(|limit| oci::Pids { limit: Some(limit) }),
        block_io: block_io(resources, devices),
        ..Default::default()
    }
}

/// What asks for nothing is left out: the runtime then writes no file.
fn some_if_set<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn memory(resources: &Resources) -> Option<oci::Memory> {
    let set = |limit: Option<i64>| limit.filter(|limit| *limit != 0);
    some_if_set(oci::Memory {
        limit: set(resources.memory_bytes),
        reservation: set(resources.memory_reservation_bytes),
        swap: set(resources.memory_swap_bytes),
        swappiness: resources.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: resources.oom_kill_disable.filter(|disable| *disable),
        ..Default::default()
    })
}

fn cpu(resources: &Resources) -> Option<oci::Cpu> {
    let (quota, period) = match resources.nano_cpus.filter(|nano| *nano > 0) {
        // Billionths of a CPU, and microseconds of each period.
        Some(nano) => (Some(nano / (1_000_000_000 / PERIOD_US.cast_signed())), Some(PERIOD_US)),
        None => (
            resources.cpu_quota_us.filter(|quota| *quota != 0),
            resources.cpu_period_us.filter(|period| *period != 0),
        ),
    };
    some_if_set(oci::Cpu {
        shares: resources.cpu_shares.filter(|shares| *shares != 0),
        quota,
        period,
        realtime_runtime: resources.cpu_rt_runtime_us.filter(|runtime| *runtime != 0),
        realtime_period: resources.cpu_rt_period_us.filter(|period| *period != 0),
        cpus: resources.cpuset_cpus.clone().unwrap_or_default(),
        mems: resources.cpuset_mems.clone().unwrap_or_default(),
        ..Default::default()
    })
}

fn block_io(resources: &Resources, devices: &BlockDevices) -> Option<oci::BlockIo> {
    let number = |path: &str| devices.get(path).map(|(a, b)| (i64::from(*a), i64::from(*b)));
    let rates = |list: &[DeviceRate]| {
        let rate = |entry: &DeviceRate| {
            let (major, minor) = number(&entry.path)?;
            Some(oci::ThrottleDevice { major, minor, rate: entry.rate })
        };
        list.iter().filter_map(rate).collect::<Vec<_>>()
    };
    let weights = resources.blkio_weight_device.iter().filter_map(|entry| {
        let (major, minor) = number(&entry.path)?;
        Some(oci::WeightDevice { major, minor, weight: Some(entry.weight), leaf_weight: None })
    });
    some_if_set(oci::BlockIo {
        weight: resources.blkio_weight.filter(|weight| *weight != 0),
        weight_device: weights.collect(),
        throttle_read_bps_device: rates(&resources.blkio_read_bps),
        throttle_write_bps_device: rates(&resources.blkio_write_bps),
        throttle_read_iops_device: rates(&resources.blkio_read_iops),
        throttle_write_iops_device: rates(&resources.blkio_write_iops),
        ..Default::default()
    })
}

/// Character devices that every container may use, by number: null, zero, full, random, urandom,
/// tty, console, ptmx.
const CHARACTER_DEVICES: [(i64, i64); 8] =
    [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];

/// Major number of pseudo terminals.
const PTS_MAJOR: i64 = 136;

fn device_rules(plan: &Plan<'_>) -> Vec<oci::DeviceRule> {
    if plan.spec.isolation.privileged {
        return vec![rule(true, "a", None, None, "rwm")];
    }
    let mut out = vec![rule(false, "a", None, None, "rwm")];
    // Making a node is no access: using it is asked for again.
    out.extend(["c", "b"].map(|kind| rule(true, kind, None, None, "m")));
    out.extend(
        CHARACTER_DEVICES.map(|(major, minor)| rule(true, "c", Some(major), Some(minor), "rwm")),
    );
    out.push(rule(true, "c", Some(PTS_MAJOR), None, "rwm"));
    for (device, access) in plan.devices {
        out.push(rule(true, &device.kind, Some(device.major), Some(device.minor), access));
    }
    out.extend(plan.spec.resources.device_rules.iter().filter_map(|text| parse_rule(text)));
    out
}

fn rule(
    allow: bool,
    kind: &str,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> oci::DeviceRule {
    oci::DeviceRule { allow, kind: kind.to_owned(), major, minor, access: access.to_owned() }
}

/// `c 1:3 rwm`, checked when the container was resolved.
fn parse_rule(text: &str) -> Option<oci::DeviceRule> {
    let mut words = text.split(' ');
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = numbers.split_once(':')?;
    Some(rule(true, kind, major.parse().ok(), minor.parse().ok(), access))
}
