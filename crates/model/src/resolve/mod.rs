//! From what was asked to what runs: [`resolve`] is the one place where a [`Draft`], the image's
//! configuration, the daemon's defaults and the host's facts meet. Everything a draft can get
//! wrong by itself is refused here, in the words that users of Docker search for.
//!
//! Pure: it looks at no filesystem, so whether a bind's source exists, or a network, or another
//! container, is the engine's to find out.

mod isolation;
mod limits;
mod log;
mod mounts;
mod network;
mod process;

#[cfg(test)]
mod tests;

pub use isolation::{MASKED_PATHS, READONLY_PATHS};
pub use limits::{MIN_MEMORY_BYTES, check_resources, root_limit_bytes};

use crate::Draft;
use crate::digest::Digest;
use crate::draft::{OnUnhealthy, SeccompDraft, SecurityProfile};
use crate::error::Denied;
use crate::id::ContainerId;
use crate::image::ImageConfig;
use crate::mount::Mount;
use crate::resources::Ulimit;
use crate::restart::RestartPolicy;
use crate::selinux;
use crate::spec::{ContainerSpec, DnsSpec, HealthSpec};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the host can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// CPUs online.
    pub cpus: u32,
    /// CPUs that may be asked for, list format of cpuset(7); empty when not known.
    pub cpuset_cpus: String,
    /// Memory nodes that may be asked for, list format of cpuset(7); empty when not known.
    pub cpuset_mems: String,
    /// Swap can be limited.
    pub swap_limit: bool,
    /// The OOM killer can be turned off for a container (cgroup v1).
    pub oom_kill_disable: bool,
    /// The number of tasks cannot be limited: there is no such controller, or none of ours.
    pub no_pids_limit: bool,
    /// AppArmor is on.
    pub apparmor: bool,
    /// AppArmor profile of containers that ask for none; empty where there is none.
    pub apparmor_default: String,
    /// What SELinux's policy has for containers; absent where there is no SELinux, or no such
    /// policy.
    pub selinux: Option<selinux::Contexts>,
    /// Capabilities.
    pub capabilities: CapabilityFacts,
}

/// Capability names without `CAP_`, in the kernel's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapabilityFacts {
    /// Every name there is.
    pub known: Vec<String>,
    /// Those that the daemon can give.
    pub available: Vec<String>,
    /// The defaults of profile `estiba`.
    pub estiba: Vec<String>,
    /// The same for a container with a network of its own, where low ports need no capability: it
    /// has the one for ping instead.
    pub estiba_ping: Vec<String>,
    /// The defaults of profile `docker`.
    pub docker: Vec<String>,
}

/// What the daemon's configuration says of containers that do not say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Security profile.
    pub profile: SecurityProfile,
    /// no_new_privs whatever the profile says.
    pub no_new_privileges: bool,
    /// System-call filter.
    pub seccomp: SeccompDraft,
    /// User namespaces on.
    pub userns: bool,
    /// Log driver.
    pub log_driver: String,
    /// Its options.
    pub log_options: BTreeMap<String, String>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Largest number of tasks; 0 for none.
    pub pids_limit: i64,
    /// /dev/shm, bytes.
    pub shm_size_bytes: i64,
    /// Seconds between stop signal and SIGKILL.
    pub stop_timeout: i64,
    /// Name servers, search domains and options.
    pub dns: (Vec<IpAddr>, Vec<String>, Vec<String>),
    /// Small init as pid 1.
    pub init: bool,
    /// OCI runtime; empty for our own.
    pub runtime: String,
    /// OCI runtimes there are, beside our own.
    pub runtimes: Vec<String>,
    /// Parent of containers' cgroups.
    pub cgroup_parent: String,
    /// Parents of cgroups are slices of systemd's.
    pub slices: bool,
}

/// Everything a container is resolved from.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The id it will have.
    pub id: &'a ContainerId,
    /// The name it will have.
    pub name: &'a str,
    /// What was asked.
    pub draft: &'a Draft,
    /// The image's id.
    pub image: Digest,
    /// What the image says.
    pub config: &'a ImageConfig,
    /// The daemon's defaults.
    pub defaults: &'a Defaults,
    /// The host.
    pub facts: &'a HostFacts,
    /// Mounts of other containers, by `--volumes-from`.
    pub inherited: &'a [Mount],
    /// What its SELinux labels are made from; absent where labels are not in use.
    pub selinux: Option<&'a selinux::Ground>,
}

