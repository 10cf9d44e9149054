//! The plan of a container and of an exec: everything decided before anything is done.
//!
//! [`plan`] and [`plan_exec`] are pure: the same launch and the same facts give the same plan.
//! Nothing here opens a file or asks the kernel.
//!
//! ```text
//!   Launch + Facts ──▶ Plan { clone, joins, maps,      what the parent does first
//!                             supplies: [Supply],      what the parent makes for the child
//!                             init: [InitStep] }       what the child does, in order
//! ```

mod devices;
mod identity;
mod memory;
mod mounts;
mod namespaces;
mod options;
mod paths;
mod resctrl;
pub mod step;
mod text;

pub use devices::NetMove;
pub use identity::{plan_exec, rlimits as rlimits_of};
pub use memory::{MEMORY_FLAGS, MEMORY_MODES};
pub(crate) use mounts::of_host;
pub use namespaces::{Join, Maps};
pub use options::MOUNT_OPTIONS;
pub use paths::{ALSO_MASKED, ALSO_READONLY};
pub use resctrl::{Making, Resctrl};
pub use step::{Agent, InitPlan, InitStep, Slot, Supply};
pub use text::{clean, within};

use crate::cgroup::MountPlan;
use crate::error::LaunchError;
use crate::launch::Launch;
use crate::user::User;
use namespaces::Namespaces;
use sys::clone::ns;
use sys::mount::Propagation;
use sys::seccomp::Insn;
use wire::oci::runtime::{Linux, Process, Spec};

/// What the planner must know of the host and of the image, gathered before.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// How control groups are mounted; none if the specification mounts none.
    pub cgroups: Option<MountPlan>,
    /// Path of the container's control group in every tree.
    pub cgroup_path: String,
    /// Capabilities that the runtime has itself, one bit each.
    pub bounding: u64,
    /// Existing paths of this host that are masked beyond what the specification names.
    pub sensitive: Vec<String>,
    /// The compiled system call filter and its flags for seccomp(2).
    pub filter: Option<(Vec<Insn>, u32)>,
    /// The user, if it was given by name.
    pub user: Option<User>,
    /// Whether the host's root file system cannot be left by pivot_root(2).
    pub initramfs: bool,
    /// Whether the runtime's own user namespace is not the first: it makes no device nodes then.
    pub confined: bool,
    /// Whether the runtime's user namespace forbids setgroups(2), user_namespaces(7).
    pub groups_fixed: bool,
    /// Whether AppArmor is enforcing here.
    pub apparmor: bool,
    /// Whether SELinux is enforcing here.
    pub selinux: bool,
}

/// Everything that is done for one container, in order.
#[derive(Debug)]
pub struct Plan {
    /// Namespaces that are made with the process.
    pub clone: u64,
    /// Namespaces that the parent visits while it makes the process.
    pub joins: Vec<Join>,
    /// An existing user namespace to be made in.
    pub userns: Option<Join>,
    /// An existing mount namespace that the child joins; its file goes to [`Slot::TARGET`].
    pub mount: Option<Join>,
    /// Id maps of the new user namespace.
    pub maps: Option<Maps>,
    /// Network devices of the host that are moved into the container: their names there and here.
    pub net_devices: Vec<NetMove>,
    /// What is done in resctrl.
    pub resctrl: Option<Resctrl>,
    /// What the parent makes and hands over, in the order of the slots from [`Slot::ROOT`].
    pub supplies: Vec<Supply>,
    /// The child's way.
    pub init: InitPlan,
    /// Resource limits: the kernel's number, soft, hard.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Who the process will be, inside.
    pub uid: u32,
    /// Whether it gets a terminal.
    pub terminal: bool,
}

/// Which of the three kinds of standard descriptors a process gets, with a terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdioKind {
    /// Descriptors that the parent provides.
    Provided,
    /// A terminal of the container's own.
    Terminal(Option<(u16, u16)>),
}

