//! Limits as data: which value goes into which file, in which order. [`plan`] is pure; [`apply`]
//! only loops over what it says.
//!
//! Source: the OCI runtime specification's `config-linux.md`, the kernel's `Documentation/
//! admin-guide/{cgroup-v1/*,cgroup-v2.rst}`.

use rustix::io::Errno;
use wire::oci::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

use super::convert;
use super::cpuset;
use super::error::CgroupError;
use super::file::Dir;
use super::hierarchy::{BLKIO, CPU, CPUSET, HUGETLB, MEMORY, PIDS, RDMA};
use super::{Cgroup, Home};

/// The most values that one request may lead to.
const MAX_SETTINGS: usize = 4096;

/// The controller of `cgroup.procs`' class ids and of priorities; both exist on v1 only.
const NET_CLS: &str = "net_cls";
const NET_PRIO: &str = "net_prio";
/// Stands for the v2 tree itself, where no single controller is meant.
const UNIFIED: &str = "unified (v2)";

/// What a v2 group swaps by: the system's `vm.swappiness`, whose default this is.
const V2_SWAPPINESS: u64 = 60;

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    controller: &'static str,
    /// What was asked for, for error messages.
    limit: String,
    /// File and value. Where kernels and IO schedulers differ there are several, best first, and
    /// the first that exists is written.
    candidates: Vec<(String, String)>,
    /// May be left out when the file is not there, because it asks for what then holds anyway.
    optional: bool,
}

impl Setting {
    fn new(controller: &'static str, limit: &str, file: &str, value: impl ToString) -> Setting {
        Setting {
            controller,
            limit: limit.to_owned(),
            candidates: vec![(file.to_owned(), value.to_string())],
            optional: false,
        }
    }

    fn or(mut self, file: &str, value: impl ToString) -> Setting {
        self.candidates.push((file.to_owned(), value.to_string()));
        self
    }

