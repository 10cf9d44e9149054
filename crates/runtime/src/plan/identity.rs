//! The process itself: who it is, what it may, what it executes; of a container's first process
//! and of an exec alike, so that the two cannot differ. Pure.

use super::mounts::Making;
use super::step::{Agent, Command, InitPlan, InitStep, Slot};
use super::text::{c_string, clean, target};
use super::{Facts, StdioKind};
use crate::caps::{Cap, CapSet};
use crate::error::{FailureKind, LaunchError};
use crate::launch::Launch;
use std::ffi::CString;
use sys::clone::{Argv, ns};
use sys::cred::CapSets;
use sys::process::SchedAttr;
use sys::seccomp::NEW_LISTENER;
use wire::oci::runtime::{Capabilities, IoPriority, LATEST, Process, Scheduler, State};

/// Where commands are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest path the kernel takes.
const PATH_MAX: usize = 4096;

/// SELinux's label of the next program, and that of keys that are made before it, proc(5).
const SELINUX_EXEC: &str = "thread-self/attr/exec";
const SELINUX_KEYS: &str = "thread-self/attr/keycreate";

/// Most supplementary groups, `NGROUPS_MAX`.
const GROUPS_MAX: usize = 65536;

/// Limit of the numbers of users and groups (law B5).
const ID_MAX: u32 = i32::MAX.cast_unsigned();

/// One process on its way.
#[derive(Debug)]
pub(super) struct Identity<'a> {
    process: &'a Process,
    id: &'a str,
    /// User inside.
    pub(super) uid: u32,
    gid: u32,
    groups: Vec<u32>,
    env: Vec<String>,
    cwd: String,
}

impl<'a> Identity<'a> {
    /// Of `process` in the container of `launch`.
    pub(super) fn of(
        launch: &'a Launch,
        process: &'a Process,
        facts: &Facts,
    ) -> Result<Self, LaunchError> {
        if !process.cwd.starts_with('/') {
            return Err(LaunchError::invalid(format!("cwd {:?} is not absolute", process.cwd)));
        }
        let user = &process.user;
        let mut env = process.env.clone();
        let (uid, gid, groups) = match &facts.user {
            Some(named) => {
                if !env.iter().any(|variable| variable.starts_with("HOME=")) {
                    env.push(format!("HOME={}", named.home));
                }
                let mut groups = named.additional_gids.clone();
                groups.extend(&user.additional_gids);
                (named.uid, named.gid, groups)
            }
            None => (user.uid, user.gid, user.additional_gids.clone()),
        };
        let groups = groups_with(groups, gid);
        if groups.len() > GROUPS_MAX || groups.iter().chain([&uid, &gid]).any(|id| *id > ID_MAX) {
            return Err(LaunchError::invalid(format!("user {uid}:{gid} is out of range")));
        }
        if env.iter().any(|variable| variable.starts_with('=') || !variable.contains('=')) {
            return Err(LaunchError::invalid("a variable of the environment is not NAME=value"));
        }
        let cwd = clean(&process.cwd);
        Ok(Self { process, id: &launch.id, uid, gid, groups, env, cwd })
    }

    /// Steps that may need what the process gives up later.
    pub(super) fn before_gate(
        &self,
        stdio: StdioKind,
        own_dev: bool,
        steps: &mut Vec<InitStep>,
    ) -> Result<(), LaunchError> {
        steps.push(InitStep::MakeDir(target(&self.cwd)?));
        self.placed(stdio, own_dev, steps)
    }

    fn placed(
        &self,
        stdio: StdioKind,
        console: bool,
        steps: &mut Vec<InitStep>,
    ) -> Result<(), LaunchError> {
        if let StdioKind::Terminal(size) = stdio {
            let size = size.or_else(|| self.console_size());
            steps.push(InitStep::OpenTerminal { size, owner: self.uid, console });
        }
        steps.push(InitStep::ChangeDir(c_string(self.cwd.as_str())?));
        steps.push(InitStep::FindCommand);
        Ok(())
    }

    fn console_size(&self) -> Option<(u16, u16)> {
        let size = self.process.console_size?;
        Some((u16::try_from(size.height).ok()?, u16::try_from(size.width).ok()?))
    }

    /// The step that applies the label of a security module, if one was asked for (law C6).
    pub(super) fn label(
        &self,
        made: &mut Making<'_>,
        facts: &Facts,
    ) -> Result<Option<InitStep>, LaunchError> {
        let needs = "a security label needs a mount of proc";
        let Some((path, value)) = self.label_file(facts)? else { return Ok(None) };
        let proc = made.proc().ok_or_else(|| LaunchError::invalid(needs))?;
        Ok(Some(InitStep::Label { proc, path, value }))
    }

