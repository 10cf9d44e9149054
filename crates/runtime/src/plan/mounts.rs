//! Mounts: who makes each, with which options, and in which order they are attached. Pure.
//!
//! A file system that shows a namespace of the container's own is made by the child, which may;
//! everything else is made by the parent, detached, and only attached by the child. Nothing is
//! ever attached in the host's mount namespace.

use super::namespaces::{Maps, Namespaces};
use super::options::{self, BindScope, Options};
use super::step::{
    Bind, BindIds, Dev, FsMount, InitStep, MadeIn, Node, NodeKind, Param, SLOTS, Slot, Supply,
};
use super::text::{c_string, clean, param, target, within};
use super::{Facts, StdioKind};
use crate::cgroup::MountPlan;
use crate::error::LaunchError;
use crate::launch::{Ids, Launch};
use std::path::PathBuf;
use sys::clone::ns;
use sys::mount::{Propagation, attr};
use wire::oci::runtime::{Linux, Mount};

mod dev;

/// What may be mounted over inside `/proc`: files that tell about the machine and nothing else.
const OVER_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// A file system that is nobody's container's: of this type, from this source, with the words of
/// `mount(8)`.
pub(crate) fn of_host(kind: &str, source: &str, words: &[String]) -> Result<FsMount, LaunchError> {
    file_system(kind, source, &options::parse(words.iter().map(String::as_str)))
}

fn file_system(kind: &str, source: &str, wanted: &Options) -> Result<FsMount, LaunchError> {
    let mut params = vec![param("source", Some(source))?];
    for (key, value) in &wanted.data {
        params.push(param(key, value.as_deref())?);
    }
    // A new file system is one mount: what is recursive is about it alone.
    let attrs = wanted.set | wanted.set_recursive;
    Ok(FsMount { kind: c_string(kind)?, params, attrs })
}

/// The mounts of one container while they are planned.
#[derive(Debug)]
pub(super) struct Making<'a> {
    launch: &'a Launch,
    facts: &'a Facts,
    namespaces: &'a Namespaces,
    terminal: bool,
    supplies: Vec<Supply>,
    /// Made by the child while the parent is busy.
    early: Vec<InitStep>,
    /// Made by the child once it is in its control group.
    late: Vec<InitStep>,
    attach: Vec<InitStep>,
    last: Vec<InitStep>,
    free: u8,
    proc: Option<Slot>,
    dev: bool,
}

impl<'a> Making<'a> {
    /// Plans every mount of the specification.
    pub(super) fn of(
        launch: &'a Launch,
        facts: &'a Facts,
        namespaces: &'a Namespaces,
        stdio: StdioKind,
    ) -> Result<Self, LaunchError> {
        let mut made = Self {
            launch,
            facts,
            namespaces,
            terminal: matches!(stdio, StdioKind::Terminal(_)),
            supplies: vec![Supply::Root, Supply::Masks],
            early: Vec::new(),
            late: Vec::new(),
            attach: Vec::new(),
            last: Vec::new(),
            free: u8::try_from(SLOTS).unwrap_or(u8::MAX),
            proc: None,
            dev: false,
        };
        for mount in &launch.spec.mounts {
            made.mount(mount)?;
        }
        Ok(made)
    }

    /// The clocks, before the child becomes root inside: until then it owns its own files in
    /// procfs, which are root's outside while it cannot be traced.
    pub(super) fn clocks(&mut self, steps: &mut Vec<InitStep>) -> Result<(), LaunchError> {
        if !self.namespaces.makes(ns::TIME) {
            return Ok(());
        }
        let enter = self.time()?;
        steps.extend(self.early.extract_if(
            ..,
            |step| matches!(step, InitStep::MakeFs { into, .. } if Some(*into) == self.proc),
        ));
        steps.push(InitStep::Unshare(ns::TIME));
        steps.push(enter);
        Ok(())
    }

