//! Doing what [`crate::plan::Resctrl`] says in the mounted resctrl file system. Decides nothing
//! but whether what is there is what was asked for.

use crate::error::LaunchError;
use crate::plan::{Making, Resctrl};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Brings process `pid` into the group.
///
/// # Errors
/// [`LaunchError`] where there is no resctrl, and when the group is not as it was asked for;
/// what was made is removed again.
pub(crate) fn enter(wanted: &Resctrl, pid: i32) -> Result<(), LaunchError> {
    let root = mounted().ok_or_else(|| {
        LaunchError::invalid("intelRdt was asked for and resctrl is not mounted on this host")
    })?;
    let entered = enter_at(&root, wanted, pid);
    if entered.is_err() {
        leave_at(&root, wanted);
    }
    entered
}

/// Removes what [`enter`] made for the container alone.
pub(crate) fn leave(wanted: &Resctrl) {
    if let Some(root) = mounted() {
        leave_at(&root, wanted);
    }
}

/// Where resctrl is mounted, proc_pid_mountinfo(5).
fn mounted() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let is = back.split(' ').next() == Some("resctrl");
        is.then(|| front.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

fn enter_at(root: &Path, wanted: &Resctrl, pid: i32) -> Result<(), LaunchError> {
    let group = root.join(&wanted.group);
    let fresh = match wanted.making {
        Making::Existing if group.is_dir() => false,
        Making::Existing => {
            let name = &wanted.group;
            return Err(LaunchError::invalid(format!("class of service {name:?} does not exist")));
        }
        making => match fs::create_dir(&group) {
            Ok(()) => true,
            Err(error) if making == Making::Shared && error.kind() == ErrorKind::AlreadyExists => {
                false
            }
            Err(error) => {
                return Err(LaunchError::io(format!("make {}", group.display()), &error));
            }
        },
    };
    let file = group.join("schemata");
    if fresh || wanted.group.is_empty() {
        let lines: String = wanted.schemata.iter().map(|line| format!("{line}\n")).collect();
        if !lines.is_empty() {
            write(&file, &lines)?;
        }
    } else if !wanted.schemata.is_empty() {
        compare(&file, &wanted.schemata)?;
    }
    if let Some(name) = &wanted.monitor {
        let monitor = group.join("mon_groups").join(name);
        fs::create_dir(&monitor)
            .map_err(|error| LaunchError::io(format!("make {}", monitor.display()), &error))?;
    }
    write(&group.join("tasks"), &pid.to_string())?;
    match &wanted.monitor {
        Some(name) => write(&group.join("mon_groups").join(name).join("tasks"), &pid.to_string()),
        None => Ok(()),
    }
}

fn leave_at(root: &Path, wanted: &Resctrl) {
    let group = root.join(&wanted.group);
    if let Some(name) = &wanted.monitor {
        // Gone already, or it never came to be.
        let _ = fs::remove_dir(group.join("mon_groups").join(name));
    }
    if wanted.making == Making::Own {
        let _ = fs::remove_dir(group);
    }
}

/// A class of service that others use must mean what is meant here.
fn compare(file: &Path, wanted: &[String]) -> Result<(), LaunchError> {
    let act = || format!("read {}", file.display());
    let there = fs::read_to_string(file).map_err(|error| LaunchError::io(act(), &error))?;
    let there: Vec<String> = there.lines().map(normal).collect();
    match wanted.iter().find(|line| !there.contains(&normal(line))) {
        Some(line) => Err(LaunchError::invalid(format!(
            "{} has another schema than {line:?}",
            file.display()
        ))),
        None => Ok(()),
    }
}

/// A line of schemata without what the kernel adds: blanks, and zeros before numbers.
fn normal(line: &str) -> String {
    let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    let Some((kind, domains)) = line.split_once(':') else { return line };
    let domain = |pair: &str| match pair.split_once('=') {
        Some((id, mask)) => {
            let bare = |text: &str| match text.trim_start_matches('0') {
                "" => "0".to_owned(),
                rest => rest.to_ascii_lowercase(),
            };
            format!("{}={}", bare(id), bare(mask))
        }
        None => pair.to_owned(),
    };
    let domains: Vec<String> = domains.split(';').map(domain).collect();
    format!("{kind}:{}", domains.join(";"))
}

fn write(file: &Path, value: &str) -> Result<(), LaunchError> {
    // One write for each line would be taken as well; the kernel tells which line is wrong.
    let opened = fs::OpenOptions::new().write(true).open(file);
    opened
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|error| LaunchError::io(format!("write {value:?} to {}", file.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like resctrl: groups have their files from the beginning.
    fn tree(groups: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("directory");
        for group in groups.iter().chain(&[""]) {
            let path = dir.path().join(group);
            fs::create_dir_all(path.join("mon_groups")).expect("group");
            fs::write(path.join("tasks"), "").expect("tasks");
            fs::write(path.join("schemata"), "    L3:0=0ffff;1=000ff\n    MB:0=100;1=50\n")
                .expect("schemata");
        }
        dir
    }

    fn wanted(group: &str, making: Making, schemata: &[&str]) -> Resctrl {
        let schemata = schemata.iter().map(|line| (*line).to_owned()).collect();
        Resctrl { group: group.into(), making, schemata, monitor: None }
    }

    #[test]
    fn a_group_of_others_must_be_there_and_mean_the_same() {
        let dir = tree(&["gold"]);
        let at = |group: &Resctrl| enter_at(dir.path(), group, 7);
        at(&wanted("gold", Making::Existing, &[])).expect("the class is there");
        at(&wanted("gold", Making::Shared, &["L3:0=ffff;1=ff", "MB:0=100;1=50"])).expect("equal");
        let other = at(&wanted("gold", Making::Shared, &["L3:0=f;1=ff"])).expect_err("other");
        assert!(other.to_string().contains("another schema"), "{other}");
        let gone = at(&wanted("silver", Making::Existing, &[])).expect_err("gone");
        assert!(gone.to_string().contains("does not exist"), "{gone}");
        assert_eq!(fs::read_to_string(dir.path().join("gold/tasks")).expect("tasks"), "7");
        leave_at(dir.path(), &wanted("gold", Making::Shared, &[]));
        assert!(dir.path().join("gold").is_dir(), "what others made stays");
    }

    #[test]
    fn an_own_group_is_new_and_goes_with_the_container() {
        let dir = tree(&[]);
        let own = wanted("abc", Making::Own, &[]);
        // The kernel fills a new group with files; a plain directory stays empty.
        assert!(enter_at(dir.path(), &own, 7).expect_err("no tasks").to_string().contains("tasks"));
        assert!(dir.path().join("abc").is_dir());
        assert!(enter_at(dir.path(), &own, 7).is_err(), "it must not exist before");
        leave_at(dir.path(), &own);
        assert!(!dir.path().join("abc").exists());
    }

    #[test]
    fn the_default_class_is_the_root() {
        let dir = tree(&[]);
        let root = wanted("", Making::Existing, &["MB:0=70"]);
        enter_at(dir.path(), &root, 9).expect("root");
        assert!(fs::read_to_string(dir.path().join("schemata")).expect("read").contains("MB:0=70"));
        assert_eq!(fs::read_to_string(dir.path().join("tasks")).expect("tasks"), "9");
    }

    #[test]
    fn monitoring_has_a_group_of_its_own() {
        let dir = tree(&["gold"]);
        let group =
            Resctrl { monitor: Some("abc".into()), ..wanted("gold", Making::Existing, &[]) };
        // As above: a plain directory has no tasks.
        assert!(enter_at(dir.path(), &group, 7).is_err());
        assert!(dir.path().join("gold/mon_groups/abc").is_dir());
        leave_at(dir.path(), &group);
        assert!(!dir.path().join("gold/mon_groups/abc").exists());
    }
}
