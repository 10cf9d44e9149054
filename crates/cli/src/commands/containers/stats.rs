//! `stats`: what containers use, once or as it changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use client::{Client, ListContainers};
use tokio::task::LocalSet;
use wire::docker::stats::{BlkioStats, CpuStats, MemoryStats, Stats};

use super::super::list_format;
use crate::command::Outcome;
use crate::failure::Failure;
use crate::format::{self, Row, Table, short_id};
use crate::invocation::Invocation;
use crate::terminal::print;
use crate::units;

/// How often the table is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);
/// How many drawings pass before containers that came and went are looked for.
const DRAWINGS_PER_LOOK: u32 = 4;
/// How often, and at which interval, first answers are looked for.
const FIRST_LOOKS: u32 = 100;
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// Clears the screen and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

const TABLE: Table = Table {
    default: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t\
              {{.BlockIO}}\t{{.PIDs}}",
    titles: &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
    ],
    type_name: "*container.statsContext",
};

/// The last sample of each container by what it was asked for as; none before the first.
type Samples = Rc<RefCell<BTreeMap<String, Sample>>>;

enum Sample {
    /// No answer yet.
    Waiting,
    /// The last answer.
    Seen(Box<Stats>),
    /// What the engine said instead.
    Failed(String),
}

/// `stats`.
pub(crate) async fn stats(invocation: &Invocation) -> Outcome {
    let client = Rc::new(invocation.client()?);
    let samples = Samples::default();
    LocalSet::new().run_until(watch(invocation, client, samples)).await
}

async fn watch(invocation: &Invocation, client: Rc<Client>, samples: Samples) -> Outcome {
    let matches = &invocation.matches;
    let once = matches.bool("no-stream");
    let format = list_format(invocation, "statsFormat");
    let whole = matches.bool("no-trunc");
    let named = matches.args();
    let mut tasks = follow_new(invocation, &client, &samples, !once).await?;
    if once {
        for task in tasks {
            let _ = task.await;
        }
        if let Some(failure) = failure(&samples, !named.is_empty()) {
            return Err(failure);
        }
        return format::list(&TABLE, format, rows(&samples, whole));
    }
    first_samples(&samples).await;
    if let Some(failure) = failure(&samples, !named.is_empty()) {
        return Err(failure);
    }
    let mut drawings = 0;
    loop {
        let table = format::render(&TABLE, format, rows(&samples, whole))?;
        let clear = if format.is_empty() || format.starts_with("table") { CLEAR } else { "" };
        print(format!("{clear}{table}"))?;
        if !named.is_empty() {
            if let Some(failure) = failure(&samples, true) {
                return Err(failure);
            }
            if tasks.iter().all(tokio::task::JoinHandle::is_finished) {
                return Ok(0);
            }
        }
        tokio::time::sleep(REDRAW).await;
        drawings += 1;
        if named.is_empty() && drawings % DRAWINGS_PER_LOOK == 0 {
            tasks.extend(follow_new(invocation, &client, &samples, true).await?);
            tasks.retain(|task| !task.is_finished());
        }
    }
}

/// Waits for an answer about every container, but not for long.
async fn first_samples(samples: &Samples) {
    for _ in 0..FIRST_LOOKS {
        let waiting = |sample: &Sample| matches!(sample, Sample::Waiting);
        if !samples.borrow().values().any(waiting) {
            return;
        }
        tokio::time::sleep(FIRST_LOOK).await;
    }
}

/// Starts to follow the containers that are not followed yet, and forgets those that are gone.
async fn follow_new(
    invocation: &Invocation,
    client: &Rc<Client>,
    samples: &Samples,
    stream: bool,
) -> Result<Vec<tokio::task::JoinHandle<()>>, Failure> {
    let names: Vec<String> = match invocation.matches.args() {
        [] => {
            let all = invocation.matches.bool("all");
            let wanted = ListContainers { all, ..ListContainers::default() };
            client.container_list(&wanted).await?.into_iter().map(|found| found.id).collect()
        }
        names => names.to_vec(),
    };
    samples.borrow_mut().retain(|name, _| names.contains(name));
    let mut tasks = Vec::new();
    for name in names {
        if samples.borrow().contains_key(&name) {
            continue;
        }
        samples.borrow_mut().insert(name.clone(), Sample::Waiting);
        let (client, samples) = (Rc::clone(client), Rc::clone(samples));
        tasks.push(tokio::task::spawn_local(async move {
            if let Err(error) = follow(&client, &name, &samples, stream).await {
                samples.borrow_mut().insert(name, Sample::Failed(error.to_string()));
            }
        }));
    }
    Ok(tasks)
}

