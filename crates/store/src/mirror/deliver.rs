//! Putting a directory's content into another one of the client's: what is there already stays,
//! what has the same name is replaced. Nothing is followed.

use super::entry::{Entry, Kind};
use super::listing::{Listed, Listing};
use crate::error::{Act, Error, Result};
use crate::tree;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

/// The name of a file while its content is on its way.
const INCOMING: &str = ".estiba-incoming";

/// Copies everything in `from` into `to`; all of it belongs to `owner` there.
pub fn deliver(from: OwnedFd, to: &OwnedFd, owner: (u32, u32)) -> Result<()> {
    let mut entries: Vec<Listed> = Vec::new();
    let listing = Listing::of(from, |listed| {
        entries.push(listed);
        Ok(())
    })?;
    let owner = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
    for (number, entry) in &entries {
        let putting = || format!("write {:?} of the result", entry.path);
        let (dir, name) = place(to, &entry.path)?;
        let have = match tree::lstat(&dir, &name) {
            Ok(stat) => Some(tree::kind(&stat)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).act(putting),
        };
        let want_dir = entry.kind == Kind::Dir;
        match have {
            Some(FileType::Directory) if want_dir => continue,
            Some(FileType::Directory) => return Err(Errno::ISDIR).act(putting),
            Some(_) if !matches!(entry.kind, Kind::File) => {
                fs::unlinkat(&dir, &name, AtFlags::empty()).act(putting)?;
            }
            _ => {}
        }
        match &entry.kind {
            Kind::Dir => fs::mkdirat(&dir, &name, Mode::from_raw_mode(entry.mode)),
            Kind::File => {
                file(&listing, (*number, entry), (&dir, &name), owner)?;
                continue;
            }
            Kind::Symlink(target) => fs::symlinkat(target.as_str(), &dir, &name),
            Kind::Hardlink(target) => {
                let (other, original) = place(to, target)?;
                fs::linkat(&other, &original, &dir, &name, AtFlags::empty())
            }
            Kind::Fifo => {
                let mode = Mode::from_raw_mode(entry.mode);
                fs::mknodat(&dir, &name, FileType::Fifo, mode, 0)
            }
            Kind::Other => continue,
        }
        .act(putting)?;
        fs::chownat(&dir, &name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).act(putting)?;
    }
    date(&entries, to)
}

fn file(
    listing: &Listing,
    (number, entry): (u32, &Entry),
    (dir, name): (&OwnedFd, &CString),
    owner: (Option<Uid>, Option<Gid>),
) -> Result<()> {
    let putting = || format!("write {:?} of the result", entry.path);
    let mut source = listing.open(number)?;
    // One that a killed delivery left behind.
    let _ = fs::unlinkat(dir, INCOMING, AtFlags::empty());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = fs::openat(dir, INCOMING, flags, Mode::RUSR | Mode::WUSR).act(putting)?;
    let mut made = File::from(made);
    let written = std::io::copy(&mut source, &mut made)
        .and_then(|_| Ok(fs::fchown(&made, owner.0, owner.1)?))
        .and_then(|()| Ok(fs::fchmod(&made, Mode::from_raw_mode(entry.mode))?))
        .and_then(|()| Ok(fs::futimens(&made, &entry.times())?))
        .and_then(|()| Ok(fs::renameat(dir, INCOMING, dir, name)?));
    if written.is_err() {
        let _ = fs::unlinkat(dir, INCOMING, AtFlags::empty());
    }
    written.act(putting)
}

/// Directories are dated once nothing in them changes any more.
fn date(entries: &[Listed], to: &OwnedFd) -> Result<()> {
    for (_, entry) in entries.iter().rev().filter(|(_, entry)| entry.kind == Kind::Dir) {
        let dating = || format!("date {:?} of the result", entry.path);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW;
        let dir = tree::beneath(to, entry.path.as_str(), flags).act(dating)?;
        fs::futimens(&dir, &entry.times()).act(dating)?;
    }
    Ok(())
}

/// The directory of a path and its name in it, through no link.
fn place(to: &OwnedFd, path: &str) -> Result<(OwnedFd, CString)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW;
    let dir = tree::beneath(to, parent, flags).act(|| format!("open {parent:?} for the result"))?;
    let name = CString::new(name).map_err(|_| Error::bad("a path contains NUL"))?;
    Ok((dir, name))
}
