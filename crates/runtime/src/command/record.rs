//! What the command line remembers of a container between its calls: one directory per container
//! with `state.json`, the compiled `filter` and, until the start, the socket `gate`.

use super::{Failed, Global};
use crate::cgroup::{Cgroup, Hierarchy};
use crate::launch::Launch;
use crate::plan::StdioKind;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wire::oci::runtime::State;

/// Longest id.
const MAX_ID: usize = 1024;

/// Name of the socket on which a created container waits for its start.
const GATE: &str = "gate";

/// `state.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record<L = Launch> {
    /// Version of this form.
    pub(crate) version: u32,
    /// Process id of the first process.
    pub(crate) pid: i32,
    /// When it began, in clock ticks since the boot: tells it from a later one with its number.
    pub(crate) start_ticks: u64,
    /// When the container was created, RFC 3339.
    pub(crate) created: String,
    /// Whether the command has a terminal.
    pub(crate) terminal: bool,
    /// What the container was launched from.
    pub(crate) launch: L,
}

/// The state of a container, as the specification names it; `paused` is runc's addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// The directory of a container.
pub(crate) fn directory(global: &Global, id: &str) -> Result<PathBuf, Failed> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(good) || id.starts_with('.') {
        return Err(Failed::said(format!("container id {id:?} is not one")));
    }
    Ok(global.root.join(id))
}

/// Makes the directory of a new container.
pub(crate) fn reserve(global: &Global, id: &str) -> Result<PathBuf, Failed> {
    let dir = directory(global, id)?;
    let mut private = fs::DirBuilder::new();
    private.mode(0o700);
    private
        .recursive(true)
        .create(&global.root)
        .map_err(|e| Failed::io(format!("make {}", global.root.display()), &e))?;
    match private.recursive(false).create(&dir) {
        Ok(()) => Ok(dir),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Failed::said(format!("container {id} exists already")))
        }
        Err(error) => Err(Failed::io(format!("make {}", dir.display()), &error)),
    }
}

/// Path of the gate in a container's directory.
pub(crate) fn gate(dir: &Path) -> PathBuf {
    dir.join(GATE)
}

/// Path of the compiled system call filter in a container's directory.
pub(crate) fn filter(dir: &Path) -> PathBuf {
    dir.join("filter")
}

impl<L: Serialize> Record<L> {
    pub(crate) fn new(launch: L, pid: i32, terminal: bool) -> Self {
        let start_ticks = start_ticks(pid).unwrap_or(0);
        let created = timestamp(SystemTime::now());
        Self { version: 1, pid, start_ticks, created, terminal, launch }
    }

    pub(crate) fn save(&self, dir: &Path) -> Result<(), Failed> {
        let path = dir.join("state.json");
        let text = serde_json::to_vec(self).map_err(|e| Failed::said(e.to_string()))?;
        let new = dir.join("state.json.new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| Failed::io(format!("write {}", path.display()), &error))
    }
}

impl Record {
    pub(crate) fn load(global: &Global, id: &str) -> Result<Self, Failed> {
        let path = directory(global, id)?.join("state.json");
        let text = fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failed::said(format!("container {id} does not exist")),
            _ => Failed::io(format!("read {}", path.display()), &error),
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| Failed::said(format!("read {}: {error}", path.display())))
    }

    pub(crate) fn kind(&self) -> StdioKind {
        if self.terminal { StdioKind::Terminal(None) } else { StdioKind::Provided }
    }

    /// Whether the first process still is what it was.
    pub(crate) fn alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }

    pub(crate) fn cgroup(&self) -> Result<Cgroup, Failed> {
        let path = crate::facts::cgroup_path(&self.launch);
        Ok(Cgroup::open(&Hierarchy::detect()?, &path)?)
    }

    pub(crate) fn status(&self) -> Status {
        if !self.alive() {
            return Status::Stopped;
        }
        if gate(&self.launch.state_dir).exists() {
            return Status::Created;
        }
        match self.cgroup().and_then(|cgroup| Ok(cgroup.is_frozen()?)) {
            Ok(true) => Status::Paused,
            _ => Status::Running,
        }
    }

    pub(crate) fn state(&self) -> State {
        let status = self.status();
        State {
            oci_version: wire::oci::runtime::LATEST.to_owned(),
            id: self.launch.id.clone(),
            status: status.name().to_owned(),
            pid: if status == Status::Stopped { 0 } else { self.pid },
            bundle: self
                .launch
                .bundle
                .as_ref()
                .map(|b| b.display().to_string())
                .unwrap_or_default(),
            annotations: self.launch.spec.annotations.clone(),
        }
    }
}

/// When a living process began, field 22 of proc_pid_stat(5).
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// RFC 3339 with nanoseconds, UTC.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The Gregorian date of a day since 1970-01-01, counting years from March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_rfc_says() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(timestamp(at), expect);
        }
    }

    #[test]
    fn ids_are_names_and_no_paths() {
        let global = Global { root: PathBuf::from("/r"), ..Global::default() };
        assert!(directory(&global, "a-b_c+1.2").is_ok());
        for id in ["", ".", "..", ".x", "a/b", "../x", "a\0b", "ä", "a b"] {
            assert!(directory(&global, id).is_err(), "{id:?}");
        }
    }
}
