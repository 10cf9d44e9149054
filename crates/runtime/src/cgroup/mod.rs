//! Control groups: one policy for v1, hybrid and v2 hosts.
//!
//! ```text
//!  Hierarchy::detect ──▶ Cgroup::create ──▶ join / clone_into_fd ──▶ update, freeze, stats …
//!                          │ mkdir per tree, then only the files asked for
//!                          └ on failure: what was made is removed
//! ```
//! A limit that was asked for and that the host cannot set is an error that names the controller;
//! what is merely nice to have (statistics, the v2 tree beside v1) degrades in silence.
//! Directories stay owned by real root, with user namespaces too (law C4).
//!
//! Never knows containers, images or who asked; never mounts anything. All calls block, for
//! microseconds mostly; [`Cgroup::delete`] and [`Cgroup::freeze`] up to their documented bound.

mod convert;
mod cpuset;
mod devices;
mod error;
mod file;
mod freeze;
mod hierarchy;
mod oom;
mod path;
mod setting;
mod stats;
pub mod systemd;

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use wire::oci::runtime::Resources;

pub use error::CgroupError;
pub use hierarchy::{DAEMON_GROUP, Hierarchy, Layout, MountPlan, MountedTree};
pub use oom::{OomSigns, OomWatch};
pub use stats::{BlkioEntry, BlkioStats, CpuStats, HugetlbStats, MemoryStats, PidsStats, Stats};

use file::Dir;
use path::CgroupPath;

