//! What containers may be: each way of reaching the host out of one is closed until the rule opens
//! it. Judged is what was decided, with the image's configuration and the daemon's defaults in it.

use super::{Client, Refusal, Rule};
use crate::draft::{Draft, SeccompDraft, SecurityProfile, SharedNamespace, UsernsMode};
use crate::exec::ExecDraft;
use crate::log::LogSpec;
use crate::mount::{Mount, MountSource, Propagation};
use crate::network::NetworkMode;
use crate::resolve::{MASKED_PATHS, READONLY_PATHS};
use crate::resources::Resources;
use crate::spec::ContainerSpec;
use std::collections::{BTreeMap, BTreeSet};

/// What a rule lets containers be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// All capabilities and devices, nothing masked. It opens everything below as well.
    pub privileged: bool,
    /// Directories of the host that may be mounted, with everything in them.
    pub host_mounts: Vec<HostMount>,
    /// Namespaces of the host that may be shared.
    pub host_namespaces: BTreeSet<HostNamespace>,
    /// Capabilities beyond the daemon's default, without `CAP_`.
    pub capabilities: BTreeSet<String>,
    /// Patterns of device paths and of names of device requests (`vendor.com/class=name`).
    pub devices: Vec<String>,
    /// `--security-opt` and the like may be weaker than the daemon's defaults.
    pub weaker_security: bool,
    /// OCI runtimes beside the daemon's default.
    pub runtimes: BTreeSet<String>,
    /// Log drivers that send output elsewhere.
    pub log_drivers: BTreeSet<String>,
    /// Volume drivers beside `local`.
    pub volume_drivers: BTreeSet<String>,
    /// Network drivers beside `bridge`.
    pub network_drivers: BTreeSet<String>,
}

/// A directory of the host that may be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMount {
    /// Absolute path without `.` and `..`; `{user}` stands for the client's name.
    pub path: String,
    /// Not only for reading.
    pub writable: bool,
}

/// Namespaces that a container can share with the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostNamespace {
    /// `--network host`.
    Network,
    /// `--pid host`.
    Pid,
    /// `--ipc host`.
    Ipc,
    /// `--uts host`.
    Uts,
    /// `--userns host`.
    User,
    /// `--cgroupns host`.
    Cgroup,
}

impl HostNamespace {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Network, Self::Pid, Self::Ipc, Self::Uts, Self::User, Self::Cgroup];

    /// Its name in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
        }
    }
}

/// What the daemon gives to whoever asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Capabilities, without `CAP_`.
    pub capabilities: Vec<String>,
    /// Security profile.
    pub profile: SecurityProfile,
    /// no_new_privs.
    pub no_new_privileges: bool,
    /// User namespaces of their own.
    pub userns: bool,
    /// OCI runtime; empty for our own.
    pub runtime: String,
    /// Parent of the control groups.
    pub cgroup_parent: String,
}

/// An object that a request names: its name, and its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// What it is and how it is called: `container x`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A container that is about to be made or started.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// As asked.
    pub asked: &'a Draft,
    /// As decided. Mounts of the host are tied to the directory that allows them.
    pub decided: &'a mut ContainerSpec,
    /// What it would be if nothing had been asked for.
    pub baseline: &'a Baseline,
    /// Every name of its image, and of images that it mounts.
    pub images: Vec<Vec<String>>,
    /// Containers, volumes and networks that it joins or mounts.
    pub references: Vec<Reference>,
    /// Volumes that it mounts and that are there: driver and options by name.
    pub volumes: Vec<(String, BTreeMap<String, String>)>,
    /// It is made now; otherwise it was made before, and is started.
    pub fresh: bool,
}

