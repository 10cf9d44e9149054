//! What the host offers: the mounted cgroup trees and their controllers, found once per process.
//!
//! ```text
//!   legacy   cpu,cpuacct │ memory │ pids │ … │ name=systemd          one v1 tree per controller
//!   hybrid   the same, and one v2 tree beside them (with few or no controllers)
//!   unified  one v2 tree with every controller
//! ```
//! Every controller lives in exactly one tree, and each resource is written where its controller
//! lives, so that the three layouts need no code of their own. Never creates or changes a cgroup.
//!
//! Source: cgroups(7), proc_pid_mountinfo(5), `Documentation/admin-guide/cgroup-v2.rst`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::error::CgroupError;

/// Controllers by the names of v1, where v2 has other names for the same thing.
pub(super) const MEMORY: &str = "memory";
/// CPU time: shares, quotas.
pub(super) const CPU: &str = "cpu";
/// CPU accounting (v1); part of the core on v2.
pub(super) const CPUACCT: &str = "cpuacct";
/// CPU and memory node placement.
pub(super) const CPUSET: &str = "cpuset";
/// Process count.
pub(super) const PIDS: &str = "pids";
/// Device access (v1); a BPF program on v2.
pub(super) const DEVICES: &str = "devices";
/// Freezing (v1); part of the core on v2.
pub(super) const FREEZER: &str = "freezer";
/// Block IO as v1 calls it.
pub(super) const BLKIO: &str = "blkio";
/// Block IO as v2 calls it.
pub(super) const IO: &str = "io";
/// Huge pages.
pub(super) const HUGETLB: &str = "hugetlb";
/// RDMA resources.
pub(super) const RDMA: &str = "rdma";

/// More mounts or lines than any host has: longer input is refused.
const MAX_LINES: usize = 100_000;

/// What most of the files read here have room in.
const ROOM: usize = 32 << 10;

/// How the host's trees are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Only v1 trees.
    Legacy,
    /// v1 trees with the controllers, and a v2 tree beside them.
    Hybrid,
    /// Only the v2 tree.
    Unified,
}

/// The mounted cgroup trees of this host, as this process sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub(super) v1: Vec<LegacyTree>,
    pub(super) v2: Option<UnifiedTree>,
}

/// One v1 tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LegacyTree {
    /// `["cpu", "cpuacct"]`, or `["name=systemd"]`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub dir: PathBuf,
    /// The cgroup of this process in it, as `/proc/self/cgroup` tells.
    pub own: String,
}

/// The v2 tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnifiedTree {
    /// Where it is mounted.
    pub dir: PathBuf,
    /// What its root could pass on (`cgroup.controllers`).
    pub controllers: BTreeSet<String>,
    /// The cgroup of this process in it.
    pub own: String,
}

impl Hierarchy {
    /// Finds the host's trees from `/proc/self/mountinfo` and `/proc/self/cgroup`.
    ///
    /// # Errors
    /// [`CgroupError::Read`] when one of these cannot be read, [`CgroupError::NoHierarchy`] when no
    /// cgroup file system is mounted.
    pub fn detect() -> Result<Hierarchy, CgroupError> {
        let mountinfo = read("/proc/self/mountinfo")?;
        let cgroup = read("/proc/self/cgroup")?;
        let mut hierarchy = Hierarchy::parse(&mountinfo, &cgroup, is_shown)?;
        if let Some(v2) = &mut hierarchy.v2 {
            let names = read(v2.dir.join("cgroup.controllers"))?;
            v2.controllers = names.split_whitespace().map(str::to_owned).collect();
        }
        match sys::userns::is_first() {
            true => Ok(hierarchy),
            false => Ok(hierarchy.delegated()),
        }
    }

    /// What is left of the trees for who is not the machine's root: the part of the v2 tree that
    /// was delegated, if one was. v1 trees cannot be delegated safely (cgroups(7), "Cgroups
    /// delegation"), and are not used.
    fn delegated(mut self) -> Hierarchy {
        self.v1.clear();
        self.v2 = self.v2.and_then(|tree| {
            let dir = delegation(&tree.dir, &tree.own)?;
            let names = read(dir.join("cgroup.controllers")).ok()?;
            let controllers = names.split_whitespace().map(str::to_owned).collect();
            Some(UnifiedTree { dir, controllers, ..tree })
        });
        self
    }

