//! A tree made again beside itself. Files share their blocks with the first where the file system
//! can (ioctl_ficlone(2): xfs, btrfs), and keep their holes everywhere. Everything goes by open
//! directories; names are never resolved through links. Who wants a second tree is not known here.

use crate::error::{Act, Result};
use crate::snapshot::merge::{self, MergedDir};
use crate::tar::doors::{self, Node};
use crate::tar::node::{self, Ownership};
use crate::tar::{Entry, Kind};
use crate::tree;
use rustix::fs::{self, AtFlags, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Bytes at a time where the kernel does not copy by itself.
const BUFFER_BYTES: usize = 256 << 10;

/// What is made again.
pub(crate) enum Original {
    /// A directory as it is.
    Plain(OwnedFd),
    /// What overlayfs would show of several.
    Merged(MergedDir),
}

impl Original {
    /// The names in it, and what they are.
    fn children(&self) -> Result<Vec<(CString, Stat)>> {
        match self {
            Self::Plain(dir) => {
                let names = tree::names(dir).act(|| "list directory".into())?;
                let stat = |name: CString| tree::lstat(dir, &name).ok().map(|stat| (name, stat));
                Ok(names.into_iter().filter_map(stat).collect())
            }
            Self::Merged(dir) => {
                let children = dir.children()?.into_iter();
                Ok(children.map(|(name, child)| (name, child.stat)).collect())
            }
        }
    }

    /// The directory itself, or the topmost of several.
    fn top(&self) -> Option<&OwnedFd> {
        match self {
            Self::Plain(dir) => Some(dir),
            Self::Merged(dir) => dir.top(),
        }
    }

    /// The directory that a name in it lies in.
    fn holder(&self, name: &CStr) -> Result<Option<&OwnedFd>> {
        match self {
            Self::Plain(dir) => Ok(Some(dir)),
            Self::Merged(dir) => Ok(dir.child(name)?.map(|child| dir.level(child.level))),
        }
    }

    fn enter(&self, name: &CStr) -> Result<Option<Self>> {
        match self {
            // Gone, or something else meanwhile: somebody works in it.
            Self::Plain(dir) => Ok(tree::child_dir(dir, name).ok().map(Self::Plain)),
            Self::Merged(dir) => Ok(dir.enter(name)?.map(Self::Merged)),
        }
    }
}

/// Makes everything in `original` again in the empty directory `target`, which nobody else knows,
/// and gives that the original's owner, mode, time and attributes.
pub(crate) fn make(original: &Original, target: &OwnedFd) -> Result<()> {
    Replica { target, links: HashMap::new() }.directory(original, target, b"", 0)?;
    match original.top() {
        Some(top) => dress(top, target),
        None => Ok(()),
    }
}

fn dress(dir: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let stat = fs::fstat(dir).act(|| "look at a directory".into())?;
    let Some(mut entry) = described(b".", &stat) else { return Ok(()) };
    entry.xattrs = merge::kept_xattrs(dir)?;
    node::finish_open(target, &entry, Ownership::default()).act(|| "finish a directory".into())
}

struct Replica<'a> {
    target: &'a OwnedFd,
    /// Files with several names: the first one, from `target` on.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Replica<'_> {
    fn directory(
        &mut self,
        original: &Original,
        target: &OwnedFd,
        at: &[u8],
        depth: usize,
    ) -> Result<()> {
        merge::check_depth(depth)?;
        for (name, stat) in original.children()? {
            let slash: &[u8] = if at.is_empty() { b"" } else { b"/" };
            let path = [at, slash, name.to_bytes()].concat();
            let Some(mut entry) = described(&path, &stat) else { continue };
            let Some(holder) = original.holder(&name)? else { continue };
            let Some(file) = merge::complete(&mut entry, holder, &name)? else { continue };
            if self.linked(&stat, &entry, target, &name, &path)? {
                continue;
            }
            let making = || format!("copy {}", String::from_utf8_lossy(&path));
            match (entry.kind, file) {
                (Kind::File, Some(file)) => copy_file(&file, &entry, target, &name).act(making)?,
                (Kind::Dir, _) => {
                    let Some(inner) = original.enter(&name)? else { continue };
                    node::make(target, &name, &entry).act(making)?;
                    let made = tree::child_dir(target, &name).act(making)?;
                    self.directory(&inner, &made, &path, depth + 1)?;
                    node::finish_open(&made, &entry, Ownership::default()).act(making)?;
                }
                _ => make_node(&entry, target, &name).act(making)?,
            }
        }
        Ok(())
    }

    /// Whether it is a further name of a file that was made before, and was made as one.
    fn linked(
        &mut self,
        stat: &Stat,
        entry: &Entry,
        target: &OwnedFd,
        name: &CStr,
        path: &[u8],
    ) -> Result<bool> {
        if stat.st_nlink < 2 || entry.kind == Kind::Dir {
            return Ok(false);
        }
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
            return Ok(false);
        };
        fs::linkat(self.target, first.as_slice(), target, name, AtFlags::empty())
            .act(|| format!("link {}", String::from_utf8_lossy(path)))?;
        Ok(true)
    }
}

