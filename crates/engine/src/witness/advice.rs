//! From a denial to the option that would allow it. Pure.

use super::profile::filter_of;
use model::view::ContainerView;
use runtime::caps::{Cap, CapSet};
use runtime::seccomp::{ProfileOptions, default_profile, docker_profile};
use runtime::witness::{Denial, Seen};
use wire::oci::runtime::Seccomp;

const EPERM: i64 = 1;
const EAGAIN: i64 = 11;
const EACCES: i64 = 13;
const EMFILE: i64 = 24;
const EROFS: i64 = 30;

/// What was denied, why, and what would allow it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Advice {
    /// What was denied.
    pub denied: String,
    /// Why.
    pub reason: String,
    /// What to pass to `run`; empty when nothing of ours would change it.
    pub option: String,
}

/// What is known without having watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// How often a process was refused for the limit on their number.
    pub pids_refused: u64,
    /// How the container ended: its status, and whether for want of memory.
    pub exit: Option<(i32, bool)>,
}

fn advice(denied: impl Into<String>, reason: impl Into<String>, option: &str) -> Advice {
    Advice { denied: denied.into(), reason: reason.into(), option: option.to_owned() }
}

/// What the control group and the container's end tell.
pub(super) fn of_facts(facts: &Facts) -> Vec<Advice> {
    const SIGSYS: i32 = 128 + 31;
    let mut all = Vec::new();
    if facts.pids_refused > 0 {
        let reason = format!("the limit on processes was met {} times", facts.pids_refused);
        all.push(advice("a new process or thread", reason, "--pids-limit N"));
    }
    match facts.exit {
        Some((_, true)) => {
            let reason = "the memory limit was met, and the kernel killed a process";
            all.push(advice("memory", reason, "--memory BYTES"));
        }
        Some((SIGSYS, _)) => {
            let reason = "a system call of a foreign architecture, or one that a profile kills for";
            all.push(advice("a system call", reason, "--security-opt seccomp=FILE"));
        }
        Some((126, _)) => {
            let reason = "the command is there and cannot be executed";
            all.push(advice("the command", reason, "--entrypoint PROGRAM, --user USER"));
        }
        Some((127, _)) => {
            let reason = "the command is not in the image";
            all.push(advice("the command", reason, "--entrypoint PROGRAM, --env PATH=…"));
        }
        _ => {}
    }
    all
}

/// What of a watch can be explained.
pub(super) fn of_seen(view: &ContainerView, seen: &Seen) -> Vec<Advice> {
    let isolation = &view.spec.isolation;
    let caps = CapSet::from_names(&isolation.capabilities).unwrap_or(CapSet::of(&[]));
    let had = Had {
        caps,
        filter: filter_of(view).ok().flatten(),
        ping_only: isolation.ping_only,
        readonly_root: view.spec.readonly_rootfs,
    };
    let mut all: Vec<Advice> = seen.denials.keys().map(|denial| had.explain(denial)).collect();
    if seen.lost > 0 {
        let reason = format!("{} events came faster than they could be read", seen.lost);
        all.push(advice("perhaps more than is listed", reason, ""));
    }
    all
}

/// What the container has.
struct Had {
    caps: CapSet,
    filter: Option<Seccomp>,
    /// Raw sockets are for ping alone.
    ping_only: bool,
    readonly_root: bool,
}

impl Had {
    fn explain(&self, denial: &Denial) -> Advice {
        let call = match denial.domain {
            Some(domain) => format!("{} of family {domain}", denial.call),
            None => denial.call.clone(),
        };
        if denial.filtered || self.refuses(&denial.call) {
            return self.of_filter(call, denial);
        }
        if let Some(cap) = denial.capability.and_then(Cap::from_number) {
            return self.of_capability(call, cap);
        }
        match denial.errno {
            EROFS if self.readonly_root => {
                let reason = "the root file system is read-only (--read-only)";
                advice(call, reason, "--tmpfs PATH or --volume NAME:PATH where it writes")
            }
            EROFS => {
                let reason = "a mount or a kernel path is read-only";
                advice(call, reason, "without :ro, or --security-opt systempaths=unconfined")
            }
            EMFILE => advice(call, "the limit on open files was met", "--ulimit nofile=N"),
            EAGAIN => {
                let reason = "the limit on processes was met";
                advice(call, reason, "--pids-limit N, --ulimit nproc=N")
            }
            EACCES => {
                let reason = "the file's owner or permissions do not let this user";
                advice(call, reason, "--user USER, or uid= and gid= of the mount")
            }
            EPERM if call.starts_with("open") => {
                let reason = "the device is not among those of the container";
                advice(call, reason, "--device PATH")
            }
            _ => advice(call, "the kernel did not let it, whatever the container has", ""),
        }
    }

    fn of_capability(&self, call: String, cap: Cap) -> Advice {
        let name = cap.name().trim_start_matches("CAP_");
        if self.caps.contains(cap) {
            let reason = format!("it needs {name} over the host, not over the container alone");
            return advice(call, reason, "--userns=host");
        }
        let option = format!("--cap-add {name}");
        advice(call, format!("the capability {name} is missing"), &option)
    }

