//! The three standard descriptors on their way into a child.

use crate::error::LaunchError;
use crate::init::Slots;
use crate::plan::StdioKind;
use crate::plan::step::Slot;
use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// Descriptors given to a child lie above the three places that they will be copied to.
const ABOVE: i32 = 3;

/// Where the three standard descriptors of a process lead.
#[derive(Debug)]
pub enum Stdio {
    /// All to the null device.
    Null,
    /// The given descriptors.
    Fds {
        /// Descriptor 0.
        stdin: OwnedFd,
        /// Descriptor 1.
        stdout: OwnedFd,
        /// Descriptor 2.
        stderr: OwnedFd,
    },
    /// A pseudo-terminal of the container's own devpts; its master side is given back.
    Terminal {
        /// Rows and columns to begin with.
        size: Option<(u16, u16)>,
    },
}

impl Stdio {
    /// What the planner wants to know.
    pub fn kind(&self) -> StdioKind {
        match self {
            Stdio::Null | Stdio::Fds { .. } => StdioKind::Provided,
            Stdio::Terminal { size } => StdioKind::Terminal(*size),
        }
    }
}

/// Slots with the standard descriptors in place. Pipes become the property of `owner` (an id of
/// the host), so that the process can open them again through `/proc/self/fd`.
pub(crate) fn slots(stdio: Stdio, owner: Option<u32>) -> Result<Slots, LaunchError> {
    let failed = |errno| LaunchError::at("prepare standard input and output", errno);
    let mut slots = Slots::new();
    let fds = match stdio {
        Stdio::Terminal { .. } => return Ok(slots),
        Stdio::Null => {
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let null = rustix::fs::open(c"/dev/null", flags, Mode::empty()).map_err(failed)?;
            let is_null = rustix::fs::fstat(&null).map_err(failed)?.st_rdev;
            if is_null != rustix::fs::makedev(1, 3) {
                return Err(failed(Errno::NODEV));
            }
            let copy = || rustix::io::fcntl_dupfd_cloexec(&null, ABOVE).map_err(failed);
            [copy()?, copy()?, copy()?]
        }
        Stdio::Fds { stdin, stdout, stderr } => [stdin, stdout, stderr],
    };
    for (fd, slot) in fds.into_iter().zip([Slot::STDIN, Slot::STDOUT, Slot::STDERR]) {
        own(&fd, owner);
        let above = rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), ABOVE).map_err(failed)?;
        slots.put(slot, above);
    }
    Ok(slots)
}

fn own(fd: &OwnedFd, owner: Option<u32>) {
    let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if let (Ok(FileType::Fifo), Some(owner)) = (kind, owner) {
        // A pipe of somebody else stays theirs; then only opening it again fails.
        let _ = rustix::fs::fchown(fd, Some(Uid::from_raw(owner)), None);
    }
}
