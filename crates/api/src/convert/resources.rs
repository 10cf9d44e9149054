//! Limits. On the wire zero means "not asked"; in the model that is `None`.

use model::Denied;
use model::resources::{self as model_resources, Resources};
use wire::docker::host_config as wire_host;

use super::{null_if_empty, null_if_empty_map};

/// The limits asked for.
pub(crate) fn from_wire(wire: wire_host::Resources) -> Result<Resources, Denied> {
    Ok(Resources {
        cpu_shares: unsigned("CPU shares", wire.cpu_shares)?,
        nano_cpus: asked(wire.nano_cpus),
        cpu_quota_us: asked(wire.cpu_quota),
        cpu_period_us: unsigned("CPU period", wire.cpu_period)?,
        cpu_rt_runtime_us: asked(wire.cpu_realtime_runtime),
        cpu_rt_period_us: unsigned("CPU real-time period", wire.cpu_realtime_period)?,
        cpuset_cpus: asked(wire.cpuset_cpus),
        cpuset_mems: asked(wire.cpuset_mems),
        memory_bytes: asked(wire.memory),
        memory_reservation_bytes: asked(wire.memory_reservation),
        memory_swap_bytes: asked(wire.memory_swap),
        // The command line says -1 for "not asked".
        memory_swappiness: wire.memory_swappiness.filter(|value| *value != -1),
        oom_kill_disable: wire.oom_kill_disable,
        // The command line says 0 for "not asked".
        pids_limit: wire.pids_limit.and_then(asked),
        blkio_weight: asked(wire.blkio_weight),
        blkio_weight_device: each(wire.blkio_weight_device, |device| {
            model_resources::DeviceWeight { path: device.path, weight: device.weight }
        }),
        blkio_read_bps: each(wire.blkio_device_read_bps, rate),
        blkio_write_bps: each(wire.blkio_device_write_bps, rate),
        blkio_read_iops: each(wire.blkio_device_read_iops, rate),
        blkio_write_iops: each(wire.blkio_device_write_iops, rate),
        devices: each(wire.devices, |device| model_resources::Device {
            host_path: device.path_on_host,
            container_path: device.path_in_container,
            access: device.cgroup_permissions,
        }),
        device_rules: wire.device_cgroup_rules.unwrap_or_default(),
        device_requests: each(wire.device_requests, |request| model_resources::DeviceRequest {
            driver: request.driver,
            count: request.count,
            device_ids: request.device_ids.unwrap_or_default(),
            capabilities: request.capabilities.unwrap_or_default(),
            options: request.options.unwrap_or_default(),
        }),
        ulimits: each(wire.ulimits, |limit| model_resources::Ulimit {
            name: limit.name,
            soft: limit.soft,
            hard: limit.hard,
        }),
    })
}

fn rate(device: wire_host::ThrottleDevice) -> model_resources::DeviceRate {
    model_resources::DeviceRate { path: device.path, rate: device.rate }
}

fn each<T, U>(list: Option<Vec<T>>, make: impl FnMut(T) -> U) -> Vec<U> {
    list.unwrap_or_default().into_iter().map(make).collect()
}

fn asked<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn unsigned(what: &str, value: i64) -> Result<Option<u64>, Denied> {
    let value = u64::try_from(value).map_err(|_| {
        Denied::invalid(format!("invalid {what} ({value}): value must be a positive integer"))
    })?;
    Ok(asked(value))
}