impl Rule {
    /// Whether a container may be made, or started, as it was decided.
    pub fn review(&self, client: &Client, candidate: &mut Candidate<'_>) -> Result<(), Refusal> {
        for names in &candidate.images {
            self.image(names.iter().map(String::as_str))?;
        }
        for reference in &candidate.references {
            if !self.may_see(client, &reference.labels) {
                return Err(self.refuse(
                    format!("{} is not the client's", reference.name),
                    "\"objects\": \"all\" lets its clients use what others made".to_owned(),
                ));
            }
        }
        let Some(limits) = self.limits.as_ref().filter(|limits| !limits.privileged) else {
            return Ok(());
        };
        let review = Review { rule: self, limits };
        review.isolation(candidate)?;
        review.resources(&candidate.decided.resources)?;
        review.outputs(candidate)?;
        for (driver, options) in &candidate.volumes {
            review.volume(driver, options)?;
        }
        for mount in &mut candidate.decided.mounts {
            review.mount(client, mount, candidate.fresh)?;
        }
        Ok(())
    }

    /// Whether a further process may be started in a container.
    pub fn review_exec(&self, draft: &ExecDraft) -> Result<(), Refusal> {
        match &self.limits {
            Some(limits) if draft.privileged && !limits.privileged => Err(self.privileged()),
            _ => Ok(()),
        }
    }

    /// Whether a container's limits may be changed to these.
    pub fn review_update(&self, resources: &Resources) -> Result<(), Refusal> {
        match &self.limits {
            Some(limits) if !limits.privileged => {
                Review { rule: self, limits }.resources(resources)
            }
            _ => Ok(()),
        }
    }

    /// Whether a volume of this driver and with these options may be made or mounted.
    pub fn review_volume(
        &self,
        driver: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        match &self.limits {
            Some(limits) if !limits.privileged => {
                Review { rule: self, limits }.volume(driver, options)
            }
            _ => Ok(()),
        }
    }

    /// Whether a network of this driver may be made.
    pub fn review_network(&self, driver: &str) -> Result<(), Refusal> {
        let fine = |limits: &Limits| {
            limits.privileged
                || matches!(driver, "" | "bridge")
                || limits.network_drivers.contains(driver)
        };
        if self.limits.as_ref().is_none_or(fine) {
            return Ok(());
        }
        Err(self.refuse(
            format!("network driver {driver:?} is not allowed"),
            format!("add {driver:?} to \"network-drivers\" in its \"containers\""),
        ))
    }

    /// Whether steps of a build may share the host's network, and be privileged.
    pub fn review_build(&self, host_network: bool, insecure: bool) -> Result<(), Refusal> {
        let Some(limits) = self.limits.as_ref().filter(|limits| !limits.privileged) else {
            return Ok(());
        };
        if insecure {
            return Err(self.privileged());
        }
        match host_network {
            true => Review { rule: self, limits }.namespace(HostNamespace::Network),
            false => Ok(()),
        }
    }

    /// Whether steps of builds may share the host's network without being asked for it.
    pub fn lends_host_network(&self) -> bool {
        self.review_build(true, false).is_ok()
    }

    fn privileged(&self) -> Refusal {
        self.refuse(
            "privileged containers and processes are not allowed",
            "set \"privileged\": true in its \"containers\"",
        )
    }
}

struct Review<'r> {
    rule: &'r Rule,
    limits: &'r Limits,
}