    fn label_file(&self, facts: &Facts) -> Result<Option<(CString, Vec<u8>)>, LaunchError> {
        let refused = |module: &str| {
            LaunchError::invalid(format!("a label of {module} was asked for and it is not enabled"))
        };
        let profile = match self.process.apparmor_profile.as_str() {
            // Nothing that a host without the module would not give.
            "unconfined" if !facts.apparmor => "",
            profile => profile,
        };
        let label = self.process.selinux_label.as_str();
        if !label.is_empty() && !facts.selinux {
            return Err(refused("SELinux"));
        }
        if !profile.is_empty() {
            if !facts.apparmor {
                return Err(refused("AppArmor"));
            }
            let path = c_string("thread-self/attr/apparmor/exec")?;
            return Ok(Some((path, format!("exec {profile}").into_bytes())));
        }
        if label.is_empty() {
            return Ok(None);
        }
        Ok(Some((c_string(SELINUX_EXEC)?, label.as_bytes().to_vec())))
    }

    /// Everything from the start to the command.
    pub(super) fn after_gate(
        &self,
        stdio: StdioKind,
        facts: &Facts,
        label: Option<InitStep>,
        steps: &mut Vec<InitStep>,
    ) -> Result<(), LaunchError> {
        steps.extend(label.as_ref().map(of_keys).transpose()?.flatten());
        steps.push(InitStep::Keyring(c_string(format!("_ses.{}", self.id))?));
        steps.push(InitStep::Umask(self.process.user.umask.unwrap_or(0o022) & 0o777));
        steps.push(InitStep::Stdio);
        if matches!(stdio, StdioKind::Terminal(_)) {
            steps.push(InitStep::TakeTerminal);
        }
        if let Some(scheduler) = &self.process.scheduler {
            steps.push(InitStep::Scheduler(scheduler_of(scheduler)?));
        }
        if let Some(priority) = &self.process.io_priority {
            steps.push(InitStep::IoPriority(io_priority(priority)?));
        }
        steps.extend(label);
        self.privileges(facts, steps)?;
        steps.push(InitStep::Execute);
        Ok(())
    }

    fn privileges(&self, facts: &Facts, steps: &mut Vec<InitStep>) -> Result<(), LaunchError> {
        let empty = Capabilities::default();
        let mut wanted = Sets::of(self.process.capabilities.as_ref().unwrap_or(&empty), facts)?;
        if self.uid != 0 {
            // What exec would take away is not there for the path to the command either (law B4).
            wanted.sets.effective &= wanted.ambient;
            wanted.sets.permitted = wanted.ambient;
        }
        steps.push(InitStep::DropBounding(CapSet::ALL.bits() & !wanted.bounding));
        // Where nobody may change them, the user's own are all there are.
        let kept = facts.groups_fixed && self.groups.iter().all(|group| *group == self.gid);
        let groups = (!kept).then(|| self.groups.clone());
        steps.push(InitStep::Identity { uid: self.uid, gid: self.gid, groups });
        let mut sets = wanted.sets;
        let filter = facts.filter.clone();
        if self.process.no_new_privileges {
            steps.push(InitStep::NoNewPrivileges);
        } else if filter.is_some() {
            // Loading a filter then needs this capability; exec takes it away again, because it is
            // neither in the bounding nor in the ambient set.
            sets.effective |= CapSet::of(&[Cap::SYS_ADMIN]).bits();
            sets.permitted |= CapSet::of(&[Cap::SYS_ADMIN]).bits();
        }
        steps.push(InitStep::Capabilities { sets, ambient: wanted.ambient });
        steps.push(InitStep::Seal);
        if let Some((program, flags)) = filter {
            steps.push(InitStep::Filter { program, flags });
        }
        Ok(())
    }

    /// The command, under the built-in init or not.
    pub(super) fn command(&self, init: bool) -> Result<Command, LaunchError> {
        let args = &self.process.args;
        let Some(name) = args.first() else {
            return Err(LaunchError::invalid("the process has no arguments"));
        };
        if name.is_empty() {
            return Err(LaunchError::invalid(format!("exec: {name:?}: command is empty"))
                .of_kind(FailureKind::NotFound));
        }
        let strings = |list: &[String]| -> Result<Vec<CString>, LaunchError> {
            list.iter().map(|s| c_string(s.as_str())).collect()
        };
        let (candidates, searched) = self.candidates(name)?;
        let under = match init {
            true => {
                let mut line = vec![c_string("estiba-init")?];
                line.extend(strings(args)?);
                Some(Argv::new(line))
            }
            false => None,
        };
        Ok(Command {
            name: name.clone(),
            candidates,
            searched,
            args: Argv::new(strings(args)?),
            env: Argv::new(strings(&self.env)?),
            init: under,
        })
    }