/// The limits in Docker's shape.
pub(crate) fn to_wire(model: &Resources, cgroup_parent: &str) -> wire_host::Resources {
    let signed = |value: Option<u64>| super::signed(value.unwrap_or_default());
    let rates = |list: &[model_resources::DeviceRate]| {
        let rate = |device: &model_resources::DeviceRate| wire_host::ThrottleDevice {
            path: device.path.clone(),
            rate: device.rate,
        };
        null_if_empty(list.iter().map(rate).collect())
    };
    wire_host::Resources {
        cpu_shares: signed(model.cpu_shares),
        memory: model.memory_bytes.unwrap_or_default(),
        nano_cpus: model.nano_cpus.unwrap_or_default(),
        cgroup_parent: cgroup_parent.to_owned(),
        blkio_weight: model.blkio_weight.unwrap_or_default(),
        blkio_weight_device: Some(model.blkio_weight_device.iter().map(weight).collect()),
        blkio_device_read_bps: rates(&model.blkio_read_bps),
        blkio_device_write_bps: rates(&model.blkio_write_bps),
        blkio_device_read_iops: rates(&model.blkio_read_iops),
        blkio_device_write_iops: rates(&model.blkio_write_iops),
        cpu_period: signed(model.cpu_period_us),
        cpu_quota: model.cpu_quota_us.unwrap_or_default(),
        cpu_realtime_period: signed(model.cpu_rt_period_us),
        cpu_realtime_runtime: model.cpu_rt_runtime_us.unwrap_or_default(),
        cpuset_cpus: model.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: model.cpuset_mems.clone().unwrap_or_default(),
        devices: Some(model.devices.iter().map(device).collect()),
        device_cgroup_rules: null_if_empty(model.device_rules.clone()),
        device_requests: null_if_empty(model.device_requests.iter().map(request).collect()),
        memory_reservation: model.memory_reservation_bytes.unwrap_or_default(),
        memory_swap: model.memory_swap_bytes.unwrap_or_default(),
        memory_swappiness: model.memory_swappiness,
        oom_kill_disable: model.oom_kill_disable,
        // However it was said that there is none.
        pids_limit: model.pids_limit.map(|limit| limit.max(0)),
        ulimits: Some(model.ulimits.iter().map(ulimit).collect()),
        ..wire_host::Resources::default()
    }
}

fn weight(device: &model_resources::DeviceWeight) -> wire_host::WeightDevice {
    wire_host::WeightDevice { path: device.path.clone(), weight: device.weight }
}

fn device(device: &model_resources::Device) -> wire_host::DeviceMapping {
    wire_host::DeviceMapping {
        path_on_host: device.host_path.clone(),
        path_in_container: device.container_path.clone(),
        cgroup_permissions: device.access.clone(),
    }
}

fn request(request: &model_resources::DeviceRequest) -> wire_host::DeviceRequest {
    wire_host::DeviceRequest {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: null_if_empty(request.device_ids.clone()),
        capabilities: null_if_empty(request.capabilities.clone()),
        options: null_if_empty_map(request.options.clone()),
    }
}

fn ulimit(limit: &model_resources::Ulimit) -> wire_host::Ulimit {
    wire_host::Ulimit { name: limit.name.clone(), hard: limit.hard, soft: limit.soft }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_not_asked() {
        let wire = wire_host::Resources {
            memory_swappiness: Some(-1),
            pids_limit: Some(0),
            ..Default::default()
        };
        assert_eq!(from_wire(wire).unwrap(), Resources::default());
    }

    #[test]
    fn what_is_asked_round_trips() {
        let wire = wire_host::Resources {
            memory: 1 << 30,
            memory_swap: -1,
            nano_cpus: 1_500_000_000,
            cpuset_cpus: "0-1".to_owned(),
            pids_limit: Some(100),
            cpu_shares: 512,
            oom_kill_disable: Some(false),
            blkio_weight_device: Some(Vec::new()),
            devices: Some(vec![wire_host::DeviceMapping {
                path_on_host: "/dev/null".to_owned(),
                path_in_container: "/dev/zilch".to_owned(),
                cgroup_permissions: "rw".to_owned(),
            }]),
            ulimits: Some(vec![wire_host::Ulimit { name: "nofile".to_owned(), hard: -1, soft: 9 }]),
            ..Default::default()
        };
        assert_eq!(to_wire(&from_wire(wire.clone()).unwrap(), ""), wire);
    }

    #[test]
    fn negative_shares_are_refused() {
        let wire = wire_host::Resources { cpu_shares: -5, ..Default::default() };
        let denied = from_wire(wire).unwrap_err();
        assert_eq!(denied.message, "invalid CPU shares (-5): value must be a positive integer");
    }
}
