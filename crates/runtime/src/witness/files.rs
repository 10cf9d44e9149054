//! Which files of its root a container opens, fanotify(7). Only tells; it can hold nothing up.

use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Events that are taken at once.
const CHUNK: usize = 1 << 14;

/// A mark on the mount of a container's root.
#[derive(Debug)]
pub(super) struct Files(OwnedFd);

impl Files {
    /// Of the root of process `pid`.
    pub(super) fn of(pid: i32) -> rustix::io::Result<Self> {
        let path = format!("/proc/{pid}/root/.");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        sys::fanotify::opens_of_mount(root.as_fd()).map(Self)
    }

    /// The files that were opened since.
    pub(super) fn take(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        let mut chunk = vec![0u8; CHUNK];
        while let Ok(found) = sys::fanotify::read(self.0.as_fd(), &mut chunk) {
            if found.is_empty() {
                break;
            }
            let name =
                |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
            let paths = found.iter().filter_map(name);
            all.extend(paths.filter_map(|path| path.into_os_string().into_string().ok()));
        }
        all
    }
}
