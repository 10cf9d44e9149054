//! Walking, measuring and removing directory trees through file descriptors. Names below a
//! descriptor are never resolved through links; nothing here follows a path that an image or a
//! container controls. This module knows neither archives nor layers.

use rustix::fs::{self, AtFlags, CWD, FileType, IFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How a name inside a tree of ours is resolved: below the directory, through no link at all.
pub(crate) const STRICT: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The deepest directory that walks of foreign trees enter; every level costs one descriptor.
pub(crate) const MAX_WALK_DEPTH: usize = 1024;

/// Depth at which [`remove`] lifts a directory to the top instead of going deeper.
const HOIST_DEPTH: usize = 64;

/// Opens a directory of ours by its full path.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Opens the directory `name` directly below `parent`; a link is refused.
pub(crate) fn child_dir(parent: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a path below `dir` through no link.
pub(crate) fn beneath(
    dir: impl AsFd,
    path: impl rustix::path::Arg,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    openat2(dir, path, flags | OFlags::CLOEXEC, STRICT)
}

/// `openat2` that tries again when a concurrent rename made the kernel give up.
pub(crate) fn openat2(
    dir: impl AsFd,
    path: impl rustix::path::Arg,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    const ATTEMPTS: usize = 128;
    let path = path.into_c_str()?;
    for _ in 1..ATTEMPTS {
        match fs::openat2(dir.as_fd(), &*path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// The names in a directory, sorted by bytes, without `.` and `..`.
pub(crate) fn names(dir: impl AsFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `stat` of a name directly below `parent`, of the link itself if it is one.
pub(crate) fn lstat(parent: impl AsFd, name: &CStr) -> rustix::io::Result<Stat> {
    fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The type of what `stat` describes.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is overlayfs' mark that a name is deleted: a character device 0/0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// One extended attribute; `None` when absent or unsupported.
pub(crate) fn xattr(file: impl AsFd, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0u8; 64];
    loop {
        match fs::fgetxattr(&file, name, value.as_mut_slice()) {
            Ok(len) => {
                value.truncate(len);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) => {
                let len = fs::fgetxattr(&file, name, &mut [] as &mut [u8])?;
                value.resize(len, 0);
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The names of all extended attributes.
pub(crate) fn xattr_names(file: impl AsFd) -> io::Result<Vec<String>> {
    let mut list = vec![0u8; 1024];
    let len = loop {
        match fs::flistxattr(&file, list.as_mut_slice()) {
            Ok(len) => break len,
            Err(Errno::RANGE) => {
                let len = fs::flistxattr(&file, &mut [] as &mut [u8])?;
                list.resize(len, 0);
            }
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
    };
    let names = list[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| String::from_utf8(name.to_vec()).ok()).collect())
}

/// The target of the link `name` directly below `parent`.
pub(crate) fn read_link(parent: impl AsFd, name: &CStr) -> io::Result<Vec<u8>> {
    Ok(fs::readlinkat(parent, name, Vec::new())?.into_bytes())
}

/// Removes `name` below `parent` with everything in it; absent is fine. Works for any depth, any
/// permission bits, and for immutable or append-only files.
pub(crate) fn remove(parent: impl AsFd, name: &CStr) -> io::Result<()> {
    match unlink(parent.as_fd(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let top = child_dir(&parent, name)?;
    let mut hoisted = 0;
    loop {
        empty(top.as_fd(), top.as_fd(), 0, &mut hoisted)?;
        if names(&top)?.is_empty() {
            break;
        }
    }
    Ok(unlink(parent.as_fd(), name, AtFlags::REMOVEDIR)?)
}

/// Removes everything inside a directory.
pub(crate) fn remove_contents(dir: impl AsFd) -> io::Result<()> {
    names(&dir)?.iter().try_for_each(|name| remove(&dir, name))
}

fn empty(
    dir: BorrowedFd<'_>,
    top: BorrowedFd<'_>,
    depth: usize,
    hoisted: &mut u64,
) -> io::Result<()> {
    for name in names(dir)? {
        match unlink(dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        if depth >= HOIST_DEPTH {
            hoist(dir, &name, top, hoisted)?;
            continue;
        }
        let child = child_dir(dir, &name)?;
        empty(child.as_fd(), top, depth + 1, hoisted)?;
        unlink(dir, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Lifts a deep directory directly below `top`, where the next round removes it.
fn hoist(
    dir: BorrowedFd<'_>,
    name: &CStr,
    top: BorrowedFd<'_>,
    hoisted: &mut u64,
) -> io::Result<()> {
    loop {
        *hoisted += 1;
        let lifted = format!(".estiba-removed-{hoisted}");
        match fs::renameat_with(dir, name, top, lifted.as_str(), fs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            done => return Ok(done?),
        }
    }
}

/// `unlinkat` that takes away the flags which forbid it, and tries once more.
fn unlink(parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match fs::unlinkat(parent, name, flags) {
        Err(Errno::PERM) => {}
        done => return done,
    }
    clear_flags(parent);
    let open = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if matches!(
        lstat(parent, name).map(|s| kind(&s)),
        Ok(FileType::RegularFile | FileType::Directory)
    ) && let Ok(file) = fs::openat(parent, name, open, Mode::empty())
    {
        clear_flags(file.as_fd());
    }
    fs::unlinkat(parent, name, flags)
}

fn clear_flags(file: BorrowedFd<'_>) {
    let forbidding = IFlags::IMMUTABLE | IFlags::APPEND;
    if let Ok(flags) = fs::ioctl_getflags(file)
        && flags.intersects(forbidding)
    {
        // A file system that refuses shows in the unlink that follows.
        let _ = fs::ioctl_setflags(file, flags - forbidding);
    }
}

/// What a tree takes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeSize {
    /// Bytes of file content as `ls -l` shows them, each inode once.
    pub(crate) apparent: u64,
    /// Bytes of the blocks in use.
    pub(crate) disk: u64,
}

/// Measures a tree, hard links once. Directories that vanish or cannot be entered are left out.
pub(crate) fn measure(dir: impl AsFd) -> io::Result<TreeSize> {
    let mut size = TreeSize::default();
    let mut seen = HashSet::new();
    let mut stack =
        vec![(fs::openat(dir, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, 0)];
    while let Some((dir, depth)) = stack.pop() {
        measure_dir(&dir, depth, &mut size, &mut seen, &mut stack)?;
    }
    Ok(size)
}

fn measure_dir(
    dir: &OwnedFd,
    depth: usize,
    size: &mut TreeSize,
    seen: &mut HashSet<(u64, u64)>,
    stack: &mut Vec<(OwnedFd, usize)>,
) -> io::Result<()> {
    let mut subdirs = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = fs::RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = lstat(dir, name) else { continue };
        let shared = stat.st_nlink > 1 && kind(&stat) != FileType::Directory;
        if shared && !seen.insert((stat.st_dev, stat.st_ino)) {
            continue;
        }
        size.disk += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        match kind(&stat) {
            FileType::RegularFile => size.apparent += u64::try_from(stat.st_size).unwrap_or(0),
            FileType::Directory => subdirs.push(name.to_owned()),
            _ => {}
        }
    }
    // Depth first, one descriptor per waiting directory: the stack must not grow with the width.
    for name in subdirs {
        if depth < MAX_WALK_DEPTH
            && let Ok(child) = child_dir(dir, &name)
        {
            if stack.len() < MAX_WALK_DEPTH / 2 {
                stack.push((child, depth + 1));
            } else {
                measure_dir(&child, depth + 1, size, seen, stack)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn removes_trees_deeper_than_any_path() {
        let home = tempfile::tempdir().unwrap();
        let mut dir = open_dir(home.path()).unwrap();
        fs::mkdirat(&dir, c"top", Mode::RWXU).unwrap();
        dir = child_dir(&dir, c"top").unwrap();
        for _ in 0..3000 {
            fs::mkdirat(&dir, c"deeper", Mode::empty()).unwrap();
            fs::openat(&dir, c"f", OFlags::CREATE | OFlags::WRONLY, Mode::empty()).unwrap();
            dir = child_dir(&dir, c"deeper").unwrap();
        }
        let root = open_dir(home.path()).unwrap();
        remove(&root, c"top").unwrap();
        assert!(names(&root).unwrap().is_empty());
        remove(&root, c"top").unwrap();
    }

    #[test]
    fn removes_links_and_not_what_they_point_to() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("keep/sub")).unwrap();
        std::fs::write(home.path().join("keep/file"), "x").unwrap();
        std::fs::create_dir(home.path().join("top")).unwrap();
        std::os::unix::fs::symlink("../keep", home.path().join("top/link")).unwrap();
        std::fs::set_permissions(home.path().join("top"), PermissionsExt::from_mode(0o000))
            .unwrap();
        remove(open_dir(home.path()).unwrap(), c"top").unwrap();
        assert!(home.path().join("keep/file").exists());
        assert!(!home.path().join("top").exists());
    }

    #[test]
    fn measures_hard_links_once() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a"), vec![1; 5000]).unwrap();
        std::fs::hard_link(home.path().join("a"), home.path().join("b")).unwrap();
        std::fs::create_dir(home.path().join("d")).unwrap();
        std::fs::write(home.path().join("d/c"), vec![1; 10]).unwrap();
        let size = measure(open_dir(home.path()).unwrap()).unwrap();
        assert_eq!(size.apparent, 5010);
        assert!(size.disk >= 8192);
    }
}
