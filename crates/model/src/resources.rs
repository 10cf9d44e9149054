//! Limits and shares of a container. `None` or an empty list means "not asked". Units are in the
//! names. This module never touches a cgroup.

/// What a container may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// Relative CPU weight, Docker's shares (default 1024), 2..=262144.
    pub cpu_shares: Option<u64>,
    /// CPUs in billionths (`--cpus 1.5` is 1_500_000_000); excludes quota and period.
    pub nano_cpus: Option<i64>,
    /// CFS quota per period in µs; -1 for none.
    pub cpu_quota_us: Option<i64>,
    /// CFS period in µs.
    pub cpu_period_us: Option<u64>,
    /// Realtime runtime per period in µs.
    pub cpu_rt_runtime_us: Option<i64>,
    /// Realtime period in µs.
    pub cpu_rt_period_us: Option<u64>,
    /// CPUs allowed, list format of cpuset(7).
    pub cpuset_cpus: Option<String>,
    /// Memory nodes allowed, list format of cpuset(7).
    pub cpuset_mems: Option<String>,
    /// Hard memory limit; -1 for none.
    pub memory_bytes: Option<i64>,
    /// Soft memory limit.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together; -1 for unlimited swap.
    pub memory_swap_bytes: Option<i64>,
    /// 0..=100.
    pub memory_swappiness: Option<i64>,
    /// Do not kill on out of memory.
    pub oom_kill_disable: Option<bool>,
    /// Largest number of tasks; 0 or -1 for none.
    pub pids_limit: Option<i64>,
    /// Relative block IO weight, 10..=1000.
    pub blkio_weight: Option<u16>,
    /// Weight per device.
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// Bytes per second read.
    pub blkio_read_bps: Vec<DeviceRate>,
    /// Bytes per second written.
    pub blkio_write_bps: Vec<DeviceRate>,
    /// Reads per second.
    pub blkio_read_iops: Vec<DeviceRate>,
    /// Writes per second.
    pub blkio_write_iops: Vec<DeviceRate>,
    /// Devices handed in.
    pub devices: Vec<Device>,
    /// Device cgroup rules, `c 1:3 rwm`.
    pub device_rules: Vec<String>,
    /// Requests for classes of devices (`--gpus`, CDI).
    pub device_requests: Vec<DeviceRequest>,
    /// Resource limits of setrlimit(2).
    pub ulimits: Vec<Ulimit>,
}

impl Resources {
    /// `self` with every field that `change` sets replaced.
    pub fn merged(&self, change: &Self) -> Self {
        fn or<T: Clone>(new: &Option<T>, old: &Option<T>) -> Option<T> {
            new.clone().or_else(|| old.clone())
        }
        fn list<T: Clone>(new: &[T], old: &[T]) -> Vec<T> {
            if new.is_empty() { old.to_vec() } else { new.to_vec() }
        }
        Self {
            cpu_shares: or(&change.cpu_shares, &self.cpu_shares),
            nano_cpus: or(&change.nano_cpus, &self.nano_cpus),
            cpu_quota_us: or(&change.cpu_quota_us, &self.cpu_quota_us),
            cpu_period_us: or(&change.cpu_period_us, &self.cpu_period_us),
            cpu_rt_runtime_us: or(&change.cpu_rt_runtime_us, &self.cpu_rt_runtime_us),
            cpu_rt_period_us: or(&change.cpu_rt_period_us, &self.cpu_rt_period_us),
            cpuset_cpus: or(&change.cpuset_cpus, &self.cpuset_cpus),
            cpuset_mems: or(&change.cpuset_mems, &self.cpuset_mems),
            memory_bytes: or(&change.memory_bytes, &self.memory_bytes),
            memory_reservation_bytes: or(
                &change.memory_reservation_bytes,
                &self.memory_reservation_bytes,
            ),
            memory_swap_bytes: or(&change.memory_swap_bytes, &self.memory_swap_bytes),
            memory_swappiness: or(&change.memory_swappiness, &self.memory_swappiness),
            oom_kill_disable: or(&change.oom_kill_disable, &self.oom_kill_disable),
            pids_limit: or(&change.pids_limit, &self.pids_limit),
            blkio_weight: or(&change.blkio_weight, &self.blkio_weight),
            blkio_weight_device: list(&change.blkio_weight_device, &self.blkio_weight_device),
            blkio_read_bps: list(&change.blkio_read_bps, &self.blkio_read_bps),
            blkio_write_bps: list(&change.blkio_write_bps, &self.blkio_write_bps),
            blkio_read_iops: list(&change.blkio_read_iops, &self.blkio_read_iops),
            blkio_write_iops: list(&change.blkio_write_iops, &self.blkio_write_iops),
            devices: list(&change.devices, &self.devices),
            device_rules: list(&change.device_rules, &self.device_rules),
            device_requests: list(&change.device_requests, &self.device_requests),
            ulimits: list(&change.ulimits, &self.ulimits),
        }
    }
}

/// A weight for one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceWeight {
    /// Path on the host.
    pub path: String,
    /// 10..=1000.
    pub weight: u16,
}

/// A rate for one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceRate {
    /// Path on the host.
    pub path: String,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// A device handed into the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Path on the host.
    pub host_path: String,
    /// Path in the container.
    pub container_path: String,
    /// Subset of `rwm`.
    pub access: String,
}

/// A request for a class of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceRequest {
    /// `nvidia`, `cdi`, or empty.
    pub driver: String,
    /// How many; -1 for all.
    pub count: i64,
    /// Which, by id.
    pub device_ids: Vec<String>,
    /// Alternatives (outer) of capability sets (inner).
    pub capabilities: Vec<Vec<String>>,
    /// Driver options.
    pub options: std::collections::BTreeMap<String, String>,
}

/// One resource limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ulimit {
    /// `nofile`, `nproc`, … as in setrlimit(2) without `RLIMIT_`, lower case.
    pub name: String,
    /// Soft limit; -1 for unlimited.
    pub soft: i64,
    /// Hard limit; -1 for unlimited.
    pub hard: i64,
}
