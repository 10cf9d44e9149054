//! Gathering what the planner must know: the only place that asks the host and reads the image
//! before a container exists.

use crate::caps::CapSet;
use crate::cgroup::systemd::Scope;
use crate::cgroup::{CgroupError, Hierarchy};
use crate::container::cgroup_error;
use crate::error::LaunchError;
use crate::launch::{Launch, Rootfs};
use crate::plan::Facts;
use crate::seccomp;
use crate::user::{self, Accounts, User};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::root::open_how;
use sys::seccomp::{Insn, MAX_INSNS, NEW_LISTENER, WAIT_KILLABLE_RECV};
use wire::oci::runtime::Linux;

/// What is the same for every container and every process that joins one: the host, and what this
/// process is allowed to do there.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) hierarchy: Hierarchy,
    bounding: u64,
    throttles: Vec<String>,
    initramfs: bool,
    confined: bool,
    groups_fixed: bool,
    apparmor: bool,
    selinux: bool,
}

impl Host {
    /// Looks around. What it saw is the truth for some seconds: control groups can be mounted, and
    /// processors plugged in.
    pub(crate) fn look() -> Result<Self, LaunchError> {
        let confined = !sys::userns::is_first();
        let denied = |text: Vec<u8>| text.starts_with(b"deny");
        Ok(Self {
            hierarchy: Hierarchy::detect().map_err(cgroup_error)?,
            bounding: CapSet::bounding().bits(),
            throttles: throttle_counters(),
            initramfs: root_is_initramfs(),
            confined,
            groups_fixed: confined && std::fs::read("/proc/self/setgroups").is_ok_and(denied),
            apparmor: Path::new("/sys/kernel/security/apparmor").exists(),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        })
    }
}

/// Facts for the container of `launch`.
pub(crate) fn of_launch(launch: &Launch, host: &Host) -> Result<Facts, LaunchError> {
    let linux = launch.spec.linux.as_ref();
    let user = match &launch.user {
        Some(user) => Some(resolve_in_layers(&launch.rootfs, user)?),
        None => None,
    };
    let masks = linux.is_some_and(|linux| !linux.masked_paths.is_empty());
    Ok(Facts {
        cgroups: Some(host.hierarchy.mount_plan()),
        cgroup_path: cgroup_path(launch),
        sensitive: if masks { host.throttles.clone() } else { Vec::new() },
        ..common(launch, host, user)?
    })
}

/// Facts for a process that joins the container of `launch`, whose root is `root`.
pub(crate) fn of_exec(
    launch: &Launch,
    host: &Host,
    root: Option<BorrowedFd<'_>>,
    user: Option<&str>,
) -> Result<Facts, LaunchError> {
    let user = match (user, root) {
        (Some(user), Some(root)) => Some(user::resolve(root, user)?),
        _ => None,
    };
    common(launch, host, user)
}

fn common(launch: &Launch, host: &Host, user: Option<User>) -> Result<Facts, LaunchError> {
    Ok(Facts {
        bounding: host.bounding,
        filter: filter(launch)?,
        user,
        initramfs: host.initramfs,
        confined: host.confined,
        groups_fixed: host.groups_fixed,
        apparmor: host.apparmor,
        selinux: host.selinux,
        ..Facts::default()
    })
}

/// The control group of a container: what the specification says, or one by its id.
pub(crate) fn cgroup_path(launch: &Launch) -> String {
    let path = launch.spec.linux.as_ref().map_or("", |linux| linux.cgroups_path.as_str());
    // What is no scope is refused before anything is made of it.
    if let Some(scope) = launch.systemd.then(|| scope(launch)).and_then(Result::ok) {
        return scope.path().to_owned();
    }
    if path.is_empty() { format!("/estiba/{}", launch.id) } else { crate::plan::clean(path) }
}

/// The scope that systemd is to make for a container.
pub(crate) fn scope(launch: &Launch) -> Result<Scope, CgroupError> {
    let path = launch.spec.linux.as_ref().map_or("", |linux| linux.cgroups_path.as_str());
    Scope::parse(path, &launch.id)
}

/// The compiled filter and its flags for seccomp(2).
pub(crate) fn filter(launch: &Launch) -> Result<Option<(Vec<Insn>, u32)>, LaunchError> {
    let none = Linux::default();
    let linux = launch.spec.linux.as_ref().unwrap_or(&none);
    let invalid = |error: seccomp::SeccompError| LaunchError::invalid(error.to_string());
    let profile = linux.seccomp.as_ref();
    let flags = profile.map(seccomp::filter_flags).transpose().map_err(invalid)?.unwrap_or(0);
    if let Some(path) = &launch.seccomp {
        let program = read_program(path)?;
        let flags = listening(&program, flags);
        return Ok(Some((program, flags)));
    }
    let Some(profile) = profile else { return Ok(None) };
    let program = seccomp::compile(profile, seccomp::Arch::NATIVE).map_err(invalid)?;
    let flags = listening(program.instructions(), flags);
    Ok(Some((program.instructions().to_vec(), flags)))
}

/// The flags with a listener, or without what only listeners have.
fn listening(program: &[Insn], flags: u32) -> u32 {
    match seccomp::notifies(program) {
        true => flags | NEW_LISTENER,
        false => flags & !WAIT_KILLABLE_RECV,
    }
}

fn read_program(path: &Path) -> Result<Vec<Insn>, LaunchError> {
    let what = || format!("read the system call filter {}", path.display());
    let failed = |errno| LaunchError::at(what(), errno);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
    let mut bytes = vec![0; MAX_INSNS * 8 + 1];
    let mut length = 0;
    loop {
        match rustix::io::read(&file, &mut bytes[length..]).map_err(failed)? {
            0 => break,
            count => length += count,
        }
    }
    sys::seccomp::from_bytes(&bytes[..length])
        .ok_or_else(|| LaunchError::invalid(format!("{}: it is not one", what())))
}