async fn follow(
    client: &Client,
    name: &str,
    samples: &Samples,
    stream: bool,
) -> client::Result<()> {
    let mut lines = client.container_stats(name, stream).await?.lines();
    while let Some(line) = lines.next().await? {
        if let Ok(stats) = wire::docker::json::from_slice::<Stats>(&line)
            && samples.borrow().contains_key(name)
        {
            samples.borrow_mut().insert(name.to_owned(), Sample::Seen(Box::new(stats)));
        }
    }
    Ok(())
}

/// What went wrong with containers that were asked for by name.
fn failure(samples: &Samples, named: bool) -> Option<Failure> {
    let samples = samples.borrow();
    let failed: Vec<&str> = samples
        .values()
        .filter_map(|sample| match sample {
            Sample::Failed(why) if named => Some(why.as_str()),
            _ => None,
        })
        .collect();
    (!failed.is_empty()).then(|| Failure::new(failed.join("\n")))
}

fn rows(samples: &Samples, whole: bool) -> Vec<Row> {
    let row = |(name, sample): (&String, &Sample)| match sample {
        Sample::Failed(_) => None,
        Sample::Waiting => Some(unknown(name, whole)),
        Sample::Seen(stats) => Some(row(name, stats, whole)),
    };
    samples.borrow().iter().filter_map(row).collect()
}

fn unknown(name: &str, whole: bool) -> Row {
    let pair = "-- / --";
    Row::default()
        .with("BlockIO", pair)
        .with("CPUPerc", "--")
        .with("Container", name)
        .with("ID", if whole { name } else { short_id(name) })
        .with("MemPerc", "--")
        .with("MemUsage", pair)
        .with("Name", "--")
        .with("NetIO", pair)
        .with("PIDs", "--")
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn row(name: &str, stats: &Stats, whole: bool) -> Row {
    let used = memory_used(&stats.memory_stats) as f64;
    let limit = stats.memory_stats.limit as f64;
    let percent = if limit > 0.0 { used / limit * 100.0 } else { 0.0 };
    let (read, written) = block_io(&stats.blkio_stats);
    let received: u64 = stats.networks.values().map(|network| network.rx_bytes).sum();
    let sent: u64 = stats.networks.values().map(|network| network.tx_bytes).sum();
    let size = |bytes: u64| units::human_size(bytes as f64, 3);
    let cpu = cpu_percent(&stats.cpu_stats, &stats.precpu_stats);
    Row::default()
        .with("BlockIO", format!("{} / {}", size(read), size(written)))
        .with("CPUPerc", format!("{cpu:.2}%"))
        .with("Container", name)
        .with("ID", if whole { &*stats.id } else { short_id(&stats.id) })
        .with("MemPerc", format!("{percent:.2}%"))
        .with("MemUsage", format!("{} / {}", units::bytes_size(used), units::bytes_size(limit)))
        .with("Name", stats.name.strip_prefix('/').unwrap_or(&stats.name))
        .with("NetIO", format!("{} / {}", size(received), size(sent)))
        .with("PIDs", stats.pids_stats.current.to_string())
}

/// The share of one CPU between two samples: 200 is two whole CPUs.
#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn cpu_percent(now: &CpuStats, before: &CpuStats) -> f64 {
    let used = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let system = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let cpus = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        cpus => f64::from(cpus),
    };
    if used > 0.0 && system > 0.0 { used / system * cpus * 100.0 } else { 0.0 }
}

/// Without the page cache that can go at any time: its name differs by cgroup version.
fn memory_used(memory: &MemoryStats) -> u64 {
    let cache = memory.stats.get("total_inactive_file").or(memory.stats.get("inactive_file"));
    match cache {
        Some(cache) if *cache < memory.usage => memory.usage - cache,
        _ => memory.usage,
    }
}

fn block_io(block: &BlkioStats) -> (u64, u64) {
    let (mut read, mut written) = (0, 0);
    for entry in block.io_service_bytes_recursive.iter().flatten() {
        match entry.op.as_bytes().first() {
            Some(b'r' | b'R') => read += entry.value,
            Some(b'w' | b'W') => written += entry.value,
            _ => {}
        }
    }
    (read, written)
}