    fn of_filter(&self, call: String, denial: &Denial) -> Advice {
        let reason = "the system-call filter refuses it";
        // Of the families of the internet it refuses raw sockets, and packets where it refuses
        // those; of options what lets a socket speak for others.
        let raw = match denial.call.as_str() {
            "socket" => matches!(denial.domain, Some(2 | 10 | 17)),
            call => call == "setsockopt",
        };
        if self.ping_only && raw {
            let reason = "NET_RAW is had for ping alone";
            return advice(call, reason, "--cap-add NET_RAW");
        }
        if denial.domain.is_none()
            && let Some(cap) = self.opens(&denial.call)
        {
            let option = format!("--cap-add {}", cap.name().trim_start_matches("CAP_"));
            return advice(call, reason, &option);
        }
        let docker = docker_profile(runtime::caps::docker_default().union(self.caps));
        // Docker's profile looks at the family of a socket only to keep two away.
        let of_family = denial.call == "socket" && !matches!(denial.domain, Some(38 | 40));
        match of_family || allows(&docker, &denial.call, !denial.filtered) {
            true => advice(call, reason, "--security-opt profile=docker"),
            false => advice(call, reason, "--security-opt seccomp=unconfined"),
        }
    }

    /// Whether the filter refuses the call whatever its arguments.
    fn refuses(&self, call: &str) -> bool {
        self.filter.as_ref().is_some_and(|filter| !allows(filter, call, false))
    }

    /// A capability with which the default filter lets the call through.
    fn opens(&self, call: &str) -> Option<Cap> {
        let with = |cap: Cap| default_profile(self.caps.with(cap), &ProfileOptions::default());
        let missing = (0..=63).filter_map(Cap::from_number).filter(|cap| !self.caps.contains(*cap));
        let mut opening = missing.filter(|cap| allows(&with(*cap), call, true));
        // Of several the strongest is the worst advice.
        let first = opening.next()?;
        Some(if first == Cap::SYS_ADMIN { opening.next().unwrap_or(first) } else { first })
    }
}

/// Whether a profile lets the call through: at all, or `always`, whatever its arguments.
fn allows(profile: &Seccomp, call: &str, always: bool) -> bool {
    profile.default_action == "SCMP_ACT_ALLOW"
        || profile.syscalls.iter().any(|rule| {
            let lets = rule.action == "SCMP_ACT_ALLOW" || rule.action == "SCMP_ACT_NOTIFY";
            lets && (!always || rule.args.is_empty()) && rule.names.iter().any(|name| name == call)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn had() -> Had {
        let caps = runtime::caps::estiba_default();
        let filter = Some(default_profile(caps, &ProfileOptions::default()));
        Had { caps, filter, ping_only: false, readonly_root: false }
    }

    fn denial(call: &str, errno: i64) -> Denial {
        Denial { call: call.into(), errno, capability: None, filtered: false, domain: None }
    }

    fn option(had: &Had, denial: &Denial) -> String {
        had.explain(denial).option
    }

    #[test]
    fn what_the_filter_refuses() {
        let had = had();
        for (call, expect) in [
            ("mount", "--cap-add SYS_ADMIN"),
            ("chroot", ""),
            ("reboot", "--cap-add SYS_BOOT"),
            ("init_module", "--cap-add SYS_MODULE"),
            ("kexec_load", "--security-opt seccomp=unconfined"),
            ("uselib", "--security-opt seccomp=unconfined"),
        ] {
            let said = option(&had, &denial(call, EPERM));
            assert_eq!(said, expect, "{call}");
        }
        let family = Denial { filtered: true, domain: None, ..denial("socket", EPERM) };
        assert_eq!(option(&had, &family), "--security-opt profile=docker");
        let had = Had { ping_only: true, ..had };
        let packets = Denial { domain: Some(17), ..family.clone() };
        assert_eq!(option(&had, &packets), "--cap-add NET_RAW");
        let vsock = Denial { domain: Some(40), ..family };
        assert_ne!(option(&had, &vsock), "--cap-add NET_RAW");
    }

    #[test]
    fn what_a_capability_would_allow() {
        let asked =
            |cap: Cap| Denial { capability: Some(cap.number()), ..denial("openat", EACCES) };
        assert_eq!(option(&had(), &asked(Cap::DAC_READ_SEARCH)), "--cap-add DAC_READ_SEARCH");
        // It has that one, over its own namespace.
        assert_eq!(option(&had(), &asked(Cap::CHOWN)), "--userns=host");
    }

    #[test]
    fn what_other_options_are_about() {
        let had = Had { readonly_root: true, ..had() };
        assert!(option(&had, &denial("openat", EROFS)).contains("--tmpfs"));
        assert_eq!(option(&had, &denial("openat", EMFILE)), "--ulimit nofile=N");
        assert_eq!(option(&had, &denial("openat", EPERM)), "--device PATH");
        assert!(option(&had, &denial("clone", EAGAIN)).contains("--pids-limit"));
        assert!(option(&had, &denial("openat", EACCES)).contains("--user"));
    }

    #[test]
    fn ends_tell_too() {
        let of = |pids_refused, exit| of_facts(&Facts { pids_refused, exit });
        assert!(of(0, None).is_empty() && of(0, Some((1, false))).is_empty());
        assert_eq!(of(3, None)[0].option, "--pids-limit N");
        assert_eq!(of(0, Some((137, true)))[0].option, "--memory BYTES");
        assert!(of(0, Some((159, false)))[0].option.contains("seccomp"));
    }
}
