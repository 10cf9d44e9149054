//! How a container is kept apart: capabilities, filters, masked paths, labels, whose namespaces.

use super::{Ask, CapabilityFacts};
use crate::draft::{SeccompDraft, SecurityProfile, SharedNamespace, UsernsMode};
use crate::error::Denied;
use crate::network::NetworkMode;
use crate::selinux::{self, Labels};
use crate::spec::Isolation;

/// Paths that a container sees empty; Docker's list, in its order.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that a container cannot write; Docker's list.
pub const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn resolve(ask: &Ask<'_>, warnings: &mut Vec<String>) -> Result<Isolation, Denied> {
    let host = &ask.draft.host;
    let security = &host.security;
    let profile = security.profile.unwrap_or(ask.defaults.profile);
    let privileged = host.privileged;
    let unmasked = privileged || security.unmasked;
    let paths = |asked: &Option<Vec<String>>, default: &[&str]| match asked {
        _ if unmasked => Vec::new(),
        Some(paths) => paths.clone(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    };
    let default_nnp =
        ask.defaults.no_new_privileges || (profile == SecurityProfile::Estiba && !privileged);
    let seccomp = match &security.seccomp {
        SeccompDraft::Default if privileged => SeccompDraft::Unconfined,
        SeccompDraft::Default => ask.defaults.seccomp.clone(),
        asked => asked.clone(),
    };
    check_sharing(&host.ipc, &host.pid, &host.uts)?;
    let pings = pings(ask, profile, &seccomp);
    let facts = &ask.facts.capabilities;
    let base = match profile {
        SecurityProfile::Docker => &facts.docker,
        SecurityProfile::Estiba if pings => &facts.estiba_ping,
        SecurityProfile::Estiba => &facts.estiba,
    };
    let capabilities = capabilities(ask, base)?;
    let (labels, selinux) = labels(ask, warnings)?;
    Ok(Isolation {
        privileged,
        ping_only: pings && is_ping_only(&capabilities, ask)?,
        capabilities,
        no_new_privileges: security.no_new_privileges.unwrap_or(default_nnp),
        own_ids: own_ids(ask),
        seccomp,
        profile,
        apparmor: apparmor(ask)?,
        scoped: scoped(ask, profile),
        labels,
        selinux,
        writable_cgroups: privileged || security.writable_cgroups,
        masked_paths: paths(&host.masked_paths, &MASKED_PATHS),
        readonly_paths: paths(&host.readonly_paths, &READONLY_PATHS),
        ipc: host.ipc.clone(),
        pid: host.pid.clone(),
        uts: host.uts.clone(),
        cgroupns: host.cgroupns.clone().unwrap_or(if privileged {
            SharedNamespace::Host
        } else {
            SharedNamespace::Private
        }),
        oom_score_adj: oom_score_adj(host.oom_score_adj)?,
    })
}

/// A user namespace of its own, unless something that was asked for only works with the host's.
fn own_ids(ask: &Ask<'_>) -> bool {
    let host = &ask.draft.host;
    let shares_host = host.network == NetworkMode::Host
        || host.pid == SharedNamespace::Host
        || host.ipc == SharedNamespace::Host;
    // Other runtimes know nothing of layers and volumes whose ids are mapped by the kernel.
    let foreign = super::runtime(&host.runtime, ask.defaults).is_ok_and(|name| !name.is_empty());
    // Control groups belong to the host's root.
    let groups = host.security.writable_cgroups;
    let alone = !host.privileged && !shares_host && !foreign && !groups;
    ask.defaults.userns && host.userns == UsernsMode::Auto && alone
}

/// Who shares processes or memory with others means to reach them, and the network of another
/// container is its abstract sockets too (`bundle` leaves these out). Those of the host are not
/// meant by the host's network: whoever listens there trusts everybody who can connect.
fn scoped(ask: &Ask<'_>, profile: SecurityProfile) -> bool {
    let host = &ask.draft.host;
    let foreign = super::runtime(&host.runtime, ask.defaults).is_ok_and(|name| !name.is_empty());
    let shares =
        host.pid != SharedNamespace::Private || matches!(host.ipc, SharedNamespace::Container(_));
    let asked = host.privileged || host.security.unscoped || profile == SecurityProfile::Docker;
    !(asked || shares || foreign)
}

fn check_sharing(
    ipc: &SharedNamespace,
    pid: &SharedNamespace,
    uts: &SharedNamespace,
) -> Result<(), Denied> {
    use SharedNamespace as N;
    match (ipc, pid, uts) {
        (N::Container(other), _, _) | (_, N::Container(other), _) if other.is_empty() => {
            Err(Denied::invalid("namespace mode container: requires a container name or id"))
        }
        (_, N::Shareable | N::Absent, _) => Err(Denied::invalid("invalid PID mode")),
        (_, _, N::Shareable | N::Absent | N::Container(_)) => {
            Err(Denied::invalid("invalid UTS mode"))
        }
        _ => Ok(()),
    }
}

fn oom_score_adj(adj: i32) -> Result<i32, Denied> {
    if (-1000..=1000).contains(&adj) {
        return Ok(adj);
    }
    Err(Denied::invalid(format!("Invalid value {adj}, range for oom score adj is [-1000, 1000]")))
}

fn apparmor(ask: &Ask<'_>) -> Result<String, Denied> {
    let asked = ask.draft.host.security.apparmor.as_str();
    match asked {
        "unconfined" => Ok(String::new()),
        "" if ask.draft.host.privileged => Ok(String::new()),
        "" => Ok(ask.facts.apparmor_default.clone()),
        _ if !ask.facts.apparmor => {
            Err(Denied::invalid(format!("AppArmor profile {asked:?}: AppArmor is not enabled")))
        }
        _ => Ok(asked.to_owned()),
    }
}

/// The options of its SELinux labels and what they come to. Where labels are not in use, options
/// change nothing, as with Docker, whose users write them for hosts of every kind.
fn labels(ask: &Ask<'_>, warnings: &mut Vec<String>) -> Result<(Vec<String>, Labels), Denied> {
    let host = &ask.draft.host;
    let asked = &host.security.labels;
    let shares = [&host.pid, &host.ipc].contains(&&SharedNamespace::Host);
    let options = match asked.is_empty() {
        true => selinux::implied(host.privileged || shares, ask.selinux)?,
        false => asked.clone(),
    };
    if let Some(ground) = ask.selinux {
        let mut labels = Labels::of(ground, &options)?;
        if host.privileged {
            labels.process.clear();
        }
        return Ok((options, labels));
    }
    let why = match ask.facts.selinux {
        Some(_) => "the daemon's selinux-enabled is not on",
        None => "this host has no SELinux with labels for containers",
    };
    let idle = asked.iter().filter(|option| !selinux::is_moot(option));
    warnings.extend(idle.map(|option| format!("--security-opt label={option}: {why}")));
    Ok((options, Labels::default()))
}

/// Whether it can ping by our own filter, which keeps raw sockets to that, and without a capability
/// for low ports: in a network of its own, those begin at 0 unless somebody says otherwise.
fn pings(ask: &Ask<'_>, profile: SecurityProfile, seccomp: &SeccompDraft) -> bool {
    const FIRST_PORT: &str = "net.ipv4.ip_unprivileged_port_start";
    let host = &ask.draft.host;
    let shared =
        matches!(super::network::mode(ask.draft), NetworkMode::Host | NetworkMode::Container(_));
    let foreign = super::runtime(&host.runtime, ask.defaults).is_ok_and(|name| !name.is_empty());
    let ports = |(name, first): (&String, &String)| {
        name.replace('/', ".") != FIRST_PORT || first.trim() == "0"
    };
    let ours = profile == SecurityProfile::Estiba && *seccomp == SeccompDraft::Default;
    ours && !shared && !foreign && host.sysctls.iter().all(ports)
}

/// Whether nobody asked for the capability itself.
fn is_ping_only(capabilities: &[String], ask: &Ask<'_>) -> Result<bool, Denied> {
    let add = named(&ask.draft.host.cap_add, &ask.facts.capabilities, "CapAdd")?;
    let asked = add.all || add.names.iter().any(|name| name == NET_RAW);
    Ok(!asked && capabilities.iter().any(|name| name == NET_RAW))
}

const NET_RAW: &str = "NET_RAW";

/// `ALL` added is everything but what is dropped; otherwise `ALL` dropped is exactly what is
/// added; otherwise those of `base`, less the dropped, plus the added.
fn capabilities(ask: &Ask<'_>, base: &[String]) -> Result<Vec<String>, Denied> {
    let host = &ask.draft.host;
    let facts = &ask.facts.capabilities;
    if host.privileged {
        return Ok(facts.available.clone());
    }
    let add = named(&host.cap_add, facts, "CapAdd")?;
    let drop = named(&host.cap_drop, facts, "CapDrop")?;
    let missing = add.names.iter().find(|name| !facts.available.contains(name));
    if let Some(name) = missing {
        return Err(Denied::invalid(format!(
            "invalid CapAdd: capability not supported by your kernel or not available in the \
             current environment: \"CAP_{name}\""
        )));
    }
    let keep = |name: &String| match (add.all, drop.all) {
        (true, _) => !drop.names.contains(name),
        (false, true) => add.names.contains(name),
        (false, false) => {
            add.names.contains(name) || base.contains(name) && !drop.names.contains(name)
        }
    };
    Ok(facts.available.iter().filter(|name| keep(name)).cloned().collect())
}

struct Named {
    all: bool,
    names: Vec<String>,
}

fn named(asked: &[String], facts: &CapabilityFacts, what: &str) -> Result<Named, Denied> {
    let mut out = Named { all: false, names: Vec::new() };
    for text in asked {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            out.all = true;
        } else if facts.known.iter().any(|known| known == name) {
            out.names.push(name.to_owned());
        } else {
            return Err(Denied::invalid(format!("invalid {what}: unknown capability: {text:?}")));
        }
    }
    Ok(out)
}