    /// Whether there is no tree at all: containers then have no groups, and no limits.
    pub fn is_none(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }

    /// The pure part of [`Hierarchy::detect`]; the v2 tree's controllers are not known yet. A mount
    /// that `is_shown` denies is covered by another one and cannot be reached.
    fn parse(
        mountinfo: &str,
        cgroup: &str,
        is_shown: impl Fn(&CgroupMount) -> bool,
    ) -> Result<Hierarchy, CgroupError> {
        let mut hierarchy = Hierarchy { v1: Vec::new(), v2: None };
        let mounts = mountinfo.lines().take(MAX_LINES).filter_map(CgroupMount::parse);
        for mount in mounts.filter(is_shown) {
            if mount.unified {
                let tree = || UnifiedTree {
                    own: own_path(cgroup, &[]),
                    dir: mount.dir,
                    controllers: BTreeSet::new(),
                };
                hierarchy.v2.get_or_insert_with(tree);
                continue;
            }
            let taken = |name: &String| hierarchy.v1.iter().any(|t| t.controllers.contains(name));
            if mount.controllers.is_empty() || mount.controllers.iter().any(taken) {
                continue;
            }
            let own = own_path(cgroup, &mount.controllers);
            let tree = LegacyTree { controllers: mount.controllers, dir: mount.dir, own };
            hierarchy.v1.push(tree);
        }
        if hierarchy.v1.is_empty() && hierarchy.v2.is_none() {
            return Err(CgroupError::NoHierarchy);
        }
        Ok(hierarchy)
    }

    /// The layout of the trees. A lone `name=systemd` beside v2 makes no hybrid.
    pub fn layout(&self) -> Layout {
        let controls = |tree: &LegacyTree| tree.controllers.iter().any(|c| !c.contains('='));
        match (&self.v2, self.v1.iter().any(controls)) {
            (Some(_), false) => Layout::Unified,
            (Some(_), true) => Layout::Hybrid,
            (None, _) => Layout::Legacy,
        }
    }

    /// The controllers that limits can be set with, by v1's names for what both versions have
    /// (`blkio` stands for v2's `io`; `devices`, `freezer` and `cpuacct` are always there on v2).
    pub fn controllers(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> =
            self.v1.iter().flat_map(|tree| tree.controllers.iter().cloned()).collect();
        if let Some(v2) = &self.v2 {
            let legacy_name = |name: &String| if name == IO { BLKIO.into() } else { name.clone() };
            names.extend(v2.controllers.iter().map(legacy_name));
            names.extend([DEVICES, FREEZER].map(str::to_owned));
            if v2.controllers.contains(CPU) {
                names.insert(CPUACCT.into());
            }
        }
        names
    }

    /// The cgroup of this process in the tree that accounts memory, for placing relative paths.
    pub fn own_path(&self) -> &str {
        match self.legacy(MEMORY).or(self.v1.first()) {
            Some(tree) if self.layout() != Layout::Unified => &tree.own,
            _ => self.v2.as_ref().map_or("/", |tree| &tree.own),
        }
    }

    /// The v1 tree of `controller`.
    pub(super) fn legacy(&self, controller: &str) -> Option<&LegacyTree> {
        self.v1.iter().find(|tree| tree.controllers.iter().any(|c| c == controller))
    }

    /// How `/sys/fs/cgroup` of a container shows these trees.
    pub fn mount_plan(&self) -> MountPlan {
        if let (Layout::Unified, Some(v2)) = (self.layout(), &self.v2) {
            return MountPlan::Unified { host_dir: v2.dir.clone() };
        }
        let mut trees: Vec<MountedTree> = self.v1.iter().map(LegacyTree::mounted).collect();
        trees.extend(self.v2.as_ref().map(|v2| MountedTree {
            name: file_name(&v2.dir, "unified"),
            symlinks: Vec::new(),
            options: None,
            host_dir: v2.dir.clone(),
        }));
        MountPlan::PerController { trees }
    }
}

/// What to mount at a container's `/sys/fs/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountPlan {
    /// One `cgroup2` mount.
    Unified {
        /// The mounted tree on the host, to bind from when the host's cgroup namespace is shared.
        host_dir: PathBuf,
    },
    /// A tmpfs with one mount per tree in it.
    PerController {
        /// In the host's order.
        trees: Vec<MountedTree>,
    },
}