    fn candidates(&self, name: &str) -> Result<(Vec<CString>, bool), LaunchError> {
        if name.contains('/') {
            return Ok((vec![c_string(name)?], false));
        }
        let path = self.env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
        let dirs = path.unwrap_or(DEFAULT_PATH).split(':');
        let full = dirs.map(|dir| if dir.is_empty() { "." } else { dir });
        let full = full.map(|dir| format!("{dir}/{name}")).filter(|p| p.len() < PATH_MAX);
        Ok((full.map(c_string).collect::<Result<_, _>>()?, true))
    }
}

/// The groups with the primary one among them, ascending, each once (law B5).
/// The step by which the session's keys belong to the label that the process is to have; only
/// SELinux has labels of keys.
fn of_keys(label: &InitStep) -> Result<Option<InitStep>, LaunchError> {
    match label {
        InitStep::Label { proc, path, value } if path.to_bytes() == SELINUX_EXEC.as_bytes() => {
            let (proc, value) = (*proc, value.clone());
            Ok(Some(InitStep::Label { proc, path: c_string(SELINUX_KEYS)?, value }))
        }
        _ => Ok(None),
    }
}

fn groups_with(mut groups: Vec<u32>, primary: u32) -> Vec<u32> {
    groups.push(primary);
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[derive(Debug)]
struct Sets {
    bounding: u64,
    sets: CapSets,
    ambient: u64,
}

impl Sets {
    /// Names that the kernel or the runtime does not have are left out, as a container that asks
    /// for all means all there are.
    fn of(wanted: &Capabilities, facts: &Facts) -> Result<Self, LaunchError> {
        let set = |names: &Vec<String>| {
            CapSet::from_names(names)
                .map(|set| set.bits() & facts.bounding)
                .map_err(|error| LaunchError::invalid(error.to_string()))
        };
        let bounding = set(&wanted.bounding)?;
        let inheritable = set(&wanted.inheritable)?;
        let permitted = set(&wanted.permitted)?;
        let sets =
            CapSets { effective: set(&wanted.effective)? & permitted, permitted, inheritable };
        Ok(Self { bounding, sets, ambient: set(&wanted.ambient)? & permitted & inheritable })
    }
}

/// Plans a process that joins the container of `launch`. `joined` are the namespaces of the
/// container that are not the runtime's own, the process ids' among them; the pidfd of its first
/// process lies in [`Slot::TARGET`].
///
/// # Errors
/// As [`super::plan`].
pub fn plan_exec(
    launch: &Launch,
    process: &Process,
    facts: &Facts,
    stdio: StdioKind,
    joined: u64,
) -> Result<InitPlan, LaunchError> {
    let identity = Identity::of(launch, process, facts)?;
    let affinity = process.exec_cpu_affinity.clone().unwrap_or_default();
    let mut steps = Vec::new();
    if !affinity.initial.is_empty() {
        // Before the control group: its cpuset may not have these processors.
        steps.push(InitStep::Affinity(cpu_list(&affinity.initial)?));
    }
    steps.extend([InitStep::EnterGroups, InitStep::AwaitMaps]);
    if !affinity.last.is_empty() {
        steps.push(InitStep::Affinity(cpu_list(&affinity.last)?));
    }
    steps.push(InitStep::Join { of: Slot::TARGET, kinds: joined & !ns::PID });
    if joined & ns::USER != 0 {
        steps.push(InitStep::BecomeRoot);
    }
    steps.push(InitStep::NewSession);
    identity.placed(stdio, false, &mut steps)?;
    let label = match identity.label_file(facts)? {
        Some((path, value)) => {
            let proc = Slot::MASKS;
            let fs = super::step::FsMount {
                kind: c_string("proc")?,
                params: vec![super::text::param("source", Some("proc"))?],
                attrs: 0,
            };
            steps.push(InitStep::MakeFs { fs, into: proc });
            Some(InitStep::Label { proc, path, value })
        }
        None => None,
    };
    if matches!(stdio, StdioKind::Terminal(_)) {
        steps.push(InitStep::Gate);
    }
    if let Some(linux) = &launch.spec.linux {
        super::of_kernel(linux, &mut steps)?;
    }
    identity.after_gate(stdio, facts, label, &mut steps)?;
    let agent = agent(launch, facts, "running")?;
    Ok(InitPlan { steps, command: identity.command(false)?, preserve_fds: 0, agent })
}

/// Whom the listener of the filter is given to, if the filter has one.
pub(super) fn agent(
    launch: &Launch,
    facts: &Facts,
    status: &str,
) -> Result<Option<Agent>, LaunchError> {
    let profile = launch.spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let (path, metadata) =
        profile.map_or(("", ""), |it| (it.listener_path.as_str(), it.listener_metadata.as_str()));
    if path.is_empty() && !metadata.is_empty() {
        return Err(LaunchError::invalid("listenerMetadata needs listenerPath"));
    }
    let listens = facts.filter.as_ref().is_some_and(|(_, flags)| flags & NEW_LISTENER != 0);
    if !listens {
        return Ok(None);
    }
    if !path.starts_with('/') {
        let why = format!("SCMP_ACT_NOTIFY needs the absolute path of a socket, not {path:?}");
        return Err(LaunchError::invalid(why));
    }
    let state = State {
        oci_version: LATEST.to_owned(),
        id: launch.id.clone(),
        status: status.to_owned(),
        pid: 0,
        bundle: launch.bundle.as_ref().map(|b| b.display().to_string()).unwrap_or_default(),
        annotations: launch.spec.annotations.clone(),
    };
    Ok(Some(Agent { path: path.into(), metadata: metadata.to_owned(), state }))
}

/// Resource limits, getrlimit(2), with the kernel's numbers.
pub fn rlimits(process: &Process) -> Result<Vec<(u32, u64, u64)>, LaunchError> {
    const NAMES: [&str; 16] = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let mut limits: Vec<(u32, u64, u64)> = Vec::new();
    for limit in &process.rlimits {
        let name = limit.kind.strip_prefix("RLIMIT_").unwrap_or(&limit.kind);
        let number = NAMES.iter().position(|known| *known == name);
        let number = number.and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
            LaunchError::invalid(format!("resource limit {:?} is unknown", limit.kind))
        })?;
        if limit.soft > limit.hard || limits.iter().any(|(other, ..)| *other == number) {
            return Err(LaunchError::invalid(format!(
                "resource limit {} is given twice or exceeds its hard limit",
                limit.kind
            )));
        }
        limits.push((number, limit.soft, limit.hard));
    }
    Ok(limits)
}

