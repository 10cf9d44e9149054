//! What a cgroup has used: everything that Docker's statistics show, from v1 and v2 files.
//!
//! A missing file is a missing figure, not an error: kernels, schedulers and trees differ.
//!
//! Source: `cgroup-v1/{cpuacct,memory,blkio-controller,pids}.rst`, `cgroup-v2.rst`, proc_stat(5).

use std::collections::BTreeMap;
use std::path::Path;

use super::error::CgroupError;
use super::file::{self, Dir};
use super::hierarchy::{BLKIO, CPU, CPUACCT, HUGETLB, MEMORY, PIDS};
use super::{Cgroup, Home};

/// `_SC_CLK_TCK` is 100 towards userspace on every architecture.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// More devices or keys than any host shows: what is beyond is left out.
const MAX_ENTRIES: usize = 4096;

/// One reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Block devices.
    pub blkio: BlkioStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Huge pages by size, as `2MB`.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
}

/// Processor time; nanoseconds throughout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Used by the cgroup.
    pub total_ns: u64,
    /// The same by processor; v1 only, else empty.
    pub percpu_ns: Vec<u64>,
    /// The part spent in the kernel.
    pub kernel_ns: u64,
    /// The part spent in user mode.
    pub user_ns: u64,
    /// Used and idle time of the whole host, as Docker's percentage is computed against.
    pub system_ns: u64,
    /// Processors that are online.
    pub online: u32,
    /// Periods with a quota that have passed.
    pub periods: u64,
    /// Those of them in which the quota ran out.
    pub throttled_periods: u64,
    /// Time for which the cgroup was kept waiting.
    pub throttled_ns: u64,
}

/// Memory; bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage_bytes: u64,
    /// The highest usage; 0 where the kernel does not say (v2 before 5.19).
    pub max_usage_bytes: u64,
    /// The limit, or the host's memory when that is less.
    pub limit_bytes: u64,
    /// How often the limit was hit (v2: how often that led to an out-of-memory state).
    pub failcnt: u64,
    /// `memory.stat` by its own names.
    pub stat: BTreeMap<String, u64>,
    /// Processes killed for lack of memory.
    pub oom_kills: u64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioStats {
    /// Bytes by device and operation.
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations by device and operation.
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Queued operations; only with schedulers that count them, as all below.
    pub io_queue_recursive: Vec<BlkioEntry>,
    /// Nanoseconds from dispatch to completion.
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Nanoseconds waited in queues.
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Merged operations.
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Milliseconds of device time.
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors of 512 bytes.
    pub sectors_recursive: Vec<BlkioEntry>,
}

/// One figure of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total` on v1; `read`, `write` on v2; empty
    /// where a figure has no operation.
    pub op: String,
    /// The figure.
    pub value: u64,
}

/// Tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// At most; `u64::MAX` without a limit.
    pub limit: u64,
}

/// Huge pages of one size; bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugetlbStats {
    /// In use.
    pub usage_bytes: u64,
    /// The highest usage; v1 only.
    pub max_usage_bytes: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

