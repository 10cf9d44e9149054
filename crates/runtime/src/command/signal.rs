//! `kill`, `delete`, `pause` and `resume`.

use super::args::{Args, Usage};
use super::record::{self, Record, Status};
use super::{Failed, Global, create};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;
use sys::Pidfd;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// How long `delete --force` waits for a killed container.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn kill(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let mut all = false;
    while let Some(option) = args.option() {
        match option.as_str() {
            "--all" | "-a" => all = args.switch(&option)?,
            _ => return Err(Usage::UnknownOption(option).into()),
        }
    }
    let id = args.required("the container's id")?;
    let signal = args.word().map_or(Ok(SIGTERM), |word| number(&word))?;
    args.end()?;
    let record = Record::load(global, &id)?;
    if all && signal == SIGKILL {
        record.cgroup()?.kill_all(Signal::KILL)?;
        return Ok(0);
    }
    if record.status() == Status::Stopped {
        return Err(Failed::said(format!("container {id} is not running")));
    }
    if all {
        for pid in record.cgroup()?.processes()? {
            // One that has ended meanwhile needs no signal.
            let _ = Pidfd::open(pid).and_then(|process| process.send_signal(signal));
        }
        return Ok(0);
    }
    send(&record, signal)?;
    Ok(0)
}

fn send(record: &Record, signal: i32) -> Result<(), Failed> {
    let process = Pidfd::open(record.pid).map_err(|error| Failed::said(error.to_string()))?;
    // The number belonged to the container when the descriptor was opened, or nothing is sent.
    if !record.alive() {
        return Err(Failed::said("the container is not running"));
    }
    process.send_signal(signal).map_err(|error| Failed::said(error.to_string()))
}

pub(super) fn delete(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let mut force = false;
    while let Some(option) = args.option() {
        match option.as_str() {
            "--force" | "-f" => force = args.switch(&option)?,
            _ => return Err(Usage::UnknownOption(option).into()),
        }
    }
    let id = args.required("the container's id")?;
    args.end()?;
    let dir = record::directory(global, &id)?;
    let record = match Record::load(global, &id) {
        Ok(record) => record,
        Err(_) if force => {
            remove(&dir);
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    match record.status() {
        Status::Stopped => {}
        Status::Created => end(&record)?,
        _ if force => end(&record)?,
        status => {
            let status = status.name();
            return Err(Failed::said(format!("container {id} is {status}; kill it first")));
        }
    }
    if let Ok(cgroup) = record.cgroup() {
        cgroup.kill_all(Signal::KILL)?;
        cgroup.delete()?;
    }
    remove(&dir);
    create::tell_after(&record.launch);
    Ok(0)
}

/// Kills the container and waits until it is gone.
fn end(record: &Record) -> Result<(), Failed> {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let Ok(process) = Pidfd::open(record.pid) else { return Ok(()) };
    if !record.alive() {
        return Ok(());
    }
    if let Ok(cgroup) = record.cgroup() {
        cgroup.kill_all(Signal::KILL)?;
        // A frozen one dies when it thaws.
        cgroup.thaw()?;
    }
    // It may have gone with its group.
    let _ = process.send_signal(SIGKILL);
    let limit =
        Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut wait = [PollFd::new(&process, PollFlags::IN)];
    match rustix::event::poll(&mut wait, Some(&limit)) {
        Ok(1..) => Ok(()),
        _ => Err(Failed::said("the container does not end")),
    }
}

/// Removes the directory of a container; what cannot be removed is found by `list`.
pub(super) fn remove(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
}

pub(super) fn pause(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let id = args.only_id()?;
    let record = Record::load(global, &id)?;
    match record.status() {
        Status::Running | Status::Created => {}
        status => {
            let status = status.name();
            return Err(Failed::said(format!("container {id} is {status}, not running")));
        }
    }
    record.cgroup()?.freeze()?;
    Ok(0)
}

pub(super) fn resume(global: &Global, mut args: Args) -> Result<i32, Failed> {
    let id = args.only_id()?;
    let record = Record::load(global, &id)?;
    if !record.alive() || !record.cgroup()?.is_frozen()? {
        return Err(Failed::said(format!("container {id} is not paused")));
    }
    record.cgroup()?.thaw()?;
    Ok(0)
}

/// A signal by number or name, with or without `SIG`.
fn number(word: &str) -> Result<i32, Failed> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    const RTMIN: i32 = 34;
    const RTMAX: i32 = 64;
    let bad = || Failed::said(format!("signal {word:?} is not one"));
    if let Ok(number) = word.parse::<i32>() {
        return if (1..=RTMAX).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(place) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(place + 1).map_err(|_| bad());
    }
    let offset = |text: &str| text.parse::<i32>().ok().filter(|n| (0..=RTMAX - RTMIN).contains(n));
    let real_time = match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => None
            .or_else(|| name.strip_prefix("RTMIN+").and_then(offset).map(|n| RTMIN + n))
            .or_else(|| name.strip_prefix("RTMAX-").and_then(offset).map(|n| RTMAX - n)),
    };
    real_time.ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for (word, expect) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("SYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(number(word).expect(word), expect);
        }
        for word in ["", "0", "65", "-1", "SIGNOPE", "RTMIN+99", "SIG"] {
            assert!(number(word).is_err(), "{word:?}");
        }
    }
}