/// Counters of each processor that tell about its neighbours (law C2).
fn throttle_counters() -> Vec<String> {
    const CPUS: &str = "/sys/devices/system/cpu";
    let first = format!("{CPUS}/cpu0/thermal_throttle");
    if rustix::fs::access(&first, rustix::fs::Access::EXISTS).is_err() {
        return Vec::new();
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::open(CPUS, flags, Mode::empty()) else { return vec![first] };
    let Ok(entries) = rustix::fs::Dir::read_from(&dir) else { return vec![first] };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().to_str().ok()?;
        let number = name.strip_prefix("cpu")?;
        number.parse::<u32>().ok()?;
        Some(format!("{CPUS}/{name}/thermal_throttle"))
    });
    names.collect()
}

/// A root that is an initramfs has nothing above it to be put away to, pivot_root(2).
fn root_is_initramfs() -> bool {
    const RAMFS_MAGIC: i64 = 0x8584_58f6_u32 as i64;
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let root = rustix::fs::statfs("/").map(|fs| fs.f_type);
    if !matches!(root, Ok(RAMFS_MAGIC | TMPFS_MAGIC)) {
        return false;
    }
    // Only then is the table of mounts worth reading: the root's own line says "rootfs".
    let mut table = vec![0; 1 << 16];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/proc/self/mounts", flags, Mode::empty()) else {
        return false;
    };
    let length = rustix::io::read(&file, &mut table).unwrap_or(0);
    let table = String::from_utf8_lossy(&table[..length]);
    let last = table.lines().rfind(|line| line.split(' ').nth(1) == Some("/"));
    last.is_some_and(|line| line.starts_with("rootfs "))
}

/// Resolves a user in a root that is not mounted yet.
fn resolve_in_layers(rootfs: &Rootfs, user: &str) -> Result<User, LaunchError> {
    let (lower, upper) = match rootfs {
        Rootfs::Overlay { lower, upper, .. } => (lower, upper),
        Rootfs::Directory(path) => return user::resolve(open_layer(path)?.as_fd(), user),
    };
    let layers: Vec<OwnedFd> =
        [upper].into_iter().chain(lower).map(|p| open_layer(p)).collect::<Result<_, _>>()?;
    let accounts = match (find(&layers, "passwd"), find(&layers, "group")) {
        (Found::In(passwd), Found::In(group)) => Accounts { passwd, group },
        _ => {
            let merged = merged(&layers)
                .map_err(|errno| LaunchError::at("read the users of the image", errno))?;
            Accounts::read(merged.as_fd())?
        }
    };
    user::resolve_in(&accounts, user)
}

fn open_layer(path: &Path) -> Result<OwnedFd, LaunchError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| LaunchError::at(format!("open layer {}", path.display()), errno))
}

enum Found {
    /// The file's contents; empty when no layer has it.
    In(String),
    /// Links, or anything else that only the merged file system can answer.
    Unclear,
}

/// Looks for a file of `etc` in the layers, topmost first, without mounting them.
fn find(layers: &[OwnedFd], name: &str) -> Found {
    let plain = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    for layer in layers {
        let etc = match open_how(layer.as_fd(), "etc", OFlags::PATH, Mode::empty(), plain) {
            Ok(etc) => etc,
            Err(Errno::NOENT) => continue,
            Err(_) => return Found::Unclear,
        };
        match kind_of(etc.as_fd()) {
            Some(FileType::Directory) => {}
            _ => return Found::Unclear,
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        match open_how(etc.as_fd(), name, flags, Mode::empty(), plain) {
            Ok(file) if kind_of(file.as_fd()) == Some(FileType::RegularFile) => {
                let read = sys::Root::from(etc).read(Path::new(name), user::MAX_FILE_BYTES);
                return match read {
                    Ok(bytes) => Found::In(String::from_utf8_lossy(&bytes).into_owned()),
                    Err(_) => Found::Unclear,
                };
            }
            Ok(_) => return Found::Unclear,
            Err(Errno::NOENT) if is_opaque(layer) => return Found::In(String::new()),
            Err(Errno::NOENT) => {}
            Err(_) => return Found::Unclear,
        }
    }
    Found::In(String::new())
}

fn kind_of(fd: BorrowedFd<'_>) -> Option<FileType> {
    rustix::fs::fstat(fd).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// Whether `etc` of the layer hides the layers below.
fn is_opaque(layer: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(etc) = rustix::fs::openat(layer, "etc", flags, Mode::empty()) else { return true };
    let mut value = [0u8; 8];
    let name = match sys::userns::is_first() {
        true => c"trusted.overlay.opaque",
        false => c"user.overlay.opaque",
    };
    matches!(rustix::fs::fgetxattr(&etc, name, &mut value), Ok(1..) if value[0] == b'y')
}

/// All layers as one read-only file system, only to be read, never attached.
fn merged(layers: &[OwnedFd]) -> Result<OwnedFd, Errno> {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let overlay = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers {
        rustix::mount::fsconfig_set_fd(&overlay, c"lowerdir+", layer)?;
    }
    if !sys::userns::is_first() {
        rustix::mount::fsconfig_set_flag(&overlay, c"userxattr")?;
    }
    rustix::mount::fsconfig_create(&overlay)?;
    let attrs = MountAttrFlags::MOUNT_ATTR_RDONLY;
    rustix::mount::fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attrs)
}