impl Review<'_> {
    fn isolation(&self, candidate: &Candidate<'_>) -> Result<(), Refusal> {
        let (asked, spec) = (&candidate.asked.host, &*candidate.decided);
        let isolation = &spec.isolation;
        if isolation.privileged {
            return Err(self.rule.privileged());
        }
        let host = |namespace: &SharedNamespace| *namespace == SharedNamespace::Host;
        for (shared, namespace) in [
            (spec.network == NetworkMode::Host, HostNamespace::Network),
            (host(&isolation.pid), HostNamespace::Pid),
            (host(&isolation.ipc), HostNamespace::Ipc),
            (host(&isolation.uts), HostNamespace::Uts),
            (host(&isolation.cgroupns), HostNamespace::Cgroup),
            (asked.userns == UsernsMode::Host && candidate.baseline.userns, HostNamespace::User),
        ] {
            if shared {
                self.namespace(namespace)?;
            }
        }
        let baseline = candidate.baseline;
        let for_ping = |name: &String| isolation.ping_only && name == "NET_RAW";
        for name in isolation.capabilities.iter().filter(|name| !for_ping(name)) {
            if !baseline.capabilities.contains(name) && !self.limits.capabilities.contains(name) {
                return Err(self.rule.refuse(
                    format!("capability {name} is not allowed"),
                    format!("add {name:?} to \"capabilities\" in its \"containers\""),
                ));
            }
        }
        if spec.runtime != baseline.runtime && !self.limits.runtimes.contains(&spec.runtime) {
            return Err(self.rule.refuse(
                format!("runtime {:?} is not allowed", spec.runtime),
                format!("add {:?} to \"runtimes\" in its \"containers\"", spec.runtime),
            ));
        }
        match weakened(candidate).filter(|_| !self.limits.weaker_security) {
            None => Ok(()),
            Some(what) => Err(self.rule.refuse(
                format!("{what} is weaker than the daemon's default, which is not allowed"),
                "set \"weaker-security\": true in its \"containers\"",
            )),
        }
    }

    fn namespace(&self, namespace: HostNamespace) -> Result<(), Refusal> {
        if self.limits.host_namespaces.contains(&namespace) {
            return Ok(());
        }
        let name = namespace.name();
        Err(self.rule.refuse(
            format!("the host's {name} namespace is not allowed"),
            format!("add {name:?} to \"host-namespaces\" in its \"containers\""),
        ))
    }

    fn resources(&self, resources: &Resources) -> Result<(), Refusal> {
        let paths = resources.devices.iter().map(|device| device.host_path.as_str());
        let requests = resources.device_requests.iter().flat_map(|request| {
            let named = request.device_ids.iter().map(String::as_str);
            let driver = request.device_ids.is_empty().then_some(request.driver.as_str());
            named.chain(driver)
        });
        for device in paths.chain(requests) {
            if !self.limits.devices.iter().any(|pattern| super::fits(pattern, device)) {
                return Err(self.rule.refuse(
                    format!("device {device:?} is not allowed"),
                    "add a pattern for it to \"devices\" in its \"containers\"",
                ));
            }
        }
        if resources.device_rules.is_empty() {
            return Ok(());
        }
        Err(self.rule.refuse(
            "device cgroup rules are not allowed",
            "set \"privileged\": true in its \"containers\", or list paths in \"devices\"",
        ))
    }

    /// The daemon sends output as root: a driver can reach sockets that the client cannot.
    fn outputs(&self, candidate: &Candidate<'_>) -> Result<(), Refusal> {
        let LogSpec::Sent { sinks, .. } = &candidate.decided.log else { return Ok(()) };
        let asked = &candidate.asked.host.log;
        if asked.driver.is_empty() && asked.options.is_empty() {
            return Ok(());
        }
        let strange = |name: &&str| !self.limits.log_drivers.contains(*name);
        match sinks.iter().map(|sink| sink.kind.name()).find(strange) {
            None => Ok(()),
            Some(name) => Err(self.rule.refuse(
                format!("log driver {name:?} is not allowed"),
                format!("add {name:?} to \"log-drivers\" in its \"containers\""),
            )),
        }
    }

    fn volume(&self, driver: &str, options: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let local = matches!(driver, "" | "local");
        if !local && !self.limits.volume_drivers.contains(driver) {
            return Err(self.rule.refuse(
                format!("volume driver {driver:?} is not allowed"),
                format!("add {driver:?} to \"volume-drivers\" in its \"containers\""),
            ));
        }
        // A volume that mounts a device or a directory of the host is a mount of the host.
        let mounts = ["type", "o", "device"].iter().any(|key| options.contains_key(*key));
        let memory = options.get("type").is_some_and(|kind| kind == "tmpfs")
            && options.get("device").is_none_or(|device| device == "tmpfs");
        if local && mounts && !memory {
            return Err(self.rule.refuse(
                "volumes that mount something of the host are not allowed",
                "use a bind mount of a directory in \"host-mounts\", or set \"privileged\": true \
                 in its \"containers\"",
            ));
        }
        Ok(())
    }

    fn mount(&self, client: &Client, mount: &mut Mount, fresh: bool) -> Result<(), Refusal> {
        // Who labels files changes them.
        let writable = mount.writable || mount.relabel.is_some();
        if let MountSource::Volume { driver, .. } = &mount.source {
            return self.volume(driver, &BTreeMap::new());
        }
        let MountSource::Bind { path, propagation, within, .. } = &mut mount.source else {
            return Ok(());
        };
        let private = matches!(propagation, Propagation::Private | Propagation::RPrivate);
        if !private && !self.limits.weaker_security {
            return Err(self.rule.refuse(
                format!("mount propagation {} is not allowed", propagation.name()),
                "set \"weaker-security\": true in its \"containers\"",
            ));
        }
        let found = self.limits.host_mounts.iter().find_map(|allowed| {
            let prefix = allowed.of(client)?;
            let fits = is_in(path, &prefix) && (allowed.writable || !writable);
            fits.then_some(prefix)
        });
        let Some(prefix) = found else {
            let how = if writable { "" } else { " for reading" };
            return Err(self.rule.refuse(
                format!("mounting {path} of the host{how} is not allowed"),
                "add a directory above it to \"host-mounts\" in its \"containers\"",
            ));
        };
        if fresh {
            *within = Some(prefix);
            return Ok(());
        }
        match within {
            Some(within) if is_in(within, &prefix) => Ok(()),
            _ => Err(self.rule.refuse(
                format!("its mount of {path} is not tied to a directory that is allowed"),
                "it was made under other rules: make it again",
            )),
        }
    }
}

