//! What a container needs, as a profile: the filter that it had, narrowed to the calls that it
//! made, and the capabilities that it used. Pure.

use crate::{EngineError, Result};
use model::draft::{SeccompDraft, SecurityProfile};
use model::view::ContainerView;
use runtime::caps::{Cap, CapSet};
use runtime::seccomp::{self, Arch, ProfileFacts, ProfileOptions};
use runtime::witness::Seen;
use std::collections::BTreeSet;
use wire::oci::runtime::{Seccomp, Syscall, SyscallArg};

/// Calls that every program may come to make without being asked: ends, signals, and what a
/// program of the same image begins with, so that an exec and a health check can be run.
const ALWAYS: [&str; 34] = [
    "access",
    "arch_prctl",
    "brk",
    "close",
    "dup2",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "fcntl",
    "fstat",
    "futex",
    "getrandom",
    "lseek",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "openat",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "set_robust_list",
    "set_tid_address",
    "statx",
    "wait4",
    "write",
];

/// What was learned of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// Names of the capabilities that it used, with `CAP_`.
    pub capabilities: Vec<String>,
    /// Whether the kernel told which were used; else all that it has are kept.
    pub capabilities_seen: bool,
    /// The filter.
    pub seccomp: Seccomp,
    /// How many calls the filter lets through, some of them only with certain arguments.
    pub calls: usize,
    /// Sockets that it made: domain and type, by number.
    pub sockets: Vec<(u64, u64)>,
    /// Files that it opened.
    pub files: Vec<String>,
    /// Events that were lost, so that calls may be missing.
    pub lost: u64,
}

/// The filter that applies to the container of `view`; none when it is unconfined.
pub(super) fn filter_of(view: &ContainerView) -> Result<Option<Seccomp>> {
    let isolation = &view.spec.isolation;
    let caps = CapSet::from_names(&isolation.capabilities).map_err(EngineError::internal)?;
    match &isolation.seccomp {
        SeccompDraft::Unconfined => Ok(None),
        SeccompDraft::Profile(json) => {
            let kernel = crate::host::kernel_version();
            let facts = ProfileFacts { caps, arch: Arch::NATIVE, kernel };
            let profile = seccomp::parse_profile(json.as_bytes(), &facts);
            profile.map(Some).map_err(|error| EngineError::invalid(crate::error::chain(&error)))
        }
        SeccompDraft::Default => Ok(Some(match isolation.profile {
            SecurityProfile::Estiba => {
                let ping_only = isolation.ping_only;
                let options = ProfileOptions { ping_only, ..ProfileOptions::default() };
                seccomp::default_profile(caps, &options)
            }
            SecurityProfile::Docker => seccomp::docker_profile(caps),
        })),
    }
}

/// The profile of a container that was seen.
pub(super) fn of(view: &ContainerView, seen: &Seen) -> Result<Learned> {
    let had = CapSet::from_names(&view.spec.isolation.capabilities);
    let had = had.map_err(EngineError::internal)?;
    let base = match filter_of(view)? {
        Some(base) => base,
        None => seccomp::docker_profile(CapSet::ALL),
    };
    let used: Vec<Cap> =
        seen.capabilities.iter().filter_map(|number| Cap::from_number(*number)).collect();
    let capabilities = match seen.sees_capabilities {
        true => CapSet::of(&used).intersection(had),
        false => had,
    };
    let (seccomp, calls) = narrowed(base, seen);
    Ok(Learned {
        capabilities: capabilities.names().iter().map(|name| prefixed(name)).collect(),
        capabilities_seen: seen.sees_capabilities,
        seccomp,
        calls,
        sockets: seen.sockets.iter().copied().collect(),
        files: seen.files.iter().cloned().collect(),
        lost: seen.lost,
    })
}

fn prefixed(name: &str) -> String {
    match name.starts_with("CAP_") {
        true => name.to_owned(),
        false => format!("CAP_{name}"),
    }
}