/// As an archive's entry, with the time in full.
fn described(path: &[u8], stat: &Stat) -> Option<Entry> {
    let mut entry = merge::entry(path, stat)?;
    entry.mtime.nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Some(entry)
}

fn make_node(entry: &Entry, target: &OwnedFd, name: &CStr) -> std::io::Result<()> {
    match entry.kind {
        Kind::CharDevice | Kind::BlockDevice => {
            let (block, mode) = (entry.kind == Kind::BlockDevice, entry.mode);
            let device = (entry.major, entry.minor);
            doors::make_node(target.as_fd(), name, Node { block, mode, device })?;
        }
        _ => node::make(target, name, entry)?,
    }
    Ok(node::finish_node(target, name, entry, Ownership::default())?)
}

fn copy_file(source: &File, entry: &Entry, dir: &OwnedFd, name: &CStr) -> std::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let target = File::from(fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?);
    if fs::ioctl_ficlone(&target, source).is_err() {
        fs::ftruncate(&target, entry.size)?;
        copy_extents(source, &target, entry.size)?;
    }
    Ok(node::finish_open(&target, entry, Ownership::default())?)
}

/// Copies what of a file is not a hole.
fn copy_extents(source: &File, target: &File, size: u64) -> std::io::Result<()> {
    let mut at = 0;
    while at < size {
        let begin = match fs::seek(source, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = fs::seek(source, SeekFrom::Hole(begin))?.min(size);
        copy_range(source, target, begin, end)?;
        at = end.max(begin + 1);
    }
    Ok(())
}

fn copy_range(source: &File, target: &File, mut at: u64, end: u64) -> std::io::Result<()> {
    while at < end {
        let (mut from, mut to) = (at, at);
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        match fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), wanted) {
            // It became shorter meanwhile.
            Ok(0) => return Ok(()),
            Ok(copied) => at += copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return copy_through(source, target, at, end);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_through(source: &File, target: &File, mut at: u64, end: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = source.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        target.write_all_at(&buffer[..read], at)?;
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        tree::open_dir(path).unwrap()
    }

    #[test]
    fn everything_is_there_twice() {
        let home = tempfile::tempdir().unwrap();
        let (one, two) = (home.path().join("one"), home.path().join("two"));
        std::fs::create_dir_all(one.join("deep/er")).unwrap();
        std::fs::create_dir(&two).unwrap();
        std::fs::write(one.join("deep/file"), "content").unwrap();
        std::fs::set_permissions(one.join("deep/file"), PermissionsExt::from_mode(0o4751)).unwrap();
        std::fs::hard_link(one.join("deep/file"), one.join("deep/er/again")).unwrap();
        symlink("/nowhere/at all", one.join("link")).unwrap();
        let sparse = File::create(one.join("sparse")).unwrap();
        sparse.set_len(8 << 20).unwrap();
        sparse.write_all_at(b"end", (8 << 20) - 3).unwrap();
        fs::fsetxattr(&sparse, "user.mark", b"value", fs::XattrFlags::empty()).unwrap();
        fs::mknodat(open(&one), c"fifo", fs::FileType::Fifo, Mode::RUSR, 0).unwrap();

        make(&Original::Plain(open(&one)), &open(&two)).unwrap();
        let same = |name: &str| {
            let (a, b) = (one.join(name), two.join(name));
            let (a, b) = (a.symlink_metadata().unwrap(), b.symlink_metadata().unwrap());
            assert_eq!((a.mode(), a.uid(), a.size()), (b.mode(), b.uid(), b.size()), "{name}");
            assert_eq!((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()), "{name}");
            b
        };
        for name in ["deep/er", "deep/file", "link", "fifo"] {
            same(name);
        }
        assert!(same("sparse").blocks() < 100);
        let content = |dir: &Path| std::fs::read(dir.join("sparse")).unwrap();
        assert!(content(&two) == content(&one));
        let mark = tree::xattr(File::open(two.join("sparse")).unwrap(), "user.mark").unwrap();
        assert_eq!(mark.as_deref(), Some(&b"value"[..]));
        assert_eq!(std::fs::read_link(two.join("link")).unwrap(), Path::new("/nowhere/at all"));
        let (file, again) = (same("deep/file"), same("deep/er/again"));
        assert_eq!((file.ino(), file.nlink()), (again.ino(), 2));
    }
}
