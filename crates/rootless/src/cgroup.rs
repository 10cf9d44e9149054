//! The control group that was delegated to the user's daemon, if one was: its processes move to a
//! group of their own below it, because a group with processes hands no controllers on.
//!
//! Source: cgroup-v2.rst, "No Internal Process Constraint" and "Delegation".

use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::fs;
use std::path::{Path, PathBuf};

/// Moves every process of this process's group into `name` below it, where that is allowed. What
/// is not delegated stays as it is: the daemon says then that containers have no limits.
pub(crate) fn move_aside(name: &str) {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else { return };
    let Some(mounted) = unified_mount() else { return };
    let dir = mounted.join(path.trim_start_matches('/'));
    let may = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    let ours = dir.file_name().is_some_and(|last| last == name);
    if ours || !(may(&dir) && may(&dir.join("cgroup.procs"))) || dir == mounted {
        return;
    }
    let aside = dir.join(name);
    if fs::create_dir(&aside).is_err() && !aside.is_dir() {
        return;
    }
    // Whoever forks meanwhile is found in the next round.
    for _ in 0..8 {
        let there = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        if there.is_empty() {
            return;
        }
        for process in there.lines() {
            let _ = fs::write(aside.join("cgroup.procs"), process);
        }
    }
}

fn unified_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let dir = words.nth(1)?;
        (words.next() == Some("cgroup2")).then(|| PathBuf::from(dir))
    })
}