/// One mount below a container's `/sys/fs/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedTree {
    /// The directory's name: `memory`, `cpu,cpuacct`, `systemd`, `unified`.
    pub name: String,
    /// Links beside it that lead to it: `cpu` and `cpuacct` for `cpu,cpuacct`.
    pub symlinks: Vec<String>,
    /// The options of a `cgroup` mount (`cpu,cpuacct`, `none,name=systemd`); `None` for a
    /// `cgroup2` mount.
    pub options: Option<String>,
    /// The mounted tree on the host, to bind from when the host's cgroup namespace is shared.
    pub host_dir: PathBuf,
}

impl LegacyTree {
    fn mounted(&self) -> MountedTree {
        let options = self.controllers.join(",");
        let named = options.strip_prefix("name=");
        let name = file_name(&self.dir, named.unwrap_or(&options));
        let linked = self.controllers.len() > 1;
        let symlinks = self.controllers.iter().filter(|c| linked && **c != name).cloned().collect();
        let options = if named.is_some() { format!("none,{options}") } else { options };
        MountedTree { name, symlinks, options: Some(options), host_dir: self.dir.clone() }
    }
}

fn file_name(dir: &Path, otherwise: &str) -> String {
    dir.file_name().map_or_else(|| otherwise.to_owned(), |name| name.to_string_lossy().into())
}

/// A line of mountinfo that shows a cgroup tree.
struct CgroupMount {
    id: u64,
    unified: bool,
    dir: PathBuf,
    controllers: Vec<String>,
}

/// The mount options of v1 trees that are not controllers.
const TREE_OPTIONS: [&str; 9] = [
    "rw",
    "ro",
    "xattr",
    "noprefix",
    "clone_children",
    "cpuset_v2_mode",
    "favordynmods",
    "none",
    "all",
];

impl CgroupMount {
    /// Fields: id, parent, device, root, mount point, options, tags…, `-`, type, source, options of
    /// the superblock.
    fn parse(line: &str) -> Option<CgroupMount> {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        let unified = match back.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let mut front = front.split(' ');
        let id = front.next()?.parse().ok()?;
        let dir = PathBuf::from(unescape(front.nth(3)?));
        let is_controller =
            |name: &&str| !TREE_OPTIONS.contains(name) && !name.starts_with("release_agent=");
        let options = back.nth(1).unwrap_or("");
        let controllers = options.split(',').filter(is_controller).map(str::to_owned).collect();
        Some(CgroupMount { id, unified, dir, controllers })
    }
}

/// Whether the mount is what its path leads to: mountinfo also lists mounts that later ones cover.
/// A kernel that does not tell (before 5.8) is believed.
fn is_shown(mount: &CgroupMount) -> bool {
    match statx(CWD, &mount.dir, AtFlags::empty(), StatxFlags::MNT_ID) {
        Ok(status)
            if StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::MNT_ID) =>
        {
            status.stx_mnt_id == mount.id
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Mount points escape blank, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain + rest
}

/// This process's cgroup in the tree of these controllers (v2: none), from `/proc/self/cgroup`.
fn own_path(cgroup: &str, controllers: &[String]) -> String {
    let path = cgroup.lines().take(MAX_LINES).find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let id = fields.next()?;
        let names = fields.next()?;
        let path = fields.next()?;
        let matches = match controllers.first() {
            Some(first) => names.split(',').any(|name| name == first),
            None => id == "0" && names.is_empty(),
        };
        matches.then_some(path)
    });
    path.unwrap_or("/").to_owned()
}

/// Name of the group that a delegated group's own processes move to, since a group with processes
/// cannot hand controllers on ("no internal processes", cgroup-v2.rst).
pub const DAEMON_GROUP: &str = "estiba-daemon";

