//! `cp`: parts of a container's tree as tar archives, out and in. The caller brings a descriptor of
//! the container's root; every path is resolved from it with `RESOLVE_IN_ROOT`, so that links mean
//! what they mean inside the container and nothing outside can be reached, even when a process in
//! the container swaps names meanwhile. No program or library of the container is ever used.

use crate::error::{Act, Error, Result};
use crate::snapshot::merge;
use crate::tar::extract::{Extractor, Rules};
use crate::tar::name::TreePath;
use crate::tar::node::Ownership;
use crate::tar::reader::{Discard, End, TarReader};
use crate::tar::writer::TarWriter;
use crate::tar::{Entry, Kind};
use crate::{compress, tree, unpacker};
use model::{Denied, Timestamp};
use rustix::fs::{FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use wire::file_mode;

const STREAM_BUFFER: usize = 256 << 10;
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// Links followed when telling where a link leads: the kernel's own limit.
const MAX_LINKS: usize = 40;

/// What `cp` asks about a path before it copies (header `X-Docker-Container-Path-Stat`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathStat {
    /// The last component; `/` for the root.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Type and permissions as bits of Go's `os.FileMode`.
    pub mode: u32,
    /// Last modification.
    pub mtime: Timestamp,
    /// Where a symbolic link leads, as an absolute path in the container; else empty.
    pub link_target: String,
}

/// How to extract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Refuse to replace a directory by something else and the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Owner (uid, gid in the container) of everything instead of the archive's.
    pub owner: Option<(u32, u32)>,
    /// Added to uids and gids: what id 0 of the container is in the tree behind the descriptor.
    pub shift: (u32, u32),
}

/// How to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions<'a> {
    /// What the archive calls the path, when not by its last component.
    pub name: Option<&'a str>,
    /// Subtracted from uids and gids; the opposite of [`WriteOptions::shift`].
    pub shift: (u32, u32),
}

/// Describes a path. A link in the last component is not followed, unless a slash comes after it.
pub fn stat(root: BorrowedFd<'_>, path: &str) -> Result<PathStat> {
    let place = Place::find(root, path)?;
    let mut link_target = String::new();
    if tree::kind(&place.stat) == FileType::Symlink {
        link_target = format!("/{}", follow(root, &place.path)?);
    }
    let seconds = place.stat.st_mtime.saturating_mul(1_000_000_000);
    let nanos = i64::try_from(place.stat.st_mtime_nsec).unwrap_or(0);
    Ok(PathStat {
        name: place.shown_name(),
        size: place.stat.st_size,
        mode: go_mode(place.stat.st_mode),
        mtime: Timestamp(seconds.saturating_add(nanos)),
        link_target,
    })
}

/// Writes a path as a tar. The entries begin with the path's last component: `/etc` gives `etc/`,
/// `etc/passwd`, …; `/etc/.` gives `./`, `./passwd`, ….
pub fn read(
    root: BorrowedFd<'_>,
    path: &str,
    options: ReadOptions<'_>,
    writer: &mut dyn Write,
) -> Result<()> {
    let place = Place::find(root, path)?;
    let out = BufWriter::with_capacity(STREAM_BUFFER, writer);
    let mut walk = Walk { tar: TarWriter::new(out), links: HashMap::new(), shift: options.shift };
    let base = match place.path.parts().last() {
        _ if place.is_dot => b".".to_vec(),
        _ if options.name.is_some() => options.name.unwrap_or_default().into(),
        Some(name) => name.to_bytes().to_vec(),
        None => b"/".to_vec(),
    };
    match &place.name {
        Some(name) => walk.name((&place.parent, name), &base, &place.stat, 0)?,
        None => walk.root(&place.parent, &base, &place.stat)?,
    }
    walk.tar.finish()?;
    Ok(())
}