/// Plans the container of `launch`.
///
/// # Errors
/// [`LaunchError`] of kind invalid for a specification that contradicts itself, asks for what
/// must not be, or names what does not exist.
pub fn plan(launch: &Launch, facts: &Facts, stdio: StdioKind) -> Result<Plan, LaunchError> {
    let empty = Linux::default();
    let linux = launch.spec.linux.as_ref().unwrap_or(&empty);
    let process = process_of(&launch.spec)?;
    let namespaces = Namespaces::of(linux)?;
    foreign(&launch.spec)?;
    let mut steps = Vec::new();
    if namespaces.maps.is_some() {
        steps.push(InitStep::AwaitMaps);
    }
    let mut made = mounts::Making::of(launch, facts, &namespaces, stdio)?;
    made.clocks(&mut steps)?;
    if namespaces.has_user() {
        steps.push(InitStep::BecomeRoot);
    }
    steps.push(InitStep::NewSession);
    if namespaces.mount.is_some() {
        steps.push(InitStep::Join { of: Slot::TARGET, kinds: ns::MOUNT });
    }
    steps.push(InitStep::DetachPropagation(root_propagation(linux)?));
    made.file_systems(&mut steps);
    let later = paths::sysctls(linux, &namespaces, &mut made, &mut steps)?;
    paths::protect(linux, facts, &mut steps)?;
    made.finish(&mut steps);
    steps.push(if facts.initramfs { InitStep::MoveRoot } else { InitStep::Pivot });
    root_attributes(launch, linux, process.no_new_privileges, &mut steps)?;
    host_names(&launch.spec, &namespaces, &mut steps)?;
    let identity = identity::Identity::of(launch, process, facts)?;
    identity.before_gate(stdio, made.has_dev(), &mut steps)?;
    steps.push(InitStep::Gate);
    steps.extend(later);
    let label = identity.label(&mut made, facts)?;
    of_kernel(linux, &mut steps)?;
    identity.after_gate(stdio, facts, label, &mut steps)?;
    let supplies = made.into_supplies();
    let net_devices = devices::net_devices(linux, &namespaces)?;
    let agent = identity::agent(launch, facts, "created")?;
    Ok(Plan {
        clone: namespaces.clone,
        joins: namespaces.joins,
        userns: namespaces.userns,
        mount: namespaces.mount,
        maps: namespaces.maps,
        net_devices,
        resctrl: resctrl::plan(linux, &launch.id)?,
        supplies,
        rlimits: identity::rlimits(process)?,
        oom_score_adj: process.oom_score_adj,
        uid: identity.uid,
        terminal: matches!(stdio, StdioKind::Terminal(_)),
        init: InitPlan { steps, command: identity.command(launch.init)?, preserve_fds: 0, agent },
    })
}

/// The namespaces of the container of `launch` that are not the runtime's own, one bit each.
///
/// # Errors
/// As [`plan`].
pub fn namespaces_of(launch: &Launch) -> Result<u64, LaunchError> {
    let empty = Linux::default();
    let found = Namespaces::of(launch.spec.linux.as_ref().unwrap_or(&empty))?;
    let joined = found.joins.iter().chain(&found.userns).chain(&found.mount);
    let joined = joined.fold(0, |all, join| all | join.kind);
    Ok(found.clone | found.unshare | joined)
}

/// What the container of `launch` has in resctrl; nothing too when the launch asks for nonsense.
pub fn resctrl_of(launch: &Launch) -> Option<Resctrl> {
    resctrl::plan(launch.spec.linux.as_ref()?, &launch.id).ok().flatten()
}

fn process_of(spec: &Spec) -> Result<&Process, LaunchError> {
    spec.process.as_ref().ok_or_else(|| LaunchError::invalid("the specification has no process"))
}

/// How mounts of the host reach the container's copies while it is made. Nothing ever flows back.
fn root_propagation(linux: &Linux) -> Result<Propagation, LaunchError> {
    Ok(match linux.rootfs_propagation.as_str() {
        "" | "private" | "rprivate" => Propagation::Private,
        "slave" | "rslave" | "shared" | "rshared" | "unbindable" | "runbindable" => {
            Propagation::Slave
        }
        other => return Err(LaunchError::invalid(format!("rootfsPropagation {other:?}"))),
    })
}