fn scheduler_of(wanted: &Scheduler) -> Result<SchedAttr, LaunchError> {
    const POLICIES: [(&str, u32); 7] = [
        ("SCHED_OTHER", 0),
        ("SCHED_FIFO", 1),
        ("SCHED_RR", 2),
        ("SCHED_BATCH", 3),
        ("SCHED_ISO", 4),
        ("SCHED_IDLE", 5),
        ("SCHED_DEADLINE", 6),
    ];
    const FLAGS: [(&str, u64); 7] = [
        ("SCHED_FLAG_RESET_ON_FORK", 0x01),
        ("SCHED_FLAG_RECLAIM", 0x02),
        ("SCHED_FLAG_DL_OVERRUN", 0x04),
        ("SCHED_FLAG_KEEP_POLICY", 0x08),
        ("SCHED_FLAG_KEEP_PARAMS", 0x10),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
    ];
    let unknown = |what: &str| LaunchError::invalid(format!("scheduler {what:?} is unknown"));
    let policy = POLICIES.iter().find(|(name, _)| *name == wanted.policy);
    let (_, policy) = policy.ok_or_else(|| unknown(&wanted.policy))?;
    let mut flags = 0;
    for flag in &wanted.flags {
        let known = FLAGS.iter().find(|(name, _)| name == flag);
        flags |= known.ok_or_else(|| unknown(flag))?.1;
    }
    Ok(SchedAttr {
        size: 0,
        policy: *policy,
        flags,
        nice: wanted.nice,
        priority: u32::try_from(wanted.priority)
            .map_err(|_| LaunchError::invalid("scheduler priority is negative"))?,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
    })
}

fn io_priority(wanted: &IoPriority) -> Result<u32, LaunchError> {
    let class = match wanted.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => return Err(LaunchError::invalid(format!("I/O class {other:?} is unknown"))),
    };
    match u32::try_from(wanted.priority) {
        Ok(priority @ 0..=7) => Ok(class << 13 | priority),
        _ => Err(LaunchError::invalid(format!("I/O priority {} is not 0 to 7", wanted.priority))),
    }
}

fn cpu_list(list: &str) -> Result<Vec<usize>, LaunchError> {
    const MAX: usize = 1024;
    super::text::numbers(list, MAX)
        .ok_or_else(|| LaunchError::invalid(format!("processors {list:?} are no list below {MAX}")))
}