    fn optional_if(mut self, optional: bool) -> Setting {
        self.optional = optional;
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// What the plan has to know about the cgroup.
pub(super) struct Facts<'a> {
    /// Where a controller lives.
    pub version: &'a dyn Fn(&str) -> Option<Version>,
    /// v1: the present memory limit, which decides the order of memory and memory+swap.
    pub memory_limit: Option<u64>,
    /// The present memory usage, when `checkBeforeUpdate` asks for it.
    pub memory_usage: Option<u64>,
}

/// Sets what `resources` names, devices excepted. A `fresh` cgroup is known to have no limits yet.
pub(super) fn apply(
    cgroup: &Cgroup,
    resources: &Resources,
    fresh: bool,
) -> Result<(), CgroupError> {
    let version = |controller: &str| match cgroup.home(controller)? {
        Home::V1(_) => Some(Version::V1),
        Home::V2(_) => Some(Version::V2),
    };
    let mut facts = Facts { version: &version, memory_limit: None, memory_usage: None };
    if let Some(memory) = resources.memory.as_ref().filter(|_| !fresh) {
        match cgroup.home(MEMORY) {
            Some(Home::V1(dir)) if memory.limit.is_some() && memory.swap.is_some() => {
                facts.memory_limit = dir.number("memory.limit_in_bytes")?;
            }
            Some(Home::V2(dir)) if memory.check_before_update == Some(true) => {
                facts.memory_usage = dir.number("memory.current")?;
            }
            _ => {}
        }
    }
    let settings = plan(resources, &facts)?;
    settings.iter().try_for_each(|setting| write(cgroup, setting))
}

fn write(cgroup: &Cgroup, setting: &Setting) -> Result<(), CgroupError> {
    let dir = match cgroup.home(setting.controller) {
        Some(Home::V1(dir) | Home::V2(dir)) => dir,
        None if setting.controller == UNIFIED => match &cgroup.v2 {
            Some(v2) => &v2.dir,
            None => return Err(missing(setting)),
        },
        None => return Err(missing(setting)),
    };
    for (file, value) in &setting.candidates {
        let mut outcome = dir.write_raw(file, value);
        if setting.controller == CPUSET
            && [Err(Errno::ACCESS), Err(Errno::INVAL)].contains(&outcome)
        {
            // A v1 cpuset takes nothing that its parents do not have; nobody may have filled them.
            cpuset::fill_ancestors(dir, cgroup.path.depth())?;
            outcome = dir.write_raw(file, value);
        }
        match outcome {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(refused(dir, file, value, errno)),
        }
    }
    match setting.candidates.last() {
        Some((file, value)) if !setting.optional => Err(refused(dir, file, value, Errno::NOENT)),
        _ => Ok(()),
    }
}

fn refused(dir: &Dir, file: &str, value: &str, errno: Errno) -> CgroupError {
    CgroupError::Write {
        path: dir.path().join(file),
        value: value.to_owned(),
        source: errno.into(),
    }
}

fn missing(setting: &Setting) -> CgroupError {
    CgroupError::NoController { controller: setting.controller, limit: setting.limit.clone() }
}

/// Which values to write, in this order.
///
/// # Errors
/// [`CgroupError::NoController`] and [`CgroupError::BadLimit`].
pub(super) fn plan(resources: &Resources, facts: &Facts) -> Result<Vec<Setting>, CgroupError> {
    let mut plan = Plan { facts, settings: Vec::new() };
    if let Some(pids) = resources.pids.and_then(|pids| pids.limit).filter(|limit| *limit != 0) {
        plan.version(PIDS, "pids.limit")?;
        plan.push(Setting::new(PIDS, "pids.limit", "pids.max", limit_or_max(pids)));
    }
    if let Some(memory) = &resources.memory {
        plan.memory(memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        plan.cpu(cpu)?;
        plan.cpuset(cpu)?;
    }
    if let Some(block_io) = &resources.block_io {
        plan.block_io(block_io)?;
    }
    plan.others(resources)?;
    match plan.settings.len() {
        0..=MAX_SETTINGS => Ok(plan.settings),
        count => Err(bad("resources", format!("{count} values are too many"))),
    }
}

struct Plan<'a> {
    facts: &'a Facts<'a>,
    settings: Vec<Setting>,
}

impl Plan<'_> {
    fn push(&mut self, setting: Setting) {
        self.settings.push(setting);
    }

    fn version(&self, controller: &'static str, limit: &str) -> Result<Version, CgroupError> {
        (self.facts.version)(controller)
            .ok_or_else(|| CgroupError::NoController { controller, limit: limit.to_owned() })
    }

    /// Asking for no change is ignored. Limits of kernel memory are gone from kernels (6.16; from
    /// v2 always), and every group counts its children (5.11): asking for other is refused.
    fn memory(&mut self, memory: &Memory) -> Result<(), CgroupError> {
        let limit = memory.limit.filter(|bytes| *bytes != 0);
        let swap = memory.swap.filter(|bytes| *bytes != 0);
        let reservation = memory.reservation.filter(|bytes| *bytes != 0);
        let disable_oom = memory.disable_oom_killer == Some(true);
        let kernel = memory.kernel.is_some_and(|bytes| bytes > 0);
        if memory.use_hierarchy == Some(false) {
            let why = "kernels count what is below a group in it, always".to_owned();
            return Err(bad("memory.useHierarchy", why));
        }
        let tcp = memory.kernel_tcp.is_some_and(|bytes| bytes > 0);
        let rest = memory.swappiness.is_some() || kernel || tcp || disable_oom;
        if limit.is_none() && swap.is_none() && reservation.is_none() && !rest {
            return Ok(());
        }
        if let (Some(limit), Some(swap)) = (limit, swap)
            && swap > 0
            && (limit < 0 || swap < limit)
        {
            return Err(bad("memory.swap", format!("{swap} is less than memory.limit {limit}")));
        }
        match self.version(MEMORY, "memory.limit")? {
            Version::V1 => self.memory_v1(memory, limit, swap, reservation),
            Version::V2 => self.memory_v2(memory, limit, swap, reservation),
        }
    }

