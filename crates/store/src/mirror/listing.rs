//! Telling a client of a directory: its entries in order, then the content of files by number. What
//! is in the directory is not trusted to stay as it is.

use super::entry::{Entry, Kind, MAX_DEPTH, mtime};
use crate::error::{Act, Error, Result};
use crate::tree;
use rustix::fs::{FileType, OFlags, Stat};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

/// The most entries of one listing.
const MAX_ENTRIES: u32 = 4_000_000;

/// A directory as told to a client.
pub struct Listing {
    root: OwnedFd,
    /// Files by number.
    files: HashMap<u32, String>,
}

/// An entry with its number.
pub type Listed = (u32, Entry);

/// A directory whose names are still to be told.
struct Level {
    path: String,
    dir: OwnedFd,
    names: std::vec::IntoIter<CString>,
}

impl Listing {
    /// Tells all entries of `dir` to `tell`, each directory before what is in it, names in the
    /// order of their bytes. Names that are no UTF-8 are left out: they cannot be told.
    pub fn of(dir: OwnedFd, mut tell: impl FnMut(Listed) -> Result<()>) -> Result<Self> {
        let reading = || "read a directory for the client".to_owned();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let top = tree::beneath(&dir, c".", flags).act(reading)?;
        let names = tree::names(&top).act(reading)?.into_iter();
        let mut levels = vec![Level { path: String::new(), dir: top, names }];
        let mut files = HashMap::new();
        let mut linked: HashMap<(u64, u64), String> = HashMap::new();
        let mut number = 0;
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let Ok(text) = name.to_str() else { continue };
            let path = match level.path.as_str() {
                "" => text.to_owned(),
                above => format!("{above}/{text}"),
            };
            let stat = tree::lstat(&level.dir, &name).act(reading)?;
            let entry = entry(&level.dir, &name, (path, &stat), &mut linked)?;
            let below = (entry.kind == Kind::Dir).then(|| entry.path.clone());
            if entry.kind == Kind::File {
                files.insert(number, entry.path.clone());
            }
            if let Some(path) = below {
                if levels.len() > MAX_DEPTH {
                    return Err(Error::bad(format!("{path:?} is nested too deeply")));
                }
                let above = levels.last().map(|level| &level.dir);
                let Some(above) = above else { break };
                let dir = tree::child_dir(above, &name).act(reading)?;
                let names = tree::names(&dir).act(reading)?.into_iter();
                levels.push(Level { path, dir, names });
            }
            tell((number, entry))?;
            number += 1;
            if number > MAX_ENTRIES {
                return Err(Error::bad(format!("more than {MAX_ENTRIES} files")));
            }
        }
        Ok(Self { root: dir, files })
    }

    /// The content of the file of that number.
    pub fn open(&self, number: u32) -> Result<File> {
        let Some(path) = self.files.get(&number) else {
            return Err(Error::bad(format!("file {number} was asked for, which is none")));
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = tree::beneath(&self.root, path.as_str(), flags)
            .act(|| format!("open {path:?} for the client"))?;
        Ok(File::from(file))
    }
}

fn entry(
    dir: &OwnedFd,
    name: &CString,
    (path, stat): (String, &Stat),
    linked: &mut HashMap<(u64, u64), String>,
) -> Result<Entry> {
    let reading = || format!("read {path:?} for the client");
    let kind = match tree::kind(stat) {
        FileType::Directory => Kind::Dir,
        FileType::Symlink => {
            let target = tree::read_link(dir, name).act(reading)?;
            Kind::Symlink(String::from_utf8_lossy(&target).into_owned())
        }
        FileType::RegularFile => {
            let inode = (stat.st_dev, stat.st_ino);
            match linked.get(&inode) {
                Some(first) if stat.st_nlink > 1 => Kind::Hardlink(first.clone()),
                _ => {
                    if stat.st_nlink > 1 {
                        linked.insert(inode, path.clone());
                    }
                    Kind::File
                }
            }
        }
        FileType::Fifo => Kind::Fifo,
        _ => Kind::Other,
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let xattrs = match kind {
        Kind::File => {
            let file = tree::beneath(dir, name, flags).act(reading)?;
            let names = tree::xattr_names(&file).act(reading)?.into_iter();
            let values = names.filter_map(|name| {
                let value = tree::xattr(&file, &name).ok().flatten()?;
                Some((name, value))
            });
            values.collect()
        }
        _ => Vec::new(),
    };
    Ok(Entry {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: match kind {
            Kind::File | Kind::Hardlink(_) => u64::try_from(stat.st_size).unwrap_or(0),
            _ => 0,
        },
        mtime_ns: mtime(stat),
        path,
        kind,
        xattrs: {
            // What overlayfs and the kernel keep for themselves says nothing to a client.
            let mut xattrs: Vec<(String, Vec<u8>)> = xattrs;
            xattrs.retain(|(name, _)| !name.starts_with("trusted."));
            xattrs
        },
    })
}
