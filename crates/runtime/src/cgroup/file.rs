//! Reading and writing the small files of one cgroup directory, and making and removing it.
//! Knows no controller and no limit.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::CgroupError;

/// The longest content that is read from one file.
const MAX_CONTENT_BYTES: usize = 4 << 20;

/// How much of a value an error message repeats.
const MAX_QUOTED_CHARS: usize = 120;

/// Retries of [`Dir::remove`] that wait about a second in all, doubling from 1 ms.
pub(super) const REMOVE_RETRIES: u32 = 10;

/// How deep a tree of cgroups is followed.
const MAX_DEPTH: usize = 64;

/// The directory of one cgroup in one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dir {
    path: PathBuf,
}

impl Dir {
    pub(super) fn new(path: PathBuf) -> Dir {
        Dir { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn exists(&self) -> bool {
        rustix::fs::access(&self.path, rustix::fs::Access::EXISTS).is_ok()
    }

    /// Whether the directory has this file: controllers differ between kernels.
    pub(super) fn has(&self, file: &str) -> bool {
        rustix::fs::access(self.path.join(file), rustix::fs::Access::EXISTS).is_ok()
    }

    /// Writes one value; cgroup files take each `write` as a whole.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        self.write_raw(file, value).map_err(|errno| CgroupError::Write {
            path: self.path.join(file),
            value: shorten(value),
            source: errno.into(),
        })
    }

    pub(super) fn write_raw(&self, file: &str, value: &str) -> Result<(), Errno> {
        let path = self.path.join(file);
        let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        write_whole(&fd, value)
    }

    /// Writes several values to one file, in order.
    pub(super) fn write_each(&self, file: &str, values: &[String]) -> Result<(), CgroupError> {
        let path = self.path.join(file);
        let failed = |value: &str, errno: Errno| CgroupError::Write {
            path: path.clone(),
            value: shorten(value),
            source: errno.into(),
        };
        let [first, ..] = values else { return Ok(()) };
        let fd = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(first, errno))?;
        for value in values {
            write_whole(&fd, value).map_err(|errno| failed(value, errno))?;
        }
        Ok(())
    }

    pub(super) fn read(&self, file: &str) -> Result<String, CgroupError> {
        let path = self.path.join(file);
        read_file(&path).map_err(|source| CgroupError::Read { path, source })
    }

    /// The content, or `None` when this kernel or this tree has no such file.
    pub(super) fn read_if_there(&self, file: &str) -> Result<Option<String>, CgroupError> {
        match self.read(file) {
            Ok(content) => Ok(Some(content)),
            Err(CgroupError::Read { source, .. }) if is_absent(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The single number of a file; `max` and what exceeds 64 bits are `u64::MAX`.
    pub(super) fn number(&self, file: &str) -> Result<Option<u64>, CgroupError> {
        let Some(content) = self.read_if_there(file)? else { return Ok(None) };
        match parse_number(content.trim()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.unexpected(file, &content)),
        }
    }

    pub(super) fn unexpected(&self, file: &str, content: &str) -> CgroupError {
        CgroupError::Content { path: self.path.join(file), content: shorten(content) }
    }

    pub(super) fn make(&self) -> Result<(), Errno> {
        rustix::fs::mkdir(&self.path, Mode::from_raw_mode(0o755))
    }

    /// Puts a process, with all its threads, into the cgroup.
    pub(super) fn join(&self, pid: i32) -> Result<(), Errno> {
        self.write_raw("cgroup.procs", &pid.to_string())
    }

    /// The file by which a thread of v1 enters by itself, writing `0`. That spares the kernel's
    /// lock over all processes, which waits for a grace period of RCU.
    pub(super) fn door(&self) -> Result<OwnedFd, Errno> {
        let path = self.path.join("tasks");
        rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
    }

    /// The cgroups right below this one.
    pub(super) fn children(&self) -> Result<Vec<Dir>, CgroupError> {
        let failed = |source| CgroupError::Read { path: self.path.clone(), source };
        let mut children = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                children.push(Dir::new(entry.path()));
            }
        }
        Ok(children)
    }

    /// This directory and all below it, parents first. What vanishes meanwhile is left out.
    pub(super) fn subtree(&self) -> Result<Vec<Dir>, CgroupError> {
        let mut found = vec![self.clone()];
        let mut level = 0..1;
        for _ in 0..MAX_DEPTH {
            for at in level.clone() {
                match found[at].children() {
                    Ok(children) => found.extend(children),
                    Err(CgroupError::Read { source, .. }) if is_absent(&source) => {}
                    Err(error) => return Err(error),
                }
            }
            level = level.end..found.len();
            if level.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// Removes the directory and those below it, waiting a bounded time (about a second) for
    /// processes that have died and are not reaped yet. A directory that is not there is fine.
    pub(super) fn remove(&self, retries: u32) -> Result<(), CgroupError> {
        for attempt in 0..=retries {
            let errno = match rustix::fs::rmdir(&self.path) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(errno) => errno,
            };
            let retry = errno == Errno::BUSY || errno == Errno::NOTEMPTY;
            if !retry || attempt == retries {
                return Err(CgroupError::Delete { path: self.path.clone(), source: errno.into() });
            }
            let mut removed_child = false;
            for child in self.subtree()?.iter().skip(1).rev() {
                removed_child |= rustix::fs::rmdir(&child.path).is_ok();
            }
            if !removed_child {
                std::thread::sleep(Duration::from_millis(1 << attempt.min(8)));
            }
        }
        Ok(())
    }
}

fn write_whole(fd: &rustix::fd::OwnedFd, value: &str) -> Result<(), Errno> {
    match rustix::io::retry_on_intr(|| rustix::io::write(fd, value.as_bytes()))? {
        written if written == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Reads with few system calls: these files are far smaller than a page.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut chunk))?;
        if count == 0 {
            break;
        }
        content.extend_from_slice(&chunk[..count]);
        if content.len() > MAX_CONTENT_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
    }
    String::from_utf8(content).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// No such file, or a cgroup that was removed while its file was open.
pub(super) fn is_absent(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::NODEV]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

/// A decimal number; `max` and what exceeds 64 bits are `u64::MAX`, a negative one is 0.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    if text == "max" {
        return Some(u64::MAX);
    }
    let digits = text.strip_prefix('-');
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match digits {
        Some(digits) => all_digits(digits).then_some(0),
        None if all_digits(text) => Some(text.parse().unwrap_or(u64::MAX)),
        None => None,
    }
}

fn shorten(value: &str) -> String {
    value.trim_end().chars().take(MAX_QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_cgroup_files() {
        for (text, number) in [
            ("0", Some(0)),
            ("max", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("-1", Some(0)),
            ("", None),
            ("-", None),
            ("1 2", None),
            ("0x10", None),
        ] {
            assert_eq!(parse_number(text), number, "{text:?}");
        }
    }
}
