//! Limits: the flags that become cgroup settings and resource limits.

use wire::docker::host_config::{Resources, ThrottleDevice, Ulimit, WeightDevice};

use super::{device, none_if_empty};
use crate::flags::Matches;
use crate::{number, units};

/// Every resource limit of the kernel, as `--ulimit` names them.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// All limits of `run` and `create`.
pub(super) fn resources(matches: &Matches) -> Result<Resources, String> {
    let int = |flag: &str| matches.int(flag).unwrap_or_default();
    let unsigned =
        |flag: &str| number::parse_uint(matches.text(flag), u64::MAX).unwrap_or_default();
    let throttle = |flag: &str, parse: fn(&str) -> Result<ThrottleDevice, String>| {
        matches.list(flag).into_iter().map(parse).collect::<Result<Vec<_>, _>>().map(Some)
    };
    let weights: Result<Vec<_>, _> =
        matches.list("blkio-weight-device").into_iter().map(weight_device).collect();
    let (devices, cdi) = device::mappings(&matches.list("device"))?;
    Ok(Resources {
        cpu_shares: int("cpu-shares"),
        memory: matches.bytes("memory"),
        nano_cpus: units::parse_nano(matches.text("cpus")).unwrap_or_default(),
        cgroup_parent: matches.text("cgroup-parent").to_owned(),
        blkio_weight: u16::try_from(unsigned("blkio-weight")).unwrap_or_default(),
        blkio_weight_device: Some(weights?),
        blkio_device_read_bps: throttle("device-read-bps", throttle_bps)?,
        blkio_device_write_bps: throttle("device-write-bps", throttle_bps)?,
        blkio_device_read_iops: throttle("device-read-iops", throttle_iops)?,
        blkio_device_write_iops: throttle("device-write-iops", throttle_iops)?,
        cpu_period: int("cpu-period"),
        cpu_quota: int("cpu-quota"),
        cpu_realtime_period: int("cpu-rt-period"),
        cpu_realtime_runtime: int("cpu-rt-runtime"),
        cpuset_cpus: matches.text("cpuset-cpus").to_owned(),
        cpuset_mems: matches.text("cpuset-mems").to_owned(),
        devices: Some(devices),
        device_cgroup_rules: none_if_empty(matches.list("device-cgroup-rule")),
        device_requests: device::requests(&matches.list("gpus"), cdi)?,
        memory_reservation: matches.bytes("memory-reservation"),
        memory_swap: matches.bytes("memory-swap"),
        memory_swappiness: Some(matches.int("memory-swappiness").unwrap_or(-1)),
        oom_kill_disable: Some(matches.bool("oom-kill-disable")),
        pids_limit: Some(int("pids-limit")),
        ulimits: Some(ulimits(&matches.list("ulimit"))?),
        cpu_count: int("cpu-count"),
        cpu_percent: int("cpu-percent"),
        io_maximum_iops: unsigned("io-maxiops"),
        io_maximum_bandwidth: u64::try_from(matches.bytes("io-maxbandwidth")).unwrap_or_default(),
    })
}

/// The limits by name; of several for one name, the last.
fn ulimits(list: &[&str]) -> Result<Vec<Ulimit>, String> {
    let mut all: std::collections::BTreeMap<String, Ulimit> = std::collections::BTreeMap::new();
    for text in list {
        let limit = ulimit(text)?;
        all.insert(limit.name.clone(), limit);
    }
    Ok(all.into_values().collect())
}

/// `name=soft[:hard]`; -1 is unlimited.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) =
        text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = match limits.split_once(':') {
        Some((_, hard)) if hard.contains(':') => {
            return Err(format!(
                "too many limit value arguments - {limits}, can only have up to \
                                two, `soft[:hard]`"
            ));
        }
        Some((soft, hard)) => (number::parse_int(soft)?, number::parse_int(hard)?),
        None => {
            let both = number::parse_int(limits)?;
            (both, both)
        }
    };
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

/// `/dev/path:weight`.
pub(crate) fn weight_device(text: &str) -> Result<WeightDevice, String> {
    let (path, weight) = device_value(text)?;
    let weight = number::parse_uint(weight, 65_535)
        .ok()
        .filter(|weight| *weight == 0 || (10..=1000).contains(weight))
        .and_then(|weight| u16::try_from(weight).ok())
        .ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(WeightDevice { path: path.to_owned(), weight })
}

/// `/dev/path:rate`, the rate as a size.
pub(crate) fn throttle_bps(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = device_value(text)?;
    let rate = units::parse_bytes(rate).ok().and_then(|rate| u64::try_from(rate).ok());
    let rate = rate.ok_or_else(|| {
        format!(
            "invalid rate for device: {text}. The correct format is \
             <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional \
             and can be kb, mb, or gb"
        )
    })?;
    Ok(ThrottleDevice { path: path.to_owned(), rate })
}

/// `/dev/path:rate`, the rate as a number.
pub(crate) fn throttle_iops(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = device_value(text)?;
    let rate = number::parse_uint(rate, u64::MAX).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. \
             Number must be a positive integer"
        )
    })?;
    Ok(ThrottleDevice { path: path.to_owned(), rate })
}

fn device_value(text: &str) -> Result<(&str, &str), String> {
    let pair = text.split_once(':').filter(|(path, value)| !path.is_empty() && !value.is_empty());
    let (path, value) = pair.ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = ulimit("nofile=10:20").unwrap();
        assert_eq!((limit.soft, limit.hard), (10, 20));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        assert_eq!(ulimit("foo").unwrap_err(), "invalid ulimit argument: foo");
        assert_eq!(ulimit("foo=1").unwrap_err(), "invalid ulimit type: foo");
        assert!(ulimit("nofile=30:20").is_err());
        assert_eq!(throttle_bps("/dev/sda:1m").unwrap().rate, 1 << 20);
        assert_eq!(throttle_bps("x").unwrap_err(), "bad format: x");
        assert!(weight_device("/dev/sda:5").is_err());
    }
}
