//! Files that were put aside, compressed: gzip, RFC 1952. Each says in its comment field which file
//! it was made of, so that a reader who still has that one open finds its place again.

use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags};
use rustix::process::Signal;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the names of compressed files end in.
pub(super) const SUFFIX: &str = ".gz";

/// Largest content of a compressed file that is read; a file is put aside long before.
const MAX_PLAIN_BYTES: u64 = 4 << 30;

/// The first bytes of a gzip file whose header we wrote: no name, a comment.
const OUR_HEADER: [u8; 4] = [0x1f, 0x8b, 8, 0x10];

/// Where the comment begins in that header.
const COMMENT_AT: usize = 10;

/// A file that is being compressed, by a process of its own: whoever writes the log goes on.
#[derive(Debug)]
pub(super) struct Compressing {
    child: sys::clone::Child,
}

impl Compressing {
    /// Begins to compress `name` in `directory`.
    pub(super) fn begin(directory: BorrowedFd<'_>, name: &str) -> Option<Self> {
        let child = sys::clone::clone3(0, || {
            let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            // It is not worth taking time from anybody else.
            let _ = rustix::process::nice(10);
            i32::from(tied.is_err() || compress(directory, name).is_err())
        });
        Some(Self { child: child.ok()? })
    }

    /// Whether it is over.
    pub(super) fn is_over(&mut self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let id = WaitId::PidFd(self.child.pidfd.as_fd());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        !matches!(waitid(id, options), Ok(None))
    }

    /// Ends it: the file stays as it was.
    pub(super) fn give_up(mut self, directory: BorrowedFd<'_>, name: &str) {
        if self.is_over() {
            return;
        }
        // Not reaped yet, so the descriptor still means it.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = sys::Pidfd::from(self.child.pidfd).wait();
        let _ = rustix::fs::unlinkat(directory, fresh(name), AtFlags::empty());
    }
}

fn fresh(name: &str) -> String {
    format!("{name}{SUFFIX}.next")
}

fn compress(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut plain = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    let fresh = fresh(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::from_bits_truncate(0o640);
    let out = rustix::fs::openat(directory, fresh.as_str(), flags | OFlags::NOFOLLOW, mode)?;
    let identity = super::files::identity(&plain)?;
    let mut gzip = GzBuilder::new()
        .comment(format!("identity {identity}"))
        .write(File::from(out), Compression::fast());
    io::copy(&mut plain, &mut gzip)?;
    gzip.finish()?.flush()?;
    let whole = format!("{name}{SUFFIX}");
    rustix::fs::renameat(directory, fresh.as_str(), directory, whole.as_str())?;
    rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
    Ok(())
}

/// Whether a file is compressed.
pub(super) fn is_compressed(file: BorrowedFd<'_>) -> bool {
    let mut magic = [0; 2];
    rustix::io::pread(file, &mut magic, 0).is_ok_and(|length| length == 2)
        && magic == OUR_HEADER[..2]
}

/// The identity of the file that a compressed one was made of.
pub(super) fn origin(file: BorrowedFd<'_>) -> Option<u64> {
    let mut head = [0; 64];
    let length = rustix::io::pread(file, &mut head, 0).ok()?;
    let comment = head[..length].strip_prefix(&OUR_HEADER)?.get(COMMENT_AT - 4..)?;
    let comment = comment.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(comment).ok()?.strip_prefix("identity ")?.parse().ok()
}

/// The content of a compressed file, in memory that the kernel may swap out.
pub(super) fn expand(file: &OwnedFd) -> io::Result<OwnedFd> {
    let mut source = File::from(file.try_clone()?);
    io::Seek::seek(&mut source, io::SeekFrom::Start(0))?;
    let mut memory = File::from(rustix::fs::memfd_create("log", MemfdFlags::CLOEXEC)?);
    let mut plain = MultiGzDecoder::new(source).take(MAX_PLAIN_BYTES);
    // A file that is cut off still has its beginning.
    match io::copy(&mut plain, &mut memory) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error),
        _ => {}
    }
    Ok(memory.into())
}