    fn memory_v1(
        &mut self,
        memory: &Memory,
        limit: Option<i64>,
        swap: Option<i64>,
        reservation: Option<i64>,
    ) -> Result<(), CgroupError> {
        let hard =
            |value: i64| Setting::new(MEMORY, "memory.limit", "memory.limit_in_bytes", value);
        let with_swap = |value: i64| {
            // Without swap accounting "no limit" holds anyway.
            Setting::new(MEMORY, "memory.swap", "memory.memsw.limit_in_bytes", value)
                .optional_if(value < 0)
        };
        match (limit, swap) {
            // The kernel keeps memory <= memory+swap at every moment: whichever moves away first.
            (Some(limit), Some(swap)) => {
                let unlimited = |bytes: i64| u64::try_from(bytes).unwrap_or(u64::MAX);
                let raising = self.facts.memory_limit.is_some_and(|now| unlimited(limit) > now);
                let mut pair = [hard(limit), with_swap(swap)];
                if raising {
                    pair.reverse();
                }
                self.settings.extend(pair);
            }
            // "No memory limit" alone would be refused while memory+swap is limited.
            (Some(limit), None) if limit < 0 => {
                self.settings.extend([with_swap(-1), hard(-1)]);
            }
            (limit, swap) => {
                self.settings.extend(limit.map(hard).into_iter().chain(swap.map(with_swap)));
            }
        }
        let soft = |bytes: i64| {
            Setting::new(MEMORY, "memory.reservation", "memory.soft_limit_in_bytes", bytes)
        };
        self.settings.extend(reservation.map(soft));
        for (limit, bytes, file) in [
            ("memory.kernel", memory.kernel, "memory.kmem.limit_in_bytes"),
            ("memory.kernelTCP", memory.kernel_tcp, "memory.kmem.tcp.limit_in_bytes"),
        ] {
            // No limit is what holds anyway.
            if let Some(bytes) = bytes.filter(|bytes| *bytes != 0) {
                self.push(Setting::new(MEMORY, limit, file, bytes).optional_if(bytes < 0));
            }
        }
        if memory.disable_oom_killer == Some(true) {
            self.push(Setting::new(MEMORY, "memory.disableOOMKiller", "memory.oom_control", 1));
        }
        if let Some(swappiness) = memory.swappiness {
            if swappiness > 100 {
                return Err(bad("memory.swappiness", format!("{swappiness} is more than 100")));
            }
            let file = "memory.swappiness";
            self.push(Setting::new(MEMORY, "memory.swappiness", file, swappiness));
        }
        Ok(())
    }

