//! The child's terminal: made in the container's own devpts, never found by a name that the
//! container could have changed. Does not allocate.

use super::Child;
use crate::plan::step::Slot;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

/// `DEVPTS_SUPER_MAGIC`, statfs(2).
const DEVPTS_MAGIC: i64 = 0x1cd1;

impl Child<'_> {
    pub(super) fn open_terminal(
        &mut self,
        size: Option<(u16, u16)>,
        owner: u32,
        console: bool,
    ) -> Result<(), Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = sys::root::open_how(
            CWD,
            c"/dev/pts/ptmx",
            flags,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS,
        )?;
        let is_ptmx = rustix::fs::fstat(&master)?.st_rdev == rustix::fs::makedev(5, 2);
        if !is_ptmx || rustix::fs::fstatfs(&master)?.f_type != DEVPTS_MAGIC {
            return Err(Errno::NODEV);
        }
        let terminal = sys::tty::peer(master.as_fd())?;
        if let Some((rows, cols)) = size {
            sys::tty::set_size(terminal.as_fd(), rows, cols)?;
        }
        rustix::fs::fchown(&terminal, Some(Uid::from_raw(owner)), None)?;
        if console {
            mount_console(terminal.as_fd())?;
        }
        for slot in [Slot::STDIN, Slot::STDOUT, Slot::STDERR] {
            self.slots.put(slot, rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?);
        }
        self.slots.put(Slot::MASTER, master);
        // At once, so that nobody waits at the other end of what the parent had there.
        self.stdio()
    }
}

fn mount_console(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    let at = ResolveFlags::NO_SYMLINKS;
    let place = sys::root::open_how(CWD, c"/dev/console", OFlags::PATH, Mode::empty(), at)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = rustix::mount::open_tree(terminal, c"", flags)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&copy, c"", &place, c"", flags)
}
