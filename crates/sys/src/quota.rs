//! Project quotas: a directory tree is given a number, and the file system bounds what all files
//! of that number take together, quotactl(2) and ioctl_fsgetxattr(2). ext4 and xfs have them when
//! they are mounted with `prjquota`. Which number means what is not known here.

use crate::error::check;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::mem::size_of;

/// Kind of quota, linux/quota.h.
const PROJECT: u32 = 2;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
/// `Q_XGETQSTATV`: what is counted and what is enforced, of every file system with quotas.
const GET_STATE: u32 = 0x5808;
/// `FS_QUOTA_PDQ_ENFD` among the state's flags.
const PROJECT_ENFORCED: u16 = 1 << 5;
/// Limits of space are meant, not those of inodes or times.
const SPACE_LIMITS: u32 = 1;
/// Unit of limits.
const BLOCK_BYTES: u64 = 1024;
/// `FS_XFLAG_PROJINHERIT`: what is made in the directory gets its number.
const INHERIT: u32 = 0x200;
const GET_ATTRIBUTES: libc::Ioctl = 0x801c_581f;
const SET_ATTRIBUTES: libc::Ioctl = 0x401c_5820;

/// `struct fsxattr`, linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_quota_statv`, linux/dqblk_xfs.h, as far as it is read; the kernel writes less than
/// the whole.
#[repr(C, align(8))]
struct State {
    version: i8,
    padding: u8,
    flags: u16,
    rest: [u8; 252],
}

/// What a project may take and takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are the most, in whole kilobytes; 0 for no limit.
    pub limit_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Files in use.
    pub used_files: u64,
}

/// Whether the file system of `dir` holds projects to their limits.
///
/// # Errors
/// As quotactl_fd(2), but for file systems and kernels without quotas: these do not.
pub fn enforced(dir: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut state = State { version: 1, padding: 0, flags: 0, rest: [0; 252] };
    match control(dir, GET_STATE, 0, (&raw mut state).cast()) {
        Ok(()) => Ok(state.flags & PROJECT_ENFORCED != 0),
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::SRCH | Errno::INVAL | Errno::NOTTY) => {
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}

/// The number of a directory's project; 0 for none.
///
/// # Errors
/// As ioctl_fsgetxattr(2): `ENOTTY` or `EOPNOTSUPP` where there are no such numbers.
pub fn project(dir: BorrowedFd<'_>) -> rustix::io::Result<u32> {
    attributes(dir).map(|attributes| attributes.project)
}

/// Gives an empty directory to a project, with everything that will be made in it.
///
/// # Errors
/// As ioctl_fssetxattr(2).
pub fn assign(dir: BorrowedFd<'_>, project: u32) -> rustix::io::Result<()> {
    let mut wanted = attributes(dir)?;
    wanted.project = project;
    wanted.flags |= INHERIT;
    // SAFETY: the structure is what the request reads, and lives through the call.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), SET_ATTRIBUTES, &raw const wanted) };
    check(result.into()).map(drop)
}

/// Bounds a project on the file system of `dir`; 0 takes the bound away.
///
/// # Errors
/// As quotactl_fd(2): `ESRCH` where no project quotas are on.
pub fn limit(dir: BorrowedFd<'_>, project: u32, bytes: u64) -> rustix::io::Result<()> {
    let mut block = empty();
    block.dqb_bhardlimit = bytes.div_ceil(BLOCK_BYTES);
    block.dqb_bsoftlimit = block.dqb_bhardlimit;
    block.dqb_valid = SPACE_LIMITS;
    control(dir, SET_QUOTA, project, (&raw mut block).cast())
}

/// What a project may take on the file system of `dir`, and takes.
///
/// # Errors
/// As quotactl_fd(2).
pub fn usage(dir: BorrowedFd<'_>, project: u32) -> rustix::io::Result<Usage> {
    let mut block = empty();
    match control(dir, GET_QUOTA, project, (&raw mut block).cast()) {
        // Nobody has ever heard of it.
        Err(Errno::NOENT) => return Ok(Usage::default()),
        done => done?,
    }
    Ok(Usage {
        limit_bytes: block.dqb_bhardlimit.saturating_mul(BLOCK_BYTES),
        used_bytes: block.dqb_curspace,
        used_files: block.dqb_curinodes,
    })
}

fn attributes(dir: BorrowedFd<'_>) -> rustix::io::Result<Attributes> {
    const { assert!(size_of::<Attributes>() == 28) };
    let mut attributes = Attributes::default();
    // SAFETY: the structure is what the request writes, and lives through the call.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) };
    check(result.into()).map(|_| attributes)
}

fn empty() -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: 0,
        dqb_bsoftlimit: 0,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: 0,
    }
}

/// quotactl_fd(2), from Linux 5.14. `data` is what `command` reads or writes.
fn control(
    dir: BorrowedFd<'_>,
    command: u32,
    project: u32,
    data: *mut libc::c_void,
) -> rustix::io::Result<()> {
    let command = command << 8 | PROJECT;
    // SAFETY: private to this module, whose callers pass live structures of the command's kind.
    let result =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, dir.as_raw_fd(), command, project, data) };
    check(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_system_without_quotas_has_none() {
        let proc = std::fs::File::open("/proc").unwrap();
        assert_eq!(enforced(proc.as_fd()), Ok(false));
        assert!(project(proc.as_fd()).is_err());
        assert!(assign(proc.as_fd(), 7).is_err());
        assert!(limit(proc.as_fd(), 7, 1 << 20).is_err());
        assert!(usage(proc.as_fd(), 7).is_err());
    }
}