/// The directory of the group that was delegated to this process: its own, or the one above when
/// it lives in [`DAEMON_GROUP`]. Delegated is what lets processes be moved and groups be made.
fn delegation(mounted: &Path, own: &str) -> Option<PathBuf> {
    let own = own.trim_end_matches('/');
    let base = own.strip_suffix(DAEMON_GROUP).map_or(own, |above| above.trim_end_matches('/'));
    let dir = mounted.join(base.trim_start_matches('/'));
    let may = |path: &Path| {
        let access = rustix::fs::Access::WRITE_OK;
        let flags = rustix::fs::AtFlags::EACCESS;
        rustix::fs::accessat(rustix::fs::CWD, path, access, flags).is_ok()
    };
    let files = ["cgroup.procs", "cgroup.subtree_control"];
    (may(&dir) && files.iter().all(|file| may(&dir.join(file)))).then_some(dir)
}

fn read(path: impl Into<PathBuf>) -> Result<String, CgroupError> {
    let path = path.into();
    // The kernel writes these while they are read; with room for all of it, it does so once.
    let mut text = String::with_capacity(ROOM);
    match File::open(&path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => Ok(text),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEMD_HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 master:2 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:32 / /mnt/again\\040here rw - cgroup cgroup rw,memory
";

    const OWN: &str = "\
3:memory:/user.slice
2:cpu,cpuacct:/a:b
1:name=systemd:/user.slice/session-1.scope
0::/user.slice/session-1.scope
";

    #[test]
    fn hybrid_layout_of_systemd() {
        let found = Hierarchy::parse(SYSTEMD_HYBRID, OWN, |_| true).unwrap();
        assert_eq!(found.layout(), Layout::Hybrid);
        assert_eq!(found.v1.len(), 3, "a tree mounted twice counts once: {found:?}");
        assert_eq!(found.legacy(CPU).unwrap().own, "/a:b");
        assert_eq!(found.own_path(), "/user.slice");
        assert_eq!(found.v2.as_ref().unwrap().own, "/user.slice/session-1.scope");

        let MountPlan::PerController { trees } = found.mount_plan() else { panic!("{found:?}") };
        let cpu = trees.iter().find(|tree| tree.name == "cpu,cpuacct").unwrap();
        assert_eq!(cpu.symlinks, ["cpu", "cpuacct"]);
        assert_eq!(cpu.options.as_deref(), Some("cpu,cpuacct"));
        let systemd = trees.iter().find(|tree| tree.name == "systemd").unwrap();
        assert_eq!(systemd.options.as_deref(), Some("none,name=systemd"));
        assert!(systemd.symlinks.is_empty());
        assert_eq!(trees.iter().find(|tree| tree.name == "unified").unwrap().options, None);
    }

    #[test]
    fn unified_layout_and_none() {
        let line = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchy::parse(line, "0::/init.scope\n", |_| true).unwrap();
        assert_eq!(found.layout(), Layout::Unified);
        assert_eq!(found.own_path(), "/init.scope");
        let host_dir = PathBuf::from("/sys/fs/cgroup");
        assert_eq!(found.mount_plan(), MountPlan::Unified { host_dir });

        let named = "31 23 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let both = Hierarchy::parse(&format!("{line}{named}"), "", |_| true).unwrap();
        assert_eq!(both.layout(), Layout::Unified);

        let nothing = Hierarchy::parse("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "", |_| true);
        assert!(matches!(nothing, Err(CgroupError::NoHierarchy)));
    }

    #[test]
    fn mount_points_are_unescaped() {
        for (escaped, plain) in [
            ("/a\\040b", "/a b"),
            ("/a\\134b", "/a\\b"),
            ("/end\\", "/end\\"),
            ("/a\\9zz", "/a\\9zz"),
            ("/a\\é\\040", "/a\\é "),
        ] {
            assert_eq!(unescape(escaped), plain);
        }
    }

    #[test]
    fn a_covered_mount_is_no_tree() {
        let found = Hierarchy::parse(SYSTEMD_HYBRID, OWN, |mount| mount.id != 32).unwrap();
        assert_eq!((found.layout(), found.v1.len()), (Layout::Legacy, 3));
        let nothing = Hierarchy::parse(SYSTEMD_HYBRID, OWN, |_| false);
        assert!(matches!(nothing, Err(CgroupError::NoHierarchy)));
    }

    #[test]
    fn this_host_is_understood() {
        let found = Hierarchy::detect().unwrap();
        for controller in [CPU, MEMORY, PIDS] {
            assert!(found.controllers().contains(controller), "{found:?}");
        }
    }
}
