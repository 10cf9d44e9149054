//! What a daemon has of the host: links, rules, control groups, processes, mounts, directories.
//! Two footprints that are equal prove that nothing leaked in between.

use crate::Lab;
use std::collections::BTreeMap;
use std::path::Path;

/// Directories whose entries are counted, below the lab's.
const PLACES: [&str; 10] = [
    "data/blobs/sha256",
    "data/containers",
    "data/downloads",
    "data/layers",
    "data/mirrors",
    "data/snapshots",
    "data/tmp",
    "data/volumes",
    "run/containers",
    "run/seccomp",
];

/// Each thing, and how many times it is there.
pub type Footprint = BTreeMap<String, usize>;

impl Lab {
    /// What the daemon has now.
    pub fn footprint(&self) -> Footprint {
        let mut found = Footprint::new();
        let mut add = |what: String| *found.entry(what).or_default() += 1;
        for line in self.in_network(&["ip", "-o", "link"]).ok().lines() {
            let name = line.split_whitespace().nth(1).unwrap_or_default();
            add(format!("link {}", name.split(['@', ':']).next().unwrap_or_default()));
        }
        for word in rules(self.in_network(&["nft", "list", "ruleset"]).ok()) {
            add(format!("rule {word}"));
        }
        for place in PLACES {
            let there = without_ready(names(&self.dir().join(place)));
            there.into_iter().for_each(|it| add(format!("{place}/{it}")));
        }
        for tree in names(Path::new("/sys/fs/cgroup")) {
            let group = Path::new("/sys/fs/cgroup").join(tree).join(self.cgroup());
            let below = names(&group).into_iter().filter(|name| group.join(name).is_dir());
            below.for_each(|name| add(format!("cgroup {name}")));
        }
        self.processes().into_iter().for_each(|name| add(format!("process {name}")));
        let mounts = self.in_network(&["cat", "/proc/self/mountinfo"]);
        let home = self.dir().to_string_lossy().into_owned();
        let ours = mounts.ok().lines().filter(|line| line.contains(&home));
        ours.for_each(|line| add(format!("mount {}", line.split(' ').nth(4).unwrap_or_default())));
        found
    }

    /// What lies in the area for half-made things, but for what is kept ready.
    pub fn half_made(&self) -> Vec<String> {
        without_ready(names(&self.data_root().join("tmp")))
    }

    /// Names of the monitors in the daemon's namespace, but for what the daemon keeps ready: that
    /// it has as soon as it has started a container.
    fn processes(&self) -> Vec<String> {
        let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let home = net(&self.holder().to_string());
        let here = |pid: &String| {
            pid.bytes().all(|byte| byte.is_ascii_digit()) && home.is_some() && net(pid) == home
        };
        let daemon = self.daemon_pid().as_raw_nonzero().to_string();
        let ready = |pid: &String| {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            parent(pid).is_some_and(|parent| parent == daemon)
                && children.is_ok_and(|children| children.trim().is_empty())
        };
        let all = names(Path::new("/proc")).into_iter().filter(here).filter(|pid| !ready(pid));
        let comm = |pid: String| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        // Helpers of the daemon's come and go by themselves.
        let lasting = |name: &String| name == "estiba-monitor";
        all.filter_map(comm).map(|name| name.trim().to_owned()).filter(lasting).collect()
    }
}

fn parent(pid: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The rules and the elements of sets, one each, without counters and without the order that
/// elements are listed in.
fn rules(ruleset: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in ruleset.lines() {
        let mut line = line.trim().to_owned();
        while let Some(at) = line.find("counter packets ") {
            let rest: Vec<&str> = line[at..].splitn(6, ' ').collect();
            line = format!("{}{}", &line[..at], rest.get(5).copied().unwrap_or_default());
        }
        let line = line.trim_start_matches("elements = {").trim_end_matches('}');
        words.extend(line.split(", ").map(|word| word.trim().trim_end_matches(',').to_owned()));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Without the one directory of each kind that the daemon may keep ready for the next container.
fn without_ready(mut names: Vec<String>) -> Vec<String> {
    let ready = |name: &String| name == ".next" || name.starts_with("ready-");
    if let Some(one) = names.iter().position(ready) {
        names.remove(one);
    }
    names
}
