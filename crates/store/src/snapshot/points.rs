//! The lowest layer of every container: what the runtime mounts things on. Were it missing there,
//! it would be made in the container's own layer, at each start and for each container, and removed
//! with it. An image that has the names itself hides these.

use crate::error::Act;
use crate::{Result, tree};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Name of the layer's directory in the store.
pub(crate) const NAME: &str = "mountpoints";

/// Directories, as the root of a container has them.
const DIRECTORIES: [&CStr; 4] = [c"dev", c"etc", c"proc", c"sys"];

/// Empty files and their modes. By `.dockerenv` programs see that they are in a container; it has
/// the mode that Docker gives it.
const FILES: [(&CStr, u32); 4] = [
    (c"etc/hostname", 0o644),
    (c"etc/hosts", 0o644),
    (c"etc/resolv.conf", 0o644),
    (c".dockerenv", 0o755),
];

/// Makes in `layer` what is missing there.
pub(crate) fn make(layer: BorrowedFd<'_>) -> Result<()> {
    let making = || "make the layer of mount points".to_owned();
    for name in DIRECTORIES {
        match rustix::fs::mkdirat(layer, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).act(making),
        }
    }
    for (name, mode) in FILES {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let file = rustix::fs::openat(layer, name, flags, mode).act(making)?;
        // Whatever the daemon's umask is.
        rustix::fs::fchmod(&file, mode).act(making)?;
    }
    for name in DIRECTORIES {
        let directory = tree::child_dir(layer, name).act(making)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755)).act(making)?;
    }
    Ok(())
}
