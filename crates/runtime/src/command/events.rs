//! `events`: what a container uses, told every few seconds, and when it runs out of memory; as JSON
//! of runc's form. It knows where the figures come from only as [`Stats`].

use super::args::{Args, Usage};
use super::record::Record;
use super::{Failed, Global, say};
use crate::cgroup::{BlkioEntry, Cgroup, OomWatch, Stats};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use sys::Pidfd;

/// How often figures are told when nothing is said.
const INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn events(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let (mut once, mut interval) = (false, INTERVAL);
    while let Some(option) = args.option() {
        match option.as_str() {
            "--stats" => once = args.switch(&option)?,
            "--interval" => {
                let value = args.value(&option)?;
                let seconds = value.trim_end_matches('s').parse().ok().filter(|n| *n > 0);
                let bad = Usage::BadValue { option, value };
                interval = Duration::from_secs(seconds.ok_or(bad)?);
            }
            _ => return Err(Usage::UnknownOption(option).into()),
        }
    }
    let id = args.only_id()?;
    let record = Record::load(global, &id)?;
    let cgroup = record.cgroup()?;
    // Opened before it is asked whether the process is still the container's.
    let process = Pidfd::open(record.pid);
    let watch = if once { None } else { cgroup.watch_oom()? };
    tell(&id, "stats", Some(figures(&cgroup.stats()?)));
    let (false, true, Ok(process)) = (once, record.alive(), process) else { return Ok(0) };
    let mut watched = Watched { id: &id, cgroup: &cgroup, kills: cgroup.oom_kills()? };
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let ended = wait(&process, watch.as_ref(), left)
            .map_err(|errno| Failed::io(format!("watch container {id}"), &errno.into()))?;
        if let Some(watch) = &watch {
            watch.drain();
        }
        watched.tell_kills();
        if ended {
            return Ok(0);
        }
        if next <= Instant::now() {
            tell(&id, "stats", Some(figures(&cgroup.stats()?)));
            next += interval;
        }
    }
}

/// Waits for an event, at most for `limit`; true if the first process has ended.
fn wait(process: &Pidfd, watch: Option<&OomWatch>, limit: Duration) -> Result<bool, Errno> {
    let mut waited = vec![PollFd::new(process, PollFlags::IN)];
    waited.extend(watch.map(|watch| PollFd::new(watch, watch.interest())));
    let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
    match rustix::event::poll(&mut waited, Some(&limit)) {
        Ok(_) => Ok(!waited[0].revents().is_empty()),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

struct Watched<'a> {
    id: &'a str,
    cgroup: &'a Cgroup,
    /// Those that are told already.
    kills: u64,
}

impl Watched<'_> {
    /// Tells of processes that were killed since the last time.
    fn tell_kills(&mut self) {
        // The group may be gone with its last process.
        let kills = self.cgroup.oom_kills().unwrap_or(self.kills);
        for _ in self.kills..kills {
            tell(self.id, "oom", None);
        }
        self.kills = kills;
    }
}

fn tell(id: &str, kind: &str, data: Option<Value>) {
    let mut event = json!({"type": kind, "id": id});
    if let Some(data) = data {
        event["data"] = data;
    }
    say(&format!("{event}\n"));
}

/// The figures by runc's names.
fn figures(stats: &Stats) -> Value {
    let Stats { cpu, memory, blkio, pids, hugetlb } = stats;
    let pages = hugetlb.iter().map(|(size, it)| {
        let figures =
            json!({"usage": it.usage_bytes, "max": it.max_usage_bytes, "failcnt": it.failcnt});
        (size.clone(), figures)
    });
    json!({
        "cpu": {
            "usage": {
                "total": cpu.total_ns,
                "percpu": cpu.percpu_ns,
                "kernel": cpu.kernel_ns,
                "user": cpu.user_ns,
            },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": {
            "cache": memory.stat.get("cache").or(memory.stat.get("file")),
            "usage": {
                "usage": memory.usage_bytes,
                "max": memory.max_usage_bytes,
                "limit": memory.limit_bytes,
                "failcnt": memory.failcnt,
            },
            "raw": memory.stat,
        },
        "pids": {
            "current": pids.current,
            "limit": if pids.limit == u64::MAX { 0 } else { pids.limit },
        },
        "blkio": {
            "ioServiceBytesRecursive": entries(&blkio.io_service_bytes_recursive),
            "ioServicedRecursive": entries(&blkio.io_serviced_recursive),
            "ioQueueRecursive": entries(&blkio.io_queue_recursive),
            "ioServiceTimeRecursive": entries(&blkio.io_service_time_recursive),
            "ioWaitTimeRecursive": entries(&blkio.io_wait_time_recursive),
            "ioMergedRecursive": entries(&blkio.io_merged_recursive),
            "ioTimeRecursive": entries(&blkio.io_time_recursive),
            "sectorsRecursive": entries(&blkio.sectors_recursive),
        },
        "hugetlb": pages.collect::<Map<_, _>>(),
    })
}

fn entries(all: &[BlkioEntry]) -> Vec<Value> {
    all.iter().map(entry).collect()
}

fn entry(BlkioEntry { major, minor, op, value }: &BlkioEntry) -> Value {
    json!({"major": major, "minor": minor, "op": op, "value": value})
}