/// A container decided, and what the user should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The decision. Anonymous volumes have no name yet.
    pub spec: ContainerSpec,
    /// Sentences shown to the user.
    pub warnings: Vec<String>,
}

/// Decides everything about a container, or says why it cannot be.
pub fn resolve(ask: &Ask<'_>) -> Result<Resolved, Denied> {
    let Ask { draft, config, defaults, .. } = *ask;
    let host = &draft.host;
    let mut warnings = Vec::new();
    if host.auto_remove && host.restart != RestartPolicy::No {
        return Err(Denied::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    let hostname = network::hostname(ask)?;
    let process = process::resolve(ask, &hostname)?;
    network::check_conflicts(draft)?;
    let isolation = isolation::resolve(ask, &mut warnings)?;
    let resources = limits::resolve(ask, &mut warnings)?;
    let sysctls = network::sysctls(draft, &isolation)?;
    let spec = ContainerSpec {
        image: ask.image,
        entrypoint_len: process.entrypoint_len,
        command: process.command,
        env: process.env,
        workdir: process.workdir,
        user: if draft.user.is_empty() { config.user.clone() } else { draft.user.clone() },
        group_add: host.group_add.clone(),
        hostname,
        domainname: draft.domainname.clone(),
        labels: merged(&labels_of_image(config), &draft.labels),
        tty: draft.tty,
        open_stdin: draft.open_stdin,
        stdin_once: draft.stdin_once,
        stop_signal: process::stop_signal(draft, config)?,
        stop_timeout: draft.stop_timeout.or(config.stop_timeout).unwrap_or(defaults.stop_timeout),
        volumes: declared_volumes(draft, config),
        mounts: mounts::resolve(ask)?,
        resources,
        restart: host.restart,
        auto_remove: host.auto_remove,
        network: network::mode(draft),
        endpoints: draft.endpoints.clone(),
        exposed_ports: network::exposed(draft, config),
        ports: network::ports(draft, config),
        dns: dns(draft, defaults)?,
        isolation,
        readonly_rootfs: host.readonly_rootfs,
        shm_size_bytes: limits::shm_size(host.shm_size_bytes, defaults)?,
        sysctls,
        init: host.init.unwrap_or(defaults.init),
        runtime: runtime(&host.runtime, defaults)?,
        log: log::resolve(ask)?,
        health: health(draft, config)?,
        cgroup_parent: cgroup_parent(&host.cgroup_parent, defaults)?,
        console_size: host.console_size,
    };
    Ok(Resolved { spec, warnings })
}

fn declared_volumes(draft: &Draft, config: &ImageConfig) -> Vec<String> {
    let mut all: Vec<String> = config.volumes.iter().chain(&draft.volumes).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// An image cannot say whose the containers made of it are.
fn labels_of_image(config: &ImageConfig) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    labels.remove(crate::policy::OWNER_LABEL);
    labels
}

fn merged(
    under: &BTreeMap<String, String>,
    over: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut out = under.clone();
    out.extend(over.clone());
    out
}

fn runtime(asked: &str, defaults: &Defaults) -> Result<String, Denied> {
    let name = if asked.is_empty() { &defaults.runtime } else { asked };
    if name.is_empty() || name == "estiba" || defaults.runtimes.iter().any(|known| known == name) {
        return Ok(if name == "estiba" { String::new() } else { name.to_owned() });
    }
    // Clients of Docker name its only builtin runtime; ours stands in for it.
    if name == "runc" || name == "io.containerd.runc.v2" {
        return Ok(String::new());
    }
    Err(Denied::invalid(format!("unknown or invalid runtime name: {name}")))
}

fn cgroup_parent(asked: &str, defaults: &Defaults) -> Result<String, Denied> {
    let parent = if asked.is_empty() { defaults.cgroup_parent.as_str() } else { asked };
    let bad = parent.split('/').any(|part| part == "..") || parent.contains(['\n', '\0']);
    if bad || parent.len() > 1024 {
        return Err(Denied::invalid(format!("invalid cgroup parent {parent:?}")));
    }
    if defaults.slices {
        let slice = parent.ends_with(".slice") && !parent.contains('/');
        let denied =
            "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
        return if slice { Ok(parent.to_owned()) } else { Err(Denied::invalid(denied)) };
    }
    Ok(format!("/{}", parent.trim_matches('/')))
}

fn dns(draft: &Draft, defaults: &Defaults) -> Result<DnsSpec, Denied> {
    let host = &draft.host;
    let parse = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| Denied::invalid(format!("{text} is not an ip address")))
    };
    let or = |asked: &Vec<String>, default: &Vec<String>| {
        if asked.is_empty() { default.clone() } else { asked.clone() }
    };
    let mut servers = host.dns.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    if servers.is_empty() {
        servers.clone_from(&defaults.dns.0);
    }
    let spec = DnsSpec {
        servers,
        search: or(&host.dns_search, &defaults.dns.1),
        options: or(&host.dns_options, &defaults.dns.2),
        extra_hosts: host.extra_hosts.iter().map(|h| extra_host(h)).collect::<Result<_, _>>()?,
    };
    let words = spec.search.iter().chain(&spec.options);
    match words.into_iter().find(|word| word.contains(char::is_whitespace)) {
        Some(word) => Err(Denied::invalid(format!("invalid DNS setting {word:?}"))),
        None => Ok(spec),
    }
}

