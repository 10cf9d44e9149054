//! Limits: the ranges and combinations that make sense, and the daemon's defaults.

use super::{Ask, Defaults, HostFacts};
use crate::error::Denied;
use crate::resources::{Device, DeviceRequest, Resources, Ulimit};
use crate::size;
use std::collections::BTreeMap;

/// The least memory a container can be limited to; Docker's number.
pub const MIN_MEMORY_BYTES: i64 = 6 << 20;

/// Names of setrlimit(2) that may be limited.
const ULIMITS: [&str; 16] = [
    "as",
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

/// The most bytes that a container may write to its root, of `--storage-opt`: `size` is the only
/// option there is. Whether the file system can hold it to that is the store's to say.
pub fn root_limit_bytes(options: &BTreeMap<String, String>) -> Result<Option<u64>, Denied> {
    let mut limit = None;
    for (name, value) in options {
        match name.as_str() {
            "size" => limit = Some(size::bytes(value)?),
            _ => {
                return Err(Denied::invalid(format!(
                    "unknown --storage-opt {name:?}: \"size\" is known"
                )));
            }
        }
    }
    Ok(limit)
}

pub(super) fn resolve(ask: &Ask<'_>, warnings: &mut Vec<String>) -> Result<Resources, Denied> {
    let mut resources = ask.draft.host.resources.clone();
    check_resources(&resources, ask.facts)?;
    match resources.pids_limit {
        // A default that the host cannot keep is left out, which the daemon says when it starts;
        // a limit that was asked for stays, and is refused.
        None if ask.facts.no_pids_limit => {}
        None if ask.defaults.pids_limit > 0 => resources.pids_limit = Some(ask.defaults.pids_limit),
        Some(limit) if limit <= 0 => resources.pids_limit = Some(-1),
        _ => {}
    }
    // Docker's default: as much swap as memory.
    if let (Some(memory @ 1..), None | Some(0)) =
        (resources.memory_bytes, resources.memory_swap_bytes)
    {
        resources.memory_swap_bytes = Some(memory.saturating_mul(2));
    }
    if !ask.facts.swap_limit && resources.memory_swap_bytes.is_some_and(|swap| swap > 0) {
        if ask.draft.host.resources.memory_swap_bytes.is_some_and(|swap| swap > 0) {
            warnings.push(
                "Your kernel does not support swap limit capabilities or the cgroup is not \
                 mounted. Memory limited without swap."
                    .to_owned(),
            );
        }
        resources.memory_swap_bytes = None;
    }
    if resources.memory_swappiness.is_some_and(|value| value >= 0) && !ask.facts.oom_kill_disable {
        // Version 1 of control groups has both, version 2 neither.
        warnings.push(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not \
             mounted. Memory swappiness discarded."
                .to_owned(),
        );
        resources.memory_swappiness = None;
    }
    if resources.oom_kill_disable == Some(true) {
        if !ask.facts.oom_kill_disable {
            warnings.push(
                "Your kernel does not support OomKillDisable. OomKillDisable \
                 discarded."
                    .to_owned(),
            );
            resources.oom_kill_disable = None;
        } else if resources.memory_bytes.unwrap_or(0) <= 0 {
            warnings.push(
                "OOM killer is disabled for the container, but no memory limit is set, \
                 this can result in the system running out of resources."
                    .to_owned(),
            );
        }
    }
    for default in &ask.defaults.ulimits {
        if !resources.ulimits.iter().any(|own| own.name == default.name) {
            resources.ulimits.push(default.clone());
        }
    }
    Ok(resources)
}

pub(super) fn shm_size(asked: i64, defaults: &Defaults) -> Result<i64, Denied> {
    match asked {
        ..0 => Err(Denied::invalid("SHM size can not be less than 0")),
        0 => Ok(defaults.shm_size_bytes),
        asked => Ok(asked),
    }
}

/// Refuses limits that no kernel would take, in Docker's words. Also used by `update`.
pub fn check_resources(resources: &Resources, facts: &HostFacts) -> Result<(), Denied> {
    check_memory(resources)?;
    check_cpu(resources, facts)?;
    check_cpuset("CPUs", "cpus", resources.cpuset_cpus.as_deref(), &facts.cpuset_cpus)?;
    check_cpuset("memory nodes", "mems", resources.cpuset_mems.as_deref(), &facts.cpuset_mems)?;
    let weights = resources.blkio_weight_device.iter().map(|device| device.weight);
    if resources
        .blkio_weight
        .into_iter()
        .chain(weights)
        .any(|weight| weight != 0 && !(10..=1000).contains(&weight))
    {
        return Err(Denied::invalid("Range of blkio weight is from 10 to 1000"));
    }
    resources.ulimits.iter().try_for_each(check_ulimit)?;
    resources.devices.iter().try_for_each(check_device)?;
    resources.device_rules.iter().try_for_each(|rule| check_device_rule(rule))?;
    // Devices by name: what there is, is the engine's to find out. GPUs are such a class.
    let known = |request: &&DeviceRequest| {
        let gpus = request.capabilities.iter().any(|all| all.iter().any(|it| it == "gpu"));
        request.driver == "cdi" || gpus && matches!(request.driver.as_str(), "" | "nvidia")
    };
    if let Some(request) = resources.device_requests.iter().find(|request| !known(request)) {
        let capabilities = &request.capabilities;
        return Err(Denied::invalid(format!(
            "could not select device driver {:?} with capabilities: {capabilities:?}",
            request.driver
        )));
    }
    Ok(())
}

fn check_memory(resources: &Resources) -> Result<(), Denied> {
    let memory = resources.memory_bytes.unwrap_or(0);
    let swap = resources.memory_swap_bytes.unwrap_or(0);
    let reservation = resources.memory_reservation_bytes.unwrap_or(0);
    if memory != 0 && memory != -1 && memory < MIN_MEMORY_BYTES {
        return Err(Denied::invalid("Minimum memory limit allowed is 6MB"));
    }
    if memory > 0 && swap > 0 && swap < memory {
        return Err(Denied::invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ));
    }
    if memory == 0 && swap > 0 {
        return Err(Denied::invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if let Some(value) = resources.memory_swappiness
        && !(-1..=100).contains(&value)
    {
        return Err(Denied::invalid(format!(
            "Invalid value: {value}, valid memory swappiness range is 0-100"
        )));
    }
    if reservation != 0 && reservation < MIN_MEMORY_BYTES {
        return Err(Denied::invalid("Minimum memory reservation allowed is 6MB"));
    }
    if memory > 0 && reservation > memory {
        return Err(Denied::invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    Ok(())
}

fn check_cpu(resources: &Resources, facts: &HostFacts) -> Result<(), Denied> {
    let set = |value: i64| value != 0;
    let nano = resources.nano_cpus.unwrap_or(0);
    let period = resources.cpu_period_us.unwrap_or(0);
    let quota = resources.cpu_quota_us.unwrap_or(0);
    if set(nano) && period != 0 {
        return Err(Denied::invalid(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set.",
        ));
    }
    if set(nano) && quota > 0 {
        return Err(Denied::invalid(
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
        ));
    }
    if nano < 0 || nano > i64::from(facts.cpus).saturating_mul(1_000_000_000) {
        return Err(Denied::invalid(format!(
            "range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available",
            facts.cpus
        )));
    }
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        return Err(Denied::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if quota > 0 && quota < 1000 {
        return Err(Denied::invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    if resources.cpu_shares.is_some_and(|shares| shares > 262_144) {
        return Err(Denied::invalid("The maximum allowed cpu-shares is 262144"));
    }
    Ok(())
}

fn check_cpuset(
    what: &str,
    short: &str,
    asked: Option<&str>,
    available: &str,
) -> Result<(), Denied> {
    let Some(asked) = asked.filter(|text| !text.is_empty()) else { return Ok(()) };
    let wanted = cpu_list(asked)
        .ok_or_else(|| Denied::invalid(format!("Invalid value {asked} for cpuset {short}")))?;
    let Some(there) = cpu_list(available).filter(|list| !list.is_empty()) else { return Ok(()) };
    if wanted.iter().all(|number| there.contains(number)) {
        return Ok(());
    }
    Err(Denied::invalid(format!(
        "Requested {what} are not available - requested {asked}, available: {available}"
    )))
}

/// The list format of cpuset(7), `0-3,7`; numbers up to 8191 as the kernel has them.
fn cpu_list(text: &str) -> Option<Vec<u16>> {
    let mut out = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        if first > last || last > 8191 {
            return None;
        }
        out.extend(first..=last);
    }
    Some(out)
}

fn check_ulimit(limit: &Ulimit) -> Result<(), Denied> {
    if !ULIMITS.contains(&limit.name.as_str()) {
        return Err(Denied::invalid(format!("invalid ulimit type: {}", limit.name)));
    }
    if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
        return Err(Denied::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        )));
    }
    Ok(())
}

fn check_device(device: &Device) -> Result<(), Denied> {
    let access_ok = device.access.chars().all(|c| "rwm".contains(c));
    if !access_ok || device.access.len() > 3 {
        return Err(Denied::invalid(format!("invalid device mode: {}", device.access)));
    }
    for path in [&device.host_path, &device.container_path] {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Denied::invalid(format!("{path} is not an absolute path")));
        }
    }
    Ok(())
}

fn check_device_rule(rule: &str) -> Result<(), Denied> {
    let words: Vec<&str> = rule.split(' ').collect();
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
    let fine = match words.as_slice() {
        [kind, numbers, access] => {
            matches!(*kind, "a" | "b" | "c")
                && numbers.split_once(':').is_some_and(|(a, b)| number(a) && number(b))
                && (1..=3).contains(&access.len())
                && access.chars().all(|c| "rwm".contains(c))
        }
        _ => false,
    };
    if fine {
        return Ok(());
    }
    Err(Denied::invalid(format!("invalid device cgroup rule format: '{rule}'")))
}