    /// What v2 has no file for is refused, unless it asks for what holds there anyway.
    fn memory_v2(
        &mut self,
        memory: &Memory,
        limit: Option<i64>,
        swap: Option<i64>,
        reservation: Option<i64>,
    ) -> Result<(), CgroupError> {
        lacking_v2(memory)?;
        if let (Some(usage), Some(limit)) = (self.facts.memory_usage, limit)
            && memory.check_before_update == Some(true)
            && u64::try_from(limit).is_ok_and(|limit| limit < usage)
        {
            return Err(bad("memory.limit", format!("{limit} is below the usage {usage}")));
        }
        if let Some(swap) =
            convert::swap_alone(limit, swap).map_err(|why| bad("memory.swap", why))?
        {
            // Without swap accounting there is no file; no swap and any swap hold anyway.
            let holds = swap == "max" || swap == "0";
            let file = "memory.swap.max";
            self.push(Setting::new(MEMORY, "memory.swap", file, swap).optional_if(holds));
        }
        if let Some(limit) = limit {
            self.push(Setting::new(MEMORY, "memory.limit", "memory.max", limit_or_max(limit)));
        }
        if let Some(bytes) = reservation {
            let value = limit_or_max(bytes);
            self.push(Setting::new(MEMORY, "memory.reservation", "memory.low", value));
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &Cpu) -> Result<(), CgroupError> {
        let shares = cpu.shares.filter(|shares| *shares != 0);
        let quota = cpu.quota.filter(|quota| *quota != 0);
        let period = cpu.period.filter(|period| *period != 0);
        let realtime = cpu.realtime_runtime.is_some() || cpu.realtime_period.is_some();
        let asked = [shares.is_some(), quota.is_some(), period.is_some(), realtime];
        if !asked.contains(&true) && cpu.burst.is_none() && cpu.idle.is_none() {
            return Ok(());
        }
        let version = self.version(CPU, "cpu")?;
        if let Some(idle) = cpu.idle {
            self.push(Setting::new(CPU, "cpu.idle", "cpu.idle", idle));
        }
        // The kernel refuses to weigh an idle group.
        if let Some(shares) = shares.filter(|_| cpu.idle != Some(1)) {
            self.push(match version {
                Version::V1 => Setting::new(CPU, "cpu.shares", "cpu.shares", shares),
                Version::V2 => {
                    let weight = convert::weight_of_shares(shares);
                    Setting::new(CPU, "cpu.shares", "cpu.weight", weight)
                }
            });
        }
        match version {
            Version::V1 => self.cpu_v1(cpu, quota, period),
            Version::V2 if realtime => {
                let why = "cgroup v2 has no real-time limits".to_owned();
                return Err(bad("cpu.realtimeRuntime", why));
            }
            Version::V2 => {
                if quota.is_some() || period.is_some() {
                    let value = convert::cpu_max(quota, period);
                    self.push(Setting::new(CPU, "cpu.quota", "cpu.max", value));
                }
                if let Some(us) = cpu.burst {
                    self.push(Setting::new(CPU, "cpu.burst", "cpu.max.burst", us));
                }
            }
        }
        Ok(())
    }

    /// Periods go before what is measured against them.
    fn cpu_v1(&mut self, cpu: &Cpu, quota: Option<i64>, period: Option<u64>) {
        let mut push = |limit, file, us: Option<String>| {
            self.settings.extend(us.map(|us| Setting::new(CPU, limit, file, us)));
        };
        push("cpu.period", "cpu.cfs_period_us", period.map(|us| us.to_string()));
        push("cpu.quota", "cpu.cfs_quota_us", quota.map(|us| us.to_string()));
        push("cpu.burst", "cpu.cfs_burst_us", cpu.burst.map(|us| us.to_string()));
        let realtime_period = cpu.realtime_period.map(|us| us.to_string());
        push("cpu.realtimePeriod", "cpu.rt_period_us", realtime_period);
        let realtime_runtime = cpu.realtime_runtime.map(|us| us.to_string());
        push("cpu.realtimeRuntime", "cpu.rt_runtime_us", realtime_runtime);
    }

    fn cpuset(&mut self, cpu: &Cpu) -> Result<(), CgroupError> {
        for (list, limit) in [(&cpu.cpus, "cpuset.cpus"), (&cpu.mems, "cpuset.mems")] {
            if list.is_empty() {
                continue;
            }
            self.version(CPUSET, limit)?;
            cpuset::parse_list(list).map_err(|why| bad(limit, why))?;
            self.push(Setting::new(CPUSET, limit, limit, list.trim()));
        }
        Ok(())
    }

    fn block_io(&mut self, io: &BlockIo) -> Result<(), CgroupError> {
        let throttles = [
            (&io.throttle_read_bps_device, "read_bps_device", "rbps"),
            (&io.throttle_write_bps_device, "write_bps_device", "wbps"),
            (&io.throttle_read_iops_device, "read_iops_device", "riops"),
            (&io.throttle_write_iops_device, "write_iops_device", "wiops"),
        ];
        let weight = io.weight.filter(|weight| *weight != 0);
        let leaf = io.leaf_weight.filter(|weight| *weight != 0);
        let throttled = throttles.iter().any(|(list, ..)| !list.is_empty());
        let weighed = weight.is_some() || leaf.is_some() || !io.weight_device.is_empty();
        if !weighed && !throttled {
            return Ok(());
        }
        let version = self.version(BLKIO, "blockIO")?;
        if let Some(weight) = leaf {
            check_weight(weight)?;
            self.leaf_weight(version, "blkio.leaf_weight", weight.to_string())?;
        }
        if let Some(weight) = weight {
            check_weight(weight)?;
            let setting = |file, value| Setting::new(BLKIO, "blockIO.weight", file, value);
            self.push(match version {
                Version::V1 => {
                    let value = weight.to_string();
                    setting("blkio.bfq.weight", value.clone()).or("blkio.weight", value)
                }
                // Two schedulers, two ranges: io.weight is the cost model's, io.bfq.weight is v1's.
                Version::V2 => {
                    let converted = convert::io_weight_of_blkio(weight);
                    setting("io.weight", format!("default {converted}")).or("io.bfq.weight", weight)
                }
            });
        }
        self.device_weights(version, io)?;
        for (list, v1, v2) in throttles {
            for ThrottleDevice { major, minor, rate } in list {
                self.push(match version {
                    Version::V1 => {
                        let file = format!("blkio.throttle.{v1}");
                        Setting::new(BLKIO, v1, &file, format!("{major}:{minor} {rate}"))
                    }
                    Version::V2 => {
                        let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
                        Setting::new(BLKIO, v1, "io.max", format!("{major}:{minor} {v2}={rate}"))
                    }
                });
            }
        }
        Ok(())
    }

    fn device_weights(&mut self, version: Version, io: &BlockIo) -> Result<(), CgroupError> {
        for device in &io.weight_device {
            if let Some(weight) = device.leaf_weight.filter(|weight| *weight != 0) {
                check_weight(weight)?;
                let value = format!("{}:{} {weight}", device.major, device.minor);
                self.leaf_weight(version, "blkio.leaf_weight_device", value)?;
            }
            let Some(weight) = device.weight.filter(|weight| *weight != 0) else { continue };
            check_weight(weight)?;
            let value = |weight| format!("{}:{} {weight}", device.major, device.minor);
            let same = value(u64::from(weight));
            let setting = |file, value| Setting::new(BLKIO, "blockIO.weightDevice", file, value);
            self.push(match version {
                Version::V1 => {
                    setting("blkio.bfq.weight_device", same.clone()).or("blkio.weight_device", same)
                }
                Version::V2 => setting("io.weight", value(convert::io_weight_of_blkio(weight)))
                    .or("io.bfq.weight", same),
            });
        }
        Ok(())
    }

    /// Weights against a group's own children; a kernel without the scheduler that had them (5.0)
    /// has no file for them.
    fn leaf_weight(
        &mut self,
        version: Version,
        file: &str,
        value: String,
    ) -> Result<(), CgroupError> {
        match version {
            Version::V1 => {
                self.push(Setting::new(BLKIO, "blockIO.leafWeight", file, value));
                Ok(())
            }
            Version::V2 => {
                Err(bad("blockIO.leafWeight", "cgroup v2 has no such weight".to_owned()))
            }
        }
    }

    fn others(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        self.huge_pages(resources)?;
        self.rdma(resources)?;
        self.network(resources)?;
        self.unified(resources)
    }

    fn huge_pages(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        for page in &resources.hugepage_limits {
            let limit = format!("hugepageLimits {:?}", page.page_size);
            let sound = page.page_size.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if page.page_size.is_empty() || !sound {
                return Err(bad(&limit, "it is not a page size".to_owned()));
            }
            let suffix = match self.version(HUGETLB, &limit)? {
                Version::V1 => "limit_in_bytes",
                Version::V2 => "max",
            };
            let size = &page.page_size;
            let file = |kind: &str| format!("hugetlb.{size}.{kind}{suffix}");
            // Reservations are limited too where the kernel (5.7) can.
            let reserved = Setting::new(HUGETLB, &limit, &file("rsvd."), page.limit);
            self.push(reserved.optional_if(true));
            self.push(Setting::new(HUGETLB, &limit, &file(""), page.limit));
        }
        Ok(())
    }

    fn rdma(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        for (device, rdma) in &resources.rdma {
            let limit = format!("rdma {device:?}");
            self.version(RDMA, &limit)?;
            check_word(&limit, device)?;
            let numbers = [("hca_handle", rdma.hca_handles), ("hca_object", rdma.hca_objects)];
            let pairs = numbers.iter().filter_map(|(key, n)| Some(format!(" {key}={}", (*n)?)));
            let value = format!("{device}{}", pairs.collect::<String>());
            self.push(Setting::new(RDMA, &limit, "rdma.max", value));
        }
        Ok(())
    }

    fn network(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        let Some(network) = &resources.network else { return Ok(()) };
        if let Some(class) = network.class_id.filter(|class| *class != 0) {
            self.version(NET_CLS, "network.classID")?;
            self.push(Setting::new(NET_CLS, "network.classID", "net_cls.classid", class));
        }
        for entry in &network.priorities {
            self.version(NET_PRIO, "network.priorities")?;
            check_word("network.priorities", &entry.name)?;
            let value = format!("{} {}", entry.name, entry.priority);
            let file = "net_prio.ifpriomap";
            self.push(Setting::new(NET_PRIO, "network.priorities", file, value));
        }
        Ok(())
    }

    /// Raw v2 keys. Those of the core (`cgroup.procs`, `cgroup.freeze`, …) are not limits.
    fn unified(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        for (key, value) in &resources.unified {
            let limit = format!("unified {key:?}");
            let named = key.split_once('.').is_some_and(|(front, back)| {
                !front.is_empty() && !back.is_empty() && front != "cgroup"
            });
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if !named || !key.bytes().all(plain) || key.len() > 255 {
                return Err(bad(&limit, "it is not a limit's file name".to_owned()));
            }
            self.push(Setting::new(UNIFIED, &limit, key, value));
        }
        Ok(())
    }
}

/// What of `memory` v2 has no file for.
fn lacking_v2(memory: &Memory) -> Result<(), CgroupError> {
    let asked = [
        ("memory.disableOOMKiller", memory.disable_oom_killer == Some(true)),
        ("memory.swappiness", memory.swappiness.is_some_and(|value| value != V2_SWAPPINESS)),
        ("memory.kernel", memory.kernel.is_some_and(|bytes| bytes > 0)),
        ("memory.kernelTCP", memory.kernel_tcp.is_some_and(|bytes| bytes > 0)),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((limit, _)) => Err(bad(limit, "cgroup v2 has no such limit".to_owned())),
        None => Ok(()),
    }
}

fn check_weight(weight: u16) -> Result<(), CgroupError> {
    match weight {
        10..=1000 => Ok(()),
        _ => Err(bad("blockIO.weight", format!("{weight} is not between 10 and 1000"))),
    }
}

/// A name that stands before numbers in a cgroup file must not bring blanks or lines of its own.
fn check_word(limit: &str, word: &str) -> Result<(), CgroupError> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    match word.is_empty() || word.contains(odd) {
        true => Err(bad(limit, format!("{word:?} is not a name"))),
        false => Ok(()),
    }
}

fn limit_or_max(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

fn bad(limit: &str, reason: String) -> CgroupError {
    CgroupError::BadLimit { limit: limit.to_owned(), reason }
}

#[cfg(test)]
mod tests;