    /// The steps up to the last mount that is attached.
    pub(super) fn file_systems(&mut self, steps: &mut Vec<InitStep>) {
        steps.append(&mut self.early);
        let count = u8::try_from(self.supplies.len()).unwrap_or(u8::MAX);
        steps.push(InitStep::AwaitSupplies { first: Slot::ROOT, count });
        steps.push(InitStep::EnterGroups);
        if self.namespaces.makes(ns::CGROUP) {
            steps.push(InitStep::Unshare(ns::CGROUP));
        }
        steps.append(&mut self.late);
        steps.push(InitStep::Cover(Slot::MASKS));
        steps.push(InitStep::Cover(Slot::ROOT));
        steps.append(&mut self.attach);
    }

    /// What has to wait until nothing more is mounted.
    pub(super) fn finish(&mut self, steps: &mut Vec<InitStep>) {
        steps.append(&mut self.last);
    }

    fn linux(&self) -> Option<&'a Linux> {
        self.launch.spec.linux.as_ref()
    }

    /// What the parent makes.
    pub(super) fn into_supplies(self) -> Vec<Supply> {
        self.supplies
    }

    /// The runtime's own procfs.
    pub(super) fn proc(&self) -> Option<Slot> {
        self.proc
    }

    /// Whether `/dev` is the runtime's own.
    pub(super) fn has_dev(&self) -> bool {
        self.dev
    }

    /// A slot for something that the child makes.
    pub(super) fn slot(&mut self) -> Result<Slot, LaunchError> {
        self.free -= 1;
        if usize::from(self.free) <= usize::from(Slot::ROOT.0) + self.supplies.len() {
            return Err(LaunchError::invalid("there are too many mounts"));
        }
        Ok(Slot(self.free))
    }

    fn supply(&mut self, supply: Supply) -> Result<Slot, LaunchError> {
        let at = usize::from(Slot::ROOT.0) + self.supplies.len();
        if at >= usize::from(self.free) {
            return Err(LaunchError::invalid("there are too many mounts"));
        }
        self.supplies.push(supply);
        u8::try_from(at).map(Slot).map_err(|_| LaunchError::invalid("there are too many mounts"))
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), LaunchError> {
        let at = clean(&mount.destination);
        let wanted = options::parse(mount.options.iter().map(String::as_str));
        check_place(&at, mount, &wanted)?;
        if wanted.remount {
            return self.remount(&at, &wanted);
        }
        if mount.kind == "bind" || wanted.bind.is_some() {
            return self.bind(&at, mount, &wanted);
        }
        if wanted.idmap.is_some() || maps_ids(mount) {
            let why = format!("mount at {at}: only bind mounts can map ids");
            return Err(LaunchError::invalid(why));
        }
        match mount.kind.as_str() {
            "proc" => {
                let slot = self.showing(ns::PID, MadeIn::Pid, mount, &wanted)?;
                if at == "/proc" {
                    self.proc = Some(slot);
                }
                self.attach(slot, &at, &wanted)
            }
            "sysfs" => {
                let slot = self.showing(ns::NET, MadeIn::Net, mount, &wanted)?;
                self.attach(slot, &at, &wanted)
            }
            "mqueue" => {
                let slot = self.queues(mount, &wanted)?;
                self.attach(slot, &at, &wanted)
            }
            "cgroup" | "cgroup2" => self.cgroup(&at, &wanted),
            "tmpfs" if at == "/dev" => self.dev(mount, &wanted),
            "tmpfs" if wanted.copy_up => {
                let fs = self.fs(mount, &wanted)?;
                let from = PathBuf::from(&at);
                let slot = self.supply(Supply::CopyUp { fs, from })?;
                self.attach(slot, &at, &wanted)
            }
            "tmpfs" | "devpts" => {
                let fs = self.fs(mount, &wanted)?;
                let slot = self.child_made(fs)?;
                self.attach(slot, &at, &wanted)
            }
            "x-estiba.image" => {
                let lower = wanted.lower.iter().map(PathBuf::from).collect();
                let beneath = wanted.beneath.as_ref().map(PathBuf::from);
                let slot = self.supply(Supply::Image { lower, beneath })?;
                self.attach(slot, &at, &wanted)
            }
            "" => Err(LaunchError::invalid(format!("mount at {at} has no type"))),
            _ => {
                let fs = self.fs(mount, &wanted)?;
                let slot = self.supply(Supply::Fs { fs, made_in: MadeIn::Anywhere })?;
                self.attach(slot, &at, &wanted)
            }
        }
    }

    /// A file system that shows the namespace `kind`: made by whoever may.
    fn showing(
        &mut self,
        kind: u64,
        made_in: MadeIn,
        mount: &Mount,
        wanted: &Options,
    ) -> Result<Slot, LaunchError> {
        let fs = self.fs(mount, wanted)?;
        if self.namespaces.owns(kind) {
            self.child_made(fs)
        } else {
            self.supply(Supply::Fs { fs, made_in })
        }
    }

    /// Message queues. The namespace has made their file system already, without a label and, as
    /// it was cloned with its user namespace, as one of its maker's: who labels it is the parent.
    fn queues(&mut self, mount: &Mount, wanted: &Options) -> Result<Slot, LaunchError> {
        let label = self.label("security.selinux")?;
        if label.is_none() || !self.namespaces.owns(ns::IPC) {
            return self.showing(ns::IPC, MadeIn::Ipc, mount, wanted);
        }
        let mut fs = self.fs(mount, wanted)?;
        fs.params.extend(label);
        self.supply(Supply::Fs { fs, made_in: MadeIn::Ipc })
    }

    fn child_made(&mut self, fs: FsMount) -> Result<Slot, LaunchError> {
        let into = self.slot()?;
        self.early.push(InitStep::MakeFs { fs, into });
        Ok(into)
    }

    fn fs(&self, mount: &Mount, wanted: &Options) -> Result<FsMount, LaunchError> {
        let source = if mount.source.is_empty() { &mount.kind } else { &mount.source };
        let mut fs = file_system(&mount.kind, source, wanted)?;
        if mount.kind == "devpts" {
            let gid = wanted.data.iter().find(|(key, _)| key == "gid");
            if gid.is_some_and(|(_, value)| !self.maps_group(value.as_deref())) {
                fs.params.retain(|param| param.key.as_c_str() != c"gid");
            }
        }
        if matches!(mount.kind.as_str(), "tmpfs" | "devpts") {
            fs.params.extend(self.label("context")?);
        }
        Ok(fs)
    }

    /// The SELinux label of mounts, if there is one, by the name that a file system has for it.
    fn label(&self, key: &str) -> Result<Option<Param>, LaunchError> {
        let label = self.linux().map_or("", |linux| linux.mount_label.as_str());
        (!label.is_empty()).then(|| param(key, Some(label))).transpose()
    }

    fn maps_group(&self, gid: Option<&str>) -> bool {
        let Some(maps) = &self.namespaces.maps else { return true };
        gid.and_then(|gid| gid.parse().ok()).is_some_and(|gid| maps.host_gid(gid).is_some())
    }

    fn attach(&mut self, mount: Slot, at: &str, wanted: &Options) -> Result<(), LaunchError> {
        self.attach.push(InitStep::Attach { mount, at: target(at)? });
        if let Some(propagation) = wanted.propagation
            && propagation != Propagation::Private
        {
            self.attach.push(InitStep::Change {
                at: target(at)?,
                set: 0,
                clear: 0,
                recursive: wanted.propagation_recursive,
                propagation: Some(propagation),
            });
        }
        Ok(())
    }

    fn remount(&mut self, at: &str, wanted: &Options) -> Result<(), LaunchError> {
        self.attach.push(InitStep::Change {
            at: target(at)?,
            set: wanted.set | wanted.set_recursive,
            clear: wanted.clear | wanted.clear_recursive,
            recursive: wanted.set_recursive | wanted.clear_recursive != 0,
            propagation: wanted.propagation,
        });
        Ok(())
    }

    fn bind(&mut self, at: &str, mount: &Mount, wanted: &Options) -> Result<(), LaunchError> {
        if !mount.source.starts_with('/') {
            return Err(LaunchError::invalid(format!(
                "source {:?} of the bind mount at {at} is not an absolute path",
                mount.source
            )));
        }
        let ids = self.bind_ids(at, mount, wanted)?;
        let slot = self.supply(Supply::Bind(Bind {
            source: PathBuf::from(&mount.source),
            beneath: wanted.beneath.as_ref().map(PathBuf::from),
            process: wanted.process,
            owner: wanted.owner,
            recursive: wanted.bind == Some(BindScope::Tree),
            set: wanted.set,
            clear: wanted.clear,
            set_recursive: wanted.set_recursive,
            clear_recursive: wanted.clear_recursive,
            propagation: wanted.propagation.unwrap_or(Propagation::Private),
            propagation_recursive: wanted.propagation.is_none() || wanted.propagation_recursive,
            ids,
            must_be_proc: at == "/proc",
        }))?;
        self.attach.push(InitStep::Attach { mount: slot, at: target(at)? });
        Ok(())
    }

    fn bind_ids(&self, at: &str, mount: &Mount, wanted: &Options) -> Result<BindIds, LaunchError> {
        let recursive = wanted.idmap == Some(BindScope::Tree);
        if maps_ids(mount) {
            let maps = Maps { uid: mount.uid_mappings.clone(), gid: mount.gid_mappings.clone() };
            maps.check(&format!("the mount at {at}"))?;
            return Ok(BindIds::Map { recursive, by: Some(maps) });
        }
        match (self.namespaces.has_user(), wanted.idmap.is_some(), self.launch.ids) {
            (true, true, _) => Ok(BindIds::Map { recursive, by: None }),
            (true, false, Ids::Container) => Ok(BindIds::MapIfPossible),
            (false, true, _) => Err(LaunchError::invalid(format!(
                "mapped ids of the mount at {at} need mappings or a user namespace"
            ))),
            _ => Ok(BindIds::Host),
        }
    }

    fn cgroup(&mut self, at: &str, wanted: &Options) -> Result<(), LaunchError> {
        let Some(plan) = &self.facts.cgroups else {
            return Err(LaunchError::invalid("the host has no control groups to mount"));
        };
        match plan {
            MountPlan::Unified { host_dir } => {
                let slot = self.cgroup_tree(None, host_dir.clone(), wanted)?;
                self.attach(slot, at, wanted)
            }
            MountPlan::PerController { trees } => {
                let mut params =
                    vec![param("source", Some("cgroup"))?, param("mode", Some("755"))?];
                params.extend(self.label("context")?);
                let fs = FsMount { kind: c_string("tmpfs")?, params, attrs: wanted.set };
                let dirs = trees.iter().map(|tree| tree.name.clone()).collect();
                let links = trees.iter().flat_map(|tree| {
                    tree.symlinks.iter().map(|link| (link.clone(), tree.name.clone()))
                });
                let slot = self.supply(Supply::Tree { fs, dirs, links: links.collect() })?;
                self.attach(slot, at, wanted)?;
                for tree in trees {
                    let host = match tree.options {
                        Some(_) => tree.host_dir.join(self.facts.cgroup_path.trim_matches('/')),
                        None => tree.host_dir.clone(),
                    };
                    let slot = self.cgroup_tree(tree.options.as_deref(), host, wanted)?;
                    self.attach(slot, &format!("{at}/{}", tree.name), wanted)?;
                }
                Ok(())
            }
        }
    }

    /// One tree of control groups: in a namespace of its own the container may mount it, and sees
    /// only itself; otherwise a directory of the host's is bound.
    fn cgroup_tree(
        &mut self,
        v1: Option<&str>,
        host: PathBuf,
        wanted: &Options,
    ) -> Result<Slot, LaunchError> {
        if !self.namespaces.makes(ns::CGROUP) {
            return self.supply(Supply::Bind(Bind {
                source: host,
                beneath: None,
                process: None,
                owner: None,
                recursive: false,
                set: wanted.set,
                clear: wanted.clear,
                set_recursive: 0,
                clear_recursive: 0,
                propagation: Propagation::Private,
                propagation_recursive: true,
                ids: BindIds::Host,
                must_be_proc: false,
            }));
        }
        let kind = if v1.is_some() { "cgroup" } else { "cgroup2" };
        let mut params = vec![param("source", Some("cgroup"))?];
        for option in v1.iter().flat_map(|options| options.split(',')) {
            params.push(match option.split_once('=') {
                Some((key, value)) => param(key, Some(value))?,
                None => param(option, None)?,
            });
        }
        let into = self.slot()?;
        let fs = FsMount { kind: c_string(kind)?, params, attrs: wanted.set };
        self.late.push(InitStep::MakeFs { fs, into });
        Ok(into)
    }

    fn dev(&mut self, mount: &Mount, wanted: &Options) -> Result<(), LaunchError> {
        let mut fs = self.fs(mount, wanted)?;
        let readonly = fs.attrs & attr::RDONLY != 0;
        fs.attrs &= !(attr::RDONLY | attr::NODEV);
        let devices = self.linux().map_or(&[][..], |linux| &linux.devices);
        let nodes = dev::nodes(devices)?;
        let is_device =
            |node: &&Node| matches!(node.kind, NodeKind::Char(..) | NodeKind::Block(..));
        // Whoever cannot make devices hands the host's over, each mounted on an empty file.
        let handed: Vec<Node> = match self.facts.confined {
            true => nodes.iter().filter(is_device).cloned().collect(),
            false => Vec::new(),
        };
        let own = |node: Node| match handed.contains(&node) {
            true => Node { kind: NodeKind::Stub, ..node },
            false => node,
        };
        let dev = Dev {
            fs,
            dirs: dev::directories(&self.launch.spec.mounts, devices),
            nodes: nodes.into_iter().map(own).collect(),
            links: dev::links(),
            console: self.terminal,
        };
        let slot = self.supply(Supply::Dev(dev))?;
        self.dev = true;
        self.attach(slot, "/dev", wanted)?;
        for node in handed {
            let at = target(&format!("/dev/{}", node.name))?;
            let mount = self.supply(Supply::Device(node))?;
            self.attach.push(InitStep::Attach { mount, at });
        }
        if readonly {
            self.last.push(InitStep::Change {
                at: target("/dev")?,
                set: attr::RDONLY,
                clear: 0,
                recursive: false,
                propagation: None,
            });
        }
        Ok(())
    }

    fn time(&self) -> Result<InitStep, LaunchError> {
        let proc = self
            .proc
            .ok_or_else(|| LaunchError::invalid("a time namespace needs a mount of proc"))?;
        let mut offsets = String::new();
        for (clock, offset) in self.linux().iter().flat_map(|linux| &linux.time_offsets) {
            if !["monotonic", "boottime"].contains(&clock.as_str()) {
                return Err(LaunchError::invalid(format!("clock {clock:?} has no offset")));
            }
            offsets.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
        }
        Ok(InitStep::EnterTime { proc, offsets: offsets.into_bytes() })
    }
}

fn maps_ids(mount: &Mount) -> bool {
    !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty()
}

/// Nothing but procfs goes to `/proc`, and next to nothing into it (law A3).
fn check_place(at: &str, mount: &Mount, wanted: &Options) -> Result<(), LaunchError> {
    if at == "/" {
        return Err(LaunchError::invalid("nothing can be mounted over the root"));
    }
    let bind = mount.kind == "bind" || wanted.bind.is_some();
    if at == "/proc" && !(bind || mount.kind == "proc" || wanted.remount) {
        return Err(LaunchError::invalid(format!("{} cannot be mounted at /proc", mount.kind)));
    }
    if at != "/proc" && within(at, "/proc") && !OVER_PROC.contains(&at) {
        return Err(LaunchError::invalid(format!(
            "mount at {at}: inside /proc only what tells about the machine can be covered"
        )));
    }
    Ok(())
}