/// Extracts a tar stream, plain, gzip or zstd, into a directory of the container.
pub fn write(
    root: BorrowedFd<'_>,
    path: &str,
    tar: &mut dyn Read,
    options: WriteOptions,
) -> Result<()> {
    let base = TreePath::parse(absolute(path).as_bytes())?;
    match tree::openat2(root, base.to_bytes(), OFlags::PATH | OFlags::DIRECTORY, IN_ROOT) {
        Err(Errno::NOTDIR) => {
            return Err(Denied::invalid("extraction point is not a directory").into());
        }
        dir => drop(dir.map_err(|errno| missing(path, errno))?),
    }
    let rules = Rules {
        layer: false,
        root: false,
        keep_kinds: options.no_overwrite_dir_non_dir,
        owner: Ownership { fixed: options.owner, shift: options.shift },
    };
    if let Some(unpacker) = unpacker::installed() {
        return unpacker.tree(root, &base, rules, tar).map(drop);
    }
    let source = BufReader::with_capacity(STREAM_BUFFER, compress::plain(tar)?);
    let mut reader = TarReader::new(source, Discard, End::Marked);
    let extract = || Extractor::new(root, base, rules).run(&mut reader).map(drop);
    if options.shift == (0, 0) {
        return extract();
    }
    // Behind idmapped mounts only ids of the map can make files, and our own is not among them.
    sys::cred::with_fs_ids(options.shift.0, options.shift.1, extract)
        .act(|| "become the container's root for files".into())?
}

/// A path that exists: its directory, held open, and its name in it.
struct Place {
    parent: OwnedFd,
    /// `None` for the root and for paths that end in a slash or a dot: then `parent` is the path.
    name: Option<CString>,
    /// The path as asked, cleaned.
    path: TreePath,
    stat: Stat,
    /// Whether the path ended in `/.` or `/./`.
    is_dot: bool,
}

impl Place {
    fn find(root: BorrowedFd<'_>, asked: &str) -> Result<Self> {
        let path = TreePath::parse(absolute(asked).as_bytes())?;
        let is_dot = asked.trim_end_matches('/').rsplit('/').next() == Some(".");
        let whole = is_dot || asked.ends_with('/');
        let split = if whole { None } else { path.split_last() };
        let (dir, name) = match split {
            Some((dir, name)) => (dir, Some(name)),
            None => (path.clone(), None),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let parent = tree::openat2(root, dir.to_bytes(), flags, IN_ROOT)
            .map_err(|errno| missing(asked, errno))?;
        let stat = match &name {
            Some(name) => tree::lstat(&parent, name),
            None => rustix::fs::fstat(&parent),
        }
        .map_err(|errno| missing(asked, errno))?;
        Ok(Self { parent, name, path, stat, is_dot })
    }

    fn shown_name(&self) -> String {
        match self.path.parts().last() {
            _ if self.is_dot => ".".to_owned(),
            Some(name) => name.to_string_lossy().into_owned(),
            None => "/".to_owned(),
        }
    }
}

struct Walk<W: Write> {
    tar: TarWriter<W>,
    /// Files with several names: where the first one is.
    links: HashMap<(u64, u64), Vec<u8>>,
    shift: (u32, u32),
}

impl<W: Write> Walk<W> {
    fn root(&mut self, dir: &OwnedFd, path: &[u8], stat: &Stat) -> Result<()> {
        if let Some(mut entry) = merge::entry(path, stat) {
            if path == b"/" {
                entry.name = b"/".to_vec();
            }
            self.unshift(&mut entry);
            self.tar.node(&entry)?;
        }
        self.children(dir, path, 0)
    }

    fn children(&mut self, dir: &OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        merge::check_depth(depth)?;
        for name in tree::names(dir).act(|| "list directory".into())? {
            let Ok(stat) = tree::lstat(dir, &name) else { continue };
            let slash: &[u8] = if path == b"/" { b"" } else { b"/" };
            let below = [path, slash, name.to_bytes()].concat();
            self.name((dir, &name), &below, &stat, depth)?;
        }
        Ok(())
    }