/// Where no process may gain privileges, programs whose file grants them execute without: the
/// kernel refuses a file with capabilities that the bounding set lacks (Debian's `ping`), unless
/// its mount is `nosuid`. Only for the engine's containers: others' documents say what they want of
/// a mount.
fn root_attributes(
    launch: &Launch,
    linux: &Linux,
    no_new_privileges: bool,
    steps: &mut Vec<InitStep>,
) -> Result<(), LaunchError> {
    let (overlay, overlay_readonly) = match launch.rootfs {
        crate::launch::Rootfs::Overlay { readonly, .. } => (true, readonly),
        crate::launch::Rootfs::Directory(_) => (false, false),
    };
    let spec_readonly = launch.spec.root.as_ref().is_some_and(|root| root.readonly);
    let propagation = match linux.rootfs_propagation.as_str() {
        "shared" | "rshared" => Some(Propagation::Shared),
        "unbindable" | "runbindable" => Some(Propagation::Unbindable),
        _ => None,
    };
    let mut set = if overlay_readonly || spec_readonly { sys::mount::attr::RDONLY } else { 0 };
    if overlay && no_new_privileges {
        set |= sys::mount::attr::NOSUID;
    }
    if set != 0 || propagation.is_some() {
        let at = text::target("/")?;
        steps.push(InitStep::Change { at, set, clear: 0, recursive: false, propagation });
    }
    Ok(())
}

/// What other systems' sections ask for is nothing that a container of this one can have.
fn foreign(spec: &Spec) -> Result<(), LaunchError> {
    let sections = [
        ("solaris", &spec.solaris),
        ("windows", &spec.windows),
        ("vm", &spec.vm),
        ("zos", &spec.zos),
        ("freebsd", &spec.freebsd),
    ];
    match sections.iter().find(|(_, section)| section.is_some()) {
        Some((name, _)) => Err(LaunchError::invalid(format!(
            "section {name:?} of the specification is for another system than Linux"
        ))),
        None => Ok(()),
    }
}

/// What holds for a process without being a privilege: execution domain and memory policy.
fn of_kernel(linux: &Linux, steps: &mut Vec<InitStep>) -> Result<(), LaunchError> {
    personality(linux, steps)?;
    if let Some(policy) = &linux.memory_policy {
        steps.push(memory::policy(policy)?);
    }
    Ok(())
}

/// Execution domains, personality(2).
fn personality(linux: &Linux, steps: &mut Vec<InitStep>) -> Result<(), LaunchError> {
    let Some(wanted) = &linux.personality else { return Ok(()) };
    let persona = match wanted.domain.as_str() {
        "LINUX" => 0,
        "LINUX32" => 8,
        other => return Err(LaunchError::invalid(format!("personality {other:?} is unknown"))),
    };
    if let Some(flag) = wanted.flags.first() {
        return Err(LaunchError::invalid(format!("personality flag {flag:?} is unknown")));
    }
    steps.push(InitStep::Personality(persona));
    Ok(())
}

fn host_names(
    spec: &Spec,
    namespaces: &Namespaces,
    steps: &mut Vec<InitStep>,
) -> Result<(), LaunchError> {
    let names = [("hostname", &spec.hostname), ("domainname", &spec.domainname)];
    for (what, name) in names {
        if name.is_empty() {
            continue;
        }
        if !namespaces.makes(ns::UTS) && !namespaces.joins(ns::UTS) {
            let message = format!("{what} {name:?} needs a UTS namespace");
            return Err(LaunchError::invalid(message));
        }
        if name.len() > 64 || name.bytes().any(|b| b.is_ascii_control()) {
            return Err(LaunchError::invalid(format!("{what} {name:?} is not one")));
        }
        let name = name.clone().into_bytes();
        steps.push(match what {
            "hostname" => InitStep::HostName(name),
            _ => InitStep::DomainName(name),
        });
    }
    Ok(())
}

#[cfg(test)]
mod fields;
#[cfg(test)]
mod tests;
