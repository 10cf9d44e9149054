//! What a test left behind on the host: processes, mounts, control groups.

use std::path::Path;

/// Everything found, one line each; empty is what every test owes.
pub(crate) fn find(dir: &Path, cgroup: &str) -> Vec<String> {
    let mut found = Vec::new();
    let dir = dir.to_string_lossy();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter(|l| l.contains(&*dir)).map(|l| format!("mount {l}")));
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let groups = std::fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        let ours = line.contains(&*dir) || groups.contains(cgroup);
        let zombie = line.is_empty() && !groups.contains(cgroup);
        if ours && !zombie && path.file_name().is_some_and(|n| n != "self") {
            let own = std::process::id().to_string();
            if path.file_name().is_some_and(|n| *n != *own && n != "thread-self") {
                found.push(format!("process {} {line}", path.display()));
            }
        }
    }
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let group = hierarchy.path().join(cgroup);
        let inside = std::fs::read_dir(&group).into_iter().flatten().flatten();
        for child in inside.filter(|entry| entry.path().is_dir()) {
            found.push(format!("cgroup {}", child.path().display()));
        }
    }
    found
}

/// Removes the lab's own, by then empty, control group from every hierarchy.
pub(crate) fn remove_group(cgroup: &str) {
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(hierarchy.path().join(cgroup));
    }
    let _ = std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(cgroup));
}