    fn name(
        &mut self,
        (dir, name): (&OwnedFd, &CStr),
        path: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> Result<()> {
        let Some(mut entry) = merge::entry(path, stat) else { return Ok(()) };
        self.unshift(&mut entry);
        if stat.st_nlink > 1 && entry.kind != Kind::Dir {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                entry.kind = Kind::HardLink;
                entry.link.clone_from(first);
                return self.tar.node(&entry);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        match merge::complete(&mut entry, dir, name)? {
            Some(Some(mut file)) => self.tar.file(&entry, &mut file)?,
            Some(None) => self.tar.node(&entry)?,
            None => return Ok(()),
        }
        if entry.kind == Kind::Dir
            && let Ok(child) = tree::child_dir(dir, name)
        {
            self.children(&child, path, depth + 1)?;
        }
        Ok(())
    }

    fn unshift(&self, entry: &mut Entry) {
        entry.uid = entry.uid.saturating_sub(self.shift.0);
        entry.gid = entry.gid.saturating_sub(self.shift.1);
    }
}

/// Where a link leads inside the root, as text. Nothing is opened by it: what vanishes or changes
/// meanwhile only makes the answer old.
fn follow(root: BorrowedFd<'_>, path: &TreePath) -> Result<TreePath> {
    let mut todo: Vec<CString> = path.parts().iter().rev().cloned().collect();
    let mut done = TreePath::default();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part.as_bytes() == b".." {
            done = done.parent();
            continue;
        }
        let next = done.join_part(&part);
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let is_link = tree::openat2(root, next.to_bytes(), flags, IN_ROOT)
            .and_then(rustix::fs::fstat)
            .is_ok_and(|stat| tree::kind(&stat) == FileType::Symlink);
        if !is_link {
            done = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Denied::invalid(format!("/{path}: too many levels of links")).into());
        }
        let target = {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let dir = tree::openat2(root, done.to_bytes(), flags, IN_ROOT);
            dir.act(|| format!("read link /{next}"))
                .and_then(|dir| tree::read_link(&dir, &part).act(|| format!("read link /{next}")))?
        };
        if target.starts_with(b"/") {
            done = TreePath::default();
        }
        for part in target.split(|byte| *byte == b'/').rev() {
            match part {
                b"" | b"." => {}
                b".." => todo.push(c"..".into()),
                name => todo.push(CString::new(name).map_err(|_| Error::bad("NUL in link"))?),
            }
        }
    }
    Ok(done)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn missing(path: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOENT => {
            Denied::not_found(format!("Could not find the file {}", absolute(path))).into()
        }
        Errno::NOTDIR => Denied::invalid(format!("{}: not a directory", absolute(path))).into(),
        errno => Error::io(format!("open {}", absolute(path)), errno),
    }
}

/// Mode bits as Go's `os.FileMode` has them.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => file_mode::DIR,
        FileType::Symlink => file_mode::SYMLINK,
        FileType::BlockDevice => file_mode::DEVICE,
        FileType::CharacterDevice => file_mode::DEVICE | file_mode::CHAR_DEVICE,
        FileType::Fifo => file_mode::NAMED_PIPE,
        FileType::Socket => file_mode::SOCKET,
        FileType::RegularFile => 0,
        FileType::Unknown => file_mode::IRREGULAR,
    };
    kind | file_mode::from_kernel(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_s() {
        for (mode, want) in [
            (0o100_644, 0o644),
            (0o040_755, 1 << 31 | 0o755),
            (0o120_777, 1 << 27 | 0o777),
            (0o020_666, 1 << 26 | 1 << 21 | 0o666),
            (0o104_755, 1 << 23 | 0o755),
            (0o041_777, 1 << 31 | 1 << 20 | 0o777),
        ] {
            assert_eq!(go_mode(mode), want, "{mode:o}");
        }
    }
}
