//! Owners by name, looked up in a tree's own `/etc/passwd` and `/etc/group`. No library of the host
//! is asked, and nothing of the tree is executed.

use crate::error::{Act, Error, Result};
use crate::graph::{Owner, Who};
use crate::walk::open_in;
use rustix::fs::{FileType, OFlags, fstat};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// The largest such file, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The largest id; -1 means "none" to the kernel.
const MAX_ID: u32 = u32::MAX - 1;

/// Uid and gid of an owner. `open` gives the tree that a name is looked up in.
pub(super) fn resolve(
    owner: &Owner,
    open: &mut dyn FnMut(crate::graph::Base) -> Result<OwnedFd>,
) -> Result<(u32, u32)> {
    let (uid, login_gid) = match &owner.user {
        None => (0, None),
        Some(Who::Id(id)) => (*id, None),
        Some(Who::Name { name, within }) => {
            let text = read(&open(*within)?, "etc/passwd")?;
            let (uid, gid) = find(&text, name)
                .and_then(|fields| Some((id(fields.get(2)?)?, id(fields.get(3)?)?)))
                .ok_or_else(|| Error::invalid(format!("unknown user name: {name}")))?;
            (uid, Some(gid))
        }
    };
    let gid = match &owner.group {
        None => login_gid.unwrap_or(0),
        Some(Who::Id(id)) => *id,
        Some(Who::Name { name, within }) => {
            let text = read(&open(*within)?, "etc/group")?;
            find(&text, name)
                .and_then(|fields| id(fields.get(2)?))
                .ok_or_else(|| Error::invalid(format!("unknown group name: {name}")))?
        }
    };
    Ok((uid, gid))
}

fn id(text: &&str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= MAX_ID)
}

fn find<'t>(text: &'t str, name: &str) -> Option<Vec<&'t str>> {
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.first() == Some(&name))
}

fn read(root: &OwnedFd, path: &str) -> Result<String> {
    let reading = || format!("read /{path}");
    let file = open_in(root, path, OFlags::RDONLY | OFlags::NONBLOCK).act(reading)?;
    let stat = fstat(&file).act(reading)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(format!("/{path} is no regular file")));
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).act(reading)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::invalid(format!("/{path} is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
