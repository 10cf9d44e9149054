//! What a runtime makes in a root to mount upon: empty files and directories, and the directories
//! above them. They are nobody's change, and are taken out of a layer before it is written.

use crate::error::{Act, Result};
use crate::snapshot::merge::{self, MergedDir};
use crate::tar::name::TreePath;
use crate::tree;
use rustix::fs::{self, AtFlags, FileType, Stat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Takes away what is at `path` in the upper directory, if it is empty and the layers below have
/// nothing there, and then each directory above that holds nothing else.
pub(super) fn remove(upper: &OwnedFd, lower: &MergedDir, path: &TreePath) -> Result<()> {
    let opening = || format!("look for mount points at /{path}");
    let mut dirs = vec![upper.try_clone().act(opening)?];
    let mut below: Vec<Option<MergedDir>> = Vec::new();
    for part in path.parts().split_last().map_or(&[][..], |(_, dirs)| dirs) {
        let parent = dirs.last().unwrap_or(upper);
        match tree::child_dir(parent, part) {
            Ok(dir) => dirs.push(dir),
            // Never made, or a link: what is behind it was there before.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(errno).act(opening),
        }
        let known = below.last().map_or(Some(lower), Option::as_ref);
        let next = known.map(|known| known.enter(part)).transpose()?.flatten();
        below.push(next);
    }
    for (depth, name) in path.parts().iter().enumerate().rev() {
        let dir = &dirs[depth];
        let known = match depth {
            0 => Some(lower),
            _ => below[depth - 1].as_ref(),
        };
        let before = known.map(|known| known.child(name)).transpose()?.flatten();
        let stat = match tree::lstat(dir, name) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.act(opening)?,
        };
        if !is_stub(dir, name, &stat, before.as_ref().map(|child| &child.stat))? {
            return Ok(());
        }
        let flags = match tree::kind(&stat) {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        fs::unlinkat(dir, name, flags).act(opening)?;
    }
    Ok(())
}

/// Empty; and either new, or a directory that is below just so.
fn is_stub(
    dir: &OwnedFd,
    name: &std::ffi::CStr,
    stat: &Stat,
    before: Option<&Stat>,
) -> Result<bool> {
    let looking = || "look for mount points".to_owned();
    let same = |before: &Stat| {
        (before.st_mode, before.st_uid, before.st_gid) == (stat.st_mode, stat.st_uid, stat.st_gid)
    };
    match tree::kind(stat) {
        FileType::RegularFile => Ok(stat.st_size == 0 && before.is_none()),
        FileType::Directory => {
            let child = tree::child_dir(dir, name).act(looking)?;
            let empty = tree::names(&child).act(looking)?.is_empty();
            Ok(empty && !merge::is_opaque(&child)? && before.is_none_or(same))
        }
        _ => Ok(false),
    }
}