/// The rules that allow something, for the calls that were made alone; and how many those are.
fn narrowed(base: Seccomp, seen: &Seen) -> (Seccomp, usize) {
    let wanted: BTreeSet<&str> = seen.calls.iter().copied().chain(ALWAYS).collect();
    let mut allowed: BTreeSet<String> = BTreeSet::new();
    let mut rules = Vec::new();
    for rule in base.syscalls {
        if rule.action != "SCMP_ACT_ALLOW" {
            rules.push(rule);
            continue;
        }
        let asked = |name: &String| wanted.contains(name.as_str());
        let names: Vec<String> = rule.names.iter().filter(|name| asked(name)).cloned().collect();
        if names.is_empty() || foreign_socket(&rule, seen) {
            continue;
        }
        allowed.extend(names.iter().cloned());
        rules.push(Syscall { names, ..rule });
    }
    // What an unconfined container did and no profile has.
    let beyond = seen.calls.iter().filter(|name| !allowed.contains(**name));
    let names: Vec<String> = beyond.map(|name| (*name).to_owned()).collect();
    if !names.is_empty() {
        allowed.extend(names.iter().cloned());
        let action = "SCMP_ACT_ALLOW".to_owned();
        rules.push(Syscall { names, action, ..Syscall::default() });
    }
    let count = allowed.len();
    (Seccomp { syscalls: rules, ..base }, count)
}

/// A rule for sockets of a domain that was not used.
fn foreign_socket(rule: &Syscall, seen: &Seen) -> bool {
    let only = rule.names.iter().all(|name| name == "socket" || name == "socketpair");
    let mut domains = rule.args.iter().filter_map(domain_of);
    let used = |domain: u64| seen.sockets.iter().any(|(seen, _)| *seen == domain);
    // Of pairs the domain is not seen: only sockets are narrowed.
    let pairs = rule.names.iter().any(|name| name == "socketpair");
    only && !pairs && domains.next().is_some_and(|domain| !used(domain))
}

/// The domain that a condition singles out: of the lower half of the first argument.
fn domain_of(arg: &SyscallArg) -> Option<u64> {
    match (arg.index, arg.op.as_str()) {
        (0, "SCMP_CMP_EQ") => Some(arg.value),
        (0, "SCMP_CMP_MASKED_EQ") => Some(arg.value_two),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::seccomp::compile;

    fn seen(calls: &[&'static str], sockets: &[(u64, u64)]) -> Seen {
        let mut seen = Seen::default();
        seen.sees_capabilities = true;
        seen.calls = calls.iter().copied().collect();
        seen.sockets = sockets.iter().copied().collect();
        seen
    }

    fn narrow(seen: &Seen) -> (Seccomp, usize) {
        narrowed(
            seccomp::default_profile(runtime::caps::estiba_default(), &Default::default()),
            seen,
        )
    }

    fn allows(profile: &Seccomp, name: &str) -> bool {
        profile.syscalls.iter().any(|rule| {
            rule.action == "SCMP_ACT_ALLOW" && rule.names.iter().any(|other| other == name)
        })
    }

    #[test]
    fn only_what_was_seen_stays() {
        let (profile, calls) =
            narrow(&seen(&["accept4", "epoll_wait", "clone", "socket"], &[(2, 1)]));
        for name in ["accept4", "epoll_wait", "execve", "clone", "socket"] {
            assert!(allows(&profile, name), "{name}");
        }
        for name in ["mkdir", "kill", "ioctl", "mlock"] {
            assert!(!allows(&profile, name), "{name}");
        }
        assert!(calls < 50, "{calls}");
        compile(&profile, Arch::NATIVE).expect("it compiles");
    }

    #[test]
    fn arguments_stay_looked_at() {
        let (profile, _) = narrow(&seen(&["clone", "socket"], &[(2, 1)]));
        let of = |name: &str| -> Vec<&Syscall> {
            let has = |rule: &&Syscall| rule.names.iter().any(|other| other == name);
            profile.syscalls.iter().filter(has).filter(|r| r.action == "SCMP_ACT_ALLOW").collect()
        };
        assert!(of("clone").iter().all(|rule| !rule.args.is_empty()));
        let domains: Vec<u64> =
            of("socket").iter().filter_map(|rule| domain_of(&rule.args[0])).collect();
        assert_eq!(domains, [2]);
        // What is refused as if it were unknown stays so.
        assert!(profile.syscalls.iter().any(|rule| rule.errno_ret == Some(38)));
    }
}