impl Cgroup {
    /// Reads everything that the host counts for this cgroup.
    ///
    /// # Errors
    /// [`CgroupError::NotFound`] when the cgroup is gone; [`CgroupError::Content`] when a file does
    /// not hold what is documented.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        if self.is_none() {
            // The host's own figures are all there is.
            return Ok(Stats { cpu: self.cpu_stats()?, ..Stats::default() });
        }
        if !self.any_dir()?.exists() {
            return Err(CgroupError::NotFound { path: self.path().to_owned() });
        }
        Ok(Stats {
            cpu: self.cpu_stats()?,
            memory: self.memory_stats()?,
            blkio: self.blkio_stats()?,
            pids: self.pids_stats()?,
            hugetlb: self.hugetlb_stats()?,
        })
    }

    fn cpu_stats(&self) -> Result<CpuStats, CgroupError> {
        let mut cpu = CpuStats::default();
        host_cpu(&read_host("/proc/stat")?, &mut cpu);
        match self.home(CPUACCT) {
            Some(Home::V1(dir)) => {
                cpu.total_ns = dir.number("cpuacct.usage")?.unwrap_or(0);
                cpu.kernel_ns = dir.number("cpuacct.usage_sys")?.unwrap_or(0);
                cpu.user_ns = dir.number("cpuacct.usage_user")?.unwrap_or(0);
                let percpu = dir.read_if_there("cpuacct.usage_percpu")?.unwrap_or_default();
                let figures = percpu.split_whitespace().take(MAX_ENTRIES);
                cpu.percpu_ns = figures.filter_map(|figure| figure.parse().ok()).collect();
            }
            // cpu.stat is of the core: it is there without the controller too.
            _ => {
                if let Some(v2) = &self.v2 {
                    let stat = flat(&v2.dir, "cpu.stat")?;
                    let ns = |key: &str| stat.get(key).map_or(0, |us| us.saturating_mul(1000));
                    cpu.total_ns = ns("usage_usec");
                    cpu.kernel_ns = ns("system_usec");
                    cpu.user_ns = ns("user_usec");
                }
            }
        }
        let (stat, time, to_ns) = match self.home(CPU) {
            None => return Ok(cpu),
            Some(Home::V1(dir)) => (flat(dir, "cpu.stat")?, "throttled_time", 1),
            Some(Home::V2(dir)) => (flat(dir, "cpu.stat")?, "throttled_usec", 1000),
        };
        let figure = |key: &str| stat.get(key).copied().unwrap_or(0);
        cpu.periods = figure("nr_periods");
        cpu.throttled_periods = figure("nr_throttled");
        cpu.throttled_ns = figure(time).saturating_mul(to_ns);
        Ok(cpu)
    }

    fn memory_stats(&self) -> Result<MemoryStats, CgroupError> {
        let (dir, [usage, peak, limit]) = match self.home(MEMORY) {
            None => return Ok(MemoryStats::default()),
            Some(Home::V1(dir)) => {
                let files =
                    ["memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes"];
                (dir, files)
            }
            Some(Home::V2(dir)) => (dir, ["memory.current", "memory.peak", "memory.max"]),
        };
        let failcnt = match self.home(MEMORY) {
            Some(Home::V2(dir)) => flat(dir, "memory.events")?.get("oom").copied(),
            _ => dir.number("memory.failcnt")?,
        };
        let host = host_memory(&read_host("/proc/meminfo")?).unwrap_or(u64::MAX);
        Ok(MemoryStats {
            usage_bytes: dir.number(usage)?.unwrap_or(0),
            max_usage_bytes: dir.number(peak)?.unwrap_or(0),
            limit_bytes: dir.number(limit)?.unwrap_or(u64::MAX).min(host),
            failcnt: failcnt.unwrap_or(0),
            stat: flat(dir, "memory.stat")?,
            oom_kills: self.oom_kills()?,
        })
    }

    fn pids_stats(&self) -> Result<PidsStats, CgroupError> {
        let Some(Home::V1(dir) | Home::V2(dir)) = self.home(PIDS) else {
            return Ok(PidsStats { current: 0, limit: u64::MAX });
        };
        Ok(PidsStats {
            current: dir.number("pids.current")?.unwrap_or(0),
            limit: dir.number("pids.max")?.unwrap_or(u64::MAX),
        })
    }

    fn blkio_stats(&self) -> Result<BlkioStats, CgroupError> {
        match self.home(BLKIO) {
            None => Ok(BlkioStats::default()),
            Some(Home::V1(dir)) => blkio_v1(dir),
            Some(Home::V2(dir)) => Ok(io_stat(&dir.read_if_there("io.stat")?.unwrap_or_default())),
        }
    }

    fn hugetlb_stats(&self) -> Result<BTreeMap<String, HugetlbStats>, CgroupError> {
        let mut sizes = BTreeMap::new();
        let (dir, suffix) = match self.home(HUGETLB) {
            None => return Ok(sizes),
            Some(Home::V1(dir)) => (dir, ".usage_in_bytes"),
            Some(Home::V2(dir)) => (dir, ".current"),
        };
        let failed = |source| CgroupError::Read { path: dir.path().to_owned(), source };
        for entry in std::fs::read_dir(dir.path()).map_err(failed)?.take(MAX_ENTRIES) {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(suffix));
            let Some(size) = size.filter(|size| !size.contains('.')) else { continue };
            let figure = |file: &str| dir.number(&format!("hugetlb.{size}.{file}"));
            let stats = match suffix {
                ".current" => HugetlbStats {
                    usage_bytes: figure("current")?.unwrap_or(0),
                    max_usage_bytes: 0,
                    failcnt: flat(dir, &format!("hugetlb.{size}.events"))?
                        .get("max")
                        .copied()
                        .unwrap_or(0),
                },
                _ => HugetlbStats {
                    usage_bytes: figure("usage_in_bytes")?.unwrap_or(0),
                    max_usage_bytes: figure("max_usage_in_bytes")?.unwrap_or(0),
                    failcnt: figure("failcnt")?.unwrap_or(0),
                },
            };
            sizes.insert(size.to_owned(), stats);
        }
        Ok(sizes)
    }
}

/// A file of `key value` lines.
fn flat(dir: &Dir, file: &str) -> Result<BTreeMap<String, u64>, CgroupError> {
    let content = dir.read_if_there(file)?.unwrap_or_default();
    let pairs = content.lines().take(MAX_ENTRIES).filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), file::parse_number(value.trim())?))
    });
    Ok(pairs.collect())
}

