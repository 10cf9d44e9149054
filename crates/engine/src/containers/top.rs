//! `ps` for a container, without running one: the host's may be anything, and the container's is
//! not to be trusted. Understands `-ef` (the default), `aux`, and `-o` with the usual columns.

use crate::node::Node;
use crate::streams::Top;
use crate::{EngineError, Result, clock};
use model::view::ContainerView;
use runtime::cgroup::Cgroup;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

/// Ticks per second in /proc/PID/stat; the kernel's USER_HZ, always 100 on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Bytes of a page on the machines we run on.
const PAGE_BYTES: u64 = 4096;

pub(super) fn top(node: &Node, view: &ContainerView, args: &str) -> Result<Top> {
    let columns = columns(args)?;
    let path = crate::host::cgroup_of(&view.spec.cgroup_parent, &view.id);
    let group = Cgroup::open(&node.hierarchy, &path).map_err(EngineError::internal)?;
    let mut pids = match (group.is_none(), view.phase.run()) {
        (true, Some(run)) => of_pid_namespace(run.pid),
        _ => group.processes().map_err(EngineError::internal)?,
    };
    pids.sort_unstable();
    pids.dedup();
    let host = Host::read();
    // A process may end while it is looked at.
    let rows = pids.into_iter().filter_map(Process::read);
    Ok(Top {
        titles: columns.iter().map(|(title, _)| (*title).to_owned()).collect(),
        processes: rows
            .map(|process| columns.iter().map(|(_, value)| value(&process, &host)).collect())
            .collect(),
    })
}

/// Where there are no control groups: the processes that share the pid namespace of `first`, and
/// that are seen from here.
fn of_pid_namespace(first: i32) -> Vec<i32> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(theirs) = namespace(&first.to_string()) else { return Vec::new() };
    if namespace("self").is_none_or(|own| own == theirs) {
        // With the host's processes, its own cannot be told from others.
        return vec![first];
    }
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter(|name| name.parse::<i32>().is_ok());
    let same = numbers.filter(|name| namespace(name).as_ref() == Some(&theirs));
    same.filter_map(|name| name.parse().ok()).collect()
}

type Column = (&'static str, fn(&Process, &Host) -> String);

/// What ps(1) calls its columns, by the name after `-o`.
const COLUMNS: [(&str, Column); 24] = [
    ("uid", ("UID", |p, _| p.uid.to_string())),
    ("user", ("USER", |p, host| host.user(p.uid))),
    ("euser", ("EUSER", |p, host| host.user(p.uid))),
    ("group", ("GROUP", |p, _| p.gid.to_string())),
    ("pid", ("PID", |p, _| p.pid.to_string())),
    ("ppid", ("PPID", |p, _| p.ppid.to_string())),
    ("pgid", ("PGID", |p, _| p.pgid.to_string())),
    ("sid", ("SID", |p, _| p.sid.to_string())),
    ("c", ("C", |p, host| p.cpu_tenths(host).div_euclid(10).to_string())),
    ("pcpu", ("%CPU", |p, host| tenths(p.cpu_tenths(host)))),
    ("%cpu", ("%CPU", |p, host| tenths(p.cpu_tenths(host)))),
    ("pmem", ("%MEM", |p, host| tenths(p.memory_tenths(host)))),
    ("%mem", ("%MEM", |p, host| tenths(p.memory_tenths(host)))),
    ("vsz", ("VSZ", |p, _| (p.vsize / 1024).to_string())),
    ("rss", ("RSS", |p, _| (p.rss_pages * PAGE_BYTES / 1024).to_string())),
    ("tty", ("TTY", |p, _| p.tty())),
    ("stat", ("STAT", |p, _| p.state.to_string())),
    ("s", ("S", |p, _| p.state.to_string())),
    ("nice", ("NI", |p, _| p.nice.to_string())),
    ("stime", ("STIME", |p, host| p.started(host))),
    ("start", ("START", |p, host| p.started(host))),
    ("time", ("TIME", |p, _| p.time())),
    ("comm", ("COMMAND", |p, _| p.comm.clone())),
    ("args", ("COMMAND", |p, _| p.command.clone())),
];

/// Other names for the same.
const ALIASES: [(&str, &str); 8] = [
    ("cmd", "args"),
    ("command", "args"),
    ("ucmd", "comm"),
    ("tt", "tty"),
    ("tname", "tty"),
    ("state", "s"),
    ("cputime", "time"),
    ("ni", "nice"),
];

const FULL: [&str; 8] = ["uid_name", "pid", "ppid", "c", "stime", "tty", "time", "cmd_full"];
const BSD: [&str; 11] =
    ["user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "time", "args"];

fn columns(args: &str) -> Result<Vec<Column>> {
    let words: Vec<&str> = args.split_whitespace().collect();
    let mut asked: Vec<&str> = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let list = match word.strip_prefix("-o").or_else(|| word.strip_prefix("--format=")) {
            Some("") => rest.next().copied().unwrap_or_default(),
            Some(list) => list,
            None if *word == "o" || *word == "-eo" || *word == "-Ao" => {
                rest.next().copied().unwrap_or_default()
            }
            None => continue,
        };
        asked.extend(list.split(',').filter(|name| !name.is_empty()));
    }
    if asked.is_empty() {
        let bsd = words.iter().any(|word| !word.starts_with('-') && word.contains('u'));
        asked = if bsd { BSD.to_vec() } else { FULL.to_vec() };
    }
    let columns: Vec<Column> = asked.iter().map(|name| column(name)).collect::<Result<_>>()?;
    if !columns.iter().any(|(title, _)| *title == "PID") {
        return Err(EngineError::internal("Couldn't find PID field in ps output"));
    }
    Ok(columns)
}

fn column(name: &str) -> Result<Column> {
    // `-ef` shows names under UID and the whole line under CMD.
    match name {
        "uid_name" => return Ok(("UID", |p, host| host.user(p.uid))),
        "cmd_full" => return Ok(("CMD", |p, _| p.command.clone())),
        "cmd" => return Ok(("CMD", |p, _| p.command.clone())),
        _ => {}
    }
    let real = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, real)| real);
    COLUMNS.iter().find(|(known, _)| *known == real).map(|(_, column)| *column).ok_or_else(|| {
        EngineError::invalid(format!("ps: unknown user-defined format specifier \"{name}\""))
    })
}

fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

/// What of the host the columns need.
struct Host {
    users: BTreeMap<u32, String>,
    boot_s: i64,
    now_s: i64,
    memory_bytes: u64,
}

impl Host {
    fn read() -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((fields.nth(1)?.parse().ok()?, name))
        };
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
        Self {
            users: passwd.lines().filter_map(user).collect(),
            boot_s: boot.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            now_s: clock::now().seconds(),
            memory_bytes: crate::system::memory_bytes(),
        }
    }

    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

/// A process as proc(5) tells it.
struct Process {
    pid: i32,
    ppid: i32,
    pgid: i32,
    sid: i32,
    uid: u32,
    gid: u32,
    tty: u32,
    state: char,
    nice: i64,
    cpu_ticks: u64,
    start_ticks: u64,
    vsize: u64,
    rss_pages: u64,
    comm: String,
    command: String,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let dir = format!("/proc/{pid}");
        let owner = std::fs::metadata(&dir).ok()?;
        let stat = std::fs::read_to_string(format!("{dir}/stat")).ok()?;
        // The name is in parentheses and may hold any of them.
        let (head, tail) = stat.rsplit_once(')')?;
        let comm = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<i64>().ok());
        let count = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        let small = |at: usize| number(at).and_then(|n| i32::try_from(n).ok());
        let line = std::fs::read(format!("{dir}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned();
        Some(Self {
            pid,
            ppid: small(1)?,
            pgid: small(2)?,
            sid: small(3)?,
            uid: owner.uid(),
            gid: owner.gid(),
            tty: u32::try_from(number(4)?).unwrap_or(0),
            state: fields.first()?.chars().next()?,
            nice: number(16)?,
            cpu_ticks: count(11)? + count(12)?,
            start_ticks: count(19)?,
            vsize: count(20)?,
            rss_pages: count(21)?,
            command: if line.is_empty() { format!("[{comm}]") } else { line },
            comm,
        })
    }

    fn start_s(&self, host: &Host) -> i64 {
        let since_boot = i64::try_from(self.start_ticks / TICKS_PER_SECOND).unwrap_or(i64::MAX);
        host.boot_s.saturating_add(since_boot)
    }

    /// CPU time over lifetime, in tenths of a percent.
    fn cpu_tenths(&self, host: &Host) -> u64 {
        let alive = u64::try_from(host.now_s - self.start_s(host)).unwrap_or(0);
        match alive * TICKS_PER_SECOND {
            0 => 0,
            ticks => self.cpu_ticks.saturating_mul(1000) / ticks,
        }
    }

    fn memory_tenths(&self, host: &Host) -> u64 {
        self.rss_pages.saturating_mul(PAGE_BYTES * 1000) / host.memory_bytes.max(1)
    }

    /// The terminal by its device number, as ps shows it.
    fn tty(&self) -> String {
        let (major, minor) =
            ((self.tty >> 8) & 0xfff, self.tty & 0xff | (self.tty >> 12) & 0xfff00);
        match major {
            0 => "?".to_owned(),
            136..=143 => format!("pts/{}", minor + (major - 136) * 256),
            4 => format!("tty{minor}"),
            _ => "?".to_owned(),
        }
    }

    /// CPU time, `hh:mm:ss`.
    fn time(&self) -> String {
        let seconds = self.cpu_ticks / TICKS_PER_SECOND;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// `hh:mm` for the last day, `MonDD` before; local time is the daemon's, as with ps.
    fn started(&self, host: &Host) -> String {
        let start = self.start_s(host);
        let Ok(time) = jiff::Timestamp::from_second(start) else { return "?".to_owned() };
        let local = time.to_zoned(jiff::tz::TimeZone::system());
        let format = if host.now_s - start < 86_400 { "%H:%M" } else { "%b%d" };
        local.strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(args: &str) -> Vec<&'static str> {
        columns(args).unwrap().iter().map(|(title, _)| *title).collect()
    }

    #[test]
    fn columns_by_arguments() {
        assert_eq!(titles(""), ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(titles("-ef"), titles(""));
        assert_eq!(titles("aux")[..4], ["USER", "PID", "%CPU", "%MEM"]);
        assert_eq!(titles("-o pid,comm"), ["PID", "COMMAND"]);
        assert_eq!(titles("-eo pid,rss"), ["PID", "RSS"]);
        assert_eq!(titles("-opid,cmd"), ["PID", "CMD"]);
        assert!(columns("-o comm").is_err(), "without PID there is nothing to select by");
        assert!(columns("-o pid,nonsense").is_err());
    }

    #[test]
    fn this_process_is_read() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let host = Host::read();
        assert!(own.rss_pages > 0 && own.vsize > 0 && host.memory_bytes > 0);
        assert!(own.start_s(&host) <= host.now_s + 1);
        assert!(!own.command.is_empty() && own.time().len() == 8);
    }
}