/// One cgroup: a directory of the same path in every tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: CgroupPath,
    v1: Vec<LegacyDir>,
    v2: Option<UnifiedDir>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LegacyDir {
    controllers: Vec<String>,
    dir: Dir,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct UnifiedDir {
    dir: Dir,
    /// What is enabled here (`cgroup.controllers`); read once.
    controllers: BTreeSet<String>,
}

/// Where a controller lives.
#[derive(Clone, Copy)]
enum Home<'a> {
    V1(&'a Dir),
    V2(&'a Dir),
}

impl Cgroup {
    /// Makes the cgroup `path` (as `/estiba/<id>`, relative to the trees' mount points) in every
    /// tree and sets the limits. Parents are made as needed. A left-over of the same path without
    /// processes is removed first.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when processes live in it; [`CgroupError::NoController`] and
    /// [`CgroupError::BadLimit`] for limits that cannot be set; nothing is left behind.
    pub fn create(
        hierarchy: &Hierarchy,
        path: &str,
        resources: &Resources,
    ) -> Result<Cgroup, CgroupError> {
        let mut made = Cgroup::begin(hierarchy, path)?;
        made.complete(hierarchy, resources)?;
        Ok(made)
    }

    /// The first half of [`Cgroup::create`]: only the directory in the v2 tree, which a process
    /// can be cloned into. Nobody may do anything there before [`Cgroup::complete`].
    ///
    /// # Errors
    /// As [`Cgroup::create`]; nothing is left behind.
    pub fn begin(hierarchy: &Hierarchy, path: &str) -> Result<Cgroup, CgroupError> {
        let mut made = Cgroup::nothing(path)?;
        let outcome = made.make_unified(hierarchy, None);
        made.or_delete(outcome).map(|()| made)
    }

    /// [`Cgroup::begin`] below a group that process `pid` is in: a group with processes hands no
    /// controllers on, so the process goes first.
    ///
    /// # Errors
    /// As [`Cgroup::begin`], and as [`Cgroup::join`].
    pub fn begin_around(
        hierarchy: &Hierarchy,
        path: &str,
        pid: i32,
    ) -> Result<Cgroup, CgroupError> {
        let mut made = Cgroup::nothing(path)?;
        let outcome = made.make_unified(hierarchy, Some(pid));
        made.or_delete(outcome).map(|()| made)
    }

    fn nothing(path: &str) -> Result<Cgroup, CgroupError> {
        Ok(Cgroup { path: CgroupPath::parse(path)?, v1: Vec::new(), v2: None })
    }

    /// The second half of [`Cgroup::create`]: the v1 trees, and all limits.
    ///
    /// # Errors
    /// As [`Cgroup::create`]. Directories without processes are removed again.
    pub fn complete(
        &mut self,
        hierarchy: &Hierarchy,
        resources: &Resources,
    ) -> Result<(), CgroupError> {
        let outcome = self.make_legacy(hierarchy).and_then(|()| self.configure(resources));
        self.or_delete(outcome)
    }

    fn or_delete(&self, outcome: Result<(), CgroupError>) -> Result<(), CgroupError> {
        outcome.inspect_err(|_| {
            // The first error is the one to tell; a directory that stays is found at delete.
            let dirs = self.v1.iter().map(|tree| &tree.dir).chain(self.v2.iter().map(|v2| &v2.dir));
            dirs.for_each(|dir| drop(dir.remove(0)));
        })
    }

    /// The existing cgroup `path`.
    ///
    /// # Errors
    /// [`CgroupError::NotFound`] when no tree has it.
    pub fn open(hierarchy: &Hierarchy, path: &str) -> Result<Cgroup, CgroupError> {
        let path = CgroupPath::parse(path)?;
        let legacy = hierarchy.v1.iter().map(|tree| LegacyDir {
            controllers: tree.controllers.clone(),
            dir: Dir::new(path.below(&tree.dir)),
        });
        let v1: Vec<LegacyDir> = legacy.filter(|tree| tree.dir.exists()).collect();
        let v2 = match &hierarchy.v2 {
            Some(tree) => UnifiedDir::open(Dir::new(path.below(&tree.dir)))?,
            None => None,
        };
        if v1.is_empty() && v2.is_none() && !hierarchy.is_none() {
            return Err(CgroupError::NotFound { path: path.as_str().to_owned() });
        }
        Ok(Cgroup { path, v1, v2 })
    }

    /// Whether there is no group behind it: the host has none for this user.
    pub fn is_none(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }

    /// The path in every tree, as `/estiba/<id>`.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// The directory in the tree of `controller` (a name of v1), for whoever reports it.
    pub fn dir(&self, controller: &str) -> Option<&Path> {
        match self.home(controller)? {
            Home::V1(dir) | Home::V2(dir) => Some(dir.path()),
        }
    }

    /// Puts process `pid` and all its threads into the cgroup, in every tree.
    ///
    /// # Errors
    /// [`CgroupError::Join`] for the first tree that refuses.
    pub fn join(&self, pid: i32) -> Result<(), CgroupError> {
        self.join_unified(pid)?;
        self.join_legacy(pid)
    }

    /// [`Cgroup::join`] in the v2 tree alone.
    pub fn join_unified(&self, pid: i32) -> Result<(), CgroupError> {
        let Some(v2) = &self.v2 else { return Ok(()) };
        v2.dir.join(pid).map_err(|errno| join_error(&v2.dir, pid, errno))
    }

    /// The files by which a process enters the v1 trees by itself: it writes `0` into each.
    ///
    /// # Errors
    /// [`CgroupError`] when one cannot be opened, or a cpuset has nothing to be filled from.
    pub fn doors(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        let door = |LegacyDir { controllers, dir }: &LegacyDir| {
            // A cpuset without processors or memory takes nobody.
            if controllers.iter().any(|c| c == hierarchy::CPUSET) {
                cpuset::inherit(dir, self.path.depth())?;
            }
            dir.door().map_err(|errno| CgroupError::Read {
                path: dir.path().join("tasks"),
                source: errno.into(),
            })
        };
        self.v1.iter().map(door).collect()
    }

    /// [`Cgroup::join`] for a process that was cloned into [`Cgroup::clone_into_fd`] already: only
    /// the v1 trees are left. Does nothing on a unified host.
    pub fn join_legacy(&self, pid: i32) -> Result<(), CgroupError> {
        for LegacyDir { controllers, dir } in &self.v1 {
            let mut joined = dir.join(pid);
            // A cpuset without processors or memory takes nobody; it is filled only when needed.
            if joined == Err(Errno::NOSPC) && controllers.iter().any(|c| c == hierarchy::CPUSET) {
                cpuset::inherit(dir, self.path.depth())?;
                joined = dir.join(pid);
            }
            joined.map_err(|errno| join_error(dir, pid, errno))?;
        }
        Ok(())
    }

    /// The v2 directory for `clone3(CLONE_INTO_CGROUP)`: the whole cgroup on a unified host, the
    /// tree beside v1 on a hybrid one ([`Cgroup::join_legacy`] does the rest), `None` without v2.
    pub fn clone_into_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(v2) = &self.v2 else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = v2.dir.path();
        rustix::fs::open(path, flags, Mode::empty())
            .map(Some)
            .map_err(|errno| CgroupError::Read { path: path.to_owned(), source: errno.into() })
    }

    /// Changes limits: what `resources` names is set, the rest stays.
    pub fn update(&self, resources: &Resources) -> Result<(), CgroupError> {
        setting::apply(self, resources, false)?;
        if resources.devices.is_empty() {
            return Ok(());
        }
        devices::update(self, &resources.devices)
    }

    /// Every process of the cgroup and of those below it, in no particular order.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        if self.is_none() {
            return Ok(Vec::new());
        }
        let root = self.any_dir()?;
        let mut pids = Vec::new();
        for dir in root.subtree()? {
            let Some(content) = dir.read_if_there("cgroup.procs")? else { continue };
            pids.extend(content.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        Ok(pids)
    }

    /// Removes the cgroup and those below it from every tree. Waits up to about a second for
    /// processes that have died but are not reaped yet.
    ///
    /// # Errors
    /// [`CgroupError::Delete`] for the first directory that stays; the others are removed still.
    pub fn delete(&self) -> Result<(), CgroupError> {
        let v1 = self.v1.iter().map(|tree| (&tree.dir, tree.controllers.as_slice()));
        let dirs = v1.chain(self.v2.iter().map(|v2| (&v2.dir, &[][..])));
        let removed = |(dir, controllers): (&Dir, &[String])| {
            let outcome = dir.remove(file::REMOVE_RETRIES);
            // systemd removes a scope where it watches it, and would not notice that it is over
            // if it found nothing there. The other trees it does not know.
            if let Some(scope) = systemd::scope_of(dir.path())
                && !systemd::watches(controllers)
            {
                let _ = rustix::fs::rmdir(scope);
            }
            outcome
        };
        dirs.map(removed).fold(Ok(()), Result::and)
    }

    /// The directory in the v2 tree, at creation.
    fn make_unified(
        &mut self,
        hierarchy: &Hierarchy,
        first: Option<i32>,
    ) -> Result<(), CgroupError> {
        if let Some(tree) = &hierarchy.v2 {
            let dir = Dir::new(self.path.below(&tree.dir));
            match path::make_leaf(&tree.dir, &self.path, |_| Ok(())) {
                Ok(()) => {
                    let wanted = &tree.controllers;
                    let made = self.v2.insert(UnifiedDir { dir, controllers: BTreeSet::new() });
                    if let Some(pid) = first {
                        made.dir.join(pid).map_err(|errno| join_error(&made.dir, pid, errno))?;
                    }
                    made.controllers = path::enable_controllers(&tree.dir, &self.path, wanted)?;
                }
                // Beside v1 the v2 tree is nice to have; it may be mounted read-only.
                Err(CgroupError::Create { .. }) if hierarchy.layout() == Layout::Hybrid => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The directories in the v1 trees, at creation.
    fn make_legacy(&mut self, hierarchy: &Hierarchy) -> Result<(), CgroupError> {
        for tree in &hierarchy.v1 {
            let dir = Dir::new(self.path.below(&tree.dir));
            let is_cpuset = tree.controllers.iter().any(|c| c == hierarchy::CPUSET);
            let prepare = |parent: &Dir| if is_cpuset { cpuset::prepare(parent) } else { Ok(()) };
            path::make_leaf(&tree.dir, &self.path, prepare)?;
            self.v1.push(LegacyDir { controllers: tree.controllers.clone(), dir });
        }
        Ok(())
    }

    /// The limits, at creation: devices are always decided, even when no rule was given (law C3).
    fn configure(&self, resources: &Resources) -> Result<(), CgroupError> {
        setting::apply(self, resources, true)?;
        devices::install(self, &resources.devices)
    }

    /// Where `controller` (a name of v1; `blkio` stands for v2's `io`) lives for this cgroup.
    fn home(&self, controller: &str) -> Option<Home<'_>> {
        let owns = |tree: &&LegacyDir| tree.controllers.iter().any(|c| c == controller);
        if let Some(tree) = self.v1.iter().find(owns) {
            return Some(Home::V1(&tree.dir));
        }
        let v2 = self.v2.as_ref()?;
        let name = if controller == hierarchy::BLKIO { hierarchy::IO } else { controller };
        v2.controllers.contains(name).then_some(Home::V2(&v2.dir))
    }

    /// A directory that certainly has all the processes.
    fn any_dir(&self) -> Result<&Dir, CgroupError> {
        let v1 = || self.v1.first().map(|tree| &tree.dir);
        let found = self.v2.as_ref().map(|v2| &v2.dir).or_else(v1);
        found.ok_or_else(|| CgroupError::NotFound { path: self.path.as_str().to_owned() })
    }
}

impl UnifiedDir {
    fn open(dir: Dir) -> Result<Option<UnifiedDir>, CgroupError> {
        let names = dir.read_if_there("cgroup.controllers")?;
        Ok(names.map(|names| UnifiedDir {
            controllers: names.split_whitespace().map(str::to_owned).collect(),
            dir,
        }))
    }
}

fn join_error(dir: &Dir, pid: i32, errno: Errno) -> CgroupError {
    CgroupError::Join { pid, path: dir.path().to_owned(), source: errno.into() }
}

/// What would be written for `resources`, on v1 with every controller and on v2, in words.
#[cfg(test)]
pub(crate) fn decided(resources: &Resources) -> String {
    let plan = |resources: &Resources, version| {
        let version = move |_: &str| Some(version);
        let memory_usage = Some(u64::MAX);
        let facts = setting::Facts { version: &version, memory_limit: None, memory_usage };
        format!("{:?}", setting::plan(resources, &facts).map_err(|error| error.to_string()))
    };
    // Version 2 refuses what it has not; what is only different there is seen without it.
    let mut newer = Resources { block_io: None, cpu: None, ..resources.clone() };
    if let Some(memory) = &mut newer.memory {
        (memory.kernel, memory.kernel_tcp, memory.swappiness) = (None, None, None);
    }
    let v1 = plan(resources, setting::Version::V1);
    let v2 = plan(&newer, setting::Version::V2);
    format!("{v1} {v2} {}", devices::decided(&resources.devices))
}

#[cfg(test)]
mod tests;