/// Each scheduler has files of its own; BFQ's and the throttling layer's are in use today, and the
/// unprefixed ones are CFQ's, of kernels before 5.0.
fn blkio_v1(dir: &Dir) -> Result<BlkioStats, CgroupError> {
    let first = |kind: &str, prefixes: &[&str]| -> Result<Vec<BlkioEntry>, CgroupError> {
        for prefix in prefixes {
            let file = format!("blkio.{prefix}{kind}_recursive");
            let entries = match dir.read_if_there(&file)? {
                Some(content) => blkio_entries(&content),
                None => continue,
            };
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    };
    let transfers = ["bfq.", "", "throttle."];
    let scheduler = ["bfq.", ""];
    Ok(BlkioStats {
        io_service_bytes_recursive: first("io_service_bytes", &transfers)?,
        io_serviced_recursive: first("io_serviced", &transfers)?,
        io_queue_recursive: first("io_queued", &scheduler)?,
        io_service_time_recursive: first("io_service_time", &scheduler)?,
        io_wait_time_recursive: first("io_wait_time", &scheduler)?,
        io_merged_recursive: first("io_merged", &scheduler)?,
        io_time_recursive: first("time", &scheduler)?,
        sectors_recursive: first("sectors", &scheduler)?,
    })
}

/// Lines `8:0 Read 4096` or `8:0 4096`; the closing `Total 4096` has no device and is left out.
fn blkio_entries(content: &str) -> Vec<BlkioEntry> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (device, op, value) = match words.as_slice() {
            [device, op, value] => (device, *op, value),
            [device, value] => (device, "", value),
            _ => return None,
        };
        let (major, minor) = device_number(device)?;
        Some(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    content.lines().take(MAX_ENTRIES).filter_map(parse).collect()
}

/// v2: lines `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io_stat(content: &str) -> BlkioStats {
    let mut stats = BlkioStats::default();
    for line in content.lines().take(MAX_ENTRIES) {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device_number) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut stats.io_service_bytes_recursive, "read"),
                "wbytes" => (&mut stats.io_service_bytes_recursive, "write"),
                "rios" => (&mut stats.io_serviced_recursive, "read"),
                "wios" => (&mut stats.io_serviced_recursive, "write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
            }
        }
    }
    stats
}

fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn read_host(path: &'static str) -> Result<String, CgroupError> {
    file::read_file(Path::new(path))
        .map_err(|source| CgroupError::Read { path: path.into(), source })
}

/// The host's part, from `/proc/stat`: user, nice, system, idle, iowait, irq and softirq, which are
/// the seven figures that Docker sums up.
fn host_cpu(stat: &str, cpu: &mut CpuStats) {
    for line in stat.lines().take_while(|line| line.starts_with("cpu")) {
        match line.strip_prefix("cpu ") {
            None => cpu.online += 1,
            Some(figures) => {
                let ticks: u64 = figures
                    .split_whitespace()
                    .take(7)
                    .filter_map(|figure| figure.parse::<u64>().ok())
                    .fold(0, u64::saturating_add);
                cpu.system_ns = ticks.saturating_mul(NANOSECONDS_PER_TICK);
            }
        }
    }
}

/// `MemTotal` in bytes.
fn host_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_figures() {
        let mut cpu = CpuStats::default();
        host_cpu("cpu  1 2 3 4 5 6 7 100 0 0\ncpu0 1 2\ncpu1 3 4\nintr 5\ncpu9 1\n", &mut cpu);
        assert_eq!((cpu.online, cpu.system_ns), (2, 28 * NANOSECONDS_PER_TICK));
        assert_eq!(host_memory("MemTotal:  16 kB\nMemFree: 1 kB\n"), Some(16 * 1024));
        assert_eq!(host_memory("nothing"), None);
    }

    #[test]
    fn block_devices_of_both_versions() {
        let entry =
            |major, minor, op: &str, value| BlkioEntry { major, minor, op: op.into(), value };
        assert_eq!(
            blkio_entries("8:0 Read 4096\n8:0 Total 4096\n253:1 77\nTotal 4096\n"),
            [entry(8, 0, "Read", 4096), entry(8, 0, "Total", 4096), entry(253, 1, "", 77)]
        );
        let stats = io_stat("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\nnonsense\n");
        let bytes = [entry(8, 16, "read", 1), entry(8, 16, "write", 2)];
        assert_eq!(stats.io_service_bytes_recursive, bytes);
        let count = [entry(8, 16, "read", 3), entry(8, 16, "write", 4)];
        assert_eq!(stats.io_serviced_recursive, count);
    }
}
