//! Paths that are masked or read-only, and kernel parameters. Pure.

use super::Facts;
use super::mounts::Making;
use super::namespaces::Namespaces;
use super::step::InitStep;
use super::text::{c_string, clean};
use crate::error::LaunchError;
use model::resolve::{MASKED_PATHS, READONLY_PATHS};
use sys::clone::ns;
use wire::oci::runtime::Linux;

/// Masked wherever a specification masks anything (law C2): the usual list, and what it forgets.
pub const ALSO_MASKED: [&str; MASKED_PATHS.len() + 1] = {
    let mut all = ["/sys/kernel/debug"; MASKED_PATHS.len() + 1];
    let mut at = 0;
    while at < MASKED_PATHS.len() {
        all[at] = MASKED_PATHS[at];
        at += 1;
    }
    all
};

/// Read-only wherever a specification makes anything read-only.
pub const ALSO_READONLY: [&str; READONLY_PATHS.len()] = READONLY_PATHS;

/// Masks and read-only paths. A specification without any asked for none.
pub(super) fn protect(
    linux: &Linux,
    facts: &Facts,
    steps: &mut Vec<InitStep>,
) -> Result<(), LaunchError> {
    if !linux.readonly_paths.is_empty() {
        for path in union(&linux.readonly_paths, &ALSO_READONLY, &[]) {
            steps.push(InitStep::ReadOnly(c_string(path)?));
        }
    }
    if !linux.masked_paths.is_empty() {
        for path in union(&linux.masked_paths, &ALSO_MASKED, &facts.sensitive) {
            steps.push(InitStep::Mask(c_string(path)?));
        }
    }
    Ok(())
}

fn union(given: &[String], also: &[&str], more: &[String]) -> Vec<String> {
    let mut all: Vec<String> = given.iter().map(|path| clean(path)).collect();
    all.extend(also.iter().map(|&path| path.to_owned()));
    all.extend(more.iter().cloned());
    all.sort();
    all.dedup();
    all
}

/// Parameters of the IPC namespace outside `fs.mqueue.`, namespaces(7).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Kernel parameters. Those of the network are returned: they are written after the start, when
/// the interfaces exist. Only parameters of namespaces that are the container's own are taken
/// (law C5).
pub(super) fn sysctls(
    linux: &Linux,
    namespaces: &Namespaces,
    made: &mut Making<'_>,
    steps: &mut Vec<InitStep>,
) -> Result<Vec<InitStep>, LaunchError> {
    let mut later = Vec::new();
    if linux.sysctl.is_empty() {
        return Ok(later);
    }
    let into = made.slot()?;
    let from = made
        .proc()
        .ok_or_else(|| LaunchError::invalid("sysctl needs the container's own proc at /proc"))?;
    steps.push(InitStep::Keep { from, path: c"sys".into(), into });
    for (name, value) in &linux.sysctl {
        let (path, kind) = parameter(name)?;
        let own = namespaces.makes(kind) || (kind != ns::USER && namespaces.joins(kind));
        if !own {
            return Err(LaunchError::invalid(format!(
                "sysctl {name:?} is not in a namespace of the container's own"
            )));
        }
        if value.bytes().any(|b| b == 0 || b == b'\n') {
            return Err(LaunchError::invalid(format!("sysctl {name:?} has a bad value {value:?}")));
        }
        let path = c_string(path)?;
        let write = InitStep::WriteProc { dir: into, path, value: value.clone().into_bytes() };
        if kind == ns::NET { later.push(write) } else { steps.push(write) }
    }
    Ok(later)
}

/// The file of a parameter below `/proc/sys`, and the kind of namespace it belongs to.
fn parameter(name: &str) -> Result<(String, u64), LaunchError> {
    let unknown = || LaunchError::invalid(format!("sysctl {name:?} is not namespaced"));
    let dotted = dots(name).ok_or_else(unknown)?;
    let kind = match dotted.as_str() {
        d if d.starts_with("net.") => ns::NET,
        d if d.starts_with("fs.mqueue.") || IPC.contains(&d) => ns::IPC,
        "kernel.domainname" => ns::UTS,
        // The host name has a field of its own.
        d if d.starts_with("user.max_") => ns::USER,
        _ => return Err(unknown()),
    };
    Ok((dotted.replace('.', "/").replace('\u{1}', "."), kind))
}

/// The dotted form of a name. As sysctl(8): the first separator says which one it is, and the
/// other one stands for itself (a `.` inside a component is kept as U+0001).
fn dots(name: &str) -> Option<String> {
    let slashes = name.find('/').is_some_and(|at| name.find('.').is_none_or(|dot| at < dot));
    let dotted: String = match slashes {
        false => name.chars().map(|c| if c == '/' { '\u{1}' } else { c }).collect(),
        true => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '\u{1}',
                c => c,
            })
            .collect(),
    };
    let good = |part: &str| {
        !part.is_empty()
            && part.chars().any(|c| c != '\u{1}')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-:@\u{1}".contains(c))
    };
    dotted.split('.').all(good).then_some(dotted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_namespaces_are_found() {
        for (name, path, kind) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward", ns::NET),
            ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter", ns::NET),
            ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter", ns::NET),
            ("kernel.shmmax", "kernel/shmmax", ns::IPC),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max", ns::IPC),
            ("user.max_user_namespaces", "user/max_user_namespaces", ns::USER),
        ] {
            assert_eq!(parameter(name).expect(name), (path.to_owned(), kind));
        }
    }

    #[test]
    fn parameters_of_the_host_and_paths_in_disguise_are_refused() {
        for name in [
            "kernel.core_pattern",
            "vm.swappiness",
            "net.",
            "net/../kernel/core_pattern",
            "net.ipv4.//.kernel.x",
            "net.\n",
            "",
            "kernel.hostname",
            "net",
        ] {
            assert!(parameter(name).is_err(), "{name:?}");
        }
    }
}
