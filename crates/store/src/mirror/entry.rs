//! One entry of a directory as two sides tell one another about it, and the order of entries. Knows
//! no descriptor.

use crate::error::{Error, Result};
use rustix::fs::{FileType, Stat, Timespec, Timestamps};

/// The longest path.
pub(super) const MAX_PATH_BYTES: usize = 4096;
/// The longest name in it.
const MAX_NAME_BYTES: usize = 255;
/// How deep directories may be nested.
pub(super) const MAX_DEPTH: usize = 256;

/// A file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path below the directory, without a slash at either end.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file's content.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Extended attributes.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory; the entries in it follow it.
    Dir,
    /// A file.
    File,
    /// A symbolic link with what it says.
    Symlink(String),
    /// Another name of the file at this path, which was told before.
    Hardlink(String),
    /// A named pipe.
    Fifo,
    /// A device or socket: told, but never made.
    Other,
}

impl Entry {
    /// The path of its directory (empty at the top) and its name.
    ///
    /// # Errors
    /// A path that is absolute, not clean, too long or too deep, or that leads out.
    pub(super) fn split(&self) -> Result<(&str, &str)> {
        let path = self.path.as_str();
        let name = |part: &str| {
            !part.is_empty()
                && part.len() <= MAX_NAME_BYTES
                && part != "."
                && part != ".."
                && !part.contains('\0')
        };
        let fits = path.len() <= MAX_PATH_BYTES && path.split('/').count() <= MAX_DEPTH;
        if !fits || !path.split('/').all(name) {
            let shown: String = path.chars().take(80).collect();
            return Err(Error::bad(format!("a file list names the path {shown:?}")));
        }
        Ok(path.rsplit_once('/').unwrap_or(("", path)))
    }

    /// Whether a file in the mirror is what this entry says.
    pub(super) fn is_as(&self, stat: &Stat) -> bool {
        let kind = match self.kind {
            Kind::Dir => FileType::Directory,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::Fifo => FileType::Fifo,
            Kind::File | Kind::Hardlink(_) | Kind::Other => FileType::RegularFile,
        };
        let size = u64::try_from(stat.st_size).ok();
        FileType::from_raw_mode(stat.st_mode) == kind
            && (kind == FileType::Symlink || stat.st_mode & 0o7777 == self.mode)
            && (stat.st_uid, stat.st_gid) == (self.uid, self.gid)
            && (kind != FileType::RegularFile || size == Some(self.size))
            && mtime(stat) == self.mtime_ns
    }

    /// When it was changed, for `futimens`; the access time is not touched.
    pub(super) fn times(&self) -> Timestamps {
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: self.mtime_ns.div_euclid(1_000_000_000),
                tv_nsec: self.mtime_ns.rem_euclid(1_000_000_000),
            },
        }
    }
}

/// Modification time in nanoseconds since the epoch, as far as 64 bits go.
pub(super) fn mtime(stat: &Stat) -> i64 {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