/// `name:address` (the address may contain colons) or `name=address`.
fn extra_host(text: &str) -> Result<(String, String), Denied> {
    let invalid = || Denied::invalid(format!("bad format for add-host: {text:?}"));
    let cut = text.find(['=', ':']).ok_or_else(invalid)?;
    let (name, address) = (&text[..cut], text[cut + 1..].trim_matches(['[', ']']));
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(invalid());
    }
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        return Err(Denied::invalid(format!("invalid IP address in add-host: {address:?}")));
    }
    Ok((name.to_owned(), address.to_owned()))
}

/// Labels that ask for a restart when unhealthy: ours, and the one of a widely used helper. Those
/// of an image do not count.
const HEAL_LABELS: [&str; 2] = ["estiba.autoheal", "autoheal"];

fn labelled_action(draft: &Draft) -> OnUnhealthy {
    let asked = |name: &&str| draft.labels.get(*name).is_some_and(|value| value == "true");
    if HEAL_LABELS.iter().any(asked) { OnUnhealthy::Restart } else { OnUnhealthy::None }
}

const SECOND_NS: i64 = 1_000_000_000;

fn health(draft: &Draft, config: &ImageConfig) -> Result<Option<HealthSpec>, Denied> {
    let asked = draft.health.clone().unwrap_or_default();
    let image = config.health.clone().unwrap_or_default();
    let test = if asked.test.is_empty() { &image.test } else { &asked.test };
    let command = match test.split_first() {
        None => return Ok(None),
        Some((kind, _)) if kind == "NONE" => return Ok(None),
        Some((kind, rest)) if kind == "CMD" && !rest.is_empty() => rest.to_vec(),
        Some((kind, [line])) if kind == "CMD-SHELL" => {
            let shell = draft.shell.as_ref().or(config.shell.as_ref());
            let mut words = shell.cloned().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
            words.push(line.clone());
            words
        }
        Some((kind, _)) => {
            return Err(Denied::invalid(format!("unknown healthcheck test {kind:?}")));
        }
    };
    let pick = |what: &str, asked: i64, image: i64, default: i64| {
        let ns = [asked, image].into_iter().find(|ns| *ns != 0).unwrap_or(default);
        match u64::try_from(ns) {
            Ok(ns) if ns >= 1_000_000 || (ns == 0 && default == 0) => Ok(ns),
            _ => Err(Denied::invalid(format!("{what} in Healthcheck cannot be less than 1ms"))),
        }
    };
    let retries = [asked.retries, image.retries].into_iter().find(|n| *n != 0).unwrap_or(3);
    Ok(Some(HealthSpec {
        command,
        interval_ns: pick("Interval", asked.interval_ns, image.interval_ns, 30 * SECOND_NS)?,
        timeout_ns: pick("Timeout", asked.timeout_ns, image.timeout_ns, 30 * SECOND_NS)?,
        start_period_ns: pick("StartPeriod", asked.start_period_ns, image.start_period_ns, 0)?,
        start_interval_ns: pick(
            "StartInterval",
            asked.start_interval_ns,
            image.start_interval_ns,
            5 * SECOND_NS,
        )?,
        retries,
        on_failure: asked.on_failure.unwrap_or_else(|| labelled_action(draft)),
    }))
}
