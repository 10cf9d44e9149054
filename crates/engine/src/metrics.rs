//! What the engine counts of its own work since it was opened: how often, and how long it took.
//! It counts and decides nothing; in which words it is told is others' business.

use crate::System;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the classes that durations are counted in, seconds: those that Prometheus'
/// clients have by default, and Docker's engine with them.
pub const BOUNDS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Of which work it is known how long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// The differences of a container's root were looked for.
    ContainerChanges,
    /// An image was made of a container.
    ContainerCommit,
    /// A container was made.
    ContainerCreate,
    /// A container was removed.
    ContainerDelete,
    /// A container was started, whoever wanted it.
    ContainerStart,
    /// A container got what it has on one network.
    NetworkAllocate,
    /// A container was joined to a network.
    NetworkConnect,
    /// A container gave back what it had on one network.
    NetworkRelease,
    /// An image, or a name of it, was removed.
    ImageDelete,
    /// How an image was made was looked up.
    ImageHistory,
    /// An image was pulled.
    ImagePull,
    /// An image was pushed.
    ImagePush,
    /// A health check was begun.
    HealthCheckStart,
    /// Facts of the host were gathered.
    SystemInfo,
}

impl Timed {
    /// All of them, as they are numbered.
    pub const ALL: [Self; 14] = [
        Self::ContainerChanges,
        Self::ContainerCommit,
        Self::ContainerCreate,
        Self::ContainerDelete,
        Self::ContainerStart,
        Self::NetworkAllocate,
        Self::NetworkConnect,
        Self::NetworkRelease,
        Self::ImageDelete,
        Self::ImageHistory,
        Self::ImagePull,
        Self::ImagePush,
        Self::HealthCheckStart,
        Self::SystemInfo,
    ];
}

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// By class: up to each of [`BOUNDS_S`] and above the one before, then what took longer.
    pub counts: [u64; BOUNDS_S.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

/// The counters. Whoever has done something notes it; nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    timers: [Timer; Timed::ALL.len()],
    checks: AtomicU64,
    failed_checks: AtomicU64,
}

#[derive(Debug, Default)]
struct Timer {
    counts: [AtomicU64; BOUNDS_S.len() + 1],
    sum_us: AtomicU64,
}

impl Metrics {
    /// Something is done that was begun then.
    pub(crate) fn note(&self, what: Timed, begun: impl Into<Instant>) {
        self.timers[what as usize].note(begun.into().elapsed());
    }

    /// A health check was judged.
    pub(crate) fn note_check(&self, failed: bool) {
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.failed_checks.fetch_add(u64::from(failed), Ordering::Relaxed);
    }
}

impl Timer {
    fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let class = BOUNDS_S.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_S.len());
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn read(&self) -> Durations {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Durations { counts, sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)) }
    }
}

/// What was counted, and what there is just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// By [`Timed`], in the order of [`Timed::ALL`].
    pub durations: [Durations; Timed::ALL.len()],
    /// Health checks judged.
    pub health_checks: u64,
    /// Those of them that failed.
    pub failed_health_checks: u64,
    /// Events told.
    pub events: u64,
    /// Who listens to events.
    pub event_listeners: usize,
    /// Containers by the word that Docker has for their state, each of them once.
    pub containers: [(&'static str, usize); 7],
    /// Of this process.
    pub process: Process,
}

/// What the daemon itself uses (proc_pid_stat(5), proc_pid_statm(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// CPU time, its own and the kernel's for it.
    pub cpu: Duration,
    /// Memory that is its own or shared, bytes.
    pub resident_bytes: u64,
    /// Addresses in use, bytes.
    pub virtual_bytes: u64,
    /// Descriptors open.
    pub open_files: usize,
    /// Threads.
    pub threads: usize,
}

impl Process {
    fn read() -> Self {
        let count = |dir: &str| std::fs::read_dir(dir).map(Iterator::count).unwrap_or(0);
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let page = rustix::param::page_size() as u64;
        let mut pages = statm.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        let virtual_bytes = pages.next().unwrap_or(0) * page;
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self {
            cpu: Duration::try_from(clock).unwrap_or_default(),
            resident_bytes: pages.next().unwrap_or(0) * page,
            virtual_bytes,
            open_files: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }
}

impl System {
    /// What was counted since the engine was opened. Reads a few files of /proc.
    pub fn counted(&self) -> Counted {
        let node = &*self.node;
        let metrics = &node.metrics;
        let states = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
        let mut containers = states.map(|state| (state, 0));
        for handle in node.registry.all() {
            let state = handle.view().phase.status();
            if let Some((_, count)) = containers.iter_mut().find(|(known, _)| *known == state) {
                *count += 1;
            }
        }
        Counted {
            durations: metrics.timers.each_ref().map(Timer::read),
            health_checks: metrics.checks.load(Ordering::Relaxed),
            failed_health_checks: metrics.failed_checks.load(Ordering::Relaxed),
            events: node.events.told(),
            event_listeners: node.events.listeners(),
            containers,
            process: Process::read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_timer() {
        for (at, what) in Timed::ALL.iter().enumerate() {
            assert_eq!(*what as usize, at);
        }
    }

    #[test]
    fn durations_fall_into_the_class_that_they_reach() {
        let timer = Timer::default();
        for ms in [0, 5, 6, 1000, 60_000] {
            timer.note(Duration::from_millis(ms));
        }
        let read = timer.read();
        assert_eq!(read.counts, [2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(read.sum, Duration::from_millis(61_011));
    }

    #[test]
    fn this_process_uses_something() {
        let read = Process::read();
        assert!(read.resident_bytes > 0 && read.virtual_bytes >= read.resident_bytes);
        assert!(read.open_files > 0 && read.threads > 0);
    }
}
