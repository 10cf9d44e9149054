//! Directories that names cannot lead out of, openat2(2).

use crate::error::SysError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::path::{Component, Path};

/// A directory that is `/` for every name looked up in it: absolute names, `..` and symbolic
/// links stay inside, and no magic link of procfs is followed.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// How names are resolved in a root.
pub const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// Opens a trusted directory of the host.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> Result<Self, SysError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map(Self)
            .map_err(|errno| SysError::new("open", path.display().to_string(), errno))
    }

    /// Opens `path` in the root. `mode` is of a file that is made.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn openat(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, SysError> {
        open_in(self.0.as_fd(), path, flags, mode)
            .map_err(|errno| SysError::new("openat2", path.display().to_string(), errno))
    }

    /// Opens the directory `path` as a root of its own.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn sub(&self, path: &Path) -> Result<Self, SysError> {
        self.openat(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(Self)
    }

    /// Makes the directory `path` and the missing ones above it, and opens it.
    ///
    /// # Errors
    /// As mkdir(2) and openat2(2); `EEXIST` when a dangling symbolic link is in the way.
    pub fn make_dirs(&self, path: &Path, mode: Mode) -> Result<Self, SysError> {
        let failed = |errno| SysError::new("mkdir", path.display().to_string(), errno);
        let mut done = std::path::PathBuf::from("/");
        let mut parent = self.sub(&done)?;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            done.push(name);
            parent = match self.sub(&done) {
                Ok(dir) => dir,
                Err(error) if error.errno == Errno::NOENT => {
                    match rustix::fs::mkdirat(&parent.0, name, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(failed(errno)),
                    }
                    match self.sub(&done) {
                        Err(error) if error.errno == Errno::NOENT => {
                            return Err(failed(Errno::EXIST));
                        }
                        result => result?,
                    }
                }
                Err(error) => return Err(error),
            };
        }
        Ok(parent)
    }

    /// Reads the whole file `path`; one longer than `limit` is refused with `EFBIG`.
    ///
    /// # Errors
    /// As openat2(2) and read(2); `EINVAL` for what is not a regular file.
    pub fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, SysError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = self.openat(path, flags, Mode::empty())?;
        let failed = |errno| SysError::new("read", path.display().to_string(), errno);
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(failed(Errno::INVAL));
        }
        let mut content = Vec::new();
        let mut chunk = [0u8; 8192];
        loop {
            match rustix::io::read(&file, &mut chunk) {
                Ok(0) => return Ok(content),
                Ok(count) => content.extend_from_slice(&chunk[..count]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
            if content.len() > limit {
                return Err(failed(Errno::FBIG));
            }
        }
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens `path` in the root directory `root`, always close-on-exec. Does not allocate when given
/// a C string.
///
/// # Errors
/// As openat2(2).
pub fn open_in(
    root: BorrowedFd<'_>,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    open_how(root, path, flags, mode, IN_ROOT)
}

/// As [`open_in`], with any resolution.
///
/// # Errors
/// As openat2(2).
pub fn open_how(
    root: BorrowedFd<'_>,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // EAGAIN: something was renamed or mounted while `..` was resolved.
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
}