impl HostMount {
    /// The directory, for this client.
    fn of(&self, client: &Client) -> Option<String> {
        match self.path.contains("{user}") {
            true => Some(self.path.replace("{user}", client.path_name()?)),
            false => Some(self.path.clone()),
        }
    }
}

/// Whether a path without `.` and `..` is a directory, or below it.
fn is_in(path: &str, dir: &str) -> bool {
    let dir = dir.trim_end_matches('/');
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What of a container's protection is less than the daemon gives by itself.
fn weakened(candidate: &Candidate<'_>) -> Option<&'static str> {
    let (asked, spec, baseline) = (&candidate.asked.host, &*candidate.decided, candidate.baseline);
    let isolation = &spec.isolation;
    let covers = |paths: &[String], wanted: &[&str]| {
        wanted.iter().all(|path| paths.iter().any(|have| have == path))
    };
    let docker = isolation.profile == SecurityProfile::Docker;
    [
        (isolation.seccomp != SeccompDraft::Default, "another system-call filter"),
        (docker && baseline.profile != SecurityProfile::Docker, "security profile docker"),
        (asked.security.apparmor == "unconfined", "no AppArmor profile"),
        (asked.security.unscoped, "no scopes of Landlock"),
        (asked.security.writable_cgroups, "writable control groups"),
        (!asked.security.labels.is_empty(), "another SELinux label"),
        (!isolation.no_new_privileges && baseline.no_new_privileges, "no-new-privileges=false"),
        (!covers(&isolation.masked_paths, &MASKED_PATHS), "a shorter list of masked paths"),
        (!covers(&isolation.readonly_paths, &READONLY_PATHS), "a shorter list of read-only paths"),
        (spec.cgroup_parent != baseline.cgroup_parent, "another parent of the control group"),
        (isolation.oom_score_adj < 0, "a negative OOM score"),
    ]
    .into_iter()
    .find_map(|(weak, what)| weak.then_some(what))
}
